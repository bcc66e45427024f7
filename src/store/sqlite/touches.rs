use super::Begun;
use super::Sqlite;
use super::rows;
use crate::store::StoreError;
use crate::store::columns;
use crate::store::touches::Touch;
use crate::store::touches::Touched;
use std::time::Duration;

const TABLE: &str = "sessions";

/// In one transaction: one sync of the file for all of them.
pub(super) async fn touch(store: &Sqlite, touches: &[Touch], apart: Duration) -> Result<Vec<Touched>, StoreError> {
    let mut work = store.begin(TABLE).await?;
    let outcome = async {
        let mut outcomes = Vec::with_capacity(touches.len());
        for touch in touches {
            outcomes.push(touch_one(store, &mut work, touch, apart).await?);
        }
        Ok(outcomes)
    }
    .await;
    work.settle(outcome).await
}

async fn touch_one(store: &Sqlite, work: &mut Begun, touch: &Touch, apart: Duration) -> Result<Touched, StoreError> {
    let standing = Sqlite::query(&store.sql.standing_session).bind(touch.digest.0.to_vec());
    let found = work.rows(TABLE, standing).await?;
    let row = found.first().map(rows::standing).transpose();
    let row = row.map_err(|error| StoreError::on(TABLE, error))?;
    if let Some(outcome) = touch.outcome(row, apart) {
        return Ok(outcome);
    }
    let update = Sqlite::query(&store.sql.touch_session)
        .bind(touch.digest.0.to_vec())
        .bind(touch.seen_at.as_micros())
        .bind(touch.expires_at.as_micros())
        .bind(columns::sweep_at(&touch.digest, touch.expires_at).as_micros())
        .bind(touch.address.map(|address| address.to_string()));
    work.rows(TABLE, update).await?;
    Ok(Touched::Written)
}
