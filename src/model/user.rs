use super::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write;
use uuid::Uuid;

/// A user's key: a UUID, version 7, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct UserId(pub Uuid);

impl fmt::Display for UserId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// A user name: 1 to 64 bytes of `[a-z0-9._@+-]`. ASCII and lower case only, so that two names never look alike and
/// the name can stand in a header as it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct Username(String);

/// Why a text is no user name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsernameError {
    /// Nothing, or more than 64 bytes.
    #[error("a user name has 1 to 64 characters")]
    Length,
    /// A byte outside `[a-z0-9._@+-]`.
    #[error("a user name is written with a-z, 0-9 and . _ @ + - only")]
    Character,
}

impl Username {
    /// Checks `text` as it stands; upper case is refused, not folded.
    ///
    /// # Errors
    /// [`UsernameError`] tells which rule was broken.
    pub fn parse(text: &str) -> Result<Self, UsernameError> {
        if text.is_empty() || text.len() > 64 {
            return Err(UsernameError::Length);
        }
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._@+-".contains(&byte);
        if !text.bytes().all(fits) {
            return Err(UsernameError::Character);
        }
        Ok(Self(text.to_owned()))
    }

    /// What a user is called whom an application's own session names: `source:subject`. No user of ours can have a name
    /// with a colon. Bytes of the subject that stand in no name of ours are percent-encoded, upper-case letters aside.
    #[must_use]
    pub fn of_source(source: &str, subject: &str) -> Self {
        let mut name = format!("{source}:");
        // Writing to a String cannot fail.
        let _ = Self::write_subject(subject, &mut name);
        Self(name)
    }

    /// What stands behind the colon of [`Username::of_source`].
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_subject(subject: &str, out: &mut impl Write) -> fmt::Result {
        for byte in subject.bytes() {
            if byte.is_ascii_alphanumeric() || b"._@+-".contains(&byte) {
                out.write_char(char::from(byte))?;
            } else {
                write!(out, "%{byte:02X}")?;
            }
        }
        Ok(())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Username {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Whether a user may sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UserState {
    /// May sign in.
    Active,
    /// May not; has no sessions.
    Disabled,
}

/// A user as everybody may know them: no password hash here.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct User {
    /// Key.
    pub id: UserId,
    /// What the user signs in with and what applications are told.
    pub username: Username,
    /// Lower-cased address; only a verified one is told to applications.
    pub email: Option<String>,
    /// Whether the address is known to be theirs. Addresses set by an administrator count as verified.
    pub email_verified: bool,
    /// Display name, any Unicode without controls, at most 128 bytes.
    pub name: Option<String>,
    /// Groups, sorted, each `[A-Za-z0-9._:@+-]{1,64}`.
    pub groups: Vec<String>,
    /// Whether they may sign in.
    pub state: UserState,
    /// When the user was added.
    pub created_at: Timestamp,
    /// Who they are in applications that keep sessions of their own, by source, as an administrator said. Never chosen by
    /// the user.
    pub app_users: BTreeMap<String, Value>,
}
