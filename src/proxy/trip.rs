//! One log line and one set of metrics for every request, when its answer's body ends or is given up.

use super::refusal::Refusal;
use super::route::Route;
use crate::model::PublicId;
use crate::model::UserId;
use crate::telemetry::AccessLine;
use crate::telemetry::AccessLog;
use crate::telemetry::RouteMetrics;
use crate::web::RequestId;
use http::Method;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// A request from its head to the last byte of its answer. Dropping it writes it down, so that nothing is ever lost.
pub struct Trip {
    started: Instant,
    /// The id that log, page and application share.
    pub request_id: RequestId,
    /// Under which route it counts.
    pub metrics: RouteMetrics,
    /// What the access log is told; absent when there is none.
    pub facts: Option<Box<Facts>>,
    /// The route is for scripts only: no refusal of it is a page or a redirect.
    pub scripts_only: bool,
    /// What somebody who is signed in twice can click, text and path; nothing for anybody else.
    #[expect(clippy::box_collection, reason = "one word in what every request carries along")]
    pub log_outs: Option<Box<Vec<(String, String)>>>,
    /// The status that was sent; 0 while there is none.
    pub status: u16,
    bytes: u64,
    complete: bool,
}

/// What only the access log wants to know.
pub struct Facts {
    log: AccessLog,
    method: Method,
    path: String,
    /// Canonical host, once it is known.
    pub host: String,
    /// The client's address, once it is known.
    pub address: IpAddr,
    /// The route, once it is known.
    pub route: Option<Arc<Route>>,
    /// Whose request it was.
    pub identity: Option<(UserId, PublicId)>,
    /// Why it was refused.
    pub refusal: Option<Refusal>,
    /// Which server answered.
    pub server: Option<String>,
}

impl Facts {
    /// Of a request that has just arrived.
    #[must_use]
    pub fn new(log: AccessLog, method: Method, path: &str, address: IpAddr) -> Self {
        // Values in a query may be secrets (tokens in links): the log has the path only.
        let path = path.split('?').next().unwrap_or_default().to_owned();
        Self {
            log,
            method,
            path,
            host: String::new(),
            address,
            route: None,
            identity: None,
            refusal: None,
            server: None,
        }
    }
}

impl Trip {
    /// Begins now, counted under `metrics` until a route is known.
    #[must_use]
    pub fn new(request_id: RequestId, metrics: RouteMetrics, facts: Option<Box<Facts>>) -> Self {
        Self {
            started: Instant::now(),
            request_id,
            metrics,
            facts,
            scripts_only: false,
            log_outs: None,
            status: 0,
            bytes: 0,
            complete: false,
        }
    }

    /// So many bytes of the answer's body were handed on.
    pub fn sent(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// The answer's body ended as it should.
    pub fn complete(&mut self) {
        self.complete = true;
    }
}

impl Drop for Trip {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        // 499 as others write it: the client went away before there was an answer.
        let status = if self.status == 0 { 499 } else { self.status };
        self.metrics.answered(status, took);
        let Some(facts) = &self.facts else { return };
        facts.log.write(&AccessLine {
            request_id: self.request_id.0,
            address: facts.address,
            method: facts.method.as_str(),
            host: &facts.host,
            path: &facts.path,
            status,
            bytes: self.bytes,
            duration: took,
            complete: self.complete,
            route: facts.route.as_ref().map(|route| route.settings.name.as_str()),
            user: facts.identity.map(|(user, _)| user.0),
            session: facts.identity.map(|(_, session)| session.0),
            refusal: facts.refusal.map(Refusal::reason),
            detail: facts.refusal.and_then(Refusal::detail),
            server: facts.server.as_deref(),
        });
    }
}
