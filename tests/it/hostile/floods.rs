//! Clients that send much and take little.

use super::{assert_alive, head};
use crate::support::stage::{HOST, ROUTES, Stage};
use crate::support::upstream::Reply;
use std::time::{Duration, Instant};

fn memory_of(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|text| text.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

#[tokio::test]
async fn thousands_of_requests_whose_answers_nobody_reads_fill_no_memory_and_are_cut() {
    let top = "[limits]\nbody_idle = \"2s\"\n";
    let stage = Stage::with(top, ROUTES, |_| Reply::text(&"x".repeat(20_000))).await;
    let before = memory_of(stage.gateway.pid());
    let one = head(&stage, "GET /", &[]);
    let many = one.repeat(500);
    let mut clients = Vec::new();
    for _ in 0..4 {
        let many = many.clone();
        let mut client = stage.client().await;
        clients.push(tokio::spawn(async move {
            let started = Instant::now();
            while started.elapsed() < Duration::from_secs(6) {
                let sending = client.send_anyway(many.as_bytes());
                if tokio::time::timeout(Duration::from_secs(6), sending).await.is_err() {
                    break;
                }
            }
        }));
    }
    for client in clients {
        let _ = client.await;
    }
    let grown = memory_of(stage.gateway.pid()).saturating_sub(before);
    assert!(grown < 32 * 1024, "{grown} KiB more");
    assert_alive(&stage).await;
}

#[tokio::test]
async fn large_heads_full_of_names_of_ours_are_cheap() {
    let stage = Stage::start().await;
    let cookie = stage.cookie_line();
    let secret = &stage.cookie;
    let connection = format!("Connection: {}", "x-forwarded-user,".repeat(3000));
    let tokens = format!("Connection: {}", "a,".repeat(25_000));
    let cookies = format!("Cookie: {}", format!("{secret}; ").repeat(600));
    let empty = format!("Cookie: {}", ";".repeat(50_000));
    let managed: Vec<String> = (0..90).map(|index| format!("X-Forwarded-{index:0200}: root")).collect();
    let managed = managed.join("\r\n");
    for line in [&connection, &tokens, &cookies, &empty, &managed] {
        let mut client = stage.client().await;
        let started = Instant::now();
        for _ in 0..5 {
            let answer = client.get(HOST, "/", &[&cookie, line]).await;
            assert_eq!(answer.status, 200, "{}", &line[..40]);
        }
        // Milliseconds in a release build.
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "{}: {:?}",
            &line[..40],
            started.elapsed()
        );
        assert!(!stage.app.last().text().contains("root"));
    }
}

#[tokio::test]
async fn small_chunks_and_pieces_of_heads_arrive_as_one() {
    let stage = Stage::start().await;
    let mut client = stage.client().await;
    let mut text = head(&stage, "POST /", &["Transfer-Encoding: chunked"]);
    text += &"1\r\nx\r\n".repeat(5000);
    text += "0\r\n\r\n";
    client.send(text.as_bytes()).await;
    assert_eq!(client.response().await.status, 200);
    assert_eq!(stage.app.wait_for(1)[0].body_length, 5000);
    let mut text = head(&stage, "POST /", &["Transfer-Encoding: chunked"]);
    text += &format!("1;{}\r\nx\r\n", "e".repeat(200)).repeat(5000);
    text += "0\r\n\r\n";
    let mut flooding = stage.client().await;
    flooding.send_anyway(text.as_bytes()).await;
    assert_eq!(flooding.response().await.status, 400, "a flood of extensions");
    for byte in head(&stage, "GET /", &[]).bytes() {
        client.send(&[byte]).await;
    }
    assert_eq!(client.response().await.status, 200);
}

#[tokio::test]
async fn connections_that_stall_at_any_place_are_ended_and_hinder_nobody() {
    let top = "[limits]\nhandshake = \"1s\"\nhead = \"1s\"\nidle = \"1s\"\nbody_idle = \"1s\"\n";
    let stage = Stage::with(top, ROUTES, |_| Reply::text("hello")).await;
    let mut stalled = Vec::new();
    for start in [
        "",
        "\r\n",
        "G",
        "GET / HTTP/1.1\r\n",
        "POST /public HTTP/1.1\r\nHost: app.example.test\r\nContent-Length: 9\r\n\r\nabc",
        "POST /public HTTP/1.1\r\nHost: app.example.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        "POST /.portcullis/login HTTP/1.1\r\nHost: app.example.test\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\nabc",
    ] {
        for _ in 0..5 {
            let mut client = stage.client().await;
            client.send(start.as_bytes()).await;
            stalled.push((start, client));
        }
    }
    let mut silent = crate::support::client::Client::plain(stage.gateway.address(0)).await;
    silent.send(b"\x16\x03\x01\x02").await;
    assert_alive(&stage).await;
    let started = Instant::now();
    for (start, client) in &mut stalled {
        let rest = tokio::time::timeout(Duration::from_secs(40), client.rest()).await;
        assert!(rest.is_ok(), "{start:?} is never ended");
    }
    assert!(
        tokio::time::timeout(Duration::from_secs(10), silent.rest())
            .await
            .is_ok()
    );
    assert!(started.elapsed() < Duration::from_secs(40), "{:?}", started.elapsed());
    assert_alive(&stage).await;
}
