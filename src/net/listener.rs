//! Addresses: bound before anything accepts, then one acceptor each, which hands every connection to the core with the
//! fewest.

use super::ListenerSettings;
use super::NetError;
use super::connection::Accepted;
use super::lease::Lease;
use super::lease::Load;
use super::lease::Seat;
use super::lease::Seats;
use super::tls::Tls;
use super::workers::Order;
use crate::web::ListenerFacts;
use ipnet::IpNet;
use prometheus_client::metrics::gauge::Gauge;
use socket2::Domain;
use socket2::Protocol;
use socket2::SockRef;
use socket2::Socket;
use socket2::TcpKeepalive;
use socket2::Type;
use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What waits in the kernel while every connection is taken.
const BACKLOG: i32 = 4096;
/// After an error that will not go away at once, such as "too many open files".
const PAUSE: Duration = Duration::from_millis(100);
/// Silence after which the kernel asks whether the client is still there.
const KEEPALIVE_AFTER: Duration = Duration::from_mins(1);
const COMPLAIN_EVERY: Duration = Duration::from_secs(1);

/// Binds one address. `SO_REUSEADDR` lets a restart take over lingering addresses; no `SO_REUSEPORT`, which would let a
/// second process bind unseen and resets queued connections when one of them closes.
pub(super) fn bind(settings: &ListenerSettings) -> Result<(TcpListener, SocketAddr), NetError> {
    let address = settings.address;
    let bind = || -> io::Result<(TcpListener, SocketAddr)> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        // Accepted sockets inherit it (tcp(7)): a client that vanished without a word is noticed though nothing is due to it.
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_AFTER))?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from(socket);
        let bound = listener.local_addr()?;
        Ok((listener, bound))
    };
    bind().map_err(|source| {
        let hint = hint(&source, address);
        NetError::Bind { address, hint, source }
    })
}

/// Sets up a listening socket that somebody else made, as [`bind`] sets up its own.
pub(super) fn adopt(listener: &TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    SockRef::from(listener).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_AFTER))
}

fn hint(error: &io::Error, address: SocketAddr) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program listens there; `ss -ltnp` shows which. Stop it or choose another port"
        }
        io::ErrorKind::PermissionDenied if address.port() < 1024 => {
            "ports below 1024 need the right CAP_NET_BIND_SERVICE; grant it, or choose a higher port and map it"
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine does not have that address; `ip addr` shows its own, and 0.0.0.0 means all of them"
        }
        _ => "the system refuses it",
    }
}

/// Watches a bound listener from the current runtime.
pub(super) fn watch_socket(listener: Arc<TcpListener>) -> io::Result<AsyncFd<Arc<TcpListener>>> {
    #[expect(
        deprecated,
        reason = "the replacement is an unsafe function, because a type could lie about its descriptor; std's listener does not"
    )]
    AsyncFd::with_interest(listener, Interest::READABLE)
}

/// What every connection of one listener shares.
pub(super) struct Door {
    pub facts: Arc<ListenerFacts>,
    pub tls: Option<Tls>,
    pub gauge: Gauge,
    /// Networks that must speak the PROXY protocol here.
    pub proxy_protocol: Vec<IpNet>,
    pub seats: Option<Arc<Seats>>,
}

impl Door {
    pub fn must_speak_proxy_protocol(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.proxy_protocol.iter().any(|network| network.contains(&peer))
    }

    /// A seat for `client`; `None` where seats are not counted.
    pub fn seat(&self, client: IpAddr) -> Result<Option<Seat>, Crowded> {
        let seats = self.seats.as_ref();
        seats.map(|seats| seats.find(client).ok_or(Crowded)).transpose()
    }
}

/// An address has as many connections as it may.
#[derive(Debug, thiserror::Error)]
#[error("too many connections from this address")]
pub(super) struct Crowded;

/// The way to one core.
#[derive(Clone)]
pub(super) struct Way {
    pub load: Arc<Load>,
    pub sender: UnboundedSender<Order>,
}

/// Accepts on one address until the stop.
pub(super) struct Acceptor {
    /// Registered only as a descriptor: the accepted socket must belong to the core that serves it.
    pub listener: AsyncFd<Arc<TcpListener>>,
    /// What connections are accepted with; changed while it runs.
    pub door: watch::Receiver<Arc<Door>>,
    /// Connections that may be open at once.
    pub permits: Arc<Semaphore>,
    /// Unbounded channels: the permits bound them.
    pub cores: Vec<Way>,
    pub stop: CancellationToken,
}

impl Acceptor {
    /// Runs until the stop; no error ends it before. The permit is taken before the accept, so that a full gateway lets
    /// clients wait in the kernel instead of refusing them.
    pub async fn run(self) {
        self.stop.run_until_cancelled(self.accept_all()).await;
        // Closing the listener resets those who wait in the kernel, so they are let in first.
        while let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            match self.listener.get_ref().accept() {
                Ok((tcp, address)) => self.hand_over(tcp, address, permit),
                Err(_) => return,
            }
        }
    }

    async fn accept_all(&self) {
        let mut complained: Option<Instant> = None;
        while let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await {
            match self
                .listener
                .async_io(Interest::READABLE, |listener| listener.accept())
                .await
            {
                Ok((tcp, address)) => self.hand_over(tcp, address, permit),
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    if complained.is_none_or(|last| last.elapsed() >= COMPLAIN_EVERY) {
                        complained = Some(Instant::now());
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            listener.name = self.door.borrow().facts.name,
                            "cannot accept connections for now"
                        );
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn hand_over(&self, tcp: std::net::TcpStream, address: SocketAddr, permit: OwnedSemaphorePermit) {
        let door = Arc::clone(&self.door.borrow());
        let seat = if door.must_speak_proxy_protocol(address.ip()) {
            None
        } else if let Ok(seat) = door.seat(address.ip()) {
            seat
        } else {
            tracing::debug!(client.address = %address.ip(), "too many connections from this address");
            return;
        };
        if let Err(error) = tcp.set_nonblocking(true).and_then(|()| tcp.set_nodelay(true)) {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "a connection was gone before it was served"
            );
            return;
        }
        let Some(core) = self.cores.iter().min_by_key(|core| core.load.count()) else {
            return;
        };
        let mut lease = Lease::new(Arc::clone(&core.load), door.gauge.clone(), permit);
        lease.take_seat(seat);
        if core
            .sender
            .send(Order::Serve(Accepted {
                tcp,
                address,
                door,
                lease,
            }))
            .is_err()
        {
            tracing::error!("a core has gone; its connections are refused");
        }
    }
}

/// Errors that `accept` reports of the connection it would have returned (accept(2)).
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
            | io::ErrorKind::TimedOut
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
    )
}
