use super::{Answer, RequestId, Scheme};
use bytes::Bytes;
use http::{HeaderMap, Method};
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

/// A whole request to one of the gateway's own desks (portal, admin), after it crossed from a data-plane core to the
/// control runtime. The body is bounded before it gets here.
#[derive(Debug)]
pub struct Exchange {
    /// Method.
    pub method: Method,
    /// The path as the client wrote it, without the query; for one that came by an alias, the path that it stands for.
    pub path: String,
    /// Whether it came by a path of an older front end's own (`portal.alias`), which knows JSON only.
    pub aliased: bool,
    /// The query without `?`.
    pub query: Option<String>,
    /// Headers as the client sent them.
    pub headers: HeaderMap,
    /// Body, at most 64 KiB.
    pub body: Bytes,
    /// The client's address after `trust.proxies`.
    pub address: IpAddr,
    /// The scheme that the browser used, after `trust.proxies`.
    pub scheme: Scheme,
    /// Canonical host: lower case, no port, no trailing dot. IPv6 literals in brackets.
    pub host: String,
    /// The port that the browser used; `None` when it is the scheme's default.
    pub port: Option<u16>,
    /// The id of this request.
    pub request_id: RequestId,
}

impl Exchange {
    /// The origin that the browser sees, as in `https://crm.example.com:8443`.
    #[must_use]
    pub fn origin(&self) -> String {
        match self.port {
            Some(port) => format!("{}://{}:{port}", self.scheme.as_str(), self.host),
            None => format!("{}://{}", self.scheme.as_str(), self.host),
        }
    }
}

/// An answer being worked on.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// One of the gateway's own desks. Runs on the control runtime; a client that goes away does not cancel it.
pub trait Desk: Send + Sync + 'static {
    /// Answers `exchange`. Never fails: every fault is an answer.
    fn answer(&self, exchange: Exchange) -> Answering<'_>;
}
