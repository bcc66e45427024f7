use super::Sqlite;
use super::rows;
use crate::model::Timestamp;
use crate::store::StoreError;
use crate::store::columns;
use crate::store::sweeps::KEPT;
use crate::store::sweeps::Sweep;
use crate::store::sweeps::SweepScope;

const TABLE: &str = "sessions";
const RUNS: &str = "sweeps";

/// The file has one writer at a time, so two that sweep take turns.
pub(super) async fn sweep(
    store: &Sqlite,
    scope: SweepScope,
    now: Timestamp,
    limit: u32,
) -> Result<Option<u64>, StoreError> {
    let mut work = store.begin(TABLE).await?;
    let delete = Sqlite::query(&store.sql.sweep_sessions)
        .bind(columns::swept_until(scope, now).as_micros())
        .bind(now.as_micros())
        .bind(i64::from(limit));
    let gone = work.rows(TABLE, delete).await;
    let count = gone.map(|rows| Some(rows.len() as u64));
    work.settle(count).await
}

pub(super) async fn record(store: &Sqlite, sweep: Sweep) -> Result<(), StoreError> {
    let mut work = store.begin(RUNS).await?;
    let outcome = async {
        let insert = Sqlite::query(&store.sql.insert_sweep)
            .bind(sweep.at.as_micros())
            .bind(sweep.took_micros())
            .bind(i64::try_from(sweep.removed).unwrap_or(i64::MAX))
            .bind(sweep.by_hand)
            .bind(sweep.error);
        work.rows(RUNS, insert).await?;
        let forget = Sqlite::query(&store.sql.forget_sweeps).bind(i64::from(KEPT));
        work.rows(RUNS, forget).await.map(drop)
    }
    .await;
    work.settle(outcome).await
}

pub(super) async fn last(store: &Sqlite, limit: u32) -> Result<Vec<Sweep>, StoreError> {
    let query = || Sqlite::query(&store.sql.last_sweeps).bind(i64::from(limit));
    let found = store.read(&store.readers, RUNS, query).await?;
    found
        .iter()
        .map(rows::sweep)
        .collect::<Result<_, _>>()
        .map_err(|error| StoreError::on(RUNS, error))
}
