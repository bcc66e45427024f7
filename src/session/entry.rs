use super::stripes::Stamps;
use crate::model::Session;
use crate::model::User;
use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::Duration;

/// A session and its user as they were loaded, with what other rooms made of them.
#[derive(Debug)]
pub struct Entry {
    /// The session as the row was; [`Entry::ends`] knows of activity since.
    pub session: Session,
    /// Its user.
    pub user: User,
    /// When the store was asked, by [`crate::clock::Clock::elapsed`].
    pub(super) loaded_at: Duration,
    pub(super) stamps: Stamps,
    /// When the session was last active, in microseconds; ahead of the row while a touch waits.
    pub(super) seen_at: AtomicI64,
    /// Its idle end, likewise.
    pub(super) idle_end: AtomicI64,
    /// Whether its browser is to get a fresh cookie with the next answer that can carry one.
    pub(super) renewal_owed: AtomicBool,
    /// Which source's it is; `None` for one of ours.
    pub(super) source: Option<Arc<str>>,
    /// Whether the shared cache keeps it no longer, or another answer in its place.
    let_go: AtomicBool,
    derived: Place,
}

/// The end of a list that only grows: readers walk it without a lock, and a place is filled once.
type Place = OnceLock<Box<Derived>>;

struct Derived {
    key: u64,
    value: Arc<dyn Any + Send + Sync>,
    next: Place,
}

impl fmt::Debug for Derived {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Derived")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl Entry {
    pub(super) fn new(session: Session, user: User, loaded_at: Duration, stamps: Stamps) -> Self {
        Self {
            seen_at: AtomicI64::new(session.last_seen_at.as_micros()),
            idle_end: AtomicI64::new(session.expires_at.as_micros()),
            renewal_owed: AtomicBool::new(false),
            session,
            user,
            loaded_at,
            stamps,
            source: None,
            let_go: AtomicBool::new(false),
            derived: OnceLock::new(),
        }
    }

    /// The name of the source whose application keeps this session; `None` for one of ours.
    #[must_use]
    pub fn source(&self) -> Option<&str> {
        self.source.as_deref()
    }

    pub(super) fn is_let_go(&self) -> bool {
        self.let_go.load(Acquire)
    }

    pub(super) fn let_go(&self) {
        self.let_go.store(true, Release);
    }

    /// What `make` built of this entry under `key`, built at most once per entry and key; keys are unique per process
    /// (one for each identity profile and audience). Reading takes no lock. `make` must not call `derived` itself.
    pub fn derived<T: Any + Send + Sync>(&self, key: u64, make: impl FnOnce(&Session, &User) -> T) -> Arc<T> {
        let mut make = Some(make);
        let mut place = &self.derived;
        loop {
            let held = place.get_or_init(|| {
                let value: Arc<dyn Any + Send + Sync> = match make.take() {
                    Some(make) => Arc::new(make(&self.session, &self.user)),
                    None => Arc::new(()),
                };
                Box::new(Derived {
                    key,
                    value,
                    next: OnceLock::new(),
                })
            });
            if held.key == key
                && let Ok(value) = Arc::clone(&held.value).downcast::<T>()
            {
                return value;
            }
            place = &held.next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::entry;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn each_key_has_its_own_value_and_is_made_once() {
        let entry = entry("anna");
        let made = AtomicUsize::new(0);
        let name = |key: u64| {
            entry.derived(key, |_, user| {
                made.fetch_add(1, Ordering::Relaxed);
                format!("{key}:{}", user.username)
            })
        };
        assert_eq!(*name(1), "1:anna");
        assert_eq!(*name(2), "2:anna");
        assert_eq!(*name(1), "1:anna");
        assert_eq!(made.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_key_that_is_used_with_two_types_keeps_them_apart() {
        let entry = entry("anna");
        assert_eq!(*entry.derived(1, |_, _| 7_u32), 7);
        assert_eq!(*entry.derived(1, |_, _| "seven"), "seven");
        assert_eq!(*entry.derived(1, |_, _| 8_u32), 7);
    }

    #[test]
    fn cores_that_ask_at_once_get_the_same_value() {
        let entry = entry("anna");
        let made = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for key in 0..50_u64 {
                        let value = entry.derived(key, |_, _| {
                            made.fetch_add(1, Ordering::Relaxed);
                            key
                        });
                        assert_eq!(*value, key);
                    }
                });
            }
        });
        assert_eq!(made.load(Ordering::Relaxed), 50);
    }
}
