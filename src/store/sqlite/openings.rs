use super::Begun;
use super::Sqlite;
use super::events;
use super::rows;
use super::sessions;
use crate::model::Event;
use crate::model::EventKind;
use crate::model::NewSession;
use crate::model::Session;
use crate::model::WhenFull;
use crate::store::StoreError;
use crate::store::records::Ended;
use secrecy::ExposeSecret;
use sqlx::Row;

const TABLE: &str = "sessions";

fn failed(error: sqlx::Error) -> StoreError {
    StoreError::on(TABLE, error)
}

pub(super) async fn open(store: &Sqlite, new: NewSession, event: Event) -> Result<Vec<Ended>, StoreError> {
    let mut work = store.begin(TABLE).await?;
    let outcome = make_room_and_insert(store, &mut work, new, &event).await;
    work.settle(outcome).await
}

async fn make_room_and_insert(
    store: &Sqlite,
    work: &mut Begun,
    new: NewSession,
    event: &Event,
) -> Result<Vec<Ended>, StoreError> {
    let proven = new.proven.as_ref().map(|hash| hash.expose_secret().to_owned());
    let active = Sqlite::query(&store.sql.active_user)
        .bind(new.session.user.0)
        .bind(proven);
    if work.rows("users", active).await?.is_empty() {
        return Err(StoreError::NoSuchUser);
    }
    let mut leaving = surplus(store, work, &new).await?;
    if !leaving.is_empty() && new.when_full == WhenFull::Refuse {
        return Err(StoreError::Full);
    }
    let is_new_device = new.tell_new_device && !knows_agent(store, work, &new.session).await?;
    leaving.extend(new.replaces.map(|digest| digest.0.to_vec()));
    let mut session = new.session;
    let mut ended = Vec::new();
    for digest in leaving {
        let take = Sqlite::query(&store.sql.take_session).bind(digest);
        for row in &work.rows(TABLE, take).await? {
            let one = rows::ended(row).map_err(failed)?;
            let replaced = new.replaces == Some(one.digest);
            if replaced && one.user == session.user && session.data.is_none() {
                session.data = row.try_get("data").map_err(failed)?;
            }
            let reason = if replaced { "replaced" } else { "limit" };
            events::write(store, work, &one.succeeded(event, reason)).await?;
            ended.push(one);
        }
    }
    sessions::insert(store, work, &session).await?;
    events::write(store, work, event).await?;
    if is_new_device {
        let event = Event {
            kind: EventKind::NewDevice,
            ..event.clone()
        };
        events::write(store, work, &event).await?;
    }
    Ok(ended)
}

/// Digests of the sessions that must end so that there is room for a new one, the longest unseen.
async fn surplus(store: &Sqlite, work: &mut Begun, new: &NewSession) -> Result<Vec<Vec<u8>>, StoreError> {
    let Some(limit) = new.limit else {
        return Ok(Vec::new());
    };
    let replaced = new.replaces.map(|digest| digest.0.to_vec());
    let statement = Sqlite::query(&store.sql.surplus_sessions)
        .bind(new.session.user.0)
        .bind(new.session.created_at.as_micros())
        .bind(replaced.unwrap_or_default())
        .bind(i64::from(limit.get()) - 1);
    let found = work.rows(TABLE, statement).await?;
    found
        .iter()
        .map(|row| row.try_get("digest"))
        .collect::<Result<_, _>>()
        .map_err(failed)
}

async fn knows_agent(store: &Sqlite, work: &mut Begun, session: &Session) -> Result<bool, StoreError> {
    let statement = Sqlite::query(&store.sql.knows_agent)
        .bind(session.user.0)
        .bind(session.created_at.as_micros())
        .bind(session.user_agent.clone());
    Ok(!work.rows(TABLE, statement).await?.is_empty())
}
