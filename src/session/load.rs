use super::Entry;
use super::cache::Absent;
use super::cache::Cache;
use super::cache::TRIES;
use super::crowd::Crowd;
use super::source::Lookups;
use super::stripes::Before;
use crate::model::Digest;
use crate::model::UserId;
use crate::model::UserState;
use crate::store::Call;
use crate::store::Found;
use crate::store::StoreError;
use crate::telemetry::Metrics;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::sync::watch;

/// The store ends its calls itself, sooner; this only keeps a broken store from holding a request for ever.
pub(super) const GUARD: Duration = Duration::from_secs(30);
/// Most different sessions asked for at once; more are *could not ask*.
const MOST: usize = 16_384;

/// Look-ups under way that are asked by themselves, by primary key; more are asked together.
const ALONE: usize = 32;

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
    alone: Arc<Semaphore>,
    pub(super) crowd: Crowd,
    waiting: Gauge,
    /// Whether the last question failed.
    failing: AtomicBool,
    /// For the log.
    source: String,
    found: Counter,
    absent: Counter,
    unavailable: Counter,
}

impl Flights {
    pub(super) fn new(metrics: &Metrics, lookups: Option<&Lookups>) -> Self {
        let source = lookups.map_or("native", |lookups| lookups.settings().name.as_str());
        Self {
            under_way: Mutex::default(),
            alone: Arc::new(Semaphore::new(ALONE)),
            crowd: Crowd::default(),
            waiting: metrics.lookups_waiting.clone(),
            failing: AtomicBool::new(false),
            source: source.to_owned(),
            found: metrics.lookup_of(source, "found"),
            absent: metrics.lookup_of(source, "absent"),
            unavailable: metrics.lookup_of(source, "unavailable"),
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

/// The end of one question. However it ends, it is taken off the list, and whoever waits hears of it.
pub(super) struct Landing {
    cache: Arc<Cache>,
    pub(super) digest: Digest,
    pub(super) asked_at: Duration,
    sender: watch::Sender<Option<Loaded>>,
    /// Whether it is off the list.
    off: bool,
}

impl Landing {
    /// Tells everybody who asked. What was loaded must have been kept: whoever finds no question under way finds that.
    pub(super) fn land(mut self, loaded: Loaded) {
        self.take_off();
        self.sender.send_replace(Some(loaded));
    }

    fn take_off(&mut self) {
        if std::mem::replace(&mut self.off, true) {
            return;
        }
        let flights = &self.cache.flights;
        let mut under_way = flights.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.remove(&self.digest);
        flights.waiting.dec();
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.take_off();
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
            self.flights.unavailable.inc();
            return Asked(None);
        }
        let (sender, receiver) = watch::channel(None);
        let asked = Asked(Some(receiver));
        under_way.insert(*digest, asked.clone());
        self.flights.waiting.inc();
        drop(under_way);
        let landing = Landing {
            cache: Arc::clone(self),
            digest: *digest,
            asked_at: self.time.elapsed(),
            sender,
            off: false,
        };
        match Arc::clone(&self.flights.alone).try_acquire_owned() {
            Ok(permit) => {
                self.control.spawn(async move {
                    let loaded = landing.cache.load_and_keep(&landing.digest).await;
                    landing.land(loaded);
                    drop(permit);
                });
            }
            Err(_) => {
                if self.flights.crowd.join(landing) {
                    self.control.spawn(Arc::clone(self).attend_crowd());
                }
            }
        }
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
            match self.conclude(digest, found, before, loaded_at, before_this.as_deref()) {
                Ok(loaded) => return loaded,
                Err(user) => guess = user.or(guess),
            }
        }
        Loaded::Unavailable
    }

    /// What an answer says, where nothing changed since `before` that it may have missed; else the user whom it named, and
    /// it is to be asked again.
    pub(super) fn conclude(
        &self,
        digest: &Digest,
        found: Option<Found>,
        before: Before,
        loaded_at: Duration,
        before_this: Option<&Entry>,
    ) -> Result<Loaded, Option<UserId>> {
        let Some(Found { session, user }) = found.filter(|found| found.user.state == UserState::Active) else {
            let stamps = self.stripes.stamp_absent(digest, before).ok_or(None)?;
            return Ok(Loaded::Absent(Absent { loaded_at, stamps }));
        };
        let stamps = self
            .stripes
            .stamp(digest, session.user, before)
            .ok_or(Some(session.user))?;
        let mut entry = Entry::new(session, user, loaded_at, stamps);
        entry.source = self.source();
        self.go_on(&entry, before_this);
        if entry.is_over(self.time.moment().now) {
            let stamps = stamps.absent();
            return Ok(Loaded::Absent(Absent { loaded_at, stamps }));
        }
        Ok(Loaded::Found(Arc::new(entry)))
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

    /// The name of the source whose sessions these are; `None` for ours.
    pub(super) fn source(&self) -> Option<Arc<str>> {
        self.lookups.as_ref().map(|lookups| lookups.name())
    }

    async fn query(&self, digest: &Digest) -> Result<Option<Found>, StoreError> {
        match &self.lookups {
            None => self.timed(self.store.find_session(digest)).await,
            Some(lookups) => {
                let now = self.time.moment().now;
                self.timed(Box::pin(self.find_theirs(lookups, *digest, now))).await
            }
        }
    }

    /// Those of `digests` that there are.
    pub(super) async fn query_many(&self, digests: &[Digest]) -> Result<Vec<Found>, StoreError> {
        match &self.lookups {
            None => self.timed(self.store.find_sessions(digests)).await,
            Some(lookups) => {
                let now = self.time.moment().now;
                self.timed(Box::pin(self.find_many_theirs(lookups, digests, now))).await
            }
        }
    }

    async fn timed<T>(&self, question: Call<'_, T>) -> Result<T, StoreError> {
        // Whether a session is over is judged by the database's clock, and never before that was read; an
        // application's says how long a row has left.
        if self.lookups.is_none() {
            self.know_time().await?;
        }
        let started = self.time.elapsed();
        let answer = self.guarded(question).await;
        let took = self.time.elapsed().saturating_sub(started);
        self.metrics.lookup_duration.observe(took.as_secs_f64());
        answer
    }

    pub(super) fn failed(&self, error: &StoreError) {
        self.flights.unavailable.inc();
        if !self.flights.failing.swap(true, Relaxed) {
            tracing::error!(
                source.name = self.flights.source,
                error = error as &dyn std::error::Error,
                "sessions cannot be looked up"
            );
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
            tracing::info!(source.name = self.flights.source, "sessions can be looked up again");
        }
    }
}
