use crate::support::postgres::Postgres;
use crate::support::store::{Opened, add, session, user};
use portcullis::clock::Clock;
use portcullis::model::Digest;
use portcullis::store::{Place, Role, Settings, StoreError, open};
use secrecy::ExposeSecret;
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, sqlite::SqliteConnectOptions};

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
