use crate::model::Timestamp;
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

/// Refusals of a moment ago, so that a flood of attempts does not become a flood of questions. Bounded in number and time;
/// that something is not here says nothing.
#[derive(Default)]
pub(super) struct Standing(Mutex<HashMap<String, Refusal>>);

struct Refusal {
    free_at: Timestamp,
    /// By [`crate::clock::Clock::elapsed`].
    believed_until: Duration,
}

impl Standing {
    /// Most refusals remembered: about a megabyte.
    const MOST: usize = 10_000;

    /// When the last of `buckets` that is refused is free again.
    pub(super) fn find<'a>(&self, buckets: impl Iterator<Item = &'a str>, elapsed: Duration) -> Option<Timestamp> {
        let known = self.lock();
        if known.is_empty() {
            return None;
        }
        let found = buckets.filter_map(|bucket| known.get(bucket));
        let found = found.filter(|refusal| elapsed < refusal.believed_until);
        found.map(|refusal| refusal.free_at).max()
    }

    pub(super) fn insert(&self, bucket: String, free_at: Timestamp, elapsed: Duration, believed_until: Duration) {
        let mut known = self.lock();
        if known.len() >= Self::MOST {
            known.retain(|_, refusal| elapsed < refusal.believed_until);
        }
        if known.len() < Self::MOST {
            let refusal = Refusal {
                free_at,
                believed_until,
            };
            known.insert(bucket, refusal);
        }
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Refusal>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp::from_micros(1);

    #[test]
    fn a_refusal_is_repeated_for_a_while_and_what_is_remembered_is_bounded() {
        let standing = Standing::default();
        let second = Duration::from_secs(1);
        let find = |bucket: &str, elapsed| standing.find([bucket].into_iter(), elapsed);
        for number in 0..Standing::MOST + 10 {
            standing.insert(number.to_string(), AT, Duration::ZERO, second);
        }
        assert_eq!(standing.lock().len(), Standing::MOST);
        assert_eq!(find("7", Duration::ZERO), Some(AT));
        assert_eq!(find("7", second), None);
        assert_eq!(find("none", Duration::ZERO), None);
        standing.insert("late".to_owned(), AT, second, second * 2);
        assert_eq!(standing.lock().len(), 1, "what is over makes room");
        standing.clear();
        assert_eq!(find("late", second), None);
    }
}
