//! WebSockets: after the handshake, bytes in both directions until one side is done, the session ends or the process
//! stops. Payloads are not read; frame headers are followed, so that an end is told with a Close frame.

use super::clean::Firewall;
use super::frames;
use super::frames::Frames;
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
use std::cell::Cell;
use std::io;
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
/// How long writing the Close frames may take.
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

/// What a tunnel needs besides its two ends.
pub struct Tunnel {
    /// The client's end, as it will be.
    pub client: OnUpgrade,
    /// The application's end, as it will be.
    pub application: OnUpgrade,
    /// Tells the head guard that what follows is no HTTP.
    pub hold: Option<UpgradeHold>,
    /// How long the session goes on; `None` for nobody's tunnel.
    pub session_ends_in: Option<Duration>,
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
            session_ends_in,
            stop,
            open,
            peer,
        } = self;
        if let Some(hold) = &hold {
            hold.tunnel();
        }
        let handover = async { tokio::try_join!(client, application) };
        let Ok(Ok((client, application))) = tokio::time::timeout(HANDOVER, handover).await else {
            return;
        };
        let _open = Open::new(open);
        relay(client, application, why_it_ends(session_ends_in, stop)).await;
        drop(peer);
    }
}

async fn why_it_ends(session_ends_in: Option<Duration>, stop: CancellationToken) -> u16 {
    let expiry = async {
        match session_ends_in {
            Some(left) => tokio::time::sleep(left).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = expiry => POLICY,
        () = stop.cancelled() => GOING_AWAY,
    }
}

async fn relay(client: Upgraded, application: Upgraded, end: impl Future<Output = u16>) {
    let (mut from_client, mut to_client) = tokio::io::split(TokioIo::new(client));
    let (mut from_application, mut to_application) = tokio::io::split(TokioIo::new(application));
    let (up, down) = (Cell::new(Frames::default()), Cell::new(Frames::default()));
    let code = {
        let both = until_both_end(
            copy(&mut from_client, &mut to_application, &up),
            copy(&mut from_application, &mut to_client, &down),
        );
        tokio::select! {
            () = both => return,
            code = end => code,
        }
    };
    // The client's bytes stop at once. What the application has begun to say may end, then each side hears a Close.
    let _ = tokio::time::timeout(LAST_FRAME, finish_frame(&mut from_application, &mut to_client, &down)).await;
    let goodbye = async {
        if down.get().at_boundary() {
            to_client.write_all(&frames::close(code)).await?;
        }
        if up.get().at_boundary() {
            to_application.write_all(&frames::masked_close(code)).await?;
        }
        tokio::try_join!(to_client.shutdown(), to_application.shutdown())
    };
    // Both sides are closed whether they heard it or not.
    let _ = tokio::time::timeout(GOODBYE, goodbye).await;
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

/// Relays one direction until its end, and passes the end on.
async fn copy(from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin), frames: &Cell<Frames>) -> Ended {
    let mut buffer = vec![0; BUFFER];
    loop {
        let Ok(count) = from.read(&mut buffer).await else {
            return Ended::SenderGone;
        };
        if count == 0 {
            let _ = to.shutdown().await;
            return Ended::InOrder;
        }
        if write(to, &buffer[..count], frames).await.is_err() {
            return Ended::InOrder;
        }
    }
}

async fn finish_frame(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    frames: &Cell<Frames>,
) -> io::Result<()> {
    let mut byte = [0; 1];
    while !frames.get().at_boundary() {
        from.read_exact(&mut byte).await?;
        write(to, &byte, frames).await?;
    }
    Ok(())
}

async fn write(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8], frames: &Cell<Frames>) -> io::Result<()> {
    // Counted as it is written, not before: when this is given up half-way, what was said is still known.
    let writing = async {
        let mut left = bytes;
        while !left.is_empty() {
            let count = to.write(left).await?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            let mut followed = frames.get();
            followed.follow(&left[..count]);
            frames.set(followed);
            left = &left[count..];
        }
        to.flush().await
    };
    tokio::time::timeout(STALLED, writing)
        .await
        .map_err(|_| io::ErrorKind::TimedOut)?
}

struct Open(Gauge);

impl Open {
    fn new(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
