use super::Sessions;
use super::activity;
use super::attend::attend;
use super::cache::Cache;
use super::feed;
use super::legacy::Legacy;
use super::legacy::Sources;
use crate::model::Timestamp;
use crate::store::StoreError;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// How often SQLite is asked whether somebody else wrote.
const POLL: Duration = Duration::from_millis(50);
/// How long what a poll saw holds, from the moment of asking.
const POLL_HOLDS: Duration = Duration::from_secs(2);
/// After which a poll counts as failed.
const POLL_DEADLINE: Duration = Duration::from_secs(1);
/// How often the database's clock is read.
const CLOCK: Duration = Duration::from_secs(30);
/// How often a failed reading is tried again, and the wall clock is looked at.
const CLOCK_AGAIN: Duration = Duration::from_secs(1);
/// A jump of the wall clock that is worth a new reading.
const JUMP: Duration = Duration::from_secs(1);
/// How often it is looked whether anybody is left of a source that is gone.
const LEFT: Duration = Duration::from_secs(1);
/// How often sessions are counted.
const COUNT: Duration = Duration::from_secs(15);

impl Sessions {
    /// Background work, on the control runtime: follows the feed or polls SQLite's `data_version` every 50 ms, keeps the clock's offset to
    /// the database, writes touches every second, counts sessions, attends to open streams. Ends with `stop`. While it
    /// does not run, the short bound holds.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        // Not itself, which holds the sources that it was made with, whatever becomes of them.
        let (cache, sources) = (Arc::clone(&self.cache), self.attended.subscribe());
        drop(self);
        let work = async {
            tokio::join!(
                follow(&cache),
                keep_time(&cache),
                write_touches(&cache),
                count(&cache),
                attend(&cache),
                attend_sources(sources)
            )
        };
        stop.run_until_cancelled(work).await;
        cache.distrust();
    }
}

/// Each source is attended to by itself: none waits for another's database. Those that come and go with the configuration
/// begin and end here.
async fn attend_sources(mut wanted: watch::Receiver<Sources>) {
    let mut attended: Vec<(Arc<Legacy>, CancellationToken)> = Vec::new();
    let mut work = FuturesUnordered::new();
    loop {
        let sources = Arc::clone(&wanted.borrow_and_update());
        attended.retain(|(source, gone)| {
            let stays = sources.iter().any(|wanted| Arc::ptr_eq(wanted, source));
            if !stays {
                gone.cancel();
                // Before another of the same name says otherwise.
                if let Some(cache) = source.cache() {
                    cache.told_by.healthy.set(0);
                }
            }
            stays
        });
        for source in sources.iter() {
            if !attended.iter().any(|(known, _)| Arc::ptr_eq(known, source)) {
                let gone = CancellationToken::new();
                attended.push((Arc::clone(source), gone.clone()));
                work.push(attend_source(Arc::clone(source), gone));
            }
        }
        drop(sources);
        loop {
            tokio::select! {
                changed = wanted.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return work.collect().await,
                },
                Some(()) = work.next() => {}
            }
        }
    }
}

/// Until it is gone from the configuration, and nobody has a stream or a request any more that began with it.
async fn attend_source(source: Arc<Legacy>, gone: CancellationToken) {
    let Some(cache) = source.cache() else { return };
    let _distrusted = Distrusted(cache);
    let serving = async {
        gone.run_until_cancelled(async {
            tokio::join!(source.make_ready(), feed::follow(cache), write_touches(cache))
        })
        .await;
        cache.distrust();
        cache.streams.doubt_all();
        let mut ticks = every(LEFT);
        while Arc::strong_count(&source) > 1 || cache.streams.count() > 0 {
            ticks.tick().await;
        }
        // Logged there.
        let _ = cache.write_touches().await;
    };
    tokio::select! {
        () = serving => {}
        () = attend(cache) => {}
    }
}

/// Changes count as seen only while somebody follows them.
struct Distrusted<'a>(&'a Cache);

impl Drop for Distrusted<'_> {
    fn drop(&mut self) {
        self.0.distrust();
    }
}

fn every(period: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Sees what other processes change, in the way that the engine has.
async fn follow(cache: &Cache) {
    let mut poll = Poll::default();
    let mut ticks = every(POLL);
    loop {
        ticks.tick().await;
        if poll.step(cache).await.is_break() {
            return feed::follow(cache).await;
        }
    }
}

/// What the last poll of the file saw.
#[derive(Default)]
pub(super) struct Poll {
    version: Option<i64>,
    failing: bool,
}

impl Poll {
    /// Asks once. Breaks where the engine has no such number.
    pub(super) async fn step(&mut self, cache: &Cache) -> ControlFlow<()> {
        let asked = cache.time.elapsed();
        match tokio::time::timeout(POLL_DEADLINE, cache.store.data_version()).await {
            Ok(Ok(None)) => return ControlFlow::Break(()),
            Ok(Ok(Some(version))) => self.saw(version, asked, cache),
            Ok(Err(error)) => self.missed(cache, &error),
            Err(late) => self.missed(cache, &late),
        }
        ControlFlow::Continue(())
    }

    fn saw(&mut self, version: i64, asked: Duration, cache: &Cache) {
        if self.version.replace(version) != Some(version) {
            cache.forget_all();
        }
        // Forgotten first: nothing from the time without a watch is believed by the long bound.
        cache.trust_until(asked.saturating_add(POLL_HOLDS));
        cache.told_by.healthy.set(1);
        if std::mem::take(&mut self.failing) {
            tracing::info!("changes by other processes are seen again");
        }
    }

    /// The number counts per connection, so it says nothing after an error; the next one makes everything forgotten.
    fn missed(&mut self, cache: &Cache, error: &(dyn std::error::Error + 'static)) {
        cache.distrust();
        if self.version.take().is_some() {
            // The answers that open streams go by are older than they may be by the shorter bound.
            cache.doubt_streams();
        }
        cache.told_by.healthy.set(0);
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(
                error,
                "changes by other processes are not seen; cached sessions are believed for a shorter time"
            );
        }
    }
}

async fn keep_time(cache: &Cache) {
    let mut ticks = every(CLOCK_AGAIN);
    let mut read: Option<(Duration, Timestamp)> = None;
    loop {
        ticks.tick().await;
        let lead = cache.time.wall_lead();
        let holds = read.is_some_and(|(at, before)| {
            cache.time.elapsed() < at.saturating_add(CLOCK) && lead.since(before).max(before.since(lead)) < JUMP
        });
        if !holds {
            read = set_time(cache).await.map(|at| (at, lead));
        }
    }
}

/// Reads the database's clock; half of the time that it took is counted as the way back.
pub(super) async fn set_time(cache: &Cache) -> Option<Duration> {
    cache.read_time().await.ok()
}

impl Cache {
    /// Reads the database's clock unless it was heard before: until then nobody knows what time it is.
    pub(super) async fn know_time(&self) -> Result<(), StoreError> {
        if !self.time.is_known() {
            self.read_time().await?;
        }
        Ok(())
    }

    async fn read_time(&self) -> Result<Duration, StoreError> {
        let asked = self.time.elapsed();
        let now = self.guarded(self.store.now()).await?;
        let heard = self.time.elapsed();
        self.time.set(now, asked + heard.saturating_sub(asked) / 2);
        Ok(heard)
    }
}

async fn write_touches(cache: &Cache) {
    let mut ticks = every(activity::EVERY);
    loop {
        ticks.tick().await;
        // Logged there; what was not written waits for the next round.
        let _ = cache.write_touches().await;
    }
}

async fn count(cache: &Cache) {
    let active = cache.metrics.sessions("active");
    let mut ticks = every(COUNT);
    loop {
        ticks.tick().await;
        cache
            .metrics
            .cache_entries
            .set(i64::try_from(cache.size().await).unwrap_or(i64::MAX));
        // A count that fails leaves the last one standing; the look-ups say that the store is down.
        if let Ok(counts) = cache.guarded(cache.store.count(cache.time.moment().now)).await {
            active.set(i64::try_from(counts.sessions).unwrap_or(i64::MAX));
        }
    }
}
