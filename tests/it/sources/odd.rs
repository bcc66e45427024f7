//! Rows that no application should write, and some do: each is its own holder's affair.

use super::*;
use crate::support::gateway::{PATIENCE, pause};
use std::time::Instant;

/// A table of one's own, by whose keys people are known.
async fn plain(table: &str, more: &str) -> Scene {
    let database = Postgres::shared().database();
    Postgres::shared().sql(&database, table);
    let source = format!(
        "[[source]]\nname = \"crm\"\npreset = \"plain-table\"\nhosts = [\"app.example.test\"]\n\
         store_url = \"{database}\"\nmax_age = \"5m\"\n{more}\n"
    );
    let stage = Stage::with("", &format!("{ROUTES}\n{source}"), |_| Reply::text("hello")).await;
    Scene { stage, database }
}

/// What a command says; it must work.
fn said(scene: &Scene, args: &[&str]) -> String {
    let output = scene.stage.gateway.command(args, "");
    assert!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn a_row_that_never_ends_is_live_and_keeps_nobody_from_being_listed() {
    let utmost = "'294276-12-31 23:59:59Z'";
    let (hour, epoch) = (
        "now() + interval '1 hour'",
        "extract(epoch FROM now() + interval '1 hour')",
    );
    for (kind, never, over, later) in [
        ("timestamptz", "'infinity'", "'-infinity'", hour),
        ("timestamp", "'infinity'", "'-infinity'", hour),
        ("timestamptz", utmost, "'4713-01-01 BC'", hour),
        ("bigint", "9223372036854775807", "-9223372036854775808", epoch),
    ] {
        let columns = format!("id text PRIMARY KEY, user_id text, expires_at {kind}");
        let scene = plain(&format!("CREATE TABLE sessions ({columns})"), "end = true").await;
        scene.sql(&format!(
            "INSERT INTO sessions VALUES ('never', 'ada', {never}), ('over', 'bob', {over}), ('later', 'eve', {later}), \
             ('unset', 'tom', NULL)"
        ));
        for (key, user) in [
            ("never", Some("crm:ada")),
            ("later", Some("crm:eve")),
            ("over", None),
            ("unset", None),
        ] {
            let told = scene.told("/", &format!("session={key}")).await;
            assert_eq!(told.as_deref(), user, "{kind}: {key}");
        }
        let list = said(&scene, &["session", "list", "--source", "crm", "--json"]);
        assert!(
            list.contains("crm:ada") && list.contains("crm:eve") && !list.contains("crm:bob"),
            "{kind}: {list}"
        );
        said(&scene, &["session", "end", "--user", "crm:ada"]);
        assert_eq!(scene.sql("SELECT count(*) FROM sessions"), "3");
        said(&scene, &["session", "import", "--source", "crm", "--dry-run"]);
    }
}

#[tokio::test]
async fn a_column_that_cannot_be_read_is_its_own_rows_affair() {
    let columns = "user_id text NOT NULL, roles json, expires_at timestamptz DEFAULT now() + interval '1 hour'";
    let table = format!("CREATE TABLE sessions (id text PRIMARY KEY, {columns})");
    let scene = plain(&table, "groups = \"roles\"\nend = true").await;
    let deep = "[".repeat(300) + &"]".repeat(300);
    scene.sql(&format!(
        "INSERT INTO sessions VALUES ('good', 'ada', '[\"staff\"]'), ('null', 'bob', '[\"a\\u0000b\"]'), \
         ('deep', 'eve', '{deep}')"
    ));
    // What the first cannot be is a member; the other says nothing that could be trusted.
    for (key, user) in [("good", Some("crm:ada")), ("null", Some("crm:bob")), ("deep", None)] {
        assert_eq!(
            scene.told("/", &format!("session={key}")).await.as_deref(),
            user,
            "{key}"
        );
    }
    let list = said(&scene, &["session", "list", "--source", "crm", "--json"]);
    assert!(list.contains("crm:ada") && list.contains("crm:bob"), "{list}");
}

const PAGES: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_looks_at_their_sessions_again_and_again_keeps_nobody_waiting() {
    let late = "CREATE FUNCTION late(text) RETURNS text LANGUAGE plpgsql STABLE AS \
        $$ BEGIN PERFORM pg_sleep(0.02); RETURN $1; END $$";
    let table = format!(
        "{late}; CREATE TABLE many (id text PRIMARY KEY, user_id text, expires_at timestamptz); \
         CREATE VIEW sessions AS SELECT id, late(user_id) AS user_id, expires_at FROM many; \
         INSERT INTO many SELECT 'sid' || n, 'u' || n, now() + interval '1 hour' FROM generate_series(0, 299) AS n"
    );
    let scene = plain(&table, "").await;
    assert_eq!(scene.told("/", "session=sid0").await.as_deref(), Some("crm:u0"));
    let address = scene.stage.gateway.address(1);
    let pages: Vec<_> = (0..PAGES)
        .map(|_| {
            tokio::spawn(async move {
                let lines = ["Cookie: session=sid0", "Accept: application/json"];
                let mut client = crate::support::client::Client::plain(address).await;
                client.get(HOST, "/.portcullis/sessions", &lines).await.status
            })
        })
        .collect();
    // Whoever was not asked for before is known all the same, one after the other, while the lists are read.
    let mut asked = 0;
    let started = Instant::now();
    while pages.iter().any(|page| !page.is_finished()) && started.elapsed() < PATIENCE {
        asked += 1;
        assert_eq!(
            scene.told("/", &format!("session=sid{asked}")).await,
            Some(format!("crm:u{asked}"))
        );
        pause();
    }
    assert!(asked > 2, "the lists were read at once: {asked}");
    for page in pages {
        assert!(matches!(page.await.expect("an answer"), 200 | 503));
    }
}
