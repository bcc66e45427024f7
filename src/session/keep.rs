//! How long the shared cache keeps answers in memory: as long as any route could use one, and no longer. By real time,
//! only to give memory back; whether an answer is believed is judged on each hit.

use super::CacheSettings;
use super::Entry;
use super::cache::micros;
use crate::model::Digest;
use moka::Expiry;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use std::time::Instant;

/// The shortest time; also what a longer one must gain before an entry that is read is kept longer.
const LEAST: Duration = Duration::from_secs(1);

/// Can be changed while entries are kept. Clones are one.
#[derive(Clone, Default)]
pub(super) struct Keep(Arc<AtomicU64>);

impl Keep {
    /// By these settings, where the longest outage grace of any route is `longest_grace`.
    pub fn new(settings: &CacheSettings, longest_grace: Duration) -> Self {
        let keep = Self::default();
        keep.adopt(settings, longest_grace);
        keep
    }

    /// By these from here on. An entry at hand is kept for longer the next time it is read, which may be in the outage that
    /// made somebody allow more.
    pub fn adopt(&self, settings: &CacheSettings, longest_grace: Duration) {
        let bound = settings.max_age.max(settings.max_age_without_feed);
        let most = bound.saturating_add(longest_grace).max(LEAST);
        self.0.store(micros(most), Relaxed);
    }

    fn most(&self) -> Duration {
        Duration::from_micros(self.0.load(Relaxed))
    }
}

/// What is remembered of the store's answers.
pub(super) type Entries = moka::future::Cache<Digest, Arc<Entry>>;

/// Of rows, cores are told what is kept no longer: another answer may have come for it, and nobody need have told of that.
/// Ours may stay with a core: every change of them is told.
pub(super) fn entries(capacity: u64, keep: Keep, of_rows: bool) -> Entries {
    let builder = Entries::builder().max_capacity(capacity).expire_after(keep);
    if of_rows {
        builder
            .eviction_listener(|_, entry: Arc<Entry>, _| entry.let_go())
            .build()
    } else {
        builder.build()
    }
}

impl Expiry<Digest, Arc<Entry>> for Keep {
    fn expire_after_create(&self, _: &Digest, _: &Arc<Entry>, _: Instant) -> Option<Duration> {
        Some(self.most())
    }

    fn expire_after_read(
        &self,
        _: &Digest,
        _: &Arc<Entry>,
        read_at: Instant,
        left: Option<Duration>,
        kept_since: Instant,
    ) -> Option<Duration> {
        let due = self
            .most()
            .saturating_sub(read_at.saturating_duration_since(kept_since));
        // Whatever differs moves the entry in moka's books, so only what counts does.
        left.map(|left| if due > left.saturating_add(LEAST) { due } else { left })
    }

    fn expire_after_update(&self, _: &Digest, _: &Arc<Entry>, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(self.most())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::entry;
    use super::*;

    fn settings(seconds: u64) -> CacheSettings {
        CacheSettings {
            capacity: 10,
            max_age: Duration::from_secs(seconds),
            max_age_without_feed: Duration::from_secs(1),
        }
    }

    #[test]
    fn an_entry_at_hand_is_kept_for_longer_once_more_is_allowed_and_never_for_less() {
        let keep = Keep::new(&settings(30), Duration::ZERO);
        let (entry, start) = (Arc::new(entry("anna")), Instant::now());
        let digest = entry.session.digest;
        let seconds = Duration::from_secs;
        assert_eq!(keep.expire_after_create(&digest, &entry, start), Some(seconds(30)));
        let read = |left| keep.expire_after_read(&digest, &entry, start + seconds(10), Some(seconds(left)), start);
        assert_eq!(read(20), Some(seconds(20)), "a read alone keeps nothing");
        keep.adopt(&settings(30), seconds(300));
        assert_eq!(read(20), Some(seconds(320)));
        keep.adopt(&settings(5), Duration::ZERO);
        assert_eq!(read(20), Some(seconds(20)));
        assert_eq!(
            keep.expire_after_update(&digest, &entry, start, Some(seconds(20))),
            Some(seconds(5))
        );
        keep.adopt(&settings(0), Duration::ZERO);
        assert_eq!(keep.expire_after_create(&digest, &entry, start), Some(LEAST));
    }

    #[tokio::test]
    async fn moka_asks_for_it() {
        let keep = Keep::new(&settings(30), Duration::ZERO);
        let cache = moka::future::Cache::builder().expire_after(keep.clone()).build();
        let entry = Arc::new(entry("anna"));
        let digest = entry.session.digest;
        keep.0.store(1, Relaxed);
        cache.insert(digest, Arc::clone(&entry)).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(cache.get(&digest).await.is_none());
        keep.adopt(&settings(30), Duration::ZERO);
        cache.insert(digest, entry).await;
        assert!(cache.get(&digest).await.is_some());
    }
}
