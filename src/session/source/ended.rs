//! Rows of sessions that were ended here, which an application may bring back.

use super::lookups::Lookups;
use crate::model::Digest;
use crate::store::Store;
use crate::store::StoreError;
use futures_util::FutureExt;
use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Rows that are looked after at once, and the pauses between two looks.
pub(super) const MOST_CARED_FOR: usize = 1_000;
const CARE: [Duration; 6] = [
    Duration::from_millis(100),
    Duration::from_millis(400),
    Duration::from_secs(2),
    Duration::from_secs(8),
    Duration::from_secs(20),
    Duration::from_secs(30),
];

/// Rows that are remembered to have been ended; who has no cookie of such a row cannot add one.
const MOST_ENDED: u64 = 100_000;
const KEPT: Duration = Duration::from_hours(1);

/// What this process knows of ends of rows.
pub(super) struct Ends {
    /// Rows that are known to have been ended here.
    ended: moka::future::Cache<Digest, ()>,
    /// What was told of, ends of rows among it.
    heard: moka::future::Cache<Digest, ()>,
    /// Whether there was anything in either.
    any: AtomicBool,
}

impl Ends {
    pub(super) fn new() -> Self {
        let few = || {
            moka::future::Cache::builder()
                .max_capacity(MOST_ENDED)
                .time_to_live(KEPT)
                .build()
        };
        Self {
            ended: few(),
            heard: few(),
            any: AtomicBool::new(false),
        }
    }
}

impl Lookups {
    /// This row was ended here.
    pub(super) async fn is_ended(&self, row: Digest) {
        self.ends.ended.insert(row, ()).await;
        self.ends.any.store(true, Relaxed);
    }

    /// Something was told that may be the end of this row.
    pub(crate) fn hear(&self, row: Digest) {
        // What cannot be done at once, moka does later.
        let _ = self.ends.heard.insert(row, ()).now_or_never();
        self.ends.any.store(true, Relaxed);
    }

    /// Whether anything is known or was heard of ends of rows.
    pub(crate) fn knows_ends(&self) -> bool {
        self.ends.any.load(Relaxed)
    }

    /// Whether this row is known to have been ended here.
    pub(crate) fn knows_end_of(&self, row: &Digest) -> bool {
        self.ends.ended.contains_key(row)
    }

    /// Whether something was told that may be the end of this row.
    pub(crate) fn heard_of(&self, row: &Digest) -> bool {
        self.ends.heard.contains_key(row)
    }

    /// Whether this row was ended here, asking our own store where something was heard of it.
    pub(crate) async fn learn_end_of(&self, store: &dyn Store, row: Digest) -> Result<bool, StoreError> {
        if self.knows_end_of(&row) || !self.heard_of(&row) {
            return Ok(self.knows_end_of(&row));
        }
        let was_ended = !store.find_tombstones(&[row]).await?.is_empty();
        if was_ended {
            self.is_ended(row).await;
        }
        self.ends.heard.invalidate(&row).await;
        Ok(was_ended)
    }

    /// Whether the row that was asked for by this digest is known to have been ended here.
    pub(crate) async fn was_ended(&self, digest: &Digest) -> bool {
        match self.key(digest).await {
            Some(key) => self.ends.ended.contains_key(&self.settings.row_of(&key.text)),
            None => false,
        }
    }

    /// Those of `digests` that were ended here, as our own store says. Their rows are deleted once more, in case that the
    /// application brought one back; where that fails they are believed as little.
    pub(crate) async fn ended_of(&self, store: &dyn Store, digests: &[Digest]) -> Result<HashSet<Digest>, StoreError> {
        let mut rows: HashMap<Digest, (Digest, String)> = HashMap::new();
        for digest in digests {
            // A key that was forgotten is no row that is gone.
            let key = self.key(digest).await.ok_or(StoreError::TimedOut)?;
            rows.insert(self.settings.row_of(&key.text), (*digest, key.text));
        }
        let asked: Vec<Digest> = rows.keys().copied().collect();
        let mut ended = HashSet::new();
        for row in store.find_tombstones(&asked).await? {
            let Some((digest, key)) = rows.remove(&row) else {
                continue;
            };
            self.is_ended(row).await;
            ended.insert(digest);
            self.delete_again(&key).await;
        }
        Ok(ended)
    }

    /// Deletes the row of a session that was ended again and again for a while: requests that were under way may save it
    /// anew when they end, and nobody may come by with its cookie to make us look.
    pub(crate) fn look_after(self: &Arc<Self>, control: &tokio::runtime::Handle, key: String) {
        if !self.settings.mapping.comes_back {
            return;
        }
        // Beyond that, rows are deleted when they are seen.
        let Ok(permit) = Arc::clone(&self.care).try_acquire_owned() else {
            return;
        };
        let lookups = Arc::clone(self);
        control.spawn(async move {
            for pause in CARE {
                tokio::time::sleep(pause).await;
                lookups.delete_again(&key).await;
            }
            drop(permit);
        });
    }

    /// Deletes the row of a session that was ended; whether one had come back.
    pub(super) async fn delete_again(&self, key: &str) -> bool {
        match self.table.end(key).await {
            Ok(came_back) => {
                self.brought_back.inc_by(u64::from(came_back));
                came_back
            }
            Err(error) => {
                tracing::warn!(
                    source.name = self.settings.name,
                    error = &error as &dyn std::error::Error,
                    "the row of a session that was ended here could not be deleted again; the session is refused all the same"
                );
                false
            }
        }
    }
}
