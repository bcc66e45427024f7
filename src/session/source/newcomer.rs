//! Who a user of an application is here, when their sessions are copied.

use super::copying::CopyError;
use super::copying::CopySettings;
use crate::model::Event;
use crate::model::EventKind;
use crate::model::Timestamp;
use crate::model::User;
use crate::model::UserId;
use crate::model::UserState;
use crate::model::Username;
use crate::session::life::new_public_id;
use crate::store::NewUser;
use crate::store::Store;
use crate::store::StoreError;
use aws_lc_rs::digest;

/// Who copies, in audit events.
pub(super) const ACTOR: &str = "command";

/// Most bytes of a name.
const MOST_NAME: usize = 64;

/// Who a user of an application is here.
#[derive(Clone, Debug)]
pub(super) enum Whose {
    /// One of ours.
    Known(User),
    /// One who was made just now, or would be.
    Made(User),
    /// Nobody, and why.
    Nobody(&'static str),
}

/// Whom `user_map` names, or who was made for the subject, now or in an earlier run: nobody else. In particular no name and
/// no address of the application's makes anybody somebody here, because its users may choose them. `told` is what the
/// application says of them.
pub(super) async fn whose(
    settings: &CopySettings<'_>,
    store: &dyn Store,
    subject: &str,
    told: &User,
    now: Timestamp,
) -> Result<Whose, CopyError> {
    let source = settings.source;
    let found = if source.user_map.contains_key(subject) {
        let found = store.find_user(&told.username).await?;
        if found.is_none() {
            return Ok(Whose::Nobody("unknown_user"));
        }
        found
    } else {
        store.find_imported_user(&source.name, subject).await?
    };
    if let Some(user) = found {
        return Ok(match () {
            () if user.state != UserState::Active => Whose::Nobody("user_disabled"),
            () if is_admin(settings, &user.groups) => Whose::Nobody("administrator"),
            () => Whose::Known(user),
        });
    }
    if !settings.create_users {
        return Ok(Whose::Nobody("unknown_user"));
    }
    let ours: Vec<String> = source.group_map.values().cloned().collect();
    let groups: Vec<String> = told
        .groups
        .iter()
        .filter(|group| ours.contains(group))
        .cloned()
        .collect();
    if is_admin(settings, &groups) {
        return Ok(Whose::Nobody("administrator"));
    }
    let Some(username) = name(&source.name, subject) else {
        return Ok(Whose::Nobody("unknown_user"));
    };
    let user = User {
        id: UserId(new_public_id(now).map_err(|_| CopyError::Randomness)?.0),
        username,
        // An address is somebody's once they prove it or an administrator says so.
        email: None,
        email_verified: false,
        name: told.name.clone(),
        groups,
        state: UserState::Active,
        created_at: now,
        app_users: std::collections::BTreeMap::default(),
    };
    make(settings, store, subject, user, now).await
}

fn is_admin(settings: &CopySettings<'_>, groups: &[String]) -> bool {
    settings
        .admin_group
        .is_some_and(|admin| groups.iter().any(|group| group == admin))
}

/// Makes the user, without a password: nobody signs in as them until an administrator sets one.
async fn make(
    settings: &CopySettings<'_>,
    store: &dyn Store,
    subject: &str,
    user: User,
    now: Timestamp,
) -> Result<Whose, CopyError> {
    let event = Event {
        user: Some(user.id),
        username: Some(user.username.to_string()),
        ..Event::new(now, EventKind::UserAdded, ACTOR)
    };
    let new = NewUser {
        user: user.clone(),
        password: None,
    };
    let made = if settings.dry_run {
        let looked = store.add_users(vec![(new, event)], true).await?;
        match looked.first() {
            Some(crate::store::Added::Done) => Ok(()),
            _ => Err(StoreError::Taken("the user name")),
        }
    } else {
        store.import_user(&settings.source.name, subject, new, event).await
    };
    match made {
        Ok(()) => Ok(Whose::Made(user)),
        Err(StoreError::Taken(_)) => Ok(Whose::Nobody("name_taken")),
        Err(error) => Err(error.into()),
    }
}

/// `source-subject`; where that is no name of ours, or could be another subject's, a hash stands in the subject's place.
fn name(source: &str, subject: &str) -> Option<Username> {
    let plain = format!("{source}-{subject}");
    let letters = subject
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if letters && plain.len() <= MOST_NAME {
        return Username::parse(&plain).ok();
    }
    let hash = hex::encode(digest::digest(&digest::SHA256, subject.as_bytes()));
    Username::parse(&format!("{source}-x-{}", &hash[..24])).ok()
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn names_of_newcomers_are_plain_where_they_can_be_and_never_two_peoples() {
        let of = |subject: &str| name("crm", subject).unwrap().to_string();
        assert_eq!(of("42"), "crm-42");
        assert_eq!(of("ada"), "crm-ada");
        for subject in ["Ada", "a-da", "x-1", "ada@example.com", "../ada", "é", &"7".repeat(100)] {
            let made = of(subject);
            assert!(made.starts_with("crm-x-") && made.len() == 30, "{made}");
        }
        assert_ne!(of("Ada"), of("ADA"));
    }
}
