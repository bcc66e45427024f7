use super::Sqlite;
use super::rows;
use crate::model::Timestamp;
use crate::store::Call;
use crate::store::StoreError;
use crate::store::columns;
use crate::store::instances::Instance;
use crate::store::instances::Instances;
use crate::store::instances::SeenInstance;
use crate::store::instances::Signing;
use crate::store::work::within;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use sqlx::types::Json;
use std::time::Duration;
use uuid::Uuid;

const TABLE: &str = "instances";

impl Instances for Sqlite {
    fn show_instance<'a>(&'a self, instance: &'a Instance, forget_after: Duration) -> Call<'a, Vec<SeenInstance>> {
        within(self.limit, beat(self, instance, forget_after))
    }
    fn list_instances(&self) -> Call<'_, Vec<SeenInstance>> {
        within(self.limit, list(self))
    }
    fn forget_instance(&self, id: Uuid) -> Call<'_, ()> {
        within(self.limit, forget(self, id))
    }
}

fn now(store: &Sqlite) -> Timestamp {
    store.clock.now()
}

async fn beat(store: &Sqlite, instance: &Instance, forget_after: Duration) -> Result<Vec<SeenInstance>, StoreError> {
    let now = now(store);
    let mut work = store.begin(TABLE).await?;
    let outcome = async {
        let write = Sqlite::query(&store.sql.write_instance)
            .bind(instance.id)
            .bind(instance.version.clone())
            .bind(instance.host.clone())
            .bind(instance.address.clone())
            .bind(instance.signing.cookie.clone())
            .bind(Json(instance.signing.fingerprints.clone()))
            .bind(now.as_micros());
        work.rows(TABLE, write).await?;
        let over = Sqlite::query(&store.sql.forget_silent_instances)
            .bind(now.as_micros().saturating_sub(columns::micros(forget_after)));
        work.rows(TABLE, over).await?;
        let rows = work.rows(TABLE, Sqlite::query(&store.sql.list_instances)).await?;
        seen(&rows, now)
    }
    .await;
    work.settle(outcome).await
}

async fn list(store: &Sqlite) -> Result<Vec<SeenInstance>, StoreError> {
    let query = || Sqlite::query(&store.sql.list_instances);
    seen(&store.read(&store.readers, TABLE, query).await?, now(store))
}

async fn forget(store: &Sqlite, id: Uuid) -> Result<(), StoreError> {
    let mut work = store.begin(TABLE).await?;
    let gone = work
        .rows(TABLE, Sqlite::query(&store.sql.forget_instance).bind(id))
        .await;
    work.settle(gone.map(drop)).await
}

fn seen(rows: &[SqliteRow], now: Timestamp) -> Result<Vec<SeenInstance>, StoreError> {
    let seen = rows.iter().map(|one| row(one, now)).collect::<Result<_, _>>();
    seen.map_err(|error| StoreError::on(TABLE, error))
}

fn row(row: &SqliteRow, now: Timestamp) -> Result<SeenInstance, sqlx::Error> {
    let last_seen = rows::at(row, "last_seen")?;
    Ok(SeenInstance {
        instance: Instance {
            id: row.try_get("id")?,
            version: row.try_get("version")?,
            host: row.try_get("host")?,
            address: row.try_get("address")?,
            signing: Signing {
                cookie: row.try_get("cookie")?,
                fingerprints: row.try_get::<Json<Vec<String>>, _>("fingerprints")?.0,
            },
        },
        started_at: rows::at(row, "started_at")?,
        silent_for: now.since(last_seen),
        last_seen,
    })
}
