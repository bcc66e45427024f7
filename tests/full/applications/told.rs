//! The trigger that the gateway prints, in the databases of real applications: what they end by themselves, where the
//! gateway sees none of it, counts at once, however long a row is believed meanwhile.

use super::express::{Variant, noted, resaved, rolling, touched};
use super::*;
use crate::support::gateway::PATIENCE;
use crate::support::postgres::USER;
use sqlx::postgres::PgListener;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// For how long a row is believed, with the trigger and without: what ends sooner was told.
const LONG: &str = "max_age = \"5m\"\n[cache]\nmax_age = \"5m\"";
/// The same, where nothing is told only for a short time.
const SHORT_BOUND: &str = "max_age = \"2s\"\n[cache]\nmax_age = \"5m\"";

impl Scene {
    /// Has the owner of the application's tables run what `source ddl` prints, as the documentation says.
    fn ddl(&self, more: &[&str]) {
        let printed = self.gateway.command(&[&["source", "ddl", "crm"], more].concat(), "");
        let said = String::from_utf8_lossy(&printed.stderr);
        assert!(printed.status.success(), "{said}");
        let server = Postgres::shared();
        let mut psql = Command::new(server.programs().join("psql"));
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", USER, "-p"])
            .arg(server.port().to_string())
            .args(["-d", self.data.url.rsplit('/').next().expect("a name")])
            // Of triggers that are not there yet.
            .env("PGOPTIONS", "-c client_min_messages=warning")
            .stdin(Stdio::piped());
        let mut child = psql.spawn().expect("psql runs");
        let mut input = child.stdin.take().expect("stdin is piped");
        input.write_all(&printed.stdout).expect("psql reads");
        drop(input);
        assert!(child.wait().expect("psql ends").success());
    }

    async fn until_told(&self, told: bool) {
        let seen = format!("portcullis_source_feed_healthy{{source=\"crm\"}} {}\n", u8::from(told));
        let since = Instant::now();
        loop {
            let mut client = Client::plain(self.gateway.admin()).await;
            if client.get("127.0.0.1", "/metrics", &[]).await.text().contains(&seen) {
                return;
            }
            assert!(since.elapsed() < PATIENCE, "{}", self.gateway.log());
            pause();
        }
    }

    /// A request straight to the application, behind the gateway's back.
    async fn behind(&self, target: &str, cookie: &str) {
        let mut client = Client::plain(self.app.address()).await;
        let cookie = format!("Cookie: {cookie}");
        let lines = [cookie.as_str(), "X-Forwarded-Proto: https"];
        let answer = client.request("POST", HOST, target, &lines, b"").await;
        assert_eq!(answer.status, 204, "{}", answer.text());
    }

    async fn until_nobody(&self, visitor: &mut Visitor<'_>) {
        let since = Instant::now();
        while visitor.told().await != (None, None) {
            assert!(since.elapsed() < PATIENCE, "{}", self.gateway.log());
            pause();
        }
    }
}

/// A stream of the application's events, by this visitor.
async fn stream(visitor: &Visitor<'_>) -> Client {
    let mut client = Client::tls(visitor.gateway.address(0), HOST, &visitor.gateway.ca()).await;
    let cookie = visitor.cookie();
    let head = format!("GET /events HTTP/1.1\r\nHost: {HOST}\r\nCookie: {cookie}\r\n\r\n");
    client.send(head.as_bytes()).await;
    assert_eq!(client.head().await.status, 200);
    assert_eq!(client.chunk().await, b"data: 0\n\n");
    client
}

async fn is_told_by_express((settings, source): Variant) {
    let with = |bound: &str| (settings.clone(), format!("{source}\n{bound}"));
    let scene = express::scene("Asia/Kolkata", with(LONG));
    let mut stays = scene.signed_in("user=1").await;
    let mut leaves = scene.signed_in("user=1").await;
    scene.ddl(&[]);
    scene.until_told(true).await;
    stays.known().await;
    leaves.known().await;
    let mut open = stream(&leaves).await;
    scene.behind("/logout", &leaves.cookie()).await;
    scene.until_nobody(&mut leaves).await;
    assert!(open.last_chunk().await.is_some(), "the stream ended, and cleanly");
    stays.known().await;

    let scene = express::scene("America/New_York", with(SHORT_BOUND));
    let mut leaves = scene.signed_in("user=2").await;
    scene.ddl(&[]);
    scene.until_told(true).await;
    // Believed for five minutes from here on, had the trigger stayed.
    leaves.known().await;
    scene.ddl(&["--undo"]);
    scene.until_told(false).await;
    scene.behind("/logout", &leaves.cookie()).await;
    scene.until_nobody(&mut leaves).await;
    let left = "SELECT count(*) FROM pg_proc WHERE proname LIKE 'portcullis%'";
    assert_eq!(scene.data.sql(left), "0", "nothing of it stays");
}

#[tokio::test]
async fn with_the_trigger_a_log_out_that_only_express_sees_counts_at_once_and_without_it_by_the_short_bound() {
    let variants = [touched(), rolling(), resaved(), noted()];
    futures_util::future::join_all(variants.map(is_told_by_express)).await;
}

/// The log-out, and the change of another row that is read: the user's.
#[tokio::test]
async fn with_the_trigger_what_only_django_sees_counts_at_once() {
    let scene = python::django_with("Asia/Kolkata", true, LONG);
    let mut ada = scene.signed_in("user=1").await;
    let mut eve = scene.signed_in("user=2").await;
    let mut joe = scene.signed_in("user=3").await;
    scene.ddl(&[]);
    scene.until_told(true).await;
    for visitor in [&mut ada, &mut eve, &mut joe] {
        visitor.known().await;
    }
    scene.behind("/logout", &ada.cookie()).await;
    scene.until_nobody(&mut ada).await;
    eve.known().await;
    scene.behind("/change-password?user=2", &joe.cookie()).await;
    scene.until_nobody(&mut eve).await;
    joe.known().await;
}

/// What express does with every request is no news: it touches a row, or saves it whole, and nothing is told.
#[tokio::test]
async fn with_the_trigger_requests_that_touch_or_save_a_session_of_expresss_tell_nothing() {
    let each = [touched(), rolling(), resaved(), noted()].map(async |(settings, source)| {
        let scene = express::scene("Etc/UTC", (settings, format!("{source}\n{LONG}")));
        let mut visitor = scene.signed_in("user=1").await;
        scene.ddl(&[]);
        scene.until_told(true).await;
        let named = "SELECT oid::regclass FROM pg_class WHERE relname IN ('session', 'sessions')";
        let table = scene.data.sql(named);
        let channel = scene
            .data
            .sql("SELECT proname FROM pg_proc WHERE proname LIKE 'portcullis\\_%'");
        let mut listener = PgListener::connect(&scene.data.url).await.expect("a connection");
        listener.listen(&channel).await.expect("it listens");
        let end = || scene.data.sql(&format!("SELECT expire FROM {table}"));
        let (before, since) = (end(), Instant::now());
        // Ends are kept in whole seconds.
        while end() == before {
            assert!(since.elapsed() < PATIENCE, "no request moved the end");
            visitor.known().await;
            pause();
        }
        scene.data.sql(&format!("SELECT pg_notify('{channel}', 'end')"));
        let told = async {
            loop {
                let message = listener.recv().await.expect("a message").payload().to_owned();
                // Gateways' heartbeats go the same way.
                if !message.starts_with("h:") {
                    return message;
                }
            }
        };
        let told = tokio::time::timeout(PATIENCE, told).await.expect("in time");
        assert_eq!(told, "end", "{table}");
        visitor.known().await;
    });
    futures_util::future::join_all(each).await;
}
