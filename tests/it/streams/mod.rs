//! Open streams end with their session: WebSockets, streams of events, long answers; whoever ends it, and wherever.

mod ends;
mod offline;
mod portal;

use crate::support::client::{Client, Response};
use crate::support::gateway::{Gateway, pause};
use crate::support::stage::{HOST, PASSWORD, ROUTES, Stage, USER};
use crate::support::upstream::{Heard, Recorded, Reply};
use std::time::{Duration, Instant};

/// How long after an end a stream may go on. The promise is a quarter of a second; the bound leaves room for a busy machine.
const SOON: Duration = Duration::from_secs(2);
/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// Close 1008, as a server says it.
const POLICY: [u8; 4] = [0x88, 2, 0x03, 0xf0];
/// The same as a client says it: masked.
const MASKED_POLICY: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xf0];
const LONG: Duration = Duration::from_mins(10);

/// An application with a stream of each kind.
fn application(heard: &Heard) -> impl Fn(&Recorded) -> Reply + Send + Sync + 'static {
    let heard = heard.clone();
    move |request| {
        let target = request.target();
        let chunks = |kind: &str, pieces: Vec<(Duration, Vec<u8>)>| Reply::Chunked {
            headers: vec![("Content-Type".to_owned(), kind.to_owned())],
            pieces,
            trailers: Vec::new(),
        };
        let piece = |wait: Duration, text: &str| (wait, text.as_bytes().to_vec());
        let socket = |say: Vec<(Duration, Vec<u8>)>| Reply::WebSocket {
            say,
            heard: heard.clone(),
        };
        match target.trim_start_matches("/staff") {
            "/ws" => socket(Vec::new()),
            "/echo" => Reply::WebSocketEcho,
            // A frame whose rest never comes.
            "/cut-frame" => socket(vec![
                (Duration::ZERO, vec![0x82, 126, 0x9c, 0x40, b'x']),
                piece(LONG, "x"),
            ]),
            "/events" => Reply::Events {
                every: Duration::from_millis(20),
            },
            "/quiet-events" => chunks(
                "text/event-stream",
                vec![piece(Duration::ZERO, "data: 1\n\n"), piece(LONG, "")],
            ),
            "/download" => chunks(
                "application/zip",
                (0..100_000).map(|_| piece(TICK, "some bytes ")).collect(),
            ),
            "/large" => Reply::Large { bytes: 1 << 40 },
            "/short" => chunks("text/plain", vec![piece(TICK, "a short "), piece(TICK, "answer")]),
            _ => Reply::text("hello"),
        }
    }
}

const TICK: Duration = Duration::from_millis(20);

async fn stage(heard: &Heard) -> Stage {
    Stage::with("", ROUTES, application(heard)).await
}

/// The lines that a browser's WebSocket sends.
pub(crate) fn handshake(target: &str, cookie: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nCookie: {cookie}\r\n\r\n"
    )
}

/// A frame of a client with a mask of zeros.
pub(crate) fn frame(payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).ok().filter(|length| *length < 126).unwrap();
    let mut frame = vec![0x82, 0x80 | length, 0, 0, 0, 0];
    frame.extend(payload);
    frame
}

async fn socket(stage: &Stage, target: &str) -> Client {
    let mut client = stage.client().await;
    client.send(handshake(target, &stage.cookie).as_bytes()).await;
    assert_eq!(client.head().await.status, 101);
    client
}

/// Sends a GET and reads the head of the answer.
async fn begin(stage: &Stage, target: &str) -> (Client, Response) {
    let mut client = stage.client().await;
    let cookie = stage.cookie_line();
    client
        .send(format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\n{cookie}\r\n\r\n").as_bytes())
        .await;
    let head = client.head().await;
    (client, head)
}

async fn log_out(stage: &Stage) {
    let lines = [stage.cookie_line(), "Sec-Fetch-Site: same-origin".to_owned()];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let answer = stage
        .client()
        .await
        .request("POST", HOST, "/.portcullis/logout", &lines, b"")
        .await;
    assert_eq!(answer.status, 204, "{}", answer.text());
}

async fn sign_in_again(stage: &mut Stage) {
    stage.cookie = stage.client().await.sign_in(HOST, USER, PASSWORD).await;
}

/// Chunks up to the last one, as they stand on the wire; `None` when the connection ended without it.
async fn chunks(client: &mut Client) -> Option<String> {
    let chunks = client.last_chunk().await?;
    Some(String::from_utf8(chunks).unwrap())
}

/// Waits until so many streams of a kind are open.
async fn until_open(gateway: &Gateway, kind: &str, expected: usize) {
    let line = format!("portcullis_streams_open{{kind=\"{kind}\"}} {expected}\n");
    let started = Instant::now();
    loop {
        let mut client = Client::plain(gateway.admin()).await;
        let text = client.get("localhost", "/metrics", &[]).await.text();
        if text.contains(&line) {
            return;
        }
        let seen: Vec<_> = text.lines().filter(|line| line.contains("streams_open")).collect();
        assert!(started.elapsed() < PATIENCE, "{line} is not in {seen:?}");
        pause();
    }
}

async fn until_none_is_open(gateway: &Gateway) {
    for kind in ["upgrade", "events", "body", "portal"] {
        until_open(gateway, kind, 0).await;
    }
}
