//! The gateway's own pages and JSON for people: log-in, registration, password, log-out, me, sessions, events, sync; and
//! the look of every refusal.
//!
//! It does not check passwords (account does), does not make or end sessions (session does) and does not decide what may
//! pass (proxy does).
//!
//! Called by proxy, which hands over whole requests under the prefix as [`crate::web::Exchange`] and takes
//! [`ErrorPage`] and [`login_location`] for its own refusals; [`Portal`] runs on the control runtime.
//!
//! What must always hold: nothing changes for a request that did not come from our own origin; nobody is sent to another
//! site than the allowed ones; an outage signs nobody out. A future dropped half-way loses only the answer: a session
//! that it opened or ended stays opened or ended.

mod circle;
mod cors;
mod credential_fields;
mod desk;
mod endpoint;
mod entrances;
mod error_page;
mod events;
mod fields;
mod form_token;
mod known_browser;
mod login;
mod logout;
mod moment;
mod own_sessions;
mod pages;
mod password;
#[cfg(any(test, fuzzing))]
pub(crate) mod probe;
mod refused;
mod register;
mod return_address;
mod sync;
#[cfg(test)]
mod testing;
mod theirs;
mod trips;
mod visitor;

pub use endpoint::ENDPOINTS;
pub use error_page::{Action, ErrorPage};
pub use pages::DEFAULT_NAME;
pub use return_address::{MAX_NEXT, login_location};

use crate::account::Accounts;
use crate::session::Sessions;
use crate::telemetry::Metrics;
use form_token::Forms;
use known_browser::KnownBrowsers;
use return_address::ReturnRules;
use std::sync::Arc;
use trips::Trips;

/// How the portal looks and what it allows.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it lives on every protected host, as in `/.portcullis`; no trailing slash.
    pub prefix: String,
    /// Shown on pages; `Portcullis` when absent.
    pub name: Option<String>,
    /// Other origins that `next` may name and whose pages may use the JSON endpoints, as in `https://app.example.com`.
    pub return_origins: Vec<String>,
    /// Canonical hosts whose log-out empties the browser's cache.
    pub clear_cache: Vec<String>,
    /// Whether log-in over plain http from other addresses than loopback is allowed.
    pub unsafe_plain_login: bool,
    /// Whether visitors may make an account for themselves.
    pub registration: bool,
}

/// The names of every cookie of the portal's own. They concern nobody behind the gateway.
#[must_use]
pub fn cookie_names() -> Vec<&'static str> {
    [form_token::NAMES, trips::NAMES, known_browser::NAMES].concat()
}

/// The portal's desk.
pub struct Portal {
    settings: Settings,
    sessions: Arc<Sessions>,
    accounts: Arc<Accounts>,
    metrics: Arc<Metrics>,
    forms: Forms,
    trips: Trips,
    browsers: KnownBrowsers,
    returns: ReturnRules,
    policy: String,
}

impl Portal {
    /// A portal over sessions and accounts. The keys of its forms are derived from the session secrets.
    #[must_use]
    pub fn new(settings: Settings, sessions: Arc<Sessions>, accounts: Arc<Accounts>, metrics: Arc<Metrics>) -> Self {
        let forms = Forms::new(sessions.derived_keys("form"));
        let trips = Trips::new(sessions.derived_keys("trips"));
        let browsers = KnownBrowsers::new(sessions.derived_keys("known-browser"));
        let returns = ReturnRules::new(&settings.prefix, &settings.return_origins);
        let policy = pages::policy(returns.origins());
        Self {
            settings,
            sessions,
            accounts,
            metrics,
            forms,
            trips,
            browsers,
            returns,
            policy,
        }
    }
}
