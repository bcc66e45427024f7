//! The two things that are ever added to an application's database: a row that signs somebody in, and connect-pg-simple's
//! table where there is none. Nothing that is there is overwritten or altered.

use super::LegacyTable;
use super::TABLE;
use super::catalog::Catalog;
use super::sql::quoted_table;
use crate::model::Timestamp;
use crate::store::StoreError;
use crate::store::work::Work;
use crate::store::work::within;
use serde_json::Value;
use sqlx::AssertSqlSafe;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Between two attempts to make a table that could not be made.
const APART: Duration = Duration::from_mins(1);

impl LegacyTable {
    /// Inserts a row with this key, which ends at `end`, rounded up to a second as the library does. For sources that may
    /// open sessions.
    ///
    /// # Errors
    /// It was not carried out, or it is not known whether it was: a row whose key nobody has opens nothing. A row that has
    /// the key already stays as it is.
    pub async fn open(&self, key: &str, payload: &Value, end: Timestamp) -> Result<(), StoreError> {
        within(self.settings.call_timeout, async {
            let sql = self.statements().await?;
            let Some(open) = &sql.open else {
                return Err(StoreError::on(TABLE, sqlx::Error::ColumnNotFound("payload".to_owned())));
            };
            let seconds = end.as_seconds() + i64::from(end.as_micros() % 1_000_000 > 0);
            let mut work = Work::<sqlx::Postgres>::begin(&self.pool, TABLE, "BEGIN").await?;
            let insert = self
                .query(open)
                .bind(payload.to_string())
                .bind(seconds)
                .bind(key.to_owned());
            let insert = match &sql.zone {
                Some(zone) => insert.bind(zone.clone()),
                None => insert,
            };
            let outcome = work.rows(TABLE, insert).await.map(drop);
            work.settle(outcome).await
        })
        .await
    }

    /// Makes the table where the source may and there is none, so that it is there before anybody asks.
    ///
    /// # Errors
    /// Could not ask, or it was not made.
    pub async fn make_ready(&self) -> Result<(), StoreError> {
        within(self.settings.call_timeout, async { self.statements().await.map(drop) }).await
    }

    /// Whether there is a table.
    ///
    /// # Errors
    /// Could not ask.
    pub async fn is_there(&self) -> Result<bool, StoreError> {
        within(self.settings.call_timeout, async {
            Ok(!Catalog::read(&self.pool, &self.settings).await?.is_empty())
        })
        .await
    }

    /// The columns; of a table that is made first, where the source may make it and there is none.
    pub(super) async fn catalog(&self) -> Result<Catalog, StoreError> {
        let catalog = Catalog::read(&self.pool, &self.settings).await?;
        if !self.settings.adding.table || !catalog.is_empty() || !self.is_due() {
            return Ok(catalog);
        }
        let made = self.make().await;
        let catalog = Catalog::read(&self.pool, &self.settings).await?;
        let table = self.settings.table.as_str();
        match made {
            Ok(()) => tracing::info!(source.table = table, "made the table of an application's sessions"),
            // The application made it at the same moment.
            Err(_) if !catalog.is_empty() => {}
            Err(error) => tracing::warn!(
                source.table = table,
                error = &error as &dyn std::error::Error,
                "the table of an application's sessions is missing and could not be made; `portcullis source check` says more"
            ),
        }
        Ok(catalog)
    }

    /// Not more than once a minute, however many ask.
    fn is_due(&self) -> bool {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let now = millis(self.clock.elapsed()).max(1);
        let tried = self.tried.load(Relaxed);
        let due = tried == 0 || now >= tried.saturating_add(millis(APART));
        due && self.tried.compare_exchange(tried, now, Relaxed, Relaxed).is_ok()
    }

    /// As connect-pg-simple's own `table.sql` does, whole or not at all.
    async fn make(&self) -> Result<(), StoreError> {
        let mut work = Work::<sqlx::Postgres>::begin(&self.pool, TABLE, "BEGIN").await?;
        let mut outcome = Ok(());
        for statement in definition(&self.settings.table) {
            let statement = sqlx::query(AssertSqlSafe(statement)).persistent(false);
            outcome = work.rows(TABLE, statement).await.map(drop);
            if outcome.is_err() {
                break;
            }
        }
        work.settle(outcome).await
    }
}

/// The constraint and the index are called the same whatever the table is: so does the library.
fn definition(table: &str) -> [String; 3] {
    let table = quoted_table(table);
    [
        format!(
            "CREATE TABLE {table} (\"sid\" varchar NOT NULL COLLATE \"default\", \"sess\" json NOT NULL, \
             \"expire\" timestamp(6) NOT NULL) WITH (OIDS=FALSE)"
        ),
        format!(
            "ALTER TABLE {table} ADD CONSTRAINT \"session_pkey\" PRIMARY KEY (\"sid\") NOT DEFERRABLE INITIALLY IMMEDIATE"
        ),
        format!("CREATE INDEX \"IDX_session_expire\" ON {table} (\"expire\")"),
    ]
}
