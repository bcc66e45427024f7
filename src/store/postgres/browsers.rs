//! What a browser's open streams and its offline pages ask of the store.

use super::Begun;
use super::Postgres;
use super::events;
use super::rows;
use crate::model::Digest;
use crate::model::Event;
use crate::store::StoreError;
use crate::store::records::Found;

const TABLE: &str = "sessions";

pub(super) async fn find_all(store: &Postgres, digests: &[Digest]) -> Result<Vec<Found>, StoreError> {
    let keys: Vec<Vec<u8>> = digests.iter().map(|digest| digest.0.to_vec()).collect();
    let query = || store.query(&store.sql.find_sessions).bind(keys.clone());
    let found = store.read(&store.lookups, TABLE, query).await?;
    found
        .iter()
        .map(rows::found)
        .collect::<Result<_, _>>()
        .map_err(|error| StoreError::on(TABLE, error))
}

pub(super) async fn name_device(
    store: &Postgres,
    digest: &Digest,
    name: &str,
    event: Event,
) -> Result<bool, StoreError> {
    let mut work = store.begin(TABLE).await?;
    let outcome = rename(store, &mut work, digest, name, &event).await;
    work.settle(outcome).await
}

async fn rename(
    store: &Postgres,
    work: &mut Begun,
    digest: &Digest,
    name: &str,
    event: &Event,
) -> Result<bool, StoreError> {
    let statement = store
        .query(&store.sql.name_device)
        .bind(digest.0.to_vec())
        .bind(name.to_owned());
    if work.rows(TABLE, statement).await?.is_empty() {
        return Ok(false);
    }
    events::write(store, work, event).await?;
    Ok(true)
}
