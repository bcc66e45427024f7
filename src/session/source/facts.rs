//! What a row says of its user.

use super::mapping::Condition;
use super::mapping::Mapping;
use super::mapping::Place;
use crate::model::Username;
use serde_json::Map;
use serde_json::Value;

/// Most bytes of a subject.
const MOST_SUBJECT: usize = 256;
/// Most bytes of a group.
const MOST_GROUP: usize = 128;
/// Most groups that are read.
const MOST_GROUPS: usize = 100;

/// A row as it was read: columns by name, and the payload.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    /// Columns of the session's row that the mapping names.
    pub(super) columns: Map<String, Value>,
    /// The payload, decoded.
    pub(super) payload: Value,
    /// Columns of the user's row, when it was asked for.
    pub(super) user: Map<String, Value>,
}

impl Row {
    fn at(&self, place: &Place) -> Option<&Value> {
        let value = match place {
            Place::Column(name) => self.columns.get(name),
            Place::Payload(pointer) => self.payload.pointer(pointer),
            Place::User(name) => self.user.get(name),
        };
        value.filter(|value| !value.is_null())
    }

    fn first(&self, places: &[Place]) -> Option<&Value> {
        places.iter().find_map(|place| self.at(place))
    }
}

/// Who is signed in by this row: a text or an integer of at most 256 bytes, as text. Anything else is nobody.
pub(super) fn subject(mapping: &Mapping, row: &Row) -> Option<String> {
    let holds = |condition: &Condition| row.at(&condition.place) == Some(&condition.value);
    if !mapping.require.iter().all(holds) || mapping.refuse.iter().any(holds) {
        return None;
    }
    let subject = match row.first(&mapping.user)? {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_i64() || number.is_u64() => number.to_string(),
        _ => return None,
    };
    let fits = (1..=MOST_SUBJECT).contains(&subject.len()) && !subject.chars().any(char::is_control);
    fits.then_some(subject)
}

/// What the user of a source is called: `source:subject`, which no user of ours can be. Bytes that a name of ours could not
/// have are percent-encoded, so that it can stand in a header and two subjects never look alike.
#[must_use]
pub fn principal(source: &str, subject: &str) -> Username {
    Username::of_source(source, subject)
}

/// The e-mail address that the application says, lower-cased; only one that could be one.
pub(super) fn email(mapping: &Mapping, row: &Row) -> Option<String> {
    let text = row.first(&mapping.email)?.as_str()?.to_ascii_lowercase();
    let (local, domain) = text.split_once('@')?;
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
    let fits = plain && text.len() <= 254 && !local.is_empty() && !domain.is_empty() && !domain.contains('@');
    fits.then_some(text)
}

/// The name to show, without controls, at most 128 bytes.
pub(super) fn name(mapping: &Mapping, row: &Row) -> Option<String> {
    let text = row.first(&mapping.name)?.as_str()?;
    let fits = (1..=128).contains(&text.len()) && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}

/// Groups, sorted, each once, and how many were dropped because they could not stand in a list.
pub(super) fn groups(mapping: &Mapping, row: &Row) -> (Vec<String>, usize) {
    let items = match row.first(&mapping.groups) {
        Some(Value::Array(items)) => items.as_slice(),
        Some(one @ Value::String(_)) => std::slice::from_ref(one),
        _ => &[],
    };
    let fits = |item: &&Value| {
        let text = item.as_str().unwrap_or_default();
        (1..=MOST_GROUP).contains(&text.len()) && !text.chars().any(char::is_control) && !text.contains(',')
    };
    let texts = items.iter().filter(fits).take(MOST_GROUPS).filter_map(Value::as_str);
    let mut groups: Vec<String> = texts.map(str::to_owned).collect();
    let dropped = items.len() - groups.len();
    groups.sort_unstable();
    groups.dedup();
    (groups, dropped)
}

#[cfg(test)]
mod tests {
    use super::super::preset::Preset;
    use super::*;
    use serde_json::json;

    fn express(user: &str) -> Mapping {
        Mapping {
            user: vec![Place::parse(user).unwrap()],
            ..Preset::Express.mapping()
        }
    }

    fn row(payload: Value) -> Row {
        Row {
            payload,
            ..Row::default()
        }
    }

    #[test]
    fn only_a_text_or_an_integer_is_a_subject() {
        let mapping = express("/passport/user");
        let of = |value: Value| subject(&mapping, &row(json!({"passport": {"user": value}})));
        assert_eq!(of(json!(42)), Some("42".to_owned()));
        assert_eq!(of(json!("42")), Some("42".to_owned()));
        assert_eq!(of(json!(-1)), Some("-1".to_owned()));
        for nobody in [
            json!(null),
            json!(""),
            json!(4.2),
            json!(true),
            json!({"id": 42}),
            json!([42]),
            json!("a\nb"),
            json!("x".repeat(257)),
        ] {
            assert_eq!(of(nobody.clone()), None, "{nobody}");
        }
        assert_eq!(of(json!("x".repeat(256))), Some("x".repeat(256)));
        assert_eq!(subject(&mapping, &row(json!({"cookie": {}}))), None);
    }

    #[test]
    fn the_first_place_that_holds_something_decides_and_no_other() {
        let mut mapping = express("/passport/user/id");
        mapping.user.push(Place::parse("/userId").unwrap());
        let both = row(json!({"passport": {"user": {"id": 1}}, "userId": 2}));
        assert_eq!(subject(&mapping, &both).as_deref(), Some("1"));
        // What stands there and is no subject is not passed over: it would be somebody else.
        let odd = row(json!({"passport": {"user": {"id": [1]}}, "userId": 2}));
        assert_eq!(subject(&mapping, &odd), None);
    }

    #[test]
    fn who_waits_for_a_second_factor_is_not_signed_in() {
        let mut mapping = express("/userId");
        let condition = |place: &str, value: Value| Condition {
            place: Place::parse(place).unwrap(),
            value,
        };
        mapping.require = vec![condition("/mfa", json!(true))];
        mapping.refuse = vec![condition("/locked", json!(true))];
        assert!(subject(&mapping, &row(json!({"userId": 1, "mfa": true}))).is_some());
        assert!(subject(&mapping, &row(json!({"userId": 1, "mfa": "true"}))).is_none());
        assert!(subject(&mapping, &row(json!({"userId": 1}))).is_none());
        assert!(subject(&mapping, &row(json!({"userId": 1, "mfa": true, "locked": true}))).is_none());
    }

    #[test]
    fn groups_that_could_not_stand_in_a_list_are_dropped_and_counted() {
        let mut mapping = express("/userId");
        mapping.groups = vec![Place::parse("/roles").unwrap()];
        let of = |value: Value| groups(&mapping, &row(json!({"roles": value})));
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(of(json!(["staff", "admin", "staff"])), (names(&["admin", "staff"]), 0));
        assert_eq!(of(json!("staff")), (names(&["staff"]), 0));
        assert_eq!(of(json!(["staff,admin", 7, "ok"])), (names(&["ok"]), 2));
        assert_eq!(of(json!({"a": 1})), (Vec::new(), 0));
    }

    #[test]
    fn an_address_has_one_at_and_nothing_that_ends_a_header() {
        let mut mapping = express("/userId");
        mapping.email = vec![Place::parse("/email").unwrap()];
        let of = |text: &str| email(&mapping, &row(json!({"email": text})));
        assert_eq!(of("Ada@Example.com").as_deref(), Some("ada@example.com"));
        for refused in ["ada", "a@b@c", "@b", "a@", "a b@c", "a,b@c", "é@c", "a@b\r\nX: y"] {
            assert_eq!(of(refused), None, "{refused}");
        }
    }

    #[test]
    fn places_are_pointers_columns_or_columns_of_the_user() {
        assert_eq!(Place::parse("/a/b"), Ok(Place::Payload("/a/b".to_owned())));
        assert_eq!(Place::parse("userId"), Ok(Place::Column("userId".to_owned())));
        assert_eq!(Place::parse("user.email"), Ok(Place::User("email".to_owned())));
        for wrong in ["", "/", "a.b", "user.", "a\0", "a/b", &"x".repeat(64)] {
            assert!(Place::parse(wrong).is_err(), "{wrong}");
        }
    }
}
