//! What one configuration makes of the rooms: built whole, exchanged whole.

use super::ready::Ready;
use super::reload::Bell;
use crate::account::Accounts;
use crate::admin;
use crate::admin::Admin;
use crate::admin::Reload;
use crate::admin::StoreFacts;
use crate::audit::Log;
use crate::clock::Clock;
use crate::config::Config;
use crate::lifecycle::Lifecycle;
use crate::portal;
use crate::portal::Portal;
use crate::proxy::Shared;
use crate::proxy::Surroundings;
use crate::session::Sessions;
use crate::store::Store;
use crate::telemetry::AccessLog;
use crate::telemetry::Metrics;
use crate::web::Desk;
use anyhow::Context;
use std::sync::Arc;

/// What stays the same for the life of the process.
pub(super) struct Permanent {
    pub clock: Clock,
    pub lifecycle: Lifecycle,
    pub metrics: Arc<Metrics>,
    pub store: Arc<dyn Store>,
    pub store_facts: StoreFacts,
    pub ready: Arc<Ready>,
    pub bell: Arc<Bell>,
    /// Names of the admin listener.
    pub admin_hosts: Vec<String>,
    pub cores: usize,
    /// Where desks work.
    pub control: tokio::runtime::Handle,
    /// Random, so that request ids of two runs differ; one for the whole run, so that those of one run do not meet.
    pub id_seed: u64,
}

/// Every room by one configuration.
pub(super) struct Snapshot {
    pub config: Config,
    pub sessions: Arc<Sessions>,
    pub accounts: Arc<Accounts>,
    pub log: Arc<Log>,
    pub access: Option<AccessLog>,
    pub shared: Arc<Shared>,
}

impl Snapshot {
    /// The first one; `sessions` go by `config` already.
    ///
    /// # Errors
    /// The access log cannot be opened.
    pub fn first(
        permanent: &Permanent,
        config: Config,
        sessions: Arc<Sessions>,
        https_port: Option<u16>,
    ) -> anyhow::Result<Self> {
        let (keys, now) = counting(&sessions);
        let store = Arc::clone(&permanent.store);
        let accounts = Accounts::keyed(store, config.account.clone(), permanent.clock.clone(), &keys, now);
        let access = open_access_log(permanent, &config)?;
        Ok(Self::of(permanent, config, (sessions, accounts), access, https_port))
    }

    /// The one after this. It shares what is remembered: the cache, open streams, hashing threads.
    ///
    /// # Errors
    /// The access log cannot be opened; nothing has changed then.
    pub fn successor(&self, permanent: &Permanent, config: Config, https_port: Option<u16>) -> anyhow::Result<Self> {
        let sessions = self.sessions.successor(config.session.clone());
        let (keys, now) = counting(&sessions);
        let accounts = self.accounts.successor(config.account.clone(), &keys, now);
        let same = config.telemetry == self.config.telemetry && config.telemetry.access_file.is_none();
        let access = if same {
            self.access.clone()
        } else {
            // A file is opened anew even under the same name: it may have been rotated.
            open_access_log(permanent, &config)?
        };
        Ok(Self::of(permanent, config, (sessions, accounts), access, https_port))
    }

    fn of(
        permanent: &Permanent,
        config: Config,
        (sessions, accounts): (Arc<Sessions>, Arc<Accounts>),
        access: Option<AccessLog>,
        https_port: Option<u16>,
    ) -> Self {
        let metrics = &permanent.metrics;
        let log = Log::new(Arc::clone(&permanent.store), config.audit.clone());
        let portal = Portal::new(
            config.portal.clone(),
            Arc::clone(&sessions),
            Arc::clone(&accounts),
            Arc::clone(metrics),
        );
        let admin = Admin::new(admin::Parts {
            settings: config.admin.clone(),
            metrics: Arc::clone(metrics),
            readiness: Arc::clone(&permanent.ready) as Arc<dyn admin::Readiness>,
            hosts: permanent.admin_hosts.clone(),
            sessions: Arc::clone(&sessions),
            accounts: Arc::clone(&accounts),
            log: Arc::clone(&log),
            reload: Arc::clone(&permanent.bell) as Arc<dyn Reload>,
            store: permanent.store_facts.clone(),
            prefix: config.portal.prefix.clone(),
        });
        let around = Surroundings {
            sessions: Arc::clone(&sessions),
            portal: Arc::new(portal),
            portal_settings: config.portal.clone(),
            members: admin.members().map(|members| members as Arc<dyn Desk>),
            admin,
            metrics: Arc::clone(metrics),
            access: access.clone(),
            control: permanent.control.clone(),
            stop_streams: permanent.lifecycle.streams.clone(),
            https_port,
            own_cookies: own_cookies(),
            cores: permanent.cores,
        };
        let (rules, cookie) = (config.proxy.clone(), config.session.cookie.clone());
        let shared = Shared::new(rules, cookie, around, permanent.id_seed);
        Self {
            config,
            sessions,
            accounts,
            log,
            access,
            shared,
        }
    }
}

/// By which keys and whose clock attempts are counted.
fn counting(sessions: &Arc<Sessions>) -> (Vec<aws_lc_rs::hmac::Key>, crate::account::Now) {
    let time = Arc::clone(sessions);
    (sessions.derived_keys("throttle"), Arc::new(move || time.now()))
}

fn open_access_log(permanent: &Permanent, config: &Config) -> anyhow::Result<Option<AccessLog>> {
    let clock = permanent.clock.clone();
    let lost = permanent.metrics.access_lines_lost.clone();
    AccessLog::new(&config.telemetry, move || clock.now().as_micros(), lost).context("cannot open the access log")
}

/// Cookies of ours besides the session's.
fn own_cookies() -> Vec<String> {
    let names = portal::cookie_names().into_iter().chain(admin::COOKIES);
    names.map(str::to_owned).collect()
}
