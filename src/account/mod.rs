//! Users and passwords: proves who signs in, and adds, changes and deletes users.
//!
//! It opens no session and decides nothing about requests. It does not throttle.
//!
//! Called by portal (log-in) and by the commands `user …`, on the control runtime.
//!
//! What must always hold: whether a user exists is not to be learned from a log-in, neither from the answer nor from its
//! time; a password is never logged and wiped after use; hashing never holds up a runtime, and never takes more memory
//! than `at_once` hashes. A log-in whose future is dropped is carried through and audited all the same; a change is
//! stored whole or not at all.

mod error;
mod manage;
mod password;
mod rules;
mod sign_in;

pub use error::{AccountError, SignInError};
pub use manage::NewAccount;
pub use rules::{MOST_GROUPS, SHORTEST_PASSWORD};

use crate::clock::Clock;
use crate::store::Store;
use password::Hasher;
use std::sync::Arc;
use std::time::Duration;

/// What password checks may cost.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Argon2id memory in KiB; at most 256 MiB, and less than 8 counts as 8.
    pub memory_kib: u32,
    /// Argon2id passes, 1 to 16.
    pub passes: u32,
    /// Hashes computed at once.
    pub at_once: usize,
    /// Log-ins that may wait for one; more are refused.
    pub queue: usize,
    /// The least time after which a failure is answered.
    pub least_failure_time: Duration,
}

impl Default for Settings {
    /// OWASP's Argon2id parameters: 19 MiB, two passes, one lane.
    fn default() -> Self {
        Self {
            memory_kib: 19 * 1024,
            passes: 2,
            at_once: 2,
            queue: 64,
            least_failure_time: Duration::from_millis(400),
        }
    }
}

/// Users of this gateway.
pub struct Accounts {
    store: Arc<dyn Store>,
    hasher: Arc<Hasher>,
    settings: Settings,
    clock: Clock,
}

impl Accounts {
    /// Over `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, settings: Settings, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            store,
            hasher: Arc::new(Hasher::new(&settings)),
            settings,
            clock,
        })
    }
}
