//! The server's side of a WebSocket (RFC 6455) that sends every message back.

use crate::lifecycle::Lifecycle;
use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// RFC 6455, 1.3.
const KEY_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The longest frame whose length needs 16 bits at most.
const LONGEST_FRAME: u64 = 0xffff;
/// A connection that says nothing for this long is closed.
const IDLE: Duration = Duration::from_mins(10);

const CONTINUATION: u8 = 0;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

const PROTOCOL_ERROR: u16 = 1002;
const TOO_BIG: u16 = 1009;

/// Answers the handshake and starts the echo; anything that is no handshake is told so with 426.
pub(super) fn accept(mut request: Request<Incoming>, lifecycle: &Lifecycle) -> Response<Full<Bytes>> {
    let Some(accept) = accept_value(request.method(), request.headers()) else {
        let mut refusal = Response::new(Full::from("This address speaks WebSocket.\n"));
        *refusal.status_mut() = StatusCode::UPGRADE_REQUIRED;
        refusal
            .headers_mut()
            .insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        refusal
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        return refusal;
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let stop = lifecycle.streams.clone();
    lifecycle.tasks.spawn(async move {
        let Ok(stream) = upgrade.await else { return };
        tokio::select! {
            _ = echo(TokioIo::new(stream)) => {}
            () = stop.cancelled() => {}
        }
    });
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    answer
        .headers_mut()
        .insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    answer
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    answer.headers_mut().insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    answer
}

/// `Sec-WebSocket-Accept` for a handshake; `None` when it is none.
fn accept_value(method: &Method, headers: &HeaderMap) -> Option<HeaderValue> {
    let says = |name: header::HeaderName, word: &str| {
        let values = headers
            .get_all(name)
            .into_iter()
            .filter_map(|value| value.to_str().ok());
        values
            .flat_map(|value| value.split(','))
            .any(|item| item.trim().eq_ignore_ascii_case(word))
    };
    let asks = method == Method::GET
        && says(header::UPGRADE, "websocket")
        && says(header::CONNECTION, "upgrade")
        && says(header::SEC_WEBSOCKET_VERSION, "13");
    let key = headers.get(header::SEC_WEBSOCKET_KEY)?.to_str().ok()?;
    if !asks || STANDARD.decode(key).ok()?.len() != 16 {
        return None;
    }
    let sum = digest::digest(
        &digest::SHA1_FOR_LEGACY_USE_ONLY,
        format!("{key}{KEY_SUFFIX}").as_bytes(),
    );
    HeaderValue::from_str(&STANDARD.encode(sum)).ok()
}

/// Sends frames back until a Close, an error, or silence. Fragments go back as the fragments that they came in.
async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    loop {
        let frame = match tokio::time::timeout(IDLE, read_frame(&mut stream)).await {
            Ok(frame) => frame?,
            Err(_) => return Ok(()),
        };
        match frame {
            Ok(Frame { first, payload }) => match first & 0x0f {
                CONTINUATION..=BINARY => write_frame(&mut stream, first, &payload).await?,
                PING => write_frame(&mut stream, 0x80 | PONG, &payload).await?,
                PONG => {}
                CLOSE => return write_frame(&mut stream, 0x80 | CLOSE, &payload).await,
                _ => return close(&mut stream, PROTOCOL_ERROR).await,
            },
            Err(code) => return close(&mut stream, code).await,
        }
    }
}

struct Frame {
    /// FIN and opcode.
    first: u8,
    payload: Vec<u8>,
}

/// Reads one frame; the inner error is the Close code for a frame that breaks the protocol or the limit.
async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Result<Frame, u16>> {
    let [first, second] = read(stream).await?;
    let control = first & 0x08 != 0;
    let unfinished = first & 0x80 == 0;
    let masked = second & 0x80 != 0;
    let reserved = first & 0x70 != 0;
    if reserved || !masked || (control && (unfinished || second & 0x7f > 125)) {
        return Ok(Err(PROTOCOL_ERROR));
    }
    let length = match second & 0x7f {
        126 => u64::from(u16::from_be_bytes(read(stream).await?)),
        127 => u64::from_be_bytes(read(stream).await?),
        short => u64::from(short),
    };
    if length > LONGEST_FRAME {
        return Ok(Err(TOO_BIG));
    }
    let mask: [u8; 4] = read(stream).await?;
    let mut payload = vec![0; usize::try_from(length).unwrap_or_default()];
    stream.read_exact(&mut payload).await?;
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    Ok(Ok(Frame { first, payload }))
}

async fn read<const LENGTH: usize>(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn write_frame(stream: &mut (impl AsyncWrite + Unpin), first: u8, payload: &[u8]) -> io::Result<()> {
    let length = u16::try_from(payload.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    let [high, low] = length.to_be_bytes();
    let mut frame = if length <= 125 {
        vec![first, low]
    } else {
        vec![first, 126, high, low]
    };
    frame.extend_from_slice(payload);
    stream.write_all(&frame).await?;
    stream.flush().await
}

async fn close(stream: &mut (impl AsyncWrite + Unpin), code: u16) -> io::Result<()> {
    write_frame(stream, 0x80 | CLOSE, &code.to_be_bytes()).await
}

#[cfg(test)]
mod tests {
    use super::{accept_value, echo};
    use http::{HeaderMap, HeaderValue, Method, header};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn a_handshake_is_answered_with_the_value_of_the_rfc() {
        let mut headers = HeaderMap::new();
        headers.insert(header::UPGRADE, HeaderValue::from_static("WebSocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("keep-alive, Upgrade"));
        headers.insert(
            header::SEC_WEBSOCKET_KEY,
            HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="),
        );
        assert_eq!(accept_value(&Method::GET, &headers), None, "without a version");
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        assert_eq!(
            accept_value(&Method::GET, &headers).unwrap(),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
        assert_eq!(accept_value(&Method::POST, &headers), None);
    }

    async fn answer_to(bytes: &[u8]) -> Vec<u8> {
        let (mut browser, server) = tokio::io::duplex(256 * 1024);
        browser.write_all(bytes).await.unwrap();
        browser.shutdown().await.unwrap();
        let _ = echo(server).await;
        let mut answer = Vec::new();
        browser.read_to_end(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn messages_come_back_pings_become_pongs_and_a_close_ends_it() {
        let text = [0x81, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2];
        let ping = [0x89, 0x81, 0, 0, 0, 0, b'p'];
        let close = [0x88, 0x82, 0, 0, 0, 0, 3, 0xe8];
        let answer = answer_to(&[&text[..], &ping, &close, &text].concat()).await;
        assert_eq!(answer, [0x81, 2, b'h', b'i', 0x8a, 1, b'p', 0x88, 2, 3, 0xe8]);
    }

    #[tokio::test]
    async fn a_long_message_comes_back_whole() {
        let mut frame = vec![0x82, 0xfe, 1, 0, 0, 0, 0, 0];
        frame.extend([7; 256]);
        let answer = answer_to(&frame).await;
        assert_eq!(answer[..4], [0x82, 126, 1, 0]);
        assert_eq!(answer[4..], [7; 256]);
    }

    #[tokio::test]
    async fn a_frame_that_breaks_the_protocol_closes_with_its_code() {
        assert_eq!(
            answer_to(&[0x81, 0x02, b'h', b'i']).await,
            [0x88, 2, 0x03, 0xea],
            "unmasked"
        );
        assert_eq!(
            answer_to(&[0xc1, 0x80, 0, 0, 0, 0]).await,
            [0x88, 2, 0x03, 0xea],
            "a reserved bit"
        );
        assert_eq!(
            answer_to(&[0x83, 0x80, 0, 0, 0, 0]).await,
            [0x88, 2, 0x03, 0xea],
            "an unknown opcode"
        );
        let huge = [&[0x82, 0xff][..], &u64::MAX.to_be_bytes(), &[0; 4]].concat();
        assert_eq!(answer_to(&huge).await, [0x88, 2, 0x03, 0xf1], "too big");
    }
}
