//! Three instances behind a load balancer, each of them restarted in turn, while people go on; and two versions of the
//! program on one database.

use crate::support::balancer::Balancer;
use crate::support::client::Client;
use crate::support::gateway::{Gateway, PATIENCE};
use crate::support::postgres::Postgres;
use crate::support::stage::{HOST, PASSWORD, USER};
use crate::support::upstream::{Reply, Upstream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::time::MissedTickBehavior;

/// Requests a second that all people together send all along.
const LOAD: u32 = 500;
/// People, each with a session and a connection of their own.
const PEOPLE: u32 = 20;
/// People who have a WebSocket open as well.
const WATCHERS: usize = 5;
const INSTANCES: usize = 3;

/// A gateway on `database`, told to let go of its clients within moments.
fn config(database: &str, app: &Upstream) -> String {
    format!(
        r#"
[store]
url = "{database}"

[session]
secrets = ["0123456789abcdef0123456789abcdef"]
cookie = "portcullis"
secure = "auto"
max_per_user = "unlimited"

[portal]
unsafe_plain_login = true

[life]
drain_delay = "2s"
stream_grace = "500ms"
drain_timeout = "20s"

[[listener]]
address = "127.0.0.1:0"

[admin]
address = "127.0.0.1:0"

[[upstream]]
name = "app"
servers = ["{}"]

[[route]]
name = "app"
host = "{HOST}"
upstream = "app"
"#,
        app.url()
    )
}

/// Says who asked, or echoes on WebSockets.
fn app() -> Upstream {
    Upstream::start(|request| {
        if request.values("upgrade").is_empty() {
            Reply::text(&request.values("x-forwarded-user").join(","))
        } else {
            Reply::WebSocketEcho
        }
    })
}

/// What all people share.
struct Crowd {
    balancer: Balancer,
    answered: AtomicUsize,
    reopened: AtomicUsize,
    over: AtomicBool,
}

impl Crowd {
    /// Sends requests at a steady pace until it is over; every one of them must be answered to its user. A connection is
    /// used until an answer says that it ends.
    async fn visit(self: Arc<Self>, cookie: String) {
        let line = format!("Cookie: {cookie}");
        let mut pace = tokio::time::interval(Duration::from_secs(1) * PEOPLE / LOAD);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut connection = None;
        for number in 0_usize.. {
            pace.tick().await;
            if self.over.load(Relaxed) {
                return;
            }
            let mut client = match connection.take() {
                Some(client) => client,
                None => Client::plain(self.balancer.address()).await,
            };
            // A balancer could send a GET again; a POST it could not.
            let (method, body) = if number.is_multiple_of(4) {
                ("POST", "some text")
            } else {
                ("GET", "")
            };
            let lines = [line.as_str(), "Accept: application/json", "Sec-Fetch-Site: same-origin"];
            let answer = client.request(method, HOST, "/page", &lines, body.as_bytes()).await;
            assert_eq!((answer.status, answer.text().as_str()), (200, USER), "request {number}");
            self.answered.fetch_add(1, Relaxed);
            if answer.value("connection").is_none_or(|word| word != "close") {
                connection = Some(client);
            }
        }
    }

    /// Talks through a WebSocket until it is over. One that ends says so with a Close of `going away`, and the next one
    /// opens at once with the same cookie.
    async fn watch(self: Arc<Self>, cookie: String) {
        let mut socket = self.open(&cookie).await;
        while !self.over.load(Relaxed) {
            socket.send_anyway(&[0x82, 0x82, 0, 0, 0, 0, 1, 2]).await;
            let frame = socket.exactly(4).await;
            if frame == [0x82, 2, 1, 2] {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
            assert_eq!(frame, [0x88, 2, 0x03, 0xe9], "a Close 1001");
            self.reopened.fetch_add(1, Relaxed);
            socket = self.open(&cookie).await;
        }
    }

    async fn open(&self, cookie: &str) -> Client {
        let mut client = Client::plain(self.balancer.address()).await;
        let head = format!(
            "GET /ws HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nCookie: {cookie}\r\n\r\n"
        );
        client.send(head.as_bytes()).await;
        let answer = client.head().await;
        assert_eq!(answer.status, 101, "a WebSocket opens");
        client
    }

    /// Waits until so many instances are ready, and so many more requests were answered by them.
    async fn until_ready(&self, count: usize, more: usize) {
        let started = Instant::now();
        let before = self.answered.load(Relaxed);
        while self.balancer.ready() != count || self.answered.load(Relaxed) < before + more {
            assert!(started.elapsed() < PATIENCE, "{count} instances should be ready");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn start(config: &str, balancer: &Balancer) -> Gateway {
    let gateway = Gateway::start(config);
    balancer.join(gateway.address(0), gateway.admin());
    gateway
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn instances_are_restarted_one_by_one_and_nobody_notices() {
    let (database, app) = (Postgres::shared().database(), app());
    let config = config(&database, &app);
    let crowd = Arc::new(Crowd {
        balancer: Balancer::start(),
        answered: AtomicUsize::new(0),
        reopened: AtomicUsize::new(0),
        over: AtomicBool::new(false),
    });
    let mut running: Vec<Gateway> = (0..INSTANCES).map(|_| start(&config, &crowd.balancer)).collect();
    running[0].add_user(USER, PASSWORD, &[]);
    crowd.until_ready(INSTANCES, 0).await;
    let mut cookies = Vec::new();
    for _ in 0..PEOPLE {
        let mut client = Client::plain(crowd.balancer.address()).await;
        cookies.push(client.sign_in(HOST, USER, PASSWORD).await);
    }
    let visits = cookies
        .iter()
        .map(|cookie| tokio::spawn(Arc::clone(&crowd).visit(cookie.clone())));
    let watches = cookies.iter().take(WATCHERS);
    let watches = watches.map(|cookie| tokio::spawn(Arc::clone(&crowd).watch(cookie.clone())));
    let people: Vec<_> = visits.chain(watches.collect::<Vec<_>>()).collect();
    for _ in 0..INSTANCES {
        crowd.until_ready(INSTANCES, 100).await;
        let old = running.remove(0);
        let traffic = old.address(0);
        let stopped = tokio::task::spawn_blocking(move || old.terminate())
            .await
            .expect("it ends");
        assert_eq!(stopped.status.code(), Some(0), "{}", stopped.stderr);
        crowd.balancer.forget(traffic);
        crowd.until_ready(INSTANCES - 1, 100).await;
        let new = tokio::task::block_in_place(|| start(&config, &crowd.balancer));
        running.push(new);
    }
    crowd.until_ready(INSTANCES, 100).await;
    crowd.over.store(true, Relaxed);
    for person in people {
        person
            .await
            .expect("every request was answered, every WebSocket said good-bye");
    }
    assert_eq!(
        crowd.balancer.refused(),
        0,
        "no instance that called itself ready refused a connection"
    );
    assert!(
        crowd.reopened.load(Relaxed) >= WATCHERS,
        "WebSockets moved to other instances"
    );
    let kept = Postgres::shared().sql(&database, "SELECT count(*) FROM portcullis.sessions");
    assert_eq!(
        kept.trim(),
        PEOPLE.to_string(),
        "nobody signed in again, and nobody was signed out"
    );
    for (gateway, cookie) in running.iter().cycle().zip(&cookies) {
        assert_eq!(status(gateway, cookie).await, 200);
    }
}

async fn status(gateway: &Gateway, cookie: &str) -> u16 {
    let line = format!("Cookie: {cookie}");
    let mut client = Client::plain(gateway.address(0)).await;
    client.get(HOST, "/", &[&line, "Accept: application/json"]).await.status
}

/// What a later version does to a database that this one shares: it adds, and says who may run beside it.
fn migrate_to_the_next_version(database: &str, oldest_compatible: u32) {
    Postgres::shared().sql(
        database,
        &format!(
            "SET search_path TO portcullis;
             ALTER TABLE sessions ADD COLUMN later text NOT NULL DEFAULT 'unset';
             ALTER TABLE users ADD COLUMN later text;
             ALTER TABLE audit_events ADD COLUMN later text;
             CREATE TABLE later (id bigint PRIMARY KEY, session_digest bytea REFERENCES sessions ON DELETE CASCADE);
             INSERT INTO schema_versions (version, name, oldest_compatible, applied_at)
                 VALUES (1000, 'later', {oldest_compatible}, now());"
        ),
    );
}

#[tokio::test]
async fn this_version_runs_beside_the_next_one_and_after_it() {
    let (database, app) = (Postgres::shared().database(), app());
    let sql = |statement: &str| Postgres::shared().sql(&database, statement);
    let config = config(&database, &app);
    let gateway = Gateway::start(&config);
    gateway.add_user(USER, PASSWORD, &[]);
    let before = sign_in(&gateway).await;
    assert_eq!(status(&gateway, &before).await, 200);
    migrate_to_the_next_version(&database, 1);
    // What the next version writes stays as it is, whatever this one does with the row.
    sql("UPDATE portcullis.sessions SET later = 'set'");
    assert_eq!(status(&gateway, &before).await, 200, "what was known goes on");
    works_as_ever(&gateway, "eve").await;
    let stopped = tokio::task::spawn_blocking(move || gateway.terminate())
        .await
        .expect("it ends");
    assert_eq!(stopped.status.code(), Some(0), "{}", stopped.stderr);
    assert_eq!(
        sql("SELECT DISTINCT later FROM portcullis.sessions").trim(),
        "set",
        "{}",
        stopped.stderr
    );
    // And back: the program of before on the database of after.
    let again = Gateway::start(&config);
    assert_eq!(status(&again, &before).await, 200, "nobody is signed out by going back");
    works_as_ever(&again, "fred").await;
    let check = again.command(&["check", "--online"], "");
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
}

#[tokio::test]
async fn a_next_version_that_this_one_cannot_run_beside_is_named_and_what_runs_goes_on() {
    let (database, app) = (Postgres::shared().database(), app());
    let config = config(&database, &app);
    let gateway = Gateway::start(&config);
    gateway.add_user(USER, PASSWORD, &[]);
    let cookie = sign_in(&gateway).await;
    migrate_to_the_next_version(&database, 1000);
    assert_eq!(status(&gateway, &cookie).await, 200, "it is not cut off");
    let refused = Gateway::try_start(&config).err().expect("a second one does not start");
    assert!(
        refused
            .stderr
            .contains("migrated by a newer version of portcullis (1000)"),
        "{}",
        refused.stderr
    );
}

async fn sign_in(gateway: &Gateway) -> String {
    let mut client = Client::plain(gateway.address(0)).await;
    client.sign_in(HOST, USER, PASSWORD).await
}

/// Log-in, look-up, log-out, an end by command, users and a sweep.
async fn works_as_ever(gateway: &Gateway, name: &str) {
    let cookie = sign_in(gateway).await;
    assert_eq!(status(gateway, &cookie).await, 200);
    let line = format!("Cookie: {cookie}");
    let lines = [line.as_str(), "Accept: application/json", "Sec-Fetch-Site: same-origin"];
    let mut client = Client::plain(gateway.address(0)).await;
    let left = client.request("POST", HOST, "/.portcullis/logout", &lines, b"").await;
    assert_eq!(left.status, 204, "{}", left.text());
    assert_eq!(status(gateway, &cookie).await, 401);
    gateway.add_user(name, PASSWORD, &[]);
    for args in [
        &["user", "group", "add", name, "staff"][..],
        &["user", "list"],
        &["session", "list"],
        &["session", "end", "--user", name],
        &["session", "sweep"],
        &["audit"],
        &["user", "delete", name],
    ] {
        let said = gateway.command(args, "");
        assert!(
            said.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&said.stderr)
        );
    }
}
