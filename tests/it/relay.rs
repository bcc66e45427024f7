//! What passes through: streams, pressure, connections that are used again, prefixes, upgrades.

use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::stage::{HOST, ROUTES, Stage};
use crate::support::upstream::{Reply, Upstream};
use std::time::{Duration, Instant};

fn plain(upstreams: &str, routes: &str) -> String {
    format!("[[listener]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n{upstreams}\n{routes}")
}

fn public_route(extra: &str) -> String {
    format!("[[route]]\nname = \"app\"\nupstream = \"app\"\naccess = \"public\"\n{extra}")
}

fn upstream(urls: &[String]) -> String {
    let urls: Vec<String> = urls.iter().map(|url| format!("\"{url}\"")).collect();
    format!("[[upstream]]\nname = \"app\"\nservers = [{}]\n", urls.join(", "))
}

#[tokio::test]
async fn events_pass_one_by_one_and_the_application_learns_of_a_client_that_left() {
    let stage = Stage::with("", ROUTES, |_| Reply::Events {
        every: Duration::from_millis(50),
    })
    .await;
    let mut client = stage.client().await;
    client
        .send(
            format!(
                "GET / HTTP/1.1\r\nHost: {HOST}\r\n{}\r\nAccept: text/event-stream\r\n\r\n",
                stage.cookie_line()
            )
            .as_bytes(),
        )
        .await;
    assert_eq!(client.head().await.status, 200);
    let started = Instant::now();
    for _ in 0..5 {
        assert!(!client.chunk().await.is_empty());
    }
    assert!(started.elapsed() < Duration::from_secs(10), "events were held back");
    drop(client);
    let started = Instant::now();
    while stage.app.open() > 0 {
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "the stream goes on for nobody"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_target_arrives_byte_for_byte() {
    let app = Upstream::hello();
    let gateway = Gateway::start(&plain(
        &upstream(&[app.url()]),
        &public_route("allow_encoded_slash = true\nallow_double_slash = true\n"),
    ));
    let mut client = Client::plain(gateway.address(0)).await;
    for target in [
        "/a%2Fb",
        "/%41%c3%a4?x=%20y&z=%2F",
        "/a//b/",
        "/;p=1/x",
        "/?",
        "/a?b?c",
        "/%7euser/~x",
        "/x%5Cy",
        "/[1]|^",
    ] {
        let answer = client.get("any.example", target, &[]).await;
        if answer.status == 400 {
            assert_eq!(target, "/[1]|^", "{target}");
            client = Client::plain(gateway.address(0)).await;
            continue;
        }
        assert_eq!(answer.status, 200, "{target}");
        assert_eq!(app.last().target(), target);
    }
}

#[tokio::test]
async fn prefixes_are_cut_and_added_by_whole_segments() {
    let app = Upstream::hello();
    let gateway = Gateway::start(&plain(
        &upstream(&[app.url()]),
        &public_route(
            "path = \"/crm\"\nstrip_prefix = true\nadd_prefix = \"/v2\"\npreserve_host = false\nset_headers = { \"X-Tenant\" = \"one\" }\n",
        ),
    ));
    let mut client = Client::plain(gateway.address(0)).await;
    for (target, seen) in [
        ("/crm", "/v2/"),
        ("/crm/", "/v2/"),
        ("/crm/a?b=1", "/v2/a?b=1"),
        ("/crm?b=1", "/v2/?b=1"),
    ] {
        assert_eq!(
            client
                .get("any.example", target, &["X-Tenant: two", "X_Tenant: three"])
                .await
                .status,
            200
        );
        let request = app.last();
        assert_eq!(request.target(), seen);
        assert_eq!(request.values("x-tenant"), ["one"]);
        assert!(request.values("x_tenant").is_empty());
        assert_eq!(request.values("host"), [app.address().to_string()]);
        assert_eq!(request.values("x-forwarded-host"), ["any.example"]);
    }
    assert_eq!(client.get("any.example", "/crmx", &[]).await.status, 404);
}

#[tokio::test]
async fn servers_are_taken_in_turn_and_a_dead_one_is_passed_over() {
    let (one, two) = (Upstream::hello(), Upstream::hello());
    let gateway = Gateway::start(&plain(
        &upstream(&[one.url(), "http://127.0.0.1:1".into(), two.url()]),
        &public_route(""),
    ));
    let mut client = Client::plain(gateway.address(0)).await;
    for _ in 0..12 {
        assert_eq!(
            client.request("POST", "any.example", "/", &[], b"body").await.status,
            200,
            "nothing was sent to the dead one"
        );
    }
    let (first, second) = (one.requests().len(), two.requests().len());
    assert_eq!(first + second, 12);
    assert!(first >= 4 && second >= 4, "{first} and {second}");
}

#[tokio::test]
async fn connections_are_used_again_and_a_closed_one_costs_no_request() {
    let app = Upstream::hello();
    let gateway = Gateway::start(&format!(
        "workers = 1\n{}",
        plain(&upstream(&[app.url()]), &public_route(""))
    ));
    let mut client = Client::plain(gateway.address(0)).await;
    for _ in 0..20 {
        assert_eq!(client.get("any.example", "/", &[]).await.status, 200);
    }
    assert_eq!(
        app.connections(),
        1,
        "one connection is enough for one request after the other"
    );
    // An application that closes after each answer, without saying so.
    let hasty = Upstream::start(|_| Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()));
    let gateway = Gateway::start(&format!(
        "workers = 1\n{}",
        plain(&upstream(&[hasty.url()]), &public_route(""))
    ));
    let mut client = Client::plain(gateway.address(0)).await;
    for round in 0..20 {
        assert_eq!(client.get("any.example", "/", &[]).await.status, 200, "round {round}");
        tokio::time::sleep(Duration::from_millis(if round % 2 == 0 { 0 } else { 20 })).await;
    }
}

#[tokio::test]
async fn a_websocket_lives_until_its_peer_leaves_and_hears_a_close_when_the_process_stops() {
    let stage = Stage::with(
        "[life]\ndrain_delay = \"100ms\"\nstream_grace = \"200ms\"\ndrain_timeout = \"5s\"\n",
        ROUTES,
        |_| Reply::WebSocketEcho,
    )
    .await;
    let mut client = stage.client().await;
    let head = format!(
        "GET / HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{}\r\n\r\n",
        stage.cookie_line()
    );
    // The first frame right behind the head: it belongs to the tunnel, not to the next request.
    let mut bytes = head.into_bytes();
    bytes.extend([0x82, 0x82, 0, 0, 0, 0, 1, 2]);
    client.send(&bytes).await;
    let answer = client.head().await;
    assert_eq!(answer.status, 101);
    assert_eq!(answer.value("upgrade"), Some("websocket"));
    assert_eq!(client.exactly(4).await, [0x82, 2, 1, 2]);
    let Stage { gateway, app, .. } = stage;
    let stopping = tokio::task::spawn_blocking(move || gateway.terminate());
    assert_eq!(client.exactly(4).await, [0x88, 2, 0x03, 0xe9], "a Close 1001");
    assert!(client.is_closed().await);
    let stopped = stopping.await.unwrap();
    assert_eq!(stopped.status.code(), Some(0), "{}", stopped.stderr);
    drop(app);
}

#[tokio::test]
async fn other_upgrades_go_on_as_plain_requests() {
    let stage = Stage::with("", ROUTES, |_| Reply::text("hello")).await;
    let mut client = stage.client().await;
    for protocol in ["h2c", "other", "websocket, h2c"] {
        let upgrade = format!("Upgrade: {protocol}");
        let answer = client
            .get(
                HOST,
                "/public",
                &[
                    &upgrade,
                    "Connection: Upgrade, HTTP2-Settings",
                    "HTTP2-Settings: AAMAAABk",
                ],
            )
            .await;
        assert_eq!(answer.status, 200, "{protocol}");
        let request = stage.app.last();
        assert!(
            request.values("upgrade").is_empty() && request.values("http2-settings").is_empty(),
            "{}",
            request.text()
        );
    }
}

#[tokio::test]
async fn a_body_flows_while_it_is_sent_and_a_slow_reader_holds_it_back() {
    let stage = Stage::with("", ROUTES, |_| Reply::Large { bytes: 64 << 20 }).await;
    let mut client = stage.client().await;
    client
        .send(format!("GET /public HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes())
        .await;
    assert_eq!(client.head().await.status, 200);
    let before = memory_of(stage.gateway.pid());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let after = memory_of(stage.gateway.pid());
    assert!(
        after < before + (16 << 20),
        "64 MiB were collected for a client that does not read: {before} → {after}"
    );
    assert_eq!(client.exactly(64 << 20).await.len(), 64 << 20);
}

/// Resident bytes of a process.
fn memory_of(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("VmRSS");
    let kib: u64 = line
        .split_whitespace()
        .nth(1)
        .and_then(|word| word.parse().ok())
        .expect("a number");
    kib * 1024
}

#[tokio::test]
async fn an_answer_under_way_is_finished_when_the_process_stops() {
    let stage = Stage::with(
        "[life]\ndrain_delay = \"0s\"\ndrain_timeout = \"20s\"\n",
        ROUTES,
        |_| Reply::After(Duration::from_secs(1), Box::new(Reply::text("late"))),
    )
    .await;
    let mut client = stage.client().await;
    client
        .send(format!("GET /public HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes())
        .await;
    stage.app.wait_for(1);
    let Stage { gateway, app, .. } = stage;
    let stopping = tokio::task::spawn_blocking(move || gateway.terminate());
    let answer = client.response().await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "late"));
    assert_eq!(stopping.await.unwrap().status.code(), Some(0));
    drop(app);
}
