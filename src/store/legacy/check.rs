//! Whether a source can work as it was configured, in words that name the fix.

use super::Columns;
use super::LegacyTable;
use super::TABLE;
use super::Zone;
use super::bound;
use super::catalog::Catalog;
use super::catalog::columns_of;
use super::columns;
use super::failed;
use super::left_of;
use super::sql;
use super::sql::quoted_table;
use crate::store::StoreError;
use crate::store::work;
use crate::store::work::within;
use sqlx::AssertSqlSafe;
use sqlx::Row;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Most rows that are looked at.
const SAMPLE: u32 = 200;
/// A check is for people who wait.
const PATIENCE: Duration = Duration::from_secs(15);

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It works.
    Fine,
    /// It works, and something will hurt.
    Warning,
    /// It cannot work.
    Fault,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// What was found, and what to do.
    pub text: String,
}

impl Finding {
    /// Nothing to do.
    #[must_use]
    pub fn fine(text: impl Into<String>) -> Self {
        Self::new(Severity::Fine, text)
    }

    /// Something that will hurt.
    #[must_use]
    pub fn warning(text: impl Into<String>) -> Self {
        Self::new(Severity::Warning, text)
    }

    /// Something to mend.
    #[must_use]
    pub fn fault(text: impl Into<String>) -> Self {
        Self::new(Severity::Fault, text)
    }

    fn new(severity: Severity, text: impl Into<String>) -> Self {
        Self {
            severity,
            text: text.into(),
        }
    }
}

/// A row for the checks that need to read payloads.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The payload as it is stored.
    pub payload: Option<Vec<u8>>,
    /// The columns that the mapping reads.
    pub columns: Columns,
    /// What the clock of the moment's column shows, read as UTC, in seconds since 1970.
    pub wall: Option<f64>,
    /// By how many seconds that clock is ahead of UTC, as configured.
    pub ahead: Option<f64>,
    /// How long the row is still live.
    pub left: Duration,
}

const ELSEWHERE: &str = "SELECT n.nspname::text AS schema FROM pg_catalog.pg_class AS c \
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
    WHERE c.relname = $1 AND c.relkind IN ('r', 'p', 'v') AND n.nspname NOT IN ('pg_catalog', 'information_schema') \
    ORDER BY 1 LIMIT 5";
const INDEXES: &str = "SELECT i.indisunique AND i.indpred IS NULL AS alone FROM pg_catalog.pg_index AS i \
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] \
    WHERE i.indrelid = to_regclass($1) AND a.attname = $2 AND i.indnkeyatts = 1 ORDER BY 1 DESC LIMIT 1";
const IS_ZONE: &str = "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_timezone_names WHERE name = $1) AS may";

impl LegacyTable {
    /// Looks at table, columns, index, rights and zone. An empty list never comes back: what is fine is told too.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn check(&self) -> Result<Vec<Finding>, StoreError> {
        within(PATIENCE, async {
            let closed = self.closed_schemas().await?;
            if !closed.is_empty() {
                return Ok(closed);
            }
            let known = columns_of(&self.pool, &self.settings.table).await?;
            if known.is_empty() && self.settings.adding.table {
                return Ok(vec![self.planned().await?]);
            }
            if known.is_empty() {
                return Ok(vec![self.no_table(&self.settings.table).await?]);
            }
            let mut findings = missing(&self.settings.table, &self.named(), &known);
            if let Some(users) = &self.settings.users {
                let theirs = columns_of(&self.pool, &users.table).await?;
                if theirs.is_empty() {
                    findings.push(self.no_table(&users.table).await?);
                }
                findings.extend(missing(&users.table, &users.named(), &theirs));
            }
            if !findings.is_empty() {
                return Ok(findings);
            }
            findings.push(Finding::fine(format!(
                "table {} and its columns are there",
                self.settings.table
            )));
            findings.push(self.index().await?);
            findings.extend(self.rights().await?);
            findings.extend(self.zone_is_known().await?);
            Ok(findings)
        })
        .await
    }

    /// Some rows, for checks that read payloads. Their keys are not asked for.
    ///
    /// # Errors
    /// Could not ask, or the table is not as it was configured.
    pub async fn sample(&self) -> Result<Vec<Sample>, StoreError> {
        within(PATIENCE, async {
            let catalog = Catalog::read(&self.pool, &self.settings).await?;
            let (text, zone) = sql::sample(&self.settings, &catalog, SAMPLE)?;
            let text: Arc<str> = text.into();
            let query = || {
                let query = sqlx::query(AssertSqlSafe(Arc::clone(&text))).persistent(false);
                bound(query, zone.as_deref())
            };
            let rows = work::read::<sqlx::Postgres>(&self.pool, TABLE, query).await?;
            let sample = |row: &sqlx::postgres::PgRow| {
                Ok(Sample {
                    payload: row.try_get("payload")?,
                    columns: columns(row, "columns")?.unwrap_or_default(),
                    wall: row.try_get("wall")?,
                    ahead: row.try_get("ahead")?,
                    left: left_of(row.try_get("left_seconds")?),
                })
            };
            rows.iter()
                .map(sample)
                .collect::<Result<_, sqlx::Error>>()
                .map_err(failed)
        })
        .await
    }

    /// The zone that times without one are read in.
    ///
    /// # Errors
    /// Could not ask.
    pub async fn zone(&self) -> Result<String, StoreError> {
        within(PATIENCE, async {
            Ok(Catalog::read(&self.pool, &self.settings).await?.zone)
        })
        .await
    }

    pub(super) fn named(&self) -> Vec<&str> {
        let settings = &self.settings;
        let mut named = vec![settings.key.as_str()];
        named.extend(settings.payload.as_deref());
        named.extend(settings.verify.as_deref());
        named.extend(settings.columns.iter().map(String::as_str));
        named.extend(settings.expiry.columns());
        named
    }

    async fn no_table(&self, table: &str) -> Result<Finding, StoreError> {
        let bare = table.split_once('.').map_or(table, |(_, bare)| bare);
        let query = || sqlx::query(ELSEWHERE).bind(bare.to_owned()).persistent(false);
        let rows = work::read::<sqlx::Postgres>(&self.pool, TABLE, query).await?;
        let found = rows.iter().map(|row| row.try_get::<String, _>("schema"));
        let schemas: Vec<String> = found.collect::<Result<_, _>>().map_err(failed)?;
        let hint = match schemas.first() {
            Some(schema) => format!("write table = \"{schema}.{bare}\""),
            None => "is this the application's database? `store_url` names it".to_owned(),
        };
        Ok(Finding::fault(format!("there is no table {table}; {hint}")))
    }

    async fn index(&self) -> Result<Finding, StoreError> {
        let (table, key) = (quoted_table(&self.settings.table), self.settings.key.clone());
        let query = || {
            sqlx::query(INDEXES)
                .bind(table.clone())
                .bind(key.clone())
                .persistent(false)
        };
        let rows = work::read::<sqlx::Postgres>(&self.pool, TABLE, query).await?;
        let unique = rows.first().map(|row| row.try_get::<bool, _>("alone")).transpose();
        Ok(match unique.map_err(failed)? {
            Some(true) => Finding::fine(format!("column {key} has a unique index")),
            Some(false) => Finding::warning(format!(
                "the index on {key} is not unique: two rows may have the same key, and then neither is believed"
            )),
            None => Finding::warning(format!(
                "column {key} has no index: every look-up reads the whole table. CREATE UNIQUE INDEX CONCURRENTLY ON {table} ({})",
                sql::quoted(&key)
            )),
        })
    }

    async fn zone_is_known(&self) -> Result<Option<Finding>, StoreError> {
        let Zone::Named(zone) = &self.settings.zone else {
            return Ok(None);
        };
        let known = self.asked(IS_ZONE, &[zone]).await?;
        Ok((!known).then(|| {
            Finding::fault(format!(
                "the database knows no time zone {zone}; write an IANA name such as \"Europe/Berlin\", or \"utc\""
            ))
        }))
    }
}

/// One fault for each column that is not there, with the nearest that is.
fn missing<T>(table: &str, named: &[&str], known: &HashMap<String, T>) -> Vec<Finding> {
    let mut faults = Vec::new();
    for name in named.iter().filter(|name| !known.contains_key(**name)) {
        let mut near: Vec<&String> = known.keys().collect();
        near.sort_by_key(|other| (strsim::damerau_levenshtein(name, other), (*other).clone()));
        let hint = near
            .first()
            .map_or(String::new(), |near| format!("; did you mean {near:?}?"));
        let fault = Finding::fault(format!("table {table} has no column {name:?}{hint}"));
        if !faults.contains(&fault) {
            faults.push(fault);
        }
    }
    faults
}
