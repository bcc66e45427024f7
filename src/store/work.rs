//! How a call is carried out: a read in one statement, or changes in one transaction, each within its time.

use super::Call;
use super::StoreError;
use super::pool::Lease;
use super::pool::Pool;
use sqlx::Database;
use sqlx::Executor;
use sqlx::IntoArguments;
use sqlx::query::Query;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

type Statement<'q, DB> = Query<'q, DB, <DB as Database>::Arguments>;

/// `work` within `limit`. What is dropped at the deadline closes its connection, and the database rolls back.
pub(super) fn within<'a, T>(
    limit: Duration,
    work: impl Future<Output = Result<T, StoreError>> + Send + 'a,
) -> Call<'a, T>
where
    T: 'a,
{
    Box::pin(async move {
        tokio::time::timeout(limit, work)
            .await
            .unwrap_or(Err(StoreError::TimedOut))
    })
}

/// The rows of one statement that reads. Asked once more where a connection broke while it rested.
pub(super) async fn read<'q, DB>(
    pool: &Arc<Pool<DB::Connection>>,
    table: &'static str,
    statement: impl Fn() -> Statement<'q, DB>,
) -> Result<Vec<DB::Row>, StoreError>
where
    DB: Database,
    DB::Arguments: IntoArguments<DB>,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    loop {
        let mut lease = pool.lease().await?;
        match statement().fetch_all(&mut *lease).await {
            Ok(rows) => {
                lease.give_back();
                return Ok(rows);
            }
            Err(error) if lease.was_stale(&error) => {}
            Err(error) => {
                let error = StoreError::on(table, error);
                if error.leaves_connection() {
                    lease.give_back();
                }
                return Err(error);
            }
        }
    }
}

/// A transaction. Dropped, it is rolled back by the end of its connection.
pub(super) struct Work<DB: Database> {
    lease: Lease<DB::Connection>,
}

impl<DB> Work<DB>
where
    DB: Database,
    DB::Arguments: IntoArguments<DB>,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    /// Starts one with the statement `begin`. Nothing was asked before it, so it may be tried again on another connection.
    pub(super) async fn begin(
        pool: &Arc<Pool<DB::Connection>>,
        table: &'static str,
        begin: &'static str,
    ) -> Result<Self, StoreError> {
        loop {
            let mut lease = pool.lease().await?;
            match lease.execute(begin).await {
                Ok(_) => return Ok(Self { lease }),
                Err(error) if lease.was_stale(&error) => {}
                Err(error) => return Err(StoreError::on(table, error)),
            }
        }
    }

    /// The rows that a statement returns.
    pub(super) async fn rows(
        &mut self,
        table: &'static str,
        statement: Statement<'_, DB>,
    ) -> Result<Vec<DB::Row>, StoreError> {
        let rows = statement.fetch_all(&mut *self.lease).await;
        rows.map_err(|error| {
            self.lease.was_demoted(&error);
            StoreError::on(table, error)
        })
    }

    /// Rolls back what was done.
    pub(super) async fn undo(mut self) {
        if self.lease.execute("ROLLBACK").await.is_ok() {
            self.lease.give_back();
        }
    }

    /// Commits what went well, rolls back what did not, and tells which it was.
    pub(super) async fn settle<T>(mut self, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
        match outcome {
            Ok(done) => {
                let committed = self.lease.execute("COMMIT").await;
                committed.map_err(|error| StoreError::on("transaction", error))?;
                self.lease.give_back();
                Ok(done)
            }
            Err(error) => {
                if error.leaves_connection() && self.lease.execute("ROLLBACK").await.is_ok() {
                    self.lease.give_back();
                }
                Err(error)
            }
        }
    }
}
