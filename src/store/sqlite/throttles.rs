use super::Begun;
use super::Sqlite;
use super::events;
use super::rows;
use crate::model::Event;
use crate::model::Timestamp;
use crate::store::StoreError;
use crate::store::throttles::Admission;
use crate::store::throttles::BAN_MEMORY;
use crate::store::throttles::Ban;
use crate::store::throttles::Cell;
use crate::store::throttles::WhichBans;
use sqlx::Row;

const TABLE: &str = "throttle_cells";

fn failed(error: sqlx::Error) -> StoreError {
    StoreError::on(TABLE, error)
}

pub(super) async fn admit(
    store: &Sqlite,
    cells: &[Cell],
    now: Timestamp,
    ban: &Event,
) -> Result<Admission, StoreError> {
    let mut work = store.begin(TABLE).await?;
    let refusing = match take(store, &mut work, cells, now).await {
        Ok(refusing) if refusing.is_empty() => return work.settle(Ok(Admission::Admitted)).await,
        Ok(refusing) => refusing,
        Err(error) => return work.settle(Err(error)).await,
    };
    // An attempt that one of them refuses is counted by none.
    work.undo().await;
    refuse(store, &refusing, now, ban).await
}

/// Counts the attempt; the cells that refuse it.
async fn take<'a>(
    store: &Sqlite,
    work: &mut Begun,
    cells: &'a [Cell],
    now: Timestamp,
) -> Result<Vec<&'a Cell>, StoreError> {
    let mut refusing = Vec::new();
    for cell in cells {
        let (free_at, clear_at) = cell.fresh(now);
        let statement = Sqlite::query(&store.sql.count_attempt)
            .bind(cell.bucket())
            .bind(free_at.as_micros())
            .bind(clear_at.as_micros())
            .bind(cell.user.map(|user| user.0))
            .bind(now.as_micros());
        if work.rows(TABLE, statement).await?.is_empty() {
            refusing.push(cell);
        }
    }
    Ok(refusing)
}

/// Tells until when, and writes once that a ban began.
async fn refuse(store: &Sqlite, refusing: &[&Cell], now: Timestamp, ban: &Event) -> Result<Admission, StoreError> {
    let mut refusals = Vec::new();
    let mut new = Vec::new();
    for cell in refusing {
        let query = || Sqlite::query(&store.sql.find_cell).bind(cell.bucket());
        let found = store.read(&store.readers, TABLE, query).await?;
        let Some(row) = found.first() else { continue };
        refusals.push((cell.bucket(), rows::at(row, "free_at").map_err(failed)?));
        if row.try_get::<Option<i64>, _>("banned_at").map_err(failed)?.is_none() {
            new.push(*cell);
        }
    }
    if !new.is_empty() {
        let mut work = store.begin(TABLE).await?;
        let outcome = begin_bans(store, &mut work, &new, now, ban).await;
        work.settle(outcome).await?;
    }
    Ok(Admission::Refused(refusals))
}

async fn begin_bans(
    store: &Sqlite,
    work: &mut Begun,
    refusing: &[&Cell],
    now: Timestamp,
    ban: &Event,
) -> Result<(), StoreError> {
    for cell in refusing {
        let statement = Sqlite::query(&store.sql.begin_ban)
            .bind(cell.bucket())
            .bind(now.as_micros());
        if !work.rows(TABLE, statement).await?.is_empty() {
            events::write(store, work, &cell.ban(ban)).await?;
        }
    }
    Ok(())
}

pub(super) async fn give_back(store: &Sqlite, cells: &[Cell]) -> Result<(), StoreError> {
    let mut work = store.begin(TABLE).await?;
    let outcome = async {
        for cell in cells {
            let interval = i64::try_from(cell.interval.as_micros()).unwrap_or(i64::MAX);
            let statement = Sqlite::query(&store.sql.give_back).bind(cell.bucket()).bind(interval);
            work.rows(TABLE, statement).await?;
        }
        Ok(())
    }
    .await;
    work.settle(outcome).await
}

pub(super) async fn free_at(store: &Sqlite, bucket: &str) -> Result<Option<Timestamp>, StoreError> {
    let query = || Sqlite::query(&store.sql.find_cell).bind(bucket.to_owned());
    let found = store.read(&store.readers, TABLE, query).await?;
    found
        .first()
        .map(|row| rows::at(row, "free_at"))
        .transpose()
        .map_err(failed)
}

pub(super) async fn list(
    store: &Sqlite,
    now: Timestamp,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<Ban>, StoreError> {
    let query = || {
        Sqlite::query(&store.sql.list_bans)
            .bind(now.as_micros())
            .bind(after.unwrap_or_default().to_owned())
            .bind(i64::from(limit))
    };
    let found = store.read(&store.readers, TABLE, query).await?;
    found.iter().map(rows::ban).collect::<Result<_, _>>().map_err(failed)
}

pub(super) async fn lift(store: &Sqlite, which: &WhichBans, event: &Event) -> Result<Vec<String>, StoreError> {
    let mut work = store.begin(TABLE).await?;
    let outcome = remove(store, &mut work, which, event).await;
    work.settle(outcome).await
}

async fn remove(store: &Sqlite, work: &mut Begun, which: &WhichBans, event: &Event) -> Result<Vec<String>, StoreError> {
    let statements = match which {
        WhichBans::User(user) => vec![Sqlite::query(&store.sql.lift_bans_of_user).bind(user.0)],
        WhichBans::Buckets(buckets) => buckets
            .iter()
            .map(|bucket| Sqlite::query(&store.sql.lift_ban).bind(bucket.clone()))
            .collect(),
        WhichBans::All => vec![Sqlite::query(&store.sql.lift_all_bans)],
    };
    let mut removed = Vec::new();
    for statement in statements {
        for row in work.rows(TABLE, statement).await? {
            removed.push(row.try_get("bucket").map_err(failed)?);
        }
    }
    if !removed.is_empty() {
        events::write(store, work, event).await?;
    }
    Ok(removed)
}

pub(super) async fn forget(store: &Sqlite, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
    let mut work = store.begin(TABLE).await?;
    let statement = Sqlite::query(&store.sql.forget_cells)
        .bind(now.as_micros())
        .bind(now.minus(BAN_MEMORY).as_micros())
        .bind(i64::from(limit));
    let outcome = work.rows(TABLE, statement).await.map(|rows| rows.len() as u64);
    work.settle(outcome).await
}
