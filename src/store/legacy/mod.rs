//! Session tables of applications: read as they are, never written but where an operator allowed it (`end`, `open`,
//! `create_table`).
//!
//! What must always hold: names come from the configuration and are always quoted; values are always bound. A row that
//! could not be asked for is never reported absent. The moment at which a row is over is judged by the clock of the
//! database that keeps it. Nothing of the application's own data is ever rewritten.

mod catalog;
mod check;
mod ddl;
mod feed;
mod listing;
mod open;
mod pages;
mod plan;
mod renewal;
mod rights;
mod settings;
mod sql;
mod touch;

pub use check::{Finding, Sample, Severity};
pub use ddl::Ddl;
pub use feed::{DdlError, LegacyFeed, Trigger};
pub use listing::{Listed, ListedRow};
pub use pages::{KeyedRow, LegacyPages};
pub use settings::{Adding, Expiry, LegacySettings, Lifetime, Unit, UserTable, Zone};
pub use touch::Prolonging;

use super::StoreError;
use super::pool::Pool;
use super::postgres::application_pool;
use super::work::within;
use crate::clock::Clock;
use renewal::AtHand;
use serde_json::Map;
use serde_json::Value;
use sql::Statements;
use sqlx::AssertSqlSafe;
use sqlx::PgConnection;
use sqlx::Row;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// What errors call an application's table; its own name is in the cause.
const TABLE: &str = "an application's table";

/// Columns by name.
pub type Columns = Map<String, Value>;

/// A row of an application's sessions.
#[derive(Clone, Debug, PartialEq)]
pub struct LegacyRow {
    /// The columns that were asked for; each as JSON. `None` where nobody can read them: nested too deep.
    pub columns: Option<Columns>,
    /// The payload as it is stored.
    pub payload: Option<Vec<u8>>,
    /// The bytes of the column that must be compared.
    pub verify: Option<Vec<u8>>,
    /// How long the row is still live; zero when it is over. Long for one that is never over.
    pub left: Duration,
}

/// One application's session table, on connections of its own.
pub struct LegacyTable {
    settings: LegacySettings,
    pool: Arc<Pool<PgConnection>>,
    at_hand: AtHand,
    clock: Clock,
    /// Whoever looks at every row has it.
    turn: tokio::sync::Mutex<()>,
    /// When the table was last tried to be made, in milliseconds; zero for never.
    tried: AtomicU64,
}

impl LegacyTable {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// The URL cannot be used.
    pub fn new(settings: LegacySettings, clock: Clock) -> Result<Self, StoreError> {
        let pool = application_pool(&settings.url, &settings.connecting(), clock.clone())?;
        Ok(Self {
            settings,
            pool,
            at_hand: AtHand::default(),
            clock,
            turn: tokio::sync::Mutex::default(),
            tried: AtomicU64::new(0),
        })
    }

    /// The row with this key, live or over; one round trip.
    ///
    /// # Errors
    /// Could not ask.
    pub async fn find(&self, key: &str) -> Result<Option<LegacyRow>, StoreError> {
        within(self.settings.call_timeout, async {
            let query = |sql: &Statements| bound(self.query(&sql.find).bind(key.to_owned()), sql.zone.as_deref());
            let rows = self.rows(query).await?;
            // Two rows with one key: nobody knows which the application takes.
            match rows.as_slice() {
                [one] => row(one).map(Some).map_err(failed),
                _ => Ok(None),
            }
        })
        .await
    }

    /// The columns of the user's row; `None` when there is none, or more than one, or nobody can read it.
    ///
    /// # Errors
    /// Could not ask.
    pub async fn find_user(&self, subject: &str) -> Result<Option<Columns>, StoreError> {
        within(self.settings.call_timeout, async {
            if self.settings.users.is_none() {
                return Ok(None);
            }
            let query = |sql: &Statements| self.query(&sql.find_user).bind(subject.to_owned());
            let rows = self.rows(query).await?;
            match rows.as_slice() {
                [one] => columns(one, "columns").map_err(failed),
                _ => Ok(None),
            }
        })
        .await
    }

    /// Deletes the row; whether there was one. For sources that may end sessions.
    ///
    /// # Errors
    /// It was not carried out, or it is not known whether it was.
    pub async fn end(&self, key: &str) -> Result<bool, StoreError> {
        within(self.settings.call_timeout, async {
            let mut sql = self.statements().await?;
            loop {
                let mut lease = self.pool.lease().await?;
                let done = self.query(&sql.end).bind(key.to_owned()).execute(&mut *lease).await;
                match done.map_err(failed) {
                    Ok(done) => {
                        lease.give_back();
                        return Ok(done.rows_affected() > 0);
                    }
                    Err(error) => {
                        // Its connection first: there may be one only.
                        drop(lease);
                        if !self.was_altered(&mut sql, &error).await {
                            return Err(error);
                        }
                    }
                }
            }
        })
        .await
    }

    fn query(&self, sql: &Arc<str>) -> Query<'static, sqlx::Postgres, PgArguments> {
        sqlx::query(AssertSqlSafe(Arc::clone(sql))).persistent(self.settings.prepared_statements)
    }
}

/// `query` with the zone behind the key, where the statement has a place for it.
fn bound<'q>(
    query: Query<'q, sqlx::Postgres, PgArguments>,
    zone: Option<&str>,
) -> Query<'q, sqlx::Postgres, PgArguments> {
    match zone {
        Some(zone) => query.bind(zone.to_owned()),
        None => query,
    }
}

fn failed(error: sqlx::Error) -> StoreError {
    StoreError::on(TABLE, error)
}

fn row(row: &PgRow) -> Result<LegacyRow, sqlx::Error> {
    let left: Option<f64> = row.try_get("left_seconds")?;
    Ok(LegacyRow {
        columns: columns(row, "columns")?,
        payload: row.try_get("payload")?,
        verify: row.try_get("verify")?,
        left: left_of(left),
    })
}

/// Without an end the row is over: no preset has a nullable one, so it is not for us to guess.
fn left_of(seconds: Option<f64>) -> Duration {
    const LONG: f64 = 100.0 * 365.0 * 86_400.0;
    match seconds {
        Some(seconds) if seconds > 0.0 => Duration::from_secs_f64(seconds.min(LONG)),
        _ => Duration::ZERO,
    }
}

fn columns(row: &PgRow, name: &str) -> Result<Option<Columns>, sqlx::Error> {
    match row.try_get::<Value, _>(name) {
        Ok(Value::Object(columns)) => Ok(Some(columns)),
        Ok(_) | Err(sqlx::Error::ColumnDecode { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
