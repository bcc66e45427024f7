//! Cookies without log-ins: of sessions that there are, as another instance on the same database would open them, and of
//! sessions that there are none of.

use super::store::{add, sqlite_settings, user};
use base64::Engine;
use portcullis::clock::Clock;
use portcullis::model::User;
use portcullis::session::{
    CacheSettings, CookieSettings, Login, SameSite, Secure, Sessions, Settings, SweepSettings, WhenFull,
};
use portcullis::store::{Place, Role, Store, open};
use portcullis::telemetry::Metrics;
use secrecy::{ExposeSecret, SecretSlice};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

/// The session secret of gateways whose cookies are made here.
pub const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Signs people in without a password, as another instance on the same database would.
pub struct Usher {
    store: Arc<dyn Store>,
    sessions: Arc<Sessions>,
    user: User,
}

impl Usher {
    /// Of the gateway on `url`, for a user of its own.
    pub async fn on(url: &str) -> Self {
        let place = Place::Postgres {
            url: url.to_owned().into(),
            direct_url: None,
            schema: "portcullis".to_owned(),
        };
        let settings_of_store = portcullis::store::Settings {
            place,
            max_connections: 4,
            call_timeout: Duration::from_secs(20),
            migrate: true,
            required_at_start: true,
            prepared_statements: true,
        };
        let store = open(&settings_of_store, Role::Command, Clock::system())
            .await
            .expect("a store");
        let user = user("zoe");
        add(&*store, &user).await;
        let sessions = Sessions::new(
            Arc::clone(&store),
            by_our_secret(),
            Clock::system(),
            tokio::runtime::Handle::current(),
            Arc::new(Metrics::new()),
        );
        Self { store, sessions, user }
    }

    /// The line with the cookie of a new session.
    pub async fn sign_in(&self) -> String {
        let login = Login {
            user: self.user.clone(),
            methods: vec!["pwd".to_owned()],
            remember: false,
            known_browser: true,
            user_agent: Some("Mozilla/5.0".to_owned()),
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            replaces: None,
            proven: None,
        };
        let opened = self.sessions.open(login).await.expect("a session is opened");
        line(opened.cookie_value.expose_secret())
    }

    /// The same, so many times.
    pub async fn sign_in_many(&self, count: usize) -> Vec<String> {
        let mut lines = Vec::with_capacity(count);
        for _ in 0..count {
            lines.push(self.sign_in().await);
        }
        lines
    }
}

fn by_our_secret() -> Settings {
    Settings {
        secrets: vec![SecretSlice::from(SECRET.as_bytes().to_vec())],
        cookie: CookieSettings {
            name: "__Host-portcullis".to_owned(),
            domains: Vec::new(),
            secure: Secure::Always,
            same_site: SameSite::Lax,
            token_prefix: String::new(),
        },
        idle_timeout: Duration::from_hours(12),
        lifetime: Duration::from_hours(24),
        remember_lifetime: None,
        max_per_user: None,
        when_full: WhenFull::EndOldest,
        rolling: true,
        touch_interval: Duration::from_mins(1),
        sources: Vec::new(),
        sweep: SweepSettings {
            interval: Duration::from_mins(15),
            at: None,
        },
        cache: CacheSettings {
            capacity: 1_000,
            max_age: Duration::ZERO,
            max_age_without_feed: Duration::ZERO,
        },
    }
}

/// The line with a session cookie of this value.
fn line(value: &str) -> String {
    format!("Cookie: __Host-portcullis={value}")
}

/// Makes cookies of sessions that there are none of, signed by the right secret: what somebody who kept every cookie of
/// ended sessions has.
pub struct Forger {
    key: aws_lc_rs::hmac::Key,
}

impl Forger {
    /// With the secret of the tests.
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = sqlite_settings(&folder.path().join("portcullis.db"));
        let store = open(&settings, Role::Command, Clock::system()).await.expect("a store");
        let control = tokio::runtime::Handle::current();
        let sessions = Sessions::new(
            store,
            by_our_secret(),
            Clock::system(),
            control,
            Arc::new(Metrics::new()),
        );
        let key = sessions.derived_keys("cookie").swap_remove(0);
        Self { key }
    }

    /// The line with the cookie of this number.
    pub fn cookie(&self, number: u64) -> String {
        let mut raw = [7_u8; 48];
        raw[..8].copy_from_slice(&number.to_le_bytes());
        let mac = aws_lc_rs::hmac::sign(&self.key, &raw[..32]);
        raw[32..].copy_from_slice(&mac.as_ref()[..16]);
        line(&base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(raw))
    }

    /// The same, signed by nobody.
    pub fn unsigned(number: u64) -> String {
        let mut raw = [7_u8; 48];
        raw[..8].copy_from_slice(&number.to_le_bytes());
        line(&base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(raw))
    }
}
