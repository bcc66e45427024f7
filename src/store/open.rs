use super::Place;
use super::Settings;
use super::Store;
use super::StoreError;
use super::postgres;
use super::postgres::Postgres;
use super::sqlite;
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
    // A file that cannot be opened does not come back by itself, as a server does.
    let server = matches!(settings.place, Place::Postgres { .. });
    let patient = server && role == Role::Gateway && !settings.required_at_start;
    match store.prepare().await {
        Err(StoreError::Unreachable(_) | StoreError::TimedOut) if patient => Ok(store),
        Err(error) => Err(error),
        Ok(()) => Ok(store),
    }
}

/// The store that `settings` name, for logs and messages: engine, host, database, user and schema, or the file. `None`
/// when the URL cannot be used.
#[must_use]
pub fn describe(settings: &Settings) -> Option<String> {
    match &settings.place {
        Place::Postgres { url, schema, .. } => postgres::describe(url, schema, settings),
        Place::Sqlite { path } => Some(sqlite::describe(path)),
    }
}

/// Whether both name the same data: the same server, database and schema whoever asks, or the same file.
#[must_use]
pub fn is_same(left: &Settings, right: &Settings) -> bool {
    let whereabouts = |settings: &Settings| match &settings.place {
        Place::Postgres { url, schema, .. } => postgres::whereabouts(url, schema, settings),
        Place::Sqlite { path } => Some(sqlite::describe(path)),
    };
    whereabouts(left).is_some_and(|place| Some(place) == whereabouts(right))
}
