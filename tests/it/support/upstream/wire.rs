//! What comes from the gateway, byte for byte.

use super::Recorded;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Most bytes of a body that are kept; the rest is only counted.
const KEPT_BODY: usize = 1024 * 1024;

/// A connection and what was read ahead of it.
pub(super) struct Wire {
    pub(super) stream: TcpStream,
    buffer: Vec<u8>,
}

impl Wire {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// Reads more; `false` at the end.
    async fn fill(&mut self) -> std::io::Result<bool> {
        let mut piece = vec![0; 64 * 1024];
        let length = self.stream.read(&mut piece).await?;
        self.buffer.extend_from_slice(&piece[..length]);
        Ok(length > 0)
    }

    /// Everything up to and with `end`; `None` when the connection ended before its first byte.
    async fn until(&mut self, end: &[u8]) -> std::io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.buffer, end) {
                return Ok(Some(self.buffer.drain(..at + end.len()).collect()));
            }
            if !self.fill().await? {
                return if self.buffer.is_empty() { Ok(None) } else { Err(cut()) };
            }
        }
    }

    pub(super) async fn head(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        self.until(b"\r\n\r\n").await
    }

    pub(super) async fn exactly(&mut self, length: usize) -> std::io::Result<Vec<u8>> {
        while self.buffer.len() < length {
            if !self.fill().await? {
                return Err(cut());
            }
        }
        Ok(self.buffer.drain(..length).collect())
    }

    /// What came right behind the head.
    pub(super) fn read_ahead(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    async fn line(&mut self) -> std::io::Result<String> {
        let line = self.until(b"\r\n").await?.ok_or_else(cut)?;
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    pub(super) async fn body(&mut self, request: &mut Recorded) -> std::io::Result<()> {
        if request
            .values("transfer-encoding")
            .iter()
            .any(|value| value.eq_ignore_ascii_case("chunked"))
        {
            loop {
                let line = self.line().await?;
                let size = line.split(';').next().unwrap_or_default().trim();
                let size = u64::from_str_radix(size, 16).map_err(|_| cut())?;
                if size == 0 {
                    break;
                }
                self.take(size, request).await?;
                self.line().await?;
            }
            loop {
                let line = self.line().await?;
                if line.is_empty() {
                    return Ok(());
                }
                request.trailers.push(line);
            }
        }
        let length = request
            .values("content-length")
            .pop()
            .and_then(|value| value.parse().ok())
            .unwrap_or(0);
        self.take(length, request).await
    }

    /// Takes `length` bytes of a body, keeping the first of them.
    async fn take(&mut self, length: u64, request: &mut Recorded) -> std::io::Result<()> {
        let mut left = length;
        while left > 0 {
            if self.buffer.is_empty() && !self.fill().await? {
                return Err(cut());
            }
            let now = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            let keep = now.min(KEPT_BODY.saturating_sub(request.body.len()));
            request.body.extend_from_slice(&self.buffer[..keep]);
            request.body_length += now as u64;
            self.buffer.drain(..now);
            left -= now as u64;
        }
        Ok(())
    }
}

fn cut() -> std::io::Error {
    std::io::Error::from(std::io::ErrorKind::UnexpectedEof)
}
