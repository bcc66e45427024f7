use super::{SCRIPT, config, get, hello, memory, metric};
use crate::support::client::Client;
use crate::support::fleet::SEEN;
use crate::support::gateway::{Gateway, PATIENCE, pause};
use crate::support::postgres::Postgres;
use crate::support::stage::HOST;
use crate::support::upstream::Upstream;
use crate::support::usher::{Forger, Usher};
use sqlx::{Connection, Executor, PgConnection};
use std::time::{Duration, Instant};

const FOUND: &str = r#"portcullis_session_lookups_total{source="native",result="found"}"#;
const ABSENT: &str = r#"portcullis_session_lookups_total{source="native",result="absent"}"#;
const QUESTIONS: &str = "portcullis_session_lookup_duration_seconds_count";
const WAITING: &str = "portcullis_session_lookups_waiting";

/// A gateway that believes answers for a minute, and keeps few.
fn gateway(url: &str) -> (Upstream, Gateway) {
    let app = hello();
    let config = config(url, "1m", "1m", &app.url()).replace("[cache]\n", "[cache]\ncapacity = 1000\n");
    let gateway = Gateway::start(&config);
    // When it begins to hear of changes, it asks for everything anew.
    gateway.wait_for_log(SEEN);
    (app, gateway)
}

/// A table of sessions that nobody else can use until this is dropped.
async fn lock(url: &str) -> PgConnection {
    let mut connection = PgConnection::connect(url).await.expect("a connection");
    let lock = "BEGIN; LOCK TABLE portcullis.sessions IN ACCESS EXCLUSIVE MODE";
    connection.execute(lock).await.expect("a lock");
    connection
}

/// Sends one request for each cookie on one connection, and tells how many were answered with each of the two.
async fn send(gateway: &Gateway, cookies: impl Iterator<Item = String>, expected: u16) {
    let mut client = Client::plain(gateway.address(1)).await;
    for cookie in cookies {
        let answer = client.get(HOST, "/", &[&cookie, SCRIPT]).await;
        assert_eq!(answer.status, expected, "{}", answer.text());
    }
}

#[tokio::test]
async fn a_flood_of_invented_cookies_neither_disturbs_nor_evicts_who_is_signed_in() {
    const CONNECTIONS: u64 = 8;
    const EACH: u64 = 400;
    let url = Postgres::shared().database();
    let (_app, gateway) = gateway(&url);
    let (usher, forger) = (Usher::on(&url).await, Forger::new().await);
    let live = usher.sign_in_many(20).await;
    for cookie in &live {
        assert_eq!(get(&gateway, "/", &[cookie]).await.status, 200);
    }
    let (found, absent) = (metric(&gateway, FOUND).await, metric(&gateway, ABSENT).await);
    let before = memory(&gateway);
    let users = || async {
        for _ in 0..10 {
            for cookie in &live {
                assert_eq!(get(&gateway, "/", &[cookie]).await.status, 200);
            }
        }
    };
    let of = |connection: u64| connection * EACH..(connection + 1) * EACH;
    let signed = (0..CONNECTIONS).map(|number| send(&gateway, of(number).map(|n| forger.cookie(n)), 401));
    let started = Instant::now();
    tokio::join!(futures_util::future::join_all(signed), users());
    println!("{} well-signed cookies in {:?}", CONNECTIONS * EACH, started.elapsed());
    let asked = metric(&gateway, ABSENT).await - absent;
    assert_eq!(asked, CONNECTIONS * EACH, "each was asked for once");
    let unsigned = (0..CONNECTIONS).map(|number| send(&gateway, of(number).map(Forger::unsigned), 401));
    tokio::join!(futures_util::future::join_all(unsigned), users());
    assert_eq!(
        metric(&gateway, ABSENT).await - absent,
        asked,
        "nobody asks for what we did not sign"
    );
    assert_eq!(metric(&gateway, FOUND).await, found, "who was known stayed known");
    let after = memory(&gateway);
    assert!(after < before + 64, "{before} MiB, then {after} MiB");
}

#[tokio::test]
async fn a_thousand_strangers_at_once_are_few_questions_and_a_user_among_them_is_served() {
    let url = Postgres::shared().database();
    let (_app, gateway) = gateway(&url);
    let (usher, forger) = (Usher::on(&url).await, Forger::new().await);
    let cookie = usher.sign_in().await;
    let questions = metric(&gateway, QUESTIONS).await;
    let locked = lock(&url).await;
    let strangers = (0..1000).map(|number| send(&gateway, std::iter::once(forger.cookie(number)), 401));
    let strangers = futures_util::future::join_all(strangers);
    let somebody = async {
        while metric(&gateway, WAITING).await < 900 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let lines = [cookie.as_str()];
        let asked = get(&gateway, "/", &lines);
        let release = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            drop(locked);
        };
        let (answer, ()) = tokio::join!(asked, release);
        assert_eq!(answer.status, 200);
    };
    tokio::time::timeout(PATIENCE, async { tokio::join!(strangers, somebody) })
        .await
        .expect("everybody is answered");
    let asked = metric(&gateway, QUESTIONS).await - questions;
    println!("1,001 sessions in {asked} questions");
    assert!(asked <= 60, "{asked} questions");
    assert_eq!(metric(&gateway, WAITING).await, 0);
}

#[tokio::test]
async fn a_hundred_misses_of_one_cookie_are_one_question() {
    let url = Postgres::shared().database();
    let (_app, gateway) = gateway(&url);
    let cookie = Usher::on(&url).await.sign_in().await;
    let questions = metric(&gateway, QUESTIONS).await;
    let locked = lock(&url).await;
    let lines = [cookie.as_str()];
    let all = futures_util::future::join_all((0..100).map(|_| get(&gateway, "/", &lines)));
    let release = async {
        while metric(&gateway, WAITING).await == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        drop(locked);
    };
    let (answers, ()) = tokio::join!(all, release);
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(metric(&gateway, QUESTIONS).await - questions, 1);
}

#[tokio::test]
async fn a_log_out_whose_browser_went_away_is_carried_out() {
    let url = Postgres::shared().database();
    let (_app, gateway) = gateway(&url);
    let cookie = Usher::on(&url).await.sign_in().await;
    assert_eq!(get(&gateway, "/", &[&cookie]).await.status, 200);
    let locked = lock(&url).await;
    let mut client = Client::plain(gateway.address(1)).await;
    let request = format!(
        "POST /.portcullis/logout HTTP/1.1\r\nHost: {HOST}\r\n{cookie}\r\nSec-Fetch-Site: same-origin\r\n\
         Content-Type: application/json\r\nContent-Length: 0\r\n\r\n"
    );
    client.send(request.as_bytes()).await;
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let started = Instant::now();
    while Postgres::shared().sql(&url, waits) == "0" {
        assert!(started.elapsed() < PATIENCE, "the log-out was never asked for");
        pause();
    }
    drop(client);
    drop(locked);
    let started = Instant::now();
    while Postgres::shared().sql(&url, "SELECT count(*) FROM portcullis.sessions") != "0" {
        assert!(
            started.elapsed() < PATIENCE,
            "the log-out was given up with its browser"
        );
        pause();
    }
    assert_eq!(get(&gateway, "/", &[&cookie, SCRIPT]).await.status, 401);
}
