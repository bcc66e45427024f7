//! When a heartbeat is due, and until when what was heard counts.

use super::LEASE;
use super::Lost;
use super::part_of;
use crate::store::Beat;
use crate::store::StoreError;
use std::time::Duration;

/// Who has heard no heartbeat for this long, and up to half as long again, sends one: all instances together send two a
/// second at most, give or take those that send at the same moment.
pub(super) const QUIET: Duration = Duration::from_millis(500);
/// Words that nobody understands make everything forgotten, but not more often than this.
const UNKNOWN_APART: Duration = Duration::from_secs(1);
/// Nor when it is told, again and again, that everything may have changed: answers to look-ups that take less can be
/// believed in between.
const EVERYTHING_APART: Duration = Duration::from_millis(50);

/// Heartbeats of one subscription. Times are those of [`crate::clock::Clock::elapsed`].
pub(in crate::session) struct Pulse {
    /// When nothing counts as heard any more.
    until: Duration,
    /// When the next heartbeat is sent, if none is heard before.
    beat_at: Duration,
    /// What became of the last one that was sent since one was heard.
    last: Option<Result<Beat, StoreError>>,
    /// Whether one was heard since the last one of ours set out.
    is_heard: bool,
    /// When everything is to be forgotten for words that nobody understood.
    flush_at: Option<Duration>,
    /// When that may happen next.
    flush_from: Duration,
    /// When it may happen next for what is known to concern everything.
    everything_from: Duration,
    /// Whether a heartbeat was heard from ahead of the time.
    pub(super) clock_set: bool,
}

impl Pulse {
    /// From LISTEN on: the first heartbeat is sent at once, and has as much time as all others.
    pub(in crate::session) fn new(now: Duration) -> Self {
        Self {
            until: now.saturating_add(LEASE),
            beat_at: now,
            last: None,
            is_heard: false,
            flush_at: None,
            flush_from: Duration::ZERO,
            everything_from: Duration::ZERO,
            clock_set: false,
        }
    }

    /// A heartbeat that was sent at `sent` is heard: until when changes count as seen; `None` when it comes so late that
    /// they do not.
    pub(in crate::session) fn heard(&mut self, sent: Duration, now: Duration) -> Option<Duration> {
        let until = sent.saturating_add(LEASE);
        if until <= now {
            return None;
        }
        self.until = self.until.max(until);
        self.beat_at = now.saturating_add(QUIET).saturating_add(part_of(QUIET / 2));
        self.last = None;
        self.is_heard = true;
        Some(self.until)
    }

    /// Whether a heartbeat is to be sent now.
    pub(in crate::session) fn beat(&mut self, now: Duration) -> bool {
        let due = now >= self.beat_at;
        if due {
            self.beat_at = now.saturating_add(QUIET);
            self.is_heard = false;
        }
        due
    }

    pub(in crate::session) fn sent(&mut self, sent: Result<Beat, StoreError>) {
        // It may have come back before it is known that it went out.
        if self.is_heard && matches!(sent, Ok(Beat::Sent)) {
            return;
        }
        // One that went out is enough to know that it should have come back.
        if !matches!(self.last, Some(Ok(Beat::Sent))) {
            self.last = Some(sent);
        }
    }

    pub(in crate::session) fn lost(&mut self, now: Duration) -> Option<Lost> {
        if self.clock_set {
            return Some(Lost::ClockSet);
        }
        (now >= self.until).then(|| match self.last.take() {
            Some(Ok(Beat::Sent)) => Lost::Unheard,
            Some(Ok(Beat::Untold)) => Lost::Untold,
            Some(Ok(Beat::QueueFull)) => Lost::QueueFull,
            Some(Err(error)) => Lost::Unsent(error),
            None => Lost::Unsent(StoreError::TimedOut),
        })
    }

    pub(in crate::session) fn unknown(&mut self, now: Duration) {
        self.flush_at.get_or_insert(now.max(self.flush_from));
    }

    /// Whether everything is to be forgotten at once, for a word that says so; else it will be soon.
    pub(in crate::session) fn everything(&mut self, now: Duration) -> bool {
        if now >= self.everything_from {
            self.everything_from = now.saturating_add(EVERYTHING_APART);
            self.flush_at = None;
            return true;
        }
        let soon = self.everything_from;
        self.flush_at = Some(self.flush_at.map_or(soon, |at| at.min(soon)));
        false
    }

    /// Whether everything is to be forgotten now.
    pub(in crate::session) fn flush(&mut self, now: Duration) -> bool {
        let due = self.flush_at.is_some_and(|at| now >= at);
        if due {
            self.flush_at = None;
            self.flush_from = now.saturating_add(UNKNOWN_APART);
            self.everything_from = now.saturating_add(EVERYTHING_APART);
        }
        due
    }

    /// When one of these is due.
    pub(super) fn wake_at(&self) -> Duration {
        let wake_at = self.until.min(self.beat_at);
        self.flush_at.map_or(wake_at, |at| wake_at.min(at))
    }
}
