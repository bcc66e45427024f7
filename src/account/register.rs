use super::AccountError;
use super::Accounts;
use super::Attempt;
use super::Origin;
use super::REGISTERED;
use super::rules;
use crate::model::Event;
use crate::model::EventKind;
use crate::model::User;
use crate::model::UserId;
use crate::model::UserState;
use crate::store::NewUser;
use secrecy::SecretString;
use std::collections::BTreeMap;
use uuid::Uuid;

/// A user as a visitor describes themselves.
#[derive(Clone, Debug)]
pub struct Registration {
    /// What they want to sign in with; no @.
    pub username: String,
    /// An address that nobody has verified.
    pub email: Option<String>,
    /// Display name.
    pub name: Option<String>,
    /// Their password.
    pub password: SecretString,
}

impl Accounts {
    /// Adds a user who is in [`REGISTERED`] and nothing else. That a user name is taken cannot be hidden, and each question
    /// costs a hash; whether an e-mail address is somebody else's is not told: it is left out then, and until it is
    /// verified an address is neither shown nor used to sign in.
    ///
    /// # Errors
    /// See [`AccountError`]; nobody was added then.
    pub async fn register(&self, new: Registration, origin: impl Into<Origin>) -> Result<User, AccountError> {
        let origin = origin.into();
        let user = User {
            id: UserId(Uuid::now_v7()),
            username: rules::own_username(&new.username)?,
            email: new.email.as_deref().map(rules::email).transpose()?,
            email_verified: false,
            name: new.name.as_deref().map(rules::name).transpose()?,
            groups: vec![REGISTERED.to_owned()],
            state: UserState::Active,
            created_at: self.clock.now(),
            app_users: BTreeMap::new(),
        };
        self.check_choice(&user, &new.password)?;
        // Counted before it is hashed, and never given back: each one asks whether a name is free.
        let attempt = Attempt::Registration {
            address: origin.address,
        };
        drop(self.throttle.admit(&attempt).await?);
        // Whoever had it would be told to applications as somebody who is signed in at one of them.
        if self.settings.promised.iter().any(|name| name == user.username.as_str()) {
            return Err(AccountError::Taken("the user name"));
        }
        let password = Some(self.hasher.hash(new.password).await?);
        let event = Event {
            address: Some(origin.address),
            device: origin.device(),
            reason: Some("registered"),
            ..self.event(EventKind::UserAdded, &user, user.username.as_str())
        };
        let new = NewUser {
            user: user.clone(),
            password,
        };
        let added = self.store.add_user(new, event).await;
        added.map_err(|error| AccountError::about(user.username.as_str(), error))?;
        Ok(user)
    }
}
