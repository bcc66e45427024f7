use super::{SCRIPT, SLACK, assert_not_punished, config, get, hello, memory, metric, post, until};
use crate::support::fleet::SEEN;
use crate::support::gateway::Gateway;
use crate::support::path::{Mode, Path};
use crate::support::postgres::{Postgres, USER};
use crate::support::upstream::Upstream;
use crate::support::usher::Usher;
use sqlx::{Connection, Executor, PgConnection};
use std::cell::RefCell;
use std::time::{Duration, Instant};

const LIVE: usize = 12;
const CALL: Duration = Duration::from_millis(500);
/// For how long what was ended may be believed where nothing is heard: the time that it takes to notice.
const UNSEEN: Duration = Duration::from_secs(2);

/// A gateway, its database, and people who are signed in.
struct Scene {
    server: Postgres,
    /// The database itself, past any path.
    url: String,
    gateway: Gateway,
    usher: Usher,
    live: Vec<String>,
    ended: RefCell<Vec<String>>,
    memory: u64,
    _app: Upstream,
}

/// Breaks the database or mends it.
type Change<'a> = &'a dyn Fn();

impl Scene {
    /// `reached` is the gateway's way to the database at this URL.
    async fn set(server: Postgres, reached: impl Fn(&str) -> String) -> Self {
        let url = server.database();
        let app = hello();
        let gateway = Gateway::start(&config(&reached(&url), "500ms", "100ms", &app.url()));
        gateway.wait_for_log(SEEN);
        let usher = Usher::on(&url).await;
        let live = usher.sign_in_many(LIVE).await;
        let memory = memory(&gateway);
        Self {
            server,
            url,
            gateway,
            usher,
            live,
            ended: RefCell::default(),
            memory,
            _app: app,
        }
    }

    fn sessions(&self) -> String {
        self.server.sql(&self.url, "SELECT count(*) FROM portcullis.sessions")
    }

    /// Two sessions that were used, and are ended at the last moment: by their user here, and by somebody with psql.
    async fn end_two(&self, why: &str) {
        let (out, deleted) = (self.usher.sign_in().await, self.usher.sign_in().await);
        for cookie in [&out, &deleted] {
            assert_eq!(get(&self.gateway, "/", &[cookie]).await.status, 200, "{why}");
        }
        // Public ids are in order of time.
        let newest = "DELETE FROM portcullis.sessions WHERE public_id =
                      (SELECT public_id FROM portcullis.sessions ORDER BY public_id DESC LIMIT 1)";
        self.server.sql(&self.url, newest);
        let answer = post(&self.gateway, "/.portcullis/logout", &[&out]).await;
        assert_eq!(answer.status, 204, "{why}: {}", answer.text());
        self.ended.borrow_mut().extend([out, deleted]);
    }

    /// Everybody at once while nothing can be asked: each hears so in time.
    async fn everybody_asks(&self, why: &str) {
        let ask = |cookie: String, live: bool| async move {
            let started = Instant::now();
            let answer = get(&self.gateway, "/", &[&cookie, SCRIPT]).await;
            let took = started.elapsed();
            assert!(took < CALL + SLACK, "{why}: {took:?}");
            if live {
                assert_not_punished(&answer, why);
                assert_eq!(answer.status, 503, "{why}: nothing can be asked");
            } else {
                assert_ne!(answer.status, 200, "{why}: an ended session was let in");
            }
        };
        let ended = self.ended.borrow().clone();
        let live = self
            .live
            .iter()
            .cycle()
            .take(60)
            .cloned()
            .map(|cookie| ask(cookie, true));
        let ended = ended.into_iter().map(|cookie| ask(cookie, false));
        tokio::join!(
            futures_util::future::join_all(live),
            futures_util::future::join_all(ended)
        );
    }

    async fn endure(&self, why: &str, breaks: Change<'_>, mends: Change<'_>) {
        until(&self.gateway, &self.live[0], 200, why).await;
        self.end_two(why).await;
        let rows = self.sessions();
        breaks();
        self.nobody_is_cached(why).await;
        self.everybody_asks(why).await;
        crate::bad_days::assert_nobody_is_punished(&self.gateway, &self.live[0], why).await;
        self.everybody_asks(why).await;
        mends();
        let back = until(&self.gateway, &self.live[0], 200, why).await;
        println!("{why}: back after {back:?}");
        assert!(back < Duration::from_secs(20), "{why}: {back:?}");
        for cookie in &self.live {
            until(&self.gateway, cookie, 200, why).await;
        }
        let ended = self.ended.borrow().clone();
        for cookie in &ended {
            let answer = get(&self.gateway, "/", &[cookie, SCRIPT]).await;
            assert_eq!(answer.status, 401, "{why}: ended is ended");
        }
        assert_eq!(self.sessions(), rows, "{why}: no session was lost, and none came back");
        self.nothing_is_left(why).await;
    }

    /// Waits until no answer from before the outage is believed any more; what was ended, no longer than the stated bound.
    async fn nobody_is_cached(&self, why: &str) {
        let broke = Instant::now();
        let ended = self.ended.borrow().clone();
        for cookie in ended {
            while get(&self.gateway, "/", &[&cookie, SCRIPT]).await.status == 200 {
                assert!(
                    broke.elapsed() < UNSEEN + SLACK,
                    "{why}: an ended session is let in for too long"
                );
                crate::support::gateway::pause();
            }
        }
        let each = self.live.iter().map(|cookie| until(&self.gateway, cookie, 503, why));
        futures_util::future::join_all(each).await;
    }

    /// What an outage gathered is gone.
    async fn nothing_is_left(&self, why: &str) {
        let started = Instant::now();
        let ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'portcullis'";
        // The usher's are counted too.
        let mine = 4;
        loop {
            let count: u32 = self.server.sql(&self.url, ours).parse().expect("a number");
            let waiting = metric(&self.gateway, "portcullis_session_lookups_waiting").await;
            // Eight of the pools, one for the feed.
            if count <= 9 + mine && waiting == 0 {
                break;
            }
            assert!(
                started.elapsed() < SLACK * 5,
                "{why}: {count} connections, {waiting} look-ups wait"
            );
            crate::support::gateway::pause();
        }
        let after = memory(&self.gateway);
        assert!(after < self.memory + 64, "{why}: {} MiB, then {after} MiB", self.memory);
    }
}

#[tokio::test]
async fn a_server_that_dies_or_hangs_costs_a_503_and_nothing_else() {
    let scene = Scene::set(Postgres::private(), str::to_owned).await;
    let server = &scene.server;
    scene.endure("killed", &|| server.kill(), &|| server.start()).await;
    scene.endure("frozen", &|| server.freeze(), &|| server.thaw()).await;
}

#[tokio::test]
async fn a_network_that_fails_costs_a_503_and_nothing_else() {
    let server = Postgres::private();
    let (port, path) = (server.port().to_string(), Path::to(server.port()));
    let scene = Scene::set(server, |url| url.replace(&port, &path.port().to_string())).await;
    scene
        .endure("dark", &|| path.set(Mode::Dark), &|| path.set(Mode::Open))
        .await;
    let close = || {
        path.set(Mode::Closed);
        path.cut();
    };
    scene.endure("closed", &close, &|| path.set(Mode::Open)).await;
    // All connections cut at once, between two requests: nobody notices.
    for _ in 0..5 {
        path.cut();
        assert_eq!(get(&scene.gateway, "/", &[&scene.live[0]]).await.status, 200);
    }
}

#[tokio::test]
async fn a_password_that_is_wrong_after_a_restart_is_an_outage_until_it_is_right() {
    let server = Postgres::private();
    server.sql("postgres", "CREATE ROLE gateway LOGIN SUPERUSER PASSWORD 'right'");
    // In the clear, because a debug build takes long for thousands of rounds of a hash.
    let line = "host all gateway 127.0.0.1/32 password";
    server.add_rule(line);
    let with_password = |url: &str| url.replacen(USER, "gateway:right", 1);
    let scene = Scene::set(server, with_password).await;
    let set = |password: &str| {
        let sql = format!("ALTER ROLE gateway PASSWORD '{password}'");
        scene.server.sql("postgres", &sql);
    };
    let breaks = || {
        set("wrong");
        scene.server.stop();
        scene.server.start();
    };
    scene.endure("wrong password", &breaks, &|| set("right")).await;
    scene.gateway.wait_for_log("password authentication failed");
    assert!(!scene.gateway.log().contains("right@"), "the log shows a password");
}

#[tokio::test]
async fn a_schema_that_is_dropped_and_restored_signs_nobody_out() {
    let scene = Scene::set(Postgres::private(), str::to_owned).await;
    let server = &scene.server;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("portcullis.sql");
    let breaks = || {
        let dump = std::process::Command::new(server.programs().join("pg_dump"))
            .args(["--schema=portcullis", "--file"])
            .arg(&file)
            .arg(&scene.url)
            .output()
            .expect("pg_dump");
        assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
        server.sql(&scene.url, "DROP SCHEMA portcullis CASCADE");
    };
    let mends = || {
        let restore = std::process::Command::new(server.programs().join("psql"))
            .args(["-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-f"])
            .arg(&file)
            .arg(&scene.url)
            .output()
            .expect("psql");
        assert!(restore.status.success(), "{}", String::from_utf8_lossy(&restore.stderr));
    };
    scene.endure("schema dropped", &breaks, &mends).await;
}

#[tokio::test]
async fn a_server_without_a_free_connection_is_an_outage_until_others_leave() {
    let scene = Scene::set(Postgres::small(), str::to_owned).await;
    let Scene {
        server,
        url,
        gateway,
        live,
        ..
    } = &scene;
    until(gateway, &live[0], 200, "full").await;
    scene.end_two("full").await;
    let rows = scene.sessions();
    let mut others = Vec::new();
    let first = PgConnection::connect(url).await.expect("a connection");
    others.push(first);
    let started = Instant::now();
    loop {
        let gone =
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'portcullis'";
        others[0].execute(gone).await.expect("they are ended");
        while let Ok(other) = PgConnection::connect(url).await {
            others.push(other);
        }
        let left = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'portcullis'";
        let left = others[0].fetch_optional(left).await.expect("an answer");
        if left.is_none() && get(gateway, "/", &[&live[0], SCRIPT]).await.status == 503 {
            break;
        }
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "the gateway keeps its connections"
        );
    }
    scene.everybody_asks("full").await;
    gateway.wait_for_log("too many clients already");
    let held = others.len();
    drop(others);
    let back = until(gateway, &live[0], 200, "full").await;
    println!("out of connections ({held} held by others): back after {back:?}");
    for cookie in live {
        until(gateway, cookie, 200, "full").await;
    }
    assert_eq!(server.sql(url, "SELECT count(*) FROM portcullis.sessions"), rows);
    scene.nothing_is_left("full").await;
}

#[tokio::test]
async fn a_database_in_recovery_lets_sessions_go_on_and_refuses_changes() {
    let scene = Scene::set(Postgres::private(), str::to_owned).await;
    let Scene {
        server, gateway, live, ..
    } = &scene;
    until(gateway, &live[0], 200, "recovery").await;
    scene.end_two("recovery").await;
    server.stop();
    server.stand_by();
    server.start();
    for cookie in live {
        until(gateway, cookie, 200, "a standby can be read").await;
        let answer = post(gateway, "/.portcullis/logout", &[cookie]).await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(answer.values("set-cookie").is_empty(), "nothing was done");
    }
    let ended = scene.ended.borrow().clone();
    for cookie in &ended {
        assert_eq!(get(gateway, "/", &[cookie, SCRIPT]).await.status, 401);
    }
    gateway.wait_for_log("read-only transaction");
    server.promote();
    let started = Instant::now();
    while post(gateway, "/.portcullis/logout", &[&live[0]]).await.status != 204 {
        assert!(started.elapsed() < Duration::from_secs(20), "writing did not come back");
    }
    println!("recovery: writing again after {:?}", started.elapsed());
    assert_eq!(get(gateway, "/", &[&live[0], SCRIPT]).await.status, 401);
    assert_eq!(get(gateway, "/", &[&live[1], SCRIPT]).await.status, 200);
}

#[tokio::test]
async fn cached_sessions_go_on_until_their_bound_and_not_longer() {
    const BOUND: Duration = Duration::from_secs(3);
    let server = Postgres::private();
    let url = server.database();
    let app = hello();
    let gateway = Gateway::start(&config(&url, "500ms", "3s", &app.url()));
    // What was learnt before that is forgotten then.
    gateway.wait_for_log(SEEN);
    let usher = Usher::on(&url).await;
    let (cookie, ended) = (usher.sign_in().await, usher.sign_in().await);
    assert_eq!(get(&gateway, "/", &[&ended]).await.status, 200);
    let asked = Instant::now();
    assert_eq!(get(&gateway, "/", &[&cookie]).await.status, 200);
    let answered = Instant::now();
    assert_eq!(post(&gateway, "/.portcullis/logout", &[&ended]).await.status, 204);
    server.kill();
    let (mut let_in, mut refused) = (0, 0);
    while refused < 3 {
        let started = Instant::now();
        let answer = get(&gateway, "/", &[&cookie, SCRIPT]).await;
        assert_not_punished(&answer, "killed");
        if asked.elapsed() < BOUND {
            assert_eq!(answer.status, 200, "known for {:?}", asked.elapsed());
            let_in += 1;
            assert_ne!(
                get(&gateway, "/", &[&ended, SCRIPT]).await.status,
                200,
                "ended before the outage"
            );
        }
        if started.duration_since(answered) > BOUND {
            assert_eq!(answer.status, 503, "known for {:?}", started.duration_since(answered));
            refused += 1;
        }
        crate::support::gateway::pause();
    }
    assert!(let_in > 0, "the machine was too busy for this test to say anything");
    server.start();
    until(&gateway, &cookie, 200, "back").await;
}

#[tokio::test]
async fn what_was_active_during_an_outage_is_written_after_it() {
    let server = Postgres::private();
    let url = server.database();
    let app = hello();
    let top = config(&url, "500ms", "1m", &app.url()).replace("[session]\n", "[session]\ntouch_interval = \"1s\"\n");
    let gateway = Gateway::start(&top);
    gateway.wait_for_log(SEEN);
    let usher = Usher::on(&url).await;
    let live = usher.sign_in_many(LIVE).await;
    for cookie in &live {
        assert_eq!(get(&gateway, "/", &[cookie]).await.status, 200);
    }
    server.kill();
    let started = Instant::now();
    while metric(&gateway, "portcullis_touches_waiting").await < LIVE as u64 {
        for cookie in &live {
            assert_eq!(get(&gateway, "/", &[cookie]).await.status, 200, "cached for a minute");
        }
        assert!(started.elapsed() < Duration::from_secs(30), "activity is not kept");
    }
    gateway.wait_for_log("cannot be written and waits");
    server.start();
    let seen = "SELECT count(*) FROM portcullis.sessions WHERE last_seen_at > created_at + interval '900 milliseconds'";
    let started = Instant::now();
    while server.sql(&url, seen) != LIVE.to_string() {
        assert!(started.elapsed() < Duration::from_secs(30), "activity was lost");
        crate::support::gateway::pause();
    }
    assert_eq!(metric(&gateway, r#"portcullis_touches_total{result="lost"}"#).await, 0);
}
