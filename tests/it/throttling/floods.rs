//! Two hundred log-ins at once: whoever is signed in notices nothing.

use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::stage::{HOST, PASSWORD, ROUTES, Stage};
use crate::support::upstream::Reply;
use futures_util::future::join_all;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const AT_ONCE: usize = 200;
/// What a page may take meanwhile, in a debug build on a busy machine.
const UNHARMED: Duration = Duration::from_secs(15);

fn memory_of(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|text| text.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// How many log-ins were answered how; every one that was not looked at says when to come back.
async fn log_in_at_once(gateway: &Gateway, who: impl Fn(usize) -> (String, &'static str)) -> BTreeMap<u16, usize> {
    let ca = gateway.ca();
    let connecting = (0..AT_ONCE).map(|_| Client::tls(gateway.address(0), HOST, &ca));
    let clients = join_all(connecting).await;
    let attempts = clients.into_iter().enumerate().map(|(number, mut client)| {
        let (user, password) = who(number);
        let body = json!({ "username": user, "password": password }).to_string();
        async move {
            let lines = ["Content-Type: application/json", "Accept: application/json"];
            let answer = client
                .request("POST", HOST, "/.portcullis/login", &lines, body.as_bytes())
                .await;
            if matches!(answer.status, 429 | 503) {
                let wait = answer.value("retry-after").expect("a time").parse::<u64>();
                assert!((1..=900).contains(&wait.expect("seconds")));
            }
            answer.status
        }
    });
    let mut counts = BTreeMap::new();
    for status in join_all(attempts).await {
        *counts.entry(status).or_default() += 1;
    }
    counts
}

/// Asks for pages on several connections until `done`; how many were answered. All must be.
async fn browse(stage: &Stage, done: &Arc<AtomicBool>) -> usize {
    let readers = (0..4).map(|_| async {
        let (mut client, cookie) = (stage.client().await, stage.cookie_line());
        let mut answered = 0;
        while !done.load(Ordering::Acquire) || answered < 10 {
            let asked = Instant::now();
            let answer = client.get(HOST, "/page", &[&cookie]).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let took = asked.elapsed();
            assert!(took < UNHARMED, "a page took {took:?} beside {AT_ONCE} log-ins");
            answered += 1;
        }
        answered
    });
    join_all(readers).await.into_iter().sum()
}

#[tokio::test]
async fn two_hundred_log_ins_at_once_leave_those_who_are_signed_in_alone() {
    let top = "[log]\naccess = false\n[throttle]\naccount = \"unlimited\"\naddress = \"unlimited\"\n";
    let stage = Stage::with(top, ROUTES, |_| Reply::text("hello")).await;
    for number in 0..20 {
        stage.gateway.add_user(&format!("user{number}"), PASSWORD, &[]);
    }
    let before = memory_of(stage.gateway.pid());
    let done = Arc::new(AtomicBool::new(false));
    let flood = async {
        let counts = log_in_at_once(&stage.gateway, |number| match number % 4 {
            0 | 1 => (format!("user{}", number % 20), PASSWORD),
            2 => (format!("user{}", number % 20), "wrong"),
            _ => (format!("nobody{number}"), "wrong"),
        })
        .await;
        done.store(true, Ordering::Release);
        counts
    };
    let (counts, answered) = tokio::join!(flood, browse(&stage, &done));
    println!("log-ins {counts:?}, pages {answered}");
    assert_eq!(counts.values().sum::<usize>(), AT_ONCE);
    assert!(
        counts.keys().all(|status| [200, 401, 503].contains(status)),
        "{counts:?}"
    );
    assert!(counts[&200] > 0 && counts[&401] > 0, "{counts:?}");
    assert!(
        counts.get(&503).is_some_and(|full| *full > 0),
        "the queue is bounded: {counts:?}"
    );
    let grown = memory_of(stage.gateway.pid()).saturating_sub(before);
    println!("{grown} KiB more at the worst moment");
    // Two passwords are hashed at once, in 19 MiB each; the rest is for 200 connections and a debug build.
    assert!(grown < 128 * 1024, "{grown} KiB more at the worst moment");
    stage.client().await.sign_in(HOST, "user7", PASSWORD).await;
}

#[tokio::test]
async fn of_two_hundred_guesses_at_once_as_many_are_looked_at_as_may_be() {
    let stage = Stage::with("", ROUTES, |_| Reply::text("hello")).await;
    stage.gateway.add_user("bob", PASSWORD, &[]);
    let counts = log_in_at_once(&stage.gateway, |_| ("bob".to_owned(), "wrong")).await;
    println!("guesses {counts:?}");
    let looked_at = counts.get(&401).copied().unwrap_or_default();
    assert!((1..=10).contains(&looked_at), "{counts:?}");
    assert!(
        counts.keys().all(|status| [401, 429, 503].contains(status)),
        "{counts:?}"
    );
    assert!(counts.contains_key(&429), "{counts:?}");
}
