use super::Entry;
use super::cache::Absent;
use super::cache::Cache;
use super::cache::TRIES;
use crate::model::Digest;
use crate::model::UserState;
use crate::store::Found;
use crate::store::StoreError;
use crate::telemetry::Metrics;
use prometheus_client::metrics::counter::Counter;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::watch;

/// The store ends its calls itself, sooner; this only keeps a broken store from holding a request for ever.
pub(super) const GUARD: Duration = Duration::from_secs(30);
/// Most different sessions asked for at once; more are *could not ask*.
const MOST: usize = 16_384;

/// What a question to the store brought.
#[derive(Clone, Debug)]
pub(super) enum Loaded {
    Found(Arc<Entry>),
    Absent(Absent),
    Unavailable,
}

/// Questions under way, one for each session, whoever asks.
pub(super) struct Flights {
    under_way: Mutex<HashMap<Digest, Asked>>,
    /// Whether the last question failed.
    failing: AtomicBool,
    found: Counter,
    absent: Counter,
    unavailable: Counter,
}

impl Flights {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self {
            under_way: Mutex::default(),
            failing: AtomicBool::new(false),
            found: metrics.lookup("found"),
            absent: metrics.lookup("absent"),
            unavailable: metrics.lookup("unavailable"),
        }
    }

    pub(super) fn failing(&self) -> bool {
        self.failing.load(Relaxed)
    }
}

/// A question that was asked; dropping it cancels nothing.
#[derive(Clone)]
pub(super) struct Asked(Option<watch::Receiver<Option<Loaded>>>);

impl Asked {
    pub(super) async fn outcome(self) -> Loaded {
        let Some(mut landed) = self.0 else {
            return Loaded::Unavailable;
        };
        // A sender that went without a word: the task panicked or its runtime ended.
        match landed.wait_for(Option::is_some).await {
            Ok(loaded) => loaded.clone().unwrap_or(Loaded::Unavailable),
            Err(_) => Loaded::Unavailable,
        }
    }
}

/// Takes a question off the list however it ends.
struct Landing {
    cache: Arc<Cache>,
    digest: Digest,
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut under_way = self
            .cache
            .flights
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        under_way.remove(&self.digest);
    }
}

impl Cache {
    /// Asks the store for `digest`, or joins the question that is under way.
    pub(super) fn ask(self: &Arc<Self>, digest: &Digest) -> Asked {
        let mut under_way = self.flights.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(asked) = under_way.get(digest) {
            return asked.clone();
        }
        if under_way.len() >= MOST {
            return Asked(None);
        }
        let (sender, receiver) = watch::channel(None);
        let asked = Asked(Some(receiver));
        under_way.insert(*digest, asked.clone());
        drop(under_way);
        let landing = Landing {
            cache: Arc::clone(self),
            digest: *digest,
        };
        self.control.spawn(async move {
            let loaded = landing.cache.load_and_keep(&landing.digest).await;
            // Kept first, then off the list: whoever misses the one finds the other.
            drop(landing);
            sender.send_replace(Some(loaded));
        });
        asked
    }

    async fn load_and_keep(&self, digest: &Digest) -> Loaded {
        // Kept by a question that ended between the asker's look into the cache and this one's start.
        if let Some(loaded) = self.peek(digest).await {
            return loaded;
        }
        let loaded = self.load(digest).await;
        self.keep(*digest, &loaded).await;
        loaded
    }

    /// Asks until no change came in between, [`TRIES`] times at most. Runs on the control runtime.
    pub(super) async fn load(&self, digest: &Digest) -> Loaded {
        let before_this = self.at_hand(digest).await;
        let mut guess = before_this.as_ref().map(|entry| entry.session.user);
        for _ in 0..TRIES {
            let before = self.stripes.before(digest, guess);
            let loaded_at = self.time.elapsed();
            let found = match self.query(digest).await {
                Ok(found) => found,
                Err(error) => {
                    self.failed(&error);
                    return Loaded::Unavailable;
                }
            };
            self.answered(found.is_some());
            let Some(Found { session, user }) = found.filter(|found| found.user.state == UserState::Active) else {
                match self.stripes.stamp_absent(digest, before) {
                    Some(stamps) => return Loaded::Absent(Absent { loaded_at, stamps }),
                    None => continue,
                }
            };
            guess = Some(session.user);
            if let Some(stamps) = self.stripes.stamp(digest, session.user, before) {
                let entry = Entry::new(session, user, loaded_at, stamps);
                self.go_on(&entry, before_this.as_deref());
                return if entry.is_over(self.time.moment().now) {
                    Loaded::Absent(Absent {
                        loaded_at,
                        stamps: stamps.absent(),
                    })
                } else {
                    Loaded::Found(Arc::new(entry))
                };
            }
        }
        Loaded::Unavailable
    }

    /// What the row does not know: activity that waits to be written, and a cookie that is still owed.
    pub(super) fn go_on(&self, entry: &Entry, before: Option<&Entry>) {
        if let Some(touch) = self.touches.of(&entry.session.digest) {
            entry.resume(&touch);
        }
        if before.is_some_and(|before| before.renewal_owed.load(Relaxed)) {
            entry.renewal_owed.store(true, Relaxed);
        }
    }

    async fn query(&self, digest: &Digest) -> Result<Option<Found>, StoreError> {
        let started = self.time.elapsed();
        let found = tokio::time::timeout(GUARD, self.store.find_session(digest)).await;
        let took = self.time.elapsed().saturating_sub(started);
        self.metrics.lookup_duration.observe(took.as_secs_f64());
        found.unwrap_or(Err(StoreError::TimedOut))
    }

    pub(super) fn failed(&self, error: &StoreError) {
        self.flights.unavailable.inc();
        if !self.flights.failing.swap(true, Relaxed) {
            tracing::error!(error = error as &dyn std::error::Error, "sessions cannot be looked up");
        }
    }

    pub(super) fn answered(&self, found: bool) {
        let counter = if found {
            &self.flights.found
        } else {
            &self.flights.absent
        };
        counter.inc();
        if self.flights.failing.swap(false, Relaxed) {
            tracing::info!("sessions can be looked up again");
        }
    }
}
