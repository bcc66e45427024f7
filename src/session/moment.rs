use crate::clock::Clock;
use crate::model::Timestamp;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

/// The database's time, by which sessions end, told by the monotonic clock: one reading a request, and setting the
/// machine's wall clock ends nobody's session and prolongs none.
pub(super) struct DatabaseTime {
    clock: Clock,
    /// The database's time when `clock` was started, in microseconds.
    start: AtomicI64,
    /// Whether the database was heard.
    known: AtomicBool,
}

/// One reading.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// For ages.
    pub(super) elapsed: Duration,
    /// For ends.
    pub(super) now: Timestamp,
}

impl DatabaseTime {
    /// This machine's time until [`DatabaseTime::set`] knows better; nobody's session is judged by it.
    pub(super) fn new(clock: Clock) -> Self {
        let start = clock.now().minus(clock.elapsed()).as_micros();
        Self {
            clock,
            start: AtomicI64::new(start),
            known: AtomicBool::new(false),
        }
    }

    /// Whether the database was heard.
    pub(super) fn is_known(&self) -> bool {
        self.known.load(Acquire)
    }

    pub(super) fn moment(&self) -> Moment {
        let elapsed = self.clock.elapsed();
        Moment {
            elapsed,
            now: Timestamp::from_micros(self.start.load(Relaxed)).plus(elapsed),
        }
    }

    /// The clock that tells it.
    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// The database said `now` when [`Clock::elapsed`] said `at`.
    pub(super) fn set(&self, now: Timestamp, at: Duration) {
        self.start.store(now.minus(at).as_micros(), Relaxed);
        self.known.store(true, Release);
    }

    /// How far the wall clock is ahead of the monotonic one: it jumps when somebody sets the clock or the machine slept.
    pub(super) fn wall_lead(&self) -> Timestamp {
        self.clock.now().minus(self.clock.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_decides_what_time_it_is() {
        let clock = Clock::manual(Timestamp::from_micros(1_000_000_000));
        let time = DatabaseTime::new(clock.clone());
        assert_eq!(time.moment().now, clock.now());
        clock.advance(Duration::from_secs(5));
        assert_eq!(time.moment().now, clock.now());
        time.set(clock.now().plus(Duration::from_mins(1)), clock.elapsed());
        clock.advance(Duration::from_secs(1));
        assert_eq!(time.moment().now, clock.now().plus(Duration::from_mins(1)));
    }
}
