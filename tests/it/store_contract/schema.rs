use crate::support::postgres::Postgres;
use crate::support::store::{Opened, add, session, user};
use portcullis::clock::Clock;
use portcullis::model::{Digest, Timestamp};
use portcullis::store::{Place, Role, Settings, StoreError, SweepScope, Touch, Touched, open};
use secrecy::ExposeSecret;
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, sqlite::SqliteConnectOptions};
use std::time::Duration;

pub async fn migrating_twice_applies_nothing(opened: &Opened) {
    let command = open(&opened.settings, Role::Migration, Clock::system()).await.unwrap();
    assert!(command.migrate(true).await.unwrap().is_empty());
    assert!(command.migrate(false).await.unwrap().is_empty());
}

pub async fn a_newer_schema_that_allows_this_program_is_used(opened: &Opened) {
    add_version(opened, 1000, 1).await;
    let command = opened.beside().await;
    assert!(command.migrate(true).await.unwrap().is_empty());
    assert!(command.find_session(&Digest([0; 32])).await.unwrap().is_none());
}

pub async fn a_newer_schema_that_excludes_this_program_is_refused(opened: &Opened) {
    add_version(opened, 1000, 1000).await;
    for role in [Role::Command, Role::Gateway] {
        let settings = Settings {
            required_at_start: false,
            ..opened.settings.clone()
        };
        if role == Role::Gateway && matches!(settings.place, Place::Sqlite { .. }) {
            continue;
        }
        let refused = open(&settings, role, Clock::system())
            .await
            .map(|store| store.description());
        assert!(
            matches!(refused, Err(StoreError::TooNew { found: 1000, .. })),
            "{refused:?}"
        );
    }
}

pub async fn a_dry_run_applies_nothing_and_pending_migrations_are_refused(opened: &Opened) {
    sql(opened, "DELETE FROM schema_versions").await;
    let settings = Settings {
        migrate: false,
        ..opened.settings.clone()
    };
    let command = open(&settings, Role::Migration, Clock::system()).await.unwrap();
    let due = command.migrate(true).await.unwrap();
    assert_eq!(due[0], "0001_foundation");
    let refused = open(&settings, Role::Command, Clock::system())
        .await
        .map(|store| store.description());
    assert!(
        matches!(refused, Err(StoreError::Pending(count)) if count == due.len()),
        "{refused:?}"
    );
}

pub async fn nothing_is_asked_before_the_schema_is_known(opened: &Opened) {
    let unready = open(&opened.settings, Role::Migration, Clock::system()).await.unwrap();
    let asked = unready.find_session(&Digest([0; 32])).await;
    assert!(matches!(asked, Err(StoreError::NotReady)), "{asked:?}");
    unready.prepare().await.unwrap();
    unready.prepare().await.unwrap();
    assert!(unready.find_session(&Digest([0; 32])).await.unwrap().is_none());
}

pub async fn the_database_itself_refuses_what_the_program_never_writes(opened: &Opened) {
    let ann = user("ann");
    add(&*opened.store, &ann).await;
    crate::support::store::open_session(&*opened.store, &session(&ann)).await;
    for statement in [
        "UPDATE users SET username = 'Ann'",
        "UPDATE users SET username = 'a nn'",
        "UPDATE users SET email = 'Ann@example.com'",
        "UPDATE users SET state = 'gone'",
        "UPDATE sessions SET expires_at = expires_at + (ends_at - expires_at) + (ends_at - expires_at)",
        "UPDATE sessions SET data = '[1]'",
    ] {
        assert!(try_sql(opened, statement).await.is_err(), "{statement}");
    }
}

/// Somebody writes by hand what no calendar has; it stops nobody who reads the row.
pub async fn times_without_end_are_read_as_the_greatest_there_are(opened: &Opened) {
    let store = &*opened.store;
    let ann = user("ann");
    add(store, &ann).await;
    let before = session(&ann);
    crate::support::store::open_session(store, &before).await;
    let (end, beginning) = match opened.settings.place {
        Place::Postgres { .. } => ("'infinity'".to_owned(), "'-infinity'".to_owned()),
        Place::Sqlite { .. } => (i64::MAX.to_string(), i64::MIN.to_string()),
    };
    sql(
        opened,
        &format!("UPDATE sessions SET expires_at = {end}, ends_at = {end}"),
    )
    .await;
    sql(opened, &format!("UPDATE users SET created_at = {beginning}")).await;
    let read = store.find_session(&before.digest).await.unwrap().expect("it is there");
    let far = Timestamp::LAST;
    assert!(read.session.ends_at > far && read.session.expires_at > far && !read.session.is_over(far));
    assert_eq!(read.session.ends_at.to_string(), far.to_string());
    assert_eq!(read.user.created_at.to_string(), Timestamp::FIRST.to_string());
    assert_eq!(store.find_sessions(&[before.digest]).await.unwrap().len(), 1);
    assert_eq!(store.list_users(None, None, 9).await.unwrap().len(), 1);
    let touch = |seen_at: Timestamp| Touch {
        digest: before.digest,
        seen_at,
        expires_at: read.session.expires_at,
        known_end: read.session.expires_at,
        address: None,
    };
    let minute = Duration::from_mins(1);
    let seen = before.last_seen_at;
    let outcomes = [(seen, Touched::Known), (seen.plus(minute), Touched::Written)];
    for (seen_at, expected) in outcomes {
        let told = store.touch_sessions(&[touch(seen_at)], minute).await.unwrap();
        assert_eq!(told, [expected]);
    }
    let after = store.find_session(&before.digest).await.unwrap().expect("it is there");
    assert_eq!(after.session.expires_at, read.session.expires_at);
    assert_eq!(store.sweep_sessions(SweepScope::All, far, 9).await.unwrap(), Some(0));
}

async fn add_version(opened: &Opened, version: u32, oldest_compatible: u32) {
    let at = match opened.settings.place {
        Place::Postgres { .. } => "now()",
        Place::Sqlite { .. } => "0",
    };
    let statement = format!(
        "INSERT INTO schema_versions (version, name, oldest_compatible, applied_at)
         VALUES ({version}, 'later', {oldest_compatible}, {at})"
    );
    sql(opened, &statement).await;
}

async fn sql(opened: &Opened, statement: &str) {
    try_sql(opened, statement).await.unwrap();
}

/// Runs SQL behind the store's back, as somebody with psql or sqlite3 would.
async fn try_sql(opened: &Opened, statement: &str) -> Result<(), sqlx::Error> {
    match &opened.settings.place {
        Place::Sqlite { path } => {
            let mut connection = SqliteConnectOptions::new().filename(path).connect().await?;
            connection.execute(AssertSqlSafe(statement.to_owned())).await.map(drop)
        }
        Place::Postgres { url, schema, .. } => {
            let database = url.expose_secret().rsplit('/').next().unwrap();
            let options: sqlx::postgres::PgConnectOptions = Postgres::shared().url(database).parse()?;
            let mut connection = options.connect().await?;
            let path = format!("SET search_path TO \"{}\"", schema.replace('"', "\"\""));
            connection.execute(AssertSqlSafe(path)).await?;
            connection.execute(AssertSqlSafe(statement.to_owned())).await.map(drop)
        }
    }
}
