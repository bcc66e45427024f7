//! Outages as long as real ones, under load: what the fast suite plays in moments.

use crate::support::client::Client;
use crate::support::gateway::{Gateway, PATIENCE};
use crate::support::postgres::Postgres;
use crate::support::stage::{self, HOST, ROUTES};
use crate::support::upstream::Upstream;
use crate::support::usher::{Forger, SECRET, Usher};
use sqlx::{Connection, Executor, PgConnection};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SCRIPT: &str = "Accept: application/json";
const USERS: usize = 60;
const CALL: Duration = Duration::from_secs(2);
const SLACK: Duration = Duration::from_secs(3);

/// Answers are believed for `age`, whether changes are heard of or not.
fn config(url: &str, age: &str, app: &str) -> String {
    let top = format!(
        "[store]\nurl = \"{url}\"\n[session]\nsecrets = [\"{SECRET}\"]\n[log]\naccess = false\n\
         [cache]\ncapacity = 1000\nmax_age = \"{age}\"\nmax_age_without_feed = \"{age}\"\n"
    );
    stage::config(&top, ROUTES, app)
}

/// Resident mebibytes of a process.
fn memory(gateway: &Gateway) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).expect("the process lives");
    let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("VmRSS");
    let kib = line.split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok());
    kib.expect("a number") / 1024
}

async fn metric(gateway: &Gateway, name: &str) -> u64 {
    let mut client = Client::plain(gateway.admin()).await;
    let text = client.get("localhost", "/metrics", &[]).await.text();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("no {name} in {text}"))
}

/// What users saw.
#[derive(Default)]
struct Seen {
    statuses: Mutex<BTreeMap<u16, u64>>,
    slowest: Mutex<Duration>,
    /// When somebody was last refused.
    last_503: Mutex<Option<Instant>>,
    stop: AtomicBool,
}

impl Seen {
    fn note(&self, status: u16, took: Duration) {
        *self.statuses.lock().unwrap().entry(status).or_default() += 1;
        let mut slowest = self.slowest.lock().unwrap();
        *slowest = took.max(*slowest);
        if status == 503 {
            *self.last_503.lock().unwrap() = Some(Instant::now());
        }
    }

    fn slowest(&self) -> Duration {
        *self.slowest.lock().unwrap()
    }

    fn statuses(&self) -> BTreeMap<u16, u64> {
        self.statuses.lock().unwrap().clone()
    }

    fn count(&self, status: u16) -> u64 {
        self.statuses.lock().unwrap().get(&status).copied().unwrap_or(0)
    }
}

/// One user who asks ten times a second until told to stop, always with the same cookie.
async fn user(address: std::net::SocketAddr, cookie: String, seen: Arc<Seen>) {
    while !seen.stop.load(SeqCst) {
        let asked = Instant::now();
        let mut client = Client::plain(address).await;
        let answer = client.get(HOST, "/", &[&cookie, SCRIPT]).await;
        seen.note(answer.status, asked.elapsed());
        assert_eq!(answer.value("retry-after").is_some(), answer.status == 503);
        let cleared = answer
            .values("set-cookie")
            .iter()
            .any(|line| line.contains("portcullis=;"));
        assert!(
            !cleared || answer.status == 401,
            "a cookie was cleared with {}",
            answer.status
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Cookies of users who are signed in, and of some who were and signed out here.
async fn people(gateway: &Gateway, url: &str) -> (Vec<String>, Vec<String>) {
    let usher = Usher::on(url).await;
    let (live, ended) = (usher.sign_in_many(USERS).await, usher.sign_in_many(5).await);
    for cookie in &ended {
        let mut client = Client::plain(gateway.address(1)).await;
        assert_eq!(client.get(HOST, "/", &[cookie]).await.status, 200);
        let lines = [cookie.as_str(), "Sec-Fetch-Site: same-origin", SCRIPT];
        let answer = client.request("POST", HOST, "/.portcullis/logout", &lines, b"").await;
        assert_eq!(answer.status, 204, "{}", answer.text());
    }
    (live, ended)
}

/// Users who are signed in, and some who are not any more, while the database fails for `long`.
async fn outage(why: &str, long: Duration, breaks: impl AsyncFn(&Postgres, &str), mends: impl AsyncFn(&Postgres)) {
    let server = Postgres::private();
    let url = server.database();
    let app = Upstream::hello();
    let gateway = Gateway::start(&config(&url, "5s", &app.url()));
    let (live, ended) = people(&gateway, &url).await;
    let (seen, refused) = (Arc::new(Seen::default()), Arc::new(Seen::default()));
    let rows = server.sql(&url, "SELECT count(*) FROM portcullis.sessions");
    let ask =
        |cookie: &String, seen: &Arc<Seen>| tokio::spawn(user(gateway.address(1), cookie.clone(), Arc::clone(seen)));
    let mut tasks: Vec<_> = live.iter().map(|cookie| ask(cookie, &seen)).collect();
    tasks.extend(ended.iter().map(|cookie| ask(cookie, &refused)));
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = memory(&gateway);
    breaks(&server, &url).await;
    tokio::time::sleep(long).await;
    let during = memory(&gateway);
    mends(&server).await;
    let back = Instant::now();
    tokio::time::sleep(Duration::from_secs(8)).await;
    let last = (*seen.last_503.lock().unwrap()).map_or(Duration::ZERO, |at| at.saturating_duration_since(back));
    seen.stop.store(true, SeqCst);
    refused.stop.store(true, SeqCst);
    for task in tasks {
        task.await.expect("no user was wronged");
    }
    let statuses = seen.statuses();
    println!(
        "{why} for {long:?}: users {statuses:?}, ended {:?}, slowest {:?}, last 503 {last:?} after its return; \
         {before} MiB before, {during} MiB at its end",
        refused.statuses(),
        seen.slowest()
    );
    assert!(
        statuses.keys().all(|status| matches!(status, 200 | 503)),
        "{statuses:?}"
    );
    assert!(seen.count(503) > 0, "it was no outage: {statuses:?}");
    assert_eq!(refused.count(200), 0, "an ended session was let in");
    assert!(seen.slowest() < CALL + SLACK);
    assert!(last < Duration::from_secs(7), "{last:?}");
    assert!(during < before + 64, "{before} MiB, then {during} MiB");
    assert_eq!(server.sql(&url, "SELECT count(*) FROM portcullis.sessions"), rows);
    let ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'portcullis'";
    let connections: u32 = server.sql(&url, ours).parse().unwrap();
    // Eight, one for changes and one on its way out.
    assert!(connections <= 10, "{connections} connections");
    assert_eq!(metric(&gateway, "portcullis_session_lookups_waiting").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_frozen_for_half_a_minute() {
    let freeze = async |server: &Postgres, _: &str| server.freeze();
    let thaw = async |server: &Postgres| server.thaw();
    outage("frozen", Duration::from_secs(30), freeze, thaw).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_killed_and_comes_back() {
    let kill = async |server: &Postgres, _: &str| server.kill();
    let start = async |server: &Postgres| server.start();
    outage("killed", Duration::from_secs(15), kill, start).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_sessions_that_is_locked_for_ten_seconds() {
    let held = tokio::sync::Mutex::new(None);
    let lock = async |_: &Postgres, url: &str| {
        let mut connection = PgConnection::connect(url).await.unwrap();
        let lock = "BEGIN; LOCK TABLE portcullis.sessions IN ACCESS EXCLUSIVE MODE";
        connection.execute(lock).await.unwrap();
        *held.lock().await = Some(connection);
    };
    let release = async |_: &Postgres| drop(held.lock().await.take());
    outage("locked", Duration::from_secs(10), lock, release).await;
}

/// Sends requests with cookies at a constant rate over one connection, and counts the answers.
async fn flood(address: std::net::SocketAddr, cookies: Vec<String>, a_second: u64, answered: Arc<AtomicU64>) {
    let (mut read, mut write) = TcpStream::connect(address).await.unwrap().into_split();
    let all = cookies.len() as u64;
    let reader = tokio::spawn(async move {
        let (mut piece, mut rest, mut count) = (vec![0; 1 << 16], Vec::new(), 0);
        while count < all {
            let length = read.read(&mut piece).await.unwrap();
            assert!(length > 0, "the gateway closed the connection");
            rest.extend_from_slice(&piece[..length]);
            let found = memchr::memmem::find_iter(&rest, b"HTTP/1.1 401").count() as u64;
            assert_eq!(
                memchr::memmem::find_iter(&rest, b"HTTP/1.1 200").count(),
                0,
                "an invented cookie was let in"
            );
            count += found;
            answered.fetch_add(found, SeqCst);
            let keep = rest.len().min(11);
            rest.drain(..rest.len() - keep);
        }
    });
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    for some in cookies.chunks(usize::try_from(a_second / 50).unwrap().max(1)) {
        ticks.tick().await;
        let requests: Vec<String> = some
            .iter()
            .map(|cookie| format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nAccept: application/json\r\n{cookie}\r\n\r\n"))
            .collect();
        write.write_all(requests.concat().as_bytes()).await.unwrap();
    }
    reader.await.unwrap();
}

const CONNECTIONS: u64 = 100;
const RATE: u64 = 50;
const EACH: u64 = RATE * 10;
const FOUND: &str = r#"portcullis_session_lookups_total{source="native",result="found"}"#;
const ABSENT: &str = r#"portcullis_session_lookups_total{source="native",result="absent"}"#;
const QUESTIONS: &str = "portcullis_session_lookup_duration_seconds_count";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_invented_cookies_a_second() {
    let server = Postgres::private();
    let url = server.database();
    let app = Upstream::hello();
    // Nobody needs to be asked for again who is known, unless a stranger has pushed them out.
    let long = config(&url, "10m", &app.url());
    let gateway = Gateway::start(&long);
    let (usher, forger) = (Usher::on(&url).await, Forger::new().await);
    let live = usher.sign_in_many(USERS).await;
    for signed in [true, false] {
        one_flood(&gateway, &live, &forger, signed).await;
    }
}

/// Ten seconds of it, with people at work.
async fn one_flood(gateway: &Gateway, live: &[String], forger: &Forger, signed: bool) {
    let seen = Arc::new(Seen::default());
    let users: Vec<_> = live
        .iter()
        .map(|cookie| tokio::spawn(user(gateway.address(1), cookie.clone(), Arc::clone(&seen))))
        .collect();
    while metric(gateway, FOUND).await < USERS as u64 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (found, absent) = (metric(gateway, FOUND).await, metric(gateway, ABSENT).await);
    let (questions, before) = (metric(gateway, QUESTIONS).await, memory(gateway));
    let answered = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let floods: Vec<_> = (0..CONNECTIONS)
        .map(|connection| {
            let numbers = connection * EACH..(connection + 1) * EACH;
            let cookies = numbers.map(|n| if signed { forger.cookie(n) } else { Forger::unsigned(n) });
            tokio::spawn(flood(
                gateway.address(1),
                cookies.collect(),
                RATE,
                Arc::clone(&answered),
            ))
        })
        .collect();
    for flood in floods {
        tokio::time::timeout(PATIENCE, flood)
            .await
            .expect("it is answered")
            .unwrap();
    }
    let took = started.elapsed();
    seen.stop.store(true, SeqCst);
    for user in users {
        user.await.unwrap();
    }
    let asked = metric(gateway, ABSENT).await - absent;
    println!(
        "{} cookies, signed: {signed}, in {took:?} ({} a second): {asked} sessions looked up in {} questions; \
         users {:?}, slowest {:?}; {before} MiB, then {} MiB",
        answered.load(SeqCst),
        u128::from(CONNECTIONS * EACH) * 1000 / took.as_millis(),
        metric(gateway, QUESTIONS).await - questions,
        seen.statuses(),
        seen.slowest(),
        memory(gateway)
    );
    assert!(asked <= if signed { CONNECTIONS * EACH } else { 0 });
    assert_eq!(
        metric(gateway, FOUND).await,
        found,
        "somebody who is signed in was pushed out"
    );
    assert_eq!(seen.statuses().keys().copied().collect::<Vec<_>>(), [200]);
    assert!(memory(gateway) < before + 96);
}
