//! An application signs somebody out by itself, and its trigger tells: when do the instances refuse, and end streams?

use super::Bench;
use super::application;
use super::connection::Connection;
use super::cookie::SECRET;
use super::load::Load;
use super::spread;
use crate::support::gateway::Gateway;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sqlx::AssertSqlSafe;
use sqlx::Connection as _;
use sqlx::Executor;
use sqlx::PgConnection;
use std::net::SocketAddr;
use std::time::Duration;
use std::time::Instant;

/// What the application signs its cookies with.
const THEIRS: &str = "keyboard cat";
/// As connect-pg-simple makes it.
const TABLE: &str = "CREATE TABLE session (sid varchar NOT NULL COLLATE \"default\" PRIMARY KEY, sess json NOT NULL, \
    expire timestamp(6) NOT NULL); CREATE INDEX \"IDX_session_expire\" ON session (expire)";
const PATIENCE: Duration = Duration::from_mins(1);

struct Application {
    gateways: Vec<Gateway>,
    connection: PgConnection,
    made: u64,
}

pub(super) async fn run(bench: &Bench) {
    let mut application = Application::start(bench).await;
    let rounds = (bench.revocations / 2).max(1);
    let mut plain = Vec::new();
    for _ in 0..rounds {
        let (sid, _) = application.sign_in().await;
        plain.push(application.sign_out(&sid).await);
    }
    application.tell().await;
    let mut users = Vec::new();
    for _ in 0..30 {
        users.push(application.sign_in().await.1);
    }
    let load = Load::start(&application.addresses(), users, bench.rate);
    let (mut wrote, mut refused, mut sockets, mut events) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let round = application.one().await;
        wrote.push(round.wrote);
        refused.extend(round.refused);
        sockets.extend(round.sockets);
        events.extend(round.events);
    }
    let seen = load.stop().await;
    println!(
        "told: from the answer to the application's DELETE to the refusal {} (three a log-out; should be at most 100 ms at p99)",
        spread(refused)
    );
    println!("told: the same to the Close of a WebSocket {}", spread(sockets));
    println!("told: the same to the end of an event stream {}", spread(events));
    println!("told: the DELETE itself, with the trigger {}", spread(wrote));
    println!("told: the DELETE itself, without it {}", spread(plain));
    println!(
        "told: meanwhile {} requests a second, {}; {} failed",
        bench.rate,
        spread(seen.took),
        seen.failed
    );
}

/// What one log-out took.
struct Round {
    wrote: Duration,
    refused: Vec<Duration>,
    sockets: Vec<Duration>,
    events: Vec<Duration>,
}

impl Application {
    async fn start(bench: &Bench) -> Self {
        let url = bench.server.database();
        let mut connection = PgConnection::connect(&url).await.expect("a connection");
        connection.execute(sqlx::raw_sql(TABLE)).await.expect("a table");
        let upstream = application::serve().await;
        // Nothing is asked for anew meanwhile: what is refused was told.
        let config = format!(
            "[store]\nurl = \"{}\"\n[session]\nsecrets = [\"{SECRET}\"]\ncookie = \"native\"\nsecure = \"auto\"\n\
             [cache]\nmax_age = \"5m\"\n[log]\naccess = false\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
             [admin]\naddress = \"127.0.0.1:0\"\n[[upstream]]\nname = \"app\"\nservers = [\"http://{upstream}\"]\n\
             [[route]]\nname = \"app\"\nupstream = \"app\"\naccess = \"signed_in\"\nsessions = [\"native\", \"crm\"]\n\
             [[source]]\nname = \"crm\"\npreset = \"express\"\nhosts = [\"127.0.0.1\"]\nstore_url = \"{url}\"\n\
             secrets = [\"{THEIRS}\"]\nuser = \"/passport/user\"\nmax_age = \"5m\"\n",
            bench.server.database()
        );
        Self {
            gateways: (0..3).map(|_| Gateway::start(&config)).collect(),
            connection,
            made: 0,
        }
    }

    fn addresses(&self) -> [SocketAddr; 3] {
        [0, 1, 2].map(|instance| self.gateways[instance].address(0))
    }

    async fn sql(&mut self, sql: String) {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql));
        self.connection
            .execute(sql)
            .await
            .expect("the statement is carried out");
    }

    /// Has the trigger told, and waits until every instance believes it.
    async fn tell(&mut self) {
        let printed = self.gateways[0].command(&["source", "ddl", "crm"], "");
        assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
        self.sql(String::from_utf8(printed.stdout).expect("a text")).await;
        let begun = Instant::now();
        for gateway in &self.gateways {
            loop {
                let mut office = Connection::plain(gateway.admin()).await.expect("a connection");
                let metrics = office.ask("GET", "/metrics", "", b"").await.expect("metrics").body;
                if String::from_utf8_lossy(&metrics).contains("portcullis_source_feed_healthy{source=\"crm\"} 1\n") {
                    break;
                }
                assert!(begun.elapsed() < PATIENCE, "{}", gateway.log());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// As the library does it; the key, and the cookie.
    async fn sign_in(&mut self) -> (String, String) {
        self.made += 1;
        let sid = format!("sid-{:08}-of-an-application", self.made);
        self.sql(format!(
            "INSERT INTO session VALUES ('{sid}', '{{\"cookie\":{{\"originalMaxAge\":3600000}},\"passport\":{{\"user\":42}}}}', \
             now() + interval '1 hour')"
        ))
        .await;
        let key = hmac::Key::new(hmac::HMAC_SHA256, THEIRS.as_bytes());
        let tag = STANDARD_NO_PAD.encode(hmac::sign(&key, sid.as_bytes()));
        let tag = tag.replace('+', "%2B").replace('/', "%2F");
        let cookie = format!("connect.sid=s%3A{sid}.{tag}");
        (sid, cookie)
    }

    /// How long the application's own statement took.
    async fn sign_out(&mut self, sid: &str) -> Duration {
        let begun = Instant::now();
        self.sql(format!("DELETE FROM session WHERE sid = '{sid}'")).await;
        begun.elapsed()
    }

    /// Somebody is known to all instances and has streams open on each.
    async fn one(&mut self) -> Round {
        let (sid, cookie) = self.sign_in().await;
        let (mut asking, mut open) = (Vec::new(), Vec::new());
        for address in self.addresses() {
            let mut connection = Connection::plain(address).await.expect("a connection");
            assert_eq!(connection.get("/", &cookie).await.expect("an answer"), 200);
            asking.push(connection);
            for socket in [true, false] {
                open.push((socket, stream(address, socket, &cookie).await));
            }
        }
        let wrote = self.sign_out(&sid).await;
        let signed_out = Instant::now();
        let refused = asking
            .into_iter()
            .map(|connection| refused(connection, &cookie, signed_out));
        let closed = open.into_iter().map(|(socket, stream)| async move {
            let closed = tokio::time::timeout(PATIENCE, super::streams::closed(stream, socket)).await;
            closed.expect("a stream that ends");
            (socket, signed_out.elapsed())
        });
        let (refused, closed) = tokio::join!(
            futures_util::future::join_all(refused),
            futures_util::future::join_all(closed)
        );
        let of = |which: bool| {
            let some = closed.iter().filter(|(socket, _)| *socket == which);
            some.map(|(_, took)| *took).collect()
        };
        Round {
            wrote,
            refused,
            sockets: of(true),
            events: of(false),
        }
    }
}

async fn stream(address: SocketAddr, socket: bool, cookie: &str) -> Connection {
    let mut stream = Connection::plain(address).await.expect("a connection");
    let (target, upgrade, expected) = if socket {
        let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        ("/ws", upgrade, 101)
    } else {
        ("/events", "", 200)
    };
    let lines = format!("Cookie: {cookie}\r\n{upgrade}");
    assert_eq!(stream.begin(target, &lines).await.expect("an answer"), expected);
    stream
}

/// Asks again and again until it is refused.
async fn refused(mut connection: Connection, cookie: &str, since: Instant) -> Duration {
    loop {
        match connection.get("/", cookie).await.expect("an answer") {
            200 => assert!(since.elapsed() < PATIENCE, "it is never refused"),
            401 => return since.elapsed(),
            status => panic!("{status}"),
        }
    }
}
