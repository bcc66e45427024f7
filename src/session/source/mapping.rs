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
