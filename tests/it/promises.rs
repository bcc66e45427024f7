//! The promises that hold on the way of a request, over real sockets.

use crate::support::client::{Client, tls_config};
use crate::support::gateway::Gateway;
use crate::support::postgres::Postgres;
use crate::support::stage::{self, HOST, PASSWORD, ROUTES, Stage, USER};
use crate::support::tls::Http2;
use crate::support::upstream::{Recorded, Reply, Upstream};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::ServerName;
use std::time::{Duration, Instant};

/// Ways in which a client may try to say who it is.
const FORGED: &[&str] = &[
    "X-Forwarded-User: root",
    "x-forwarded-user: root",
    "X_Forwarded_User: root",
    "X.Forwarded.User: root",
    "X-Forwarded_Groups: root",
    "X-Forwarded-Email: root@example.com",
    "X-Forwarded-Preferred-Username: root",
    "Remote-User: root",
    "REMOTE_USER: root",
    "X-Remote-User: root",
    "X_Remote_User: root",
    "X-WEBAUTH-USER: root",
    "X-authentik-username: root",
    "X-Portcullis-Assertion: root",
    "X-Portcullis-Anything: root",
    "X-Admin-Token: root",
    "X-Forwarded-For: 203.0.113.7",
    "X-Forwarded-Host: evil.example",
    "X-Forwarded-Proto: ftp",
    "X-Real-IP: 203.0.113.7",
    "Forwarded: for=203.0.113.7",
    "X-Original-URL: /root",
    "X-Rewrite-URL: /root",
    "True-Client-IP: 203.0.113.7",
    "CF-Connecting-IP: 203.0.113.7",
    "SSL-Client-Cert: root",
    "X-Request-Id: root",
    "Connection: close, X-Forwarded-User, X-Forwarded-Preferred-Username, X-Request-Id",
];

/// Asserts that the application was told of `user` (or of nobody) by the gateway, and of nothing else by anybody.
fn assert_only_the_gateway_spoke(request: &Recorded, user: Option<&str>) {
    let expected: Vec<String> = user.map(str::to_owned).into_iter().collect();
    let folded = |name: &str| {
        name.to_ascii_lowercase()
            .replace(|letter: char| !letter.is_ascii_alphanumeric(), "-")
    };
    let of = |wanted: &str| -> Vec<String> {
        request
            .headers()
            .into_iter()
            .filter(|(name, _)| folded(name) == wanted)
            .map(|(_, value)| value)
            .collect()
    };
    assert_eq!(of("x-forwarded-user"), expected, "{}", request.text());
    assert_eq!(of("x-forwarded-preferred-username"), expected, "{}", request.text());
    for (name, value) in request.headers() {
        for word in ["root", "203.0.113.7", "evil.example", "ftp"] {
            assert!(!value.contains(word), "{name}: {value}\n{}", request.text());
        }
        assert!(
            !value.contains("portcullis="),
            "our cookie reached the application: {name}"
        );
    }
    for name in [
        "remote-user",
        "x-remote-user",
        "x-webauth-user",
        "forwarded",
        "x-real-ip",
        "x-admin-token",
        "x-original-url",
        "connection",
    ] {
        assert!(
            of(name)
                .iter()
                .all(|value| name == "connection" && value.eq_ignore_ascii_case("upgrade")),
            "{name} in {}",
            request.text()
        );
    }
    assert_eq!(of("x-forwarded-for"), ["127.0.0.1"], "{}", request.text());
    assert_eq!(of("x-forwarded-proto").len(), 1);
    assert_eq!(of("x-request-id").len(), 1);
}

#[tokio::test]
async fn nobody_speaks_for_the_user_but_the_gateway_on_http1() {
    let stage = Stage::start().await;
    let cookie = stage.cookie_line();
    for (target, lines, user) in [
        ("/", vec![cookie.as_str(), "Accept: text/html"], Some(USER)),
        ("/optional", vec![cookie.as_str()], Some(USER)),
        ("/optional", vec![], None),
        ("/public", vec![cookie.as_str()], None),
        ("/public", vec![], None),
    ] {
        let mut lines = lines;
        lines.extend(FORGED);
        stage.app.forget();
        let answer = stage.client().await.get(HOST, target, &lines).await;
        assert_eq!(answer.status, 200, "{target}");
        assert_only_the_gateway_spoke(&stage.app.last(), user);
    }
}

#[tokio::test]
async fn nobody_speaks_for_the_user_in_one_header_at_a_time() {
    let stage = Stage::start().await;
    let cookie = stage.cookie_line();
    for line in FORGED {
        stage.app.forget();
        let answer = stage.client().await.get(HOST, "/", &[&cookie, line]).await;
        assert_eq!(answer.status, 200, "{line}");
        assert_only_the_gateway_spoke(&stage.app.last(), Some(USER));
    }
}

#[tokio::test]
async fn refused_requests_never_reach_the_application() {
    let stage = Stage::start().await;
    let cookie = stage.cookie_line();
    for (target, lines, status) in [
        ("/", vec!["Accept: text/html"], 302),
        ("/", vec!["Accept: application/json"], 401),
        ("/denied", vec![cookie.as_str()], 403),
        ("/staff", vec![cookie.as_str()], 403),
        ("/a/../b", vec![cookie.as_str()], 400),
        ("/STAFF", vec![cookie.as_str()], 400),
        ("/public;x/../staff", vec![cookie.as_str()], 400),
        ("/staff;x", vec![cookie.as_str()], 400),
        ("/%2573taff", vec![cookie.as_str()], 400),
        ("/public/..%2fstaff", vec![cookie.as_str()], 400),
        ("//staff", vec![cookie.as_str()], 400),
        ("/%2eportcullis/login", vec![cookie.as_str()], 400),
        ("/.Portcullis/login", vec![cookie.as_str()], 400),
    ] {
        let mut lines = lines;
        lines.extend(FORGED);
        let answer = stage.client().await.get(HOST, target, &lines).await;
        assert_eq!(answer.status, status, "{target}: {}", answer.text());
        assert_eq!(answer.value("x-request-id").map(str::len), Some(32), "{target}");
        assert_eq!(answer.value("cache-control"), Some("no-store"), "{target}");
    }
    assert!(stage.app.requests().is_empty(), "{:?}", stage.app.requests());
}

#[tokio::test]
async fn an_upgrade_carries_only_what_the_gateway_says() {
    let stage = Stage::start().await;
    let cookie = stage.cookie_line();
    let upgrade = [
        "Upgrade: websocket",
        "Connection: Upgrade, X-Forwarded-User",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-Fetch-Mode: websocket",
    ];
    let origin = format!(
        "Origin: {}",
        stage.gateway.url(0).replace("127.0.0.1", HOST).trim_end_matches('/')
    );
    let host = format!("{HOST}:{}", stage.gateway.address(0).port());
    let mut lines: Vec<&str> = upgrade.to_vec();
    lines.extend([cookie.as_str(), origin.as_str()]);
    lines.extend(FORGED.iter().filter(|line| !line.starts_with("Connection")));
    let mut client = stage.client().await;
    client.send(request_head("GET", &host, "/", &lines).as_bytes()).await;
    assert_eq!(client.head().await.status, 101);
    assert_only_the_gateway_spoke(&stage.app.requests()[0], Some(USER));
    client.send(&[0x81, 0x83, 0, 0, 0, 0, b'a', b'b', b'c']).await;
    assert_eq!(client.exactly(5).await, [0x81, 3, b'a', b'b', b'c']);

    stage.app.forget();
    for (lines, status) in [
        (vec![origin.as_str()], 401),
        (vec![cookie.as_str(), "Origin: https://evil.example"], 403),
        (vec![cookie.as_str(), "Origin: null"], 403),
    ] {
        let lines: Vec<&str> = upgrade.iter().copied().chain(lines).collect();
        let mut client = stage.client().await;
        client.send(request_head("GET", &host, "/", &lines).as_bytes()).await;
        assert_eq!(client.response().await.status, status, "{lines:?}");
    }
    assert!(stage.app.requests().is_empty());
}

fn request_head(method: &str, host: &str, target: &str, lines: &[&str]) -> String {
    format!(
        "{method} {target} HTTP/1.1\r\nHost: {host}\r\n{}\r\n\r\n",
        lines.join("\r\n")
    )
}

#[tokio::test]
async fn a_preflight_passes_with_its_own_headers_only() {
    let stage = Stage::start().await;
    let mut lines = vec![
        "Origin: https://other.example",
        "Access-Control-Request-Method: PUT",
        "X-Other: 1",
        "Cookie: a=b",
        "Authorization: Basic eA==",
    ];
    lines.extend(FORGED);
    let answer = stage
        .client()
        .await
        .request("OPTIONS", HOST, "/cors", &lines, b"")
        .await;
    assert_eq!(answer.status, 200);
    let request = stage.app.last();
    assert_only_the_gateway_spoke(&request, None);
    for name in ["x-other", "cookie", "authorization"] {
        assert!(request.values(name).is_empty(), "{name}");
    }
    assert_eq!(
        stage
            .client()
            .await
            .request("OPTIONS", HOST, "/cors", &["Origin: https://other.example"], b"")
            .await
            .status,
        401
    );
}

#[tokio::test]
async fn nobody_speaks_for_the_user_in_trailers() {
    let stage = Stage::start().await;
    let head = request_head(
        "POST",
        HOST,
        "/",
        &[
            &stage.cookie_line(),
            "Transfer-Encoding: chunked",
            "Trailer: X-Remote-User, X-Fine",
        ],
    );
    let mut client = stage.client().await;
    client.send(head.as_bytes()).await;
    client
        .send(b"3\r\nabc\r\n0\r\nX-Remote-User: root\r\nX_Forwarded_User: root\r\nX-Fine: 1\r\n\r\n")
        .await;
    assert_eq!(client.response().await.status, 200);
    let request = stage.app.wait_for(1).remove(0);
    assert!(!request.text().contains("root"), "{}", request.text());
    assert_only_the_gateway_spoke(&request, Some(USER));
}

#[tokio::test]
async fn an_application_cannot_speak_for_the_gateway() {
    let stage = Stage::with("", ROUTES, |_| {
        Reply::text("hello")
            .with("Set-Cookie", "__host-PORTCULLIS=evil; Path=/")
            .with("Set-Cookie", "=__Host-portcullis=evil")
            .with("Set-Cookie", "theirs=1")
            .with("X-Forwarded-User", "root")
            .with("Service-Worker-Allowed", "/")
            .with("Connection", "X-Gone")
            .with("X-Gone", "1")
    })
    .await;
    let answer = stage.client().await.get(HOST, "/", &[&stage.cookie_line()]).await;
    assert_eq!(answer.values("set-cookie"), ["theirs=1"]);
    assert_eq!(answer.value("cache-control"), Some("private"));
    for name in ["x-forwarded-user", "service-worker-allowed", "x-gone"] {
        assert!(answer.value(name).is_none(), "{name}");
    }
}

#[tokio::test]
async fn nobody_speaks_for_the_user_but_the_gateway_on_http2() {
    let stage = Stage::start().await;
    let tls = tls_config(&stage.gateway.ca(), &[b"h2"]);
    let stream = tokio::net::TcpStream::connect(stage.gateway.address(0)).await.unwrap();
    let name = ServerName::try_from(HOST).unwrap();
    let stream = tokio_rustls::TlsConnector::from(tls)
        .connect(name, stream)
        .await
        .unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    for (target, signed_in, status, user) in [
        ("/", true, 200, Some(USER)),
        ("/", false, 302, None),
        ("/public", true, 200, None),
        ("/optional", true, 200, Some(USER)),
        ("/denied", true, 403, None),
        ("/staff", true, 403, None),
        ("/STAFF", true, 400, None),
    ] {
        stage.app.forget();
        let mut request = http::Request::builder().uri(format!("https://{HOST}{target}"));
        for line in FORGED.iter().filter(|line| !line.starts_with("Connection")) {
            let (name, value) = line.split_once(": ").unwrap();
            request = request.header(name, value);
        }
        if signed_in {
            // A browser may send each cookie in a line of its own (RFC 9113, 8.2.3).
            request = request
                .header("cookie", "a=1")
                .header("cookie", &stage.cookie)
                .header("cookie", "b=2");
        }
        let answer = sender
            .send_request(request.body(Full::default()).unwrap())
            .await
            .unwrap();
        assert_eq!(answer.status(), status, "{target}");
        let _ = answer.into_body().collect().await.unwrap();
        if status == 200 {
            let request = stage.app.last();
            assert_only_the_gateway_spoke(&request, user);
            assert_eq!(
                request.values("cookie"),
                if signed_in { vec!["a=1; b=2".to_owned()] } else { vec![] }
            );
            assert_eq!(request.values("host"), [HOST]);
        } else {
            assert!(stage.app.requests().is_empty(), "{target}");
        }
    }
}

/// While the store cannot be asked: 503, no cookie touched, nothing told, nothing reported done that was not.
async fn assert_undecided(client: &mut Client, cookie: &str) {
    for target in ["/", "/.portcullis/me", "/.portcullis/session", "/.portcullis/login"] {
        let answer = client.get(HOST, target, &[cookie, "Accept: application/json"]).await;
        assert!(
            answer
                .values("set-cookie")
                .iter()
                .all(|line| !line.contains("portcullis=")),
            "{target} touched the cookie"
        );
        assert!(
            answer.status == 503 || target.ends_with("login"),
            "{target}: {}",
            answer.status
        );
        let text = answer.text();
        assert!(!text.contains("postgres") && !text.contains("127.0.0.1"), "{text}");
    }
    assert_eq!(
        client.get(HOST, "/public", &[]).await.status,
        200,
        "public pages need no session"
    );
    let logout = client
        .request(
            "POST",
            HOST,
            "/.portcullis/logout",
            &[cookie, "Content-Type: application/json", "Sec-Fetch-Site: same-origin"],
            b"",
        )
        .await;
    assert_eq!(
        logout.status, 503,
        "a log-out that was not stored is not reported as done"
    );
}

/// The same on HTTP/2, and for a WebSocket.
async fn assert_undecided_elsewhere(gateway: &Gateway, cookie: &str) {
    let (_, cookie_value) = cookie.split_once(": ").unwrap();
    let mut http2 = Http2::connect(gateway.address(0), HOST, &gateway.ca()).await;
    for (target, status) in [("/", 503), ("/optional", 503), ("/public", 200), ("/denied", 403)] {
        let request = http::Request::get(format!("https://{HOST}{target}")).header("cookie", cookie_value);
        let answer = http2.send(request.body(Full::default()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), status, "{target}");
        assert_eq!(answer.headers().contains_key("retry-after"), status == 503, "{target}");
        assert!(!answer.headers().contains_key("set-cookie"), "{target}");
    }
    let mut client = Client::tls(gateway.address(0), HOST, &gateway.ca()).await;
    let upgrade = [
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        cookie,
    ];
    let answer = client.get(HOST, "/", &upgrade).await;
    assert_eq!(answer.status, 503, "a WebSocket of somebody who may be signed in");
    assert!(answer.value("retry-after").is_some() && answer.values("set-cookie").is_empty());
}

#[tokio::test]
async fn an_outage_is_503_and_signs_nobody_out() {
    let postgres = Postgres::private();
    let database = postgres.database();
    let app = Upstream::hello();
    let top = format!(
        "[store]\nurl = \"{database}\"\ncall_timeout = \"1s\"\n[session]\nsecrets = [\"0123456789abcdef0123456789abcdef\"]\n"
    );
    let gateway = Gateway::start(&stage::config(&top, ROUTES, &app.url()));
    gateway.add_user(USER, PASSWORD, &[]);
    let mut client = Client::tls(gateway.address(0), HOST, &gateway.ca()).await;
    let cookie = format!("Cookie: {}", client.sign_in(HOST, USER, PASSWORD).await);
    assert_eq!(client.get(HOST, "/", &[&cookie]).await.status, 200);

    postgres.kill();
    let started = Instant::now();
    let answer = loop {
        let answer = client.get(HOST, "/", &[&cookie, "Accept: text/html"]).await;
        // Until its bound is over, a cached answer is believed.
        if answer.status != 200 {
            break answer;
        }
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "a dead database was never noticed"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.value("retry-after").is_some());
    assert_undecided(&mut client, &cookie).await;
    assert_undecided_elsewhere(&gateway, &cookie).await;

    postgres.start();
    let started = Instant::now();
    while client.get(HOST, "/", &[&cookie]).await.status != 200 {
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "the session did not come back"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn a_stolen_database_opens_no_session() {
    let stage = Stage::start().await;
    let value = stage.cookie.split_once('=').unwrap().1.to_owned();
    let raw = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, &value).unwrap();
    let mut stolen = Vec::new();
    for entry in std::fs::read_dir(stage.gateway.folder().join("data")).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().contains(".db") {
            stolen.extend(std::fs::read(path).unwrap());
        }
    }
    let holds = |needle: &[u8]| memchr::memmem::find(&stolen, needle).is_some();
    assert!(holds(USER.as_bytes()), "this is the database");
    assert!(!holds(value.as_bytes()) && !holds(&raw[..32]) && !holds(PASSWORD.as_bytes()));
    // What is there, the digest, is no token: neither as it is nor behind a signature of another key.
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &raw[..32]);
    assert!(holds(digest.as_ref()), "the digest is the key");
    let mut forged = digest.as_ref().to_vec();
    forged.extend(&raw[32..]);
    let forged = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, forged);
    let answer = stage
        .client()
        .await
        .get(
            HOST,
            "/",
            &[
                &format!("Cookie: __Host-portcullis={forged}"),
                "Accept: application/json",
            ],
        )
        .await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.json()["error"], "Session expired");
}

#[tokio::test]
async fn ended_means_ended() {
    let stage = Stage::start().await;
    let cookie = stage.cookie_line();
    let mut client = stage.client().await;
    assert_eq!(client.get(HOST, "/", &[&cookie]).await.status, 200);
    let lines = [
        cookie.as_str(),
        "Content-Type: application/json",
        "Accept: application/json",
        "Sec-Fetch-Site: same-origin",
    ];
    let logout = client.request("POST", HOST, "/.portcullis/logout", &lines, b"").await;
    assert_eq!(logout.status, 204, "{}", logout.text());
    assert!(
        logout
            .values("set-cookie")
            .iter()
            .any(|line| line.starts_with("__Host-portcullis=;"))
    );
    assert_eq!(client.get(HOST, "/", &[&cookie]).await.status, 302);

    let cookie = client.sign_in(HOST, USER, PASSWORD).await;
    let cookie = format!("Cookie: {cookie}");
    assert_eq!(client.get(HOST, "/", &[&cookie]).await.status, 200);
    let disabled = stage.gateway.command(&["user", "disable", USER], "");
    assert!(disabled.status.success());
    let started = Instant::now();
    while client.get(HOST, "/", &[&cookie]).await.status == 200 {
        assert!(started.elapsed() < Duration::from_secs(15), "a disabled user goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn one_session_gets_each_routes_own_headers() {
    let routes = r#"
[[route]]
name = "one"
host = "app.example.test"
path = "/one"
upstream = "app"
identity = "oauth2-proxy"

[[route]]
name = "two"
host = "app.example.test"
path = "/two"
upstream = "app"
identity = "remote-user"

[[route]]
name = "three"
host = "app.example.test"
path = "/three"
upstream = "app"
identity = { headers = { "X-Who" = "{username}/{groups}" }, delimiter = ";" }
"#;
    let stage = Stage::with("workers = 1\n", routes, |_| Reply::text("hello")).await;
    let cookie = stage.cookie_line();
    let mut client = stage.client().await;
    let names = ["x-forwarded-user", "remote-user", "x-who"];
    // More than once, so that ready-made headers of one route are at hand when another is asked for.
    for _ in 0..3 {
        for (target, own, value) in [("/one", 0, USER), ("/two", 1, USER), ("/three", 2, "ada/users")] {
            assert_eq!(client.get(HOST, target, &[&cookie]).await.status, 200);
            let request = stage.app.last();
            for (index, name) in names.iter().enumerate() {
                let expected = if index == own { vec![value.to_owned()] } else { vec![] };
                assert_eq!(request.values(name), expected, "{name} on {target}");
            }
        }
    }
}
