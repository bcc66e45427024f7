//! Durable state: sessions, users, audit events, in Postgres or in one SQLite file.
//!
//! It does not decide who may sign in, and caches nothing. Called by session, account and audit. What must always hold:
//! every call ends within `Settings::call_timeout`; a change and its audit event are one transaction; a call whose
//! future is dropped is still carried out or rolled back whole (callers run it on the control runtime, see
//! [`crate::session`]).

use crate::model::Digest;
use crate::model::Event;
use crate::model::NewSession;
use crate::model::PublicId;
use crate::model::Session;
use crate::model::Timestamp;
use crate::model::User;
use crate::model::UserId;
use crate::model::UserState;
use crate::model::Username;
use secrecy::SecretString;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

/// Where and how state is kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which engine.
    pub place: Place,
    /// Most connections at once. Postgres only; one quarter, at least one, is kept for session look-ups.
    pub max_connections: u32,
    /// The most that one call may take, waiting for a connection included.
    pub call_timeout: Duration,
    /// Whether pending migrations are applied at start.
    pub migrate: bool,
    /// Whether a database that cannot be reached at start ends the process.
    pub required_at_start: bool,
    /// Whether statements are prepared by name; off behind poolers that cannot keep them.
    pub prepared_statements: bool,
}

/// Which engine keeps the state.
#[derive(Clone, Debug)]
pub enum Place {
    /// A Postgres server. URLs hold passwords and are never shown.
    Postgres {
        /// For everything.
        url: SecretString,
        /// A direct connection for migrations (and later the feed) where `url` goes through a pooler.
        direct_url: Option<SecretString>,
        /// Schema of our tables.
        schema: String,
    },
    /// One file, one gateway.
    Sqlite {
        /// The file; made when it is not there.
        path: PathBuf,
    },
}

/// Why a call failed. `Unreachable`, `TimedOut` and `Failed` all mean *could not ask*.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No connection could be made or the one at hand broke.
    #[error("the database cannot be reached")]
    Unreachable(#[source] sqlx::Error),
    /// The call took longer than it may.
    #[error("the database did not answer in time")]
    TimedOut,
    /// The database answered with an error.
    #[error("the database refused a statement on {table}")]
    Failed {
        /// The table that it was about.
        table: &'static str,
        /// What it said.
        #[source]
        source: sqlx::Error,
    },
    /// The name or e-mail is taken, or belonged to a deleted user.
    #[error("{0} is already taken")]
    Taken(&'static str),
    /// There is no such user.
    #[error("there is no such user")]
    NoSuchUser,
    /// The schema is newer than this program can run beside.
    #[error("the database was migrated by a newer version of portcullis ({found}); this one knows up to {known}")]
    TooNew {
        /// Version of the schema.
        found: i64,
        /// Greatest version known here.
        known: i64,
    },
    /// Migrations are pending and `migrate = false`.
    #[error("{0} migrations are pending; run `portcullis migrate`")]
    Pending(usize),
    /// Another gateway has the SQLite file.
    #[error("{0} is already in use by another gateway; one SQLite file serves one gateway")]
    InUse(PathBuf),
    /// The SQLite file or its folder cannot be used.
    #[error("cannot use {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// A session and its user, found in one round trip.
#[derive(Clone, Debug)]
pub struct Found {
    /// The session; may be over: the caller compares with its clock.
    pub session: Session,
    /// Its user, in whatever state.
    pub user: User,
}

/// What a log-in must know of a user.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The user.
    pub user: User,
    /// PHC string of the password; `None` when none was set.
    pub password: Option<SecretString>,
}

/// A user to be added.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// The record.
    pub user: User,
    /// PHC string of the password.
    pub password: Option<SecretString>,
}

/// A change to a user; `None` leaves a part as it is.
#[derive(Clone, Debug, Default)]
pub struct UserChange {
    /// New PHC string of the password.
    pub password: Option<SecretString>,
    /// New state.
    pub state: Option<UserState>,
    /// New groups, sorted.
    pub groups: Option<Vec<String>>,
    /// Whether all sessions of the user end in the same transaction.
    pub end_sessions: bool,
}

/// Which sessions to end.
#[derive(Clone, Debug)]
pub enum Which {
    /// The one with this digest.
    Digest(Digest),
    /// The one with this public id.
    Public(PublicId),
    /// All of a user.
    User(UserId),
    /// All of everybody.
    All,
}

/// A session that was ended, so that caches can forget it.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Its key.
    pub digest: Digest,
    /// Its public id.
    pub public_id: PublicId,
    /// Whose it was.
    pub user: UserId,
}

/// A call under way.
pub type Call<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Durable state. Both engines pass one contract suite (`tests/it/store_contract.rs`).
pub trait Store: Send + Sync + 'static {
    /// The session with this digest and its user, in one round trip; `None` when there is none. Uses connections that
    /// only look-ups use.
    fn find_session<'a>(&'a self, digest: &'a Digest) -> Call<'a, Option<Found>>;
    /// Inserts a session, deletes the one it replaces (if it exists; its `data` is carried over when it is the same
    /// user's), and writes `event`, in one transaction. Returns the replaced session. `NoSuchUser` when the user is
    /// gone or disabled.
    fn open_session(&self, new: NewSession, event: Event) -> Call<'_, Option<Ended>>;
    /// Deletes sessions and writes `event` in the same transaction, unless nothing was deleted. The event's `session`
    /// and `user` are filled in where exactly one session ended.
    fn end_sessions(&self, which: Which, event: Event) -> Call<'_, Vec<Ended>>;
    /// Sessions by public id in descending order (newest first), after `after`, at most `limit`, of one user or all,
    /// over or not.
    fn list_sessions(&self, user: Option<UserId>, after: Option<PublicId>, limit: u32) -> Call<'_, Vec<Found>>;
    /// The session with this public id.
    fn find_session_by_public_id(&self, id: PublicId) -> Call<'_, Option<Found>>;
    /// Adds a user. `Taken` when name or e-mail belong, or the name belonged, to another.
    fn add_user(&self, new: NewUser, event: Event) -> Call<'_, ()>;
    /// The user who signs in as `login`: a user name, or a lower-cased e-mail address.
    fn find_credentials<'a>(&'a self, login: &'a str) -> Call<'a, Option<Credentials>>;
    /// The user with this name.
    fn find_user<'a>(&'a self, username: &'a Username) -> Call<'a, Option<User>>;
    /// Users by name, after `after`, at most `limit`; `search` is a part of name or e-mail.
    fn list_users<'a>(
        &'a self,
        search: Option<&'a str>,
        after: Option<&'a Username>,
        limit: u32,
    ) -> Call<'a, Vec<User>>;
    /// Changes a user and writes `event`; returns the sessions that ended by it. `NoSuchUser` when there is none.
    fn change_user(&self, user: UserId, change: UserChange, event: Event) -> Call<'_, Vec<Ended>>;
    /// Deletes a user with all sessions, keeps the name from being given out again, writes `event`.
    fn delete_user(&self, user: UserId, event: Event) -> Call<'_, Vec<Ended>>;
    /// Writes an event that stands for itself.
    fn record(&self, event: Event) -> Call<'_, ()>;
    /// Events, newest first, at most `limit`, of one user or all.
    fn list_events(&self, user: Option<UserId>, limit: u32) -> Call<'_, Vec<RecordedEvent>>;
    /// The database's clock: one clock decides when sessions end.
    fn now(&self) -> Call<'_, Timestamp>;
    /// A number that changes whenever another connection changed the file; `None` where the engine has none (Postgres).
    fn data_version(&self) -> Call<'_, Option<i64>>;
    /// Numbers of users and unexpired sessions at `now`.
    fn count(&self, now: Timestamp) -> Call<'_, Counts>;
    /// Takes the migrations' lock and applies what is pending; returns their names. Nothing is applied on `dry_run`.
    fn migrate(&self, dry_run: bool) -> Call<'_, Vec<String>>;
    /// Engine, host, user and schema for the start-up log; never a password.
    fn description(&self) -> String;
    /// Closes all connections, at most `call_timeout` long.
    fn close(&self) -> Call<'_, ()>;
}

/// An audit event as it was read back.
#[derive(Clone, Debug, serde::Serialize)]
pub struct RecordedEvent {
    /// When.
    pub at: Timestamp,
    /// The word of [`crate::model::EventKind`].
    pub kind: String,
    /// Who did it.
    pub actor: String,
    /// Whom it concerns.
    pub user: Option<UserId>,
    /// Whom it concerns, as it was written at the time.
    pub username: Option<String>,
    /// Which session.
    pub session: Option<PublicId>,
    /// From which address.
    pub address: Option<std::net::IpAddr>,
    /// Why.
    pub reason: Option<String>,
}

/// How much there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Users in any state.
    pub users: u64,
    /// Sessions that are not over.
    pub sessions: u64,
}
