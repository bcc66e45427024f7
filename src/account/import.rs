use super::AccountError;
use super::Accounts;
use super::rules;
use super::stored::StoredHash;
use crate::model::Event;
use crate::model::EventKind;
use crate::model::Timestamp;
use crate::model::User;
use crate::model::UserId;
use crate::model::UserState;
use crate::store::Added;
use crate::store::NewUser;
use secrecy::ExposeSecret;
use secrecy::SecretString;
use std::collections::BTreeMap;
use uuid::Uuid;

/// A user as another program had them.
#[derive(Clone, Debug)]
pub struct ImportedAccount {
    /// What the user signs in with.
    pub username: String,
    /// E-mail address.
    pub email: Option<String>,
    /// Whether the address is known to be theirs.
    pub email_verified: bool,
    /// Display name.
    pub name: Option<String>,
    /// Groups in any order.
    pub groups: Vec<String>,
    /// Whether they may sign in.
    pub state: UserState,
    /// The password's hash as the other program stored it; without one the user cannot sign in until a password is set.
    pub password_hash: Option<SecretString>,
    /// When the user was added there.
    pub created_at: Option<Timestamp>,
}

/// A user who can be added: every rule was checked but whether the names are free.
pub struct ReadyAccount {
    new: NewUser,
    event: Event,
}

impl ReadyAccount {
    /// Name and address, which are taken once this account is added.
    #[must_use]
    pub fn names(&self) -> (&str, Option<&str>) {
        (self.new.user.username.as_str(), self.new.user.email.as_deref())
    }
}

impl Accounts {
    /// Checks an account to be imported: the same rules as for one that is typed in, and that its hash can be checked.
    ///
    /// # Errors
    /// See [`AccountError`].
    pub fn ready(&self, account: ImportedAccount, actor: &str) -> Result<ReadyAccount, AccountError> {
        if let Some(hash) = &account.password_hash {
            StoredHash::read(hash.expose_secret())?;
        }
        let user = User {
            id: UserId(Uuid::now_v7()),
            username: rules::username(&account.username)?,
            email_verified: account.email_verified && account.email.is_some(),
            email: account.email.as_deref().map(rules::email).transpose()?,
            name: account.name.as_deref().map(rules::name).transpose()?,
            groups: rules::groups(&account.groups)?,
            state: account.state,
            created_at: account.created_at.unwrap_or_else(|| self.clock.now()),
            app_users: BTreeMap::new(),
        };
        let event = Event {
            reason: Some("imported"),
            ..self.event(EventKind::UserAdded, &user, actor)
        };
        let password = account.password_hash;
        Ok(ReadyAccount {
            new: NewUser { user, password },
            event,
        })
    }

    /// Adds accounts in one transaction and tells for each, in their order, whether it was added; with `dry_run` whether
    /// it would be.
    ///
    /// # Errors
    /// The store's; none of them was added then.
    pub async fn import(&self, accounts: Vec<ReadyAccount>, dry_run: bool) -> Result<Vec<Added>, AccountError> {
        let new = accounts.into_iter().map(|ready| (ready.new, ready.event)).collect();
        self.store.add_users(new, dry_run).await.map_err(AccountError::Store)
    }
}
