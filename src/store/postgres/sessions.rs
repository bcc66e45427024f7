use super::Begun;
use super::Postgres;
use super::events;
use super::rows;
use crate::model::Digest;
use crate::model::Event;
use crate::model::PublicId;
use crate::model::Session;
use crate::model::UserId;
use crate::store::StoreError;
use crate::store::columns;
use crate::store::records::Ended;
use crate::store::records::Found;
use crate::store::records::Which;
use time::OffsetDateTime;
use uuid::Uuid;

const TABLE: &str = "sessions";

pub(super) async fn find(store: &Postgres, digest: &Digest) -> Result<Option<Found>, StoreError> {
    let query = || store.query(&store.sql.find_session).bind(&digest.0[..]);
    let found = store.read(&store.lookups, TABLE, query).await?;
    found
        .first()
        .map(rows::found)
        .transpose()
        .map_err(|error| StoreError::on(TABLE, error))
}

pub(super) async fn find_by_public_id(store: &Postgres, id: PublicId) -> Result<Option<Found>, StoreError> {
    let query = || store.query(&store.sql.find_session_by_public_id).bind(id.0);
    let found = store.read(&store.others, TABLE, query).await?;
    found
        .first()
        .map(rows::found)
        .transpose()
        .map_err(|error| StoreError::on(TABLE, error))
}

pub(super) async fn list(
    store: &Postgres,
    user: Option<UserId>,
    after: Option<PublicId>,
    limit: u32,
) -> Result<Vec<Found>, StoreError> {
    let below = after.map_or(Uuid::max(), |after| after.0);
    let query = || match user {
        None => store.query(&store.sql.list_sessions).bind(below).bind(i64::from(limit)),
        Some(user) => {
            let of_user = store.query(&store.sql.list_sessions_of_user);
            of_user.bind(below).bind(i64::from(limit)).bind(user.0)
        }
    };
    let found = store.read(&store.others, TABLE, query).await?;
    found
        .iter()
        .map(rows::found)
        .collect::<Result<_, _>>()
        .map_err(|error| StoreError::on(TABLE, error))
}

pub(super) async fn insert(store: &Postgres, work: &mut Begun, session: &Session) -> Result<(), StoreError> {
    let statement = store
        .query(&store.sql.insert_session)
        .bind(&session.digest.0[..])
        .bind(session.public_id.0)
        .bind(session.user.0)
        .bind(OffsetDateTime::from(session.created_at))
        .bind(OffsetDateTime::from(session.authenticated_at))
        .bind(OffsetDateTime::from(session.last_seen_at))
        .bind(OffsetDateTime::from(session.expires_at))
        .bind(OffsetDateTime::from(session.ends_at))
        .bind(OffsetDateTime::from(columns::sweep_at(
            &session.digest,
            session.expires_at,
        )))
        .bind(session.remembered)
        .bind(columns::methods_text(&session.methods))
        .bind(session.user_agent.as_deref())
        .bind(session.device.as_deref())
        .bind(session.first_address.map(|address| address.to_string()))
        .bind(session.last_address.map(|address| address.to_string()))
        .bind(session.data.as_ref());
    work.rows(TABLE, statement).await.map(drop)
}

pub(super) async fn end(store: &Postgres, which: &Which, mut event: Event) -> Result<Vec<Ended>, StoreError> {
    let mut work = store.begin(TABLE).await?;
    let outcome = async {
        let ended = delete(store, &mut work, which).await?;
        if !ended.is_empty() {
            Ended::tell(&ended, &mut event);
            events::write(store, &mut work, &event).await?;
        }
        Ok(ended)
    }
    .await;
    work.settle(outcome).await
}

/// Deletes sessions within a transaction.
pub(super) async fn delete(store: &Postgres, work: &mut Begun, which: &Which) -> Result<Vec<Ended>, StoreError> {
    let statement = match which {
        Which::Digest(digest) => store.query(&store.sql.end_by_digest).bind(digest.0.to_vec()),
        Which::Public(id) => store.query(&store.sql.end_by_public_id).bind(id.0),
        Which::User(user) => store.query(&store.sql.end_of_user).bind(user.0),
        Which::Others { user, keep } => {
            let others = store.query(&store.sql.end_others_of_user);
            others.bind(user.0).bind(keep.0.to_vec())
        }
        Which::All => store.query(&store.sql.end_all),
    };
    let deleted = work.rows(TABLE, statement).await?;
    deleted
        .iter()
        .map(rows::ended)
        .collect::<Result<_, _>>()
        .map_err(|error| StoreError::on(TABLE, error))
}
