//! Rows of sessions that were ended here, which an application may bring back.

use super::lookups::Lookups;
use crate::model::Digest;
use crate::store::Store;
use crate::store::StoreError;
use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;
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

impl Lookups {
    /// This row was ended here.
    pub(super) async fn is_ended(&self, row: Digest) {
        self.ended.insert(row, ()).await;
    }

    /// Whether the row that was asked for by this digest is known to have been ended here.
    pub(crate) async fn was_ended(&self, digest: &Digest) -> bool {
        match self.key(digest).await {
            Some(key) => self.ended.contains_key(&self.settings.row_of(&key.text)),
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
