//! What operators watch: names and labels that dashboards rely on, there from the start and moving with what happens.

use crate::support::client::Client;
use crate::support::gateway::{Gateway, PATIENCE, pause};
use crate::support::stage::{self, HOST, PASSWORD, ROUTES, Stage, USER};
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

/// Every series with its value.
async fn scrape(gateway: &Gateway) -> BTreeMap<String, f64> {
    let answer = Client::plain(gateway.admin())
        .await
        .get("localhost", "/metrics", &[])
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.value("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    let text = answer.text();
    assert!(text.ends_with("# EOF\n"), "{text}");
    let series = text.lines().filter(|line| !line.starts_with('#'));
    series
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            (name.to_owned(), value.parse().expect("a number"))
        })
        .collect()
}

async fn until(gateway: &Gateway, series: &str, value: f64) {
    let started = Instant::now();
    loop {
        let seen = scrape(gateway).await;
        if seen.get(series).is_some_and(|seen| (seen - value).abs() < 0.5) {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{series} is {:?}", seen.get(series));
        pause();
    }
}

const FROM_THE_START: &[&str] = &[
    r#"portcullis_requests_total{route="app",class="2xx"}"#,
    r#"portcullis_requests_total{route="public",class="5xx"}"#,
    r#"portcullis_requests_total{route="portal",class="3xx"}"#,
    r#"portcullis_requests_total{route="none",class="4xx"}"#,
    r#"portcullis_request_duration_seconds_count{route="app"}"#,
    r#"portcullis_request_duration_seconds_bucket{le="+Inf",route="app"}"#,
    r#"portcullis_refusals_total{reason="unauthenticated"}"#,
    r#"portcullis_refusals_total{reason="malformed"}"#,
    r#"portcullis_refusals_total{reason="unavailable"}"#,
    r#"portcullis_session_lookups_total{source="native",result="found"}"#,
    r#"portcullis_session_lookups_total{source="native",result="absent"}"#,
    r#"portcullis_session_lookups_total{source="native",result="unavailable"}"#,
    "portcullis_session_lookup_duration_seconds_count",
    r#"portcullis_cache_hits_total{level="first"}"#,
    r#"portcullis_cache_hits_total{level="shared"}"#,
    "portcullis_cache_entries",
    r#"portcullis_sessions{state="active"}"#,
    r#"portcullis_instances{state="agreeing"}"#,
    r#"portcullis_instances{state="disagreeing"}"#,
    r#"portcullis_upstream_failures_total{upstream="app",kind="connect"}"#,
    r#"portcullis_upstream_failures_total{upstream="app",kind="timeout"}"#,
    r#"portcullis_upstream_failures_total{upstream="app",kind="invalid"}"#,
    r#"portcullis_streams_open{kind="upgrade"}"#,
    r#"portcullis_streams_open{kind="events"}"#,
    r#"portcullis_streams_open{kind="body"}"#,
    r#"portcullis_streams_open{kind="portal"}"#,
    r#"portcullis_logins_total{result="succeeded"}"#,
    r#"portcullis_logins_total{result="failed"}"#,
    r#"portcullis_logins_total{result="busy"}"#,
    r#"portcullis_logins_total{result="unavailable"}"#,
    "portcullis_access_lines_lost_total",
];

#[tokio::test]
async fn every_name_is_there_at_zero_before_anything_happened() {
    let gateway = Gateway::start(&stage::config("", ROUTES, "http://127.0.0.1:1"));
    let seen = scrape(&gateway).await;
    for series in FROM_THE_START {
        assert_eq!(seen.get(*series), Some(&0.0), "{series} in {seen:#?}");
    }
    assert_eq!(
        seen.get(concat!(
            r#"portcullis_build_info{version=""#,
            env!("CARGO_PKG_VERSION"),
            r#""}"#
        )),
        Some(&1.0)
    );
    until(&gateway, "portcullis_feed_healthy", 1.0).await;
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("a clock").as_secs_f64();
    let (_, expiry) = seen
        .iter()
        .find(|(name, _)| name.starts_with("portcullis_certificate_expiry_timestamp_seconds{listener="))
        .expect("the end of the certificate");
    assert!(*expiry > now && *expiry < now + Duration::from_hours(24 * 900).as_secs_f64());
    assert!(
        seen.keys()
            .any(|name| name.starts_with("portcullis_connections{listener="))
    );
}

/// By how much each series grows in the test below.
const COUNTED: &[(&str, f64)] = &[
    (r#"portcullis_requests_total{route="app",class="2xx"}"#, 2.0),
    (r#"portcullis_requests_total{route="app",class="4xx"}"#, 1.0),
    (r#"portcullis_requests_total{route="denied",class="4xx"}"#, 1.0),
    (r#"portcullis_requests_total{route="staff",class="4xx"}"#, 1.0),
    (r#"portcullis_requests_total{route="public",class="2xx"}"#, 1.0),
    (r#"portcullis_requests_total{route="none",class="4xx"}"#, 2.0),
    (r#"portcullis_requests_total{route="portal",class="2xx"}"#, 2.0),
    (r#"portcullis_requests_total{route="portal",class="4xx"}"#, 1.0),
    (r#"portcullis_request_duration_seconds_count{route="app"}"#, 3.0),
    (r#"portcullis_refusals_total{reason="unauthenticated"}"#, 1.0),
    (r#"portcullis_refusals_total{reason="forbidden"}"#, 2.0),
    (r#"portcullis_refusals_total{reason="ambiguous"}"#, 1.0),
    (r#"portcullis_refusals_total{reason="unknown_host"}"#, 1.0),
    (r#"portcullis_logins_total{result="failed"}"#, 1.0),
    (r#"portcullis_logins_total{result="succeeded"}"#, 1.0),
];

#[tokio::test]
async fn what_happens_is_counted_where_it_belongs() {
    let stage = Stage::start().await;
    let gateway = &stage.gateway;
    let cookie = stage.cookie_line();
    let before = scrape(gateway).await;
    let mut client = stage.client().await;
    for (target, lines, status) in [
        ("/", vec![cookie.as_str()], 200),
        ("/", vec![cookie.as_str()], 200),
        ("/", vec!["Accept: application/json"], 401),
        ("/denied", vec![], 403),
        ("/staff", vec![cookie.as_str()], 403),
        ("/public", vec![], 200),
        ("/.portcullis/me", vec![cookie.as_str()], 200),
        ("/a/../b", vec![], 400),
    ] {
        let answer = client.get(HOST, target, &lines).await;
        assert_eq!(answer.status, status, "{target}");
        if status == 400 {
            client = stage.client().await;
        }
    }
    assert_eq!(client.get("other.example", "/", &[]).await.status, 421);
    let wrong = serde_json::json!({ "username": USER, "password": "not hers" }).to_string();
    let lines = ["Content-Type: application/json", "Sec-Fetch-Site: same-origin"];
    let answer = stage
        .client()
        .await
        .request("POST", HOST, "/.portcullis/login", &lines, wrong.as_bytes())
        .await;
    assert_eq!(answer.status, 401);
    stage.client().await.sign_in(HOST, USER, PASSWORD).await;
    for (series, more) in COUNTED {
        until(gateway, series, before[*series] + more).await;
    }
    let seen = scrape(gateway).await;
    let hits = |seen: &BTreeMap<String, f64>| -> f64 {
        ["first", "shared"]
            .iter()
            .map(|level| seen[&format!("portcullis_cache_hits_total{{level=\"{level}\"}}")])
            .sum()
    };
    assert!(hits(&seen) > hits(&before));
    assert!(seen[r#"portcullis_session_lookups_total{source="native",result="found"}"#] >= 1.0);
    // Two log-ins of one user; the count is taken now and then.
    until(gateway, r#"portcullis_sessions{state="active"}"#, 2.0).await;
    assert!(scrape(gateway).await["portcullis_cache_entries"] >= 1.0);
    // No series tells of one user, session or path.
    for name in scrape(gateway).await.keys() {
        assert!(
            !name.contains(USER) && !name.contains("other.example") && !name.contains('/'),
            "{name}"
        );
    }
}

/// Waits until this many connections are open on all listeners together.
async fn until_open(gateway: &Gateway, expected: f64) {
    let started = Instant::now();
    loop {
        let seen = scrape(gateway).await;
        let each = seen
            .iter()
            .filter(|(name, _)| name.starts_with("portcullis_connections{"));
        let open: f64 = each.map(|(_, value)| value).sum();
        if (open - expected).abs() < 0.5 {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{open} connections are open");
        pause();
    }
}

#[tokio::test]
async fn open_connections_and_tunnels_are_gauges_that_come_back() {
    let stage = Stage::start().await;
    let gateway = &stage.gateway;
    // The one that asks is counted too.
    until_open(gateway, 1.0).await;
    let mut client = stage.client().await;
    let origin = format!("Origin: {}", gateway.url(0).replace("127.0.0.1", HOST));
    let host = format!("{HOST}:{}", gateway.address(0).port());
    let head = [
        "GET / HTTP/1.1".to_owned(),
        format!("Host: {host}"),
        stage.cookie_line(),
        origin,
        "Upgrade: websocket".into(),
        "Connection: Upgrade".into(),
        "Sec-WebSocket-Version: 13".into(),
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==".into(),
    ];
    client.send(format!("{}\r\n\r\n", head.join("\r\n")).as_bytes()).await;
    assert_eq!(client.head().await.status, 101);
    until(gateway, r#"portcullis_streams_open{kind="upgrade"}"#, 1.0).await;
    until_open(gateway, 2.0).await;
    // It is gone as a phone in a tunnel is: the TLS connection ends without a word.
    drop(client);
    until(gateway, r#"portcullis_streams_open{kind="upgrade"}"#, 0.0).await;
    until_open(gateway, 1.0).await;
}

#[tokio::test]
async fn an_application_that_is_gone_is_counted_by_how_it_failed() {
    let gateway = Gateway::start(&stage::config("", ROUTES, "http://127.0.0.1:1"));
    let mut client = Client::tls(gateway.address(0), HOST, &gateway.ca()).await;
    assert_eq!(client.get(HOST, "/public", &[]).await.status, 502);
    until(
        &gateway,
        r#"portcullis_upstream_failures_total{upstream="app",kind="connect"}"#,
        1.0,
    )
    .await;
    until(&gateway, r#"portcullis_refusals_total{reason="upstream_connect"}"#, 1.0).await;
}
