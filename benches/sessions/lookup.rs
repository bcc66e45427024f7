//! One look-up after another, of random sessions, as a cache that misses asks.

use super::Bench;
use super::relay::Relay;
use aws_lc_rs::digest::SHA256;
use aws_lc_rs::digest::digest;
use portcullis::model::Digest;
use portcullis::store::Store;
use std::time::Duration;
use std::time::Instant;

const LOOKUPS: u64 = 50_000;

pub(super) async fn run(bench: &Bench) {
    let store = Bench::store(&bench.url).await;
    // Warms what a running gateway has warm: connections, prepared statements, the server's cache.
    times(store.as_ref(), bench.sessions, 20_000).await;
    let mut took = times(store.as_ref(), bench.sessions, LOOKUPS).await;
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    println!(
        "lookup: p50 {:.0?}, p99 {:.0?} (should be under 1 ms), p99.9 {:.0?}, most {:.0?}, over {LOOKUPS} look-ups of {}",
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0),
        bench.sessions
    );
    let relay = Relay::to(bench.server.port()).await;
    let url = bench
        .url
        .replace(&bench.server.port().to_string(), &relay.port.to_string());
    let store = Bench::store(&url).await;
    times(store.as_ref(), bench.sessions, 100).await;
    let before = relay.turns();
    times(store.as_ref(), bench.sessions, 1_000).await;
    println!("lookup: {} round trips for 1000 look-ups", relay.turns() - before);
}

async fn times(store: &dyn Store, sessions: u64, count: u64) -> Vec<Duration> {
    let mut took = Vec::new();
    for number in 0..count {
        // A stride that is prime to every round number visits rows all over the table.
        let row = number * 7_919_317 % sessions + 1;
        let key = digest(&SHA256, row.to_string().as_bytes());
        let key = Digest(key.as_ref().try_into().expect("32 bytes"));
        let started = Instant::now();
        let found = store.find_session(&key).await.expect("an answer");
        took.push(started.elapsed());
        assert!(found.is_some(), "session {row} is there");
    }
    took
}
