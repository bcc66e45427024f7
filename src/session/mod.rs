//! Lives of sessions: token and cookie, open, find, touch, end, sweep, and the cache in front of the store.
//!
//! It knows no HTTP beyond the text of `Set-Cookie`, proves nobody's password, and keeps nothing that the store does
//! not have: every cache may be lost at any moment.
//!
//! Called by the gate on every request ([`Local`], one a core), by the portal and the commands ([`Sessions`]).
//!
//! What must always hold: three answers, and *could not ask* never becomes *absent*; what was ended is not believed by
//! anybody who asks after [`Sessions::end`] returned, however late an answer of the store comes (`stripes.rs` has the
//! argument); a session is over at its end, swept or not, and activity never brings it back; an invented cookie costs no
//! look-up. Every call to the store runs on the control runtime: a dropped future cancels nothing and loses nothing but
//! its answer.

mod activity;
mod among;
mod attend;
#[cfg(test)]
mod bench;
mod cache;
mod choice;
mod cookie;
mod crowd;
mod device;
mod ended;
mod entry;
mod everyone;
mod feed;
mod figures;
mod first;
mod instances;
mod keep;
mod legacy;
mod life;
mod load;
mod moment;
mod moved;
mod open_stream;
mod opened;
mod record;
mod reopen;
mod secret;
mod source;
mod spelled;
mod streams;
mod stripes;
mod sweep;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod token;
mod verified;
mod watch;
mod withheld;

pub use crate::model::WhenFull;
pub use crate::store::Ended;
pub use crate::store::Found;
pub use crate::store::PasswordChange;
pub use crate::store::StoreError;
pub use crate::store::Sweep;
pub use crate::store::SweepScope;
pub use crate::store::Which;
pub use activity::Renewal;
pub use among::{Accepted, Among, Recognised};
pub use cookie::{CookieSettings, SameSite, Secure};
pub use device::Naming;
pub use ended::EndedMeanwhile;
pub use entry::Entry;
pub use figures::{
    DayCount, DeviceCount, Figures, LogIns, NetworkCount, ReasonCount, SessionCounts, SweepRun, UserCount, figures,
};
pub use first::Local;
pub use instances::{Discord, InstanceFacts, Presence, Whereabouts, discords, facts, signing, strangers};
pub use open_stream::{Changes, OpenStream, StreamEnd};
pub use opened::{Entered, Entrance};
pub use record::{DataError, MOST_DATA};
pub use secret::{SecretError, load_or_make_secret};
#[cfg(any(test, fuzzing))]
pub(crate) use source::probe as source_probe;
pub use source::{
    Condition, CopyError, CopyReport, CopySettings, Derive, Encoding, EndError, EndedThere, Hash, MOST_PAYLOAD,
    Mapping, OpenCookie, PayloadError, PayloadFormat, Place, PlaceError, Preset, Secrets, SourceDesk, SourceReport,
    SourceSettings, Step, TheirSession, TheirSessions, Touching, UsersMapping, check_source, copy_sessions, principal,
    try_cookie,
};
pub use spelled::TheirCookie;
pub use sweep::{SweepSettings, Swept, sweep_store};
pub use withheld::Withheld;

use crate::clock::Clock;
use crate::model::Digest;
use crate::model::Timestamp;
use crate::model::User;
use crate::store::Store;
use crate::telemetry::Metrics;
use activity::Activity;
use cache::Cache;
use cache::Rules;
use choice::Conflicts;
use device::Namings;
use legacy::Sources;
use moved::Moved;
use secrecy::SecretSlice;
use secrecy::SecretString;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use token::Tokens;
use tokio::sync::watch::Sender;

/// How sessions live.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Signing secrets, each at least 32 bytes; the first signs, all verify.
    pub secrets: Vec<SecretSlice<u8>>,
    /// The cookie.
    pub cookie: CookieSettings,
    /// How long a session lives without activity, or after its log-in where activity moves no end.
    pub idle_timeout: Duration,
    /// How long a session lives at most.
    pub lifetime: Duration,
    /// How long a remembered one lives at most; `None`: nobody is remembered.
    pub remember_lifetime: Option<Duration>,
    /// How many sessions one user may have at once; `None` for any number.
    pub max_per_user: Option<NonZeroU32>,
    /// What becomes of a log-in that would be one too many.
    pub when_full: WhenFull,
    /// Whether activity moves the idle end; never past the absolute one, and never that of a remembered session, which is
    /// its absolute end.
    pub rolling: bool,
    /// The least time between two recorded activities of a session; a quarter of the idle timeout where that is shorter.
    pub touch_interval: Duration,
    /// When expired sessions are removed.
    pub sweep: SweepSettings,
    /// The cache.
    pub cache: CacheSettings,
    /// Applications that keep sessions of their own.
    pub sources: Vec<SourceSettings>,
}

/// How long an answer of the store is believed.
#[derive(Clone, Debug)]
pub struct CacheSettings {
    /// Most sessions kept.
    pub capacity: u64,
    /// How long while changes by others are seen (Postgres: by the feed; SQLite: by polling).
    pub max_age: Duration,
    /// How long while they are not.
    pub max_age_without_feed: Duration,
}

impl CacheSettings {
    /// How long what was ended elsewhere is believed at most while changes by others are not seen: the bound for that, or
    /// the time that it takes to notice, whichever is longer.
    #[must_use]
    pub fn unseen_for(&self) -> Duration {
        self.max_age_without_feed.max(feed::LEASE)
    }
}

/// Why a session could not be opened or ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The store did not do it; nothing is reported done.
    #[error("the session store did not carry this out")]
    Store(#[from] StoreError),
    /// The user has as many sessions as they may have, and none is ended for another.
    #[error("this user has too many sessions")]
    Full,
    /// A session of an application was not ended, or its row stands.
    #[error("the session of an application was not ended wholly")]
    NotEnded(#[from] EndError),
    /// There is no such source.
    #[error("there is no such source")]
    NoSource,
    /// The user is gone or disabled.
    #[error("this user may not sign in")]
    UserGone,
    /// The password that was proven is no longer the user's; nothing was changed.
    #[error("the password was changed meanwhile")]
    PasswordChanged,
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
    /// Whether the user asked to be remembered.
    pub remember: bool,
    /// Whether this user signed in before in this browser.
    pub known_browser: bool,
    /// The browser's description; cut to 128 bytes here.
    pub user_agent: Option<String>,
    /// From where.
    pub address: IpAddr,
    /// The session that this browser had; it is ended.
    pub replaces: Option<Digest>,
    /// The hash of the password that was proven; a log-in with one that was changed meanwhile opens nothing.
    pub proven: Option<SecretString>,
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
    settings: Settings,
    tokens: Tokens,
    cache: Arc<Cache>,
    conflicts: Arc<Conflicts>,
    namings: Arc<Namings>,
    sources: Sources,
    /// Those that are attended to: of the settings in effect.
    attended: Arc<Sender<Sources>>,
    moved: Moved,
}

impl Sessions {
    /// The longest outage grace that a route may have.
    pub const LONGEST_GRACE: Duration = Duration::from_mins(15);

    /// Over `store`; every call to it is spawned on `control`, so that a client that goes away cancels nothing. Aged
    /// answers are kept for [`Sessions::LONGEST_GRACE`].
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        settings: Settings,
        clock: Clock,
        control: tokio::runtime::Handle,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        Self::with_longest_grace(store, settings, clock, control, metrics, Self::LONGEST_GRACE)
    }

    /// The same; aged answers are kept only for `longest_grace`, the longest of all routes (usually none has one, and
    /// memory is given back sooner).
    #[must_use]
    pub fn with_longest_grace(
        store: Arc<dyn Store>,
        settings: Settings,
        clock: Clock,
        control: tokio::runtime::Handle,
        metrics: Arc<Metrics>,
        longest_grace: Duration,
    ) -> Arc<Self> {
        let rules = Rules {
            longest_grace,
            activity: Activity::new(&settings),
            lookups: None,
            elder: None,
            beat_keys: feed::keys(&settings.secrets),
        };
        let cache = Arc::new(Cache::new(store, &settings.cache, rules, clock, control, metrics));
        let sources = legacy::sources(&settings, &[], &cache);
        cache.accompany(legacy::caches(&sources).iter());
        Arc::new(Self {
            tokens: Tokens::new(&settings.secrets, &settings.cookie.token_prefix),
            cache,
            conflicts: Arc::default(),
            namings: Arc::default(),
            attended: Arc::new(Sender::new(Arc::clone(&sources))),
            sources,
            moved: Moved::new(&settings),
            settings,
        })
    }

    /// The same sessions by other settings: store, cache, open streams and what waits to be written are one, and so are
    /// those of every source whose settings are the same. Nothing of this process changes before [`Sessions::take_over`].
    #[must_use]
    pub fn successor(&self, settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            tokens: Tokens::new(&settings.secrets, &settings.cookie.token_prefix),
            cache: Arc::clone(&self.cache),
            conflicts: Arc::clone(&self.conflicts),
            namings: Arc::clone(&self.namings),
            sources: legacy::sources(&settings, &self.sources, &self.cache),
            attended: Arc::clone(&self.attended),
            moved: Moved::new(&settings),
            settings,
        })
    }

    /// Has what all share go by these settings: what activity does, and how long answers are believed, where the longest
    /// outage grace of any route is `longest_grace`.
    pub fn take_over(&self, longest_grace: Duration) {
        self.cache.adopt(&self.settings.cache, longest_grace);
        self.cache.activity.adopt(&self.settings);
        self.cache.adopt_beat_keys(feed::keys(&self.settings.secrets));
        for source in self.sources.iter() {
            source.adopt(&self.settings, longest_grace);
        }
        // Those that are gone, too, for as long as somebody has a stream that began with them.
        let mut companions = self.cache.companions();
        let caches = legacy::caches(&self.sources);
        companions.retain(|known| !caches.iter().any(|cache| Arc::ptr_eq(cache, known)));
        companions.extend(caches);
        self.cache.accompany(companions.iter());
        self.attended.send_replace(Arc::clone(&self.sources));
    }

    /// The cookie's rules.
    #[must_use]
    pub fn cookie(&self) -> &CookieSettings {
        &self.settings.cookie
    }

    /// Whether users may ask to be remembered.
    #[must_use]
    pub fn remembers(&self) -> bool {
        self.settings.remember_lifetime.is_some()
    }

    /// The database's time, by which sessions end.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.cache.time.moment().now
    }

    /// Whose session the cookie values of one request name. For the control runtime; cores use [`Local`]. `grace` is how
    /// much longer than its bound a cached answer is believed while the store cannot be asked.
    pub async fn identify(&self, values: &[&[u8]], grace: Duration) -> Identified {
        self.ask(&self.tokens.read(values), grace).await
    }

    /// A 32-byte key derived (HKDF-SHA-256) from each secret under `label`; the first is for making, all are for checking.
    /// `cookie` is taken.
    #[must_use]
    pub fn derived_keys(&self, label: &str) -> Vec<aws_lc_rs::hmac::Key> {
        token::derive(&self.settings.secrets, label)
    }
}
