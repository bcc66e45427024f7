//! HTTP/2 frames as no library would send them.

use super::assert_alive;
use crate::support::stage::{HOST, Stage, USER};
use crate::support::tls::{Http2, connect};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PATIENCE: Duration = Duration::from_secs(20);

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Literal fields without indexing and without Huffman (RFC 7541, 6.2.2); no text longer than 126 bytes.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            bytes.push(u8::try_from(text.len()).ok().filter(|length| *length < 127).unwrap());
            bytes.extend(text.as_bytes());
        }
    }
    bytes
}

/// A connection whose frames are ours.
struct Raw(TlsStream<TcpStream>);

impl Raw {
    async fn open(stage: &Stage) -> Self {
        let stream = connect(stage.gateway.address(0), HOST, &stage.gateway.ca(), &[b"h2"])
            .await
            .unwrap();
        let mut raw = Self(stream);
        // No dynamic table: every status comes as a literal.
        raw.send(&[PREFACE, &frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0])].concat())
            .await;
        raw
    }

    async fn send(&mut self, bytes: &[u8]) {
        let _ = tokio::time::timeout(PATIENCE, self.0.write_all(bytes)).await;
        let _ = tokio::time::timeout(PATIENCE, self.0.flush()).await;
    }

    /// The next frame as kind, flags, stream and payload; `None` when the connection ended.
    async fn next(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let read = async {
            let mut start = [0; 9];
            self.0.read_exact(&mut start).await.ok()?;
            let length = u32::from_be_bytes([0, start[0], start[1], start[2]]);
            let mut payload = vec![0; usize::try_from(length).ok()?];
            self.0.read_exact(&mut payload).await.ok()?;
            let stream = u32::from_be_bytes([start[5], start[6], start[7], start[8]]);
            Some((start[3], start[4], stream, payload))
        };
        tokio::time::timeout(PATIENCE, read)
            .await
            .expect("a frame or the end comes in time")
    }

    /// Sends one request and tells how it ended: `Ok(status)` or `Err(kind)` of the frame that refused it.
    async fn ask(&mut self, stream: u32, fields: &[(&str, &str)]) -> Result<u16, u8> {
        self.send(&frame(HEADERS, END_STREAM | END_HEADERS, stream, &block(fields)))
            .await;
        loop {
            match self.next().await {
                Some((HEADERS, _, of, payload)) if of == stream => return Ok(status_in(&payload)),
                Some((RESET, _, of, _)) if of == stream => return Err(RESET),
                None | Some((GOAWAY, ..)) => return Err(GOAWAY),
                Some(_) => {}
            }
        }
    }
}

/// The status at the start of a block, which our side always writes first.
fn status_in(block: &[u8]) -> u16 {
    // The encoder may say first that it took our table size.
    let block = block.strip_prefix(&[0x20]).unwrap_or(block);
    match block {
        [0x88, ..] => 200,
        [0x8b, ..] => 304,
        [0x8c, ..] => 400,
        [0x8d, ..] => 404,
        [0x8e, ..] => 500,
        // A literal with the name of entry 8, Huffman-coded or not; three digits.
        [0x48 | 0x08, 0x82 | 0x83, rest @ ..] => digits(rest),
        [0x48 | 0x08, 3, a, b, c, ..] => std::str::from_utf8(&[*a, *b, *c]).unwrap().parse().unwrap(),
        _ => 0,
    }
}

/// Three digits of the Huffman code (RFC 7541, B): 0, 1 and 2 have five bits, the others six.
fn digits(bytes: &[u8]) -> u16 {
    let mut bits = bytes
        .iter()
        .take(3)
        .flat_map(|byte| (0..8).rev().map(move |at| u16::from(byte >> at & 1)));
    (0..3).fold(0, |sum, _| {
        let mut code = (0..5).fold(0, |code, _| code << 1 | bits.next().unwrap());
        if code > 2 {
            code = code << 1 | bits.next().unwrap();
            return sum * 10 + code - 0x19 + 3;
        }
        sum * 10 + code
    })
}

fn get<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut fields = vec![
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", HOST),
        (":path", "/public"),
    ];
    fields.extend(more);
    fields
}

#[tokio::test]
async fn a_request_that_is_not_one_thing_is_refused() {
    let stage = Stage::start().await;
    let plain = get(&[]);
    let with = |name: &'static str, value: &'static str| {
        let fields = plain
            .iter()
            .map(|field| if field.0 == name { (name, value) } else { *field });
        fields.collect::<Vec<_>>()
    };
    let without = |name: &str| {
        plain
            .iter()
            .filter(|field| field.0 != name)
            .copied()
            .collect::<Vec<_>>()
    };
    let mut raw = Raw::open(&stage).await;
    let mut stream = 1;
    for (what, fields, expected) in [
        ("plain", get(&[]), Ok(200)),
        ("same host", get(&[("host", HOST)]), Ok(200)),
        (
            "host alone",
            [without(":authority"), vec![("host", HOST)]].concat(),
            Ok(200),
        ),
        ("no host", without(":authority"), Ok(400)),
        ("other host", get(&[("host", "evil.example")]), Ok(400)),
        ("two hosts", get(&[("host", HOST), ("host", HOST)]), Ok(400)),
        ("unknown host", with(":authority", "evil.example"), Ok(421)),
        ("user in host", with(":authority", "x@app.example.test"), Ok(400)),
        ("other scheme", with(":scheme", "gopher"), Ok(400)),
        ("dot segment", with(":path", "/public/../denied"), Ok(400)),
        ("DEL in the query", with(":path", "/public?\u{7f}"), Err(RESET)),
        ("letters beyond ASCII", with(":path", "/public?\u{e9}"), Ok(400)),
        ("asterisk", with(":path", "*"), Ok(400)),
        ("no method", without(":method"), Err(RESET)),
        ("no path", without(":path"), Err(RESET)),
        ("connection", get(&[("connection", "x-forwarded-user")]), Err(RESET)),
        ("upgrade", get(&[("upgrade", "websocket")]), Err(RESET)),
        ("chunked", get(&[("transfer-encoding", "chunked")]), Err(RESET)),
        ("te", get(&[("te", "gzip")]), Err(RESET)),
        ("length without body", get(&[("content-length", "5")]), Err(RESET)),
        (
            "two lengths",
            get(&[("content-length", "0"), ("content-length", "0")]),
            Ok(400),
        ),
        ("trace", with(":method", "TRACE"), Ok(405)),
        ("connect", vec![(":method", "CONNECT"), (":authority", HOST)], Ok(405)),
    ] {
        assert_eq!(raw.ask(stream, &fields).await, expected, "{what}");
        stream += 2;
    }
    for request in stage.app.requests() {
        assert_eq!(request.values("host"), [HOST]);
        assert!(request.values("connection").is_empty() && request.values("te").is_empty());
    }
}

#[tokio::test]
async fn a_request_that_breaks_the_protocol_breaks_only_its_connection() {
    let stage = Stage::start().await;
    for (what, fields) in [
        ("extended CONNECT", get(&[(":protocol", "websocket")])),
        ("capitals", get(&[("X-Remote-User", "root")])),
        ("line break", get(&[("x-a", "b\r\nx-remote-user: root")])),
        ("NUL", get(&[("x-a", "b\0c")])),
        ("pseudo behind", get(&[(":path", "/denied")])),
        ("unknown pseudo", get(&[(":user", "root")])),
    ] {
        let refused = Raw::open(&stage).await.ask(1, &fields).await;
        assert!(matches!(refused, Err(_) | Ok(400 | 405)), "{what}: {refused:?}");
    }
    assert!(stage.app.requests().is_empty());
    assert_alive(&stage).await;
}

#[tokio::test]
async fn a_head_request_gets_no_body_even_when_it_is_refused() {
    let stage = Stage::start().await;
    let mut client = Http2::connect(stage.gateway.address(0), HOST, &stage.gateway.ca()).await;
    for (target, status) in [
        ("/denied", 403),
        ("/a/../b", 400),
        ("/.portcullis/login", 200),
        ("/", 302),
        ("/public", 200),
    ] {
        let request = Request::head(format!("https://{HOST}{target}"))
            .body(Full::<Bytes>::default())
            .unwrap();
        let answer = client.send(request).await.unwrap();
        assert_eq!(answer.status(), status, "{target}");
        let length = answer.headers().get("content-length").cloned();
        let body = answer
            .into_body()
            .collect()
            .await
            .unwrap_or_else(|error| panic!("{target}: {error}"));
        assert!(body.to_bytes().is_empty(), "{target}");
        assert!(status == 302 || length.is_some_and(|length| length != "0"), "{target}");
    }
    let mut raw = Raw::open(&stage).await;
    let fields = [
        (":method", "HEAD"),
        (":scheme", "https"),
        (":authority", HOST),
        (":path", "/denied"),
    ];
    raw.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&fields)))
        .await;
    loop {
        let (kind, flags, of, _) = raw.next().await.expect("an answer");
        assert!(!(of == 1 && kind == DATA), "a body in answer to HEAD");
        if of == 1 && flags & END_STREAM != 0 {
            break;
        }
    }
}

#[tokio::test]
async fn a_body_without_a_length_arrives_whole() {
    let stage = Stage::start().await;
    let mut raw = Raw::open(&stage).await;
    for (index, method) in ["GET", "POST", "DELETE"].into_iter().enumerate() {
        stage.app.forget();
        let stream = u32::try_from(index).unwrap() * 2 + 1;
        let fields = [
            (":method", method),
            (":scheme", "https"),
            (":authority", HOST),
            (":path", "/public"),
        ];
        raw.send(&frame(HEADERS, END_HEADERS, stream, &block(&fields))).await;
        raw.send(&frame(DATA, 0, stream, b"hel")).await;
        raw.send(&frame(DATA, END_STREAM, stream, b"lo")).await;
        assert_eq!(stage.app.wait_for(1)[0].body, b"hello", "{method}");
    }
}

#[tokio::test]
async fn trailers_say_nothing_of_the_user() {
    let stage = Stage::start().await;
    let mut raw = Raw::open(&stage).await;
    let start = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", HOST),
        (":path", "/"),
        ("cookie", stage.cookie.as_str()),
        ("trailer", "x-remote-user, x-fine"),
    ];
    raw.send(&frame(HEADERS, END_HEADERS, 1, &block(&start))).await;
    raw.send(&frame(DATA, 0, 1, b"abc")).await;
    let end = [("x-remote-user", "root"), ("x_forwarded_user", "root"), ("x-fine", "1")];
    raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&end)))
        .await;
    let request = stage.app.wait_for(1).remove(0);
    assert_eq!(request.values("x-forwarded-user"), [USER]);
    assert!(!request.trailers.concat().contains("root"), "{:?}", request.trailers);
}

#[tokio::test]
async fn floods_of_resets_and_continuations_end_the_connection_and_nothing_else() {
    let stage = Stage::start().await;
    let fields = get(&[]);
    let mut raw = Raw::open(&stage).await;
    let mut burst = Vec::new();
    for index in 0..20_000_u32 {
        let stream = index * 2 + 1;
        burst.extend(frame(HEADERS, END_STREAM | END_HEADERS, stream, &block(&fields)));
        burst.extend(frame(RESET, 0, stream, &8_u32.to_be_bytes()));
    }
    raw.send(&burst).await;
    while let Some((kind, ..)) = raw.next().await {
        if kind == GOAWAY {
            break;
        }
    }
    assert_alive(&stage).await;
    let mut raw = Raw::open(&stage).await;
    raw.send(&frame(HEADERS, END_STREAM, 1, &block(&fields))).await;
    let more = frame(CONTINUATION, 0, 1, &block(&[("x-a", &"b".repeat(120))]).repeat(100));
    for _ in 0..2000 {
        if raw.0.write_all(&more).await.is_err() {
            break;
        }
    }
    while let Some((kind, ..)) = raw.next().await {
        if kind == GOAWAY {
            break;
        }
    }
    assert_alive(&stage).await;
    for junk in [
        &[0xff_u8; 64][..],
        &frame(SETTINGS, 0, 0, &[0; 5]),
        &frame(DATA, 0, 0, b"x"),
        &frame(HEADERS, END_HEADERS, 2, &block(&fields)),
        &frame(99, 0xff, 7, &[0; 16_384]).repeat(4),
        &frame(8, 0, 0, &[0, 0, 0, 0]),
    ] {
        let mut raw = Raw::open(&stage).await;
        raw.send(junk).await;
        assert_alive(&stage).await;
    }
}
