use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::task::Waker;
use std::time::Duration;

/// What a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Requests to applications and the portal.
    Serve,
    /// Plain HTTP that only says "come back over https".
    RedirectToHttps,
    /// Health, metrics and the operators' API.
    Admin,
}

/// How the bytes came to this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plain.
    Http,
    /// Through TLS that ended here.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// 80 or 443.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// What is true of every connection of one listener.
#[derive(Debug)]
pub struct ListenerFacts {
    /// Its address as configured, the label in metrics and logs.
    pub name: String,
    /// What it is for.
    pub purpose: Purpose,
    /// Whether TLS ends here.
    pub scheme: Scheme,
    /// The port that browsers see, where a balancer or firewall maps it; else the bound one.
    pub public_port: u16,
    /// `Strict-Transport-Security: max-age`; `None` sends none.
    pub hsts: Option<Duration>,
}

/// Who is at the other end of a connection.
#[derive(Debug)]
pub struct Peer {
    /// The client as the socket knows it, or as the PROXY protocol said where that is required.
    pub address: SocketAddr,
    /// The listener it came in on.
    pub listener: Arc<ListenerFacts>,
    /// The name that the client asked for in the TLS handshake (SNI), in lower case; `None` without TLS or SNI.
    pub server_name: Option<String>,
}

/// Why a head was refused before HTTP was parsed. Every one of them closes the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 400: malformed or ambiguous; the word goes to the log.
    Malformed(&'static str),
    /// 408: the head did not arrive in time.
    HeadTimeout,
    /// 414: the request target is longer than the limit.
    TargetTooLong,
    /// 431: too many headers, or too many bytes of them.
    HeadTooLarge,
    /// 501: a transfer coding other than `chunked`.
    UnknownTransferCoding,
}

/// What the connection tells of one request besides the request itself.
pub struct Arrival {
    /// The connection's other end.
    pub peer: Rc<Peer>,
    /// Set when the head guard refused this head. The request that comes with it is a stand-in and must only be
    /// answered with the fault.
    pub fault: Option<Fault>,
    /// Set on HTTP/1.1 requests with an `Upgrade` header: the guard holds back all further bytes until the answer tells
    /// what they are. 101 makes a tunnel, anything else means "HTTP goes on".
    pub hold: Option<UpgradeHold>,
}

/// The other end of the head guard's hold on an HTTP/1 connection that asked for an upgrade. On a request's way it says
/// what its holder intends; the connection goes by the answer's status.
///
/// It is shared with the connection's I/O, which hyper wants to be `Send` for upgrades.
#[derive(Clone, Default)]
pub struct UpgradeHold(Arc<Mutex<Hold>>);

#[derive(Default)]
struct Hold {
    verdict: Option<bool>,
    waker: Option<Waker>,
}

impl UpgradeHold {
    /// The connection is a tunnel from here on: bytes pass unread.
    pub fn tunnel(&self) {
        self.decide(true);
    }

    /// No upgrade happened: the next byte starts a head.
    pub fn release(&self) {
        self.decide(false);
    }

    fn lock(&self) -> MutexGuard<'_, Hold> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn decide(&self, tunnel: bool) {
        let mut hold = self.lock();
        if hold.verdict.is_none() {
            hold.verdict = Some(tunnel);
            if let Some(waker) = hold.waker.take() {
                waker.wake();
            }
        }
    }

    /// The guard's side: `Some(true)` tunnel, `Some(false)` HTTP, `None` not decided yet, and `waker` is woken when it is.
    #[must_use]
    pub fn poll(&self, waker: &Waker) -> Option<bool> {
        let mut hold = self.lock();
        if hold.verdict.is_none() {
            hold.waker = Some(waker.clone());
        }
        hold.verdict
    }
}
