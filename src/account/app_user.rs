//! Who a user is in an application that keeps its own sessions. Only an administrator says it.

use super::AccountError;
use crate::model::User;
use serde_json::Value;
use std::collections::BTreeMap;

/// Most applications in which one user is somebody.
pub(super) const MOST_APP_USERS: usize = 32;
/// Most bytes of a text.
const MOST_TEXT: usize = 256;
/// Most bytes of an object as JSON.
const MOST_OBJECT: usize = 1024;
/// How deep an object may go.
const DEEPEST: usize = 8;

/// Whether `user` may be changed like this.
pub(super) fn check(user: &User, changes: &BTreeMap<String, Option<Value>>) -> Result<(), AccountError> {
    for (source, value) in changes {
        if !is_source(source) {
            return Err(AccountError::Source(source.chars().take(64).collect()));
        }
        if value.as_ref().is_some_and(|value| !is_app_user(value)) {
            return Err(AccountError::AppUser);
        }
    }
    let stay = user.app_users.keys().filter(|source| !changes.contains_key(*source));
    if stay.count() + changes.values().flatten().count() > MOST_APP_USERS {
        return Err(AccountError::TooManyAppUsers);
    }
    Ok(())
}

/// As the configuration calls one.
fn is_source(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=32).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(fits)
}

fn is_app_user(value: &Value) -> bool {
    match value {
        Value::String(text) => (1..=MOST_TEXT).contains(&text.len()) && is_plain(text),
        Value::Number(number) => number.is_i64() || number.is_u64(),
        Value::Object(_) => value.to_string().len() <= MOST_OBJECT && fits(value, DEEPEST),
        _ => false,
    }
}

/// Nothing in it that a database or an application would stumble over.
fn fits(value: &Value, deeper: usize) -> bool {
    match value {
        _ if deeper == 0 => false,
        Value::String(text) => is_plain(text),
        Value::Array(items) => items.iter().all(|item| fits(item, deeper - 1)),
        Value::Object(members) => members
            .iter()
            .all(|(name, value)| is_plain(name) && fits(value, deeper - 1)),
        _ => true,
    }
}

fn is_plain(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::{is_app_user, is_source};
    use serde_json::json;

    #[test]
    fn an_app_user_is_a_text_a_whole_number_or_a_bounded_object() {
        for good in [
            json!("42"),
            json!(42),
            json!(-1),
            json!(u64::MAX),
            json!({ "id": 42, "roles": ["a"] }),
        ] {
            assert!(is_app_user(&good), "{good}");
        }
        let mut deep = json!(1);
        for _ in 0..8 {
            deep = json!({ "a": deep });
        }
        for bad in [
            json!(null),
            json!(true),
            json!(4.2),
            json!([42]),
            json!(""),
            json!("a\nb"),
            json!("x".repeat(257)),
            json!({ "a": "x".repeat(1024) }),
            json!({ "a": "\u{0}" }),
            json!({ "a\u{0}": 1 }),
            deep,
        ] {
            assert!(!is_app_user(&bad), "{bad}");
        }
    }

    #[test]
    fn sources_are_called_as_in_the_configuration() {
        assert!(is_source("crm") && is_source("crm-express-2"));
        for wrong in ["", "Crm", "2crm", "-crm", "a b", "a_b", &"x".repeat(33)] {
            assert!(!is_source(wrong), "{wrong}");
        }
    }
}
