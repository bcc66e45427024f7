use super::Begun;
use super::Sqlite;
use super::events;
use super::rows;
use super::sessions;
use super::users;
use crate::model::Digest;
use crate::model::Event;
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
use crate::store::records::Which;
use crate::store::work::within;
use sqlx::Row;
use sqlx::types::Json;
use uuid::Uuid;

const TABLE: &str = "imported_sessions";

impl Imports for Sqlite {
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

async fn import(store: &Sqlite, batch: &ImportBatch) -> Result<Vec<Imported>, StoreError> {
    let mut work = store.begin(TABLE).await?;
    let outcome = import_within(store, &mut work, batch).await;
    if batch.dry_run {
        work.undo().await;
        return outcome;
    }
    work.settle(outcome).await
}

async fn import_within(store: &Sqlite, work: &mut Begun, batch: &ImportBatch) -> Result<Vec<Imported>, StoreError> {
    let mut outcomes = vec![Imported::UserGone; batch.sessions.len()];
    for at in batch.in_order() {
        let one = &batch.sessions[at];
        let session = &one.session;
        if was_ended(store, work, one.of_row).await? {
            outcomes[at] = Imported::EndedBefore;
            continue;
        }
        let before = before(store, work, session.digest).await?;
        let outcome = decide(batch, session, before.as_ref());
        outcomes[at] = match outcome {
            Imported::Copied | Imported::Replaced if !is_active(store, work, session.user).await? => Imported::UserGone,
            outcome => outcome,
        };
        if !batch.dry_run {
            carry_out(store, work, batch, one, outcomes[at]).await?;
        }
    }
    Ok(outcomes)
}

/// Whether the row was ended here.
async fn was_ended(store: &Sqlite, work: &mut Begun, row: Digest) -> Result<bool, StoreError> {
    let statement = Sqlite::query(&store.sql.find_tombstones).bind(Json(vec![hex::encode(row.0)]));
    Ok(!work.rows("legacy_ended", statement).await?.is_empty())
}

async fn before(store: &Sqlite, work: &mut Begun, digest: Digest) -> Result<Option<Before>, StoreError> {
    let statement = Sqlite::query(&store.sql.find_imported).bind(digest.0.to_vec());
    let found = work.rows(TABLE, statement).await?;
    let Some(row) = found.first() else { return Ok(None) };
    let user: Option<Uuid> = row.try_get("copy_of").map_err(failed)?;
    let copy = match user {
        Some(user) => Some((UserId(user), rows::at(row, "ends_at").map_err(failed)?)),
        None => None,
    };
    Ok(Some(Before { copy }))
}

async fn is_active(store: &Sqlite, work: &mut Begun, user: UserId) -> Result<bool, StoreError> {
    let statement = Sqlite::query(&store.sql.active_user).bind(user.0).bind(None::<String>);
    Ok(!work.rows("users", statement).await?.is_empty())
}

async fn carry_out(
    store: &Sqlite,
    work: &mut Begun,
    batch: &ImportBatch,
    one: &ImportedSession,
    outcome: Imported,
) -> Result<(), StoreError> {
    let session = &one.session;
    match outcome {
        Imported::Replaced => {
            for one in sessions::delete(store, work, &Which::Digest(session.digest)).await? {
                events::write(store, work, &one.told(&batch.ended)).await?;
            }
            let forgotten = Sqlite::query(&store.sql.forget_import).bind(session.digest.0.to_vec());
            work.rows(TABLE, forgotten).await?;
            return copy(store, work, batch, one).await;
        }
        Imported::Copied => return copy(store, work, batch, one).await,
        Imported::Moved => {
            let end = Sqlite::query(&store.sql.move_import)
                .bind(session.digest.0.to_vec())
                .bind(session.ends_at.as_micros())
                .bind(columns::sweep_at(&session.digest, session.ends_at).as_micros());
            work.rows(TABLE, end).await?;
        }
        Imported::Kept | Imported::EndedBefore => {}
        Imported::UserGone => return Ok(()),
    }
    let seen = Sqlite::query(&store.sql.see_import)
        .bind(session.digest.0.to_vec())
        .bind(batch.seen_at.as_micros())
        .bind(one.of_row.0.to_vec());
    work.rows(TABLE, seen).await.map(drop)
}

async fn copy(
    store: &Sqlite,
    work: &mut Begun,
    batch: &ImportBatch,
    ImportedSession {
        session,
        username,
        of_row,
    }: &ImportedSession,
) -> Result<(), StoreError> {
    let claim = Sqlite::query(&store.sql.claim_import)
        .bind(session.digest.0.to_vec())
        .bind(session.user.0)
        .bind(batch.seen_at.as_micros())
        .bind(batch.source.as_str())
        .bind(of_row.0.to_vec());
    work.rows(TABLE, claim).await?;
    sessions::insert(store, work, session).await?;
    events::write(store, work, &ImportBatch::event_of(&batch.event, session, username)).await
}

async fn count(store: &Sqlite, source: &str) -> Result<u64, StoreError> {
    let query = || Sqlite::query(&store.sql.count_imported).bind(source.to_owned());
    let found = store.read(&store.readers, TABLE, query).await?;
    let row = found.first().ok_or(failed(sqlx::Error::RowNotFound))?;
    row.try_get("copies").map(columns::unsigned).map_err(failed)
}

async fn end_unseen(
    store: &Sqlite,
    (source, before): (&str, Timestamp),
    limit: u32,
    event: &Event,
    forget: bool,
) -> Result<Vec<Ended>, StoreError> {
    let mut work = store.begin(TABLE).await?;
    let outcome = async {
        let statement = Sqlite::query(&store.sql.end_unseen)
            .bind(source)
            .bind(before.as_micros())
            .bind(i64::from(limit));
        let gone = work.rows(TABLE, statement).await?;
        let ended: Vec<Ended> = gone.iter().map(rows::ended).collect::<Result<_, _>>().map_err(failed)?;
        for one in &ended {
            events::write(store, &mut work, &one.told(event)).await?;
            if forget {
                let forgotten = Sqlite::query(&store.sql.forget_import).bind(one.digest.0.to_vec());
                work.rows(TABLE, forgotten).await?;
            }
        }
        Ok(ended)
    }
    .await;
    work.settle(outcome).await
}

async fn find_user(store: &Sqlite, source: &str, subject: &str) -> Result<Option<User>, StoreError> {
    let query = || {
        let find = Sqlite::query(&store.sql.find_imported_user);
        find.bind(source.to_owned()).bind(subject.to_owned())
    };
    let found = store.read(&store.readers, "imported_users", query).await?;
    found.first().map(rows::user).transpose().map_err(failed)
}

async fn import_user(
    store: &Sqlite,
    source: &str,
    subject: &str,
    mut new: NewUser,
    event: Event,
) -> Result<(), StoreError> {
    let mut work = store.begin("imported_users").await?;
    let outcome = async {
        users::insert(store, &mut work, &mut new, &event).await?;
        let link = Sqlite::query(&store.sql.link_imported_user)
            .bind(source)
            .bind(subject)
            .bind(new.user.id.0);
        work.rows("imported_users", link).await.map(drop)
    }
    .await;
    work.settle(outcome).await
}
