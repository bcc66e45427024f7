use super::Postgres;
use super::statements::quoted;
use crate::store::StoreError;
use crate::store::migrate;
use crate::store::migrate::Applied;
use crate::store::migrate::Migration;
use sqlx::AssertSqlSafe;
use sqlx::Connection;
use sqlx::Executor;
use sqlx::PgConnection;
use sqlx::Row;

const TABLE: &str = "schema_versions";

/// A table that waits for a lock holds up everybody who comes after it, so no migration waits long for one; another
/// instance's migrations are waited for a while.
const TIMES: &str = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '30s'";
const CREATE_TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_versions (
    version           bigint      NOT NULL CONSTRAINT schema_versions_pkey PRIMARY KEY,
    name              text        NOT NULL,
    oldest_compatible bigint      NOT NULL,
    applied_at        timestamptz NOT NULL
)";
const INSERT: &str = "INSERT INTO schema_versions (version, name, oldest_compatible, applied_at)
    VALUES ($1, $2, $3, clock_timestamp())";

fn failed(error: sqlx::Error) -> StoreError {
    StoreError::on(TABLE, error)
}

/// What this program would apply.
pub(super) async fn due(store: &Postgres) -> Result<Vec<&'static Migration>, StoreError> {
    let mut connection = store.direct.connect().await.map_err(StoreError::Unreachable)?;
    // A transaction, because a pooler may have each statement done by another server process.
    connection.execute("BEGIN").await.map_err(failed)?;
    let applied = applied(&mut connection, &store.schema).await?;
    // Nothing is lost when the connection does not end in order.
    drop(connection.close().await);
    migrate::due(migrate::POSTGRES, &applied)
}

/// Applies what is due, all in one transaction under a lock; the names of what was applied.
pub(super) async fn apply(store: &Postgres) -> Result<Vec<String>, StoreError> {
    let connecting = tokio::time::timeout(store.limit, store.direct.connect());
    let mut connection = connecting
        .await
        .map_err(|_| StoreError::TimedOut)?
        .map_err(StoreError::Unreachable)?;
    connection.execute("BEGIN").await.map_err(failed)?;
    let names = apply_within(&mut connection, &store.schema).await?;
    connection.execute("COMMIT").await.map_err(failed)?;
    drop(connection.close().await);
    Ok(names)
}

async fn apply_within(connection: &mut PgConnection, schema: &str) -> Result<Vec<String>, StoreError> {
    connection.execute(TIMES).await.map_err(failed)?;
    let lock = sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))").persistent(false);
    lock.bind(format!("portcullis migrate {schema}"))
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    let applied = applied(connection, schema).await?;
    let due = migrate::due(migrate::POSTGRES, &applied)?;
    if due.is_empty() {
        return Ok(Vec::new());
    }
    make_schema(connection, schema).await.map_err(failed)?;
    for migration in &due {
        connection.execute(migration.sql).await.map_err(failed)?;
        let insert = sqlx::query(INSERT).persistent(false);
        let insert = insert
            .bind(migration.version)
            .bind(migration.name)
            .bind(migration.oldest_compatible);
        insert.execute(&mut *connection).await.map_err(failed)?;
    }
    Ok(migrate::names(&due))
}

/// Where an administrator made the schema beforehand, no right to make schemas is needed.
async fn make_schema(connection: &mut PgConnection, schema: &str) -> Result<(), sqlx::Error> {
    let known = sqlx::query("SELECT 1 FROM pg_namespace WHERE nspname = $1").persistent(false);
    let schema_name = quoted(schema);
    if known.bind(schema).fetch_optional(&mut *connection).await?.is_none() {
        connection
            .execute(AssertSqlSafe(format!("CREATE SCHEMA {schema_name}")))
            .await?;
    }
    // The files name no schema; this holds for the transaction only, so that a pooler passes nothing on.
    connection
        .execute(AssertSqlSafe(format!("SET LOCAL search_path TO {schema_name}")))
        .await?;
    connection.execute(CREATE_TABLE).await?;
    Ok(())
}

async fn applied(connection: &mut PgConnection, schema: &str) -> Result<Vec<Applied>, StoreError> {
    let table = format!("{}.{TABLE}", quoted(schema));
    let known = sqlx::query("SELECT to_regclass($1) IS NOT NULL AS known")
        .persistent(false)
        .bind(&table);
    let known = known.fetch_one(&mut *connection).await.map_err(failed)?;
    if !known.try_get::<bool, _>("known").map_err(failed)? {
        return Ok(Vec::new());
    }
    let select = format!("SELECT version, oldest_compatible FROM {table}");
    let rows = sqlx::query(AssertSqlSafe(select))
        .persistent(false)
        .fetch_all(&mut *connection)
        .await;
    let applied = |row: &sqlx::postgres::PgRow| {
        Ok(Applied {
            version: row.try_get("version")?,
            oldest_compatible: row.try_get("oldest_compatible")?,
        })
    };
    rows.map_err(failed)?
        .iter()
        .map(applied)
        .collect::<Result<_, _>>()
        .map_err(failed)
}
