//! The journey of one connection: PROXY header → TLS handshake → HTTP/1.1 or HTTP/2 → handler.

use super::Handler;
use super::Limits;
use super::coalesce::Coalesce;
use super::head::Bounds;
use super::head_guard::HeadGuard;
use super::head_guard::Waits;
use super::lease::Lease;
use super::listener::Crowded;
use super::listener::Door;
use super::notes::Answering;
use super::notes::Notes;
use super::notes::Special;
use super::proxy_protocol;
use super::proxy_protocol::ProxyProtocolError;
use super::socket::Socket;
use super::streams::Advice;
use super::streams::Streams;
use super::watched::Watched;
use super::workers::Core;
use crate::web::Arrival;
use crate::web::Fault;
use crate::web::Peer;
use crate::web::UpgradeHold;
use http::Request;
use http::StatusCode;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::cell::Cell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::time::MissedTickBehavior;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A connection on its way from the acceptor to a core.
pub(super) struct Accepted {
    pub tcp: std::net::TcpStream,
    pub address: SocketAddr,
    pub door: Arc<Door>,
    pub lease: Lease,
}

/// Why a connection ended before its first request.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error("the handshake took too long")]
    Late,
    #[error(transparent)]
    ProxyProtocol(#[from] ProxyProtocolError),
    #[error(transparent)]
    Crowded(#[from] Crowded),
    #[error("TLS handshake")]
    Tls(#[source] std::io::Error),
    #[error("socket")]
    Socket(#[source] std::io::Error),
}

enum Opened {
    Plain(Socket),
    /// Boxed to its end: a future keeps room for every place that a value was moved from.
    Tls(Box<TlsStream<Socket>>),
}

/// Serves one connection to its end. Dropping it cuts the connection.
pub(super) async fn serve<H: Handler>(accepted: Accepted, core: Rc<Core<H>>) {
    // Both boxed: an idle connection should not keep room for a handshake, nor for the other protocol.
    let opening = Box::pin(open(accepted, &core.limits));
    match opening.await {
        Ok((Opened::Tls(stream), peer)) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
            Box::pin(serve_http2(stream, peer, core)).await;
        }
        Ok((Opened::Tls(stream), peer)) => serve_http1(stream, peer, core).await,
        Ok((Opened::Plain(socket), peer)) => serve_http1(socket, peer, core).await,
        Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "a connection was not opened"),
    }
}

async fn open(accepted: Accepted, limits: &Limits) -> Result<(Opened, Rc<Peer>), OpenError> {
    let opening = async {
        let Accepted {
            tcp,
            mut address,
            door,
            lease,
        } = accepted;
        let mut socket = Socket::new(tcp, limits.body_idle, lease).map_err(OpenError::Socket)?;
        if door.must_speak_proxy_protocol(address.ip()) {
            address = proxy_protocol::read(&mut socket).await?.unwrap_or(address);
            socket.take_seat(door.seat(address.ip())?);
        }
        let (opened, server_name) = match &door.tls {
            None => (Opened::Plain(socket), None),
            Some(tls) => {
                let acceptor = TlsAcceptor::from(Arc::clone(tls));
                let stream = acceptor.accept(socket).await.map_err(OpenError::Tls)?;
                let server_name = stream.get_ref().1.server_name().map(str::to_ascii_lowercase);
                (Opened::Tls(Box::new(stream)), server_name)
            }
        };
        let listener = Arc::clone(&door.facts);
        Ok((
            opened,
            Rc::new(Peer {
                address,
                listener,
                server_name,
            }),
        ))
    };
    tokio::time::timeout(limits.handshake, opening)
        .await
        .map_err(|_| OpenError::Late)?
}

async fn serve_http1<H, S>(stream: S, peer: Rc<Peer>, core: Rc<Core<H>>)
where
    H: Handler,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let notes = Arc::new(Notes::new());
    let bounds = Bounds::from(&core.limits);
    let waits = Waits {
        head: core.limits.head,
        idle: core.limits.idle,
    };
    let guard = HeadGuard::new(stream, bounds, waits, Arc::clone(&notes));
    let requests = Cell::new(0);
    let handler = Rc::clone(&core.handler);
    let service = service_fn(move |request: Request<Incoming>| {
        let index = requests.replace(requests.get() + 1);
        let (fault, upgrading) = match notes.about(index) {
            None => (None, None),
            Some(Special::Fault(fault)) => (Some(fault), None),
            Some(Special::Hold(hold)) => (None, Some(hold)),
        };
        let answering = Answering(Arc::clone(&notes));
        let arrival = Arrival {
            peer: Rc::clone(&peer),
            fault,
            // Only a sign. What hyper does with the connection depends on the status alone, and the guard must agree.
            hold: upgrading.as_ref().map(|_| UpgradeHold::default()),
        };
        let answer = Rc::clone(&handler).handle(request, arrival);
        async move {
            let answer = answer.await;
            match upgrading {
                Some(hold) if answer.status() == StatusCode::SWITCHING_PROTOCOLS => hold.tunnel(),
                Some(hold) => hold.release(),
                None => {}
            }
            Ok::<_, Infallible>(answer.map(|body| Watched {
                body,
                progress: answering,
            }))
        }
    });
    let connection = core.http1.serve_connection(TokioIo::new(guard), service);
    let mut connection = pin!(connection.with_upgrades());
    let mut stop = pin!(core.stop.signal.notified());
    let mut stopping = Stopping::default();
    let ended = poll_fn(|cx| {
        if stopping.begins(core.stop.is_on(), stop.as_mut(), cx) {
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(cx)
    });
    if let Err(error) = ended.await {
        tracing::debug!(error = &error as &dyn std::error::Error, "an HTTP/1 connection broke");
    }
}

async fn serve_http2<H: Handler>(stream: Box<TlsStream<Socket>>, peer: Rc<Peer>, core: Rc<Core<H>>) {
    let (streams, tick) = Streams::new(core.limits.idle, core.limits.body_idle);
    let handler = Rc::clone(&core.handler);
    let opened = Rc::clone(&streams);
    let bounds = Bounds::from(&core.limits);
    let service = service_fn(move |request: Request<Incoming>| {
        let stream = opened.open();
        let fault = excess(&request, &bounds);
        let arrival = Arrival {
            peer: Rc::clone(&peer),
            fault,
            hold: None,
        };
        let answer = Rc::clone(&handler).handle(request, arrival);
        async move { Ok::<_, Infallible>(answer.await.map(|body| Watched { body, progress: stream })) }
    });
    let mut connection = pin!(
        core.http2
            .serve_connection(TokioIo::new(Coalesce::new(stream)), service)
    );
    let mut stop = pin!(core.stop.signal.notified());
    let mut stopping = Stopping::default();
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + tick, tick);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ended = poll_fn(|cx| {
        if stopping.begins(core.stop.is_on(), stop.as_mut(), cx) {
            connection.as_mut().graceful_shutdown();
        }
        while ticks.poll_tick(cx).is_ready() {
            match streams.tick() {
                Advice::Keep => {}
                Advice::Goodbye => connection.as_mut().graceful_shutdown(),
                Advice::Cut => return Poll::Ready(Ok(())),
            }
        }
        connection.as_mut().poll(cx)
    });
    if let Err(error) = ended.await {
        tracing::debug!(error = &error as &dyn std::error::Error, "an HTTP/2 connection broke");
    }
}

/// What the guard holds on HTTP/1 and h2 knows no limit for. Such a request is answered like any fault, and the connection
/// goes on.
fn excess<B>(request: &Request<B>, bounds: &Bounds) -> Option<Fault> {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if target > bounds.target_bytes {
        Some(Fault::TargetTooLong)
    } else if request.headers().len() > bounds.headers {
        Some(Fault::HeadTooLarge)
    } else {
        None
    }
}

/// Notices the soft stop once. The signal is polled only the first time, which leaves the task's waker there: asking it
/// on every turn of every connection would cost more than the flag.
#[derive(Default)]
struct Stopping {
    registered: bool,
    begun: bool,
}

impl Stopping {
    fn begins(&mut self, on: bool, signal: Pin<&mut impl Future<Output = ()>>, cx: &mut Context<'_>) -> bool {
        if !self.registered {
            self.registered = true;
            // Whether it is on is told by the flag.
            let _ = signal.poll(cx);
        }
        on && !std::mem::replace(&mut self.begun, true)
    }
}

impl From<&Limits> for Bounds {
    fn from(limits: &Limits) -> Self {
        Self {
            headers: limits.headers,
            header_bytes: limits.header_bytes,
            target_bytes: limits.target_bytes,
        }
    }
}
