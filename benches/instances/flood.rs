//! Thousands of invented cookies a second: what reaches the database, and what do users notice?

use super::Bench;
use super::connection::Connection;
use super::cookie::invented;
use super::instances::Instances;
use super::load::Load;
use super::spread;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use std::time::Instant;

/// Invented cookies a second, all on one instance.
const A_SECOND: u64 = 5_000;
const HANDS: u64 = 100;

pub(super) async fn run(bench: &Bench, cluster: &Instances) {
    let users = cluster.sign_in_many(100).await;
    let cookies: Vec<String> = users.into_iter().map(|session| session.cookie).collect();
    let address = cluster.address(1);
    let calm = Load::start(&[address], cookies.clone(), bench.rate);
    tokio::time::sleep(Duration::from_secs(3)).await;
    println!("flood: before it {}", spread(calm.stop().await.took));
    for signed in [false, true] {
        let load = Load::start(&[address], cookies.clone(), bench.rate);
        let before = (cluster.lookups(1, "absent").await, cluster.lookups(1, "found").await);
        let (sent, refused, took) = flood(address, signed, bench.seconds).await;
        let after = (cluster.lookups(1, "absent").await, cluster.lookups(1, "found").await);
        let seen = load.stop().await;
        println!(
            "flood: {} cookies, {:.0} a second ({sent} sent, {refused} refused with 401): {:.0} look-ups a second for them, \
             {:.1} for users",
            if signed { "well-signed" } else { "unsigned" },
            sent as f64 / took.as_secs_f64(),
            (after.0 - before.0) / took.as_secs_f64(),
            (after.1 - before.1) / took.as_secs_f64(),
        );
        println!("flood: users meanwhile {}; {} failed", spread(seen.took), seen.failed);
    }
    // The figure is taken every 15 seconds.
    tokio::time::sleep(Duration::from_secs(16)).await;
    println!(
        "flood: {:.0} entries in the cache after it",
        cluster.metric(1, "portcullis_cache_entries ").await
    );
}

/// What was sent, what was refused as it should be, and how long it took.
async fn flood(address: SocketAddr, signed: bool, seconds: u64) -> (u64, u64, Duration) {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let begun = Instant::now();
    let end = begun + Duration::from_secs(seconds);
    let refused = Arc::new(AtomicU64::new(0));
    let hands = (0..HANDS).map(|_| {
        let refused = Arc::clone(&refused);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_secs_f64(HANDS as f64 / A_SECOND as f64));
            let (mut sent, mut connection) = (0_u64, None);
            while Instant::now() < end {
                ticks.tick().await;
                let cookie = invented(NUMBER.fetch_add(1, Relaxed), signed);
                if connection.is_none() {
                    connection = Connection::plain(address).await.ok();
                }
                let Some(open) = &mut connection else { continue };
                sent += 1;
                match open.get("/", &cookie).await {
                    Ok(401) => drop(refused.fetch_add(1, Relaxed)),
                    Ok(_) => {}
                    Err(_) => connection = None,
                }
            }
            sent
        })
    });
    let mut sent = 0;
    for hand in hands.collect::<Vec<_>>() {
        sent += hand.await.expect("a hand of the flood");
    }
    (sent, refused.load(Relaxed), begun.elapsed())
}
