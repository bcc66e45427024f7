use super::Accounts;
use super::SignInError;
use super::password::Full;
use super::password::Hasher;
use super::password::Place;
use crate::clock::Clock;
use crate::model::Event;
use crate::model::EventKind;
use crate::model::User;
use crate::model::UserState;
use crate::store::Credentials;
use crate::store::Store;
use secrecy::SecretString;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::time::Instant;

/// Longer than any name or address; what is longer is nobody's.
const LONGEST_LOGIN: usize = 254;

impl Accounts {
    /// Proves who `login` (a user name or an e-mail address, in any case) is. Unknown users cost the same as known ones,
    /// and failures are answered no sooner than the least time. Failures are audited, also when the future is dropped.
    ///
    /// # Errors
    /// See [`SignInError`].
    pub async fn sign_in(&self, login: &str, password: SecretString, address: IpAddr) -> Result<User, SignInError> {
        let answer_at = Instant::now() + self.settings.least_failure_time;
        // Before the store is asked: a flood of log-ins is not to become a flood of queries.
        let place = self.hasher.queue().map_err(|Full| SignInError::Busy)?;
        let attempt = Attempt {
            store: Arc::clone(&self.store),
            hasher: Arc::clone(&self.hasher),
            clock: self.clock.clone(),
            login: login.trim().to_lowercase(),
            address,
        };
        let task = tokio::spawn(attempt.prove(place, password));
        let outcome = task.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a log-in could not be carried through");
            Err(SignInError::Busy)
        });
        if matches!(outcome, Err(SignInError::Wrong)) {
            tokio::time::sleep_until(answer_at).await;
        }
        outcome
    }
}

/// One log-in, on its own so that a visitor who goes away does not go unrecorded.
struct Attempt {
    store: Arc<dyn Store>,
    hasher: Arc<Hasher>,
    clock: Clock,
    login: String,
    address: IpAddr,
}

impl Attempt {
    async fn prove(self, place: Place, password: SecretString) -> Result<User, SignInError> {
        let found = self.find().await?;
        let (user, stored) = match found {
            Some(Credentials { user, password }) => (Some(user), password),
            None => (None, None),
        };
        let right = self.hasher.verify(place, password, stored).await;
        let reason = match user {
            Some(user) if right && user.state == UserState::Active => return Ok(user),
            Some(user) => {
                let reason = if right { "disabled" } else { "wrong_password" };
                self.record(Some(&user), reason).await;
                return Err(SignInError::Wrong);
            }
            None => "unknown_user",
        };
        self.record(None, reason).await;
        Err(SignInError::Wrong)
    }

    async fn find(&self) -> Result<Option<Credentials>, SignInError> {
        let login = &self.login;
        // Postgres refuses a NUL in text: a byte that a visitor chose would look like an outage.
        if login.is_empty() || login.len() > LONGEST_LOGIN || login.chars().any(char::is_control) {
            return Ok(None);
        }
        Ok(self.store.find_credentials(login).await?)
    }

    /// People type their password into the wrong field, and many a password could be a name, this program's own among
    /// them: a login that is nobody's is not written down.
    async fn record(&self, user: Option<&User>, reason: &'static str) {
        let event = Event {
            user: user.map(|user| user.id),
            username: user.map(|user| user.username.to_string()),
            address: Some(self.address),
            reason: Some(reason),
            ..Event::new(self.clock.now(), EventKind::LoginFailed, "system")
        };
        if let Err(error) = self.store.record(event).await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "a refused log-in could not be written to the audit log");
        }
    }
}
