//! Many at once, large, and idle: nothing that fits the limits is refused, nothing hangs, memory stays flat.

use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::stage::{HOST, ROUTES, Stage};
use crate::support::upstream::{Recorded, Reply, Upstream};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Resident bytes of a process: now, or the most it ever had.
fn memory(pid: u32, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status
        .lines()
        .find(|found| found.starts_with(line))
        .expect("such a line");
    let kib: u64 = line
        .split_whitespace()
        .nth(1)
        .and_then(|word| word.parse().ok())
        .expect("a number");
    kib * 1024
}

async fn assert_alive(gateway: &Gateway) {
    assert_eq!(
        Client::plain(gateway.address(1))
            .await
            .get(HOST, "/public", &[])
            .await
            .status,
        200
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_requests_at_once_through_a_slow_application() {
    let slow = |request: &Recorded| match request.target().as_str() {
        "/" => Reply::After(Duration::from_secs(3), Box::new(Reply::text("slow"))),
        _ => Reply::text("hello"),
    };
    let stage = Stage::with("", ROUTES, slow).await;
    let before = memory(stage.gateway.pid(), "VmRSS");
    let started = Instant::now();
    let tasks: Vec<_> = (0..2000)
        .map(|_| {
            let (address, line) = (stage.gateway.address(1), stage.cookie_line());
            tokio::spawn(async move { Client::plain(address).await.get(HOST, "/", &[&line]).await.status })
        })
        .collect();
    let mut answered = 0;
    for task in tasks {
        assert_eq!(task.await.unwrap(), 200);
        answered += 1;
    }
    let most = memory(stage.gateway.pid(), "VmHWM");
    println!(
        "{answered} requests at once in {:?}: {} MiB before, at most {} MiB",
        started.elapsed(),
        before / MIB,
        most / MIB
    );
    assert!(most < before + 200 * MIB, "100 KiB a request and no more");
    assert_alive(&stage.gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_connections() {
    let stage = Stage::with("[limits]\nconnections = 12000\nidle = \"5m\"\n", ROUTES, |_| {
        Reply::text("hello")
    })
    .await;
    let before = memory(stage.gateway.pid(), "VmRSS");
    let address = stage.gateway.address(1);
    let mut idle = Vec::with_capacity(10_000);
    for number in 0..10_000_u32 {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        if number % 10 == 0 {
            // Some have sent a request before: their buffers must be given back.
            stream
                .write_all(format!("GET /public HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes())
                .await
                .unwrap();
            let mut answer = vec![0; 4096];
            assert!(stream.read(&mut answer).await.unwrap() > 0);
        }
        idle.push(stream);
    }
    let after = memory(stage.gateway.pid(), "VmRSS");
    println!(
        "10,000 idle plain connections: {} MiB before, {} MiB with them",
        before / MIB,
        after / MIB
    );
    assert!(after < before + 10_000 * 24 * 1024, "at most 24 KiB each");
    assert_alive(&stage.gateway).await;
    let metrics = Client::plain(stage.gateway.admin())
        .await
        .get("127.0.0.1", "/metrics", &[])
        .await
        .text();
    let open = metrics
        .lines()
        .filter(|line| line.starts_with("portcullis_connections{"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    assert!(open.sum::<u64>() >= 10_000, "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gibibyte_down() {
    let stage = Stage::with("", ROUTES, |_| Reply::Large { bytes: GIB }).await;
    let before = memory(stage.gateway.pid(), "VmRSS");
    let mut stream = TcpStream::connect(stage.gateway.address(1)).await.unwrap();
    stream
        .write_all(format!("GET /public HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let (mut total, mut piece, started) = (0_u64, vec![0; 1 << 20], Instant::now());
    loop {
        let count = tokio::time::timeout(Duration::from_mins(1), stream.read(&mut piece))
            .await
            .expect("it flows")
            .unwrap();
        if count == 0 {
            break;
        }
        total += count as u64;
    }
    let most = memory(stage.gateway.pid(), "VmHWM");
    println!(
        "1 GiB down in {:?}: {} MiB before, at most {} MiB",
        started.elapsed(),
        before / MIB,
        most / MIB
    );
    assert!(total > GIB && total < GIB + 4096, "{total}");
    assert!(most < before + 32 * MIB);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gibibyte_up() {
    let app = CountingApplication::start().await;
    let config = crate::support::stage::config("", ROUTES, &format!("http://{}", app.address));
    let gateway = Gateway::start(&config);
    let before = memory(gateway.pid(), "VmRSS");
    let mut stream = TcpStream::connect(gateway.address(1)).await.unwrap();
    let head = format!("POST /public HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {GIB}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let (piece, started) = (vec![b'a'; 1 << 20], Instant::now());
    for _ in 0..1024 {
        tokio::time::timeout(Duration::from_mins(1), stream.write_all(&piece))
            .await
            .expect("it flows")
            .unwrap();
    }
    let mut answer = vec![0; 4096];
    let count = tokio::time::timeout(Duration::from_mins(1), stream.read(&mut answer))
        .await
        .expect("an answer")
        .unwrap();
    let answer = String::from_utf8_lossy(&answer[..count]).into_owned();
    let most = memory(gateway.pid(), "VmHWM");
    println!(
        "1 GiB up in {:?}: {} MiB before, at most {} MiB",
        started.elapsed(),
        before / MIB,
        most / MIB
    );
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with(&GIB.to_string()),
        "{answer}"
    );
    assert!(most < before + 32 * MIB);
}

/// Reads a body without keeping it, and answers with its length.
struct CountingApplication {
    address: std::net::SocketAddr,
}

impl CountingApplication {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut head, mut piece) = (Vec::new(), vec![0; 1 << 18]);
            let end = loop {
                let count = stream.read(&mut piece).await.unwrap();
                head.extend_from_slice(&piece[..count]);
                if let Some(end) = memchr::memmem::find(&head, b"\r\n\r\n") {
                    break end + 4;
                }
            };
            let mut total = (head.len() - end) as u64;
            while total < GIB {
                total += stream.read(&mut piece).await.unwrap() as u64;
            }
            let text = total.to_string();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        Self { address }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_over_the_limit_wait_and_are_not_refused() {
    let app = Upstream::hello();
    let gateway = Gateway::start(&crate::support::stage::config(
        "[limits]\nconnections = 50\nidle = \"2s\"\n",
        ROUTES,
        &app.url(),
    ));
    let tasks: Vec<_> = (0..200)
        .map(|_| {
            let address = gateway.address(1);
            tokio::spawn(async move {
                Client::plain(address)
                    .await
                    .get(HOST, "/public", &["Connection: close"])
                    .await
                    .status
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), 200);
    }
}
