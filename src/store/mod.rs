//! Durable state: sessions, users, audit events, in Postgres or in one SQLite file.
//!
//! It does not decide who may sign in or whether a session is over, and caches nothing.
//!
//! Called by session and account, on the control runtime, so that a client that goes away cancels nothing; opened by app
//! and by the commands.
//!
//! What must always hold: every call but a migration ends within [`Settings::call_timeout`]; a change and its audit event
//! are one transaction; a row that could not be asked for is never reported absent; nothing is asked of a schema that
//! this program may not run beside. A call whose future is dropped is carried out whole or rolled back whole, and which
//! of the two is not known.

mod columns;
mod error;
mod feed;
mod imports;
mod instances;
mod legacy;
mod managing;
mod migrate;
mod open;
mod passes;
mod pool;
mod postgres;
mod records;
mod sqlite;
mod statements;
mod sweeps;
mod throttles;
mod tombstones;
mod touches;
mod work;

pub use error::StoreError;
pub use feed::{Beat, BeatKey, Feed, FeedMessage, Heartbeat, Subscription};
pub use imports::{ImportBatch, Imported, ImportedSession, Imports};
pub use instances::{Instance, Instances, SeenInstance, Signing};
pub use legacy::{
    Adding, Columns, Ddl, DdlError, Expiry, Finding, KeyedRow, LegacyFeed, LegacyPages, LegacyRow, LegacySettings,
    LegacyTable, Lifetime, Listed, ListedRow, Prolonging, Sample, Severity, Trigger, Unit, UserTable, Zone,
};
pub use managing::{Edited, EventFilter, EventHour, LogInTrait, Managing, Part, SessionFigures, UserEdit, Window};
pub use open::{Role, describe, is_same, open};
pub use passes::{Pass, Passes};
pub use postgres::each_server;
pub use postgres::statements as postgres_statements;
pub use records::{
    Added, Counts, Credentials, Ended, Found, NewUser, PasswordChange, RecordedEvent, UserChange, Which,
};
pub use sqlite::statements as sqlite_statements;
pub use sweeps::{Sweep, SweepScope};
pub use throttles::{Admission, Ban, BucketKind, Cell, WhichBans};
pub use tombstones::{Tombstone, Tombstones};
pub use touches::{Touch, Touched};

use crate::model::Digest;
use crate::model::Event;
use crate::model::NewSession;
use crate::model::PublicId;
use crate::model::Timestamp;
use crate::model::User;
use crate::model::UserId;
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
        /// A direct connection for migrations and the feed where `url` goes through a pooler.
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

/// What [`StoreError::Taken`] names.
const USERNAME: &str = "the user name";
const EMAIL: &str = "the e-mail address";

/// A call under way.
pub type Call<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Durable state. Both engines pass one contract suite (`tests/it/store_contract.rs`).
pub trait Store: Feed + Imports + Instances + Managing + Passes + Tombstones + 'static {
    /// Checks that this program may run beside the schema, and applies pending migrations where `migrate` is set. Until it
    /// succeeded, every other call but [`Store::migrate`] is [`StoreError::NotReady`]. [`open`] has done it unless a
    /// gateway could not reach its database; then it is to be repeated until it is `Ok`. May take as long as migrations do.
    fn prepare(&self) -> Call<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }
    /// The session with this digest and its user, in one round trip; `None` when there is none. Uses connections that
    /// only look-ups use.
    fn find_session<'a>(&'a self, digest: &'a Digest) -> Call<'a, Option<Found>>;
    /// Those of `digests` that there are, with their users, in one round trip and in any order. For open streams: never on
    /// the way of a request.
    fn find_sessions<'a>(&'a self, digests: &'a [Digest]) -> Call<'a, Vec<Found>>;
    /// Gives a session's device a name of at most 128 bytes and writes `event`; `false`, and nothing is written, when there
    /// is no such session or it has that name.
    fn name_device<'a>(&'a self, digest: &'a Digest, name: &'a str, event: Event) -> Call<'a, bool>;
    /// Inserts a session, deletes the one it replaces (if it exists; its `data` is carried over when it is the same
    /// user's), makes room for it among the user's sessions that are not over at its `created_at`, and writes `event`, in
    /// one transaction. Returns the sessions that ended; each has an event of its own, with the new one as its successor.
    /// `NoSuchUser` when the user is gone or disabled or no longer has the password that was proven, `Full` when there is no room and none is made.
    fn open_session(&self, new: NewSession, event: Event) -> Call<'_, Vec<Ended>>;
    /// Deletes sessions and writes `event` in the same transaction, unless nothing was deleted. The event's `session`
    /// and `user` are filled in where exactly one session ended.
    fn end_sessions(&self, which: Which, event: Event) -> Call<'_, Vec<Ended>>;
    /// Records activity of sessions, each of which is named once, and tells in the same order what became of each. Never
    /// inserts, moves times forward only, and leaves alone who was active less than `apart` before. Waits for no lock.
    fn touch_sessions<'a>(&'a self, touches: &'a [Touch], apart: Duration) -> Call<'a, Vec<Touched>>;
    /// Deletes at most `limit` sessions that are over at `now`, without waiting for those that somebody else holds; how
    /// many. `None` while another instance sweeps. No event: they were over already.
    fn sweep_sessions(&self, scope: SweepScope, now: Timestamp, limit: u32) -> Call<'_, Option<u64>>;
    /// Keeps what a run of the sweep did, and forgets all but the newest 200 runs.
    fn record_sweep(&self, sweep: Sweep) -> Call<'_, ()>;
    /// The last runs of the sweep, newest first, at most `limit`.
    fn last_sweeps(&self, limit: u32) -> Call<'_, Vec<Sweep>>;
    /// Sessions by public id in descending order (newest first), after `after`, at most `limit`, of one user or all,
    /// over or not.
    fn list_sessions(&self, user: Option<UserId>, after: Option<PublicId>, limit: u32) -> Call<'_, Vec<Found>>;
    /// The session with this public id.
    fn find_session_by_public_id(&self, id: PublicId) -> Call<'_, Option<Found>>;
    /// Adds a user. `Taken` when name or e-mail belong, or the name belonged, to another; a name that is another's e-mail
    /// address, or the other way round, is taken too. An address that nobody has verified is only a claim: the new user's is
    /// left out where the address is another's, and another's makes way for a name or a verified address.
    fn add_user(&self, new: NewUser, event: Event) -> Call<'_, ()>;
    /// Adds users as [`Store::add_user`] does, in one transaction, and tells in their order what became of each. With
    /// `dry_run` it only looks, at each by itself.
    fn add_users(&self, new: Vec<(NewUser, Event)>, dry_run: bool) -> Call<'_, Vec<Added>>;
    /// Replaces the hash of an active user's password and writes `event`; false, and nothing is done, when `before` is no
    /// longer what is stored.
    fn replace_password(&self, user: UserId, before: SecretString, after: SecretString, event: Event)
    -> Call<'_, bool>;
    /// Replaces the hash of the password of the new session's user, ends all their sessions, opens the new one (with the
    /// `data` of the one that it replaces) and writes `event`, in one transaction. Returns what ended; `None`, and nothing is
    /// done, when the user is not active or `before` is no longer what is stored.
    fn change_password(&self, new: NewSession, change: PasswordChange, event: Event) -> Call<'_, Option<Vec<Ended>>>;
    /// The user who signs in as `login`: a user name, or a lower-cased e-mail address that is verified. No user's name is
    /// another's address.
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
    /// Changes a user and writes `event`; returns the sessions that ended by it: all, where the change says so or disables.
    /// `NoSuchUser` when there is none.
    fn change_user(&self, user: UserId, change: UserChange, event: Event) -> Call<'_, Vec<Ended>>;
    /// Deletes a user with all sessions, keeps the name from being given out again, writes `event`.
    fn delete_user(&self, user: UserId, event: Event) -> Call<'_, Vec<Ended>>;
    /// Writes an event that stands for itself.
    fn record(&self, event: Event) -> Call<'_, ()>;
    /// Events, newest first, at most `limit`, of one user or all.
    fn list_events(&self, user: Option<UserId>, limit: u32) -> Call<'_, Vec<RecordedEvent>>;
    /// Counts an attempt in every cell, or in none when one of them refuses. Where a cell begins to refuse, an event like
    /// `ban` is written, once until nothing was tried for as long as the cell remembers. Cells have different buckets.
    fn admit<'a>(&'a self, cells: &'a [Cell], now: Timestamp, ban: &'a Event) -> Call<'a, Admission>;
    /// Takes back what one attempt counted.
    fn give_back<'a>(&'a self, cells: &'a [Cell]) -> Call<'a, ()>;
    /// When the bucket's next attempt is counted; `None` when it has no row.
    fn free_at<'a>(&'a self, bucket: &'a str) -> Call<'a, Option<Timestamp>>;
    /// What is refused at `now`, by bucket, after `after`, at most `limit`.
    fn list_bans<'a>(&'a self, now: Timestamp, after: Option<&'a str>, limit: u32) -> Call<'a, Vec<Ban>>;
    /// Deletes cells, also those that refuse nothing yet, and writes `event` unless there were none; their buckets.
    fn lift_bans<'a>(&'a self, which: &'a WhichBans, event: &'a Event) -> Call<'a, Vec<String>>;
    /// Deletes at most `limit` cells that say nothing at `now` any more; how many.
    fn forget_cells(&self, now: Timestamp, limit: u32) -> Call<'_, u64>;
    /// The database's clock: one clock decides when sessions end.
    fn now(&self) -> Call<'_, Timestamp>;
    /// A number that changes whenever another process changed the file (changes of this store do not count); `None` where
    /// the engine has none (Postgres).
    fn data_version(&self) -> Call<'_, Option<i64>>;
    /// Numbers of users and unexpired sessions at `now`.
    fn count(&self, now: Timestamp) -> Call<'_, Counts>;
    /// Takes the migrations' lock and applies what is pending; returns their names. Nothing is applied on `dry_run`. Not
    /// bound by `call_timeout` but by ten minutes.
    fn migrate(&self, dry_run: bool) -> Call<'_, Vec<String>>;
    /// Engine, host, user and schema for the start-up log; never a password.
    fn description(&self) -> String;
    /// Closes all connections, at most `call_timeout` long.
    fn close(&self) -> Call<'_, ()>;
}
