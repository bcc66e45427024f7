//! Keys of rows, for the digests by which rows are known everywhere else.

use super::steps::Key;
use crate::model::Digest;
use moka::future::Cache;
use moka::policy::EvictionPolicy;
use std::time::Duration;

/// For how long after it was asked for last.
const KEYS_KEPT: Duration = Duration::from_hours(1);
/// Bytes of all: some 500,000 keys, or as many as who invents long ones can put there.
const MOST: u64 = 128 << 20;
/// What one takes besides its text.
const KEY: usize = 200;

/// The latest that were asked for: whoever invents keys pushes out old ones, and never keeps a new one from being
/// remembered.
pub(super) fn latest_keys() -> Cache<Digest, Key> {
    latest(MOST)
}

fn latest(bytes: u64) -> Cache<Digest, Key> {
    Cache::builder()
        .max_capacity(bytes)
        .weigher(|_, key: &Key| u32::try_from(KEY + key.text.len()).unwrap_or(u32::MAX))
        .eviction_policy(EvictionPolicy::lru())
        .time_to_idle(KEYS_KEPT)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_invents_keys_takes_no_more_than_was_given_and_keeps_no_other_from_being_remembered() {
        const MOST: u64 = 100_000;
        let keys = latest(MOST);
        let digest = |number: u32| {
            let mut digest = Digest([7; 32]);
            digest.0[..4].copy_from_slice(&number.to_be_bytes());
            digest
        };
        let key = |text: String| Key { text, verify: None };
        for number in 0..1_000 {
            keys.insert(digest(number), key("x".repeat(1_024))).await;
            // As a look-up does.
            keys.get(&digest(number)).await;
            keys.get(&digest(number)).await;
        }
        keys.run_pending_tasks().await;
        assert!(
            keys.weighted_size() <= MOST && keys.entry_count() < 100,
            "{}",
            keys.entry_count()
        );
        keys.insert(digest(5_000), key("somebody".to_owned())).await;
        keys.run_pending_tasks().await;
        assert!(keys.get(&digest(5_000)).await.is_some());
    }
}
