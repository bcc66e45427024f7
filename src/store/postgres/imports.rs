use super::Begun;
use super::Postgres;
use super::events;
use super::rows;
use super::users;
use crate::model::Digest;
use crate::model::Event;
use crate::model::Session;
use crate::model::Timestamp;
use crate::model::User;
use crate::model::UserId;
use crate::store::Call;
use crate::store::StoreError;
use crate::store::columns;
use crate::store::imports::Before;
use crate::store::imports::ImportBatch;
use crate::store::imports::Imported;
use crate::store::imports::ImportedSession;
use crate::store::imports::Imports;
use crate::store::imports::decide;
use crate::store::records::Ended;
use crate::store::records::NewUser;
use crate::store::work::within;
use sqlx::Row;
use std::collections::HashMap;
use std::collections::HashSet;
use time::OffsetDateTime;
use uuid::Uuid;

const TABLE: &str = "imported_sessions";

impl Imports for Postgres {
    fn import_sessions<'a>(&'a self, batch: &'a ImportBatch) -> Call<'a, Vec<Imported>> {
        within(self.limit, import(self, batch))
    }
    fn count_imported<'a>(&'a self, source: &'a str) -> Call<'a, u64> {
        within(self.limit, count(self, source))
    }
    fn end_unseen<'a>(
        &'a self,
        source: &'a str,
        before: Timestamp,
        limit: u32,
        event: &'a Event,
        forget: bool,
    ) -> Call<'a, Vec<Ended>> {
        within(self.limit, end_unseen(self, (source, before), limit, event, forget))
    }
    fn find_imported_user<'a>(&'a self, source: &'a str, subject: &'a str) -> Call<'a, Option<User>> {
        within(self.limit, find_user(self, source, subject))
    }
    fn import_user<'a>(&'a self, source: &'a str, subject: &'a str, new: NewUser, event: Event) -> Call<'a, ()> {
        within(self.limit, import_user(self, source, subject, new, event))
    }
}

fn failed(error: sqlx::Error) -> StoreError {
    StoreError::on(TABLE, error)
}

async fn import(store: &Postgres, batch: &ImportBatch) -> Result<Vec<Imported>, StoreError> {
    let mut work = store.begin(TABLE).await?;
    let outcome = import_within(store, &mut work, batch).await;
    if batch.dry_run {
        work.undo().await;
        return outcome;
    }
    work.settle(outcome).await
}

async fn import_within(store: &Postgres, work: &mut Begun, batch: &ImportBatch) -> Result<Vec<Imported>, StoreError> {
    let order = batch.in_order();
    let ended = ended(store, work, batch, &order).await?;
    let before = before(store, work, batch, &order).await?;
    let mut outcomes = vec![Imported::EndedBefore; batch.sessions.len()];
    for (at, ImportedSession { session, of_row, .. }) in batch.sessions.iter().enumerate() {
        if !ended.contains(of_row) {
            outcomes[at] = decide(batch, session, before.get(&session.digest));
        }
    }
    let of = |wanted: Imported, outcomes: &[Imported]| -> Vec<usize> {
        order.iter().copied().filter(|at| outcomes[*at] == wanted).collect()
    };
    let replaced = of(Imported::Replaced, &outcomes);
    end(store, work, batch, &replaced).await?;
    let mut fresh = of(Imported::Copied, &outcomes);
    fresh.extend(replaced);
    let claimed = claim(store, work, batch, &fresh).await?;
    for at in &fresh {
        if !claimed.contains(&batch.sessions[*at].session.digest) {
            outcomes[*at] = Imported::UserGone;
        }
    }
    if batch.dry_run {
        return Ok(outcomes);
    }
    fresh.retain(|at| claimed.contains(&batch.sessions[*at].session.digest));
    copy(store, work, batch, &fresh).await?;
    postpone(store, work, batch, &of(Imported::Moved, &outcomes)).await?;
    let known: Vec<usize> = order
        .iter()
        .copied()
        .filter(|at| !fresh.contains(at) && before.contains_key(&batch.sessions[*at].session.digest))
        .collect();
    let seen = store
        .query(&store.sql.see_imports)
        .bind(digests(batch, &known))
        .bind(OffsetDateTime::from(batch.seen_at))
        .bind(rows_of(batch, &known));
    work.rows(TABLE, seen).await?;
    Ok(outcomes)
}

fn sessions<'a>(batch: &'a ImportBatch, which: &'a [usize]) -> impl Iterator<Item = &'a Session> {
    which.iter().map(|at| &batch.sessions[*at].session)
}

fn rows_of(batch: &ImportBatch, which: &[usize]) -> Vec<Vec<u8>> {
    which.iter().map(|at| batch.sessions[*at].of_row.0.to_vec()).collect()
}

fn digests(batch: &ImportBatch, which: &[usize]) -> Vec<Vec<u8>> {
    sessions(batch, which)
        .map(|session| session.digest.0.to_vec())
        .collect()
}

/// Rows that were ended here. Nothing is ended until this transaction is over: then its copies are seen, and end as well.
async fn ended(
    store: &Postgres,
    work: &mut Begun,
    batch: &ImportBatch,
    order: &[usize],
) -> Result<HashSet<Digest>, StoreError> {
    const ENDS: &str = "legacy_ended";
    if !batch.dry_run {
        // Before any row is held, so that nobody waits for the other in a circle.
        work.rows(ENDS, store.query(&store.sql.hold_ends)).await?;
    }
    let statement = store.query(&store.sql.find_tombstones).bind(rows_of(batch, order));
    let found = work.rows(ENDS, statement).await?;
    found.iter().map(rows::digest).collect::<Result<_, _>>().map_err(failed)
}

/// What is known of the keys; held until the end, so that two runs do not decide of one key at once.
async fn before(
    store: &Postgres,
    work: &mut Begun,
    batch: &ImportBatch,
    order: &[usize],
) -> Result<HashMap<Digest, Before>, StoreError> {
    let sql = if batch.dry_run {
        &store.sql.find_imported
    } else {
        &store.sql.hold_imported
    };
    let found = work.rows(TABLE, store.query(sql).bind(digests(batch, order))).await?;
    let mut known = HashMap::with_capacity(found.len());
    for row in &found {
        let digest = rows::digest(row).map_err(failed)?;
        let user: Option<Uuid> = row.try_get("copy_of").map_err(failed)?;
        let copy = match user {
            Some(user) => Some((UserId(user), rows::at(row, "ends_at").map_err(failed)?)),
            None => None,
        };
        known.insert(digest, Before { copy });
    }
    Ok(known)
}

/// Those that are ours to copy: of active users, and of no run that came first.
async fn claim(
    store: &Postgres,
    work: &mut Begun,
    batch: &ImportBatch,
    which: &[usize],
) -> Result<HashSet<Digest>, StoreError> {
    let users: Vec<Uuid> = sessions(batch, which).map(|session| session.user.0).collect();
    let statement = store
        .query(&store.sql.claim_imports)
        .bind(digests(batch, which))
        .bind(users)
        .bind(OffsetDateTime::from(batch.seen_at))
        .bind(batch.source.as_str())
        .bind(rows_of(batch, which));
    let claimed = work.rows(TABLE, statement).await?;
    claimed
        .iter()
        .map(rows::digest)
        .collect::<Result<_, _>>()
        .map_err(failed)
}

async fn copy(store: &Postgres, work: &mut Begun, batch: &ImportBatch, which: &[usize]) -> Result<(), StoreError> {
    let moments = |of: fn(&Session) -> Timestamp| -> Vec<OffsetDateTime> {
        sessions(batch, which).map(|session| of(session).into()).collect()
    };
    let ids = |of: fn(&Session) -> Uuid| -> Vec<Uuid> { sessions(batch, which).map(of).collect() };
    let copied = store
        .query(&store.sql.copy_sessions)
        .bind(digests(batch, which))
        .bind(ids(|session| session.public_id.0))
        .bind(ids(|session| session.user.0))
        .bind(moments(|session| session.created_at))
        .bind(moments(|session| session.authenticated_at))
        .bind(moments(|session| session.expires_at))
        .bind(moments(|session| session.ends_at))
        .bind(moments(|session| {
            columns::sweep_at(&session.digest, session.expires_at)
        }))
        .bind(
            sessions(batch, which)
                .map(|session| session.remembered)
                .collect::<Vec<bool>>(),
        );
    work.rows("sessions", copied).await?;
    let names: Vec<String> = which
        .iter()
        .map(|at| batch.sessions[*at].username.to_string())
        .collect();
    let told = store
        .query(&store.sql.insert_import_events)
        .bind(OffsetDateTime::from(batch.event.at))
        .bind(batch.event.kind.as_str())
        .bind(batch.event.actor.as_str())
        .bind(batch.event.reason)
        .bind(ids(|session| session.user.0))
        .bind(names)
        .bind(ids(|session| session.public_id.0))
        .bind(batch.event.source.as_deref());
    work.rows("audit_events", told).await.map(drop)
}

/// Copies of another user's: their keys are free again.
async fn end(store: &Postgres, work: &mut Begun, batch: &ImportBatch, which: &[usize]) -> Result<(), StoreError> {
    let statement = store.query(&store.sql.take_sessions).bind(digests(batch, which));
    for row in &work.rows("sessions", statement).await? {
        let one = rows::ended(row).map_err(failed)?;
        events::write(store, work, &one.told(&batch.ended)).await?;
    }
    let forgotten = store.query(&store.sql.forget_imports).bind(digests(batch, which));
    work.rows(TABLE, forgotten).await.map(drop)
}

async fn postpone(store: &Postgres, work: &mut Begun, batch: &ImportBatch, which: &[usize]) -> Result<(), StoreError> {
    let ends: Vec<OffsetDateTime> = sessions(batch, which).map(|session| session.ends_at.into()).collect();
    let sweeps = sessions(batch, which).map(|session| columns::sweep_at(&session.digest, session.ends_at).into());
    let statement = store
        .query(&store.sql.move_imports)
        .bind(digests(batch, which))
        .bind(ends)
        .bind(sweeps.collect::<Vec<OffsetDateTime>>());
    work.rows("sessions", statement).await.map(drop)
}

async fn count(store: &Postgres, source: &str) -> Result<u64, StoreError> {
    let query = || store.query(&store.sql.count_imported).bind(source.to_owned());
    let found = store.read(&store.others, TABLE, query).await?;
    let row = found.first().ok_or(failed(sqlx::Error::RowNotFound))?;
    row.try_get("copies").map(columns::unsigned).map_err(failed)
}

async fn end_unseen(
    store: &Postgres,
    (source, before): (&str, Timestamp),
    limit: u32,
    event: &Event,
    forget: bool,
) -> Result<Vec<Ended>, StoreError> {
    let mut work = store.begin(TABLE).await?;
    let outcome = async {
        let statement = store
            .query(&store.sql.end_unseen)
            .bind(source)
            .bind(OffsetDateTime::from(before))
            .bind(i64::from(limit));
        let gone = work.rows(TABLE, statement).await?;
        let ended: Vec<Ended> = gone.iter().map(rows::ended).collect::<Result<_, _>>().map_err(failed)?;
        for one in &ended {
            events::write(store, &mut work, &one.told(event)).await?;
        }
        if forget {
            let digests: Vec<Vec<u8>> = ended.iter().map(|one| one.digest.0.to_vec()).collect();
            let forgotten = store.query(&store.sql.forget_imports).bind(digests);
            work.rows(TABLE, forgotten).await?;
        }
        Ok(ended)
    }
    .await;
    work.settle(outcome).await
}

async fn find_user(store: &Postgres, source: &str, subject: &str) -> Result<Option<User>, StoreError> {
    let query = || {
        let find = store.query(&store.sql.find_imported_user);
        find.bind(source.to_owned()).bind(subject.to_owned())
    };
    let found = store.read(&store.others, "imported_users", query).await?;
    found.first().map(rows::user).transpose().map_err(failed)
}

async fn import_user(
    store: &Postgres,
    source: &str,
    subject: &str,
    mut new: NewUser,
    event: Event,
) -> Result<(), StoreError> {
    let mut work = store.begin("imported_users").await?;
    let outcome = async {
        users::insert(store, &mut work, &mut new, &event).await?;
        let link = store
            .query(&store.sql.link_imported_user)
            .bind(source)
            .bind(subject)
            .bind(new.user.id.0);
        work.rows("imported_users", link).await.map(drop)
    }
    .await;
    work.settle(outcome).await
}
