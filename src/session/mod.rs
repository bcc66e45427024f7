//! Lives of sessions: token and cookie, open, find, end, and the cache in front of the store. No HTTP.

mod cookie;
mod entry;

pub use cookie::{CookieSettings, SameSite, Secure};
pub use entry::Entry;

use crate::clock::Clock;
use crate::model::Digest;
use crate::model::Event;
use crate::model::Timestamp;
use crate::model::User;
use crate::store::Ended;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::Which;
use crate::telemetry::Metrics;
use secrecy::SecretSlice;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// How sessions live.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Signing secrets, each at least 32 bytes; the first signs, all verify.
    pub secrets: Vec<SecretSlice<u8>>,
    /// The cookie.
    pub cookie: CookieSettings,
    /// How long a session lives without activity.
    pub idle_timeout: Duration,
    /// How long a session lives at most.
    pub lifetime: Duration,
    /// How long a remembered one lives at most.
    pub remember_lifetime: Duration,
    /// The cache.
    pub cache: CacheSettings,
}

/// How long an answer of the store is believed.
#[derive(Clone, Debug)]
pub struct CacheSettings {
    /// Most sessions kept.
    pub capacity: u64,
    /// How long while changes by others are seen (SQLite: by polling).
    pub max_age: Duration,
    /// How long while they are not (Postgres without a feed).
    pub max_age_without_feed: Duration,
}

/// Why a session could not be opened or ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The store did not do it; nothing is reported done.
    #[error("the session store did not carry this out")]
    Store(#[from] StoreError),
    /// The user is gone or disabled.
    #[error("this user may not sign in")]
    UserGone,
    /// The operating system gave no randomness.
    #[error("no randomness")]
    Randomness,
}

/// What is known of a request's cookie.
#[derive(Debug)]
pub enum Identified {
    /// No cookie of our name.
    Anonymous,
    /// Cookies of our name, none of them a live session's.
    Dead,
    /// Live sessions of two users: no session at all; both cookies are to be cleared. It was audited.
    Conflict,
    /// Exactly one live session.
    Live(Live),
    /// Could not ask: 503, and the cookie stays.
    Unavailable,
}

/// A session that passed every check.
#[derive(Clone, Debug)]
pub struct Live {
    /// The session and its user.
    pub entry: Arc<Entry>,
    /// How long ago the store was last asked, only during an outage within a route's grace.
    pub stale: Option<Duration>,
}

/// A log-in that was proven.
#[derive(Debug)]
pub struct Login {
    /// Who.
    pub user: User,
    /// How: RFC 8176 names, `pwd`.
    pub methods: Vec<String>,
    /// Whether to remember.
    pub remember: bool,
    /// The browser's description; cut to 128 bytes here.
    pub user_agent: Option<String>,
    /// From where.
    pub address: IpAddr,
    /// The session that this browser had; it is ended.
    pub replaces: Option<Digest>,
}

/// A fresh session.
pub struct Opened {
    /// The session as stored.
    pub entry: Arc<Entry>,
    /// The whole cookie value. A secret: goes into one `Set-Cookie` and nowhere else.
    pub cookie_value: secrecy::SecretString,
}

/// The sessions of this process, shared by all cores and the control runtime.
pub struct Sessions {
    _private: (),
}

#[expect(clippy::todo, reason = "skeleton")]
#[expect(clippy::unused_async, reason = "skeleton")]
impl Sessions {
    /// Over `store`; every call to it is spawned on `control`, so that a client that goes away cancels nothing.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        settings: Settings,
        clock: Clock,
        control: tokio::runtime::Handle,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let _ = (store, settings, clock, control, metrics);
        todo!()
    }
    /// The cookie's rules.
    #[must_use]
    pub fn cookie(&self) -> &CookieSettings {
        todo!()
    }
    /// The database's time, by which sessions end.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        todo!()
    }
    /// Whose session the cookie values of one request name. For the control runtime; cores use [`Local`]. `grace` is how
    /// much longer than its bound a cached answer is believed while the store cannot be asked.
    pub async fn identify(&self, values: &[&[u8]], grace: Duration) -> Identified {
        let _ = (values, grace);
        todo!()
    }
    /// Opens a session: always a new token. The old session of that browser is ended, here before this returns.
    ///
    /// # Errors
    /// See [`SessionError`]; nothing was opened then.
    pub async fn open(&self, login: Login) -> Result<Opened, SessionError> {
        let _ = login;
        todo!()
    }
    /// Ends sessions and forgets them in every cache of this process before it returns.
    ///
    /// # Errors
    /// The store's; then nothing was ended.
    pub async fn end(&self, which: Which, event: Event) -> Result<Vec<Ended>, SessionError> {
        let _ = (which, event);
        todo!()
    }
    /// Forgets sessions that somebody ended in the store.
    pub fn forget(&self, ended: &[Ended]) {
        let _ = ended;
        todo!()
    }
    /// A 32-byte key derived (HKDF-SHA-256) from each secret under `label`; the first is for making, all are for checking.
    #[must_use]
    pub fn derived_keys(&self, label: &str) -> Vec<aws_lc_rs::hmac::Key> {
        let _ = label;
        todo!()
    }
    /// Background work: polls SQLite's `data_version` every 50 ms, keeps the clock's offset to the database. Ends with `stop`.
    pub async fn watch(self: Arc<Self>, stop: tokio_util::sync::CancellationToken) {
        let _ = stop;
        todo!()
    }
}

/// One core's first level in front of [`Sessions`]. Not `Send`.
pub struct Local {
    _private: std::rc::Rc<()>,
}

#[expect(clippy::todo, reason = "skeleton")]
#[expect(clippy::unused_async, reason = "skeleton")]
impl Local {
    /// An empty first level.
    #[must_use]
    pub fn new(shared: Arc<Sessions>) -> Self {
        let _ = shared;
        todo!()
    }
    /// As [`Sessions::identify`], asking the first level before moka and the store.
    pub async fn identify(&self, values: &[&[u8]], grace: Duration) -> Identified {
        let _ = (values, grace);
        todo!()
    }
}
