use super::Begun;
use super::Sqlite;
use super::events;
use super::rows;
use crate::model::Digest;
use crate::model::Event;
use crate::model::Timestamp;
use crate::store::Call;
use crate::store::StoreError;
use crate::store::columns;
use crate::store::tombstones::Tombstone;
use crate::store::tombstones::Tombstones;
use crate::store::work::within;
use sqlx::Row;
use sqlx::types::Json;

const TABLE: &str = "legacy_ended";

impl Tombstones for Sqlite {
    fn bury<'a>(&'a self, tombstones: &'a [Tombstone], event: Event) -> Call<'a, ()> {
        within(self.limit, async move {
            let mut work = self.begin(TABLE).await?;
            let outcome = async {
                for one in tombstones {
                    let statement = Self::query(&self.sql.bury)
                        .bind(one.digest.0.to_vec())
                        .bind(one.source.clone())
                        .bind(one.ended_at.as_micros())
                        .bind(one.until.as_micros());
                    work.rows(TABLE, statement).await?;
                    end_copies(self, &mut work, one, &event).await?;
                }
                events::write(self, &mut work, &event).await
            }
            .await;
            work.settle(outcome).await
        })
    }
    fn find_tombstones<'a>(&'a self, digests: &'a [Digest]) -> Call<'a, Vec<Digest>> {
        within(self.limit, find(self, digests))
    }
    fn forget_tombstones(&self, now: Timestamp, limit: u32) -> Call<'_, u64> {
        within(self.limit, async move {
            let mut work = self.begin(TABLE).await?;
            let over = Self::query(&self.sql.forget_tombstones)
                .bind(now.as_micros())
                .bind(i64::from(limit));
            let outcome = work.rows(TABLE, over).await;
            Ok(work.settle(outcome).await?.len() as u64)
        })
    }
}

async fn end_copies(store: &Sqlite, work: &mut Begun, tombstone: &Tombstone, event: &Event) -> Result<(), StoreError> {
    let statement = Sqlite::query(&store.sql.end_copies).bind(tombstone.digest.0.to_vec());
    for row in &work.rows("sessions", statement).await? {
        let copy = rows::ended(row).map_err(|error| StoreError::on("sessions", error))?;
        events::write(store, work, &copy.told(event)).await?;
    }
    Ok(())
}

async fn find(store: &Sqlite, digests: &[Digest]) -> Result<Vec<Digest>, StoreError> {
    // Bound as one JSON text: the number of digests must not change the statement.
    let keys: Vec<String> = digests.iter().map(|digest| hex::encode(digest.0)).collect();
    let query = || Sqlite::query(&store.sql.find_tombstones).bind(Json(keys.clone()));
    let found = store.read(&store.lookups, TABLE, query).await?;
    let digest = |row: &sqlx::sqlite::SqliteRow| columns::digest(&row.try_get::<Vec<u8>, _>("digest")?);
    found
        .iter()
        .map(digest)
        .collect::<Result<_, _>>()
        .map_err(|error| StoreError::on(TABLE, error))
}
