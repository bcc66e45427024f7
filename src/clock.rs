//! The one source of time. Wall time and monotonic time are taken here and nowhere else, so that tests decide what time it is.

use crate::model::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Tells the time. Cheap to clone; clones of a manual clock share their hands.
#[derive(Clone, Debug)]
pub struct Clock(Hands);

#[derive(Clone, Debug)]
enum Hands {
    System {
        started: Instant,
    },
    Manual {
        wall_start: Timestamp,
        elapsed_micros: Arc<AtomicI64>,
    },
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Hands::System {
            started: Instant::now(),
        })
    }

    /// A clock that stands still at `at` until [`Clock::advance`] is called; for tests.
    #[must_use]
    pub fn manual(at: Timestamp) -> Self {
        Self(Hands::Manual {
            wall_start: at,
            elapsed_micros: Arc::new(AtomicI64::new(0)),
        })
    }

    /// Wall time in UTC.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Hands::System { .. } => {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "this is the one place that may ask the machine"
                )]
                let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Timestamp::from_micros(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
            }
            Hands::Manual {
                wall_start,
                elapsed_micros,
            } => Timestamp::from_micros(
                wall_start
                    .as_micros()
                    .saturating_add(elapsed_micros.load(Ordering::SeqCst)),
            ),
        }
    }

    /// Time since this clock was made; never goes backwards when the wall clock is set.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        match &self.0 {
            Hands::System { started } => started.elapsed(),
            Hands::Manual { elapsed_micros, .. } => {
                Duration::from_micros(u64::try_from(elapsed_micros.load(Ordering::SeqCst)).unwrap_or(0))
            }
        }
    }

    /// Moves a manual clock forward; does nothing to the machine's.
    pub fn advance(&self, by: Duration) {
        if let Hands::Manual { elapsed_micros, .. } = &self.0 {
            elapsed_micros.fetch_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX), Ordering::SeqCst);
        }
    }
}
