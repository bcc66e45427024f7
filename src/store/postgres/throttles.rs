use super::Begun;
use super::Postgres;
use super::events;
use super::moment::Moment;
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
use sqlx::postgres::PgRow;
use time::OffsetDateTime;
use uuid::Uuid;

const TABLE: &str = "throttle_cells";

fn failed(error: sqlx::Error) -> StoreError {
    StoreError::on(TABLE, error)
}

pub(super) async fn admit(
    store: &Postgres,
    cells: &[Cell],
    now: Timestamp,
    ban: &Event,
) -> Result<Admission, StoreError> {
    let mut work = store.begin(TABLE).await?;
    let taken = match take(store, &mut work, cells, now).await {
        Ok(taken) if taken.len() == cells.len() => return work.settle(Ok(Admission::Admitted)).await,
        Ok(taken) => taken,
        Err(error) => return work.settle(Err(error)).await,
    };
    // An attempt that one of them refuses is counted by none.
    work.undo().await;
    let refusing: Vec<&Cell> = cells.iter().filter(|cell| !taken.contains(&cell.bucket())).collect();
    refuse(store, &refusing, now, ban).await
}

/// The buckets that counted the attempt, by one statement that locks them in order of their keys.
async fn take(store: &Postgres, work: &mut Begun, cells: &[Cell], now: Timestamp) -> Result<Vec<String>, StoreError> {
    let fresh = |cell: &Cell| cell.fresh(now);
    let statement = store
        .query(&store.sql.count_attempt)
        .bind(cells.iter().map(Cell::bucket).collect::<Vec<_>>())
        .bind(moments(cells.iter().map(|cell| fresh(cell).0)))
        .bind(moments(cells.iter().map(|cell| fresh(cell).1)))
        .bind(
            cells
                .iter()
                .map(|cell| cell.user.map(|user| user.0))
                .collect::<Vec<_>>(),
        )
        .bind(OffsetDateTime::from(now));
    let taken = work.rows(TABLE, statement).await?;
    taken
        .iter()
        .map(|row| row.try_get("bucket"))
        .collect::<Result<_, _>>()
        .map_err(failed)
}

fn moments(of: impl Iterator<Item = Timestamp>) -> Vec<OffsetDateTime> {
    of.map(OffsetDateTime::from).collect()
}

/// Tells until when, and writes once that a ban began.
async fn refuse(store: &Postgres, refusing: &[&Cell], now: Timestamp, ban: &Event) -> Result<Admission, StoreError> {
    let buckets: Vec<String> = refusing.iter().map(|cell| cell.bucket()).collect();
    let query = || store.query(&store.sql.find_cells).bind(buckets.clone());
    let found = store.read(&store.others, TABLE, query).await?;
    let refusals: Result<Vec<_>, sqlx::Error> = found
        .iter()
        .map(|row| Ok((row.try_get("bucket")?, rows::at(row, "free_at")?)))
        .collect();
    let is_new = |row: &PgRow| row.try_get::<Option<Moment>, _>("banned_at").map(|at| at.is_none());
    let new: Result<Vec<bool>, sqlx::Error> = found.iter().map(is_new).collect();
    if new.map_err(failed)?.contains(&true) {
        let mut work = store.begin(TABLE).await?;
        let outcome = begin_bans(store, &mut work, refusing, now, ban).await;
        work.settle(outcome).await?;
    }
    refusals.map(Admission::Refused).map_err(failed)
}

async fn begin_bans(
    store: &Postgres,
    work: &mut Begun,
    refusing: &[&Cell],
    now: Timestamp,
    ban: &Event,
) -> Result<(), StoreError> {
    // One row a statement, in the order of all others.
    let mut ordered = refusing.to_vec();
    ordered.sort_by_key(|cell| cell.bucket());
    for cell in ordered {
        let statement = store
            .query(&store.sql.begin_ban)
            .bind(cell.bucket())
            .bind(OffsetDateTime::from(now));
        if !work.rows(TABLE, statement).await?.is_empty() {
            events::write(store, work, &cell.ban(ban)).await?;
        }
    }
    Ok(())
}

pub(super) async fn give_back(store: &Postgres, cells: &[Cell]) -> Result<(), StoreError> {
    let mut work = store.begin(TABLE).await?;
    let interval = |cell: &Cell| i64::try_from(cell.interval.as_micros()).unwrap_or(i64::MAX);
    let statement = store
        .query(&store.sql.give_back)
        .bind(cells.iter().map(Cell::bucket).collect::<Vec<_>>())
        .bind(cells.iter().map(interval).collect::<Vec<_>>());
    let outcome = work.rows(TABLE, statement).await.map(drop);
    work.settle(outcome).await
}

pub(super) async fn free_at(store: &Postgres, bucket: &str) -> Result<Option<Timestamp>, StoreError> {
    let query = || store.query(&store.sql.find_cells).bind(vec![bucket.to_owned()]);
    let found = store.read(&store.others, TABLE, query).await?;
    found
        .first()
        .map(|row| rows::at(row, "free_at"))
        .transpose()
        .map_err(failed)
}

pub(super) async fn list(
    store: &Postgres,
    now: Timestamp,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<Ban>, StoreError> {
    let query = || {
        store
            .query(&store.sql.list_bans)
            .bind(OffsetDateTime::from(now))
            .bind(after.unwrap_or_default())
            .bind(i64::from(limit))
    };
    let found = store.read(&store.others, TABLE, query).await?;
    found.iter().map(rows::ban).collect::<Result<_, _>>().map_err(failed)
}

pub(super) async fn lift(store: &Postgres, which: &WhichBans, event: &Event) -> Result<Vec<String>, StoreError> {
    let mut work = store.begin(TABLE).await?;
    let outcome = remove(store, &mut work, which, event).await;
    work.settle(outcome).await
}

async fn remove(
    store: &Postgres,
    work: &mut Begun,
    which: &WhichBans,
    event: &Event,
) -> Result<Vec<String>, StoreError> {
    let (user, buckets): (Option<Uuid>, Option<Vec<String>>) = match which {
        WhichBans::User(user) => (Some(user.0), None),
        WhichBans::Buckets(buckets) => (None, Some(buckets.clone())),
        WhichBans::All => (None, None),
    };
    let statement = store.query(&store.sql.lift_bans).bind(user).bind(buckets);
    let removed = work.rows(TABLE, statement).await?;
    let removed: Vec<String> = removed
        .iter()
        .map(|row| row.try_get("bucket"))
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    if !removed.is_empty() {
        events::write(store, work, event).await?;
    }
    Ok(removed)
}

pub(super) async fn forget(store: &Postgres, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
    let mut work = store.begin(TABLE).await?;
    let statement = store
        .query(&store.sql.forget_cells)
        .bind(OffsetDateTime::from(now))
        .bind(OffsetDateTime::from(now.minus(BAN_MEMORY)))
        .bind(i64::from(limit));
    let outcome = work.rows(TABLE, statement).await.map(|rows| rows.len() as u64);
    work.settle(outcome).await
}
