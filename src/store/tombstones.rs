use super::Call;
use super::StoreError;
use crate::model::Digest;
use crate::model::Event;
use crate::model::Timestamp;

/// Sessions of applications that were ended here, whose rows may come back. A part of [`super::Store`]; the same rules
/// hold. What was inserted is told to all gateways like the end of a session of ours.
pub trait Tombstones: Send + Sync {
    /// Writes down that these were ended, and `event`, and ends their copies ([`super::Imports`]), each with an event like it;
    /// in one transaction. Who stands there already stays until the later of both moments.
    fn bury<'a>(&'a self, _tombstones: &'a [Tombstone], _event: Event) -> Call<'a, ()> {
        unasked()
    }
    /// Those of `digests` that were ended, in any order and in one round trip; on the connections of look-ups.
    fn find_tombstones<'a>(&'a self, _digests: &'a [Digest]) -> Call<'a, Vec<Digest>> {
        unasked()
    }
    /// Forgets at most `limit` whose time is over at `now`, without waiting for another instance that does the same; how
    /// many.
    fn forget_tombstones(&self, _now: Timestamp, _limit: u32) -> Call<'_, u64> {
        Box::pin(std::future::ready(Ok(0)))
    }
}

/// A session of an application that was ended here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// By what its row is known; the copies of a row know it by the same.
    pub digest: Digest,
    /// Which application's.
    pub source: String,
    /// When.
    pub ended_at: Timestamp,
    /// The longest that a row with its key can live.
    pub until: Timestamp,
}

/// The answer of a store that keeps nothing of this: a stand-in of tests.
fn unasked<T: Send + 'static>() -> Call<'static, T> {
    Box::pin(std::future::ready(Err(StoreError::NotReady)))
}
