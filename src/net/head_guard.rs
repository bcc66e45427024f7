//! The guard under hyper on HTTP/1 connections: it sees every raw byte, lets good ones pass untouched and may only
//! refuse. A refused head is replaced by a harmless one that asks to close; the service answers that with the fault.

use super::head::Bounds;
use super::messages::Messages;
use super::messages::Stop;
use super::notes::Notes;
use super::notes::Special;
use crate::web::Fault;
use crate::web::UpgradeHold;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;
use tokio::time::Instant;
use tokio::time::Sleep;

/// After so much silence hyper's state is given up. Busy connections never come to this; the price is two allocations.
const REST: Duration = Duration::from_secs(1);
/// Room on the stack for the first bytes after silence: most heads.
const FIRST_BYTES: usize = 2048;

/// What hyper reads in place of a refused head.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

/// I/O whose reads are guarded.
pub(super) struct HeadGuard<S> {
    inner: S,
    mode: Mode,
    messages: Messages,
    /// Bytes read but not given to hyper; empty, without memory, unless a head came in pieces or a hold is on.
    held: Vec<u8>,
    /// How many of the held bytes may pass.
    vouched: usize,
    /// How many of them have passed.
    given: usize,
    /// When the first byte of the head under way came.
    head_since: Option<Instant>,
    /// Whether everything that hyper wrote has left.
    flushed: bool,
    rest: Duration,
    waits: Waits,
    alarm: Option<Pin<Box<Sleep>>>,
    notes: Arc<Notes>,
}

/// How long the guard waits for what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waits {
    /// First byte of a head to its last.
    pub head: Duration,
    /// Between requests.
    pub idle: Duration,
}

enum Mode {
    Http,
    /// A head was refused: so many bytes of the stand-in have passed, and nothing is read any more.
    Refusing(usize),
    Broken(&'static str),
    Holding(UpgradeHold),
    Tunnel,
}

enum Due {
    Nothing,
    /// Silence since the last answer for as long as was asked.
    Silence,
    Head,
}

/// What ended a connection's silence.
pub(super) enum Woken {
    /// Bytes for hyper.
    Bytes,
    /// The end, the peer's or ours.
    Over,
}

impl<S> HeadGuard<S> {
    pub fn new(inner: S, bounds: Bounds, waits: Waits, notes: Arc<Notes>) -> Self {
        Self {
            inner,
            mode: Mode::Http,
            messages: Messages::new(bounds),
            held: Vec::new(),
            vouched: 0,
            given: 0,
            head_since: None,
            flushed: true,
            rest: REST.min(waits.idle),
            waits,
            alarm: None,
            notes,
        }
    }

    /// Gives hyper what was held and may pass; whether there was any.
    fn give(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        if self.given == self.vouched {
            return false;
        }
        let waiting = &self.held[self.given..self.vouched];
        let len = waiting.len().min(buf.remaining());
        buf.put_slice(&waiting[..len]);
        self.given += len;
        if self.given == self.held.len() {
            self.held = Vec::new();
            (self.given, self.vouched) = (0, 0);
        }
        len > 0
    }

    /// Judges what was read into `buf` from `start` on; what may not pass yet is taken out again.
    fn judge(&mut self, buf: &mut ReadBuf<'_>, start: usize) {
        if self.held.is_empty() {
            let read = &buf.filled()[start..];
            let (passed, stop) = self.messages.follow(read);
            if matches!(stop, Stop::Starved | Stop::Upgrade) {
                self.held.extend_from_slice(&read[passed..]);
            }
            buf.set_filled(start + passed);
            self.settle(stop);
        } else {
            self.held.drain(..self.given);
            (self.given, self.vouched) = (0, 0);
            self.held.extend_from_slice(&buf.filled()[start..]);
            buf.set_filled(start);
            self.judge_held();
        }
    }

    fn judge_held(&mut self) {
        let (passed, stop) = self.messages.follow(&self.held[self.vouched..]);
        self.vouched += passed;
        if matches!(stop, Stop::Refused(_) | Stop::Broken(_)) {
            self.held.truncate(self.vouched);
        }
        self.settle(stop);
    }

    fn settle(&mut self, stop: Stop) {
        let asked = self.messages.upgrade_asked() || stop == Stop::Upgrade;
        if asked && !matches!(self.mode, Mode::Holding(_)) {
            let hold = UpgradeHold::default();
            self.notes.mark(self.messages.heads() - 1, Special::Hold(hold.clone()));
            self.mode = Mode::Holding(hold);
        }
        match stop {
            Stop::Refused(fault) => self.refuse(fault),
            Stop::Broken(why) => self.mode = Mode::Broken(why),
            Stop::Starved | Stop::Upgrade => {}
        }
        // An empty line before a request line is no head yet: the connection is idle.
        let partial = &self.held[self.vouched..];
        if partial.is_empty() || matches!(partial, b"\r" | b"\r\n") || !self.messages.in_head() {
            self.head_since = None;
        } else if self.head_since.is_none() {
            self.head_since = Some(Instant::now());
        }
    }

    fn refuse(&mut self, fault: Fault) {
        self.held.truncate(self.vouched);
        self.notes.mark(self.messages.heads(), Special::Fault(fault));
        self.mode = Mode::Refusing(0);
    }

    /// What is due while there is nothing to read, where silence may last `silence`.
    fn due(&mut self, cx: &mut Context<'_>, silence: Duration) -> Due {
        if let Some(since) = self.head_since {
            if self.rang(cx, Some(since + self.waits.head)) {
                return Due::Head;
            }
        } else if self.flushed && self.messages.in_head() && self.notes.answered() >= self.messages.heads() {
            if self.rang(cx, Some(self.notes.idle_since() + silence)) {
                return Due::Silence;
            }
        } else {
            // hyper does not read again when an answer ends: the alarm must be set now to find the connection idle then.
            self.rang(cx, None);
        }
        Due::Nothing
    }

    /// Whether `wanted` has passed. One timer a connection, never moved for a later deadline before it rings: requests
    /// come far more often than deadlines.
    fn rang(&mut self, cx: &mut Context<'_>, wanted: Option<Instant>) -> bool {
        loop {
            let alarm = match &mut self.alarm {
                Some(alarm) => alarm,
                empty => {
                    let at = wanted.unwrap_or_else(|| Instant::now() + self.rest);
                    empty.insert(Box::pin(tokio::time::sleep_until(at)))
                }
            };
            if let Some(at) = wanted.filter(|at| *at < alarm.deadline()) {
                alarm.as_mut().reset(at);
            }
            if alarm.as_mut().poll(cx).is_pending() {
                return false;
            }
            let now = Instant::now();
            let at = wanted.unwrap_or_else(|| now + self.rest);
            if at <= now {
                return true;
            }
            alarm.as_mut().reset(at);
        }
    }
}

impl<S: AsyncRead + Unpin> HeadGuard<S> {
    /// Waits without hyper until there is something for it, keeping the same deadlines. What was read is given to hyper
    /// first.
    pub fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Woken> {
        let mut space = [0; FIRST_BYTES];
        loop {
            if self.given < self.vouched || !matches!(self.mode, Mode::Http) {
                return Poll::Ready(Woken::Bytes);
            }
            let mut buf = ReadBuf::new(&mut space);
            match Pin::new(&mut self.inner).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    self.held.extend_from_slice(buf.filled());
                    self.judge_held();
                }
                Poll::Ready(_) => return Poll::Ready(Woken::Over),
                Poll::Pending => match self.due(cx, self.waits.idle) {
                    Due::Nothing => return Poll::Pending,
                    Due::Silence => return Poll::Ready(Woken::Over),
                    Due::Head => self.refuse(Fault::HeadTimeout),
                },
            }
        }
    }

    /// Whether no request has come yet.
    pub const fn is_fresh(&self) -> bool {
        self.messages.heads() == 0
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HeadGuard<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.give(buf) {
                return Poll::Ready(Ok(()));
            }
            match &mut this.mode {
                Mode::Http => {}
                Mode::Holding(_) if !this.messages.in_head() => {}
                Mode::Holding(hold) => match hold.poll(cx.waker()) {
                    None => return Poll::Pending,
                    Some(true) => {
                        this.vouched = this.held.len();
                        this.alarm = None;
                        this.mode = Mode::Tunnel;
                        continue;
                    }
                    Some(false) => {
                        this.mode = Mode::Http;
                        this.judge_held();
                        continue;
                    }
                },
                Mode::Tunnel => return Pin::new(&mut this.inner).poll_read(cx, buf),
                Mode::Refusing(sent) => {
                    let rest = &STAND_IN[*sent..];
                    let len = rest.len().min(buf.remaining());
                    if len == 0 {
                        return Poll::Pending;
                    }
                    buf.put_slice(&rest[..len]);
                    *sent += len;
                    return Poll::Ready(Ok(()));
                }
                Mode::Broken(why) => return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, *why))),
            }
            let start = buf.filled().len();
            match Pin::new(&mut this.inner).poll_read(cx, buf) {
                Poll::Ready(Ok(())) if buf.filled().len() == start => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) => {
                    this.judge(buf, start);
                    if buf.filled().len() > start {
                        return Poll::Ready(Ok(()));
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => match this.due(cx, this.rest) {
                    Due::Nothing => return Poll::Pending,
                    Due::Silence => {
                        this.notes.advise_rest();
                        return Poll::Pending;
                    }
                    Due::Head => this.refuse(Fault::HeadTimeout),
                },
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HeadGuard<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.flushed = false;
        Pin::new(&mut this.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.flushed = false;
        Pin::new(&mut this.inner).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.inner).poll_flush(cx))?;
        this.flushed = true;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::Bounds;
    use super::HeadGuard;
    use super::STAND_IN;
    use super::Waits;
    use crate::net::notes::Notes;
    use crate::net::notes::Special;
    use proptest::prelude::*;
    use std::collections::VecDeque;
    use std::io;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::Context;
    use std::task::Poll;
    use std::task::Waker;
    use std::time::Duration;
    use tokio::io::AsyncRead;
    use tokio::io::ReadBuf;

    /// Gives its pieces one a read, then the end.
    struct Pieces(VecDeque<Vec<u8>>);

    impl AsyncRead for Pieces {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            let this = self.get_mut();
            if let Some(piece) = this.0.front_mut() {
                let len = piece.len().min(buf.remaining());
                buf.put_slice(&piece[..len]);
                piece.drain(..len);
                if piece.is_empty() {
                    this.0.pop_front();
                }
            }
            Poll::Ready(Ok(()))
        }
    }

    /// What hyper gets of `pieces` with a buffer of `room` bytes: the bytes, and whether they ended in an error. An
    /// upgrade is declined.
    fn through_the_guard(pieces: Vec<Vec<u8>>, room: usize) -> (Vec<u8>, bool) {
        let bounds = Bounds {
            headers: 10,
            header_bytes: 300,
            target_bytes: 50,
        };
        let day = Duration::from_hours(24);
        let waits = Waits { head: day, idle: day };
        let notes = Arc::new(Notes::new());
        let pieces = Pieces(pieces.into_iter().filter(|piece| !piece.is_empty()).collect());
        let mut guard = HeadGuard::new(pieces, bounds, waits, Arc::clone(&notes));
        let mut cx = Context::from_waker(Waker::noop());
        let (mut seen, mut space, mut index) = (Vec::new(), vec![0; room], 0);
        loop {
            let mut buf = ReadBuf::new(&mut space);
            match Pin::new(&mut guard).poll_read(&mut cx, &mut buf) {
                Poll::Ready(Ok(())) if buf.filled().is_empty() => return (seen, false),
                Poll::Ready(Ok(())) => seen.extend_from_slice(buf.filled()),
                Poll::Ready(Err(_)) => return (seen, true),
                Poll::Pending if seen.ends_with(STAND_IN) => return (seen, false),
                Poll::Pending => {
                    let hold = (index..100).find_map(|at| match notes.about(at) {
                        Some(Special::Hold(hold)) => Some((at, hold)),
                        _ => None,
                    });
                    let (at, hold) = hold.expect("the guard waits only for a hold");
                    index = at;
                    hold.release();
                }
            }
        }
    }

    fn request() -> impl Strategy<Value = &'static str> {
        prop_oneof![
            4 => Just("GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
            2 => Just("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\nGET / HTTP/1.1\r\n\r\n\r\n"),
            2 => Just("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
            2 => Just("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: b\r\nContent-Length: 1\r\n\r\nc"),
            1 => Just("\r\nGET / HTTP/1.0\r\n\r\n"),
            1 => Just("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            1 => Just("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n"),
            1 => Just("\n"),
        ]
    }

    proptest! {
        #[test]
        fn hyper_sees_the_same_bytes_however_they_came(
            requests in prop::collection::vec(request(), 1..6),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
            room in 1_usize..200,
        ) {
            let bytes = requests.concat().into_bytes();
            let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
            ends.sort_unstable();
            ends.push(bytes.len());
            let starts = std::iter::once(0).chain(ends.iter().copied());
            let pieces = starts.zip(&ends).map(|(start, end)| bytes[start..*end].to_vec()).collect();
            let whole = through_the_guard(vec![bytes.clone()], bytes.len());
            prop_assert_eq!(&through_the_guard(pieces, room), &whole);
            // And what it sees is the beginning of what came, then at most one stand-in.
            let (seen, _) = whole;
            let passed = seen.strip_suffix(STAND_IN).unwrap_or(&seen);
            prop_assert!(bytes.starts_with(passed));
        }
    }
}
