//! An application that alters its table while the gateway runs.

use super::*;
use portcullis::clock::Clock;
use portcullis::model::Timestamp;
use portcullis::store::{Adding, Expiry, LegacySettings, LegacyTable, Unit, Zone};

const SID: &str = "6fa3c2d8-14f0-4a0e-9c7e-0d5b6a1f2e3c";

/// The table `kept`, by one connection, so that each statement meets what the one before left on it.
fn table(database: &str, clock: Clock) -> LegacyTable {
    let settings = LegacySettings {
        url: database.to_owned().into(),
        table: "kept".to_owned(),
        key: "id".to_owned(),
        payload: Some("data".to_owned()),
        payload_paths: None,
        verify: None,
        columns: vec!["owner".to_owned()],
        expiry: Expiry::At {
            column: "ends".to_owned(),
            unit: Unit::Timestamp,
        },
        zone: Zone::Utc,
        users: None,
        may_end: true,
        may_touch: false,
        adding: Adding::default(),
        max_connections: 1,
        call_timeout: Duration::from_secs(20),
        prepared_statements: true,
    };
    LegacyTable::new(settings, clock).expect("a table")
}

fn database() -> String {
    let url = Postgres::shared().database();
    let made = "CREATE TABLE kept (id text PRIMARY KEY, owner text, data bytea, ends timestamp NOT NULL)";
    let name = url.rsplit('/').next().expect("a name");
    for sql in [made, &format!("ALTER DATABASE {name} SET timezone = 'UTC'"), &insert()] {
        Postgres::shared().sql(&url, sql);
    }
    url
}

fn insert() -> String {
    format!("INSERT INTO kept VALUES ('{SID}', 'ada', '{{}}', now() AT TIME ZONE 'UTC' + interval '1 hour')")
}

#[tokio::test]
async fn a_column_of_another_type_is_understood_by_the_next_look_up() {
    let database = database();
    let table = table(&database, Clock::system());
    let asked = async |what: &str| {
        let found = table.find(SID).await;
        let row = found
            .unwrap_or_else(|error| panic!("{what}: {error:?}"))
            .expect("a row");
        assert_eq!(row.payload.as_deref(), Some(&b"{}"[..]), "{what}");
        assert!((3_500..=3_601).contains(&row.left.as_secs()), "{what}: {:?}", row.left);
        let listed = table.list(portcullis::store::Listed::All, None, 9).await;
        let listed = listed.unwrap_or_else(|error| panic!("{what}: {error:?}"));
        assert_eq!(listed.len(), 1, "{what}");
    };
    asked("as it was").await;
    for alter in [
        // What the statement made before returns is of another type: "cached plan must not change result type".
        "ALTER COLUMN data TYPE text USING convert_from(data, 'UTF8')",
        "ALTER COLUMN id TYPE uuid USING id::uuid",
        "ALTER COLUMN id TYPE text",
    ] {
        Postgres::shared().sql(&database, &format!("ALTER TABLE kept {alter}"));
        asked(alter).await;
    }
    Postgres::shared().sql(&database, "ALTER TABLE kept ALTER COLUMN id TYPE uuid USING id::uuid");
    assert!(table.end(SID).await.expect("it is deleted"), "there was a row");
}

#[tokio::test]
async fn a_column_whose_other_type_makes_nothing_fail_is_understood_within_a_minute() {
    let database = database();
    let clock = Clock::manual(Timestamp::from_micros(0));
    let server = Postgres::shared();
    let to = |kind: &str| format!("ALTER TABLE kept ALTER COLUMN data TYPE {kind}");
    server.sql(&database, &to("text USING convert_from(data, 'UTF8')"));
    let table = table(&database, clock.clone());
    let payload = async || table.find(SID).await.expect("asked").expect("a row").payload;
    let right = Some(b"{}".to_vec());
    assert_eq!(payload().await, right);
    // Bytes as text are no error: `\x7b7d`.
    server.sql(&database, &to("bytea USING convert_to(data, 'UTF8')"));
    assert_ne!(
        payload().await,
        right,
        "then a look at the columns would change nothing"
    );
    clock.advance(Duration::from_secs(61));
    assert_eq!(payload().await, right);
}
