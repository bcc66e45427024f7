//! Ways to speak for a user, or to take the gateway's secret away, that hide behind spelling.

use super::{assert_alive, head, status_of};
use crate::support::stage::{HOST, Stage, USER};

#[tokio::test]
async fn framing_in_another_spelling_never_reaches_the_application() {
    let stage = Stage::start().await;
    let lines = [
        "Content_Length: 5",
        "Content.Length: 5",
        "Transfer_Encoding: chunked",
        "transfer~encoding: chunked",
        "Content-Length: 3",
    ];
    let mut client = stage.client().await;
    client.send(head(&stage, "POST /", &lines).as_bytes()).await;
    client.send(b"abc").await;
    assert_eq!(client.response().await.status, 200);
    let request = stage.app.wait_for(1).remove(0);
    assert_eq!(request.body, b"abc");
    let framing = request.headers().into_iter().map(|(name, _)| name.to_ascii_lowercase());
    let framing: Vec<_> = framing
        .filter(|name| name.contains("length") || name.contains("encoding"))
        .collect();
    assert_eq!(framing, ["content-length"]);
}

#[tokio::test]
async fn every_byte_that_a_name_may_have_is_folded() {
    let stage = Stage::start().await;
    let mut lines = Vec::new();
    for byte in b"!#$%&'*+.^_`|~" {
        let byte = char::from(*byte);
        lines.push(format!("X{byte}Remote{byte}User: root"));
        lines.push(format!("x-forwarded{byte}anything: root"));
        lines.push(format!("X{byte}PORTCULLIS{byte}x: root"));
        lines.push(format!("Remote{byte}User: root"));
    }
    let mut all: Vec<&str> = lines.iter().map(String::as_str).collect();
    let cookie = stage.cookie_line();
    all.push(&cookie);
    let answer = stage.client().await.get(HOST, "/", &all).await;
    assert_eq!(answer.status, 200);
    let request = stage.app.last();
    assert!(!request.text().contains("root"), "{}", request.text());
    assert_eq!(request.values("x-forwarded-user"), [USER]);
}

#[tokio::test]
async fn our_cookie_hides_behind_nothing() {
    let stage = Stage::start().await;
    let own = &stage.cookie;
    let upper = own.replacen("__Host-portcullis", "__HOST-Portcullis", 1);
    for line in [
        format!("a=\"x; {own}; y\"; b=1"),
        format!("a=1;{own};b=1"),
        format!("a=1 ;\t{own}\t; b=1"),
        format!("a=1; ={own}; b=1"),
        format!("a=1; {upper}; b=1"),
        format!(";;; ;{own};; ; a=1; b=1;"),
        format!("a=1; {} ; b=1", own.replacen('=', " = ", 1)),
    ] {
        stage.app.forget();
        let lines = [format!("Cookie: {line}"), "Cookie: c=2".to_owned(), stage.cookie_line()];
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let answer = stage.client().await.get(HOST, "/", &lines).await;
        assert_eq!(answer.status, 200, "{line}");
        let request = stage.app.last();
        let secret = own.split_once('=').unwrap().1;
        assert!(!request.text().contains(secret), "{line}\n{}", request.text());
        assert_eq!(request.values("cookie").len(), 1);
        assert!(request.values("cookie")[0].contains("b=1"), "{}", request.text());
        assert!(request.values("cookie")[0].ends_with("c=2"));
    }
    // In a trailer, too.
    stage.app.forget();
    let mut client = stage.client().await;
    let start = head(&stage, "POST /", &["Transfer-Encoding: chunked", "Trailer: Cookie"]);
    client.send(start.as_bytes()).await;
    client
        .send(format!("0\r\n{}\r\nAuthorization: x\r\n\r\n", stage.cookie_line()).as_bytes())
        .await;
    assert_eq!(client.response().await.status, 200);
    assert!(stage.app.wait_for(1)[0].trailers.is_empty());
}

#[tokio::test]
async fn a_preflight_with_a_body_is_none() {
    let stage = Stage::start().await;
    for framing in [
        "Content-Length: 3\r\n\r\nabc",
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ] {
        let text = format!(
            "OPTIONS /cors HTTP/1.1\r\nHost: {HOST}\r\nOrigin: https://x.example\r\n\
             Access-Control-Request-Method: PUT\r\n{framing}"
        );
        assert_eq!(status_of(&stage, text.as_bytes()).await, 401);
    }
    assert!(stage.app.requests().is_empty());
}

#[tokio::test]
async fn a_service_worker_that_would_see_log_ins_is_refused() {
    let stage = Stage::start().await;
    let cookie = stage.cookie_line();
    let lines = [
        cookie.as_str(),
        "Service-Worker: script",
        "Accept: */*",
        "Sec-Fetch-Dest: serviceworker",
    ];
    for (target, status) in [
        ("/sw.js", 403),
        ("/app/sw.js", 200),
        ("/app/sw.js?/x", 200),
        ("/sw.js?/app/", 403),
    ] {
        assert_eq!(
            stage.client().await.get(HOST, target, &lines).await.status,
            status,
            "{target}"
        );
    }
    assert_eq!(stage.client().await.get(HOST, "/sw.js", &[&cookie]).await.status, 200);
}

#[tokio::test]
async fn only_the_handshake_of_a_websocket_opens_a_tunnel() {
    let stage = Stage::start().await;
    let handshake = [
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    for (start, lines) in [
        ("GET /", vec!["Upgrade: websocket"]),
        ("GET /", vec!["Upgrade: websocket", "Connection: keep-alive"]),
        (
            "GET /",
            vec!["Upgrade: websocket", "Upgrade: h2c", "Connection: upgrade"],
        ),
        ("GET /", vec!["Upgrade: websocket, h2c", "Connection: upgrade"]),
        (
            "GET /",
            vec![
                "Upgrade: h2c",
                "Connection: upgrade, http2-settings",
                "HTTP2-Settings: AAMAAABk",
            ],
        ),
        (
            "POST /",
            vec!["Upgrade: websocket", "Connection: upgrade", "Content-Length: 0"],
        ),
    ] {
        stage.app.forget();
        let lines: Vec<&str> = lines.into_iter().chain(handshake).collect();
        assert_eq!(
            status_of(&stage, head(&stage, start, &lines).as_bytes()).await,
            200,
            "{lines:?}"
        );
        let request = stage.app.last();
        assert!(request.values("upgrade").is_empty(), "{}", request.text());
        assert!(request.values("connection").is_empty(), "{}", request.text());
    }
    // Bytes that a proxy in front takes for a body must not be frames.
    stage.app.forget();
    let lines = ["Upgrade: websocket", "Connection: upgrade", "Content-Length: 3"];
    let text = head(&stage, "GET /", &lines) + "abc";
    assert_eq!(status_of(&stage, text.as_bytes()).await, 200);
    assert_eq!(stage.app.wait_for(1)[0].body, b"abc");
    let old = head(&stage, "GET /", &["Upgrade: websocket", "Connection: upgrade"]).replace("HTTP/1.1", "HTTP/1.0");
    assert_eq!(status_of(&stage, old.as_bytes()).await, 200);
    assert_alive(&stage).await;
}

#[tokio::test]
async fn origins_of_websockets_are_compared_whole() {
    let stage = Stage::start().await;
    let port = stage.gateway.address(0).port();
    let request = |origins: &[String]| {
        let mut text = format!(
            "GET / HTTP/1.1\r\nHost: {HOST}:{port}\r\n{}\r\nUpgrade: websocket\r\nConnection: upgrade\r\n",
            stage.cookie_line()
        );
        for origin in origins {
            text += "Origin: ";
            text += origin;
            text += "\r\n";
        }
        text + "\r\n"
    };
    let own = format!("https://{HOST}:{port}");
    for (origins, status) in [
        (vec![own.clone()], 101),
        (vec![own.to_uppercase()], 101),
        (vec![own.clone(), own.clone()], 403),
        (vec![format!("http://{HOST}:{port}")], 403),
        (vec![format!("https://{HOST}")], 403),
        (vec![format!("{own}.evil.example")], 403),
        (vec![format!("{own}/")], 403),
        (vec![format!("https://evil.example {own}")], 403),
        (vec![String::new()], 403),
    ] {
        assert_eq!(
            status_of(&stage, request(&origins).as_bytes()).await,
            status,
            "{origins:?}"
        );
    }
}
