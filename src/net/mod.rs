//! From socket to request: listener, PROXY protocol, TLS, head guard, connection. Knows no sessions and no routes.

use crate::lifecycle::Lifecycle;
use crate::web::Arrival;
use crate::web::BoxError;
use crate::web::Purpose;
use bytes::Bytes;
use http::Request;
use http::Response;
use hyper::body::Incoming;
use ipnet::IpNet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

/// What to listen on and what to bear.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Listeners, the admin listener among them.
    pub listeners: Vec<ListenerSettings>,
    /// Limits and deadlines of every connection.
    pub limits: Limits,
    /// Cores: current-thread workers.
    pub workers: usize,
    /// Networks that must speak the PROXY protocol; nobody else may.
    pub proxy_protocol: Vec<IpNet>,
}

/// One address.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// Where; port 0 takes a free one.
    pub address: SocketAddr,
    /// What for.
    pub purpose: Purpose,
    /// `None`: plain.
    pub tls: Option<TlsSettings>,
    /// `Strict-Transport-Security`; never with a local certificate.
    pub hsts: Option<Duration>,
    /// Where a balancer or firewall maps it.
    pub public_port: Option<u16>,
}

/// What is shown to browsers.
#[derive(Clone, Debug)]
pub enum TlsSettings {
    /// PEM files; several are chosen by SNI, the first is for clients that name none of them.
    Files(Vec<CertificateFiles>),
    /// A local CA in `dir` (made at first run, 0600, name-constrained) and a leaf for `hosts`.
    Local {
        /// Folder of `ca.pem`, `ca.key`, `leaf.pem`, `leaf.key`.
        dir: PathBuf,
        /// Host names and addresses; wildcards allowed.
        hosts: Vec<String>,
    },
}

/// A chain and its key.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    /// PEM, leaf first.
    pub chain: PathBuf,
    /// PEM, PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

/// What a connection may cost. Each has a default in config and its reason there.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at once, over all listeners.
    pub connections: usize,
    /// Connections at once from one address.
    pub connections_per_address: Option<usize>,
    /// Header lines of one head.
    pub headers: usize,
    /// Bytes of one head.
    pub header_bytes: usize,
    /// Bytes of the request target.
    pub target_bytes: usize,
    /// HTTP/2 streams at once on one connection.
    pub streams: u32,
    /// PROXY header and TLS handshake together.
    pub handshake: Duration,
    /// First byte of a head to its last.
    pub head: Duration,
    /// Between requests.
    pub idle: Duration,
    /// Between two pieces of a body, either direction.
    pub body_idle: Duration,
}

/// Answers requests on one core.
pub trait Handler: 'static {
    /// The answer's body.
    type Body: http_body::Body<Data = Bytes, Error = BoxError> + 'static;
    /// Answers one request; every fault is an answer.
    fn handle(
        self: Rc<Self>,
        request: Request<Incoming>,
        arrival: Arrival,
    ) -> impl Future<Output = Response<Self::Body>> + 'static;
}

/// Listeners that are bound and do not accept yet.
pub struct Bound {
    /// The settings of each, and the address it got.
    pub listeners: Vec<(ListenerSettings, SocketAddr)>,
}

/// Why the network side could not start.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}: {hint}")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// What to do about it.
        hint: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A certificate or key cannot be used.
    #[error("cannot use {path}: {what}")]
    Certificate {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A worker thread could not be started.
    #[error("cannot start a worker")]
    Worker(#[source] std::io::Error),
}

/// Binds every listener.
///
/// # Errors
/// The first address that cannot be had, or certificate that cannot be used.
#[expect(clippy::todo, reason = "skeleton")]
pub fn bind(settings: &Settings) -> Result<Bound, NetError> {
    let _ = settings;
    todo!()
}

/// The workers of a running gateway.
pub struct Workers {
    _private: (),
}

#[expect(clippy::todo, reason = "skeleton")]
#[expect(clippy::unused_async, reason = "skeleton")]
impl Workers {
    /// Starts the workers, each with a handler that `make` builds on its own thread, and accepts on the current (control) runtime.
    ///
    /// # Errors
    /// A thread could not be started.
    pub fn start<H: Handler>(
        bound: Bound,
        settings: Settings,
        lifecycle: &Lifecycle,
        make: impl Fn(usize) -> Rc<H> + Clone + Send + 'static,
    ) -> Result<Self, NetError> {
        let _ = (bound, settings, lifecycle, make);
        todo!()
    }
    /// Waits until every connection has ended and the threads are gone. Returns how many connections were cut by the hard stop.
    pub async fn finished(self) -> usize {
        todo!()
    }
}
