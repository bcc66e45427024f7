//! Every refusal in JSON carries the member `error` beside those of RFC 9457, whoever refuses: the gate, the portal, an
//! alias, the admin listener; over HTTP/1.1 and HTTP/2.

use crate::support::client::{Client, Response};
use crate::support::stage::{HOST, PASSWORD, ROUTES, Stage, USER};
use crate::support::tls::Http2;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::Value;

const MORE: &str = r#"
[[upstream]]
name = "dead"
servers = ["http://127.0.0.1:1"]

[[route]]
name = "dead"
host = "app.example.test"
path = "/dead"
upstream = "dead"
access = "public"

[[portal.alias]]
host = "app.example.test"
path = "/api/auth/me"
endpoint = "me"

[[portal.alias]]
host = "app.example.test"
path = "/api/auth/login"
endpoint = "login"
"#;

struct Case {
    what: &'static str,
    method: &'static str,
    target: &'static str,
    lines: Vec<String>,
    sent: &'static str,
    status: u16,
    error: Option<&'static str>,
}

fn case(what: &'static str, method: &'static str, target: &'static str, status: u16) -> Case {
    Case {
        what,
        method,
        target,
        lines: Vec::new(),
        sent: "",
        status,
        error: None,
    }
}

impl Case {
    fn line(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    fn json(mut self, sent: &'static str) -> Self {
        self.sent = sent;
        self.line("Content-Type: application/json")
            .line("Sec-Fetch-Site: same-origin")
    }

    fn says(mut self, error: &'static str) -> Self {
        self.error = Some(error);
        self
    }
}

fn cases(live: &str, dead: &str, other: &str) -> Vec<Case> {
    let cookie = |pairs: &[&str]| format!("Cookie: {}", pairs.join("; "));
    let mut cases = Vec::new();
    for (what, target) in [
        ("application", "/"),
        ("portal", "/.portcullis/me"),
        ("portal's sessions", "/.portcullis/sessions"),
        ("alias", "/api/auth/me"),
    ] {
        cases.push(case(what, "GET", target, 401).says("Not authenticated"));
        cases.push(
            case(what, "GET", target, 401)
                .line(cookie(&["theme=dark"]))
                .says("Not authenticated"),
        );
        cases.push(
            case(what, "GET", target, 401)
                .line(cookie(&[dead]))
                .says("Session expired"),
        );
        let invented = "__Host-portcullis=invented";
        cases.push(
            case(what, "GET", target, 401)
                .line(cookie(&[invented]))
                .says("Session expired"),
        );
        cases.push(case(what, "GET", target, 401).line(cookie(&[live, other])));
    }
    cases.push(case("a form's post", "POST", "/", 401).says("Not authenticated"));
    cases.push(case("a denied route", "GET", "/denied", 403));
    cases.push(case("another group's route", "GET", "/staff", 403).line(cookie(&[live])));
    cases.push(case("two readings", "GET", "/public%2fx", 400));
    cases.push(case("another reading of an alias", "GET", "/api/auth/ME", 400));
    cases.push(case("another reading of the portal", "GET", "/.PORTCULLIS/me", 400));
    cases.push(case("an application that is gone", "GET", "/dead", 502));
    cases.push(case("nothing under the prefix", "GET", "/.portcullis/nothing", 404));
    cases.push(case("another method", "PUT", "/.portcullis/me", 405));
    cases.push(case("another method on an alias", "DELETE", "/api/auth/login", 405));
    for target in ["/.portcullis/login", "/api/auth/login"] {
        cases.push(case("a wrong password", "POST", target, 401).json(r#"{"username":"ada","password":"no"}"#));
        cases.push(case("no JSON", "POST", target, 400).json("{"));
        cases.push(case("unknown members", "POST", target, 400).json(r#"{"username":"ada","password":"no","x":1}"#));
        cases.push(
            case("a foreign page", "POST", target, 403)
                .json("{}")
                .line("Origin: https://evil.example"),
        );
        let other_kind = case("another kind of body", "POST", target, 415).line("Content-Type: text/plain");
        cases.push(other_kind.line("Sec-Fetch-Site: same-origin"));
    }
    let unknown = case("an unknown session", "DELETE", "/.portcullis/sessions/x", 404);
    cases.push(unknown.line(cookie(&[live])).line("Sec-Fetch-Site: same-origin"));
    cases
}

fn judge(case: &Case, protocol: &str, status: u16, kind: &str, body: &[u8]) {
    let what = format!("{} over {protocol}: {} {}", case.what, case.method, case.target);
    assert_eq!(status, case.status, "{what}: {}", String::from_utf8_lossy(body));
    assert_eq!(kind, "application/problem+json", "{what}");
    let told: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(told["status"], case.status, "{what}");
    assert!(
        told["type"]
            .as_str()
            .is_some_and(|kind| kind.starts_with("urn:portcullis:")),
        "{what}"
    );
    assert!(told["title"].is_string() && told["request_id"].is_string(), "{what}");
    let error = told["error"].as_str().unwrap_or_default();
    assert!(!error.is_empty(), "{what}: {told}");
    if let Some(expected) = case.error {
        assert_eq!(error, expected, "{what}");
    }
}

async fn over_http1(stage: &Stage, case: &Case) -> Response {
    let mut lines: Vec<&str> = case.lines.iter().map(String::as_str).collect();
    lines.push("Accept: application/json");
    let mut client = stage.client().await;
    client
        .request(case.method, HOST, case.target, &lines, case.sent.as_bytes())
        .await
}

async fn over_http2(client: &mut Http2, case: &Case) -> (u16, String, Bytes) {
    let mut request = Request::builder()
        .method(case.method)
        .uri(format!("https://{HOST}{}", case.target))
        .header("accept", "application/json");
    for line in &case.lines {
        let (name, value) = line.split_once(": ").unwrap();
        request = request.header(name, value);
    }
    let request = request.body(Full::from(case.sent)).unwrap();
    let answer = client.send(request).await.unwrap();
    let kind = answer
        .headers()
        .get("content-type")
        .map(|kind| kind.to_str().unwrap().to_owned());
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, kind.unwrap_or_default(), body)
}

async fn cookie_of(stage: &Stage, user: &str) -> String {
    stage.client().await.sign_in(HOST, user, PASSWORD).await
}

#[tokio::test]
async fn every_refusal_carries_error_over_both_protocols() {
    let stage = Stage::with("", &(ROUTES.to_owned() + MORE), |_| {
        crate::support::upstream::Reply::text("the application")
    })
    .await;
    stage.gateway.add_user("bea", PASSWORD, &[]);
    let (dead, other) = (cookie_of(&stage, USER).await, cookie_of(&stage, "bea").await);
    let lines = [format!("Cookie: {dead}"), "Sec-Fetch-Site: same-origin".to_owned()];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let answer = stage
        .client()
        .await
        .request("POST", HOST, "/.portcullis/logout", &lines, b"")
        .await;
    assert_eq!(answer.status, 204);
    for case in cases(&stage.cookie, &dead, &other) {
        let answer = over_http1(&stage, &case).await;
        let kind = answer.value("content-type").unwrap_or_default().to_owned();
        judge(&case, "HTTP/1.1", answer.status, &kind, &answer.body);
        let mut client = Http2::connect(stage.gateway.address(0), HOST, &stage.gateway.ca()).await;
        let (status, kind, body) = over_http2(&mut client, &case).await;
        judge(&case, "HTTP/2", status, &kind, &body);
    }
    assert!(stage.app.requests().is_empty());
}

#[tokio::test]
async fn what_is_refused_before_there_is_a_request_carries_error_too() {
    let stage = Stage::start().await;
    let host = format!("Host: {HOST}\r\n");
    for (bytes, status) in [
        (format!("GET /{} HTTP/1.1\r\n{host}\r\n", "a".repeat(9000)), 414),
        (format!("GET / HTTP/1.1\r\n{host}{}\r\n", "X: 1\r\n".repeat(200)), 431),
        (format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: gzip\r\n\r\n"), 501),
        (format!("POST / HTTP/1.1\r\n{host}Expect: magic\r\n\r\n"), 417),
        (format!("TRACE / HTTP/1.1\r\n{host}\r\n"), 405),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        (
            "GET / HTTP/1.1\r\nHost: other.example\r\nAccept: a/b\r\n\r\n".to_owned(),
            421,
        ),
    ] {
        let mut client = stage.client().await;
        client
            .send(bytes.replace("\r\n\r\n", "\r\nAccept: a/b\r\n\r\n").as_bytes())
            .await;
        let answer = client.response().await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.json()["error"].is_string(), "{}", answer.text());
    }
    let mut admin = Client::plain(stage.gateway.admin()).await;
    for (host, method, target, status) in [
        ("localhost", "GET", "/nothing", 404),
        ("localhost", "POST", "/metrics", 405),
        ("evil.example", "GET", "/metrics", 421),
    ] {
        let answer = admin.request(method, host, target, &[], b"").await;
        assert_eq!(answer.status, status);
        assert!(answer.json()["error"].is_string(), "{}", answer.text());
    }
}

#[tokio::test]
async fn a_websocket_without_a_session_is_told_why() {
    let stage = Stage::start().await;
    for (cookie, error) in [
        ("theme=dark", "Not authenticated"),
        ("__Host-portcullis=gone", "Session expired"),
    ] {
        let cookie = format!("Cookie: {cookie}");
        let lines = [
            cookie.as_str(),
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Origin: https://app.example.test",
        ];
        let answer = stage.client().await.get(HOST, "/ws", &lines).await;
        assert_eq!(answer.status, 401, "{}", answer.text());
        assert_eq!(answer.json()["error"], error);
    }
}
