use super::Accounts;
use super::Attempt;
use super::Origin;
use super::SignInError;
use super::Throttle;
use super::password::Full;
use super::password::Hasher;
use super::password::Place;
use super::throttle::canonical;
use crate::clock::Clock;
use crate::model::Event;
use crate::model::EventKind;
use crate::model::User;
use crate::model::UserState;
use crate::store::Credentials;
use crate::store::Store;
use secrecy::SecretString;
use std::sync::Arc;
use tokio::time::Instant;

/// Longer than any name or address; what is longer is nobody's.
const LONGEST_LOGIN: usize = 254;

impl Accounts {
    /// Proves who `login` (a user name or an e-mail address, in any case) is. Unknown users cost the same as known ones,
    /// and failures are answered no sooner than the least time. Failures are audited, also when the future is dropped. The
    /// attempt is counted before the password is looked at, and given back when it was the right one.
    ///
    /// # Errors
    /// See [`SignInError`].
    pub async fn sign_in(
        &self,
        login: &str,
        password: SecretString,
        origin: impl Into<Origin>,
    ) -> Result<User, SignInError> {
        let answer_at = Instant::now() + self.settings.least_failure_time;
        let (login, origin) = (canonical(login), origin.into());
        self.throttle.glance(&login, &origin)?;
        // Before the store is asked: a flood of log-ins is not to become a flood of queries.
        let place = self.hasher.queue().map_err(|Full| SignInError::Busy)?;
        let proof = Proof {
            store: Arc::clone(&self.store),
            hasher: Arc::clone(&self.hasher),
            throttle: Arc::clone(&self.throttle),
            clock: self.clock.clone(),
            login,
            origin,
        };
        let task = tokio::spawn(proof.prove(place, password));
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
struct Proof {
    store: Arc<dyn Store>,
    hasher: Arc<Hasher>,
    throttle: Arc<Throttle>,
    clock: Clock,
    login: String,
    origin: Origin,
}

impl Proof {
    async fn prove(self, place: Place, password: SecretString) -> Result<User, SignInError> {
        let found = self.find().await?;
        let (user, stored) = match found {
            Some(Credentials { user, password }) => (Some(user), password),
            None => (None, None),
        };
        let admitted = self.throttle.admit(&self.attempt(user.as_ref())).await?;
        let right = self.hasher.verify(place, password, stored).await;
        let reason = match user {
            Some(user) if right && user.state == UserState::Active => {
                self.throttle.give_back(admitted).await;
                return Ok(user);
            }
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

    fn attempt<'a>(&'a self, user: Option<&'a User>) -> Attempt<'a> {
        let (login, origin) = (self.login.as_str(), &self.origin);
        match user {
            Some(user) => Attempt::Password { user, login, origin },
            None => Attempt::Nobody { login, origin },
        }
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
            address: Some(self.origin.address),
            device: self.origin.device(),
            reason: Some(reason),
            ..Event::new(self.clock.now(), EventKind::LoginFailed, "system")
        };
        if let Err(error) = self.store.record(event).await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "a refused log-in could not be written to the audit log");
        }
    }
}
