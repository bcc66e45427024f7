//! Several changes of one user at once, as the operators' API takes them.

use super::AccountError;
use super::Accounts;
use super::app_user;
use super::rules;
use crate::model::Event;
use crate::model::EventKind;
use crate::model::User;
use crate::model::UserId;
use crate::model::UserState;
use crate::store::Ended;
use crate::store::Part;
use crate::store::UserEdit;
use secrecy::SecretString;
use serde_json::Value;
use std::collections::BTreeMap;

/// What is to be changed; `None` leaves a part as it is.
#[derive(Clone, Debug, Default)]
pub struct AccountEdit {
    /// E-mail address; counts as verified, because an administrator sets it.
    pub email: Part,
    /// Display name.
    pub name: Part,
    /// All groups, in any order.
    pub groups: Option<Vec<String>>,
    /// Whether they may sign in.
    pub state: Option<UserState>,
    /// Password; ends all sessions.
    pub password: Option<SecretString>,
    /// Who the user is in applications that keep sessions of their own, by source; `None` for nobody. What is absent stays.
    pub app_users: BTreeMap<String, Option<Value>>,
}

impl Accounts {
    /// Makes all changes or none, and writes one event for each kind of change. Who is disabled or gets a new password has
    /// no session any more; those that ended are returned, so that the caches of this process can forget them.
    ///
    /// # Errors
    /// See [`AccountError`]; nothing changed then.
    pub async fn edit(&self, user: UserId, edit: AccountEdit, actor: &str) -> Result<(User, Vec<Ended>), AccountError> {
        let Some(before) = self.find_by_id(user).await? else {
            return Err(AccountError::NoSuchUser(user.to_string()));
        };
        let (email, name) = (changed(edit.email, rules::email)?, changed(edit.name, rules::name)?);
        let after = User {
            email: email.after(before.email.as_deref()),
            name: name.after(before.name.as_deref()),
            ..before.clone()
        };
        app_user::check(&before, &edit.app_users)?;
        let ready = UserEdit {
            app_users: edit.app_users,
            email,
            name,
            groups: edit.groups.as_deref().map(rules::groups).transpose()?,
            state: edit.state,
            end_sessions: edit.password.is_some(),
            password: match edit.password {
                Some(password) => Some(self.hash_for(&after, password).await?),
                None => None,
            },
        };
        let events = self.events_of(&before, &ready, actor);
        let edited = self.store.edit_user(user, ready, events).await;
        let edited = edited.map_err(|error| AccountError::about(before.username.as_str(), error))?;
        Ok((edited.user, edited.ended))
    }

    fn events_of(&self, before: &User, edit: &UserEdit, actor: &str) -> Vec<Event> {
        let state = edit.state.map(|state| match state {
            UserState::Active => EventKind::UserEnabled,
            UserState::Disabled => EventKind::UserDisabled,
        });
        let kinds = [
            (edit.email.changes() || edit.name.changes()).then_some(EventKind::UserChanged),
            edit.groups.is_some().then_some(EventKind::GroupsChanged),
            edit.password.is_some().then_some(EventKind::PasswordSet),
            state,
        ];
        let events = kinds.into_iter().flatten().map(|kind| self.event(kind, before, actor));
        // One of each application: the log says in which somebody became whom an administrator named.
        let of_applications = edit.app_users.keys().map(|source| Event {
            source: Some(source.clone()),
            ..self.event(EventKind::AppUserChanged, before, actor)
        });
        events.chain(of_applications).collect()
    }
}

fn changed(part: Part, rule: fn(&str) -> Result<String, AccountError>) -> Result<Part, AccountError> {
    match part {
        Part::Set(text) => rule(&text).map(Part::Set),
        other => Ok(other),
    }
}
