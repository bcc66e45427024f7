//! What an operator says of an application's own sessions.

use super::payload::PayloadFormat;
use super::steps::Step;
use crate::store::Expiry;
use crate::store::Zone;
use serde_json::Value;
use std::time::Duration;

/// Where a fact of a session stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A column of the row.
    Column(String),
    /// A JSON pointer (RFC 6901) into the payload.
    Payload(String),
    /// A column of the user's row, which a second query finds.
    User(String),
}

/// A text that names no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "write \"/a/b\" for a place in the payload, \"name\" for a column, \"user.name\" for a column of the user's row"
)]
pub struct PlaceError;

impl Place {
    /// `"/a/b"`, `"name"` or `"user.name"`.
    ///
    /// # Errors
    /// The text names no place.
    pub fn parse(text: &str) -> Result<Self, PlaceError> {
        if text.len() > 256 || text.chars().any(char::is_control) {
            return Err(PlaceError);
        }
        match text.strip_prefix("user.") {
            _ if text.starts_with('/') && text.len() > 1 => Ok(Self::Payload(text.to_owned())),
            Some(column) if is_column(column) => Ok(Self::User(column.to_owned())),
            None if is_column(text) => Ok(Self::Column(text.to_owned())),
            _ => Err(PlaceError),
        }
    }
}

/// Anything that Postgres takes for a name in double quotes, which is how it is written.
fn is_column(text: &str) -> bool {
    (1..=63).contains(&text.len()) && !text.contains(['.', '/', '\0'])
}

/// The table of the users, for what the session's row does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsersMapping {
    /// Perhaps with a schema: `schema.table`.
    pub table: String,
    /// Column that equals the subject.
    pub key: String,
    /// Boolean column without which nobody is signed in.
    pub active: Option<String>,
    /// Column with the password's hash, for Django's check of its session's own hash.
    pub password: Option<String>,
}

/// What must, or must not, stand in a row for somebody to be signed in.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// Where.
    pub place: Place,
    /// What.
    pub value: Value,
}

/// Everything that a preset says, and what the operator put in its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapping {
    /// Names of the cookie; the first that is there counts.
    pub cookies: Vec<String>,
    /// Of several with one name, the one that the application takes.
    pub duplicates: Duplicates,
    /// From its value to the key.
    pub steps: Vec<Step>,
    /// Table, perhaps with a schema.
    pub table: String,
    /// Column of the key.
    pub key: String,
    /// Column and format of the payload.
    pub payload: Option<(String, PayloadFormat)>,
    /// When a row is over.
    pub expiry: Expiry,
    /// Zone of a timestamp without one.
    pub zone: Zone,
    /// The subject: the first place that holds one. Presets with a payload bring none: only the operator knows.
    pub user: Vec<Place>,
    /// E-mail address.
    pub email: Vec<Place>,
    /// Name to show.
    pub name: Vec<Place>,
    /// Groups: a list of texts, or one text.
    pub groups: Vec<Place>,
    /// The users' table.
    pub users: Option<UsersMapping>,
    /// All must hold.
    pub require: Vec<Condition>,
    /// None may hold.
    pub refuse: Vec<Condition>,
    /// How long a touch moves the end; `None` where touching this kind of row is not known to be safe.
    pub touch: Option<Touching>,
    /// Whether the application may bring a deleted row back, so that an end needs a tombstone.
    pub comes_back: bool,
}

impl Mapping {
    /// The value that the application would take, and the name under which it came: the first name of the mapping that
    /// there is a cookie of, and of several with one name the one that its library takes.
    pub(in crate::session) fn choose<'a>(&self, cookies: &[(&'a [u8], &'a [u8])]) -> Option<(&str, &'a [u8])> {
        self.cookies.iter().find_map(|name| {
            let ours = cookies.iter().filter(|(found, _)| *found == name.as_bytes());
            let mut values = ours.map(|(_, value)| *value);
            let first = values.next()?;
            let chosen = match self.duplicates {
                Duplicates::First => first,
                Duplicates::Last => values.next_back().unwrap_or(first),
                // Who cannot say which one counts says that none does.
                Duplicates::Refused if values.all(|value| value == first) => first,
                Duplicates::Refused => b"",
            };
            Some((name.as_str(), chosen))
        })
    }

    /// Whether a cookie names the same row at any time.
    pub(in crate::session) fn is_timeless(&self) -> bool {
        !self.steps.contains(&Step::RailsSigned)
    }

    /// Whether of several cookies with one name none counts here, though one may for the application.
    pub(in crate::session) fn takes_one_only(&self) -> bool {
        self.duplicates == Duplicates::Refused
    }

    /// The column that must hold a hash of a part of the cookie.
    #[must_use]
    pub fn verified(&self) -> Option<&str> {
        self.steps.iter().find_map(|step| match step {
            Step::SplitVerify { column, .. } => Some(column.as_str()),
            _ => None,
        })
    }
}

/// Which of several cookies with one name the application takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplicates {
    /// The first.
    First,
    /// The last.
    Last,
    /// Nobody knows: none, unless all are the same.
    Refused,
}

/// How a touch moves an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Touching {
    /// By the milliseconds at this place of the payload, else by the duration.
    Payload(String, Duration),
    /// By the duration.
    By(Duration),
}

#[cfg(test)]
mod tests {
    use super::super::preset::Preset;

    fn chosen(preset: Preset, cookies: &[(&str, &str)]) -> Option<String> {
        let pairs: Vec<_> = cookies
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
            .collect();
        let mapping = preset.mapping();
        let (_, value) = mapping.choose(&pairs)?;
        Some(String::from_utf8(value.to_vec()).unwrap())
    }

    #[test]
    fn of_several_cookies_with_one_name_the_one_counts_that_the_library_takes() {
        let two = |name| [(name, "one"), ("other", "x"), (name, "two")];
        for (preset, name, expected) in [
            (Preset::Express, "connect.sid", "one"),
            (Preset::PlainTable, "session", "one"),
            (Preset::FlaskSession, "session", "one"),
            (Preset::Laravel, "laravel_session", "one"),
            (Preset::Django, "sessionid", "two"),
            // Who cannot say which one counts says that none does.
            (Preset::SpringSession, "SESSION", ""),
            (Preset::TowerSessions, "id", ""),
        ] {
            assert_eq!(chosen(preset, &two(name)).as_deref(), Some(expected), "{name}");
        }
        let same = [("id", "one"), ("id", "one")];
        assert_eq!(chosen(Preset::TowerSessions, &same).as_deref(), Some("one"));
        let between = [("id", "one"), ("id", "two"), ("id", "one")];
        assert_eq!(chosen(Preset::TowerSessions, &between).as_deref(), Some(""));
        // The first counts even where it is worth nothing, as it does for the library.
        let empty = [("session", ""), ("session", "two")];
        assert_eq!(chosen(Preset::PlainTable, &empty).as_deref(), Some(""));
    }

    #[test]
    fn a_secure_name_comes_before_the_bare_one_and_case_tells_names_apart() {
        for (preset, bare) in [
            (Preset::AuthJs, "authjs.session-token"),
            (Preset::BetterAuth, "better-auth.session_token"),
        ] {
            let secure = format!("__Secure-{bare}");
            let both = [(bare, "plain"), (secure.as_str(), "secure")];
            assert_eq!(chosen(preset, &both).as_deref(), Some("secure"), "{bare}");
            assert_eq!(chosen(preset, &both[..1]).as_deref(), Some("plain"), "{bare}");
            let upper = bare.to_uppercase();
            assert_eq!(chosen(preset, &[(&upper, "x")]), None, "{upper}");
        }
    }
}
