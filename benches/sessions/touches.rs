//! What activity costs the database: the real program in front of an application, 3,000 requests a second over 10,000
//! sessions at random.

use super::Bench;
use super::memory::resident;
use portcullis::clock::Clock;
use portcullis::session::CacheSettings;
use portcullis::session::CookieSettings;
use portcullis::session::Login;
use portcullis::session::SameSite;
use portcullis::session::Secure;
use portcullis::session::Sessions;
use portcullis::session::Settings;
use portcullis::session::SweepSettings;
use portcullis::session::WhenFull;
use portcullis::telemetry::Metrics;
use secrecy::ExposeSecret;
use secrecy::SecretSlice;
use sqlx::PgConnection;
use sqlx::Row;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

const SECRET: &str = "a secret for figures only, of more than 32 bytes";
const ACTIVE: usize = 10_000;
const A_SECOND: u64 = 3_000;
const CONNECTIONS: u64 = 30;

/// As the reference configuration has it, with a cookie that plain http carries.
pub(super) fn settings() -> Settings {
    Settings {
        secrets: vec![SecretSlice::from(SECRET.as_bytes().to_vec())],
        cookie: CookieSettings {
            name: "portcullis".to_owned(),
            domains: Vec::new(),
            secure: Secure::Auto,
            same_site: SameSite::Lax,
            token_prefix: String::new(),
        },
        idle_timeout: Duration::from_hours(12),
        lifetime: Duration::from_hours(7 * 24),
        remember_lifetime: Some(Duration::from_hours(30 * 24)),
        max_per_user: None,
        when_full: WhenFull::EndOldest,
        rolling: true,
        touch_interval: Duration::from_mins(1),
        sources: Vec::new(),
        sweep: SweepSettings {
            interval: Duration::from_mins(15),
            at: None,
        },
        cache: CacheSettings {
            capacity: 1_000_000,
            max_age: Duration::from_secs(30),
            max_age_without_feed: Duration::from_secs(5),
        },
    }
}

pub(super) async fn run(bench: &Bench) {
    let cookies = Arc::new(sign_in(bench).await);
    let folder = tempfile::tempdir().expect("a folder");
    let application = application().await;
    let mut gateway = gateway(bench, folder.path(), application);
    let port = listening(&mut gateway);
    let mut psql = bench.psql().await;
    let before = updates(&mut psql).await;
    let log_before = log_bytes(&mut psql).await;
    let started = Instant::now();
    let hands = (0..CONNECTIONS).map(|hand| tokio::spawn(ask(port, hand, Arc::clone(&cookies), bench.seconds)));
    let mut answered = 0;
    for hand in hands.collect::<Vec<_>>() {
        answered += hand.await.expect("answers");
    }
    let took = started.elapsed();
    let memory = resident(gateway.id());
    // What waits is written within a second; the server's statistics follow within another.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (all, hot) = updates(&mut psql).await;
    let (all, hot) = (all - before.0, hot - before.1);
    let logged = log_bytes(&mut psql).await - log_before;
    println!(
        "touches: {:.0} bytes of write-ahead log a touch",
        logged / all.max(1) as f64
    );
    println!(
        "touches: {:.0} requests a second over {ACTIVE} sessions for {:.0?}: {:.2} touches a session a minute (should be at \
         most 1), {:.1} % of them HOT (should be at least 90 %), {memory} MiB",
        answered as f64 / took.as_secs_f64(),
        took,
        all as f64 / ACTIVE as f64 / took.as_secs_f64() * 60.0,
        hot as f64 * 100.0 / all.max(1) as f64
    );
    drop(gateway.kill());
    drop(gateway.wait());
}

async fn sign_in(bench: &Bench) -> Vec<String> {
    let store = Bench::store(&bench.url).await;
    let users = store.list_users(None, None, 1_000).await.expect("users");
    let control = tokio::runtime::Handle::current();
    let sessions = Sessions::new(store, settings(), Clock::system(), control, Arc::new(Metrics::new()));
    let mut cookies = Vec::new();
    for number in 0..ACTIVE {
        let login = Login {
            user: users[number % users.len()].clone(),
            methods: vec!["pwd".to_owned()],
            remember: false,
            known_browser: true,
            user_agent: Some("Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0".to_owned()),
            address: [127, 0, 0, 1].into(),
            replaces: None,
            proven: None,
        };
        let opened = sessions.open(login).await.expect("a session");
        cookies.push(format!("portcullis={}", opened.cookie_value.expose_secret()));
    }
    cookies
}

/// Answers everything with the same two bytes.
async fn application() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (read, mut write) = stream.into_split();
                let mut lines = BufReader::new(read).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    if line.is_empty()
                        && write
                            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                            .await
                            .is_err()
                    {
                        return;
                    }
                }
            });
        }
    });
    port
}

fn gateway(bench: &Bench, folder: &Path, application: u16) -> Child {
    let file = folder.join("portcullis.toml");
    let text = format!(
        r#"
data_dir = "data"
[store]
url = "{}"
[session]
secrets = ["{SECRET}"]
cookie = "portcullis"
secure = "auto"
[log]
access = false
[[listener]]
address = "127.0.0.1:0"
[admin]
address = "127.0.0.1:0"
[[upstream]]
name = "app"
servers = ["http://127.0.0.1:{application}"]
[[route]]
upstream = "app"
"#,
        bench.url
    );
    std::fs::write(&file, text).expect("a configuration");
    Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["run", "--json", "--config"])
        .arg(file)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the gateway starts")
}

/// The port that the gateway says it listens on.
fn listening(gateway: &mut Child) -> u16 {
    let mut line = String::new();
    let mut out = std::io::BufReader::new(gateway.stdout.take().expect("a pipe"));
    std::io::BufRead::read_line(&mut out, &mut line).expect("a line");
    let said: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    let url = said["listeners"][0].as_str().expect("a listener");
    url.rsplit(':')
        .next()
        .and_then(|port| port.trim_end_matches('/').parse().ok())
        .expect("a port")
}

/// One connection's share of the requests, at an even pace; how many were answered with 200.
async fn ask(port: u16, hand: u64, cookies: Arc<Vec<String>>, seconds: u64) -> u64 {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("a connection");
    stream.set_nodelay(true).expect("no delay");
    let mut pace = tokio::time::interval(Duration::from_micros(1_000_000 * CONNECTIONS / A_SECOND));
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    let mut random = hand.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut buffer = vec![0; 4096];
    let (mut answered, started) = (0, Instant::now());
    while started.elapsed() < Duration::from_secs(seconds) {
        pace.tick().await;
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let cookie = &cookies[usize::try_from(random % ACTIVE as u64).expect("small")];
        let request = format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nCookie: {cookie}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("a request is sent");
        let mut filled = 0;
        while !buffer[..filled].ends_with(b"\r\n\r\nok") {
            let read = stream.read(&mut buffer[filled..]).await.expect("an answer");
            assert!(
                read > 0,
                "the gateway closed: {}",
                String::from_utf8_lossy(&buffer[..filled])
            );
            filled += read;
        }
        assert!(buffer.starts_with(b"HTTP/1.1 200"), "an answer of the application");
        answered += 1;
    }
    answered
}

/// How much write-ahead log there was since the server was made.
pub(super) async fn log_bytes(psql: &mut PgConnection) -> f64 {
    let row = sqlx::query("SELECT (pg_current_wal_lsn() - '0/0')::float8 AS bytes").fetch_one(psql);
    row.await.expect("a place in the log").get("bytes")
}

/// Rows of sessions updated since the server started, and how many of them in place.
async fn updates(psql: &mut PgConnection) -> (i64, i64) {
    sqlx::query("SELECT pg_stat_clear_snapshot()")
        .execute(&mut *psql)
        .await
        .expect("fresh statistics");
    let row = sqlx::query(
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relid = 'portcullis.sessions'::regclass",
    )
    .fetch_one(psql)
    .await
    .expect("statistics");
    (row.get(0), row.get(1))
}
