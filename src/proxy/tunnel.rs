//! WebSockets: after the handshake, bytes in both directions until one side is done, the session ends or the process
//! stops. Payloads are not read; frame headers are followed, so that an end is told with a Close frame.

use super::clean::Firewall;
use super::frames;
use super::frames::Frames;
use super::owner::Watched;
use crate::session::StreamEnd;
use crate::telemetry::Open;
use crate::web::Peer;
use crate::web::UpgradeHold;
use futures_util::future;
use http::HeaderMap;
use http::HeaderValue;
use http::header::CONNECTION;
use http::header::UPGRADE;
use hyper::upgrade::OnUpgrade;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use prometheus_client::metrics::gauge::Gauge;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;

/// How long both sides may take to become tunnels once the application agreed.
const HANDOVER: Duration = Duration::from_secs(10);
/// How long a frame under way may take to end before the connection is cut without a Close.
const LAST_FRAME: Duration = Duration::from_millis(200);
/// How long it may take to say Close on both sides and to hear that they are done.
const GOODBYE: Duration = Duration::from_secs(1);
/// How long a peer may refuse to take bytes.
const STALLED: Duration = Duration::from_mins(1);
/// How long one side may go on after the other is done: a WebSocket has no half that lives alone (RFC 6455, 7.1.1).
const LAST_WORDS: Duration = Duration::from_mins(1);
/// Bytes in flight in each direction.
const BUFFER: usize = 16 * 1024;
/// RFC 6455, 7.4.1: the endpoint goes away.
const GOING_AWAY: u16 = 1001;
/// RFC 6455, 7.4.1: a rule does not allow it any more.
const POLICY: u16 = 1008;
/// The registry of RFC 6455, 11.7: try again later.
const TRY_AGAIN_LATER: u16 = 1013;

/// What a tunnel needs besides its two ends.
pub struct Tunnel {
    /// The client's end, as it will be.
    pub client: OnUpgrade,
    /// The application's end, as it will be.
    pub application: OnUpgrade,
    /// Tells the head guard that what follows is no HTTP.
    pub hold: Option<UpgradeHold>,
    /// The session it is registered with; `None` for nobody's tunnel.
    pub session: Option<Watched>,
    /// From where the client's bytes come.
    pub address: IpAddr,
    /// The process stops and the streams' grace is over.
    pub stop: CancellationToken,
    /// Open tunnels.
    pub open: Gauge,
    /// Keeps the connection counted while the tunnel lives.
    pub peer: Rc<Peer>,
}

/// Whether an answer 101 agrees to the upgrade that was asked for.
#[must_use]
pub fn agrees(headers: &HeaderMap) -> bool {
    headers
        .get(UPGRADE)
        .is_some_and(|protocol| protocol.as_bytes().trim_ascii().eq_ignore_ascii_case(b"websocket"))
}

/// Cleans the head of a 101 and puts the handshake's own headers back.
pub fn clean_switch(headers: &mut HeaderMap, firewall: &Firewall) {
    firewall.clean_response(headers);
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

impl Tunnel {
    /// Relays until it is over. Dropping it closes both sides without a word.
    pub async fn run(self) {
        let Self {
            client,
            application,
            hold,
            session,
            address,
            stop,
            open,
            peer,
        } = self;
        if let Some(hold) = &hold {
            hold.tunnel();
        }
        let handover = async {
            let both = tokio::try_join!(client, application);
            // The session may have ended while the application made up its mind: then not a byte passes.
            if let Some(session) = &session {
                session.settled().await;
            }
            both
        };
        let Ok(Ok((client, application))) = tokio::time::timeout(HANDOVER, handover).await else {
            return;
        };
        let _open = Open::new(&open);
        relay(client, application, session.as_ref(), address, &stop).await;
        drop(peer);
    }
}

async fn why_it_ends(session: Option<&Watched>, stop: &CancellationToken) -> u16 {
    let session = async {
        match session {
            Some(session) => session.ends().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        why = session => match why {
            StreamEnd::Unavailable => TRY_AGAIN_LATER,
            _ => POLICY,
        },
        () = stop.cancelled() => GOING_AWAY,
    }
}

async fn relay(
    client: Upgraded,
    application: Upgraded,
    session: Option<&Watched>,
    address: IpAddr,
    stop: &CancellationToken,
) {
    let (mut from_client, mut to_client) = tokio::io::split(TokioIo::new(client));
    let (mut from_application, mut to_application) = tokio::io::split(TokioIo::new(application));
    let (mut up, mut down) = (Direction::new(), Direction::new());
    let code = {
        let passes = || session.is_none_or(|session| session.carries_from(address));
        let both = until_both_end(
            copy(&mut from_client, &mut to_application, &mut up, passes),
            copy(&mut from_application, &mut to_client, &mut down, || true),
        );
        tokio::select! {
            biased;
            code = why_it_ends(session, stop) => code,
            () = both => return,
        }
    };
    // The client's bytes stop at once. What the application has begun to say may end, then each side hears a Close.
    let _ = tokio::time::timeout(
        LAST_FRAME,
        finish_frame(&mut from_application, &mut to_client, &mut down),
    )
    .await;
    let (close, masked_close) = (frames::close(code), frames::masked_close(code));
    let farewell = async {
        tokio::join!(
            say(&mut to_client, down.frames, &close),
            say(&mut to_application, up.frames, &masked_close),
            // What is left unread as a socket closes resets it, and a reset overtakes the Close.
            discard(&mut from_client),
            discard(&mut from_application),
        )
    };
    // Both sides are closed whether they heard it or not.
    let _ = tokio::time::timeout(GOODBYE, farewell).await;
}

/// One direction: what is under way, and where in its frames it is.
struct Direction {
    buffer: Vec<u8>,
    /// What was read and not yet written, within the buffer.
    from: usize,
    to: usize,
    frames: Frames,
}

impl Direction {
    fn new() -> Self {
        Self {
            buffer: vec![0; BUFFER],
            from: 0,
            to: 0,
            frames: Frames::default(),
        }
    }

    /// Reads when nothing is left to be written; how much there is to write then.
    async fn fill(&mut self, from: &mut (impl AsyncRead + Unpin)) -> io::Result<usize> {
        if self.from == self.to {
            (self.from, self.to) = (0, 0);
            self.to = from.read(&mut self.buffer).await?;
        }
        Ok(self.to - self.from)
    }

    /// Writes `count` of the bytes at hand. Counted as they are written, not before: when this is given up half-way, what
    /// was said is still known, and what was not said is still here.
    async fn write(&mut self, to: &mut (impl AsyncWrite + Unpin), count: usize) -> io::Result<()> {
        let end = self.from + count;
        let writing = async {
            while self.from < end {
                let piece = &self.buffer[self.from..end];
                let written = to.write(piece).await?;
                if written == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                self.frames.follow(&piece[..written]);
                self.from += written;
            }
            to.flush().await
        };
        tokio::time::timeout(STALLED, writing)
            .await
            .map_err(|_| io::ErrorKind::TimedOut)?
    }
}

/// Either direction may end first, as with any half-closed connection: the other may say its last words. Where a side
/// is gone without a word there is nobody to say them to; an application that is silent would hold the tunnel for good.
async fn until_both_end(up: impl Future<Output = Ended>, down: impl Future<Output = Ended>) {
    let (mut up, mut down) = (pin!(up), pin!(down));
    let (first, other) = tokio::select! {
        ended = &mut up => (ended, future::Either::Left(down)),
        ended = &mut down => (ended, future::Either::Right(up)),
    };
    if matches!(first, Ended::InOrder) {
        let _ = tokio::time::timeout(LAST_WORDS, other).await;
    }
}

/// How a direction ended.
enum Ended {
    /// The sender said that it is done, or the receiver takes no more.
    InOrder,
    /// The sender is gone: reset, timed out, or TLS cut off.
    SenderGone,
}

/// Relays one direction until its end, and passes the end on. Nothing passes once `passes` says no; whoever polls this
/// hears of that elsewhere.
async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    direction: &mut Direction,
    passes: impl Fn() -> bool,
) -> Ended {
    loop {
        let Ok(count) = direction.fill(from).await else {
            return Ended::SenderGone;
        };
        if count == 0 {
            let _ = to.shutdown().await;
            return Ended::InOrder;
        }
        if !passes() {
            return std::future::pending().await;
        }
        if direction.write(to, count).await.is_err() {
            return Ended::InOrder;
        }
    }
}

/// Relays the rest of the frame under way, and nothing of the next.
async fn finish_frame(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    down: &mut Direction,
) -> io::Result<()> {
    while !down.frames.at_boundary() {
        let count = down.fill(from).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let rest = down.frames.until_boundary(&down.buffer[down.from..down.to]);
        down.write(to, rest).await?;
    }
    Ok(())
}

/// Says Close where a frame may begin; in the middle of one there is nothing that the other side would understand.
async fn say(to: &mut (impl AsyncWrite + Unpin), frames: Frames, close: &[u8]) -> io::Result<()> {
    if frames.at_boundary() {
        to.write_all(close).await?;
        to.shutdown().await?;
    }
    Ok(())
}

async fn discard(from: &mut (impl AsyncRead + Unpin)) {
    let mut unread = [0; 1024];
    while from.read(&mut unread).await.is_ok_and(|count| count > 0) {}
}
