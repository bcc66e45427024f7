use super::Postgres;
use super::rows;
use crate::model::Timestamp;
use crate::store::StoreError;
use crate::store::columns;
use crate::store::sweeps::KEPT;
use crate::store::sweeps::Sweep;
use crate::store::sweeps::SweepScope;
use sqlx::Row;
use time::OffsetDateTime;

const TABLE: &str = "sessions";
const RUNS: &str = "sweeps";

pub(super) async fn sweep(
    store: &Postgres,
    scope: SweepScope,
    now: Timestamp,
    limit: u32,
) -> Result<Option<u64>, StoreError> {
    let mut work = store.begin(TABLE).await?;
    let outcome = async {
        let lock = store.query(&store.sql.try_sweep_lock).bind(store.sweep_lock.as_str());
        let locked = work.rows("sweep lock", lock).await?;
        let mine = locked.first().map(|row| row.try_get("mine")).transpose();
        if !mine
            .map_err(|error| StoreError::on("sweep lock", error))?
            .unwrap_or(false)
        {
            return Ok(None);
        }
        let delete = store
            .query(&store.sql.sweep_sessions)
            .bind(OffsetDateTime::from(columns::swept_until(scope, now)))
            .bind(OffsetDateTime::from(now))
            .bind(i64::from(limit));
        let gone = work.rows(TABLE, delete).await?;
        let count = gone.first().map(|row| row.try_get("removed")).transpose();
        let count: Option<i64> = count.map_err(|error| StoreError::on(TABLE, error))?;
        Ok(Some(columns::unsigned(count.unwrap_or(0))))
    }
    .await;
    work.settle(outcome).await
}

pub(super) async fn record(store: &Postgres, sweep: Sweep) -> Result<(), StoreError> {
    let mut work = store.begin(RUNS).await?;
    let outcome = async {
        let insert = store
            .query(&store.sql.insert_sweep)
            .bind(OffsetDateTime::from(sweep.at))
            .bind(sweep.took_micros())
            .bind(i64::try_from(sweep.removed).unwrap_or(i64::MAX))
            .bind(sweep.by_hand)
            .bind(sweep.error);
        work.rows(RUNS, insert).await?;
        let forget = store.query(&store.sql.forget_sweeps).bind(i64::from(KEPT));
        work.rows(RUNS, forget).await.map(drop)
    }
    .await;
    work.settle(outcome).await
}

pub(super) async fn last(store: &Postgres, limit: u32) -> Result<Vec<Sweep>, StoreError> {
    let query = || store.query(&store.sql.last_sweeps).bind(i64::from(limit));
    let found = store.read(&store.others, RUNS, query).await?;
    found
        .iter()
        .map(rows::sweep)
        .collect::<Result<_, _>>()
        .map_err(|error| StoreError::on(RUNS, error))
}
