//! Users and passwords: proves who signs in, and adds, changes, imports and deletes users.
//!
//! It opens no session and decides nothing about requests.
//!
//! Called by portal (log-in, registration, change of password), admin (tokens, bans) and by the commands `user …` and
//! `ban …`, on the control runtime.
//!
//! What must always hold: whether a user exists is not to be learned from a log-in, neither from the answer nor from its
//! time; a password is never logged and wiped after use; hashing never holds up a runtime, and never takes more memory
//! than `at_once` hashes; no password is checked that was not counted by [`Throttle`] first. Imported hashes cost what other
//! programs chose, within the bounds of `stored`; where that is more than `least_failure_time`, a wrong password shows by
//! its time that the user was imported and has not signed in since. A log-in whose future is dropped is carried through and
//! audited all the same; a change is stored whole or not at all.

mod app_user;
mod bans;
mod change;
mod choice;
mod edit;
mod error;
mod import;
mod manage;
mod operators;
mod origin;
mod password;
mod rate;
mod register;
mod rules;
mod sign_in;
mod standing;
mod stored;
mod throttle;

pub use crate::store::Part;
pub use bans::Banned;
pub use change::ChangeError;
pub use choice::SHORTEST_PASSWORD;
pub use edit::AccountEdit;
pub use error::{AccountError, SignInError};
pub use import::{ImportedAccount, ReadyAccount};
pub use manage::NewAccount;
pub use operators::{HEADER_ACTOR, LINK_ACTOR, LINK_LIFE, PASS_LIFE, TOKEN_ACTOR};
pub use origin::{KnownBrowser, Origin};
pub use rate::{Rate, Rates};
pub use register::Registration;
pub use rules::{MOST_GROUPS, REGISTERED, is_unseen};
pub use sign_in::Proven;
pub use stored::HashError;
pub use throttle::{Admitted, Attempt, Now, Throttle, ThrottleError};

use crate::clock::Clock;
use crate::store::Store;
use aws_lc_rs::hmac;
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
    /// How often something may be tried.
    pub rates: Rates,
    /// What pages call the site: nobody's password.
    pub site: Option<String>,
    /// Names that users of applications have here by `user_map`: only an operator can give one to somebody.
    pub promised: Vec<String>,
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
            rates: Rates::default(),
            site: None,
            promised: Vec::new(),
        }
    }
}

/// Users of this gateway.
pub struct Accounts {
    store: Arc<dyn Store>,
    hasher: Arc<Hasher>,
    throttle: Arc<Throttle>,
    settings: Settings,
    clock: Clock,
}

impl Accounts {
    /// Over `store`, for what works beside a gateway: names that are nobody's are counted under a key of its own, and
    /// everything by this machine's clock.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, settings: Settings, clock: Clock) -> Arc<Self> {
        let now = clock.clone();
        Self::keyed(store, settings, clock, &[], Arc::new(move || now.now()))
    }

    /// Over `store`, for a gateway: names that are nobody's are counted under the first of `keys`, which all instances
    /// share, and everything by `now`, the database's time.
    #[must_use]
    pub fn keyed(store: Arc<dyn Store>, settings: Settings, clock: Clock, keys: &[hmac::Key], now: Now) -> Arc<Self> {
        let throttle = Throttle::new(Arc::clone(&store), settings.rates, keys, now, clock.clone());
        Arc::new(Self {
            store,
            hasher: Arc::new(Hasher::new(&settings)),
            throttle: Arc::new(throttle),
            settings,
            clock,
        })
    }

    /// The same users by other settings; the threads that hash are the same. `keys` and `now` as in [`Accounts::keyed`].
    #[must_use]
    pub fn successor(&self, settings: Settings, keys: &[hmac::Key], now: Now) -> Arc<Self> {
        let throttle = Throttle::new(Arc::clone(&self.store), settings.rates, keys, now, self.clock.clone());
        Arc::new(Self {
            store: Arc::clone(&self.store),
            hasher: Arc::clone(&self.hasher),
            throttle: Arc::new(throttle),
            settings,
            clock: self.clock.clone(),
        })
    }

    /// Counts attempts of every kind.
    #[must_use]
    pub fn throttle(&self) -> &Throttle {
        &self.throttle
    }
}
