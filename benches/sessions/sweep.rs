//! Removing 1,000 expired sessions from among all the others.

use super::Bench;
use super::fill::signed;
use portcullis::store::SweepScope;
use std::time::Duration;
use std::time::Instant;

const ROUNDS: u64 = 10;

pub(super) async fn run(bench: &Bench) {
    let store = Bench::store(&bench.url).await;
    let mut psql = bench.psql().await;
    let mut took = Vec::new();
    for round in 0..ROUNDS {
        // 1,000 rows all over the table, over for two hours.
        sqlx::query(
            "UPDATE portcullis.sessions SET expires_at = now() - interval '2 hours',
                sweep_at = date_trunc('hour', now() - interval '1 hour')
             WHERE digest IN (SELECT sha256(n::text::bytea) FROM generate_series(1 + $2::bigint, $1::bigint, $3::bigint) n
                LIMIT 1000)",
        )
        .bind(signed(bench.sessions))
        .bind(signed(round))
        .bind(signed((bench.sessions / 1000).max(1)))
        .execute(&mut psql)
        .await
        .expect("expired sessions");
        let now = store.now().await.expect("the time");
        let started = Instant::now();
        let removed = store
            .sweep_sessions(SweepScope::Due, now, 1_000)
            .await
            .expect("a sweep");
        took.push(started.elapsed());
        assert_eq!(removed, Some(1_000), "the sweep finds what is over");
    }
    took.sort_unstable();
    let millis = |took: Duration| took.as_secs_f64() * 1e3;
    println!(
        "sweep: 1000 expired of {} in {:.1} ms (median of {ROUNDS}; least {:.1}, most {:.1}; should be under 20 ms)",
        bench.sessions,
        millis(took[took.len() / 2]),
        millis(took[0]),
        millis(took[took.len() - 1])
    );
}
