use super::StoreError;
use crate::model::Timestamp;
use std::time::Duration;

/// Which expired sessions a sweep removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SweepScope {
    /// Those that were over by the last full hour of their own: cheap, and seldom touched by activity.
    Due,
    /// All that are over.
    All,
}

/// One run of the sweep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// When it began, by the database's clock.
    pub at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// How many expired sessions it removed.
    pub removed: u64,
    /// Whether somebody asked for it.
    pub by_hand: bool,
    /// Why it ended early: `timed_out`, `unreachable` or `refused`.
    pub error: Option<String>,
}

/// How many runs are kept.
pub(super) const KEPT: u32 = 200;

impl Sweep {
    /// The word for `error` in [`Sweep::error`].
    #[must_use]
    pub const fn word(error: &StoreError) -> &'static str {
        match error {
            StoreError::TimedOut => "timed_out",
            StoreError::Unreachable(_) => "unreachable",
            _ => "refused",
        }
    }

    pub(super) fn took_micros(&self) -> i64 {
        i64::try_from(self.took.as_micros()).unwrap_or(i64::MAX)
    }
}
