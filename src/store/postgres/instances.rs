use super::Postgres;
use super::rows;
use crate::store::Call;
use crate::store::StoreError;
use crate::store::columns;
use crate::store::instances::Instance;
use crate::store::instances::Instances;
use crate::store::instances::SeenInstance;
use crate::store::instances::Signing;
use crate::store::work::within;
use sqlx::Row;
use sqlx::postgres::PgRow;
use std::time::Duration;
use uuid::Uuid;

const TABLE: &str = "instances";

impl Instances for Postgres {
    fn is_shared(&self) -> bool {
        true
    }
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

async fn beat(store: &Postgres, instance: &Instance, forget_after: Duration) -> Result<Vec<SeenInstance>, StoreError> {
    let mut work = store.begin(TABLE).await?;
    let outcome = async {
        let write = store
            .query(&store.sql.write_instance)
            .bind(instance.id)
            .bind(instance.version.clone())
            .bind(instance.host.clone())
            .bind(instance.address.clone())
            .bind(instance.signing.cookie.clone())
            .bind(instance.signing.fingerprints.clone());
        work.rows(TABLE, write).await?;
        let over = store
            .query(&store.sql.forget_silent_instances)
            .bind(columns::micros(forget_after));
        work.rows(TABLE, over).await?;
        seen(&work.rows(TABLE, store.query(&store.sql.list_instances)).await?)
    }
    .await;
    work.settle(outcome).await
}

async fn list(store: &Postgres) -> Result<Vec<SeenInstance>, StoreError> {
    let query = || store.query(&store.sql.list_instances);
    seen(&store.read(&store.others, TABLE, query).await?)
}

async fn forget(store: &Postgres, id: Uuid) -> Result<(), StoreError> {
    let mut work = store.begin(TABLE).await?;
    let gone = work.rows(TABLE, store.query(&store.sql.forget_instance).bind(id)).await;
    work.settle(gone.map(drop)).await
}

fn seen(rows: &[PgRow]) -> Result<Vec<SeenInstance>, StoreError> {
    let seen = rows.iter().map(row).collect::<Result<_, _>>();
    seen.map_err(|error| StoreError::on(TABLE, error))
}

fn row(row: &PgRow) -> Result<SeenInstance, sqlx::Error> {
    let last_seen = rows::at(row, "last_seen")?;
    Ok(SeenInstance {
        instance: Instance {
            id: row.try_get("id")?,
            version: row.try_get("version")?,
            host: row.try_get("host")?,
            address: row.try_get("address")?,
            signing: Signing {
                cookie: row.try_get("cookie")?,
                fingerprints: row.try_get("fingerprints")?,
            },
        },
        started_at: rows::at(row, "started_at")?,
        silent_for: rows::now(row)?.since(last_seen),
        last_seen,
    })
}
