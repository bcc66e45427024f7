//! A connection of a client that measures: errors are results, and nothing is kept of an answer but its status.

use std::io;
use std::net::SocketAddr;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::io::BufStream;
use tokio::net::TcpStream;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// One HTTP/1.1 connection.
pub(super) struct Connection {
    stream: BufStream<Box<dyn Stream>>,
    host: String,
}

/// An answer's head, and its body where it had a length.
pub(super) struct Answer {
    pub(super) status: u16,
    /// Whether the server says that it closes now.
    pub(super) last: bool,
    pub(super) body: Vec<u8>,
}

impl Connection {
    /// Over plain TCP.
    pub(super) async fn plain(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream, &address.to_string()))
    }

    /// Over TLS, trusting only `ca`.
    pub(super) async fn tls(address: SocketAddr, host: &str, ca: &str) -> io::Result<Self> {
        let stream = crate::support::tls::connect(address, host, ca, &[b"http/1.1"]).await?;
        Ok(Self::over(stream, host))
    }

    fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, host: &str) -> Self {
        Self {
            stream: BufStream::new(Box::new(stream)),
            host: host.to_owned(),
        }
    }

    /// A GET with a cookie, as a script sends it; the status.
    pub(super) async fn get(&mut self, target: &str, cookie: &str) -> io::Result<u16> {
        let lines = format!("Cookie: {cookie}\r\nSec-Fetch-Mode: cors\r\n");
        Ok(self.ask("GET", target, &lines, b"").await?.status)
    }

    /// A request with lines of its own.
    pub(super) async fn ask(&mut self, method: &str, target: &str, lines: &str, body: &[u8]) -> io::Result<Answer> {
        self.send(method, target, lines, body).await?;
        let (status, last, length) = self.head().await?;
        let body = match length {
            Some(length) => {
                let mut body = vec![0; length];
                self.stream.read_exact(&mut body).await?;
                body
            }
            None if status == 204 || status == 304 => Vec::new(),
            None => self.chunks().await?,
        };
        Ok(Answer { status, last, body })
    }

    /// A request whose answer goes on; the status.
    pub(super) async fn begin(&mut self, target: &str, lines: &str) -> io::Result<u16> {
        self.send("GET", target, lines, b"").await?;
        Ok(self.head().await?.0)
    }

    /// Whatever comes next; nothing at the end.
    pub(super) async fn more(&mut self) -> io::Result<Vec<u8>> {
        let piece = self.stream.fill_buf().await?.to_vec();
        self.stream.consume(piece.len());
        Ok(piece)
    }

    async fn send(&mut self, method: &str, target: &str, lines: &str, body: &[u8]) -> io::Result<()> {
        let length = if method == "GET" {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\n{lines}{length}\r\n",
            self.host
        );
        self.stream.write_all(head.as_bytes()).await?;
        self.stream.write_all(body).await?;
        self.stream.flush().await
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_ascii_lowercase())
    }

    async fn head(&mut self) -> io::Result<(u16, bool, Option<usize>)> {
        let first = self.line().await?;
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or(io::ErrorKind::InvalidData)?;
        let (mut last, mut length) = (false, None);
        loop {
            let line = self.line().await?;
            match line.split_once(": ") {
                None => return Ok((status, last, length)),
                Some(("content-length", value)) => length = value.parse().ok(),
                Some(("connection", value)) => last = value.contains("close"),
                Some(_) => {}
            }
        }
    }

    async fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let size = self.line().await?;
            let size = usize::from_str_radix(&size, 16).map_err(|_| io::ErrorKind::InvalidData)?;
            let mut piece = vec![0; size + 2];
            self.stream.read_exact(&mut piece).await?;
            if size == 0 {
                return Ok(body);
            }
            body.extend_from_slice(&piece[..size]);
        }
    }
}
