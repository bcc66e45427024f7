//! The statements for a table, made of its columns as they were seen. An application may alter its table while the gateway
//! runs.

use super::LegacyTable;
use super::TABLE;
use super::sql;
use super::sql::Statements;
use crate::store::StoreError;
use crate::store::work;
use sqlx::postgres::PgArguments;
use sqlx::postgres::PgRow;
use sqlx::query::Query;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

/// How long columns are taken to be as they were seen. What fails because they are not is noticed at once.
const BELIEVED: Duration = Duration::from_mins(1);

/// The statements at hand.
#[derive(Default)]
pub(super) struct AtHand {
    known: Mutex<Option<Known>>,
    /// Held by who asks for the columns the first time.
    first: tokio::sync::Mutex<()>,
}

struct Known {
    statements: Arc<Statements>,
    until: Duration,
}

impl AtHand {
    /// The statements, and whether this caller is the one who has to look whether they still fit.
    fn get(&self, now: Duration) -> Option<(Arc<Statements>, bool)> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.as_mut()?;
        let is_due = now >= known.until;
        if is_due {
            known.until = now.saturating_add(BELIEVED);
        }
        Some((Arc::clone(&known.statements), is_due))
    }

    fn put(&self, statements: &Arc<Statements>, now: Duration) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(Known {
            statements: Arc::clone(statements),
            until: now.saturating_add(BELIEVED),
        });
    }
}

impl LegacyTable {
    /// The statements for this table, as its columns were seen within the last minute. What cannot be asked the first time
    /// is asked again by the next call.
    pub(super) async fn statements(&self) -> Result<Arc<Statements>, StoreError> {
        let known = if let Some(known) = self.at_hand.get(self.clock.elapsed()) {
            known
        } else {
            let _first = self.at_hand.first.lock().await;
            match self.at_hand.get(self.clock.elapsed()) {
                Some(known) => known,
                None => return self.look().await,
            }
        };
        match known {
            (statements, false) => Ok(statements),
            // Nothing says that they do not fit, so a look that fails is no fault.
            (statements, true) => Ok(self.look().await.unwrap_or(statements)),
        }
    }

    async fn look(&self) -> Result<Arc<Statements>, StoreError> {
        let catalog = self.catalog().await?;
        let statements = Arc::new(sql::statements(&self.settings, &catalog)?);
        self.at_hand.put(&statements, self.clock.elapsed());
        Ok(statements)
    }

    /// Whether `sql` failed because the table was altered since its columns were seen; then they are the ones that fit.
    pub(super) async fn was_altered(&self, sql: &mut Arc<Statements>, error: &StoreError) -> bool {
        if !error.may_be_of_columns() {
            return false;
        }
        match self.look().await {
            Ok(fresh) if fresh != *sql => {
                *sql = fresh;
                true
            }
            _ => false,
        }
    }

    /// The rows of a statement that reads.
    pub(super) async fn rows(
        &self,
        statement: impl Fn(&Statements) -> Query<'static, sqlx::Postgres, PgArguments>,
    ) -> Result<Vec<PgRow>, StoreError> {
        let mut sql = self.statements().await?;
        loop {
            let found = work::read::<sqlx::Postgres>(&self.pool, TABLE, || statement(&sql)).await;
            match found {
                Err(error) if self.was_altered(&mut sql, &error).await => {}
                found => return found,
            }
        }
    }
}
