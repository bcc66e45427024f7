//! Activity, written into an application's own rows: the column of their end, and nothing else.

use super::LegacyTable;
use super::bound;
use super::failed;
use crate::store::StoreError;
use crate::store::work::within;
use sqlx::Row;
use std::collections::HashSet;
use std::time::Duration;

/// A row whose end is to be moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prolonging {
    /// Its key.
    pub key: String,
    /// How long it is to be live from here on.
    pub left: Duration,
    /// By how much its end must move to be moved at all.
    pub step: Duration,
}

impl LegacyTable {
    /// Moves ends forward: of rows that are there and live, and nobody holds. No row comes back, and none ends sooner. The
    /// keys of those that were moved.
    ///
    /// # Errors
    /// It was not carried out, or it is not known whether it was.
    pub async fn prolong(&self, rows: &[Prolonging]) -> Result<HashSet<String>, StoreError> {
        within(self.settings.call_timeout, async {
            let sql = self.statements().await?;
            let Some(prolong) = &sql.prolong else {
                return Ok(HashSet::new());
            };
            let keys: Vec<String> = rows.iter().map(|row| row.key.clone()).collect();
            // The zone is `$2`, as wherever a moment is read.
            let query = match sql.zone.as_deref() {
                Some(zone) => bound(self.query(prolong).bind(keys), Some(zone)),
                None => self.query(prolong).bind(keys).bind(None::<String>),
            };
            let query = query
                .bind(rows.iter().map(|row| row.left.as_secs_f64()).collect::<Vec<_>>())
                .bind(rows.iter().map(|row| row.step.as_secs_f64()).collect::<Vec<_>>());
            let mut lease = self.pool.lease().await?;
            let moved = query.fetch_all(&mut *lease).await.map_err(failed)?;
            lease.give_back();
            let key = |row: &sqlx::postgres::PgRow| row.try_get::<String, _>("key").map_err(failed);
            moved.iter().map(key).collect()
        })
        .await
    }
}
