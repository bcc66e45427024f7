//! Hostile HTTP/1 bytes, and after each of them proof that the gateway lives.

use crate::support::client::Client;
use crate::support::net::Served;
use std::time::Duration;
use std::time::Instant;

const GOOD: &[u8] = b"GET /good HTTP/1.1\r\nHost: a.test\r\n\r\n";

const BAD_LINES: &[&str] = &[
    "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    "Content-Length: 5\r\nContent-Length: 5\r\n",
    "Content-Length: 5\r\nContent-Length: 6\r\n",
    "Content-Length: 5, 5\r\n",
    "Content-Length: +5\r\n",
    "Content-Length: -5\r\n",
    "Content-Length: 0x5\r\n",
    "Content-Length: 5 5\r\n",
    "Content-Length:\r\n",
    "Content-Length: 99999999999999999999\r\n",
    "Content-Length : 5\r\n",
    "Transfer-Encoding: chunked, chunked\r\n",
    "Transfer-Encoding: chunked, gzip\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
    "Transfer-Encoding: \x0bchunked\r\n",
    "Transfer-Encoding: ,chunked\r\n",
    "Transfer-Encoding: chunked;a=b\r\n",
    "Transfer-Encoding: \"chunked\"\r\n",
    "Transfer-Encoding:\r\n",
    "Transfer-Encoding : chunked\r\n",
    "Transfer-Encoding: x\r\n chunked\r\n",
    "X: y\r\n folded\r\n",
    "X: y\r\n\tfolded\r\n",
    " X: y\r\n",
    "X: a\0b\r\n",
    "X: a\x01b\r\n",
    "X: a\x7fb\r\n",
    "X: a\rb\r\n",
    "X: a\nY: b\r\n",
    "X: a\r\r\n",
    ": y\r\n",
    "X y\r\n",
    "X\r\n",
    "X Y: z\r\n",
    "X\t: z\r\n",
    "X(: z\r\n",
    "Xé: z\r\n",
    "Host: b.test\r\n",
    "hOsT:\r\n",
];

const UNKNOWN_CODINGS: &[&str] = &[
    "Transfer-Encoding: gzip\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Transfer-Encoding: xchunked\r\n",
    "Transfer-Encoding: identity\r\n",
];

const BAD_REQUEST_LINES: &[&str] = &[
    "GET / HTTP/1.2",
    "GET / HTTP/2.0",
    "GET / HTTP/0.9",
    "GET / http/1.1",
    "GET / HTTP/1.1 ",
    "GET /",
    "GET",
    "GET  / HTTP/1.1",
    "GET /  HTTP/1.1",
    "GET\t/ HTTP/1.1",
    " GET / HTTP/1.1",
    "G(T / HTTP/1.1",
    "GET /a b HTTP/1.1",
    "GET /a#b HTTP/1.1",
    "GET /a?b#c HTTP/1.1",
    "GET /\x01 HTTP/1.1",
    "GET /\x7f HTTP/1.1",
    "GET /é HTTP/1.1",
    "GET /?é HTTP/1.1",
    "GET /<a> HTTP/1.1",
    "GET /a\\ HTTP/1.1 HTTP/1.1",
    "GET a HTTP/1.1",
    "GET a.test:80 HTTP/1.1",
    "GET * HTTP/1.1",
    "GET ?a HTTP/1.1",
    "GET ftp://a.test/ HTTP/1.1",
    "GET http:///a HTTP/1.1",
    "GET http://a.test/#b HTTP/1.1",
    "GET http://a b/ HTTP/1.1",
    "CONNECT http://a.test/ HTTP/1.1",
];

/// Each is answered with the status, by our handler and never by hyper, and the connection is closed.
fn hostile() -> Vec<(u16, Vec<u8>)> {
    let mut cases: Vec<(u16, Vec<u8>)> = Vec::new();
    let mut head = |status: u16, text: &str| cases.push((status, text.as_bytes().to_vec()));
    for lines in BAD_LINES {
        head(400, &format!("POST / HTTP/1.1\r\nHost: a.test\r\n{lines}\r\n"));
    }
    for lines in UNKNOWN_CODINGS {
        head(501, &format!("POST / HTTP/1.1\r\nHost: a.test\r\n{lines}\r\n"));
    }
    for line in BAD_REQUEST_LINES {
        head(400, &format!("{line}\r\nHost: a.test\r\n\r\n"));
    }
    head(400, "\x16\x03\x01\x02\0\x01\0");
    head(400, "GET / HTTP/1.1\r\n\r\n");
    head(400, "GET / HTTP/1.1\nHost: a.test\n\n");
    head(400, "GET / HTTP/1.1\r\nHost: a.test\r\n\n");
    head(400, "GET / HTTP/1.1\r\nHost: a.test\n\r\n");
    head(400, "\r\n\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    head(400, "\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    head(
        400,
        "POST / HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    head(400, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    head(
        400,
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
    );
    head(
        414,
        &format!("GET /{} HTTP/1.1\r\nHost: a.test\r\n\r\n", "a".repeat(4096)),
    );
    head(414, &format!("GET /{}", "a".repeat(20_000)));
    head(
        431,
        &format!("GET / HTTP/1.1\r\nHost: a.test\r\nX: {}\r\n\r\n", "a".repeat(17_000)),
    );
    head(
        431,
        &format!("GET / HTTP/1.1\r\nHost: a.test\r\n{}: a\r\n\r\n", "a".repeat(300)),
    );
    head(
        431,
        &format!("GET / HTTP/1.1\r\nHost: a.test\r\n{}\r\n", "A: b\r\n".repeat(100)),
    );
    cases.push((400, b"GET /\xc3 HTTP/1.1\r\nHost: a.test\r\n\r\n".to_vec()));
    cases.push((400, b"GET /\x80?\xff HTTP/1.1\r\nHost: a.test\r\n\r\n".to_vec()));
    cases
}

async fn expect_refusal(client: &mut Client, status: u16, bytes: &[u8]) {
    let shown = bytes[..bytes.len().min(200)].escape_ascii().to_string();
    let answer = client.response().await;
    assert_eq!(answer.status, status, "{shown}: {}", answer.text());
    assert_eq!(
        answer.value("x-request-id"),
        Some("test"),
        "hyper answered itself: {shown}"
    );
    assert_eq!(answer.value("connection"), Some("close"), "{shown}");
    assert!(client.is_closed().await, "more came after the refusal: {shown}");
}

async fn prove_life(served: &Served) {
    let answer = Client::plain(served.address()).await.get("a.test", "/good", &[]).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "GET /good 0"));
}

#[tokio::test]
async fn a_hostile_head_is_refused_by_us_and_the_next_connection_works() {
    let served = Served::plain();
    for (status, bytes) in hostile() {
        let mut client = Client::plain(served.address()).await;
        client.send_anyway(&bytes).await;
        expect_refusal(&mut client, status, &bytes).await;
        prove_life(&served).await;
    }
}

#[tokio::test]
async fn a_hostile_head_behind_a_good_one_spoils_only_itself() {
    let served = Served::plain();
    for (status, bytes) in hostile() {
        let mut client = Client::plain(served.address()).await;
        let pipelined = [
            GOOD,
            b"POST /two HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc",
            &bytes,
            GOOD,
        ]
        .concat();
        client.send_anyway(&pipelined).await;
        assert_eq!(client.response().await.text(), "GET /good 0");
        assert_eq!(client.response().await.text(), "POST /two 3");
        // A head without an end takes the good one after it into itself.
        expect_refusal(&mut client, status, &bytes).await;
    }
    prove_life(&served).await;
}

#[tokio::test]
async fn unusual_heads_that_are_right_pass() {
    let served = Served::plain();
    for (head, expected) in [
        (
            "GET /{}|\"^\\?{}|`^\\? HTTP/1.1\r\nHost: a\r\n",
            "GET /{}|\"^\\?{}|`^\\? 0",
        ),
        ("\r\nGET / HTTP/1.1\r\nHost:\r\n", "GET / 0"),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n", "OPTIONS * 0"),
        (
            "GET http://a.test/x?y HTTP/1.1\r\nHost: a\r\n",
            "GET http://a.test/x?y 0",
        ),
        ("GET HTTPS://a.test/ HTTP/1.1\r\nHost: a\r\n", "GET https://a.test/ 0"),
        ("M!#$%&'*+-.^_`|~9 / HTTP/1.1\r\nHost: a\r\n", "M!#$%&'*+-.^_`|~9 / 0"),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nX:\r\nY: \t z\u{e9} \t\r\nZ_.~:1\r\n",
            "GET / 0",
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\ncontent-LENGTH: \t 000 \r\n", "GET / 0"),
    ] {
        let mut client = Client::plain(served.address()).await;
        client.send(format!("{head}\r\n").as_bytes()).await;
        let answer = client.response().await;
        assert_eq!((answer.status, answer.text().as_str()), (200, expected), "{head:?}");
        let again = client.get("a.test", "/good", &[]).await;
        assert_eq!(again.text(), "GET /good 0", "the connection goes on after {head:?}");
    }
}

#[tokio::test]
async fn a_request_cut_anywhere_is_the_same_request() {
    let served = Served::plain();
    let bytes = b"POST /cut HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: u\r\n\r\nGET /next HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let mut client = Client::plain(served.address()).await;
    for cut in 1..bytes.len() {
        client.send(&bytes[..cut]).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
        client.send(&bytes[cut..]).await;
        assert_eq!(client.response().await.text(), "POST /cut 5", "cut at {cut}");
        assert_eq!(client.response().await.text(), "GET /next 0", "cut at {cut}");
    }
    for byte in bytes {
        client.send(&[*byte]).await;
    }
    assert_eq!(client.response().await.text(), "POST /cut 5");
    assert_eq!(client.response().await.text(), "GET /next 0");
}

#[tokio::test]
async fn a_head_larger_than_one_read_passes_whole() {
    let served = Served::plain();
    let mut client = Client::plain(served.address()).await;
    let large = format!("X: {}", "a".repeat(15_000));
    for _ in 0..3 {
        assert_eq!(client.get("a.test", "/good", &[&large]).await.text(), "GET /good 0");
    }
    let target = format!("/{}", "a".repeat(4095));
    assert_eq!(
        client.get("a.test", &target, &[]).await.text(),
        format!("GET {target} 0")
    );
}

#[tokio::test]
async fn broken_chunks_never_end_a_body_cleanly() {
    let served = Served::plain();
    for chunks in [
        "5\r\nhello0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "x\r\n",
        "5\r\nhello\r\n0\r\n bad: x\r\n\r\n",
        "5\r\nhello\r\n0\n\r\n",
        "11111111111111111\r\n",
    ] {
        let mut client = Client::plain(served.address()).await;
        let bytes = format!(
            "POST /echo HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"
        );
        client.send_anyway(bytes.as_bytes()).await;
        let rest = String::from_utf8_lossy(&client.rest().await).into_owned();
        assert!(
            !rest.contains("smuggled") && !rest.contains(" 200 "),
            "{chunks:?}: {rest}"
        );
        assert!(
            rest.is_empty() || rest.starts_with("HTTP/1.1 400 "),
            "{chunks:?}: {rest}"
        );
        prove_life(&served).await;
    }
}

#[tokio::test]
async fn a_body_that_is_not_read_is_not_taken_for_a_request() {
    let served = Served::plain();
    let inner = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let mut client = Client::plain(served.address()).await;
    let bytes = format!(
        "POST /unread HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n{inner}",
        inner.len()
    );
    client.send(bytes.as_bytes()).await;
    client
        .send_anyway(b"GET /last HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
        .await;
    let rest = String::from_utf8_lossy(&client.rest().await).into_owned();
    assert!(
        rest.contains("answered without reading") && !rest.contains("smuggled"),
        "{rest}"
    );
    // A large one is refused while it still comes; its sender is not reset, which could destroy the answer.
    let mut client = Client::plain(served.address()).await;
    client
        .send(b"POST /unread HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3000000\r\n\r\n")
        .await;
    for _ in 0..3 {
        client.send(&vec![b'x'; 500_000]).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(client.response().await.text(), "answered without reading");
}

#[tokio::test]
async fn a_slow_head_is_answered_with_408_and_silence_with_silence() {
    let served = Served::with(|settings| settings.limits.head = Duration::from_secs(1));
    let mut slow = Client::plain(served.address()).await;
    slow.send(b"GET / HTTP/1.1\r\nHost: a").await;
    expect_refusal(&mut slow, 408, b"a slow head").await;
    let mut slow_second = Client::plain(served.address()).await;
    slow_second.send(&[GOOD, b"\r\nGET /"].concat()).await;
    assert_eq!(slow_second.response().await.text(), "GET /good 0");
    expect_refusal(&mut slow_second, 408, b"a slow second head").await;

    let served = Served::with(|settings| settings.limits.idle = Duration::from_secs(2));
    let quiet = [&b""[..], b"\r\n", GOOD].map(async |quiet| {
        let began = Instant::now();
        let mut client = Client::plain(served.address()).await;
        client.send(quiet).await;
        if quiet == GOOD {
            assert_eq!(client.response().await.text(), "GET /good 0");
        }
        assert!(client.is_closed().await, "an idle connection is closed without a word");
        assert!(began.elapsed() >= Duration::from_millis(1_900), "{:?}", began.elapsed());
    });
    futures_util::future::join_all(quiet).await;
    prove_life(&served).await;
}

#[tokio::test]
async fn idle_time_does_not_run_while_an_answer_is_under_way() {
    let served = Served::with(|settings| settings.limits.idle = Duration::from_millis(150));
    let mut client = Client::plain(served.address()).await;
    for _ in 0..2 {
        assert_eq!(client.get("a.test", "/slow", &[]).await.text(), "slow");
    }
    let began = Instant::now();
    assert!(client.is_closed().await);
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_tunnel_carries_any_bytes_and_a_declined_upgrade_goes_on_as_http() {
    let served = Served::with(|settings| {
        settings.limits.head = Duration::from_secs(2);
        settings.limits.idle = Duration::from_secs(2);
    });
    let mut client = Client::plain(served.address()).await;
    let upgrade = b"GET /upgrade HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
    client.send(&[GOOD, upgrade, b"\0early\n\n"].concat()).await;
    assert_eq!(client.response().await.text(), "GET /good 0");
    assert_eq!(client.response().await.status, 101);
    assert_eq!(client.exactly(8).await, b"\0early\n\n");
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    client.send(b"GET / HTTP/9\n\n\xff").await;
    assert_eq!(client.exactly(15).await, b"GET / HTTP/9\n\n\xff");

    let mut declined = Client::plain(served.address()).await;
    let asking = b"POST /declined HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nhi";
    declined
        .send(&[&asking[..], GOOD, b"GET / HTTP/9\r\n\r\n"].concat())
        .await;
    assert_eq!(declined.response().await.text(), "POST /declined 2");
    assert_eq!(declined.response().await.text(), "GET /good 0");
    expect_refusal(&mut declined, 400, b"after a declined upgrade").await;
}

#[tokio::test]
async fn http_1_0_is_answered_and_closed_unless_it_asks_to_stay() {
    let served = Served::plain();
    let mut client = Client::plain(served.address()).await;
    client.send(b"GET /old HTTP/1.0\r\n\r\n").await;
    assert_eq!(client.response().await.text(), "GET /old 0");
    assert!(client.is_closed().await);
    let mut client = Client::plain(served.address()).await;
    client
        .send(b"GET /old HTTP/1.0\r\nConnection: keep-alive\r\nUpgrade: echo\r\n\r\n")
        .await;
    assert_eq!(client.response().await.text(), "GET /old 0");
    assert_eq!(client.get("a.test", "/good", &[]).await.text(), "GET /good 0");
}
