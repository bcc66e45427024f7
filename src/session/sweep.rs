//! Removing sessions that are over. They are refused at their end, swept or not; this only gives the room back.

use super::SessionError;
use super::Sessions;
use crate::clock::Clock;
use crate::model::Timestamp;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::Sweep;
use crate::store::SweepScope;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Sessions of one transaction: few enough that whoever waits for one of them, to end it, does not wait long.
const BATCH: u32 = 1_000;
/// How often, and how far apart, somebody who sweeps by hand waits for a gateway that sweeps at this moment.
const TURNS: u32 = 50;
const TURN: Duration = Duration::from_millis(100);
const DAY: i64 = 86_400_000_000;

/// When expired sessions are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SweepSettings {
    /// How often, give or take a tenth.
    pub interval: Duration,
    /// The time of day (UTC, since midnight) of one more, thorough sweep; none without.
    pub at: Option<Duration>,
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swept {
    /// It removed so many sessions, in this time.
    Removed(u64, Duration),
    /// Another instance sweeps at this moment.
    Elsewhere,
}

impl Sessions {
    /// Removes every session that is over, telling `progress` how many are gone after each batch; for somebody who asked.
    /// The run is logged and kept, whatever became of it ([`Store::last_sweeps`]). A dropped future stops it between two
    /// batches.
    ///
    /// # Errors
    /// The store's; what was removed before stays removed.
    pub async fn sweep(&self, progress: impl FnMut(u64) + Send) -> Result<Swept, SessionError> {
        Ok(self.swept(SweepScope::All, true, progress).await?)
    }

    /// Sweeps as the settings say until `stop`; on the control runtime.
    pub async fn sweep_regularly(&self, stop: CancellationToken) {
        let settings = self.settings.sweep;
        // The first one soon after the start, so that a gateway that is restarted often sweeps at all; never all
        // instances at once.
        let mut pause = settings.interval.mul_f64(fraction());
        let work = async {
            loop {
                let daily = settings.at.map(|at| until(at, self.now()));
                let (wait, scope) = match daily {
                    Some(daily) if daily <= pause => (daily, SweepScope::All),
                    _ => (pause, SweepScope::Due),
                };
                tokio::time::sleep(wait).await;
                // The errors are in the log; the next run tries again.
                let _ = self.swept(scope, false, |_| {}).await;
                pause = settings.interval.mul_f64(0.9 + fraction() / 5.0);
            }
        };
        stop.run_until_cancelled(work).await;
    }

    async fn swept(
        &self,
        scope: SweepScope,
        by_hand: bool,
        progress: impl FnMut(u64) + Send,
    ) -> Result<Swept, StoreError> {
        let swept = sweep_store(&*self.cache.store, self.cache.time.clock(), scope, by_hand, progress).await;
        if let Ok(Swept::Removed(count, _)) = swept {
            self.cache.metrics.swept_sessions.inc_by(count);
        }
        swept
    }
}

/// The same for a store beside which no gateway need run: a command's.
///
/// # Errors
/// The store's; what was removed before stays removed.
pub async fn sweep_store(
    store: &dyn Store,
    clock: &Clock,
    scope: SweepScope,
    by_hand: bool,
    mut progress: impl FnMut(u64) + Send,
) -> Result<Swept, StoreError> {
    let begun = clock.elapsed();
    let took = || clock.elapsed().saturating_sub(begun);
    let now = match store.now().await {
        Ok(now) => now,
        // Whoever opened the store has told that it is not there yet.
        Err(error @ StoreError::NotReady) => return Err(error),
        Err(error) => {
            tell(&Err(&error), 0, took());
            return Err(error);
        }
    };
    let mut removed = 0;
    let outcome = remove(store, scope, by_hand, now, |count| {
        removed += count;
        progress(removed);
    })
    .await;
    let took = took();
    tell(&outcome.as_ref().copied(), removed, took);
    if !matches!(outcome, Ok(false)) {
        let run = Sweep {
            at: now,
            took,
            removed,
            by_hand,
            error: outcome.as_ref().err().map(|error| Sweep::word(error).to_owned()),
        };
        if let Err(error) = store.record_sweep(run).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "a sweep was not written down");
        }
    }
    outcome.map(|mine| {
        if mine {
            Swept::Removed(removed, took)
        } else {
            Swept::Elsewhere
        }
    })
}

/// Batch by batch until none is left; `false` when another instance does it.
async fn remove(
    store: &dyn Store,
    scope: SweepScope,
    patient: bool,
    now: Timestamp,
    mut removed: impl FnMut(u64),
) -> Result<bool, StoreError> {
    let mut begun = false;
    let mut turns = if patient { TURNS } else { 0 };
    loop {
        match store.sweep_sessions(scope, now, BATCH).await? {
            Some(count) => {
                begun = true;
                removed(count);
                if count < u64::from(BATCH) {
                    forget_ended(store, now).await?;
                    return Ok(true);
                }
            }
            // Whoever took the lock between two batches goes on with the rest.
            None if turns == 0 => return Ok(begun),
            None => {
                turns -= 1;
                tokio::time::sleep(TURN).await;
            }
        }
    }
}

/// Forgets which sessions of applications were ended, once their rows cannot be live any more.
async fn forget_ended(store: &dyn Store, now: Timestamp) -> Result<(), StoreError> {
    while store.forget_tombstones(now, BATCH).await? == u64::from(BATCH) {}
    Ok(())
}

fn tell(outcome: &Result<bool, &StoreError>, removed: u64, took: Duration) {
    let took = took.as_secs_f64();
    match outcome {
        Ok(true) => tracing::info!(
            sweep.removed = removed,
            sweep.seconds = took,
            "expired sessions were removed"
        ),
        Ok(false) => tracing::info!("expired sessions are being removed by another instance"),
        Err(error) => tracing::warn!(
            sweep.removed = removed,
            error = *error as &dyn std::error::Error,
            "expired sessions could not be removed"
        ),
    }
}

/// How long until it is `at` (since midnight, UTC) the next time.
fn until(at: Duration, now: Timestamp) -> Duration {
    let at = i64::try_from(at.as_micros()).unwrap_or(0);
    let ahead = (at - now.as_micros()).rem_euclid(DAY);
    let ahead = if ahead == 0 { DAY } else { ahead };
    Duration::from_micros(u64::try_from(ahead).unwrap_or(0))
}

/// Anything from zero to one; a half without randomness.
pub(super) fn fraction() -> f64 {
    let mut bytes = [0; 4];
    match getrandom::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    }
}

#[cfg(test)]
mod tests {
    use super::{fraction, until};
    use crate::model::Timestamp;
    use std::time::Duration;

    #[test]
    fn the_named_hour_is_today_or_tomorrow_but_never_now() {
        let noon = Timestamp::from_micros(1_769_860_800_000_000);
        let hours = Duration::from_hours;
        assert_eq!(until(hours(13), noon), hours(1));
        assert_eq!(until(hours(3), noon), hours(15));
        assert_eq!(until(hours(12), noon), hours(24));
        assert_eq!(
            until(hours(12), noon.minus(Duration::from_micros(1))),
            Duration::from_micros(1)
        );
    }

    #[test]
    fn chance_stays_between_zero_and_one() {
        assert!((0..100).map(|_| fraction()).all(|chance| (0.0..=1.0).contains(&chance)));
    }
}
