use super::Begun;
use super::Postgres;
use super::events;
use crate::model::Digest;
use crate::model::Event;
use crate::model::Timestamp;
use crate::store::Call;
use crate::store::StoreError;
use crate::store::passes::Pass;
use crate::store::passes::Passes;
use crate::store::work::within;
use time::OffsetDateTime;

const TABLE: &str = "admin_passes";
const LINK: &str = "link";
const BROWSER: &str = "browser";

impl Passes for Postgres {
    fn add_link(&self, link: Pass, now: Timestamp, event: Event) -> Call<'_, ()> {
        within(self.limit, add_link(self, link, now, event))
    }
    fn use_link(&self, link: Digest, browser: Pass, now: Timestamp, event: Event) -> Call<'_, bool> {
        within(self.limit, use_link(self, link, browser, now, event))
    }
    fn has_pass(&self, browser: Digest, now: Timestamp) -> Call<'_, bool> {
        within(self.limit, has_pass(self, browser, now))
    }
    fn end_pass(&self, browser: Digest, event: Event) -> Call<'_, bool> {
        within(self.limit, end_pass(self, browser, event))
    }
}

async fn insert(store: &Postgres, work: &mut Begun, pass: Pass, kind: &'static str) -> Result<(), StoreError> {
    let statement = store
        .query(&store.sql.insert_pass)
        .bind(pass.digest.0.to_vec())
        .bind(kind)
        .bind(OffsetDateTime::from(pass.expires_at));
    work.rows(TABLE, statement).await.map(drop)
}

/// Takes a pass away; whether there was one that `now` does not lie behind.
async fn take(
    store: &Postgres,
    work: &mut Begun,
    digest: Digest,
    kind: &'static str,
    now: Option<Timestamp>,
) -> Result<bool, StoreError> {
    let statement = store
        .query(&store.sql.take_pass)
        .bind(digest.0.to_vec())
        .bind(kind)
        .bind(now.map(OffsetDateTime::from));
    Ok(!work.rows(TABLE, statement).await?.is_empty())
}

async fn add_link(store: &Postgres, link: Pass, now: Timestamp, event: Event) -> Result<(), StoreError> {
    let mut work = store.begin(TABLE).await?;
    let outcome = async {
        let over = store.query(&store.sql.forget_passes).bind(OffsetDateTime::from(now));
        work.rows(TABLE, over).await?;
        insert(store, &mut work, link, LINK).await?;
        events::write(store, &mut work, &event).await
    }
    .await;
    work.settle(outcome).await
}

async fn use_link(
    store: &Postgres,
    link: Digest,
    browser: Pass,
    now: Timestamp,
    event: Event,
) -> Result<bool, StoreError> {
    let mut work = store.begin(TABLE).await?;
    let outcome = async {
        if !take(store, &mut work, link, LINK, Some(now)).await? {
            return Ok(false);
        }
        insert(store, &mut work, browser, BROWSER).await?;
        events::write(store, &mut work, &event).await?;
        Ok(true)
    }
    .await;
    work.settle(outcome).await
}

async fn has_pass(store: &Postgres, browser: Digest, now: Timestamp) -> Result<bool, StoreError> {
    let query = || {
        store
            .query(&store.sql.has_pass)
            .bind(browser.0.to_vec())
            .bind(BROWSER)
            .bind(OffsetDateTime::from(now))
    };
    Ok(!store.read(&store.others, TABLE, query).await?.is_empty())
}

async fn end_pass(store: &Postgres, browser: Digest, event: Event) -> Result<bool, StoreError> {
    let mut work = store.begin(TABLE).await?;
    let outcome = async {
        let ended = take(store, &mut work, browser, BROWSER, None).await?;
        if ended {
            events::write(store, &mut work, &event).await?;
        }
        Ok(ended)
    }
    .await;
    work.settle(outcome).await
}
