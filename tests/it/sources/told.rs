//! Log-outs in an application that count at once, by the trigger that its owner may add.

use super::checked::check;
use super::*;
use crate::streams::handshake;
use crate::support::client::Client;
use crate::support::gateway::{pause, portcullis};
use crate::support::stage::config;
use sqlx::postgres::PgListener;
use std::collections::HashSet;
use std::time::Instant;

const ADA: &str = r#"{"cookie":{"originalMaxAge":3600000},"passport":{"user":42},"email":"ada@example.com","seen":1}"#;
/// Longer than a test may take: what ends sooner was told.
const LONG: &str = "max_age = \"5m\"";
const PATIENCE: Duration = Duration::from_mins(1);

/// What `portcullis source ddl crm` says with these lines of a source.
fn printed(source: &str, more: &[&str]) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = config("", &format!("{ROUTES}\n{source}"), "http://127.0.0.1:1");
    std::fs::write(folder.path().join("portcullis.toml"), text).expect("the configuration is written");
    let arguments = [&["source", "ddl", "crm", "--config", "portcullis.toml"], more].concat();
    let output = portcullis(folder.path(), &arguments, "");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).expect("a text")
}

/// A database with the application's table and its trigger, and the lines of the source.
fn database() -> (String, String) {
    let server = Postgres::shared();
    let url = server.database();
    server.sql(&url, TABLE);
    let source = source(&url, LONG);
    server.sql(&url, &printed(&source, &[]));
    (url, source)
}

/// Whoever listens to what the trigger tells.
struct Ears {
    url: String,
    channel: String,
    listener: PgListener,
}

impl Ears {
    async fn on(url: &str) -> Self {
        let channel = Postgres::shared().sql(
            url,
            "SELECT proname FROM pg_proc WHERE proname LIKE 'portcullis\\_%' ORDER BY 1 LIMIT 1",
        );
        let mut listener = PgListener::connect(url).await.expect("a connection");
        listener.listen(&channel).await.expect("it listens");
        Self {
            url: url.to_owned(),
            channel,
            listener,
        }
    }

    fn sql(&self, sql: &str) -> String {
        Postgres::shared().sql(&self.url, sql)
    }

    /// All that these statements tell.
    async fn told(&mut self, sql: &str) -> Vec<String> {
        self.sql(sql);
        self.sql(&format!("SELECT pg_notify('{}', 'end')", self.channel));
        let mut told = Vec::new();
        loop {
            let heard = tokio::time::timeout(PATIENCE, self.listener.recv()).await;
            let payload = heard.expect("in time").expect("a message").payload().to_owned();
            if payload == "end" {
                return told;
            }
            told.push(payload);
        }
    }
}

/// What is told of these keys.
fn digests(keys: &[&str]) -> String {
    let digest = |key: &&str| hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.as_bytes()));
    format!("s:{}", keys.iter().map(digest).collect::<String>())
}

fn row(sid: &str) -> String {
    format!("INSERT INTO session VALUES ('{sid}', '{ADA}', now() AT TIME ZONE 'UTC' + interval '1 hour');")
}

async fn metric(scene: &Scene, name: &str) -> String {
    let mut client = Client::plain(scene.stage.gateway.admin()).await;
    let metrics = client.get("127.0.0.1", "/metrics", &[]).await.text();
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_default().trim().to_owned()
}

async fn until_seen(scene: &Scene, seen: &str) {
    let since = Instant::now();
    while metric(scene, "portcullis_source_feed_healthy{source=\"crm\"}").await != seen {
        assert!(since.elapsed() < PATIENCE, "{}", scene.stage.gateway.log());
        pause();
    }
}

impl Scene {
    async fn told_at_once(&self, more: &str) {
        self.sql(&printed(&source(&self.database, more), &[]));
        until_seen(self, "1").await;
    }

    async fn until_nobody(&self, cookie: &str) {
        let since = Instant::now();
        while self.told("/", cookie).await.is_some() {
            assert!(since.elapsed() < SOON, "{}", self.stage.gateway.log());
            pause();
        }
    }
}

#[tokio::test]
async fn with_the_trigger_what_the_application_ends_or_changes_counts_at_once() {
    let scene = Scene::with(LONG, |_| Reply::text("hello")).await;
    scene.told_at_once(LONG).await;
    let cookie = signed("sid0");
    for ends in [
        "DELETE FROM session",
        "TRUNCATE session",
        "UPDATE session SET expire = now() - interval '1 day'",
        "UPDATE session SET sess = '{\"cookie\":{}}'",
        "UPDATE session SET sid = 'another'",
    ] {
        scene.sql("DELETE FROM session");
        scene.until_nobody(&cookie).await;
        let signed_in = Instant::now();
        scene.row("sid0", ADA);
        while scene.told("/", &cookie).await.as_deref() != Some("crm:42") {
            assert!(signed_in.elapsed() < SOON);
            pause();
        }
        scene.sql(ends);
        scene.until_nobody(&cookie).await;
    }
}

#[tokio::test]
async fn with_the_trigger_an_open_stream_ends_with_the_applications_log_out() {
    let scene = Scene::with(LONG, |_| Reply::WebSocketEcho).await;
    scene.told_at_once(LONG).await;
    scene.row("sid0", ADA);
    let mut client = scene.stage.client().await;
    client.send(handshake("/", &signed("sid0")).as_bytes()).await;
    assert_eq!(client.head().await.status, 101);
    scene.sql("DELETE FROM session");
    let closed = tokio::time::timeout(PATIENCE, client.rest())
        .await
        .expect("it ends in time");
    assert!(closed.starts_with(&[0x88]), "a Close: {closed:?}");
}

#[tokio::test]
async fn a_role_that_may_only_read_is_enough_to_be_told() {
    let database = Postgres::shared().database();
    let sql = |sql: &str| Postgres::shared().sql(&database, sql);
    let role = format!("reader_{}", database.rsplit('/').next().expect("a name"));
    sql(TABLE);
    sql(&format!(
        "CREATE ROLE {role} LOGIN; GRANT SELECT (sid, sess, expire) ON session TO {role}"
    ));
    let (scheme, rest) = database.split_once("://").expect("a URL");
    let reader = format!(
        "{scheme}://{role}@{}",
        rest.rsplit_once('@').map_or(rest, |(_, host)| host)
    );
    let routes = format!("{ROUTES}\n{}", source(&reader, LONG));
    let stage = crate::support::stage::Stage::with("", &routes, |_| Reply::text("hello")).await;
    let scene = Scene { stage, database };
    scene.told_at_once(LONG).await;
    scene.row("sid0", ADA);
    assert_eq!(scene.told("/", &signed("sid0")).await.as_deref(), Some("crm:42"));
    scene.sql("DELETE FROM session");
    scene.until_nobody(&signed("sid0")).await;
}

#[tokio::test]
async fn a_trigger_that_is_switched_off_is_noticed_and_named_and_the_short_bound_is_back() {
    let scene = Scene::with("max_age = \"1s\"", |_| Reply::text("hello")).await;
    let cookie = signed("sid0");
    scene.told_at_once("max_age = \"1s\"").await;
    scene.row("sid0", ADA);
    assert_eq!(scene.told("/", &cookie).await.as_deref(), Some("crm:42"));
    scene.sql("ALTER TABLE session DISABLE TRIGGER ALL; DELETE FROM session");
    scene.until_nobody(&cookie).await;
    until_seen(&scene, "0").await;
    // Noticed by a heartbeat, or by looking at the trigger anew.
    scene.stage.gateway.wait_for_log("switched off");
    scene.sql("ALTER TABLE session ENABLE TRIGGER ALL");
    until_seen(&scene, "1").await;
}

/// It was asked for when a long bound held, and is judged by the short one from then on.
#[tokio::test]
async fn a_stream_that_began_with_the_trigger_ends_by_the_short_bound_once_it_is_gone() {
    let bounds = "max_age = \"1s\"\n[cache]\nmax_age = \"5m\"";
    let scene = Scene::with(bounds, |_| Reply::WebSocketEcho).await;
    scene.told_at_once(bounds).await;
    scene.row("sid0", ADA);
    let mut client = scene.stage.client().await;
    client.send(handshake("/", &signed("sid0")).as_bytes()).await;
    assert_eq!(client.head().await.status, 101);
    scene.sql("ALTER TABLE session DISABLE TRIGGER ALL; DELETE FROM session");
    let closed = tokio::time::timeout(PATIENCE, client.rest())
        .await
        .expect("it ends in time");
    assert!(closed.starts_with(&[0x88]), "a Close: {closed:?}");
}

#[tokio::test]
async fn moving_an_end_forward_tells_nothing_and_neither_does_what_nobody_reads() {
    let (url, _) = database();
    let mut ears = Ears::on(&url).await;
    let later = "expire = expire + interval '1 hour'";
    for sql in [
        row("sid0"),
        format!("UPDATE session SET {later}"),
        format!("UPDATE session SET {later}, sess = jsonb_set(sess::jsonb, '{{seen}}', '2')"),
        format!(
            "UPDATE session SET {later}, sess = jsonb_set(sess::jsonb, '{{cookie,expires}}', '\"2026-11-28T07:50:15Z\"')"
        ),
        // As connect-pg-simple saves: an upsert.
        format!(
            "INSERT INTO session SELECT sid, sess, {expire} FROM session ON CONFLICT (sid) DO UPDATE \
             SET sess = EXCLUDED.sess, expire = EXCLUDED.expire",
            expire = "expire + interval '2 hours'"
        ),
    ] {
        assert_eq!(ears.told(&sql).await, [] as [&str; 0], "{sql}");
    }
    for sql in [
        "UPDATE session SET sess = jsonb_set(sess::jsonb, '{passport,user}', '43')",
        "UPDATE session SET sess = jsonb_set(sess::jsonb, '{roles}', '[\"staff\"]')",
        "UPDATE session SET expire = expire - interval '1 minute'",
        "DELETE FROM session",
    ] {
        assert_eq!(ears.told(sql).await, [digests(&["sid0"])], "{sql}");
    }
    assert_eq!(ears.told("TRUNCATE session").await, ["f"]);
    let renamed = format!("{} UPDATE session SET sid = 'sid1'", row("sid0"));
    assert_eq!(ears.told(&renamed).await, [digests(&["sid0", "sid1"])]);
}

#[tokio::test]
async fn many_deletions_are_few_messages_and_cleaning_up_is_none() {
    let (url, _) = database();
    let mut ears = Ears::on(&url).await;
    let rows = |many: u32, end: &str| {
        format!(
            "INSERT INTO session SELECT 'id ''\"{{}}é' || n, '{ADA}', now() AT TIME ZONE 'UTC' + interval '{end}' \
             FROM generate_series(1, {many}) AS n"
        )
    };
    ears.sql(&rows(300, "1 hour"));
    let told = ears.told("DELETE FROM session").await;
    assert_eq!(told.len(), 3, "120 keys a message");
    assert!(told.iter().all(|message| message.len() < 8_000));
    let digests_of = |message: &String| {
        let (kind, hex) = message.split_at(2);
        assert_eq!(kind, "s:");
        hex.as_bytes()
            .chunks(64)
            .map(|one| String::from_utf8_lossy(one).into_owned())
            .collect::<Vec<_>>()
    };
    let hex: Vec<String> = told.iter().flat_map(digests_of).collect();
    let expected: HashSet<String> = (1..=300)
        .map(|n| digests(&[&format!("id '\"{{}}é{n}")])[2..].to_owned())
        .collect();
    assert_eq!(hex.len(), 300);
    assert_eq!(hex.into_iter().collect::<HashSet<_>>(), expected);
    ears.sql(&rows(2_001, "1 hour"));
    assert_eq!(ears.told("DELETE FROM session").await, ["f"]);
    ears.sql(&rows(3_000, "-1 hour"));
    assert_eq!(ears.told("DELETE FROM session").await, [] as [&str; 0]);
}

/// Whatever is in a row and whoever changes it.
#[tokio::test]
async fn no_statement_of_the_application_fails_because_of_the_trigger() {
    let (url, _) = database();
    let mut ears = Ears::on(&url).await;
    ears.sql(&row("sid0"));
    // JSON that is none to jsonb: a zero byte.
    let zero = r#"UPDATE session SET sess = '{"passport":{"user":"\u0000"}}'"#;
    assert_eq!(
        ears.told(zero).await,
        [digests(&["sid0"])],
        "what cannot be compared counts"
    );
    let role = format!("app_{}", url.rsplit('/').next().expect("a name"));
    ears.sql(&format!(
        "CREATE ROLE {role}; CREATE SCHEMA {role} AUTHORIZATION {role}; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON session TO {role}"
    ));
    let hostile = format!(
        "SET ROLE {role}; CREATE FUNCTION {role}.sha256(bytea) RETURNS bytea LANGUAGE sql AS 'SELECT NULL::bytea'; \
         SET search_path = {role}, pg_catalog; DELETE FROM public.session"
    );
    assert_eq!(ears.told(&hostile).await, [digests(&["sid0"])]);
    // Even one that cannot work at all.
    let broken = ears.sql(&format!(
        "SELECT replace(pg_get_functiondef('{}'::regproc), 'unnest(messages)', 'unnest(1 / (messages IS NULL)::int)')",
        ears.channel
    ));
    ears.sql(&broken);
    assert_eq!(
        ears.told(&format!("{} DELETE FROM session", row("sid0"))).await,
        ["f"],
        "of which rows it cannot say"
    );
    assert_eq!(ears.sql("SELECT count(*) FROM session"), "0");
}

#[tokio::test]
async fn the_check_says_whether_the_trigger_is_there_and_the_one_that_belongs_here() {
    let server = Postgres::shared();
    let url = server.database();
    server.sql(&url, TABLE);
    server.sql(&url, &row("sid0"));
    let source = source(&url, LONG);
    let says = |source: &str, words: &str| {
        let (works, said) = check(source, None);
        assert!(works && said.contains(words), "{words}: {said}");
    };
    says(
        &source,
        "at once with the trigger that `portcullis source ddl crm` prints",
    );
    server.sql(&url, &printed(&source, &[]));
    says(&source, "log-outs in the application count at once");
    server.sql(&url, &printed(&source, &[]));
    says(&source, "log-outs in the application count at once");
    says(
        &format!("{source}display_name = \"/name\"\n"),
        "not the one that belongs to this configuration",
    );
    server.sql(&url, "ALTER TABLE session DISABLE TRIGGER ALL");
    says(&source, "a trigger that is switched off");
    server.sql(&url, &printed(&source, &["--undo"]));
    says(
        &source,
        "at once with the trigger that `portcullis source ddl crm` prints",
    );
    assert_eq!(
        server.sql(&url, "SELECT count(*) FROM pg_proc WHERE proname LIKE 'portcullis%'"),
        "0"
    );
}

#[tokio::test]
async fn a_table_of_which_no_trigger_sees_every_row_is_told_apart() {
    let server = Postgres::shared();
    let url = server.database();
    server.sql(&url, TABLE);
    server.sql(&url, &row("sid0"));
    server.sql(&url, "CREATE TABLE archive () INHERITS (session)");
    let (works, said) = check(&source(&url, ""), None);
    assert!(
        works && said.contains("no trigger that sees every row that goes"),
        "{said}"
    );
}

#[tokio::test]
async fn where_it_cannot_be_said_which_rows_went_everything_is_told() {
    let server = Postgres::shared();
    let url = server.database();
    let name = url.rsplit('/').next().expect("a name");
    server.sql(
        &url,
        &format!("{TABLE}; ALTER DATABASE {name} SET timezone = 'America/New_York'"),
    );
    server.sql(&url, &printed(&source(&url, LONG), &[]));
    let mut ears = Ears::on(&url).await;
    ears.sql(&row("sid0"));
    // Five hours later there is no year for it any more.
    ears.sql(&format!(
        "INSERT INTO session VALUES ('last', '{ADA}', '294276-12-31 23:30:00')"
    ));
    assert_eq!(ears.told("DELETE FROM session").await, ["f"]);
}
