use super::Begun;
use super::Postgres;
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
use time::OffsetDateTime;

const TABLE: &str = "legacy_ended";

impl Tombstones for Postgres {
    fn bury<'a>(&'a self, tombstones: &'a [Tombstone], event: Event) -> Call<'a, ()> {
        within(self.limit, async move {
            let mut work = self.begin(TABLE).await?;
            let outcome = async {
                insert(self, &mut work, tombstones).await?;
                end_copies(self, &mut work, tombstones, &event).await?;
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
            let over = self
                .query(&self.sql.forget_tombstones)
                .bind(OffsetDateTime::from(now))
                .bind(i64::from(limit));
            let outcome = work.rows(TABLE, over).await;
            Ok(work.settle(outcome).await?.len() as u64)
        })
    }
}

/// In the order of the digest, so that two who end the same sessions cannot deadlock.
async fn insert(store: &Postgres, work: &mut Begun, tombstones: &[Tombstone]) -> Result<(), StoreError> {
    let mut ordered: Vec<&Tombstone> = tombstones.iter().collect();
    ordered.sort_by_key(|one| one.digest.0);
    ordered.dedup_by_key(|one| one.digest);
    let moments = |of: fn(&Tombstone) -> Timestamp| -> Vec<OffsetDateTime> {
        ordered.iter().map(|one| OffsetDateTime::from(of(one))).collect()
    };
    let statement = store
        .query(&store.sql.bury)
        .bind(ordered.iter().map(|one| one.digest.0.to_vec()).collect::<Vec<_>>())
        .bind(ordered.iter().map(|one| one.source.clone()).collect::<Vec<_>>())
        .bind(moments(|one| one.ended_at))
        .bind(moments(|one| one.until));
    work.rows(TABLE, statement).await.map(drop)
}

/// Behind the insert, which waits for a run of the import that is at it: then its copies are seen.
async fn end_copies(
    store: &Postgres,
    work: &mut Begun,
    tombstones: &[Tombstone],
    event: &Event,
) -> Result<(), StoreError> {
    let of_rows: Vec<Vec<u8>> = tombstones.iter().map(|one| one.digest.0.to_vec()).collect();
    let ended = work
        .rows("sessions", store.query(&store.sql.end_copies).bind(of_rows))
        .await?;
    for row in &ended {
        let copy = rows::ended(row).map_err(|error| StoreError::on("sessions", error))?;
        events::write(store, work, &copy.told(event)).await?;
    }
    Ok(())
}

async fn find(store: &Postgres, digests: &[Digest]) -> Result<Vec<Digest>, StoreError> {
    let keys: Vec<Vec<u8>> = digests.iter().map(|digest| digest.0.to_vec()).collect();
    let query = || store.query(&store.sql.find_tombstones).bind(keys.clone());
    let found = store.read(&store.lookups, TABLE, query).await?;
    let digest = |row: &sqlx::postgres::PgRow| columns::digest(&row.try_get::<Vec<u8>, _>("digest")?);
    found
        .iter()
        .map(digest)
        .collect::<Result<_, _>>()
        .map_err(|error| StoreError::on(TABLE, error))
}
