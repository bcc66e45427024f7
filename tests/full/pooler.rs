//! Behind a pooler in transaction mode, where LISTEN is accepted and lost.

use crate::chaos::{ROUNDS, end_and_use, lane, tell};
use crate::support::fleet::{Fleet, SEEN, status};
use crate::support::pooler::Pooler;
use crate::support::postgres::Postgres;
use std::time::{Duration, Instant};

const NAMED: &str = "give a direct connection to the same database as store.listen_url";
const HEALTHY: &str = "portcullis_feed_healthy ";
/// The bound while there is no feed, and what a busy machine adds to it.
const BOUND: Duration = Duration::from_millis(1_500);

async fn signed_in(fleet: &Fleet, name: &str) -> String {
    let cookie = fleet.sign_in(name, &[]).await;
    assert_eq!(status(&mut fleet.client(0).await, "/", &cookie).await, 200);
    cookie
}

/// With few connections of the server's, so that those that accepted LISTEN are used again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_loses_the_feed_is_named_and_lets_nobody_in_later_than_the_bound() {
    let lane = async |connections: u32| {
        let url = Postgres::shared().database();
        let pooler = Pooler::to(Postgres::shared().port(), connections);
        let store = format!("url = \"{}\"\nprepared_statements = false\n", pooler.url(&url));
        let fleet = lane(url, &store);
        fleet.gateways[0].wait_for_log(NAMED);
        let mut client = fleet.client(0).await;
        let mut took = Vec::new();
        for round in 0..ROUNDS / 5 {
            let name = format!("u{round}");
            let cookie = signed_in(&fleet, &name).await;
            let mut wait = [0];
            getrandom::fill(&mut wait).expect("randomness");
            let wait = Duration::from_millis(u64::from(wait[0]));
            let late = end_and_use(&fleet, &mut client, &name, &cookie, wait).await;
            assert!(late <= BOUND, "round {round}: accepted {late:?} after its end");
            assert!(
                fleet.metric(0, HEALTHY).await < 0.5,
                "round {round}: nothing is heard there"
            );
            took.push(late);
        }
        let log = fleet.gateways[0].log();
        assert!(!log.contains(SEEN), "{log}");
        let named = log.lines().filter(|line| line.contains(NAMED)).count();
        assert_eq!(named, 1, "once, not at each attempt: {log}");
        took
    };
    let took = futures_util::future::join_all([1, 2, 4, 8, 20].map(lane)).await;
    tell("pooler in transaction mode", took.concat());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_direct_connection_the_feed_is_healthy_behind_a_pooler() {
    let url = Postgres::shared().database();
    let pooler = Pooler::to(Postgres::shared().port(), 4);
    let store = format!(
        "url = \"{}\"\nlisten_url = \"{url}\"\nprepared_statements = false\n",
        pooler.url(&url)
    );
    let fleet = lane(url, &store);
    fleet.until_seen();
    let mut client = fleet.client(0).await;
    for round in 0..10 {
        let name = format!("u{round}");
        let cookie = signed_in(&fleet, &name).await;
        // Longer than the short bound: only the feed makes it known this soon.
        let begun = Instant::now();
        let late = end_and_use(&fleet, &mut client, &name, &cookie, Duration::from_millis(100)).await;
        assert!(
            late < Duration::from_secs(1),
            "round {round}: {late:?} of {:?}",
            begun.elapsed()
        );
        assert!(fleet.metric(0, HEALTHY).await > 0.5);
    }
    assert!(!fleet.gateways[0].log().contains(NAMED));
}

/// More clients than the pooler has connections, and every look-up asks: none is answered by another's statement.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_pooler_nobody_who_is_signed_in_is_turned_away() {
    let url = Postgres::shared().database();
    let pooler = Pooler::to(Postgres::shared().port(), 3);
    let store = format!("url = \"{}\"\nprepared_statements = false\n", pooler.url(&url));
    let fleet = lane(url, &store);
    let mut cookies = Vec::new();
    for name in ["ada", "bob", "cyd", "dan", "eve", "fay"] {
        cookies.push(signed_in(&fleet, name).await);
    }
    let use_it = async |cookie: &String| {
        let mut client = fleet.client(0).await;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(6) {
            assert_eq!(status(&mut client, "/", cookie).await, 200);
            fleet.sql("SELECT 1");
        }
    };
    futures_util::future::join_all(cookies.iter().map(use_it)).await;
}
