use super::CacheSettings;
use super::Entry;
use super::activity::Activity;
use super::activity::Touches;
use super::keep::Entries;
use super::keep::Keep;
use super::keep::entries;
use super::load::Flights;
use super::load::Loaded;
use super::moment::DatabaseTime;
use super::moment::Moment;
use super::source::Lookups;
use super::streams::Streams;
use super::stripes::AbsentStamps;
use super::stripes::Stripes;
use crate::clock::Clock;
use crate::model::Digest;
use crate::model::UserState;
use crate::store::BeatKey;
use crate::store::Store;
use crate::telemetry::FeedGauges;
use crate::telemetry::Metrics;
use futures_util::FutureExt;
use prometheus_client::metrics::counter::Counter;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::Weak;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How long "there is no such session" is believed at most.
const ABSENT_BOUND: Duration = Duration::from_secs(5);
/// The same of an application's table.
const LEGACY_ABSENT: Duration = Duration::from_secs(1);
/// How often one request asks when what it hears is no longer true on arrival.
pub(super) const TRIES: usize = 3;

/// What is known of one session.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// It lives.
    Live {
        entry: Arc<Entry>,
        /// How old the answer is, when the store could not be asked and a grace covers it.
        stale: Option<Duration>,
    },
    /// There is none, or it is over.
    Absent,
    /// Could not ask.
    Unavailable,
}

impl Answer {
    fn fresh(entry: Arc<Entry>) -> Self {
        Self::Live { entry, stale: None }
    }
}

/// Whether a cached session may be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Fresh,
    /// Older than the bound, this old.
    Aged(Duration),
    /// Something changed since; never believed again.
    Moved,
    /// Looks idle-expired; another instance may have seen activity.
    Idle,
    /// At its absolute end, or its user may not sign in.
    Over,
}

/// The store and what is remembered of its answers, shared by all cores.
pub(super) struct Cache {
    pub(super) stripes: Stripes,
    pub(super) time: DatabaseTime,
    pub(super) store: Arc<dyn Store>,
    pub(super) control: tokio::runtime::Handle,
    pub(super) metrics: Arc<Metrics>,
    pub(super) flights: Flights,
    pub(super) streams: Streams,
    pub(super) touches: Touches,
    pub(super) activity: Activity,
    /// Where sessions are asked for that the store does not keep; `None` for those that it does.
    pub(super) lookups: Option<Arc<Lookups>>,
    /// Caches of sources: some of their users are users of ours, and change with them; and they are told of ends.
    companions: Mutex<Vec<Weak<Self>>>,
    /// That of our own sessions, where this one is of an application's and they are ended here: ends are told to that one.
    pub(super) elder: Option<Arc<Cache>>,
    /// What heartbeats of the feed are sealed with; the first is ours.
    beat_keys: Mutex<Arc<[BeatKey]>>,
    /// How well changes by others are seen.
    pub(super) told_by: FeedGauges,
    /// For how long an answer is believed.
    bounds: Bounds,
    /// Until when they count as seen, in microseconds; moved by the watch. Looked at on each hit, so that a watch that
    /// stands still shortens the bound as well.
    trusted_until: AtomicU64,
    entries: Entries,
    keep: Keep,
    absents: moka::future::Cache<Digest, Absent>,
    hits: Counter,
}

/// In microseconds.
struct Bounds {
    /// While changes by others are seen.
    seen: AtomicU64,
    unseen: AtomicU64,
}

impl Bounds {
    fn of(settings: &CacheSettings) -> Self {
        Self {
            seen: AtomicU64::new(micros(settings.max_age)),
            unseen: AtomicU64::new(micros(settings.max_age_without_feed)),
        }
    }
}

/// What the cache keeps to besides its own settings.
pub(super) struct Rules {
    /// The longest outage grace of any route: aged answers are kept in memory that long.
    pub(super) longest_grace: Duration,
    /// What activity does.
    pub(super) activity: Activity,
    /// The application whose tables are asked in place of the store.
    pub(super) lookups: Option<Arc<Lookups>>,
    pub(super) elder: Option<Arc<Cache>>,
    /// What heartbeats of the feed are sealed with; the first is ours.
    pub(super) beat_keys: Arc<[BeatKey]>,
}

/// Touches that may wait while the store is down, about 120 bytes each: as many as there are sessions to touch, within
/// reason.
fn most_waiting(capacity: u64) -> usize {
    usize::try_from(capacity).unwrap_or(usize::MAX).clamp(1_000, 1_000_000)
}

pub(super) fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Absent {
    pub(super) loaded_at: Duration,
    pub(super) stamps: AbsentStamps,
}

impl Cache {
    /// Empty.
    pub(super) fn new(
        store: Arc<dyn Store>,
        settings: &CacheSettings,
        rules: Rules,
        clock: Clock,
        control: tokio::runtime::Handle,
        metrics: Arc<Metrics>,
    ) -> Self {
        let keep = Keep::new(settings, rules.longest_grace);
        Self {
            stripes: Stripes::new(),
            time: DatabaseTime::new(clock),
            store,
            control,
            flights: Flights::new(&metrics, rules.lookups.as_deref()),
            streams: Streams::new(),
            activity: rules.activity,
            elder: rules.elder,
            touches: Touches::new(most_waiting(settings.capacity), &metrics),
            companions: Mutex::default(),
            beat_keys: Mutex::new(rules.beat_keys),
            told_by: match &rules.lookups {
                None => metrics.feed.clone(),
                Some(lookups) => metrics.feed_of(&lookups.settings().name),
            },
            bounds: Bounds::of(settings),
            trusted_until: AtomicU64::new(0),
            entries: entries(settings.capacity, keep.clone(), rules.lookups.is_some()),
            keep,
            lookups: rules.lookups,
            absents: moka::future::Cache::builder()
                .max_capacity((settings.capacity / 10).clamp(100, 100_000))
                .time_to_live(ABSENT_BOUND)
                .build(),
            hits: metrics.cache_hit("shared"),
            metrics,
        }
    }

    /// From here on `companions` hear what happens to users of ours, and what is ended.
    pub(super) fn accompany<'a>(&self, companions: impl Iterator<Item = &'a Arc<Self>>) {
        *self.companions.lock().unwrap_or_else(PoisonError::into_inner) = companions.map(Arc::downgrade).collect();
    }

    pub(super) fn companions(&self) -> Vec<Arc<Self>> {
        let companions = self.companions.lock().unwrap_or_else(PoisonError::into_inner);
        companions.iter().filter_map(Weak::upgrade).collect()
    }

    /// Answers are believed as long as these settings say from here on, those at hand included; the longest outage grace of
    /// any route is `longest_grace`.
    pub(super) fn adopt(&self, settings: &CacheSettings, longest_grace: Duration) {
        self.keep.adopt(settings, longest_grace);
        self.bounds.seen.store(micros(settings.max_age), Relaxed);
        self.bounds.unseen.store(micros(settings.max_age_without_feed), Relaxed);
    }

    /// Heartbeats are sealed and known by these keys from here on.
    pub(super) fn adopt_beat_keys(&self, keys: Arc<[BeatKey]>) {
        *self.beat_keys.lock().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    pub(super) fn beat_keys(&self) -> Arc<[BeatKey]> {
        Arc::clone(&self.beat_keys.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes by others count as seen until `until`, by [`Clock::elapsed`]; from then on the short bound holds.
    pub(super) fn trust_until(&self, until: Duration) {
        self.trusted_until.store(micros(until), Relaxed);
    }

    /// Changes by others are not seen from here on.
    pub(super) fn distrust(&self) {
        self.trusted_until.store(0, Relaxed);
    }

    /// For how long an answer is believed that is looked at when [`Clock::elapsed`] says `elapsed`.
    pub(super) fn bound(&self, elapsed: Duration) -> Duration {
        let bound = if self.is_told(elapsed) {
            &self.bounds.seen
        } else {
            &self.bounds.unseen
        };
        let bound = Duration::from_micros(bound.load(Relaxed));
        match &self.elder {
            Some(elder) if !elder.is_told(elapsed) => {
                bound.min(Duration::from_micros(elder.bounds.unseen.load(Relaxed)))
            }
            _ => bound,
        }
    }

    /// Whether changes by others count as seen at `elapsed`.
    pub(super) fn is_told(&self, elapsed: Duration) -> bool {
        micros(elapsed) < self.trusted_until.load(Relaxed)
    }

    /// From here on answers are believed for `bound`, those at hand included.
    #[cfg(test)]
    pub(super) fn set_bound(&self, bound: Duration) {
        self.bounds.seen.store(micros(bound), Relaxed);
        self.trust_until(Duration::MAX);
    }

    /// Entries kept.
    pub(super) async fn size(&self) -> u64 {
        self.entries.run_pending_tasks().await;
        self.entries.entry_count()
    }

    /// Judges `entry` at `at`. Changes come first: what was ended is never an aged answer.
    pub(super) fn judge(&self, entry: &Entry, at: Moment) -> Verdict {
        let session = &entry.session;
        if !self.stripes.hold(&session.digest, session.user, entry.stamps) {
            Verdict::Moved
        } else if entry.user.state != UserState::Active || at.now >= session.ends_at && self.ends_are_final() {
            Verdict::Over
        } else if entry.is_over(at.now) {
            Verdict::Idle
        } else if at.elapsed < entry.loaded_at.saturating_add(self.bound(at.elapsed)) {
            Verdict::Fresh
        } else {
            Verdict::Aged(at.elapsed.saturating_sub(entry.loaded_at))
        }
    }

    /// Whether nobody moves an absolute end. Applications move those of their rows, with each request as a rule.
    pub(super) fn ends_are_final(&self) -> bool {
        self.lookups.is_none()
    }

    fn still_absent(&self, digest: &Digest, absent: Absent, at: Moment) -> bool {
        at.elapsed
            < absent
                .loaded_at
                .saturating_add(self.bound(at.elapsed).min(self.absent_bound()))
            && self.stripes.hold_absent(digest, absent.stamps)
    }

    /// An application may be about to write the row that was not there.
    fn absent_bound(&self) -> Duration {
        if self.lookups.is_none() {
            ABSENT_BOUND
        } else {
            LEGACY_ABSENT
        }
    }

    /// What would be answered without a question, for a question about to be asked.
    pub(super) async fn peek(&self, digest: &Digest) -> Option<Loaded> {
        let at = self.time.moment();
        if let Some(entry) = self.entries.get(digest).await
            && self.judge(&entry, at) == Verdict::Fresh
        {
            return Some(Loaded::Found(entry));
        }
        let absent = self.absents.get(digest).await?;
        self.still_absent(digest, absent, at).then_some(Loaded::Absent(absent))
    }

    /// The last answer that found this session, believed or not.
    pub(super) async fn at_hand(&self, digest: &Digest) -> Option<Arc<Entry>> {
        self.entries.get(digest).await
    }

    /// Gives back the memory of an entry that is never believed again: people who come and go would fill it for as long as
    /// the longest grace. What cannot be done at once, moka does later (it keeps interrupted calls) or its age does.
    pub(super) fn drop_entry(&self, digest: &Digest) {
        let _ = self.entries.invalidate(digest).now_or_never();
    }

    /// Remembers an answer.
    pub(super) async fn keep(&self, digest: Digest, loaded: &Loaded) {
        match loaded {
            Loaded::Found(entry) => self.entries.insert(digest, Arc::clone(entry)).await,
            Loaded::Absent(absent) => {
                self.entries.invalidate(&digest).await;
                self.absents.insert(digest, *absent).await;
            }
            Loaded::Unavailable => {}
        }
    }

    /// What is known of `digest`, asking the store where needed. While it cannot be asked, an aged answer is believed
    /// `grace` longer than its bound. Dropping the future cancels no question to the store.
    pub(super) async fn find(self: &Arc<Self>, digest: &Digest, grace: Duration) -> Answer {
        let asked_at = self.time.elapsed();
        for _ in 0..TRIES {
            let at_hand = self.at_hand(digest).await;
            if let Some(answer) = self.known(digest, at_hand.as_ref()).await {
                self.hits.inc();
                return answer;
            }
            if self.flights.failing()
                && let Some(stale) = self.stale(at_hand.as_ref(), grace)
            {
                // Nobody waits a whole deadline on each request of an outage; the question goes on behind.
                drop(self.ask(digest));
                self.metrics.stale_answers.inc();
                return stale;
            }
            match self.ask(digest).outcome().await {
                Loaded::Found(entry) => match self.judge(&entry, self.time.moment()) {
                    Verdict::Fresh => return Answer::fresh(entry),
                    // A bound of zero: asked for this very request, which is as true as an answer can be.
                    Verdict::Aged(_) if entry.loaded_at >= asked_at => return Answer::fresh(entry),
                    Verdict::Over | Verdict::Idle => return Answer::Absent,
                    Verdict::Aged(_) | Verdict::Moved => {}
                },
                Loaded::Absent(absent) if self.stripes.hold_absent(digest, absent.stamps) => return Answer::Absent,
                Loaded::Absent(_) => {}
                Loaded::Unavailable => {
                    let stale = self.stale(at_hand.as_ref(), grace);
                    self.metrics.stale_answers.inc_by(u64::from(stale.is_some()));
                    return stale.unwrap_or(Answer::Unavailable);
                }
            }
        }
        Answer::Unavailable
    }

    /// What needs no question.
    async fn known(&self, digest: &Digest, at_hand: Option<&Arc<Entry>>) -> Option<Answer> {
        let at = self.time.moment();
        match at_hand.map(|entry| (entry, self.judge(entry, at))) {
            Some((entry, Verdict::Fresh)) => return Some(Answer::fresh(Arc::clone(entry))),
            Some((_, Verdict::Over)) => return Some(Answer::Absent),
            _ => {}
        }
        let absent = self.absents.get(digest).await?;
        self.still_absent(digest, absent, at).then_some(Answer::Absent)
    }

    /// The aged answer at hand, when `grace` covers it and nothing speaks against it.
    fn stale(&self, at_hand: Option<&Arc<Entry>>, grace: Duration) -> Option<Answer> {
        let entry = at_hand?;
        let at = self.time.moment();
        match self.judge(entry, at) {
            Verdict::Aged(age) if age < self.bound(at.elapsed).saturating_add(grace) => Some(Answer::Live {
                entry: Arc::clone(entry),
                stale: Some(age),
            }),
            _ => None,
        }
    }
}
