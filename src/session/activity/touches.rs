//! Touches on their way to the store: collected by session, written in batches.

use crate::model::Digest;
use crate::session::Sessions;
use crate::session::cache::Cache;
use crate::store::Call;
use crate::store::StoreError;
use crate::store::Touch;
use crate::store::Touched;
use crate::telemetry::Metrics;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Rows of one statement. A page has room for the new versions of few of its rows, and gets it back after the commit: of
/// 10,000 neighbouring rows 46 % were updated in place (HOT) in one statement, 99.9 % in statements of 500 in the order
/// of the digest, which is none on the pages.
const BATCH: usize = 500;
/// How often what was collected is written.
pub(in crate::session) const EVERY: Duration = Duration::from_secs(1);
/// How often a row that somebody else holds is tried.
const TRIES: u8 = 5;
/// Between two tries of a flush.
const AGAIN: Duration = Duration::from_millis(50);

/// Touches that the store does not have yet, one for each session.
pub(in crate::session) struct Touches {
    waiting: Mutex<HashMap<Digest, Waiting>>,
    most: usize,
    count: Gauge,
    /// One round at a time.
    turn: tokio::sync::Mutex<()>,
    failing: AtomicBool,
    written: Counter,
    skipped: Counter,
    ended: Counter,
    lost: Counter,
}

#[derive(Clone, Copy)]
struct Waiting {
    touch: Touch,
    tries: u8,
}

impl Touches {
    /// At most `most` sessions are kept waiting.
    pub(in crate::session) fn new(most: usize, metrics: &Metrics) -> Self {
        Self {
            waiting: Mutex::default(),
            most,
            count: metrics.touches_waiting.clone(),
            turn: tokio::sync::Mutex::default(),
            failing: AtomicBool::new(false),
            written: metrics.touch("written"),
            skipped: metrics.touch("skipped"),
            ended: metrics.touch("ended"),
            lost: metrics.touch("lost"),
        }
    }

    /// Takes a touch; the later one of a session counts. One that finds no room is counted as lost.
    pub(super) fn add(&self, touch: Touch) {
        let mut waiting = self.lock();
        if let Some(there) = waiting.get_mut(&touch.digest) {
            if there.touch.seen_at < touch.seen_at {
                there.touch = Touch {
                    expires_at: there.touch.expires_at.max(touch.expires_at),
                    ..touch
                };
            }
        } else if waiting.len() < self.most {
            waiting.insert(touch.digest, Waiting { touch, tries: 0 });
            self.count.inc();
        } else {
            self.lost.inc();
        }
    }

    /// The touch of this session that the store does not have yet.
    pub(in crate::session) fn of(&self, digest: &Digest) -> Option<Touch> {
        self.lock().get(digest).map(|waiting| waiting.touch)
    }

    fn in_order(&self) -> Vec<Touch> {
        let mut touches: Vec<Touch> = self.lock().values().map(|waiting| waiting.touch).collect();
        touches.sort_unstable_by_key(|touch| touch.digest.0);
        touches
    }

    /// What the store said of `touch`.
    fn settle(&self, touch: &Touch, outcome: Touched) {
        let mut waiting = self.lock();
        let Some(there) = waiting.get_mut(&touch.digest) else {
            return;
        };
        match outcome {
            Touched::Locked if there.tries + 1 < TRIES => {
                there.tries += 1;
                return;
            }
            Touched::Locked => self.lost.inc(),
            Touched::Written => self.written.inc(),
            Touched::Known => self.skipped.inc(),
            Touched::Over => self.ended.inc(),
        };
        // One that came while this one was written waits for the next round.
        if there.touch.seen_at <= touch.seen_at {
            waiting.remove(&touch.digest);
            self.count.dec();
        } else {
            there.tries = 0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sessions {
    /// Writes the touches that wait now, for at most `limit`; for the end of the process, when no more come. Tells in the
    /// log when some could not be written. Dropping the future loses none.
    pub async fn flush(&self, limit: Duration) {
        let sources = self.sources.iter().filter_map(|source| source.cache());
        let each = sources.chain([&self.cache]).map(|cache| cache.flush(limit));
        futures_util::future::join_all(each).await;
    }
}

impl Cache {
    async fn flush(&self, limit: Duration) {
        let touches = &self.touches;
        let writing = async {
            while self.write_touches().await? > 0 {
                tokio::time::sleep(AGAIN).await;
            }
            Ok::<(), StoreError>(())
        };
        let written = matches!(tokio::time::timeout(limit, writing).await, Ok(Ok(())));
        let left = touches.lock().len();
        if !written && left > 0 {
            touches.lost.inc_by(left as u64);
            tracing::warn!(
                sessions = left,
                "the last activity of some sessions could not be written; they may end earlier by the touch interval"
            );
        }
    }

    /// One round: writes what waits, batch by batch; how many rows somebody else held. On an error the rest goes on
    /// waiting.
    pub(in crate::session) async fn write_touches(&self) -> Result<usize, StoreError> {
        let _turn = self.touches.turn.lock().await;
        let mut held = 0;
        for batch in self.touches.in_order().chunks(BATCH) {
            let call: Call<'_, Vec<Touched>> = match &self.lookups {
                None => self.store.touch_sessions(batch, self.activity.apart()),
                Some(lookups) => Box::pin(lookups.touch(batch, self.time.moment().now)),
            };
            let outcomes = match self.guarded(call).await {
                Ok(outcomes) => outcomes,
                Err(error) => {
                    self.touches_failed(&error);
                    return Err(error);
                }
            };
            if self.touches.failing.swap(false, Relaxed) {
                tracing::info!("the activity of sessions can be written again");
            }
            for (touch, outcome) in batch.iter().zip(outcomes) {
                self.touches.settle(touch, outcome);
                held += usize::from(outcome == Touched::Locked);
                if outcome == Touched::Over {
                    // Whoever still believes in that session asks again.
                    self.forget(&touch.digest);
                }
            }
        }
        Ok(held)
    }

    fn touches_failed(&self, error: &StoreError) {
        // Until a database was there for the first time, its absence has been told by whoever opened it.
        let told = matches!(error, StoreError::NotReady);
        if !self.touches.failing.swap(true, Relaxed) && !told {
            tracing::warn!(
                source.name = self.source().as_deref(),
                error = error as &dyn std::error::Error,
                "the activity of sessions cannot be written and waits"
            );
        }
    }
}
