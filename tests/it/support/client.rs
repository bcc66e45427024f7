//! A client that sends exactly the bytes it is given, over TCP or TLS, and reads HTTP/1.1 answers.

use rustls_pki_types::ServerName;
use rustls_pki_types::pem::PemObject;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long one read or write may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// One connection.
pub struct Client {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
}

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// Status.
    pub status: u16,
    /// Header lines in order.
    pub headers: Vec<(String, String)>,
    /// Body without its transfer coding.
    pub body: Vec<u8>,
    /// Trailers.
    pub trailers: Vec<(String, String)>,
}

impl Response {
    /// Every value of a header, by name in any case.
    pub fn values(&self, name: &str) -> Vec<&str> {
        let headers = self.headers.iter();
        headers
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// The only value of a header.
    pub fn value(&self, name: &str) -> Option<&str> {
        let values = self.values(name);
        assert!(values.len() < 2, "{name} came {} times", values.len());
        values.first().copied()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    /// The first cookie that is set under `name`, as `name=value`.
    pub fn cookie(&self, name: &str) -> Option<String> {
        let start = format!("{name}=");
        let lines = self.values("set-cookie").into_iter();
        let mut pairs = lines.filter_map(|line| line.split(';').next().map(str::to_owned));
        pairs.find(|pair| pair.starts_with(&start) && pair.len() > start.len())
    }
}

impl Client {
    /// Over plain TCP.
    pub async fn plain(address: SocketAddr) -> Self {
        let stream = connect(address).await;
        Self {
            stream: Box::new(stream),
            buffer: Vec::new(),
        }
    }

    /// Over TLS, offering `http/1.1`, trusting only the authority in `ca` (PEM) and expecting a certificate for `host`.
    pub async fn tls(address: SocketAddr, host: &str, ca: &str) -> Self {
        let connector = tokio_rustls::TlsConnector::from(tls_config(ca, &[b"http/1.1"]));
        let name = ServerName::try_from(host.to_owned()).expect("a host name");
        let stream = connect(address).await;
        let stream = within(connector.connect(name, stream))
            .await
            .expect("the TLS handshake succeeds");
        Self {
            stream: Box::new(stream),
            buffer: Vec::new(),
        }
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) {
        within(self.stream.write_all(bytes)).await.expect("the bytes are taken");
        within(self.stream.flush()).await.expect("the bytes are taken");
    }

    /// Sends bytes to a peer that may have closed already.
    pub async fn send_anyway(&mut self, bytes: &[u8]) {
        let _ = within(self.stream.write_all(bytes)).await;
        let _ = within(self.stream.flush()).await;
    }

    /// Sends a GET with `headers` (lines without CRLF) and reads the answer.
    pub async fn get(&mut self, host: &str, target: &str, headers: &[&str]) -> Response {
        self.request("GET", host, target, headers, b"").await
    }

    /// Sends a request with `Host`, `headers`, and a `Content-Length` where there is a body, and reads the answer.
    pub async fn request(&mut self, method: &str, host: &str, target: &str, headers: &[&str], body: &[u8]) -> Response {
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n");
        for line in headers {
            head.push_str(line);
            head.push_str("\r\n");
        }
        if !body.is_empty() || method == "POST" {
            let _ = write!(head, "Content-Length: {}\r\n", body.len());
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        self.send(&bytes).await;
        if method == "HEAD" {
            self.head().await
        } else {
            self.response().await
        }
    }

    /// Signs in over JSON under the default prefix and returns the cookie pair.
    pub async fn sign_in(&mut self, host: &str, user: &str, password: &str) -> String {
        let body = serde_json::json!({ "username": user, "password": password }).to_string();
        let lines = [
            "Content-Type: application/json",
            "Accept: application/json",
            "Sec-Fetch-Site: same-origin",
        ];
        let response = self
            .request("POST", host, "/.portcullis/login", &lines, body.as_bytes())
            .await;
        assert_eq!(response.status, 200, "log-in as {user}: {}", response.text());
        let cookies = response.values("set-cookie");
        let pair = cookies
            .iter()
            .find(|line| line.contains("portcullis=") && !line.contains("portcullis=;"));
        pair.and_then(|line| line.split(';').next())
            .expect("a session cookie is set")
            .to_owned()
    }

    /// Reads the head of an answer; interim answers other than 101 are skipped.
    pub async fn head(&mut self) -> Response {
        loop {
            let head = self.until(b"\r\n\r\n").await;
            let text = String::from_utf8_lossy(&head).into_owned();
            let mut lines = text.trim_end().split("\r\n");
            let status_line = lines.next().unwrap_or_default();
            let status = status_line.split(' ').nth(1).and_then(|word| word.parse().ok());
            let response = Response {
                status: status.unwrap_or_else(|| panic!("no status line: {status_line:?}")),
                headers: lines.filter_map(|line| line.split_once(':')).map(pair).collect(),
                ..Response::default()
            };
            if response.status >= 200 || response.status == 101 {
                return response;
            }
        }
    }

    /// Reads a whole answer to a request other than HEAD.
    pub async fn response(&mut self) -> Response {
        let mut response = self.head().await;
        if matches!(response.status, 101 | 204 | 304) {
            return response;
        }
        if response.values("transfer-encoding").contains(&"chunked") {
            loop {
                let piece = self.chunk().await;
                if piece.is_empty() {
                    break;
                }
                response.body.extend_from_slice(&piece);
            }
            loop {
                let line = self.line().await;
                if line.is_empty() {
                    return response;
                }
                response.trailers.extend(line.split_once(':').map(pair));
            }
        }
        match response
            .value("content-length")
            .map(|length| length.parse().expect("a length is a number"))
        {
            Some(length) => response.body = self.exactly(length).await,
            None => response.body = self.rest().await,
        }
        response
    }

    /// Reads one chunk; empty at the last one, whose trailers follow.
    pub async fn chunk(&mut self) -> Vec<u8> {
        let line = self.line().await;
        let size = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16);
        let size = size.unwrap_or_else(|_| panic!("no chunk size: {line:?}"));
        if size == 0 {
            return Vec::new();
        }
        let piece = self.exactly(size).await;
        assert_eq!(self.line().await, "");
        piece
    }

    /// Reads exactly this many bytes.
    pub async fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.buffer.len() < length {
            assert!(
                self.fill().await,
                "the connection ended after {} of {length} bytes",
                self.buffer.len()
            );
        }
        self.buffer.drain(..length).collect()
    }

    /// Reads what comes next and forgets it; how much it was, 0 at the end.
    pub async fn some(&mut self) -> usize {
        self.buffer.clear();
        self.fill().await;
        self.buffer.len()
    }

    /// Reads up to the last chunk of a body, unread; `None` when the connection ended without it.
    pub async fn last_chunk(&mut self) -> Option<Vec<u8>> {
        const LAST: &[u8] = b"0\r\n\r\n";
        while !self.buffer.ends_with(LAST) {
            if !self.fill().await {
                return None;
            }
        }
        Some(std::mem::take(&mut self.buffer))
    }

    /// Reads to the end of the connection; a reset counts as its end.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.fill().await {}
        std::mem::take(&mut self.buffer)
    }

    /// Reads up to and with `end`.
    pub async fn until(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.buffer, end) {
                return self.buffer.drain(..at + end.len()).collect();
            }
            let more = self.fill().await;
            assert!(
                more,
                "the connection ended within {:?}",
                String::from_utf8_lossy(&self.buffer)
            );
        }
    }

    /// Whether the peer has closed the connection without another byte.
    pub async fn is_closed(&mut self) -> bool {
        self.rest().await.is_empty()
    }

    async fn line(&mut self) -> String {
        let line = self.until(b"\r\n").await;
        String::from_utf8_lossy(&line).trim_end().to_owned()
    }

    async fn fill(&mut self) -> bool {
        let mut piece = vec![0; 64 * 1024];
        let length = within(self.stream.read(&mut piece)).await.unwrap_or(0);
        self.buffer.extend_from_slice(&piece[..length]);
        length > 0
    }
}

/// A TLS client's settings that trust only the authority in `ca` (PEM).
pub fn tls_config(ca: &str, protocols: &[&[u8]]) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in rustls_pki_types::CertificateDer::pem_slice_iter(ca.as_bytes()) {
        roots.add(certificate.expect("PEM")).expect("an authority");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

async fn connect(address: SocketAddr) -> TcpStream {
    let stream = within(TcpStream::connect(address)).await.expect("a connection");
    stream.set_nodelay(true).expect("a socket");
    stream
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("the peer answers in time")
}

fn pair((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.trim().to_owned())
}
