//! Users and passwords.

use crate::clock::Clock;
use crate::model::User;
use crate::store::Store;
use crate::store::StoreError;
use secrecy::SecretString;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// What password checks may cost.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Argon2id memory in KiB.
    pub memory_kib: u32,
    /// Argon2id passes.
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

/// Why a log-in was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// Unknown user, wrong password, or disabled: the same to the outside.
    #[error("wrong user name or password")]
    Wrong,
    /// Too many log-ins wait.
    #[error("too many log-ins at once")]
    Busy,
    /// Could not ask.
    #[error("the user store cannot be asked")]
    Store(#[from] StoreError),
}

/// Users of this gateway.
pub struct Accounts {
    _private: (),
}

#[expect(clippy::todo, reason = "skeleton")]
#[expect(clippy::unused_async, reason = "skeleton")]
impl Accounts {
    /// Over `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, settings: Settings, clock: Clock) -> Arc<Self> {
        let _ = (store, settings, clock);
        todo!()
    }
    /// Proves who `login` is; costs the same for users that do not exist. Failures are audited.
    ///
    /// # Errors
    /// See [`SignInError`].
    pub async fn sign_in(&self, login: &str, password: SecretString, address: IpAddr) -> Result<User, SignInError> {
        let _ = (login, password, address);
        todo!()
    }
}
