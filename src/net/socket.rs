//! The TCP connection under everything: what it occupies, a deadline for a peer that takes no bytes, and an end that
//! does not destroy the last answer.

use super::lease::Lease;
use super::lease::Seat;
use bytes::Buf;
use bytes::Bytes;
use std::io;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// How long the peer may go on sending after we have closed. Closing while its bytes lie unread would reset the
/// connection, and the reset would destroy our answer on its way (RFC 9112, 9.6).
const LINGER: Duration = Duration::from_secs(2);

/// One accepted connection.
pub(super) struct Socket {
    tcp: TcpStream,
    /// Bytes that came with the PROXY header.
    ahead: Bytes,
    /// How long a write may be stuck.
    patience: Duration,
    stuck: Option<Pin<Box<Sleep>>>,
    lingering: Option<Pin<Box<Sleep>>>,
    lease: Lease,
}

impl Socket {
    pub fn new(tcp: std::net::TcpStream, patience: Duration, lease: Lease) -> io::Result<Self> {
        Ok(Self {
            tcp: TcpStream::from_std(tcp)?,
            ahead: Bytes::new(),
            patience,
            stuck: None,
            lingering: None,
            lease,
        })
    }

    /// Puts back what was read too much.
    pub fn put_back(&mut self, bytes: Bytes) {
        self.ahead = bytes;
    }

    pub fn take_seat(&mut self, seat: Option<Seat>) {
        self.lease.take_seat(seat);
    }

    /// The result of a write, or an error once writes have been stuck for too long.
    fn timed<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.stuck = None;
            return result;
        }
        let patience = self.patience;
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(stuck.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes no bytes")))
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ahead.is_empty() {
            return Pin::new(&mut this.tcp).poll_read(cx, buf);
        }
        let len = this.ahead.len().min(buf.remaining());
        buf.put_slice(&this.ahead[..len]);
        this.ahead.advance(len);
        if this.ahead.is_empty() {
            this.ahead = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.tcp).poll_write(cx, bytes);
        this.timed(cx, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.tcp).poll_write_vectored(cx, pieces);
        this.timed(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.lingering.is_none() {
            ready!(Pin::new(&mut this.tcp).poll_shutdown(cx))?;
            this.lingering = Some(Box::pin(tokio::time::sleep(LINGER)));
        }
        let mut waste = [0; 4096];
        while let Some(until) = &mut this.lingering {
            if until.as_mut().poll(cx).is_ready() {
                break;
            }
            let mut buf = ReadBuf::new(&mut waste);
            match ready!(Pin::new(&mut this.tcp).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
