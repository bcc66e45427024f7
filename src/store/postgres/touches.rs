use super::Postgres;
use super::rows;
use crate::model::Digest;
use crate::store::StoreError;
use crate::store::columns;
use crate::store::touches::Standing;
use crate::store::touches::Touch;
use crate::store::touches::Touched;
use std::collections::HashMap;
use std::time::Duration;
use time::OffsetDateTime;

const TABLE: &str = "sessions";

/// One statement for all; a second one tells what became of those that were not written.
pub(super) async fn touch(store: &Postgres, touches: &[Touch], apart: Duration) -> Result<Vec<Touched>, StoreError> {
    let query = || {
        let moments = |of: fn(&Touch) -> crate::model::Timestamp| -> Vec<OffsetDateTime> {
            touches.iter().map(|touch| of(touch).into()).collect()
        };
        let addresses: Vec<Option<String>> = touches
            .iter()
            .map(|touch| touch.address.map(|address| address.to_string()))
            .collect();
        store
            .query(&store.sql.touch_sessions)
            .bind(digests(touches.iter()))
            .bind(moments(|touch| touch.seen_at))
            .bind(moments(|touch| touch.expires_at))
            .bind(moments(|touch| touch.known_end))
            .bind(moments(|touch| columns::sweep_at(&touch.digest, touch.expires_at)))
            .bind(addresses)
            .bind(i64::try_from(apart.as_micros()).unwrap_or(i64::MAX))
    };
    let failed = |error| StoreError::on(TABLE, error);
    let written = store.read(&store.others, TABLE, query).await?;
    let written = written.iter().map(rows::digest).collect::<Result<Vec<_>, _>>();
    let written: std::collections::HashSet<Digest> = written.map_err(failed)?.into_iter().collect();
    let rest: Vec<&Touch> = touches
        .iter()
        .filter(|touch| !written.contains(&touch.digest))
        .collect();
    let standing = if rest.is_empty() {
        HashMap::new()
    } else {
        let query = || {
            store
                .query(&store.sql.standing_sessions)
                .bind(digests(rest.iter().copied()))
        };
        let found = store.read(&store.others, TABLE, query).await?;
        let found = found.iter().map(rows::standing).collect::<Result<_, _>>();
        found.map_err(failed)?
    };
    let outcome = |touch: &Touch| -> Touched {
        if written.contains(&touch.digest) {
            return Touched::Written;
        }
        let row: Option<Standing> = standing.get(&touch.digest).copied();
        touch.outcome(row, apart).unwrap_or(Touched::Locked)
    };
    Ok(touches.iter().map(outcome).collect())
}

fn digests<'a>(touches: impl Iterator<Item = &'a Touch>) -> Vec<Vec<u8>> {
    touches.map(|touch| touch.digest.0.to_vec()).collect()
}
