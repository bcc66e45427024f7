use super::Ask;
use super::List;
use crate::account::AccountEdit;
use crate::account::AccountError;
use crate::account::NewAccount;
use crate::account::Part;
use crate::admin::Admin;
use crate::admin::refusal::Refusal;
use crate::model::User;
use crate::model::UserId;
use crate::model::UserState;
use crate::model::Username;
use crate::session::StreamEnd;
use crate::web::Answer;
use http::HeaderValue;
use http::header::LOCATION;
use secrecy::SecretString;
use serde::Deserialize;
use serde::Deserializer;
use serde_json::Value;
use std::collections::BTreeMap;

pub(super) const NO_USER: &str = "There is no such user";
const NEW: &str = "username, email, name, groups, password";
const CHANGE: &str = "email, name, groups, state, password, app_users";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    username: String,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    password: Option<String>,
}

/// What is absent stays as it is, so that `null` is told from absent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    #[serde(default, deserialize_with = "part")]
    email: Part,
    #[serde(default, deserialize_with = "part")]
    name: Part,
    #[serde(default, deserialize_with = "given")]
    groups: Option<Vec<String>>,
    #[serde(default, deserialize_with = "given")]
    state: Option<State>,
    #[serde(default, deserialize_with = "given")]
    password: Option<String>,
    /// By source; null for nobody.
    #[serde(default)]
    app_users: BTreeMap<String, Option<Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Active,
    Disabled,
}

fn part<'de, D: Deserializer<'de>>(input: D) -> Result<Part, D::Error> {
    Ok(Option::deserialize(input)?.map_or(Part::Clear, Part::Set))
}

fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(input: D) -> Result<Option<T>, D::Error> {
    T::deserialize(input).map(Some)
}

impl Admin {
    pub(super) async fn list_users(&self, ask: &Ask<'_>) -> Result<Answer, Refusal> {
        let limit = ask.query.limit()?;
        let place = self.place(ask)?;
        let after = place.and_then(|place| Username::parse(&String::from_utf8(place).ok()?).ok());
        let search = ask.query.search()?;
        let found = self.accounts.list(search, after.as_ref(), limit + 1).await?;
        let place = |user: &User| user.username.as_str().as_bytes().to_vec();
        let (items, next) = self.page(ask, found, limit, place, |user| user);
        Ok(ask.json(&List { items, next }))
    }

    pub(super) async fn add_user(&self, ask: &Ask<'_>) -> Result<Answer, Refusal> {
        let new: New = ask.body(NEW)?;
        // As it stands: the commands cut spaces around what people type.
        Username::parse(&new.username).map_err(AccountError::from)?;
        let account = NewAccount {
            username: new.username,
            email: new.email,
            name: new.name,
            groups: new.groups,
            password: new.password.map(SecretString::from),
        };
        let user = self.accounts.add(account, &ask.caller.actor).await?;
        let mut answer = ask.json(&user);
        if let Ok(location) = HeaderValue::try_from(format!("{}/users/{}", ask.base, user.id)) {
            answer.headers_mut().insert(LOCATION, location);
        }
        Ok(answer)
    }

    pub(super) async fn show_user(&self, ask: &Ask<'_>) -> Result<Answer, Refusal> {
        Ok(ask.json(&self.user_of(ask).await?))
    }

    pub(super) async fn change_user(&self, ask: &Ask<'_>) -> Result<Answer, Refusal> {
        let id = UserId(ask.uuid(NO_USER)?);
        let change: Change = ask.body(CHANGE)?;
        let edit = AccountEdit {
            email: change.email,
            name: change.name,
            groups: change.groups,
            state: change.state.map(|state| match state {
                State::Active => UserState::Active,
                State::Disabled => UserState::Disabled,
            }),
            password: change.password.map(SecretString::from),
            app_users: change.app_users,
        };
        if ask.caller.member == Some(id) {
            self.check_own(&edit)?;
        }
        let why = match edit.state {
            Some(UserState::Disabled) => StreamEnd::Disabled,
            _ => StreamEnd::Ended,
        };
        let outcome = self.accounts.edit(id, edit, &ask.caller.actor).await;
        // What is known comes first, so that open streams hear why they end.
        if let Ok((_, ended)) = &outcome {
            self.sessions.forget_because(ended, why);
        }
        // On an error too: whether it was carried out is not known, and what may be ended is not believed.
        if !matches!(outcome, Err(AccountError::NoSuchUser(_))) {
            self.sessions.forget_user(id);
        }
        let (user, _) = outcome?;
        Ok(ask.json(&user))
    }

    /// Nobody locks themselves out by a slip.
    fn check_own(&self, edit: &AccountEdit) -> Result<(), Refusal> {
        let leaves = edit
            .groups
            .as_ref()
            .is_some_and(|groups| !groups.iter().any(|group| self.group.as_ref() == Some(group)));
        if leaves || edit.state == Some(UserState::Disabled) {
            let text = "You cannot disable yourself or leave the administrators' group here; another administrator can";
            return Err(Refusal::Conflict(text.to_owned()));
        }
        Ok(())
    }

    pub(super) async fn delete_user(&self, ask: &Ask<'_>) -> Result<Answer, Refusal> {
        let user = self.user_of(ask).await?;
        if ask.caller.member == Some(user.id) {
            let text = "You cannot delete yourself; another administrator can";
            return Err(Refusal::Conflict(text.to_owned()));
        }
        let outcome = self.accounts.delete(user.username.as_str(), &ask.caller.actor).await;
        if let Ok(ended) = &outcome {
            self.sessions.forget_because(ended, StreamEnd::Disabled);
        }
        self.sessions.forget_user(user.id);
        outcome?;
        Ok(ask.done())
    }

    /// The user that the path names.
    pub(super) async fn user_of(&self, ask: &Ask<'_>) -> Result<User, Refusal> {
        let id = UserId(ask.uuid(NO_USER)?);
        self.accounts.find_by_id(id).await?.ok_or(Refusal::Absent(NO_USER))
    }
}
