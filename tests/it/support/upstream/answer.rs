//! What goes back to the gateway.

use super::wire::Wire;
use super::{Heard, Recorded, Reply};
use base64::Engine;
use std::fmt::Write;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends `reply`; `true` when another request may follow on this connection.
pub(super) async fn answer(wire: &mut Wire, request: &Recorded, mut reply: Reply) -> std::io::Result<bool> {
    while let Reply::After(wait, then) = reply {
        tokio::time::sleep(wait).await;
        reply = *then;
    }
    let stream = &mut wire.stream;
    match reply {
        Reply::Fixed { status, headers, body } => {
            let length = ("Content-Length".to_owned(), body.len().to_string());
            let bodiless = status == 204 || status == 304;
            let lines = headers.iter().chain((!bodiless).then_some(&length));
            stream.write_all(&answer_head(status, lines)).await?;
            if !request.head.starts_with(b"HEAD ") {
                stream.write_all(&body).await?;
            }
            return Ok(true);
        }
        Reply::Chunked {
            headers,
            pieces,
            trailers,
        } => {
            send_chunks(stream, &headers, pieces, &trailers).await?;
            return Ok(true);
        }
        Reply::Large { bytes } => {
            send_large(stream, bytes).await?;
            return Ok(true);
        }
        Reply::Events { every } => send_events(stream, every).await?,
        Reply::WebSocketEcho => echo_frames(wire, request).await?,
        Reply::WebSocket { say, heard } => listen(wire, request, say, &heard).await?,
        Reply::Gated { first, gate, then } => {
            stream.write_all(&first).await?;
            gate.notified().await;
            stream.write_all(&then).await?;
            let mut piece = [0; 1024];
            while stream.read(&mut piece).await? > 0 {}
        }
        Reply::RawOpen(bytes) => {
            stream.write_all(&bytes).await?;
            return Ok(true);
        }
        Reply::Raw(bytes) => stream.write_all(&bytes).await?,
        Reply::Silence => {
            let mut piece = [0; 1024];
            while stream.read(&mut piece).await? > 0 {}
        }
        Reply::Close | Reply::After(..) | Reply::Early(_) => {}
    }
    Ok(false)
}

async fn send_chunks(
    stream: &mut TcpStream,
    headers: &[(String, String)],
    pieces: Vec<(Duration, Vec<u8>)>,
    trailers: &[(String, String)],
) -> std::io::Result<()> {
    let chunked = ("Transfer-Encoding".to_owned(), "chunked".to_owned());
    stream
        .write_all(&answer_head(200, headers.iter().chain([&chunked])))
        .await?;
    for (wait, piece) in pieces {
        tokio::time::sleep(wait).await;
        write_chunk(stream, &piece).await?;
    }
    stream
        .write_all(format!("0\r\n{}\r\n", lines(trailers.iter())).as_bytes())
        .await
}

async fn send_large(stream: &mut TcpStream, bytes: u64) -> std::io::Result<()> {
    let length = ("Content-Length".to_owned(), bytes.to_string());
    stream.write_all(&answer_head(200, [&length].into_iter())).await?;
    let piece = vec![b'x'; 64 * 1024];
    let mut left = bytes;
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
        stream.write_all(&piece[..now]).await?;
        left -= now as u64;
    }
    Ok(())
}

fn answer_head<'a>(status: u16, headers: impl Iterator<Item = &'a (String, String)>) -> Vec<u8> {
    let reason = http::StatusCode::from_u16(status)
        .ok()
        .and_then(|code| code.canonical_reason())
        .unwrap_or("");
    format!("HTTP/1.1 {status} {reason}\r\n{}\r\n", lines(headers)).into_bytes()
}

fn lines<'a>(pairs: impl Iterator<Item = &'a (String, String)>) -> String {
    pairs.fold(String::new(), |mut text, (name, value)| {
        let _ = write!(text, "{name}: {value}\r\n");
        text
    })
}

async fn write_chunk(stream: &mut TcpStream, piece: &[u8]) -> std::io::Result<()> {
    let mut bytes = format!("{:x}\r\n", piece.len()).into_bytes();
    bytes.extend_from_slice(piece);
    bytes.extend_from_slice(b"\r\n");
    stream.write_all(&bytes).await
}

async fn send_events(stream: &mut TcpStream, every: Duration) -> std::io::Result<()> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    let mut count = 0_u64;
    loop {
        write_chunk(stream, format!("data: {count}\n\n").as_bytes()).await?;
        count += 1;
        let mut byte = [0; 1];
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            read = stream.read(&mut byte) => if read? == 0 { return Ok(()) },
        }
    }
}

async fn switch(wire: &mut Wire, request: &Recorded) -> std::io::Result<()> {
    let key = request.values("sec-websocket-key").pop().unwrap_or_default();
    let accept = accept_key(&key);
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    wire.stream.write_all(head.as_bytes()).await
}

async fn listen(
    wire: &mut Wire,
    request: &Recorded,
    say: Vec<(Duration, Vec<u8>)>,
    heard: &Heard,
) -> std::io::Result<()> {
    switch(wire, request).await?;
    heard.more(&wire.read_ahead());
    let (mut read, mut write) = wire.stream.split();
    let saying = async {
        for (wait, piece) in say {
            tokio::time::sleep(wait).await;
            write.write_all(&piece).await?;
        }
        std::io::Result::Ok(())
    };
    let hearing = async {
        let mut piece = vec![0; 64 * 1024];
        loop {
            // A reset is an end, too.
            let length = read.read(&mut piece).await.unwrap_or(0);
            if length == 0 {
                return heard.over();
            }
            heard.more(&piece[..length]);
        }
    };
    tokio::pin!(saying, hearing);
    tokio::select! {
        said = &mut saying => {
            hearing.await;
            said
        }
        () = &mut hearing => Ok(()),
    }
}

/// Unmasks each frame and sends it back; a Close is answered and ends the connection.
async fn echo_frames(wire: &mut Wire, request: &Recorded) -> std::io::Result<()> {
    switch(wire, request).await?;
    loop {
        let start: [u8; 2] = wire.exactly(2).await?.try_into().expect("two bytes were read");
        let length = match start[1] & 0x7f {
            126 => u64::from(u16::from_be_bytes(
                wire.exactly(2).await?.try_into().expect("two bytes were read"),
            )),
            127 => u64::from_be_bytes(wire.exactly(8).await?.try_into().expect("eight bytes were read")),
            short => u64::from(short),
        };
        let mask = if start[1] & 0x80 == 0 {
            vec![0; 4]
        } else {
            wire.exactly(4).await?
        };
        let mut payload = wire.exactly(usize::try_from(length).unwrap_or(usize::MAX)).await?;
        for (index, byte) in payload.iter_mut().enumerate() {
            *byte ^= mask[index % 4];
        }
        let mut frame = vec![start[0]];
        match payload.len() {
            short @ 0..=125 => frame.push(u8::try_from(short).expect("at most 125")),
            middle @ 126..=0xffff => {
                frame.push(126);
                frame.extend(u16::try_from(middle).expect("at most 65535").to_be_bytes());
            }
            long => {
                frame.push(127);
                frame.extend((long as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(&payload);
        wire.stream.write_all(&frame).await?;
        if start[0] & 0x0f == 8 {
            return Ok(());
        }
    }
}

/// RFC 6455, 4.2.2.
fn accept_key(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(digest)
}
