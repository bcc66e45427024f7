//! A gateway's sessions for tests.

use super::CacheSettings;
use super::CookieSettings;
use super::Local;
use super::Login;
use super::SameSite;
use super::Secure;
use super::Sessions;
use super::Settings;
use super::SweepSettings;
use super::WhenFull;
use super::testing::FakeStore;
use super::testing::IDLE;
use super::testing::LIFETIME;
use super::testing::MAX_AGE;
use super::testing::SHORT;
use super::testing::START;
use super::testing::TOUCH;
use super::testing::user;
use crate::clock::Clock;
use crate::model::*;
use crate::telemetry::Metrics;
use secrecy::ExposeSecret;
use secrecy::SecretSlice;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

/// A gateway's sessions over a fake store, with a clock that stands still.
pub(super) struct Bench {
    pub(super) store: Arc<FakeStore>,
    pub(super) clock: Clock,
    pub(super) sessions: Arc<Sessions>,
    pub(super) metrics: Arc<Metrics>,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::over(Arc::new(FakeStore::new()), Clock::manual(START))
    }

    /// Another instance over the same store.
    pub(super) fn over(store: Arc<FakeStore>, clock: Clock) -> Self {
        Self::with(store, clock, settings())
    }

    /// The same by other settings.
    pub(super) fn with(store: Arc<FakeStore>, clock: Clock, settings: Settings) -> Self {
        let metrics = Arc::new(Metrics::new());
        let control = tokio::runtime::Handle::current();
        let sessions = Sessions::new(store.clone(), settings, clock.clone(), control, Arc::clone(&metrics));
        Self {
            store,
            clock,
            sessions,
            metrics,
        }
    }

    pub(super) fn local(&self) -> Local {
        Local::new(Arc::clone(&self.sessions))
    }

    pub(super) fn login(&self, name: &str) -> Login {
        let user = user(name);
        self.store.users.lock().unwrap().insert(user.id, user.clone());
        Login {
            user,
            methods: vec!["pwd".to_owned()],
            remember: false,
            known_browser: true,
            user_agent: Some("Mozilla".to_owned()),
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            replaces: None,
            proven: None,
        }
    }

    /// Signs `name` in: the cookie value and the digest.
    pub(super) async fn open(&self, name: &str) -> (String, Digest) {
        let opened = self.sessions.open(self.login(name)).await.unwrap();
        (
            opened.cookie_value.expose_secret().to_owned(),
            opened.entry.session.digest,
        )
    }

    /// The same, and forgets the cached copy.
    pub(super) async fn open_cold(&self, name: &str) -> (String, Digest) {
        let opened = self.open(name).await;
        self.sessions.forget_all();
        opened
    }
}

pub(super) fn settings() -> Settings {
    Settings {
        secrets: vec![SecretSlice::from(vec![1; 32])],
        cookie: CookieSettings {
            name: "__Host-portcullis".to_owned(),
            domains: Vec::new(),
            secure: Secure::Always,
            same_site: SameSite::Lax,
            token_prefix: String::new(),
        },
        idle_timeout: IDLE,
        lifetime: LIFETIME,
        remember_lifetime: Some(4 * LIFETIME),
        max_per_user: None,
        when_full: WhenFull::EndOldest,
        rolling: true,
        touch_interval: TOUCH,
        sources: Vec::new(),
        sweep: SweepSettings {
            interval: Duration::from_mins(15),
            at: None,
        },
        cache: CacheSettings {
            capacity: 1_000,
            max_age: MAX_AGE,
            max_age_without_feed: SHORT,
        },
    }
}

pub(super) fn logout() -> Event {
    Event::new(START, EventKind::LoggedOut, "anna")
}
