use crate::model::Digest;
use crate::model::Timestamp;
use std::net::IpAddr;
use std::time::Duration;

/// Activity of a session, to be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touch {
    /// Which session.
    pub digest: Digest,
    /// When it was active.
    pub seen_at: Timestamp,
    /// The idle end that follows from it; the one that stands, where activity moves none.
    pub expires_at: Timestamp,
    /// The idle end that the session was loaded with. A row whose end lies before it was cut short by somebody: its end
    /// stays.
    pub known_end: Timestamp,
    /// From where.
    pub address: Option<IpAddr>,
}

/// What became of a touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touched {
    /// It was recorded.
    Written,
    /// Activity as late, or almost as late, was recorded already.
    Known,
    /// The session is gone, was over by then, or was cut short. Nothing brings it back.
    Over,
    /// Somebody else is changing the row; to be tried again.
    Locked,
}

/// The times of a row that a touch is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub last_seen: Timestamp,
    pub idle_end: Timestamp,
    pub end: Timestamp,
}

impl Touch {
    /// What becomes of this touch on a row; `None` when it is to be written.
    pub(super) fn outcome(&self, row: Option<Standing>, apart: Duration) -> Option<Touched> {
        let Some(row) = row else {
            return Some(Touched::Over);
        };
        if row.idle_end.min(row.end) <= self.seen_at || row.idle_end < self.known_end {
            return Some(Touched::Over);
        }
        let known = row.last_seen >= self.seen_at || row.last_seen > self.seen_at.minus(apart);
        known.then_some(Touched::Known)
    }
}
