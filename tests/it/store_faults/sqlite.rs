use super::{ann_signed_in, in_time, is_found, record};
use crate::support::store::{Opened, event, on_sqlite, sqlite_settings, user};
use portcullis::clock::Clock;
use portcullis::model::EventKind;
use portcullis::store::{Place, Role, Settings, StoreError, open};
use sqlx::{ConnectOptions, Executor, SqliteConnection, sqlite::SqliteConnectOptions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn file(opened: &Opened) -> PathBuf {
    match &opened.settings.place {
        Place::Sqlite { path } => path.clone(),
        Place::Postgres { .. } => panic!("not SQLite"),
    }
}

async fn behind_the_back(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).connect().await.unwrap()
}

#[tokio::test]
async fn a_second_gateway_on_the_same_file_is_refused_by_name() {
    let opened = on_sqlite().await;
    let path = file(&opened);
    let refused = open(&opened.settings, Role::Gateway, Clock::system())
        .await
        .map(|store| store.description());
    let refused = refused.unwrap_err();
    let expected = format!(
        "{} is already in use by another gateway; one SQLite file serves one gateway",
        path.display()
    );
    assert_eq!(refused.to_string(), expected);
    drop(
        open(&opened.settings, Role::Command, Clock::system())
            .await
            .expect("commands work beside it"),
    );
    let settings = opened.settings.clone();
    let Opened { store, .. } = &opened;
    store.close().await.unwrap();
    let folder = opened.into_folder();
    open(&settings, Role::Gateway, Clock::system())
        .await
        .expect("the lock goes with the gateway");
    drop(folder);
}

#[tokio::test]
async fn the_file_and_its_folder_are_for_nobody_else() {
    let opened = on_sqlite().await;
    ann_signed_in(&opened).await;
    let path = file(&opened);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    for name in [
        "portcullis.db",
        "portcullis.db-wal",
        "portcullis.db-shm",
        "portcullis.db.lock",
    ] {
        assert_eq!(mode(&path.with_file_name(name)), 0o600, "{name}");
    }
}

#[tokio::test]
async fn asking_what_is_due_makes_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let settings = sqlite_settings(&folder.path().join("data/portcullis.db"));
    let store = open(&settings, Role::Migration, Clock::system()).await.unwrap();
    let due = store.migrate(true).await.unwrap();
    assert!(!due.is_empty());
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
    assert_eq!(store.migrate(false).await.unwrap(), due);
    assert!(store.migrate(true).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_path_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let occupied = folder.path().join("file");
    std::fs::write(&occupied, "").unwrap();
    let settings = sqlite_settings(&occupied.join("portcullis.db"));
    let refused = open(&settings, Role::Gateway, Clock::system())
        .await
        .map(|store| store.description());
    let refused = refused.unwrap_err();
    assert!(
        matches!(&refused, StoreError::File { path, .. } if path.starts_with(&occupied)),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("portcullis.db");
    std::fs::write(
        &path,
        "certainly no database, but long enough to be looked at ".repeat(100),
    )
    .unwrap();
    let refused = open(&sqlite_settings(&path), Role::Gateway, Clock::system())
        .await
        .map(|store| store.description());
    assert!(refused.is_err(), "{refused:?}");
}

#[tokio::test]
async fn a_writer_elsewhere_costs_a_change_its_time_and_look_ups_go_on() {
    let settings = Settings {
        call_timeout: Duration::from_secs(1),
        ..sqlite_settings(Path::new("portcullis.db"))
    };
    let opened = Opened::with(settings).await;
    let (_, live) = ann_signed_in(&opened).await;
    let mut other = behind_the_back(&file(&opened)).await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let written = in_time(&opened, record(&opened)).await;
    assert!(matches!(written, Err(StoreError::TimedOut)), "{written:?}");
    assert!(is_found(&opened, &live).await.unwrap());
    other.execute("ROLLBACK").await.unwrap();
    record(&opened).await.unwrap();
}

#[tokio::test]
async fn the_data_version_changes_with_other_processes_and_not_with_our_own_changes() {
    let opened = on_sqlite().await;
    let before = opened.store.data_version().await.unwrap().unwrap();
    ann_signed_in(&opened).await;
    assert_eq!(opened.store.data_version().await.unwrap(), Some(before));
    let mut other = behind_the_back(&file(&opened)).await;
    other.execute("UPDATE users SET name = 'Anna'").await.unwrap();
    let after = opened.store.data_version().await.unwrap().unwrap();
    assert_ne!(after, before);
    // A change elsewhere is seen through one of ours that comes after it.
    other.execute("UPDATE users SET name = 'Anne'").await.unwrap();
    record(&opened).await.unwrap();
    let then = opened.store.data_version().await.unwrap().unwrap();
    assert_ne!(then, after);
    assert_eq!(opened.store.data_version().await.unwrap(), Some(then));
}

#[tokio::test]
async fn a_new_writer_counts_as_a_change() {
    let opened = on_sqlite().await;
    let before = opened.store.data_version().await.unwrap().unwrap();
    // A call that nobody waits for closes the writer's connection.
    let mut other = behind_the_back(&file(&opened)).await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    assert!(
        tokio::time::timeout(Duration::from_millis(100), record(&opened))
            .await
            .is_err()
    );
    other.execute("ROLLBACK").await.unwrap();
    assert_ne!(opened.store.data_version().await.unwrap().unwrap(), before);
}

#[tokio::test]
async fn a_missing_table_is_a_failure_and_not_an_absent_session() {
    let opened = on_sqlite().await;
    let (ann, live) = ann_signed_in(&opened).await;
    let mut other = behind_the_back(&file(&opened)).await;
    other.execute("ALTER TABLE sessions RENAME TO elsewhere").await.unwrap();
    let asked = is_found(&opened, &live).await;
    assert!(
        matches!(asked, Err(StoreError::Failed { table: "sessions", .. })),
        "{asked:?}"
    );
    let deleted = opened.store.delete_user(ann.id, event(EventKind::UserDeleted)).await;
    assert!(matches!(deleted, Err(StoreError::Failed { .. })), "{deleted:?}");
    other.execute("ALTER TABLE elsewhere RENAME TO sessions").await.unwrap();
    assert!(is_found(&opened, &live).await.unwrap());
    assert_eq!(opened.store.find_user(&user("ann").username).await.unwrap(), Some(ann));
}
