//! An application that keeps nothing: hello, an event stream, a WebSocket.

use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

const HELLO: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";
const EVENTS: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
// The answer to the key that every client of RFC 6455, 1.3, sends.
const SOCKET: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Serves for as long as the runtime runs.
pub(super) async fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A connection that breaks concerns nobody but its other end.
            tokio::spawn(async move { drop(converse(stream).await) });
        }
    });
    address
}

async fn converse(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = Vec::new();
    loop {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        if head.starts_with(b"GET /events") {
            stream.write_all(EVENTS).await?;
            loop {
                stream.write_all(b"data: 1\n\n").await?;
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
        if head.starts_with(b"GET /ws") {
            stream.write_all(SOCKET).await?;
            while stream.read_buf(&mut head).await? > 0 {
                head.clear();
            }
            return Ok(());
        }
        stream.write_all(HELLO).await?;
        head.clear();
    }
}
