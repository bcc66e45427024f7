//! Databases that fail, with the real program in front of them: nobody who is signed out gets in, nobody who is signed in is
//! sent away, and what comes back needs no help.

mod clocks;
mod failover;
mod faults;
mod floods;
mod starts;
mod wire;

use crate::support::client::{Client, Response};
use crate::support::gateway::{Gateway, PATIENCE, pause};
use crate::support::stage::{self, HOST, ROUTES};
use crate::support::upstream::Upstream;
use crate::support::usher::SECRET;
use std::time::{Duration, Instant};

const SCRIPT: &str = "Accept: application/json";
/// Between the end of a call's time and the answer, on a busy machine.
const SLACK: Duration = Duration::from_secs(4);

/// A gateway on `url` whose calls take `call_timeout` at most and whose answers are believed for `bound`.
fn config(url: &str, call_timeout: &str, bound: &str, app: &str) -> String {
    // The least that the program takes.
    let long = if bound.ends_with("ms") { "1s" } else { bound };
    let top = format!(
        "[store]\nurl = \"{url}\"\ncall_timeout = \"{call_timeout}\"\n[session]\nsecrets = [\"{SECRET}\"]\n\
         [cache]\nmax_age = \"{long}\"\nmax_age_without_feed = \"{bound}\"\n"
    );
    stage::config(&top, ROUTES, app)
}

/// Over the plain listener, on a connection of its own.
async fn get(gateway: &Gateway, target: &str, lines: &[&str]) -> Response {
    Client::plain(gateway.address(1)).await.get(HOST, target, lines).await
}

async fn post(gateway: &Gateway, target: &str, lines: &[&str]) -> Response {
    let mut all = vec![SCRIPT, "Content-Type: application/json", "Sec-Fetch-Site: same-origin"];
    all.extend(lines);
    let mut client = Client::plain(gateway.address(1)).await;
    client.request("POST", HOST, target, &all, b"").await
}

/// Asks until the answer has this status; how long that took.
async fn until(gateway: &Gateway, cookie: &str, status: u16, why: &str) -> Duration {
    let started = Instant::now();
    loop {
        let answer = get(gateway, "/", &[cookie, SCRIPT]).await;
        if answer.status == status {
            return started.elapsed();
        }
        let text = answer.text();
        assert!(started.elapsed() < PATIENCE, "{why}: still {}: {text}", answer.status);
        pause();
    }
}

async fn metrics(gateway: &Gateway) -> String {
    let mut client = Client::plain(gateway.admin()).await;
    client.get("localhost", "/metrics", &[]).await.text()
}

async fn metric(gateway: &Gateway, name: &str) -> u64 {
    let text = metrics(gateway).await;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        .unwrap_or_else(|| panic!("no {name} in {text}"));
    value.parse().expect("a number")
}

/// Resident mebibytes of a process.
fn memory(gateway: &Gateway) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).expect("the process lives");
    let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("VmRSS");
    let kib = line.split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok());
    kib.expect("a number") / 1024
}

/// What nobody may be told who is signed in while their session cannot be asked for.
fn assert_not_punished(answer: &Response, why: &str) {
    assert!(
        matches!(answer.status, 200 | 503),
        "{why}: a live session was answered with {}: {}",
        answer.status,
        answer.text()
    );
    assert_eq!(answer.value("retry-after").is_some(), answer.status == 503, "{why}");
    let cookies = answer.values("set-cookie");
    assert!(
        cookies.iter().all(|line| !line.contains("portcullis=;")),
        "{why}: its cookie was cleared"
    );
}

/// An application that says hello.
fn hello() -> Upstream {
    Upstream::hello()
}
