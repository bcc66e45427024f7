//! The journey of one connection: PROXY header → TLS handshake → HTTP/1.1 or HTTP/2 → handler.

use super::Handler;
use super::Limits;
use super::head::Bounds;
use super::http1;
use super::http2;
use super::lease::Lease;
use super::listener::Crowded;
use super::listener::Door;
use super::proxy_protocol;
use super::proxy_protocol::ProxyProtocolError;
use super::socket::Socket;
use super::workers::Core;
use crate::web::Peer;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
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
    let manner = core.manner();
    let opening = Box::pin(open(accepted, &manner.limits));
    match opening.await {
        Ok((Opened::Tls(stream), peer)) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
            Box::pin(http2::serve(stream, peer, core, &manner)).await;
        }
        Ok((Opened::Tls(stream), peer)) => http1::serve(stream, peer, core, manner).await,
        Ok((Opened::Plain(socket), peer)) => http1::serve(socket, peer, core, manner).await,
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
                let acceptor = TlsAcceptor::from(Arc::clone(&tls.config));
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

impl From<&Limits> for Bounds {
    fn from(limits: &Limits) -> Self {
        Self {
            headers: limits.headers,
            header_bytes: limits.header_bytes,
            target_bytes: limits.target_bytes,
        }
    }
}
