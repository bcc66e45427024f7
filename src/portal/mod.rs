//! The gateway's own pages and JSON for people: log-in, log-out, me, session.

use crate::account::Accounts;
use crate::session::Sessions;
use crate::telemetry::Metrics;
use std::sync::Arc;

/// How the portal looks and what it allows.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it lives on every protected host, as in `/.portcullis`; no trailing slash.
    pub prefix: String,
    /// Shown on pages; `Portcullis` when absent.
    pub name: Option<String>,
    /// Other origins that `next` may name, as in `https://app.example.com`.
    pub return_origins: Vec<String>,
    /// Whether log-in over plain http from other addresses than loopback is allowed.
    pub unsafe_plain_login: bool,
}

/// The portal's desk.
pub struct Portal {
    settings: Settings,
    sessions: Arc<Sessions>,
    accounts: Arc<Accounts>,
    metrics: Arc<Metrics>,
}

impl Portal {
    /// A portal over sessions and accounts.
    #[must_use]
    pub fn new(settings: Settings, sessions: Arc<Sessions>, accounts: Arc<Accounts>, metrics: Arc<Metrics>) -> Self {
        Self {
            settings,
            sessions,
            accounts,
            metrics,
        }
    }
}
