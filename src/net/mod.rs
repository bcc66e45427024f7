//! From socket to request: it binds addresses, accepts, reads the PROXY protocol, ends TLS, guards every HTTP/1 head,
//! speaks HTTP/1.1 and HTTP/2, and holds every limit and deadline of a connection.
//!
//! It knows no sessions and no routes, reads no configuration, and answers nothing itself: even a refused head becomes
//! a request with a fault, which the [`Handler`] answers. Bodies that stop arriving are the handler's to time; answers
//! that the client stops taking are timed here.
//!
//! `app` calls [`bind`], then [`Workers::start`] with a handler for each core, changes certificates and limits by
//! [`Workers::control`], and waits for [`Workers::finished`].
//!
//! Everything of a connection stays on one core. What a connection occupies is given back when its socket is dropped,
//! wherever it went. Dropping [`Workers`] stops nothing; a handler's future is dropped when its client goes away.

mod certificates;
mod coalesce;
mod connection;
mod control;
mod framing;
mod head;
mod head_guard;
mod http1;
mod http2;
mod inherited;
mod lease;
mod listener;
mod local_ca;
mod messages;
mod notes;
#[cfg(any(test, fuzzing))]
pub(crate) mod probe;
mod proxy_protocol;
mod socket;
mod stop;
mod streams;
mod tls;
mod watched;
mod workers;

pub use control::{Control, Prepared};
pub use inherited::Inherited;
pub use local_ca::ca_path;
pub use workers::Workers;

use crate::web::Arrival;
use crate::web::BoxError;
use crate::web::Purpose;
use bytes::Bytes;
use http::Request;
use http::Response;
use hyper::body::Incoming;
use ipnet::IpNet;
use std::future::Future;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use time::OffsetDateTime;

/// What to listen on and what to bear.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Listeners, the admin listener among them.
    pub listeners: Vec<ListenerSettings>,
    /// Limits and deadlines of every connection.
    pub limits: Limits,
    /// Cores: current-thread workers.
    pub workers: usize,
    /// Networks that must speak the PROXY protocol on every listener but the admin one; nobody else may.
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
    /// HTTP/2 streams that a client may have reset before anybody looked at them; one more ends the connection.
    pub resets: usize,
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
    /// In the order of `listeners`.
    sockets: Vec<TcpListener>,
    tls: Vec<Option<tls::Tls>>,
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
    /// A socket that the service manager passed cannot be used.
    #[error("cannot use a socket that this process was started with (LISTEN_FDS): {what}")]
    Inherited {
        /// What is wrong, and what to do about it.
        what: String,
        /// Why.
        #[source]
        source: Option<std::io::Error>,
    },
    /// A listener cannot be waited on.
    #[error("cannot wait for connections")]
    Accept(#[source] std::io::Error),
    /// A worker thread could not be started.
    #[error("cannot start a worker")]
    Worker(#[source] std::io::Error),
}

/// Loads every certificate, then binds every listener. Clients that connect from here on wait until
/// [`Workers::start`]. `now` tells whether certificates have expired and dates those that are made here.
///
/// # Errors
/// The first certificate that cannot be used, or address that cannot be had.
pub fn bind(settings: &Settings, now: OffsetDateTime) -> Result<Bound, NetError> {
    bind_or_inherit(settings, now, Inherited::default())
}

/// The same with sockets that this process was started with: an address that they have is not bound again.
///
/// # Errors
/// As [`bind`], and a socket that no listener asks for.
pub fn bind_or_inherit(settings: &Settings, now: OffsetDateTime, mut inherited: Inherited) -> Result<Bound, NetError> {
    let mut bound = Bound {
        listeners: Vec::new(),
        sockets: Vec::new(),
        tls: Vec::new(),
    };
    for listener in &settings.listeners {
        let tls = listener.tls.as_ref().map(|tls| tls::load(tls, now)).transpose()?;
        bound.tls.push(tls);
    }
    for listener in &settings.listeners {
        let (socket, address) = match inherited.take(listener.address)? {
            Some(taken) => taken,
            None => listener::bind(listener)?,
        };
        bound.listeners.push((listener.clone(), address));
        bound.sockets.push(socket);
    }
    inherited.rest()?;
    Ok(bound)
}
