//! Sweeps: by the gateway itself, by two at once, by hand.

use crate::support::gateway::{Gateway, PATIENCE, pause};
use crate::support::postgres::Postgres;
use crate::support::stage::{ROUTES, config};
use crate::support::store::{NOON, Opened, add, on_postgres, user};
use crate::support::upstream::{Reply, Upstream};
use portcullis::clock::Clock;
use portcullis::session::{SweepScope, Swept, sweep_store};
use portcullis::store::Place;
use secrecy::ExposeSecret;
use std::sync::Arc;
use std::time::Instant;

fn sql(opened: &Opened, sql: &str) -> String {
    let Place::Postgres { url, .. } = &opened.settings.place else {
        panic!("not Postgres")
    };
    let sql = format!("SET search_path TO \"Port\"\"cullis\"; {sql}");
    Postgres::shared().sql(url.expose_secret(), &sql)
}

/// Sessions of `user` that end `ago` before now.
fn insert(user: &str, count: u32, ago: &str) -> String {
    format!(
        "INSERT INTO sessions (digest, public_id, user_id, created_at, authenticated_at, last_seen_at, expires_at,
            ends_at, sweep_at, remembered, methods)
         SELECT sha256((n || '{ago}')::bytea), gen_random_uuid(), '{user}', t, t, t, t, t + interval '7d',
            date_trunc('hour', t) + interval '1h', false, 'pwd'
         FROM generate_series(1, {count}) n, (SELECT now() - interval '{ago}' AS t) t"
    )
}

#[tokio::test]
async fn a_thousand_expired_sessions_are_swept_and_no_other() {
    let opened = on_postgres().await;
    let ann = user("ann");
    add(&*opened.store, &ann).await;
    let id = ann.id.0.to_string();
    sql(&opened, &insert(&id, 1_000, "3h"));
    sql(&opened, &insert(&id, 2_500, "1s"));
    sql(&opened, &insert(&id, 4_000, "-1h"));
    let mut told = Vec::new();
    let clock = Clock::system();
    let begun = Instant::now();
    let swept = sweep_store(&*opened.store, &clock, SweepScope::All, true, |count| told.push(count)).await;
    println!("3,500 expired sessions of 7,500 swept in {:?}", begun.elapsed());
    assert!(matches!(swept, Ok(Swept::Removed(3_500, _))), "{swept:?}");
    assert_eq!(told, [1_000, 2_000, 3_000, 3_500]);
    assert_eq!(sql(&opened, "SELECT count(*) FROM sessions"), "4000");
    let runs = opened.store.last_sweeps(10).await.expect("a list");
    assert_eq!((runs.len(), runs[0].removed, runs[0].by_hand), (1, 3_500, true));
    assert!(runs[0].error.is_none() && runs[0].at > NOON);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_that_sweep_at_once_remove_everything_once() {
    let opened = on_postgres().await;
    let ann = user("ann");
    add(&*opened.store, &ann).await;
    sql(&opened, &insert(&ann.id.0.to_string(), 20_000, "3h"));
    let sweeps = (0..4).map(|_| {
        let store = Arc::clone(&opened.store);
        tokio::spawn(async move {
            let clock = Clock::system();
            sweep_store(&*store, &clock, SweepScope::All, true, |_| {}).await
        })
    });
    let mut removed = 0;
    for swept in futures_util::future::join_all(sweeps).await {
        if let Swept::Removed(count, _) = swept.expect("no panic").expect("no deadlock") {
            removed += count;
        }
    }
    assert_eq!(removed, 20_000);
    assert_eq!(sql(&opened, "SELECT count(*) FROM sessions"), "0");
}

#[tokio::test]
async fn while_another_instance_sweeps_nobody_waits_and_look_ups_go_on() {
    let opened = on_postgres().await;
    let ann = user("ann");
    add(&*opened.store, &ann).await;
    sql(&opened, &insert(&ann.id.0.to_string(), 10, "3h"));
    let Place::Postgres { url, .. } = &opened.settings.place else {
        panic!("not Postgres")
    };
    let mut other = <sqlx::PgConnection as sqlx::Connection>::connect(url.expose_secret())
        .await
        .expect("a connection");
    let held = "BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('portcullis sweep Port\"cullis', 0))";
    sqlx::Executor::execute(&mut other, held).await.expect("the lock");
    let swept = opened
        .store
        .sweep_sessions(SweepScope::All, Clock::system().now(), 100)
        .await;
    assert_eq!(swept.expect("no wait"), None);
    assert_eq!(
        opened.store.list_sessions(None, None, 100).await.expect("a list").len(),
        10
    );
    sqlx::Executor::execute(&mut other, "ROLLBACK")
        .await
        .expect("the lock is gone");
    let swept = opened
        .store
        .sweep_sessions(SweepScope::All, Clock::system().now(), 100)
        .await;
    assert_eq!(swept.expect("no wait"), Some(10));
}

#[tokio::test]
async fn a_row_that_somebody_holds_is_left_for_the_next_sweep() {
    let opened = on_postgres().await;
    let ann = user("ann");
    add(&*opened.store, &ann).await;
    sql(&opened, &insert(&ann.id.0.to_string(), 3, "3h"));
    let Place::Postgres { url, .. } = &opened.settings.place else {
        panic!("not Postgres")
    };
    let mut other = <sqlx::PgConnection as sqlx::Connection>::connect(url.expose_secret())
        .await
        .expect("a connection");
    let held = "BEGIN; SELECT 1 FROM \"Port\"\"cullis\".sessions LIMIT 1 FOR UPDATE";
    sqlx::Executor::execute(&mut other, held).await.expect("a lock");
    let sweep = || opened.store.sweep_sessions(SweepScope::All, Clock::system().now(), 100);
    assert_eq!(sweep().await.expect("no wait"), Some(2));
    sqlx::Executor::execute(&mut other, "ROLLBACK")
        .await
        .expect("the lock is gone");
    assert_eq!(sweep().await.expect("no wait"), Some(1));
}

fn gateway(url: &str, interval: &str) -> (Gateway, Upstream) {
    let app = Upstream::start(|_| Reply::text("hello"));
    let top = format!(
        "[store]\nurl = \"{url}\"\ncall_timeout = \"20s\"\n\
         [session]\nsecrets = [\"a secret of the tests that is long enough\"]\nsweep_interval = \"{interval}\""
    );
    (Gateway::start(&config(&top, ROUTES, &app.url())), app)
}

#[tokio::test]
async fn gateways_sweep_by_themselves_and_log_how_many() {
    let url = Postgres::shared().database();
    let (one, _app) = gateway(&url, "1s");
    one.add_user("ada", "correct horse battery staple", &[]);
    let in_ours = |text: &str| Postgres::shared().sql(&url, &format!("SET search_path TO portcullis; {text}"));
    let id = in_ours("SELECT id FROM users");
    in_ours(&insert(&id, 1_500, "3h"));
    in_ours(&insert(&id, 7, "-3h"));
    let (two, _other) = gateway(&url, "1s");
    let begun = Instant::now();
    while in_ours("SELECT count(*) FROM sessions") != "7" {
        assert!(begun.elapsed() < PATIENCE, "the expired sessions are still there");
        pause();
    }
    let found = || in_ours("SELECT COALESCE(sum(removed), 0) FROM sweeps");
    while found() != "1500" {
        assert!(
            begun.elapsed() < PATIENCE,
            "the sweep was not written down: {}",
            found()
        );
        pause();
    }
    let logs = || one.log() + &two.log();
    while !logs().contains("expired sessions were removed") {
        assert!(begun.elapsed() < PATIENCE, "no sweep was logged");
        pause();
    }
}

#[tokio::test]
async fn sweeping_by_hand_tells_how_many_and_takes_what_has_just_expired() {
    let url = Postgres::shared().database();
    let (gateway, _app) = gateway(&url, "1h");
    gateway.add_user("ada", "correct horse battery staple", &[]);
    let in_ours = |text: &str| Postgres::shared().sql(&url, &format!("SET search_path TO portcullis; {text}"));
    let id = in_ours("SELECT id FROM users");
    in_ours(&insert(&id, 1_200, "1s"));
    in_ours(&insert(&id, 5, "-3h"));
    let done = gateway.command(&["session", "sweep", "--json"], "");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let told: serde_json::Value = serde_json::from_slice(&done.stdout).expect("JSON");
    assert_eq!(told["removed"], 1_200);
    assert!(told["seconds"].as_f64().is_some());
    assert_eq!(
        String::from_utf8_lossy(&done.stderr),
        "",
        "no progress where nobody watches"
    );
    let done = gateway.command(&["session", "sweep"], "");
    assert_eq!(String::from_utf8_lossy(&done.stdout), "0 expired sessions removed.\n");
    assert_eq!(in_ours("SELECT count(*) FROM sessions"), "5");
    assert_eq!(
        in_ours("SELECT removed, by_hand FROM sweeps ORDER BY id"),
        "1200|t\n0|t"
    );
}
