//! Requests that mean one thing here and another thing to somebody else on their way.

use super::{assert_alive, head, status_of};
use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::stage::{self, HOST, ROUTES, Stage};
use crate::support::upstream::{Reply, Upstream};

#[tokio::test]
async fn paths_that_an_application_may_read_as_another_rules_are_refused() {
    let stage = Stage::start().await;
    let cookie = stage.cookie_line();
    for target in [
        "/%C5%BFtaff",
        "/%c5%bfTAFF/x",
        "/public/..%20/staff",
        "/public/.../staff",
        "/public/%c0%ae%c0%ae/staff",
        "/public/%u002e%u002e/staff",
        "/public/%252e%252e%2520/staff",
        "/public/..%255cstaff",
        "/public/.%3b/..%3b/staff",
        "/.;/staff",
        "/staff%2f",
        "/staff%252f..",
        "/staff;a=b/c",
        "/;/staff",
        "/staff%20",
        "/staff./x",
        "/public\\..\\staff",
        "/.portcullis;/login",
        "/.portcullis%2flogin",
        "/.portcullis%20/login",
        "/.PORTCULLIS",
        "/.portcull%C4%B1s/login",
        "/%252eportcullis/login",
        "/x/%252e%252e/.portcullis",
        "/.portcullis./login",
    ] {
        let answer = stage.client().await.get(HOST, target, &[&cookie]).await;
        assert_eq!(answer.status, 400, "{target}");
    }
    assert!(stage.app.requests().is_empty(), "{:?}", stage.app.requests());
    for target in [
        "/K%C3%B6ln/Stra%C3%9Fe",
        "/caf%E9",
        "/a;b=c/d.e",
        "/...x",
        "/public/50%25/x",
        "/a%20b/%2B",
    ] {
        let answer = stage.client().await.get(HOST, target, &[&cookie]).await;
        assert_eq!(answer.status, 200, "{target}");
        assert_eq!(stage.app.last().target(), target);
    }
}

#[tokio::test]
async fn a_body_arrives_whole_whatever_the_method_and_framing() {
    let stage = Stage::start().await;
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "POST", "PROPFIND"] {
        for (lines, body) in [
            ("Content-Length: 5", "hello"),
            ("Transfer-Encoding: chunked", "2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
            ("Content-Length: 0", ""),
        ] {
            stage.app.forget();
            let mut client = stage.client().await;
            let text = head(&stage, &format!("{method} /"), &[lines, "Expect: 100-continue"]) + body;
            client.send(text.as_bytes()).await;
            assert_eq!(client.head().await.status, 200, "{method} {lines}");
            let request = stage.app.wait_for(1).remove(0);
            let expected: &[u8] = if body.is_empty() { b"" } else { b"hello" };
            assert_eq!(request.body, expected, "{method} {lines}\n{}", request.text());
            assert!(request.values("expect").is_empty());
            let framing = request.values("content-length").len() + request.values("transfer-encoding").len();
            assert_eq!(framing, 1, "{}", request.text());
        }
    }
    assert_alive(&stage).await;
}

#[tokio::test]
async fn hosts_have_one_name_and_no_second_meaning() {
    let stage = Stage::start().await;
    let cookie = stage.cookie_line();
    let port = stage.gateway.address(0).port();
    for (start, host, status) in [
        ("GET /", "APP.example.TEST.", 200),
        ("GET http://app.example.test/", "App.Example.Test", 200),
        ("GET https://app.example.test?x=1", "app.example.test", 200),
        ("GET http://app.example.test:8443/", "app.example.test", 400),
        ("GET http://app.example.test/", "other.example.test", 400),
        ("GET http://x@app.example.test/", "app.example.test", 400),
        ("GET ftp://app.example.test/", "app.example.test", 400),
        ("GET //app.example.test/", "app.example.test", 400),
        ("GET /", "app.example.test, evil.example", 400),
        ("GET /", "app.example.test:80:80", 400),
        ("GET /", "app.example.test@evil.example", 400),
        ("GET /", "evil.example#app.example.test", 400),
        ("GET /", "app.example.test/", 400),
        ("GET /", "[::1%25lo]", 400),
        ("GET /", "[::1]", 421),
        ("GET /", "", 400),
        ("GET /", "app.example.test..", 400),
        ("GET /", "xn--app.example.test", 421),
        ("GET /", "app.example.test\t", 200),
    ] {
        stage.app.forget();
        let text = format!("{start} HTTP/1.1\r\nHost: {host}\r\n{cookie}\r\n\r\n");
        assert_eq!(status_of(&stage, text.as_bytes()).await, status, "{start} {host:?}");
        if status == 200 {
            let request = stage.app.last();
            assert_eq!(request.values("host"), [HOST]);
            assert_eq!(request.values("x-forwarded-host"), [HOST]);
            assert!(request.target().starts_with('/'), "{}", request.text());
        }
    }
    let text = format!("GET / HTTP/1.1\r\nHost: {HOST}:{port}\r\n{cookie}\r\n\r\n");
    assert_eq!(status_of(&stage, text.as_bytes()).await, 200);
}

#[tokio::test]
async fn only_a_trusted_proxy_is_believed_and_only_when_it_is_clear() {
    let app = Upstream::hello();
    let top = "[trust]\nproxies = [\"127.0.0.1\", \"10.0.0.0/8\"]\n";
    let gateway = Gateway::start(&stage::config(top, ROUTES, &app.url()));
    for (lines, expected) in [
        (vec![], Some(("127.0.0.1", "http"))),
        (vec!["X-Forwarded-For: 203.0.113.7"], Some(("203.0.113.7", "http"))),
        (
            vec!["X-Forwarded-For: 6.6.6.6, 203.0.113.7, 10.1.1.1"],
            Some(("203.0.113.7", "http")),
        ),
        (
            vec!["X-Forwarded-For: garbage, 203.0.113.7", "X-Forwarded-For: 10.0.0.1"],
            Some(("203.0.113.7", "http")),
        ),
        (
            vec!["X-Forwarded-For: ::ffff:203.0.113.7"],
            Some(("203.0.113.7", "http")),
        ),
        (vec!["X-Forwarded-For: ::ffff:10.1.1.1"], Some(("10.1.1.1", "http"))),
        (
            vec!["X-Forwarded-For: [2001:db8::1]:443"],
            Some(("2001:db8::1", "http")),
        ),
        (vec!["X-Forwarded-Proto: HTTPS"], Some(("127.0.0.1", "https"))),
        (
            vec!["Forwarded: for=6.6.6.6", "X-Real-IP: 6.6.6.6"],
            Some(("127.0.0.1", "http")),
        ),
        (vec!["X_Forwarded_For: 6.6.6.6"], Some(("127.0.0.1", "http"))),
        (vec!["X-Forwarded-For: garbage"], None),
        (vec!["X-Forwarded-For: 203.0.113.7,"], None),
        (vec!["X-Forwarded-For: 2001:db8::1%eth0"], None),
        (vec!["X-Forwarded-Proto: https, http"], None),
        (vec!["X-Forwarded-Proto: https", "X-Forwarded-Proto: https"], None),
        (vec!["X-Forwarded-Proto: gopher"], None),
    ] {
        app.forget();
        let answer = Client::plain(gateway.address(1))
            .await
            .get(HOST, "/public", &lines)
            .await;
        match expected {
            None => assert_eq!(answer.status, 400, "{lines:?}"),
            Some((address, scheme)) => {
                assert_eq!(answer.status, 200, "{lines:?}");
                let request = app.last();
                assert_eq!(request.values("x-forwarded-for"), [address], "{lines:?}");
                assert_eq!(request.values("x-forwarded-proto"), [scheme], "{lines:?}");
                assert!(!request.text().contains("6.6.6.6"), "{}", request.text());
            }
        }
    }
}

#[tokio::test]
async fn no_address_leads_a_visitor_away() {
    let stage = Stage::start().await;
    for target in [
        "//evil.example/",
        "/\\evil.example",
        "/%2f%2fevil.example",
        "/%5cevil.example",
        "/.portcullis/login?next=//evil.example",
        "/x?next=https://evil.example/",
        "/x%0d%0aLocation:%20https://evil.example/",
        "http://app.example.test//evil.example/",
    ] {
        let answer = stage.client().await.get(HOST, target, &["Accept: text/html"]).await;
        if let Some(location) = answer.value("location") {
            assert_eq!(answer.status, 302, "{target}");
            assert!(
                location.starts_with("/.portcullis/login?next=/x%3Fnext"),
                "{target}: {location}"
            );
        } else {
            assert!(matches!(answer.status, 200 | 400), "{target}: {}", answer.status);
            assert!(!answer.text().contains("evil.example/\""), "{target}");
        }
    }
    let body = "{\"username\":\"ada\",\"password\":\"correct horse battery staple\",\"next\":\"//evil.example\"}";
    let lines = ["Content-Type: application/json", "Sec-Fetch-Site: same-origin"];
    let answer = stage
        .client()
        .await
        .request("POST", HOST, "/.portcullis/login", &lines, body.as_bytes())
        .await;
    assert_eq!(answer.json()["next"], "/");
}

#[tokio::test]
async fn nothing_that_a_client_sends_starts_a_line_in_the_log_or_leaves_a_secret_there() {
    let stage = Stage::start().await;
    let cookie = stage.cookie_line();
    let lines = [
        cookie.as_str(),
        "User-Agent: \u{85}evil",
        "Authorization: Bearer topsecret",
    ];
    stage
        .client()
        .await
        .get(HOST, "/x%0a%22injected?token=topsecret", &lines)
        .await;
    stage
        .client()
        .await
        .get(HOST, "/fine\"},{\"a\":\"b?token=topsecret", &lines)
        .await;
    stage.client().await.request("M'E", HOST, "/m", &lines, b"").await;
    stage.gateway.wait_for_log("/m");
    let log = stage.gateway.log();
    let secret = stage.cookie.split_once('=').unwrap().1;
    assert!(
        !log.contains("topsecret") && !log.contains(secret) && !log.contains('\u{1b}'),
        "{log}"
    );
    for line in log.lines().filter(|line| line.contains("\"request\"")) {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
    }
}

#[tokio::test]
async fn an_early_answer_spoils_neither_this_connection_nor_the_applications() {
    let stage = Stage::with("", ROUTES, |request| match request.target().as_str() {
        "/early" => Reply::Early(Box::new(Reply::text("no"))),
        _ => Reply::text("hello"),
    })
    .await;
    let cookie = stage.cookie_line();
    // What is left of the body reads like a request of somebody else's.
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: app.example.test\r\n\r\n";
    let length = format!("Content-Length: {}", smuggled.len() + 10);
    for _ in 0..5 {
        let mut client = stage.client().await;
        client.send(head(&stage, "POST /early", &[&length]).as_bytes()).await;
        assert_eq!(client.response().await.text(), "no");
        client.send_anyway(smuggled.as_bytes()).await;
        assert_eq!(stage.client().await.get(HOST, "/", &[&cookie]).await.text(), "hello");
        drop(client);
    }
    assert!(
        stage
            .app
            .requests()
            .iter()
            .all(|request| request.target() != "/smuggled")
    );
}
