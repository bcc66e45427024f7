//! Every line of the table of status codes, each over a real socket, with proof of life behind it.

use crate::support::stage::{HOST, ROUTES, Stage};
use crate::support::upstream::{Recorded, Reply};
use std::time::Duration;

const TOP: &str = r#"
[limits]
headers = 50
header_bytes = "16KiB"
target_bytes = "2KiB"
body_bytes = "64KiB"
head = "500ms"
body_idle = "1s"
"#;

fn script(request: &Recorded) -> Reply {
    match request.target().split('?').next().unwrap_or_default() {
        "/public/slow" => Reply::Silence,
        "/public/close" => Reply::Close,
        "/public/garbage" => Reply::Raw(b"this is no HTTP\r\n\r\n".to_vec()),
        "/public/switch" => {
            Reply::Raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\nConnection: upgrade\r\n\r\n".to_vec())
        }
        "/public/own503" => Reply::status(503, "busy"),
        "/public/cut" => Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort".to_vec()),
        _ => Reply::text("hello"),
    }
}

async fn stage() -> Stage {
    let routes = ROUTES.to_owned() + DEAD;
    Stage::with(TOP, &routes, script).await
}

const DEAD: &str = r#"
[[upstream]]
name = "dead"
servers = ["http://127.0.0.1:1"]

[[route]]
name = "dead"
host = "app.example.test"
path = "/dead"
upstream = "dead"
access = "public"

[[upstream]]
name = "unroutable"
servers = ["http://127.0.0.1:1"]
timeouts = { connect = "300ms", response = "300ms", idle = "300ms" }

[[route]]
name = "api"
host = "app.example.test"
path = "/api"
upstream = "app"
api = true

[[route]]
name = "portal-only"
host = "app.example.test"
path = "/nothing"
access = "signed_in"
"#;

/// Sends raw bytes on a fresh connection and returns status and whether the connection was closed behind it.
async fn raw(stage: &Stage, bytes: &[u8]) -> (u16, bool) {
    let mut client = stage.client().await;
    client.send(bytes).await;
    let answer = client.response().await;
    assert_eq!(
        answer.value("x-request-id").map(str::len),
        Some(32),
        "an answer of our own has an id"
    );
    let closed = answer.value("connection") == Some("close") && client.is_closed().await;
    (answer.status, closed)
}

async fn assert_alive(stage: &Stage) {
    assert_eq!(
        stage.client().await.get(HOST, "/public", &[]).await.status,
        200,
        "a fresh connection works"
    );
}

#[tokio::test]
async fn malformed_or_ambiguous_requests_are_400_and_close_the_connection() {
    let stage = stage().await;
    for (what, bytes) in [
        (
            "length and chunks",
            "POST /public HTTP/1.1\r\nHost: app.example.test\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "two lengths",
            "POST /public HTTP/1.1\r\nHost: app.example.test\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        ),
        ("bare LF", "GET /public HTTP/1.1\nHost: app.example.test\n\n"),
        (
            "obs-fold",
            "GET /public HTTP/1.1\r\nHost: app.example.test\r\nX: a\r\n b\r\n\r\n",
        ),
        (
            "two hosts",
            "GET /public HTTP/1.1\r\nHost: app.example.test\r\nHost: app.example.test\r\n\r\n",
        ),
        ("no host", "GET /public HTTP/1.1\r\n\r\n"),
        ("fragment", "GET /public#x HTTP/1.1\r\nHost: app.example.test\r\n\r\n"),
        (
            "space in name",
            "GET /public HTTP/1.1\r\nHost: app.example.test\r\nX : 1\r\n\r\n",
        ),
        (
            "dot segments",
            "GET /public/../denied HTTP/1.1\r\nHost: app.example.test\r\n\r\n",
        ),
        (
            "encoded slash",
            "GET /public%2fx HTTP/1.1\r\nHost: app.example.test\r\n\r\n",
        ),
        ("NUL", "GET /public/%00 HTTP/1.1\r\nHost: app.example.test\r\n\r\n"),
        (
            "bad percent",
            "GET /public/%zz HTTP/1.1\r\nHost: app.example.test\r\n\r\n",
        ),
        (
            "user in host",
            "GET /public HTTP/1.1\r\nHost: a@app.example.test\r\n\r\n",
        ),
        (
            "other absolute host",
            "GET http://evil.example/public HTTP/1.1\r\nHost: app.example.test\r\n\r\n",
        ),
        ("asterisk", "OPTIONS * HTTP/1.1\r\nHost: app.example.test\r\n\r\n"),
        ("no HTTP", "hello\r\n\r\n"),
    ] {
        assert_eq!(raw(&stage, bytes.as_bytes()).await, (400, true), "{what}");
        assert_alive(&stage).await;
    }
}

#[tokio::test]
async fn limits_have_their_own_status_codes() {
    let stage = stage().await;
    let long = format!("GET /public/{} HTTP/1.1\r\nHost: {HOST}\r\n\r\n", "a".repeat(3000));
    assert_eq!(raw(&stage, long.as_bytes()).await.0, 414);
    let many = format!("GET /public HTTP/1.1\r\nHost: {HOST}\r\n{}\r\n", "X: 1\r\n".repeat(60));
    assert_eq!(raw(&stage, many.as_bytes()).await.0, 431);
    let large = format!(
        "GET /public HTTP/1.1\r\nHost: {HOST}\r\nX: {}\r\n\r\n",
        "a".repeat(20_000)
    );
    assert_eq!(raw(&stage, large.as_bytes()).await.0, 431);
    let body = format!("POST /public HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 70000\r\n\r\n");
    assert_eq!(raw(&stage, body.as_bytes()).await.0, 413);
    assert!(stage.app.requests().is_empty(), "nothing of it reached the application");
    let mut chunked =
        format!("POST /public HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n").into_bytes();
    for _ in 0..20 {
        chunked.extend_from_slice(b"1000\r\n");
        chunked.extend(vec![b'a'; 0x1000]);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let mut client = stage.client().await;
    client.send_anyway(&chunked).await;
    assert_eq!(client.response().await.status, 413);
    assert_alive(&stage).await;
}

#[tokio::test]
async fn methods_codings_and_expectations_that_are_not_served() {
    let stage = stage().await;
    let host = format!("Host: {HOST}\r\n");
    assert_eq!(
        raw(&stage, format!("TRACE /public HTTP/1.1\r\n{host}\r\n").as_bytes())
            .await
            .0,
        405
    );
    assert_eq!(
        raw(&stage, format!("CONNECT {HOST}:443 HTTP/1.1\r\n{host}\r\n").as_bytes())
            .await
            .0,
        405
    );
    assert_eq!(
        raw(
            &stage,
            format!("POST /public HTTP/1.1\r\n{host}Transfer-Encoding: gzip\r\n\r\n").as_bytes()
        )
        .await
        .0,
        501
    );
    assert_eq!(
        raw(
            &stage,
            format!("POST /public HTTP/1.1\r\n{host}Expect: magic\r\nContent-Length: 0\r\n\r\n").as_bytes()
        )
        .await
        .0,
        417
    );
    let head = format!("POST /public HTTP/1.1\r\n{host}Expect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    let mut client = stage.client().await;
    client.send(head.as_bytes()).await;
    assert!(
        client.until(b"\r\n\r\n").await.starts_with(b"HTTP/1.1 100"),
        "the body is asked for"
    );
    client.send(b"abc").await;
    assert_eq!(client.response().await.status, 200);
}

#[tokio::test]
async fn a_slow_head_is_408_and_a_slow_body_too() {
    let stage = stage().await;
    assert_eq!(
        raw(&stage, format!("GET /public HTTP/1.1\r\nHost: {HOST}\r\n").as_bytes()).await,
        (408, true)
    );
    assert_eq!(
        raw(
            &stage,
            format!("POST /public HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 10\r\n\r\nabc").as_bytes()
        )
        .await
        .0,
        408
    );
    assert_alive(&stage).await;
}

#[tokio::test]
async fn hosts_routes_and_rules() {
    let stage = stage().await;
    let cookie = stage.cookie_line();
    let html = "Accept: text/html";
    let json = "Accept: application/json";
    for (host, target, lines, status) in [
        ("other.example.test", "/", vec![html], 421),
        (HOST, "/denied", vec![&cookie, html], 403),
        (HOST, "/staff", vec![&cookie, html], 403),
        (HOST, "/nothing", vec![&cookie, html], 404),
        (HOST, "/", vec![html], 302),
        (HOST, "/", vec![json], 401),
        (HOST, "/api", vec![html], 401),
        (HOST, "/", vec!["Sec-Fetch-Mode: cors", "Accept: */*"], 401),
        (HOST, "/", vec!["X-Requested-With: XMLHttpRequest", html], 401),
        (HOST, "/.portcullis/nonsense", vec![html], 404),
    ] {
        let answer = stage
            .client()
            .await
            .get(host, target, &lines.iter().map(|line| line as &str).collect::<Vec<_>>())
            .await;
        assert_eq!(answer.status, status, "{host}{target} {lines:?}: {}", answer.text());
        let kind = answer.value("content-type").unwrap_or_default().to_owned();
        let text = answer.text();
        assert!(
            !text.contains(env!("CARGO_PKG_VERSION")) && !text.contains("/src/") && !text.contains("127.0.0.1"),
            "{text}"
        );
        if status == 401 {
            assert_eq!(kind, "application/problem+json");
            assert_eq!(answer.json()["error"], "Not authenticated");
            assert_eq!(answer.json()["login_url"], "/.portcullis/login");
        }
        if status == 302 {
            assert_eq!(answer.value("location"), Some("/.portcullis/login"));
        }
    }
    assert!(stage.app.requests().is_empty());
    let form = stage
        .client()
        .await
        .request(
            "POST",
            HOST,
            "/",
            &[html, "Content-Type: application/x-www-form-urlencoded"],
            b"a=1",
        )
        .await;
    assert_eq!(form.status, 401);
    assert!(
        form.text().contains("/.portcullis/login"),
        "a form that would be lost gets a page"
    );
}

#[tokio::test]
async fn an_application_that_fails_is_told_apart() {
    let routes = ROUTES.to_owned() + DEAD;
    let app = |request: &Recorded| script(request);
    let stage = Stage::with(TOP, &routes, app).await;
    let mut client = stage.client().await;
    for (target, status) in [
        ("/dead", 502),
        ("/public/close", 502),
        ("/public/garbage", 502),
        ("/public/switch", 502),
        ("/public/own503", 503),
        ("/public", 200),
    ] {
        let answer = client.get(HOST, target, &["Accept: application/json"]).await;
        assert_eq!(answer.status, status, "{target}");
        assert_eq!(answer.text() == "busy", target == "/public/own503");
    }
    let metrics = crate::support::client::Client::plain(stage.gateway.admin())
        .await
        .get("127.0.0.1", "/metrics", &[])
        .await
        .text();
    assert!(
        metrics.contains(r#"portcullis_upstream_failures_total{upstream="dead",kind="connect"} 1"#),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_slow_application_is_504() {
    let app = crate::support::upstream::Upstream::start(|_| Reply::Silence);
    let config = format!(
        r#"
[[listener]]
address = "127.0.0.1:0"
[admin]
address = "127.0.0.1:0"
[[upstream]]
name = "app"
servers = ["{}"]
timeouts = {{ connect = "1s", response = "300ms", idle = "1s" }}
[[route]]
name = "app"
host = "127.0.0.1"
upstream = "app"
access = "public"
"#,
        app.url()
    );
    let gateway = crate::support::gateway::Gateway::start(&config);
    let mut client = crate::support::client::Client::plain(gateway.address(0)).await;
    let answer = client.get("127.0.0.1", "/", &[]).await;
    assert_eq!(answer.status, 504);
    assert_eq!(
        client.get("127.0.0.1", "/", &[]).await.status,
        504,
        "the connection lives on"
    );
}

#[tokio::test]
async fn a_truncated_answer_never_looks_complete() {
    let stage = stage().await;
    let mut client = stage.client().await;
    client
        .send(format!("GET /public/cut HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes())
        .await;
    let head = client.head().await;
    assert_eq!((head.status, head.value("content-length")), (200, Some("1000")));
    let rest = tokio::time::timeout(Duration::from_secs(10), client.rest())
        .await
        .unwrap();
    assert!(rest.len() < 1000, "the connection ended before the length was reached");
}

#[tokio::test]
async fn plain_http_is_redirected_for_known_hosts_only() {
    let app = crate::support::upstream::Upstream::hello();
    let config = crate::support::stage::config("", ROUTES, &app.url()).replacen(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n\n",
        "[[listener]]\naddress = \"127.0.0.1:0\"\nredirect = \"https\"\n\n",
        1,
    );
    let gateway = crate::support::gateway::Gateway::start(&config);
    let port = gateway.address(0).port();
    let mut client = crate::support::client::Client::plain(gateway.address(1)).await;
    let answer = client.get(HOST, "/a%2Fb?c=d", &[]).await;
    assert_eq!(answer.status, 308);
    assert_eq!(
        answer.value("location"),
        Some(format!("https://{HOST}:{port}/a%2Fb?c=d").as_str())
    );
    assert_eq!(client.get("evil.example", "/", &[]).await.status, 421);
    assert_eq!(client.request("POST", HOST, "/", &[], b"a=1").await.status, 403);
}
