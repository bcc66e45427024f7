//! A session is revoked on one instance: when are its open streams on the others closed?

use super::Bench;
use super::connection::Connection;
use super::instances::Instances;
use super::spread;
use std::time::Duration;
use std::time::Instant;

const PATIENCE: Duration = Duration::from_mins(1);

pub(super) async fn run(bench: &Bench, cluster: &Instances) {
    let rounds = (bench.revocations / 5).max(1);
    let mut office = cluster.office(0).await;
    let (mut sockets, mut events) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let session = cluster.sign_in(0).await;
        let mut open = Vec::new();
        for instance in [1, 2] {
            for target in ["/ws", "/events"] {
                let mut stream = Connection::plain(cluster.address(instance))
                    .await
                    .expect("a connection");
                let upgrade = if target == "/ws" {
                    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                } else {
                    ""
                };
                let lines = format!("Cookie: {}\r\n{upgrade}", session.cookie);
                let status = stream.begin(target, &lines).await.expect("an answer");
                assert_eq!(status, if target == "/ws" { 101 } else { 200 });
                open.push((target, stream));
            }
        }
        Instances::revoke(&mut office, &session).await;
        let revoked = Instant::now();
        let closing = open.into_iter().map(|(target, stream)| async move {
            let socket = target == "/ws";
            let closed = tokio::time::timeout(PATIENCE, closed(stream, socket)).await;
            closed.expect("a stream that ends");
            (socket, revoked.elapsed())
        });
        for (socket, took) in futures_util::future::join_all(closing).await {
            let which = if socket { &mut sockets } else { &mut events };
            which.push(took);
        }
    }
    println!(
        "streams: from the answer to the Close of a WebSocket elsewhere {}",
        spread(sockets)
    );
    println!(
        "streams: from the answer to the end of an event stream elsewhere {}",
        spread(events)
    );
}

/// Waits for the Close frame, or for the last chunk.
pub(super) async fn closed(mut stream: Connection, socket: bool) {
    loop {
        let piece = stream.more().await.unwrap_or_default();
        let close = if socket {
            piece.first() == Some(&0x88)
        } else {
            piece.ends_with(b"0\r\n\r\n")
        };
        if piece.is_empty() || close {
            return;
        }
    }
}
