use super::Call;
use super::StoreError;
use crate::model::Timestamp;
use std::time::Duration;
use uuid::Uuid;

/// The gateways that run on one state. A part of [`super::Store`]; the same rules hold. Times are the database's.
pub trait Instances: Send + Sync {
    /// Whether several gateways may serve this state at once.
    fn is_shared(&self) -> bool {
        false
    }
    /// Writes that `instance` runs, forgets those that were not seen for `forget_after` (without waiting for another
    /// instance that does the same), and returns all that are left, this one included, the oldest first.
    fn show_instance<'a>(&'a self, _instance: &'a Instance, _forget_after: Duration) -> Call<'a, Vec<SeenInstance>> {
        unasked()
    }
    /// All that are written down, the oldest first, at most a thousand.
    fn list_instances(&self) -> Call<'_, Vec<SeenInstance>> {
        unasked()
    }
    /// Forgets an instance: it stopped in order.
    fn forget_instance(&self, _id: Uuid) -> Call<'_, ()> {
        unasked()
    }
}

/// What a running gateway says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Made at each start.
    pub id: Uuid,
    /// Of the program, at most 64 bytes.
    pub version: String,
    /// Name of the machine, at most 255 bytes.
    pub host: String,
    /// Where it listens first, at most 255 bytes.
    pub address: String,
    /// How it signs.
    pub signing: Signing,
}

/// How an instance signs: enough to tell whether another understands it, and nothing to sign with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signing {
    /// What each of its session cookies begins with: the name, `=`, and the value's prefix. At most 512 bytes.
    pub cookie: String,
    /// 16 hexadecimal digits for each session secret: the first signs, all verify.
    pub fingerprints: Vec<String>,
}

/// An instance as it was seen last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenInstance {
    /// What it said.
    pub instance: Instance,
    /// Its first beat.
    pub started_at: Timestamp,
    /// Its last beat.
    pub last_seen: Timestamp,
    /// How long ago that was when this was asked.
    pub silent_for: Duration,
}

/// The answer of a store that keeps nothing of this: a stand-in of tests.
fn unasked<T: Send + 'static>() -> Call<'static, T> {
    Box::pin(std::future::ready(Err(StoreError::NotReady)))
}
