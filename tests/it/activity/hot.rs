//! Touches are HOT updates: no index is written for them, and the table does not grow.

use crate::support::postgres::Postgres;
use crate::support::store::{Opened, add, postgres_settings, user};
use portcullis::model::{Digest, Timestamp};
use portcullis::store::{Place, Touch, Touched};
use secrecy::ExposeSecret;
use std::time::Duration;

const SESSIONS: u32 = 10_000;
const MINUTE: Duration = Duration::from_mins(1);
const IDLE: Duration = Duration::from_hours(12);
/// 2026-01-01T00:30:00Z.
const START: Timestamp = Timestamp::from_micros(1_767_227_400_000_000);

fn url(opened: &Opened) -> String {
    let Place::Postgres { url, .. } = &opened.settings.place else {
        panic!("not Postgres")
    };
    url.expose_secret().to_owned()
}

fn sql(server: &Server, sql: &str) -> String {
    let sql = format!("SET search_path TO \"Port\"\"cullis\"; {sql}");
    server.postgres.sql(&url(&server.opened), &sql)
}

/// A server of its own: a long transaction anywhere in a cluster keeps old versions of rows from making room.
struct Server {
    postgres: Postgres,
    opened: Opened,
}

impl Server {
    async fn start() -> Self {
        let postgres = Postgres::private();
        let opened = Opened::with(postgres_settings(&postgres.database())).await;
        Self { postgres, opened }
    }
}

/// Neighbours on the pages, as those are who sign in one after the other.
async fn sign_in_many(server: &Server) -> Vec<Digest> {
    let ann = user("ann");
    add(&*server.opened.store, &ann).await;
    let agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36";
    sql(
        server,
        &format!(
            "INSERT INTO sessions (digest, public_id, user_id, created_at, authenticated_at, last_seen_at, expires_at,
                ends_at, sweep_at, remembered, methods, user_agent, device, first_address, last_address)
             SELECT sha256(n::text::bytea), gen_random_uuid(), '{}', t, t, t, t + interval '12h', t + interval '7d',
                date_trunc('hour', t) + interval '13h', false, 'pwd', '{agent}', 'Chrome on Linux', '192.0.2.7',
                '192.0.2.7'
             FROM generate_series(1, {SESSIONS}) n, (SELECT timestamptz '2026-01-01T00:30:00Z' AS t) t;
             ANALYZE sessions",
            ann.id.0
        ),
    );
    let text = sql(server, "SELECT encode(digest, 'hex') FROM sessions ORDER BY digest");
    let digests = text.lines().map(|line| {
        let bytes = hex_bytes(line);
        Digest(bytes.try_into().expect("32 bytes"))
    });
    digests.collect()
}

fn hex_bytes(text: &str) -> Vec<u8> {
    let pair = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
    (0..text.len()).step_by(2).map(pair).collect()
}

/// Updates so far, and those among them that were HOT.
fn updates(server: &Server) -> (u64, u64) {
    let text = sql(
        server,
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'sessions'",
    );
    let (all, hot) = text.split_once('|').expect("two numbers");
    (all.parse().expect("a number"), hot.parse().expect("a number"))
}

/// Waits until the server has counted them all.
async fn counted(server: &Server, expected: u64) -> (u64, u64) {
    server
        .opened
        .store
        .close()
        .await
        .expect("the connections close: their counts are written then");
    let begun = std::time::Instant::now();
    loop {
        let found = updates(server);
        if found.0 >= expected {
            return found;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "{found:?} of {expected} updates were counted"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Each session once a minute for half an hour, over a full hour, in bursts: all at once, in batches as the gateway
/// writes them.
#[tokio::test]
async fn touches_in_bursts_are_hot_updates() {
    let server = Server::start().await;
    let digests = sign_in_many(&server).await;
    let size = || {
        sql(&server, "SELECT pg_total_relation_size('sessions')")
            .parse::<u64>()
            .expect("a number")
    };
    let before = size();
    let rounds = 32_u32;
    for round in 1..=rounds {
        let seen_at = START.plus(round * MINUTE);
        let touches: Vec<Touch> = digests
            .iter()
            .map(|digest| Touch {
                digest: *digest,
                seen_at,
                expires_at: seen_at.plus(IDLE),
                known_end: START.plus(IDLE),
                address: Some([192, 0, 2, 7].into()),
            })
            .collect();
        for batch in touches.chunks(500) {
            let outcomes = server
                .opened
                .store
                .touch_sessions(batch, MINUTE)
                .await
                .expect("they are written");
            assert!(
                outcomes.iter().all(|outcome| *outcome == Touched::Written),
                "round {round}"
            );
        }
    }
    let after = size();
    let (all, hot) = counted(&server, u64::from(SESSIONS * rounds)).await;
    println!("{hot} of {all} touches HOT, table and indexes {before} bytes before and {after} after");
    assert!(hot * 10 >= all * 9, "only {hot} of {all} touches were HOT");
    assert!(
        after * 2 < before * 3,
        "table and indexes grew from {before} to {after} bytes"
    );
}

/// A session takes less than 550 bytes with all indexes.
#[tokio::test]
async fn a_session_takes_less_than_550_bytes() {
    let server = Server::start().await;
    let count = sign_in_many(&server).await.len() as u64;
    let size: u64 = sql(&server, "SELECT pg_total_relation_size('sessions')")
        .parse()
        .expect("a number");
    println!("{} bytes a session", size / count);
    assert!(size / count < 550, "{} bytes a session", size / count);
}
