//! What an operator meets on a bad day, with the real program: databases that fail in every way, full disks, stops.
//! Nobody is signed out by any of it, nothing is told to visitors that is not theirs, and what comes back needs no help.

use crate::support::client::{Client, Response};
use crate::support::gateway::{Gateway, PATIENCE, PROGRAM, pause};
use crate::support::postgres::Postgres;
use crate::support::stage::{self, HOST, PASSWORD, ROUTES, USER};
use crate::support::upstream::Upstream;
use sqlx::{Connection, Executor, PgConnection};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A cached session is believed for a tenth of a second, so that a test need not wait for its bound.
fn on_postgres(url: &str, app: &str) -> String {
    let top = format!(
        "[store]\nurl = \"{url}\"\ncall_timeout = \"1s\"\n\
         [session]\nsecrets = [\"0123456789abcdef0123456789abcdef\"]\n\
         [cache]\nmax_age_without_feed = \"100ms\"\n"
    );
    stage::config(&top, ROUTES, app)
}

async fn connect(gateway: &Gateway) -> Client {
    Client::tls(gateway.address(0), HOST, &gateway.ca()).await
}

async fn signed_in(gateway: &Gateway) -> String {
    gateway.add_user(USER, PASSWORD, &[]);
    format!("Cookie: {}", connect(gateway).await.sign_in(HOST, USER, PASSWORD).await)
}

/// Asks until the answer has this status.
async fn until(gateway: &Gateway, target: &str, lines: &[&str], status: u16, why: &str) -> Response {
    let started = Instant::now();
    loop {
        let answer = connect(gateway).await.get(HOST, target, lines).await;
        if answer.status == status {
            return answer;
        }
        assert!(
            started.elapsed() < PATIENCE,
            "{why}: still {}: {}",
            answer.status,
            answer.text()
        );
        pause();
    }
}

async fn ready(gateway: &Gateway) -> Response {
    Client::plain(gateway.admin())
        .await
        .get("localhost", "/readyz", &[])
        .await
}

async fn metric(gateway: &Gateway, line: &str) -> f64 {
    let text = Client::plain(gateway.admin())
        .await
        .get("localhost", "/metrics", &[])
        .await
        .text();
    let value = text
        .lines()
        .find_map(|each| each.strip_prefix(line))
        .unwrap_or_else(|| panic!("no {line}in {text}"));
    value.trim().parse().expect("a number")
}

/// Everything that an outage may not do to somebody who is signed in.
pub async fn assert_nobody_is_punished(gateway: &Gateway, cookie: &str, why: &str) {
    const JSON: &str = "Accept: application/json";
    const PAGE: &str = "Accept: text/html";
    const SAME: &str = "Sec-Fetch-Site: same-origin";
    const SENT: &str = "Content-Type: application/json";
    let login = serde_json::json!({ "username": USER, "password": PASSWORD }).to_string();
    for (method, target, lines, body, status) in [
        ("GET", "/", vec![cookie, PAGE], "", 503),
        ("GET", "/", vec![cookie, JSON], "", 503),
        ("GET", "/optional", vec![cookie], "", 503),
        ("GET", "/.portcullis/me", vec![cookie, PAGE], "", 503),
        ("GET", "/.portcullis/session", vec![cookie], "", 503),
        ("POST", "/.portcullis/logout", vec![cookie, SENT, SAME], "", 503),
        (
            "POST",
            "/.portcullis/login",
            vec![SENT, SAME, JSON],
            login.as_str(),
            503,
        ),
        ("GET", "/", vec![JSON], "", 401),
        ("GET", "/", vec![PAGE], "", 302),
        ("GET", "/public", vec![cookie], "", 200),
    ] {
        let answer = connect(gateway)
            .await
            .request(method, HOST, target, &lines, body.as_bytes())
            .await;
        let text = answer.text();
        assert_eq!(answer.status, status, "{why}: {method} {target} {lines:?}: {text}");
        assert_eq!(answer.value("retry-after").is_some(), status == 503, "{why}: {target}");
        let cookies = answer.values("set-cookie");
        assert!(
            cookies.iter().all(|line| !line.contains("portcullis=")),
            "{why}: {target} touched the cookie"
        );
        for word in [
            "postgres",
            "sqlx",
            "sqlite",
            "database",
            "sessions\"",
            "os error",
            "127.0.0.1",
        ] {
            assert!(
                !text.to_lowercase().contains(word),
                "{why}: {target} says {word}: {text}"
            );
        }
    }
}

/// Breaks the database or mends it.
type Change<'a> = &'a dyn Fn();

#[tokio::test]
async fn every_failure_of_postgres_is_503_and_passes_by_itself() {
    let server = Postgres::private();
    let url = server.database();
    let database = url.rsplit('/').next().expect("a name").to_owned();
    let app = Upstream::hello();
    let gateway = Gateway::start(&on_postgres(&url, &app.url()));
    let cookie = signed_in(&gateway).await;
    let ask = [cookie.as_str(), "Accept: application/json"];
    let on_all = |sql: &str| _ = server.sql("postgres", sql);
    let on_ours = |sql: &str| _ = server.sql(&url, sql);
    let close = format!(
        "ALTER DATABASE {database} ALLOW_CONNECTIONS false;
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"
    );
    let reopen = format!("ALTER DATABASE {database} ALLOW_CONNECTIONS true");
    let table = |from: &str, to: &str| on_ours(&format!("ALTER TABLE portcullis.{from} RENAME TO {to}"));
    let schema = |from: &str, to: &str| on_ours(&format!("ALTER SCHEMA {from} RENAME TO {to}"));
    let faults: [(&str, Change<'_>, Change<'_>); 7] = [
        ("stopped", &|| server.stop(), &|| server.start()),
        ("killed", &|| server.kill(), &|| server.start()),
        ("frozen", &|| server.freeze(), &|| server.thaw()),
        ("closed", &|| on_all(&close), &|| on_all(&reopen)),
        ("no table", &|| table("sessions", "gone"), &|| table("gone", "sessions")),
        ("no users", &|| table("users", "gone"), &|| table("gone", "users")),
        ("no schema", &|| schema("portcullis", "gone"), &|| {
            schema("gone", "portcullis");
        }),
    ];
    for (why, breaks, mends) in faults {
        until(&gateway, "/", &ask, 200, why).await;
        breaks();
        until(&gateway, "/", &ask, 503, why).await;
        assert_nobody_is_punished(&gateway, &cookie, why).await;
        let ready = ready(&gateway).await.status;
        assert_eq!(ready, 200, "{why}: cached sessions go on, so it stays ready");
        mends();
        until(&gateway, "/", &ask, 200, why).await;
        connect(&gateway).await.sign_in(HOST, USER, PASSWORD).await;
    }
    let unavailable = r#"portcullis_session_lookups_total{source="native",result="unavailable"}"#;
    assert!(metric(&gateway, unavailable).await >= 7.0);
    // The outage is told with its reason, once, and not with every request.
    let log = gateway.log();
    let missing = r#"relation \"portcullis.sessions\" does not exist"#;
    assert!(log.contains(missing), "{log}");
    let told = log.matches("sessions cannot be looked up").count();
    assert!((7..=14).contains(&told), "{told} times: {log}");
}

#[tokio::test]
async fn a_locked_table_is_an_outage_too_and_passes_with_the_lock() {
    let url = Postgres::shared().database();
    let app = Upstream::hello();
    let gateway = Gateway::start(&on_postgres(&url, &app.url()));
    let cookie = signed_in(&gateway).await;
    let mut connection = PgConnection::connect(&url).await.expect("a connection");
    let lock = "BEGIN; LOCK TABLE portcullis.sessions IN ACCESS EXCLUSIVE MODE";
    connection.execute(lock).await.expect("a lock");
    until(&gateway, "/", &[&cookie], 503, "locked").await;
    assert_nobody_is_punished(&gateway, &cookie, "locked").await;
    connection.execute("ROLLBACK").await.expect("no lock");
    until(&gateway, "/", &[&cookie], 200, "locked").await;
}

#[tokio::test]
async fn a_read_only_database_lets_sessions_go_on_and_says_what_was_not_done() {
    let server = Postgres::private();
    let url = server.database();
    let database = url.rsplit('/').next().expect("a name").to_owned();
    let app = Upstream::hello();
    let gateway = Gateway::start(&on_postgres(&url, &app.url()));
    let cookie = signed_in(&gateway).await;
    let lines = [
        cookie.as_str(),
        "Accept: application/json",
        "Content-Type: application/json",
        "Sec-Fetch-Site: same-origin",
    ];
    let read_only = |on: bool| {
        server.sql(
            "postgres",
            &format!(
                "ALTER DATABASE {database} SET default_transaction_read_only = {on};
                 SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"
            ),
        );
    };
    read_only(true);
    for _ in 0..3 {
        until(&gateway, "/", &lines, 200, "reading goes on").await;
        let mut client = connect(&gateway).await;
        let logout = client.request("POST", HOST, "/.portcullis/logout", &lines, b"").await;
        assert_eq!(logout.status, 503, "{}", logout.text());
        let login = serde_json::json!({ "username": USER, "password": PASSWORD }).to_string();
        let login = client
            .request("POST", HOST, "/.portcullis/login", &lines[1..], login.as_bytes())
            .await;
        assert_eq!(login.status, 503, "{}", login.text());
        assert!(login.values("set-cookie").is_empty() && logout.values("set-cookie").is_empty());
    }
    gateway.wait_for_log("read-only transaction");
    read_only(false);
    let started = Instant::now();
    while connect(&gateway)
        .await
        .request("POST", HOST, "/.portcullis/logout", &lines, b"")
        .await
        .status
        != 204
    {
        assert!(started.elapsed() < PATIENCE, "writing did not come back");
        pause();
    }
    until(&gateway, "/", &lines, 401, "signed out").await;
}

#[tokio::test]
async fn a_gateway_whose_database_comes_late_comes_up_by_itself() {
    let server = Postgres::private();
    let app = Upstream::hello();
    let config = on_postgres(&server.database(), &app.url());
    let folder = Arc::new(tempfile::tempdir().expect("a folder"));
    let gateway = Gateway::try_start_in(&folder, &config, &[]).expect("it starts");
    let cookie = signed_in(&gateway).await;
    assert_eq!(gateway.terminate().status.code(), Some(0));
    server.stop();

    let gateway = Gateway::try_start_in(&folder, &config, &[]).expect("it starts without its database");
    let answer = ready(&gateway).await;
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (503, "the database has not been reached yet")
    );
    assert_nobody_is_punished(&gateway, &cookie, "not there yet").await;
    let log = gateway.log();
    assert!(
        log.contains("not ready until it can") && log.contains("Connection refused"),
        "{log}"
    );
    server.start();
    until(&gateway, "/", &[&cookie], 200, "it came").await;
    assert_eq!(ready(&gateway).await.status, 200);
    gateway.wait_for_log("the database was reached; ready");
}

#[test]
fn a_start_that_needs_its_database_names_the_one_it_could_not_reach() {
    let server = Postgres::private();
    let url = server.database();
    server.stop();
    let config = on_postgres(&url, "http://127.0.0.1:1").replace("[store]", "[store]\nrequired_at_start = true");
    let end = Gateway::try_start(&config).err().expect("it does not start");
    assert_eq!(end.code, Some(1));
    let lines: Vec<&str> = end.stderr.lines().filter(|line| !line.starts_with('{')).collect();
    let named = format!(
        "error: the database cannot be reached (postgres 127.0.0.1:{}/",
        server.port()
    );
    assert!(lines[0].starts_with(&named), "{}", end.stderr);
    assert_eq!(end.stderr.matches("Connection refused").count(), 1, "{}", end.stderr);
}

/// What `ulimit -f` does to every file: the next byte fails as on a full disk.
fn start_on_a_small_disk(folder: &Arc<TempDir>, config: &str, blocks: u32) -> Gateway {
    std::fs::write(folder.path().join("portcullis.toml"), config).expect("the configuration is written");
    let mut command = Command::new("sh");
    command.args([
        "-c",
        &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" run --json --config portcullis.toml"),
        PROGRAM,
    ]);
    Gateway::spawn(command, folder).unwrap_or_else(|end| panic!("it ended:\n{}", end.stderr))
}

#[tokio::test]
async fn a_full_disk_refuses_what_it_cannot_keep_and_says_why_in_the_log() {
    let app = Upstream::hello();
    let folder = Arc::new(tempfile::tempdir().expect("a folder"));
    let config = stage::config("[log]\naccess = false\n", ROUTES, &app.url());
    let gateway = start_on_a_small_disk(&folder, &config, 600);
    let cookie = signed_in(&gateway).await;
    let login = serde_json::json!({ "username": USER, "password": PASSWORD }).to_string();
    let lines = [
        "Content-Type: application/json",
        "Accept: application/json",
        "Sec-Fetch-Site: same-origin",
    ];
    let started = Instant::now();
    let refused = loop {
        let mut client = connect(&gateway).await;
        let answer = client
            .request("POST", HOST, "/.portcullis/login", &lines, login.as_bytes())
            .await;
        if answer.status != 200 {
            break answer;
        }
        assert!(started.elapsed() < PATIENCE, "the disk never filled");
    };
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.value("retry-after").is_some() && refused.values("set-cookie").is_empty());
    // The attempt is counted first, and that was not possible.
    gateway.wait_for_log("disk I/O error");
    let log = gateway.log();
    // `ulimit` fails a write where a disk that is full fails it with another number; both are told.
    assert!(
        log.contains("the database refused a statement on ") && log.contains("disk I/O error"),
        "the cause is told: {log}"
    );
    // Who is signed in goes on; a log-out that cannot be kept is not reported as done.
    for _ in 0..20 {
        let mut client = connect(&gateway).await;
        assert_eq!(client.get(HOST, "/", &[&cookie]).await.status, 200);
        let mut leaving = lines.to_vec();
        leaving.push(&cookie);
        let answer = client.request("POST", HOST, "/.portcullis/logout", &leaving, b"").await;
        assert_eq!(answer.status, 503, "{}", answer.text());
    }
    assert_eq!(ready(&gateway).await.status, 200);
    // With room again nothing was lost.
    assert_eq!(gateway.terminate().status.code(), Some(0));
    let gateway = Gateway::try_start_in(&folder, &config, &[]).expect("it starts again");
    until(&gateway, "/", &[&cookie], 200, "nothing was lost").await;
}

#[tokio::test]
async fn an_access_log_that_cannot_be_written_is_counted_and_stops_nothing() {
    let app = Upstream::hello();
    let gateway = Gateway::start(&stage::config(
        "[log]\naccess_file = \"/dev/full\"\n",
        ROUTES,
        &app.url(),
    ));
    let mut client = connect(&gateway).await;
    for _ in 0..20 {
        assert_eq!(client.get(HOST, "/public", &[]).await.status, 200);
    }
    let started = Instant::now();
    while metric(&gateway, "portcullis_access_lines_lost_total").await < 20.0 {
        assert!(started.elapsed() < PATIENCE, "lost lines are not counted");
        pause();
    }
}

#[tokio::test]
async fn a_database_file_that_is_none_ends_the_start_with_its_name() {
    let folder = Arc::new(tempfile::tempdir().expect("a folder"));
    let text = "certainly no database, but long enough to be looked at ".repeat(100);
    std::fs::write(folder.path().join("notes.txt"), text).expect("a file");
    let config = stage::config("[store]\nurl = \"sqlite://notes.txt\"\n", ROUTES, "http://127.0.0.1:1");
    let end = Gateway::try_start_in(&folder, &config, &[])
        .err()
        .expect("it does not start");
    assert_eq!(end.code, Some(1), "{}", end.stderr);
    assert!(
        end.stderr.contains("notes.txt") && end.stderr.contains("not a database"),
        "{}",
        end.stderr
    );
}

#[tokio::test]
async fn a_stop_is_told_to_balancers_first_and_answers_finish() {
    let app = Upstream::hello();
    let top = "[life]\ndrain_delay = \"2s\"\ndrain_timeout = \"5s\"\nstream_grace = \"1s\"\n";
    let gateway = Gateway::start(&stage::config(top, ROUTES, &app.url()));
    assert_eq!(ready(&gateway).await.status, 200);
    gateway.signal("TERM");
    // `timeout` and some supervisors signal twice in one breath.
    gateway.signal("TERM");
    gateway.wait_for_log("stopping");
    let answer = ready(&gateway).await;
    assert_eq!((answer.status, answer.text().as_str()), (503, "draining"));
    let answer = connect(&gateway).await.get(HOST, "/public", &[]).await;
    assert_eq!(answer.status, 200, "listeners go on for drain_delay");
    let health = gateway.command(&["healthcheck"], "");
    assert_ne!(health.status.code(), Some(0), "a check says the same as readyz");
    let stopped = gateway.ended();
    assert_eq!(stopped.status.code(), Some(0), "{}", stopped.stderr);
    assert!(!stopped.stderr.contains("a second signal"), "{}", stopped.stderr);
    assert!(
        stopped.took >= Duration::from_millis(500),
        "it left before drain_delay was over"
    );
}

#[tokio::test]
async fn clients_are_told_that_their_connections_end_while_new_ones_are_still_taken() {
    let app = Upstream::hello();
    let top = "[life]\ndrain_delay = \"6s\"\nstream_grace = \"0s\"\n";
    let gateway = Gateway::start(&stage::config(top, ROUTES, &app.url()));
    let mut client = connect(&gateway).await;
    assert_eq!(client.get(HOST, "/public", &[]).await.value("connection"), None);
    gateway.signal("TERM");
    gateway.wait_for_log("stopping");
    let first = client.get(HOST, "/public", &[]).await;
    assert_eq!(first.value("connection"), None, "balancers have not looked yet");
    loop {
        let answer = client.get(HOST, "/public", &[]).await;
        assert_eq!(answer.status, 200);
        if answer.value("connection") == Some("close") {
            break;
        }
        pause();
    }
    assert!(client.is_closed().await);
    let late = connect(&gateway).await.get(HOST, "/public", &[]).await;
    assert_eq!((late.status, late.value("connection")), (200, Some("close")));
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let app = Upstream::hello();
    let top = "[life]\ndrain_delay = \"50s\"\n";
    let gateway = Gateway::start(&stage::config(top, ROUTES, &app.url()));
    gateway.signal("TERM");
    gateway.wait_for_log("stopping");
    let told = Instant::now();
    while told.elapsed() < Duration::from_millis(400) {
        pause();
    }
    gateway.signal("INT");
    let stopped = gateway.ended();
    assert!(stopped.took < Duration::from_secs(20), "{:?}", stopped.took);
    assert!(stopped.stderr.contains("a second signal"), "{}", stopped.stderr);
}
