use super::Begun;
use super::Postgres;
use super::rows;
use crate::model::Event;
use crate::model::UserId;
use crate::store::StoreError;
use crate::store::records::RecordedEvent;
use time::OffsetDateTime;

const TABLE: &str = "audit_events";

/// Writes an event within the transaction of what it tells of.
pub(super) async fn write(store: &Postgres, work: &mut Begun, event: &Event) -> Result<(), StoreError> {
    let statement = store
        .query(&store.sql.insert_event)
        .bind(OffsetDateTime::from(event.at))
        .bind(event.kind.as_str())
        .bind(event.actor.as_str())
        .bind(event.user.map(|user| user.0))
        .bind(event.username.as_deref())
        .bind(event.session.map(|session| session.0))
        .bind(event.address.map(|address| address.to_string()))
        .bind(event.reason)
        .bind(event.device.as_deref())
        .bind(event.successor.map(|session| session.0))
        .bind(event.source.as_deref());
    work.rows(TABLE, statement).await.map(drop)
}

pub(super) async fn record(store: &Postgres, event: Event) -> Result<(), StoreError> {
    let mut work = store.begin(TABLE).await?;
    let outcome = write(store, &mut work, &event).await;
    work.settle(outcome).await
}

pub(super) async fn list(store: &Postgres, user: Option<UserId>, limit: u32) -> Result<Vec<RecordedEvent>, StoreError> {
    let query = || match user {
        None => store.query(&store.sql.list_events).bind(i64::from(limit)),
        Some(user) => store
            .query(&store.sql.list_events_of_user)
            .bind(i64::from(limit))
            .bind(user.0),
    };
    let found = store.read(&store.others, TABLE, query).await?;
    found
        .iter()
        .map(rows::event)
        .collect::<Result<_, _>>()
        .map_err(|error| StoreError::on(TABLE, error))
}
