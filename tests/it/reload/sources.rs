//! Applications whose own sessions count come, change and go without a restart.

use super::{HOST, ROUTE, SECRET, Site, Words, eventually};
use crate::streams::handshake;
use crate::support::client::Client;
use crate::support::postgres::Postgres;
use std::time::Duration;

const TABLE: &str = "CREATE TABLE sessions (id text PRIMARY KEY, user_id text, editor_id text, \
    expires_at timestamptz NOT NULL); INSERT INTO sessions VALUES ('sid0', '42', '7', now() + interval '1 hour')";
const COOKIE: &str = "Cookie: session=sid0";

fn source(name: &str, database: &str, more: &str) -> String {
    format!(
        "[[source]]\nname = \"{name}\"\npreset = \"plain-table\"\nhosts = [\"app.example.test\"]\nstore_url = \"{database}\"\n\
         max_age = \"5m\"\n{more}\n"
    )
}

fn routes(accepted: &str, sources: &str) -> String {
    format!("{ROUTE}access = \"optional\"\nsessions = [{accepted}]\n{sources}")
}

fn database() -> String {
    let database = Postgres::shared().database();
    Postgres::shared().sql(&database, TABLE);
    database
}

impl Site {
    fn with_routes(&self, routes: &str) {
        let told = self.applied(&Words {
            routes,
            ..Words::default()
        });
        assert_eq!(told, "The configuration is in effect.\n");
    }

    async fn told(&self) -> Option<String> {
        self.app.forget();
        let answer = self.client().await.get(HOST, "/", &[COOKIE]).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let told = self.app.requests().pop().expect("it was forwarded");
        told.values("x-forwarded-user").pop()
    }

    async fn found(&self, name: &str) -> String {
        let mut client = Client::plain(self.gateway.admin()).await;
        let metrics = client.get("localhost", "/metrics", &[]).await.text();
        let series = format!("portcullis_session_lookups_total{{source=\"{name}\",result=\"found\"}} ");
        let count = metrics.lines().find_map(|line| line.strip_prefix(&series));
        count.unwrap_or("none").to_owned()
    }
}

#[tokio::test]
async fn a_source_comes_changes_and_goes_without_a_restart() {
    let database = database();
    let (site, _) = Site::start().await;
    let both = "\"native\", \"crm\"";
    site.with_routes(&routes(both, &source("crm", &database, "")));
    assert_eq!(site.told().await.as_deref(), Some("crm:42"));
    site.with_routes(&routes(both, &source("crm", &database, "user = \"editor_id\"")));
    assert_eq!(
        site.told().await.as_deref(),
        Some("crm:7"),
        "nothing is believed by the mapping before"
    );
    site.with_routes(&routes(
        both,
        &source("crm", &database, "user_map = { \"42\" = \"ada\" }"),
    ));
    assert_eq!(site.told().await.as_deref(), Some("ada"));
    site.with_routes(&routes("\"native\"", ""));
    assert_eq!(site.told().await, None);
    site.with_routes(&routes(both, &source("crm", &database, "")));
    assert_eq!(site.told().await.as_deref(), Some("crm:42"));
}

#[tokio::test]
async fn what_is_known_of_a_source_outlives_the_changes_of_others() {
    let (database, other) = (database(), database());
    let (site, _) = Site::start().await;
    let crm = source("crm", &database, "");
    let routes = |other: &str| routes("\"native\", \"crm\"", &format!("{crm}{other}"));
    site.with_routes(&routes(""));
    assert_eq!(site.told().await.as_deref(), Some("crm:42"));
    assert_eq!(site.found("crm").await, "1");
    for others in [
        "cookie = \"shop\"",
        "cookie = \"shop\"\nmax_age = \"1s\"",
        "cookie = \"store\"",
    ] {
        site.with_routes(&routes(&source("shop", &other, others).replacen(
            "max_age = \"5m\"\n",
            "",
            usize::from(others.contains("max_age")),
        )));
        assert_eq!(site.told().await.as_deref(), Some("crm:42"));
    }
    assert_eq!(site.found("crm").await, "1", "its cache stayed");
    // By another secret of ours, too.
    let told = site.applied(&Words {
        secrets: &[super::SECOND, SECRET],
        routes: &routes(""),
        ..Words::default()
    });
    assert_eq!(told, "The configuration is in effect.\n");
    assert_eq!(site.told().await.as_deref(), Some("crm:42"));
    assert_eq!(site.found("crm").await, "1");
}

/// It keeps what it began with, and ends with its row all the same.
#[tokio::test]
async fn a_stream_that_began_with_a_source_that_is_gone_ends_with_its_row() {
    let database = database();
    let (site, _) = Site::start().await;
    let short = source("crm", &database, "").replace("5m", "1s");
    site.with_routes(&routes("\"native\", \"crm\"", &short));
    let mut client = site.client().await;
    client.send(handshake("/", "session=sid0").as_bytes()).await;
    assert_eq!(client.head().await.status, 101);
    site.with_routes(&routes("\"native\"", ""));
    client.send(&crate::streams::frame(b"on")).await;
    assert_eq!(client.exactly(4).await, [0x82, 2, b'o', b'n']);
    Postgres::shared().sql(&database, "DELETE FROM sessions");
    let rest = tokio::time::timeout(Duration::from_mins(1), client.rest())
        .await
        .expect("it ends");
    assert_eq!(rest[..4], [0x88, 2, 0x03, 0xf0], "a Close 1008: {rest:?}");
    let gone = async || {
        Postgres::shared().sql(
            &database,
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
        ) == "0"
    };
    eventually("its connections are closed", gone).await;
}
