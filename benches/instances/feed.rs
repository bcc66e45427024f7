//! Rows of sessions are deleted one by one: how many messages a second are there, and what does one cost an instance?

use super::Bench;
use super::fill;
use super::instances::Instances;
use sqlx::postgres::PgListener;
use std::time::Duration;
use std::time::Instant;

const WRITERS: u64 = 4;
/// Nothing more comes after this much silence. The instances themselves send something every second or so.
const SILENCE: Duration = Duration::from_secs(5);

pub(super) async fn run(bench: &Bench, cluster: &Instances) {
    let mut psql = bench.psql().await;
    sqlx::query("DELETE FROM portcullis.sessions")
        .execute(&mut psql)
        .await
        .expect("an empty table");
    fill::fill(bench).await;
    // What filling it brought about is over.
    tokio::time::sleep(SILENCE).await;
    let mut listener = PgListener::connect(&bench.url).await.expect("a listener");
    listener.listen("portcullis_portcullis").await.expect("the channel");
    let hearing = tokio::spawn(async move {
        let (mut heard, mut last) = (0_u64, Instant::now());
        while let Ok(Ok(message)) = tokio::time::timeout(SILENCE, listener.recv()).await {
            if message.payload().starts_with("s:") || message.payload().len() >= 32 {
                (heard, last) = (heard + 1, Instant::now());
            } else if last.elapsed() > SILENCE {
                break;
            }
        }
        (heard, last)
    });
    let deleted = bench.sessions.min(20_000);
    let idle = measure_idle(cluster).await;
    let before = [0, 1, 2].map(|instance| cluster.processor(instance));
    let begun = Instant::now();
    let writers = (0..WRITERS).map(|writer| delete(bench, writer, deleted));
    futures_util::future::join_all(writers).await;
    let wrote = begun.elapsed();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let took = begun.elapsed();
    let used: f64 = [0, 1, 2].iter().map(|&one| cluster.processor(one) - before[one]).sum();
    let (heard, last) = hearing.await.expect("a listener");
    println!(
        "feed: {deleted} sessions deleted one by one by {WRITERS} connections in {wrote:.1?}: {:.0} messages a second \
         ({heard} heard, the last after {:.1?})",
        deleted as f64 / wrote.as_secs_f64(),
        last.saturating_duration_since(begun)
    );
    let cost = (used / 3.0 - idle * took.as_secs_f64()) / deleted as f64 * 1e6;
    println!("feed: {cost:.1} microseconds of processor time a message in each instance");
}

/// What an instance uses a second while nothing happens.
async fn measure_idle(cluster: &Instances) -> f64 {
    let before: f64 = (0..3).map(|instance| cluster.processor(instance)).sum();
    tokio::time::sleep(Duration::from_secs(3)).await;
    ((0..3).map(|instance| cluster.processor(instance)).sum::<f64>() - before) / 9.0
}

async fn delete(bench: &Bench, writer: u64, count: u64) {
    let mut psql = bench.psql().await;
    for row in (1..=count).filter(|row| row % WRITERS == writer) {
        let gone = sqlx::query("DELETE FROM portcullis.sessions WHERE digest = sha256($1::text::bytea)");
        gone.bind(row.to_string()).execute(&mut psql).await.expect("a deletion");
    }
}
