//! A new program takes over while requests go on.

use super::{ROUTE, SECRET, TOKEN, eventually};
use crate::support::client::Client;
use crate::support::gateway::{Gateway, PATIENCE, pause};
use crate::support::postgres::Postgres;
use crate::support::stage::{HOST, PASSWORD, USER};
use crate::support::upstream::Upstream;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

fn config(app: &Upstream, store: &str) -> String {
    format!(
        r#"{store}
[session]
secrets = ["{SECRET}"]

[[listener]]
address = "127.0.0.1:0"
certificates = "local"

[admin]
address = "127.0.0.1:0"
token = "{TOKEN}"

[[upstream]]
name = "app"
servers = ["{}"]
{ROUTE}"#,
        app.url()
    )
}

/// A process that is no child of ours, ended with the test.
struct Stranger(String);

impl Stranger {
    fn ask(&self, signal: &str) -> bool {
        let ask = Command::new("kill").args([signal, &self.0]).output().expect("kill");
        ask.status.success()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.ask("-KILL");
    }
}

/// Who took over from `gateway`, as its log says.
fn successor(gateway: &Gateway) -> Stranger {
    gateway.wait_for_log("another process has taken over");
    let log = gateway.log();
    let line = log
        .lines()
        .find(|line| line.contains("another process has taken over"))
        .unwrap();
    let told: serde_json::Value = serde_json::from_str(line).unwrap();
    Stranger(told["process"].to_string())
}

/// Comes on a new connection each time, twice on each that may be kept; every answer must be 200.
async fn visit(address: SocketAddr, ca: String, cookie: String, stop: Arc<AtomicBool>, answered: Arc<AtomicUsize>) {
    while !stop.load(Ordering::SeqCst) {
        let mut client = Client::tls(address, HOST, &ca).await;
        for _ in 0..2 {
            let answer = client.get(HOST, "/", &[&cookie]).await;
            assert_eq!(answer.status, 200);
            answered.fetch_add(1, Ordering::SeqCst);
            if answer.value("connection") == Some("close") {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_takes_over_and_nobody_is_refused_or_signed_out() {
    let app = Upstream::hello();
    let store = format!("[store]\nurl = \"{}\"", Postgres::shared().database());
    let mut gateway = Gateway::start(&config(&app, &store));
    gateway.add_user(USER, PASSWORD, &["users"]);
    let (address, ca) = (gateway.address(0), gateway.ca());
    let cookie = Client::tls(address, HOST, &ca)
        .await
        .sign_in(HOST, USER, PASSWORD)
        .await;
    let cookie = format!("Cookie: {cookie}");
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let visitors: Vec<_> = (0..4)
        .map(|_| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            tokio::spawn(visit(address, ca.clone(), cookie.clone(), stop, answered))
        })
        .collect();
    // A balancer asks whether it is ready, whichever of the two answers.
    let (admin, over) = (gateway.admin(), Arc::clone(&stop));
    let balancer = tokio::spawn(async move {
        while !over.load(Ordering::SeqCst) {
            let answer = Client::plain(admin).await.get("localhost", "/readyz", &[]).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    });
    let more = async |count: usize| {
        let wanted = answered.load(Ordering::SeqCst) + count;
        eventually("more answers", async || {
            answered.load(Ordering::SeqCst) >= wanted || visitors.iter().any(tokio::task::JoinHandle::is_finished)
        })
        .await;
    };
    more(20).await;
    gateway.signal("USR2");
    let successor = successor(&gateway);
    let begun = Instant::now();
    let ended = loop {
        if let Some(ended) = gateway.has_ended() {
            break ended;
        }
        assert!(begun.elapsed() < PATIENCE, "the old process went on");
        pause();
    };
    assert_eq!(ended.code(), Some(0));
    more(20).await;
    stop.store(true, Ordering::SeqCst);
    for visitor in visitors {
        visitor.await.expect("every request was answered with 200");
    }
    balancer.await.expect("it was ready throughout");
    assert!(successor.ask("-0"), "the new process serves");
    let mut admin = Client::plain(gateway.admin()).await;
    assert_eq!(admin.get("localhost", "/readyz", &[]).await.status, 200);
}

#[tokio::test]
async fn a_new_process_that_does_not_come_to_serve_changes_nothing() {
    let app = Upstream::hello();
    let store = format!("[store]\nurl = \"{}\"", Postgres::shared().database());
    let gateway = Gateway::start(&config(&app, &store));
    std::fs::write(gateway.folder().join("portcullis.toml"), "nothing = 1").unwrap();
    gateway.signal("USR2");
    gateway.wait_for_log("no other process took over; this one goes on");
    assert!(gateway.log().contains("ended before it served"), "{}", gateway.log());
    let mut client = Client::tls(gateway.address(0), HOST, &gateway.ca()).await;
    assert_eq!(client.get(HOST, "/", &[]).await.status, 302);
    let mut admin = Client::plain(gateway.admin()).await;
    assert_eq!(admin.get("localhost", "/readyz", &[]).await.status, 200);
    assert_eq!(gateway.terminate().status.code(), Some(0));
}

#[tokio::test]
async fn who_stops_the_gateway_while_another_is_starting_stops_both() {
    let app = Upstream::hello();
    let store = format!("[store]\nurl = \"{}\"", Postgres::shared().database());
    let gateway = Gateway::start(&config(&app, &store));
    // A database that accepts and never answers: the new process is still starting.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let store = format!(
        "[store]\nurl = \"postgres://postgres@{}/none\"\ncall_timeout = \"30s\"",
        silent.local_addr().unwrap()
    );
    std::fs::write(gateway.folder().join("portcullis.toml"), config(&app, &store)).unwrap();
    gateway.signal("USR2");
    let _asked = silent.accept().unwrap();
    let mut started = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{}/task", gateway.pid())).unwrap() {
        let children = std::fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default();
        started.extend(children.split_whitespace().map(|pid| Stranger(pid.to_owned())));
    }
    assert_eq!(started.len(), 1, "the new process");
    assert_eq!(gateway.terminate().status.code(), Some(0));
    assert!(!started[0].ask("-0"), "the new process went on");
}

#[tokio::test]
async fn a_sqlite_file_is_not_handed_over_and_the_log_says_what_to_do() {
    let app = Upstream::hello();
    let gateway = Gateway::start(&config(&app, ""));
    gateway.signal("USR2");
    gateway.wait_for_log("a SQLite file serves one gateway at a time: restart it");
    let mut client = Client::tls(gateway.address(0), HOST, &gateway.ca()).await;
    assert_eq!(client.get(HOST, "/", &[]).await.status, 302);
}
