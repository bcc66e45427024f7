use super::Place;
use super::Settings;
use super::Store;
use super::StoreError;
use super::postgres::Postgres;
use super::sqlite::Sqlite;
use crate::clock::Clock;
use std::sync::Arc;

/// What a store is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// To serve: the only gateway of a SQLite file, and patient with a Postgres server that cannot be reached yet.
    Gateway,
    /// For one command, beside a running gateway.
    Command,
    /// To migrate by hand: the schema is neither checked nor changed before [`Store::migrate`].
    Migration,
}

/// Opens the store that `settings` name and makes it ready ([`Store::prepare`]).
///
/// A Postgres server that a gateway cannot reach is no error unless `required_at_start` is set: then the store comes back
/// unready, and `prepare` is to be repeated until it succeeds.
///
/// # Errors
/// See [`StoreError`]: among others `TooNew`, `Pending`, `InUse`, `File`, `Url`, and `Unreachable` or `TimedOut`.
pub async fn open(settings: &Settings, role: Role, clock: Clock) -> Result<Arc<dyn Store>, StoreError> {
    let store: Arc<dyn Store> = match &settings.place {
        Place::Postgres { .. } => Arc::new(Postgres::new(settings, clock)?),
        Place::Sqlite { path } => Arc::new(Sqlite::new(settings, path, role, &clock)?),
    };
    if role == Role::Migration {
        return Ok(store);
    }
    let patient = role == Role::Gateway && !settings.required_at_start;
    match store.prepare().await {
        Err(StoreError::Unreachable(_) | StoreError::TimedOut) if patient => Ok(store),
        Err(error) => Err(error),
        Ok(()) => Ok(store),
    }
}
