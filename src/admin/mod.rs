//! The operators' side: health, readiness and metrics, the API that manages users, sessions and the audit log, and a page
//! that shows the most of it.
//!
//! It decides nothing about requests to applications, and shows no digest, token or password of anybody.
//!
//! Called by the listener whose purpose is `Admin` (as the [`Desk`] [`Admin`]) and by the proxy for what lies under the
//! portal's prefix and `/admin` (as [`Members`]); both run on the control runtime.
//!
//! What must always hold: nobody is let in without the token, a link that was made for them, or a fresh log-in of a member; a page in an operator's
//! browser cannot read this by pointing a name of its own at us (DNS rebinding), nor change anything through a member's
//! cookie; what was not stored is not reported as done; `healthz` waits for nothing; what the API does and what
//! its `OpenAPI` document says come from one table. A dropped future loses its answer only.

mod aliased;
mod api;
mod ask;
mod caller;
mod endpoint;
mod form;
mod health;
mod openapi;
mod overview;
mod page;
mod page_token;
mod refusal;
mod reload;
mod schema;
mod stats;

pub use caller::COOKIES;
pub use reload::{NotReloaded, Reload, Reloaded, Reloading};
pub use stats::StoreFacts;

use crate::account::Accounts;
use crate::audit::Log;
use crate::session::Sessions;
use crate::telemetry::Metrics;
use crate::web::Answer;
use crate::web::Answering;
use crate::web::Desk;
use crate::web::Exchange;
use bytes::Bytes;
use caller::Audited;
use caller::Caller;
use caller::TokenDigest;
use health::Health;
use http::Method;
use page_token::PageTokens;
use refusal::Refusal;
use secrecy::SecretString;
use stats::Stats;
use std::sync::Arc;

/// Where the API lives on the listener; for members it is the portal's prefix and `/admin`.
const API: &str = "/api";

/// Who may manage.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The token of programs, at least 32 bytes; `None`: the API on the listener lets nobody in.
    pub token: Option<SecretString>,
    /// The group whose members may use the API under the portal's prefix; `None`: nobody.
    pub group: Option<String>,
    /// What `X-Admin-Token` must hold on aliases of the API, at least 32 bytes and another than `token`; `None`: nothing.
    pub header_token: Option<SecretString>,
}

/// Tells whether this instance may be sent requests.
pub trait Readiness: Send + Sync + 'static {
    /// `Ok` when ready; else a short reason for `readyz`.
    ///
    /// # Errors
    /// Not ready, and why.
    fn ready(&self) -> Result<(), &'static str>;
}

/// What the admin desk is made of.
pub struct Parts {
    /// Who may manage.
    pub settings: Settings,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Readiness.
    pub readiness: Arc<dyn Readiness>,
    /// Host names (canonical) that a request to the listener may name; `localhost` and addresses always may.
    pub hosts: Vec<String>,
    /// Sessions of this process.
    pub sessions: Arc<Sessions>,
    /// Users.
    pub accounts: Arc<Accounts>,
    /// The audit log.
    pub log: Arc<Log>,
    /// Reads the configuration anew.
    pub reload: Arc<dyn Reload>,
    /// How the store is set up.
    pub store: StoreFacts,
    /// The portal's prefix, as in `/.portcullis`.
    pub prefix: String,
}

/// The admin listener's desk.
pub struct Admin {
    health: Health,
    token: Option<TokenDigest>,
    header_token: Option<TokenDigest>,
    group: Option<String>,
    sessions: Arc<Sessions>,
    accounts: Arc<Accounts>,
    log: Arc<Log>,
    reload: Arc<dyn Reload>,
    prefix: String,
    tokens: PageTokens,
    /// For forms of the page.
    form_keys: Vec<aws_lc_rs::hmac::Key>,
    stats: Stats,
    audited: Audited,
    let_in: Audited,
}

impl Admin {
    /// Over the parts of this process. Page tokens are signed by keys derived from the session secrets, so that a list goes
    /// on at another instance.
    #[must_use]
    pub fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            token: parts.settings.token.as_ref().map(TokenDigest::of),
            header_token: parts.settings.header_token.as_ref().map(TokenDigest::of),
            group: parts.settings.group,
            tokens: PageTokens::new(parts.sessions.derived_keys("admin-list")),
            form_keys: parts.sessions.derived_keys("admin-form"),
            stats: Stats::new(Arc::clone(&parts.metrics), parts.store),
            health: Health {
                metrics: parts.metrics,
                readiness: parts.readiness,
                hosts: parts.hosts,
            },
            sessions: parts.sessions,
            accounts: parts.accounts,
            log: parts.log,
            reload: parts.reload,
            prefix: parts.prefix,
            audited: Audited::default(),
            let_in: Audited::default(),
        })
    }

    /// The same API for members of the group, and for the holders of the header's token on aliases; `None` where neither
    /// is set.
    #[must_use]
    pub fn members(self: &Arc<Self>) -> Option<Arc<Members>> {
        let anybody = self.group.is_some() || self.header_token.is_some();
        anybody.then(|| {
            Arc::new(Members {
                admin: Arc::clone(self),
                group: self.group.clone(),
            })
        })
    }

    async fn on_listener(&self, exchange: &Exchange) -> Answer {
        if let Some(answer) = self.health.answer(exchange) {
            return answer;
        }
        let Some(path) = below(&exchange.path, API) else {
            let nothing = || Refusal::Absent("There is nothing here").into_answer(exchange.request_id);
            return self.show_page(exchange).await.unwrap_or_else(nothing);
        };
        match self.at_listener(exchange).await {
            Ok(caller) => self.serve(exchange, path, API, &caller).await,
            Err(refusal) => refusal.into_answer(exchange.request_id),
        }
    }
}

/// The desk of members of the administrators' group.
pub struct Members {
    admin: Arc<Admin>,
    group: Option<String>,
}

impl Members {
    async fn under_prefix(&self, exchange: &Exchange) -> Answer {
        let base = format!("{}/admin", self.admin.prefix);
        let Some(path) = below(&exchange.path, &base) else {
            return Refusal::Absent("There is nothing here").into_answer(exchange.request_id);
        };
        let caller = if exchange.aliased {
            self.by_alias(exchange).await
        } else {
            self.member(exchange).await
        };
        match caller {
            Ok(caller) => self.admin.serve(exchange, path, &base, &caller).await,
            Err(refusal) => refusal.into_answer(exchange.request_id),
        }
    }
}

impl Members {
    /// The member who asks.
    async fn member(&self, exchange: &Exchange) -> Result<Caller, Refusal> {
        match &self.group {
            Some(group) => self.admin.as_member(exchange, group).await,
            None => Err(Refusal::NotMember),
        }
    }
}

/// What of `path` lies below `folder`.
fn below<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    path.strip_prefix(folder)
        .filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Desk for Admin {
    fn answer(&self, exchange: Exchange) -> Answering<'_> {
        Box::pin(async move { whole_or_head(&exchange.method, self.on_listener(&exchange).await) })
    }
}

impl Desk for Members {
    fn answer(&self, exchange: Exchange) -> Answering<'_> {
        Box::pin(async move { whole_or_head(&exchange.method, self.under_prefix(&exchange).await) })
    }
}

/// HEAD is GET without the body, whose length it tells.
fn whole_or_head(method: &Method, mut answer: Answer) -> Answer {
    if *method == Method::HEAD {
        let length = answer.body().len();
        answer.headers_mut().insert(http::header::CONTENT_LENGTH, length.into());
        *answer.body_mut() = Bytes::new();
    }
    answer
}
