use super::AccountError;
use super::Accounts;
use super::choice;
use super::choice::OwnWords;
use super::rules;
use crate::model::Event;
use crate::model::EventKind;
use crate::model::User;
use crate::model::UserId;
use crate::model::UserState;
use crate::model::Username;
use crate::store::Ended;
use crate::store::NewUser;
use crate::store::UserChange;
use secrecy::SecretString;
use std::collections::BTreeMap;
use uuid::Uuid;

/// A user as somebody types them in.
#[derive(Clone, Debug, Default)]
pub struct NewAccount {
    /// What the user signs in with.
    pub username: String,
    /// An e-mail address; counts as verified, because an administrator sets it.
    pub email: Option<String>,
    /// Display name.
    pub name: Option<String>,
    /// Groups in any order.
    pub groups: Vec<String>,
    /// Without one the user cannot sign in until it is set.
    pub password: Option<SecretString>,
}

/// `actor` is who does it: a user name or `command`. Where sessions end with a change they are returned, so that the
/// caches of this process can forget them.
impl Accounts {
    /// Adds a user.
    ///
    /// # Errors
    /// See [`AccountError`]; nobody was added then.
    pub async fn add(&self, new: NewAccount, actor: &str) -> Result<User, AccountError> {
        let user = User {
            id: UserId(Uuid::now_v7()),
            username: rules::username(&new.username)?,
            email_verified: new.email.is_some(),
            email: new.email.as_deref().map(rules::email).transpose()?,
            name: new.name.as_deref().map(rules::name).transpose()?,
            groups: rules::groups(&new.groups)?,
            state: UserState::Active,
            created_at: self.clock.now(),
            app_users: BTreeMap::new(),
        };
        let password = match new.password {
            Some(password) => Some(self.hash_for(&user, password).await?),
            None => None,
        };
        let event = self.event(EventKind::UserAdded, &user, actor);
        let new = NewUser {
            user: user.clone(),
            password,
        };
        let added = self.store.add_user(new, event).await;
        added.map_err(|error| AccountError::about(user.username.as_str(), error))?;
        Ok(user)
    }

    /// Users by name, after `after`, at most `limit`; `search` is a part of name or e-mail in any case.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(
        &self,
        search: Option<&str>,
        after: Option<&Username>,
        limit: u32,
    ) -> Result<Vec<User>, AccountError> {
        let search = search.map(|text| text.trim().to_lowercase());
        if search.as_deref().is_some_and(|text| text.chars().any(char::is_control)) {
            return Ok(Vec::new());
        }
        let listed = self.store.list_users(search.as_deref(), after, limit).await;
        listed.map_err(AccountError::Store)
    }

    /// The user with this name; `None` when there is none.
    ///
    /// # Errors
    /// The store's. A text that is no user name is nobody's.
    pub async fn find(&self, username: &str) -> Result<Option<User>, AccountError> {
        match Username::parse(username.trim()) {
            Ok(username) => self.store.find_user(&username).await.map_err(AccountError::Store),
            Err(_) => Ok(None),
        }
    }

    /// The user with this key; `None` when there is none.
    ///
    /// # Errors
    /// The store's.
    pub async fn find_by_id(&self, user: UserId) -> Result<Option<User>, AccountError> {
        self.store.find_user_by_id(user).await.map_err(AccountError::Store)
    }

    /// Sets a password and ends all sessions of the user.
    ///
    /// # Errors
    /// See [`AccountError`]; the old password still holds then.
    pub async fn set_password(
        &self,
        username: &str,
        password: SecretString,
        actor: &str,
    ) -> Result<Vec<Ended>, AccountError> {
        let user = self.known(username).await?;
        let change = UserChange {
            password: Some(self.hash_for(&user, password).await?),
            end_sessions: true,
            ..UserChange::default()
        };
        self.change(&user, change, EventKind::PasswordSet, actor).await
    }

    /// Lets a user sign in no longer and ends all their sessions.
    ///
    /// # Errors
    /// See [`AccountError`]; nothing changed then.
    pub async fn disable(&self, username: &str, actor: &str) -> Result<Vec<Ended>, AccountError> {
        let user = self.known(username).await?;
        let change = UserChange {
            state: Some(UserState::Disabled),
            end_sessions: true,
            ..UserChange::default()
        };
        self.change(&user, change, EventKind::UserDisabled, actor).await
    }

    /// Lets a user sign in again.
    ///
    /// # Errors
    /// See [`AccountError`]; nothing changed then.
    pub async fn enable(&self, username: &str, actor: &str) -> Result<Vec<Ended>, AccountError> {
        let user = self.known(username).await?;
        let change = UserChange {
            state: Some(UserState::Active),
            ..UserChange::default()
        };
        self.change(&user, change, EventKind::UserEnabled, actor).await
    }

    /// Deletes a user and all their sessions. The name is not given out again.
    ///
    /// # Errors
    /// See [`AccountError`]; nothing changed then.
    pub async fn delete(&self, username: &str, actor: &str) -> Result<Vec<Ended>, AccountError> {
        let user = self.known(username).await?;
        let event = self.event(EventKind::UserDeleted, &user, actor);
        let deleted = self.store.delete_user(user.id, event).await;
        deleted.map_err(|error| AccountError::about(username, error))
    }

    /// Adds a user to groups. Sessions go on: they have the new groups as soon as caches look again.
    ///
    /// # Errors
    /// See [`AccountError`]; nothing changed then.
    pub async fn add_groups(&self, username: &str, groups: &[String], actor: &str) -> Result<Vec<Ended>, AccountError> {
        let user = self.known(username).await?;
        let add_groups = rules::groups(groups)?;
        rules::groups(&[user.groups.as_slice(), &add_groups].concat())?;
        let change = UserChange {
            add_groups,
            ..UserChange::default()
        };
        self.change(&user, change, EventKind::GroupsChanged, actor).await
    }

    /// Takes a user out of groups; those that they are not in are passed over.
    ///
    /// # Errors
    /// See [`AccountError`]; nothing changed then.
    pub async fn remove_groups(
        &self,
        username: &str,
        groups: &[String],
        actor: &str,
    ) -> Result<Vec<Ended>, AccountError> {
        let user = self.known(username).await?;
        let change = UserChange {
            remove_groups: groups.to_vec(),
            ..UserChange::default()
        };
        self.change(&user, change, EventKind::GroupsChanged, actor).await
    }

    async fn known(&self, username: &str) -> Result<User, AccountError> {
        let found = self.find(username).await?;
        found.ok_or_else(|| AccountError::NoSuchUser(username.trim().chars().take(64).collect()))
    }

    /// The hash of a password that `user` may have.
    pub(super) async fn hash_for(&self, user: &User, password: SecretString) -> Result<SecretString, AccountError> {
        self.check_choice(user, &password)?;
        self.hasher.hash(password).await
    }

    /// Whether `user` may have `password`.
    pub(super) fn check_choice(&self, user: &User, password: &SecretString) -> Result<(), AccountError> {
        let own = OwnWords {
            username: user.username.as_str(),
            email: user.email.as_deref(),
            name: user.name.as_deref(),
        };
        choice::check(password, &own, &self.settings)
    }

    async fn change(
        &self,
        user: &User,
        change: UserChange,
        kind: EventKind,
        actor: &str,
    ) -> Result<Vec<Ended>, AccountError> {
        let event = self.event(kind, user, actor);
        let changed = self.store.change_user(user.id, change, event).await;
        changed.map_err(|error| AccountError::about(user.username.as_str(), error))
    }

    pub(super) fn event(&self, kind: EventKind, user: &User, actor: &str) -> Event {
        Event {
            user: Some(user.id),
            username: Some(user.username.to_string()),
            ..Event::new(self.clock.now(), kind, actor.chars().take(64).collect::<String>())
        }
    }
}
