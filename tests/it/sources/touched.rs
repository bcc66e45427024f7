//! Activity here that moves the end of an application's rows, where an operator allowed it.

use super::checked::check;
use super::*;
use crate::streams::{frame, handshake};
use crate::support::gateway::pause;
use portcullis::clock::Clock;
use portcullis::store::{Adding, Expiry, LegacySettings, LegacyTable, Prolonging, Unit, Zone};
use sqlx::Connection;
use sqlx::Executor;
use std::time::Instant;

/// A life of a day.
const ADA: &str = r#"{"cookie":{"originalMaxAge":86400000,"expires":"2020-01-01T00:00:00Z"},"passport":{"user":42}}"#;
const PATIENCE: Duration = Duration::from_mins(1);
const TOUCH: &str = "touch = true";

impl Scene {
    fn minutes_left(&self) -> i64 {
        let left =
            self.sql("SELECT floor(extract(epoch FROM expire - now() AT TIME ZONE 'UTC') / 60)::bigint FROM session");
        left.parse().expect("one row")
    }

    fn until_prolonged(&self) {
        let since = Instant::now();
        while self.minutes_left() < 23 * 60 {
            assert!(since.elapsed() < PATIENCE, "{}", self.stage.gateway.log());
            pause();
        }
    }
}

#[tokio::test]
async fn activity_moves_the_end_of_a_row_and_nothing_else_of_it() {
    let scene = Scene::with(TOUCH, |_| Reply::text("hello")).await;
    scene.row("sid0", ADA);
    assert!(scene.told("/", &signed("sid0")).await.is_some());
    scene.until_prolonged();
    assert!((23 * 60..=24 * 60).contains(&scene.minutes_left()));
    assert_eq!(scene.sql("SELECT sess FROM session"), ADA);
}

#[tokio::test]
async fn bytes_of_the_client_in_a_tunnel_are_activity_that_the_application_does_not_see() {
    let scene = Scene::with(TOUCH, |_| Reply::WebSocketEcho).await;
    // Of a life of a minute, a quarter must have passed.
    let minute = ADA.replace("86400000", "60000");
    scene.sql(&format!(
        "INSERT INTO session VALUES ('sid0', '{minute}', now() AT TIME ZONE 'UTC' + interval '30 seconds')"
    ));
    let mut client = scene.stage.client().await;
    client.send(handshake("/", &signed("sid0")).as_bytes()).await;
    assert_eq!(client.head().await.status, 101);
    let later_than = |end: &str| scene.sql(&format!("SELECT expire > '{end}' FROM session")) == "t";
    let mut end = scene.sql("SELECT expire FROM session");
    // By the request, and by what is said after it.
    for _ in 0..2 {
        let since = Instant::now();
        while !later_than(&end) {
            assert!(since.elapsed() < PATIENCE, "{}", scene.stage.gateway.log());
            client.send(&frame(b"x")).await;
            pause();
        }
        end = scene.sql("SELECT expire FROM session");
    }
}

/// Each request is activity, and one statement a minute is enough for all of them.
#[tokio::test]
async fn activity_that_moves_no_end_asks_the_applications_database_nothing() {
    let scene = Scene::with(TOUCH, |_| Reply::text("hello")).await;
    scene.row("sid0", ADA);
    assert!(scene.told("/", &signed("sid0")).await.is_some());
    scene.until_prolonged();
    let since = Instant::now();
    // Whatever waits is written every second.
    while since.elapsed() < Duration::from_secs(3) {
        assert!(scene.told("/", &signed("sid0")).await.is_some());
        pause();
    }
    let mut client = crate::support::client::Client::plain(scene.stage.gateway.admin()).await;
    let metrics = client.get("127.0.0.1", "/metrics", &[]).await.text();
    let skipped = "portcullis_touches_total{result=\"skipped\"} 0\n";
    assert!(metrics.contains(skipped), "{metrics}");
}

#[tokio::test]
async fn without_the_key_no_end_is_moved() {
    let scene = Scene::with("", |_| Reply::text("hello")).await;
    scene.row("sid0", ADA);
    let before = scene.sql("SELECT expire FROM session");
    assert!(scene.told("/", &signed("sid0")).await.is_some());
    let Scene { stage, database } = scene;
    // What waits is written before the end.
    drop(stage.gateway.terminate());
    assert_eq!(Postgres::shared().sql(&database, "SELECT expire FROM session"), before);
}

fn table(url: &str) -> LegacyTable {
    let settings = LegacySettings {
        url: url.to_owned().into(),
        table: "session".to_owned(),
        key: "sid".to_owned(),
        payload: None,
        payload_paths: None,
        verify: None,
        columns: Vec::new(),
        expiry: Expiry::At {
            column: "expire".to_owned(),
            unit: Unit::Timestamp,
        },
        zone: Zone::Named("Asia/Kolkata".to_owned()),
        users: None,
        may_touch: true,
        may_end: true,
        adding: Adding::default(),
        max_connections: 4,
        call_timeout: Duration::from_secs(30),
        prepared_statements: true,
    };
    LegacyTable::new(settings, Clock::system()).expect("a table")
}

fn by_an_hour(keys: &[&str]) -> Vec<Prolonging> {
    let row = |key: &&str| Prolonging {
        key: (*key).to_owned(),
        left: Duration::from_hours(1),
        step: Duration::from_secs(30),
    };
    keys.iter().map(row).collect()
}

#[tokio::test]
async fn an_end_moves_forward_only_and_what_is_over_or_gone_stays_so() {
    let server = Postgres::shared();
    let url = server.database();
    server.sql(&url, TABLE);
    let row = |sid: &str, minutes: i32| {
        let end = format!("now() AT TIME ZONE 'Asia/Kolkata' + interval '{minutes} minutes'");
        server.sql(&url, &format!("INSERT INTO session VALUES ('{sid}', '{{}}', {end})"));
    };
    row("live", 10);
    row("over", -1);
    row("later", 120);
    row("just", 60);
    let before = server.sql(&url, "SELECT sid, expire FROM session WHERE sid <> 'live' ORDER BY 1");
    let table = table(&url);
    let keys = by_an_hour(&["live", "over", "later", "just", "gone"]);
    let moved = table.prolong(&keys).await.expect("it is written");
    assert_eq!(moved.into_iter().collect::<Vec<_>>(), ["live"]);
    let after = server.sql(&url, "SELECT sid, expire FROM session WHERE sid <> 'live' ORDER BY 1");
    assert_eq!(before, after);
    let left = server.sql(
        &url,
        "SELECT round(extract(epoch FROM expire - now() AT TIME ZONE 'Asia/Kolkata') / 60) FROM session WHERE sid = 'live'",
    );
    assert_eq!(left, "60");
    assert!(
        table.prolong(&keys).await.expect("it is written").is_empty(),
        "once is enough"
    );
}

#[tokio::test]
async fn a_row_that_somebody_holds_is_left_alone_and_nobody_waits_for_it() {
    let server = Postgres::shared();
    let url = server.database();
    server.sql(&url, TABLE);
    let end = "now() AT TIME ZONE 'Asia/Kolkata' + interval '10 minutes'";
    server.sql(
        &url,
        &format!("INSERT INTO session VALUES ('held', '{{}}', {end}), ('free', '{{}}', {end})"),
    );
    let mut holder = sqlx::PgConnection::connect(&url).await.expect("a connection");
    let hold = "BEGIN; UPDATE session SET sess = '{\"a\":1}' WHERE sid = 'held'";
    holder.execute(sqlx::raw_sql(hold)).await.expect("it is held");
    let moved = table(&url).prolong(&by_an_hour(&["held", "free"])).await;
    assert_eq!(moved.expect("it is written").into_iter().collect::<Vec<_>>(), ["free"]);
}

/// Touches and log-outs of the same rows at the same time: what was deleted is gone in the end.
#[tokio::test]
async fn a_deletion_and_a_touch_that_meet_leave_no_row() {
    let server = Postgres::shared();
    let url = server.database();
    server.sql(&url, TABLE);
    let (table, keys) = (table(&url), (0..200).map(|n| format!("s{n}")).collect::<Vec<_>>());
    let end = "now() AT TIME ZONE 'Asia/Kolkata' + interval '10 minutes'";
    server.sql(
        &url,
        &format!("INSERT INTO session SELECT 's' || n, '{{}}', {end} FROM generate_series(0, 199) AS n"),
    );
    let rows: Vec<Prolonging> = by_an_hour(&keys.iter().map(String::as_str).collect::<Vec<_>>())
        .into_iter()
        .map(|row| Prolonging {
            step: Duration::ZERO,
            ..row
        })
        .collect();
    let touching = async {
        for round in 0..30_u64 {
            let later = |row: &Prolonging| Prolonging {
                left: row.left + Duration::from_mins(round),
                ..row.clone()
            };
            let rows: Vec<Prolonging> = rows.iter().map(later).collect();
            table.prolong(&rows).await.expect("it is written");
        }
    };
    let ending = async {
        for key in &keys {
            assert!(table.end(key).await.expect("it is deleted"), "{key}");
        }
    };
    tokio::join!(touching, ending);
    assert!(table.prolong(&rows).await.expect("it is written").is_empty());
    assert_eq!(server.sql(&url, "SELECT count(*) FROM session"), "0");
}

#[test]
fn the_check_wants_the_right_to_change_the_end() {
    let server = Postgres::shared();
    let url = server.database();
    server.sql(&url, TABLE);
    let role = format!("toucher_{}", url.rsplit('/').next().expect("a name"));
    server.sql(
        &url,
        &format!(
            "INSERT INTO session VALUES ('sid0', '{ADA}', now() AT TIME ZONE 'UTC' + interval '1 hour'); \
             CREATE ROLE {role} LOGIN; GRANT SELECT (sid, sess, expire) ON session TO {role}"
        ),
    );
    let (scheme, rest) = url.split_once("://").expect("a URL");
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let source = source(&format!("{scheme}://{role}@{host}"), TOUCH);
    let (works, said) = check(&source, None);
    assert!(
        !works && said.contains("GRANT UPDATE (\"expire\") ON \"session\""),
        "{said}"
    );
    server.sql(&url, &format!("GRANT UPDATE (expire) ON session TO {role}"));
    let (works, said) = check(&source, None);
    assert!(works, "{said}");
}
