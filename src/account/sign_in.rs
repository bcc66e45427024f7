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

/// What a password is proven for; the reason in the audit log where it was the wrong one.
#[derive(Clone, Copy)]
pub(super) enum Occasion {
    LogIn,
    Change,
}

/// Who proved a password.
#[derive(Debug)]
pub struct Proven {
    /// Who.
    pub user: User,
    /// The hash of that password as it is stored: where it was changed meanwhile, the proof is worth nothing.
    pub proof: SecretString,
}

impl Accounts {
    /// Proves who `login` (a user name or a verified e-mail address, in any case) is. Unknown users cost the same as known
    /// ones, and failures are answered no sooner than the least time. Failures are audited, also when the future is
    /// dropped. The attempt is counted before the password is looked at, and given back when it was the right one. A hash
    /// that another program made is replaced by ours.
    ///
    /// # Errors
    /// See [`SignInError`].
    pub async fn sign_in(
        &self,
        login: &str,
        password: SecretString,
        origin: impl Into<Origin>,
    ) -> Result<Proven, SignInError> {
        self.prove(login, password, origin.into(), Occasion::LogIn).await
    }

    /// The only way in which a password is checked.
    pub(super) async fn prove(
        &self,
        login: &str,
        password: SecretString,
        origin: Origin,
        occasion: Occasion,
    ) -> Result<Proven, SignInError> {
        let answer_at = Instant::now() + self.settings.least_failure_time;
        let login = canonical(login);
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
            occasion,
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
    occasion: Occasion,
}

impl Proof {
    async fn prove(self, place: Place, password: SecretString) -> Result<Proven, SignInError> {
        let found = self.find().await?;
        let (user, stored) = match found {
            Some(Credentials { user, password }) => (Some(user), password),
            None => (None, None),
        };
        let admitted = self.throttle.admit(&self.attempt(user.as_ref())).await?;
        let active = user.as_ref().is_some_and(|user| user.state == UserState::Active);
        let checked = self
            .hasher
            .verify(place, password.clone(), stored.clone(), active)
            .await;
        let reason = match (user, stored) {
            (Some(user), Some(stored)) if checked.right && active => {
                self.throttle.give_back(admitted).await;
                let proof = match checked.replacement {
                    Some(ours) => self.replace(&user, password, stored, ours).await?,
                    None => stored,
                };
                return Ok(Proven { user, proof });
            }
            (Some(user), _) => {
                let reason = match self.occasion {
                    _ if checked.right => "disabled",
                    Occasion::LogIn => "wrong_password",
                    Occasion::Change => "wrong_current_password",
                };
                self.record(Some(&user), reason).await;
                return Err(SignInError::Wrong);
            }
            (None, _) => "unknown_user",
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

    /// Stores a hash of ours in place of the one that just matched; returns what is stored. The log-in goes on when the
    /// store does not do it: the old hash is as right as before.
    async fn replace(
        &self,
        user: &User,
        password: SecretString,
        before: SecretString,
        ours: SecretString,
    ) -> Result<SecretString, SignInError> {
        let event = Event {
            user: Some(user.id),
            username: Some(user.username.to_string()),
            address: Some(self.origin.address),
            device: self.origin.device(),
            ..Event::new(self.clock.now(), EventKind::PasswordUpgraded, "system")
        };
        let replaced = self
            .store
            .replace_password(user.id, before.clone(), ours.clone(), event)
            .await;
        match replaced {
            Ok(true) => Ok(ours),
            Ok(false) => self.prove_again(user, password).await,
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(
                    error,
                    "an imported password hash could not be replaced; it is tried at the next log-in"
                );
                Ok(before)
            }
        }
    }

    /// Another log-in stored its hash first, or the password was changed meanwhile.
    async fn prove_again(&self, user: &User, password: SecretString) -> Result<SecretString, SignInError> {
        let found = self.store.find_credentials(user.username.as_str()).await?;
        let stored = found.and_then(|found| found.password).ok_or(SignInError::Wrong)?;
        let place = self.hasher.queue().map_err(|Full| SignInError::Busy)?;
        let checked = self.hasher.verify(place, password, Some(stored.clone()), false).await;
        if checked.right {
            return Ok(stored);
        }
        self.record(Some(user), "wrong_password").await;
        Err(SignInError::Wrong)
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
