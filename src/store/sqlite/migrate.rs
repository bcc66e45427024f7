use super::Sqlite;
use super::file;
use crate::store::StoreError;
use crate::store::migrate;
use crate::store::migrate::Applied;
use crate::store::migrate::Migration;
use sqlx::Executor;
use sqlx::Row;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

const TABLE: &str = "schema_versions";
const CREATE_TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_versions (
    version           INTEGER NOT NULL PRIMARY KEY,
    name              TEXT    NOT NULL,
    oldest_compatible INTEGER NOT NULL,
    applied_at        INTEGER NOT NULL
) STRICT";
const INSERT: &str = "INSERT INTO schema_versions (version, name, oldest_compatible, applied_at)
    VALUES ($1, $2, $3, $4)";

fn failed(error: sqlx::Error) -> StoreError {
    StoreError::on(TABLE, error)
}

/// What this program would apply. A file that is missing is not made for the question.
pub(super) async fn due(store: &Sqlite) -> Result<Vec<&'static Migration>, StoreError> {
    if !store.path.exists() {
        return migrate::due(migrate::SQLITE, &[]);
    }
    let mut lease = store.writer.lease().await?;
    let applied = applied(&mut lease).await.map_err(failed)?;
    lease.give_back();
    migrate::due(migrate::SQLITE, &applied)
}

/// Applies what is due, all in one transaction, and makes the file where it is missing; the names of what was applied.
pub(super) async fn apply(store: &Sqlite) -> Result<Vec<String>, StoreError> {
    file::make(&store.path)?;
    let mut lease = store.writer.lease().await?;
    lease.execute("BEGIN IMMEDIATE").await.map_err(failed)?;
    let due = migrate::due(migrate::SQLITE, &applied(&mut lease).await.map_err(failed)?)?;
    lease.execute(CREATE_TABLE).await.map_err(failed)?;
    for migration in &due {
        lease.execute(migration.sql).await.map_err(failed)?;
        let insert = sqlx::query(INSERT).bind(migration.version).bind(migration.name);
        let insert = insert
            .bind(migration.oldest_compatible)
            .bind(store.clock.now().as_micros());
        insert.execute(&mut *lease).await.map_err(failed)?;
    }
    lease.execute("COMMIT").await.map_err(failed)?;
    lease.give_back();
    Ok(migrate::names(&due))
}

async fn applied(connection: &mut SqliteConnection) -> Result<Vec<Applied>, sqlx::Error> {
    let known = sqlx::query("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = $1").bind(TABLE);
    if known.fetch_optional(&mut *connection).await?.is_none() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query("SELECT version, oldest_compatible FROM schema_versions")
        .fetch_all(connection)
        .await?;
    let applied = |row: &SqliteRow| {
        Ok(Applied {
            version: row.try_get("version")?,
            oldest_compatible: row.try_get("oldest_compatible")?,
        })
    };
    rows.iter().map(applied).collect()
}
