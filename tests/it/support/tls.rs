//! Clients that speak TLS: HTTP/1.1 through [`Client::tls`](super::client::Client::tls), HTTP/2 here.

use super::client::tls_config;
use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const PATIENCE: Duration = Duration::from_secs(30);

/// The certificate (PEM) of the local authority in `dir`.
pub fn local_ca(dir: &Path) -> String {
    std::fs::read_to_string(portcullis::net::ca_path(dir)).expect("the authority has been made")
}

/// A TLS connection that offers `protocols`, trusts only `ca` (PEM) and expects a certificate for `host`.
pub async fn connect(
    address: SocketAddr,
    host: &str,
    ca: &str,
    protocols: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(host.to_owned()).expect("a host name");
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    let connecting = TlsConnector::from(tls_config(ca, protocols)).connect(name, tcp);
    tokio::time::timeout(PATIENCE, connecting).await?
}

/// An HTTP/2 client on one connection.
pub struct Http2 {
    /// Sends requests.
    pub sender: SendRequest<Full<Bytes>>,
    /// Ends with the connection.
    pub connection: JoinHandle<hyper::Result<()>>,
}

impl Http2 {
    /// Over TLS with ALPN `h2`.
    pub async fn connect(address: SocketAddr, host: &str, ca: &str) -> Self {
        let stream = connect(address, host, ca, &[b"h2"])
            .await
            .expect("the TLS handshake succeeds");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = handshake.await.expect("the HTTP/2 handshake succeeds");
        Self {
            sender,
            connection: tokio::spawn(connection),
        }
    }

    /// Sends a request and returns the answer's head with its body to come.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<http::Response<Incoming>> {
        tokio::time::timeout(PATIENCE, self.sender.send_request(request))
            .await
            .expect("the peer answers in time")
    }

    /// A GET of `url` (scheme and host included), answered in full.
    pub async fn get(&mut self, url: &str) -> (u16, String) {
        let request = Request::get(url).body(Full::default()).expect("a request");
        let answer = self.send(request).await.expect("an answer");
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    /// Waits until the server has ended the connection.
    pub async fn closed(self) -> hyper::Result<()> {
        drop(self.sender);
        tokio::time::timeout(PATIENCE, self.connection)
            .await
            .expect("the connection ends in time")
            .expect("no panic")
    }
}
