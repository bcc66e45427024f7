//! What activity does to a session: at once in memory, and written down a little later; the browser's cookie follows.
//!
//! It neither opens nor ends sessions, and decides nothing by itself: what it wrote in memory lasts until the session is
//! loaded again, and then the row decides.
//!
//! Called on the way of every forwarded request and for client bytes in tunnels; the watch of [`super::Sessions`] writes.
//!
//! What must always hold: a session is touched once in an interval at most; an end is moved forward only, never past the
//! absolute one, and never that of a session which is over; what was ended stays ended, however late a touch is written;
//! what waits is bounded, and waits until the store has answered for it, so a dropped future loses nothing.

mod renewal;
#[cfg(test)]
mod tests;
mod touches;

pub use renewal::Renewal;
pub(super) use touches::EVERY;
pub(super) use touches::Touches;

use super::Entry;
use super::OpenStream;
use super::Sessions;
use super::Settings;
use super::cache::Cache;
use super::source::apart;
use crate::model::Timestamp;
use crate::store::Touch;
use std::net::IpAddr;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// The rules of activity; for sessions that are open too, they can be changed.
#[derive(Debug)]
pub(super) struct Activity {
    /// Whether it moves the idle end.
    rolling: AtomicBool,
    /// Microseconds.
    idle_timeout: AtomicU64,
    /// Microseconds.
    apart: AtomicU64,
}

impl Activity {
    pub(super) fn new(settings: &Settings) -> Self {
        let rules = Self {
            rolling: AtomicBool::new(false),
            idle_timeout: AtomicU64::new(0),
            apart: AtomicU64::new(0),
        };
        rules.adopt(settings);
        rules
    }

    /// Goes by `settings` from here on.
    pub(super) fn adopt(&self, settings: &Settings) {
        let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        self.rolling.store(settings.rolling, Relaxed);
        self.idle_timeout.store(micros(settings.idle_timeout), Relaxed);
        let apart = settings.touch_interval.min(settings.idle_timeout / 4);
        self.apart.store(micros(apart), Relaxed);
    }

    /// The least time between two touches of a session.
    pub(super) fn apart(&self) -> Duration {
        Duration::from_micros(self.apart.load(Relaxed))
    }

    fn idle_timeout(&self) -> Duration {
        Duration::from_micros(self.idle_timeout.load(Relaxed))
    }

    /// Whether activity moves the idle end of this session. That of a remembered one is its absolute end.
    pub(super) fn moves(&self, entry: &Entry) -> bool {
        self.rolling.load(Relaxed) && !entry.session.remembered
    }
}

impl Sessions {
    /// A forwarded request or a `verify` of this session, from `address`. Moves the idle end at once, and has it written
    /// within a second or so. One look at the clock and two relaxed loads unless a touch is due, which is at most once in
    /// `touch_interval`, and once in a quarter of the idle time.
    pub fn touch(&self, entry: &Entry, address: IpAddr) {
        if entry.source.is_none() {
            self.cache.touch(entry, address);
        } else {
            self.cache_of(entry).touch_row(entry);
        }
    }
}

impl OpenStream {
    /// The same for client bytes in a tunnel; cheap enough for every frame.
    pub fn touch(&self, address: IpAddr) {
        self.with_entry(|cache, entry| {
            if entry.source.is_none() {
                cache.touch(entry, address);
            } else {
                cache.touch_row(entry);
            }
        });
    }
}

impl Cache {
    fn touch(&self, entry: &Entry, address: IpAddr) {
        let now = self.time.moment().now;
        let seen_at = entry.seen_at.load(Relaxed);
        let due = Timestamp::from_micros(seen_at).plus(self.activity.apart());
        if now >= due {
            self.touch_now(entry, seen_at, now, address);
        }
    }

    /// The same of an application's row, where its end may be moved. Its own end says when it was seen last.
    fn touch_row(&self, entry: &Entry) {
        if !self.lookups.as_ref().is_some_and(|lookups| lookups.touches()) {
            return;
        }
        let (now, seen_at) = (self.time.moment().now, entry.seen_at.load(Relaxed));
        let session = &entry.session;
        let lifetime = session.expires_at.since(session.last_seen_at);
        if now < Timestamp::from_micros(seen_at).plus(apart(lifetime)) || entry.is_over(now) {
            return;
        }
        let seen = &entry.seen_at;
        let wins = seen.compare_exchange(seen_at, now.as_micros(), Relaxed, Relaxed);
        if wins.is_ok() {
            self.touches.add(Touch {
                digest: session.digest,
                seen_at: now,
                expires_at: now.plus(lifetime),
                known_end: session.expires_at,
                address: None,
            });
        }
    }

    #[cold]
    fn touch_now(&self, entry: &Entry, seen_at: i64, now: Timestamp, address: IpAddr) {
        // Over is over: activity that comes at the end or later moves nothing. Several cores see a touch due, one makes it.
        let wins = || {
            let seen = &entry.seen_at;
            seen.compare_exchange(seen_at, now.as_micros(), Relaxed, Relaxed)
                .is_ok()
        };
        if entry.is_over(now) || now.as_micros() <= seen_at || !wins() {
            return;
        }
        let session = &entry.session;
        let expires_at = if self.activity.moves(entry) {
            now.plus(self.activity.idle_timeout()).min(session.ends_at)
        } else {
            session.expires_at
        };
        entry.move_end(expires_at);
        entry.renewal_owed.store(true, Relaxed);
        self.touches.add(Touch {
            digest: session.digest,
            seen_at: now,
            expires_at,
            known_end: session.expires_at,
            address: Some(address),
        });
    }
}

impl Entry {
    /// When the session is over, by what is known here: its idle end, activity that is not written yet included, or its
    /// absolute one.
    #[must_use]
    pub fn ends(&self) -> Timestamp {
        Timestamp::from_micros(self.idle_end.load(Relaxed)).min(self.session.ends_at)
    }

    /// Whether it is over at `now`: exact at the boundary, swept or not.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        now >= self.ends()
    }

    /// Counts activity that the row does not know yet, by the rule that it will be written by.
    pub(super) fn resume(&self, touch: &Touch) {
        let session = &self.session;
        let lived = session.expires_at.min(session.ends_at) > touch.seen_at;
        if lived && session.expires_at >= touch.known_end {
            self.move_end(touch.expires_at);
            self.seen_at.fetch_max(touch.seen_at.as_micros(), Relaxed);
        }
    }

    fn move_end(&self, expires_at: Timestamp) {
        self.idle_end.fetch_max(expires_at.as_micros(), Relaxed);
    }
}
