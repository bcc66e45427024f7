use super::HashError;
use super::ThrottleError;
use super::app_user::MOST_APP_USERS;
use super::choice::LONGEST_PASSWORD;
use super::choice::SHORTEST_PASSWORD;
use super::rules::MOST_GROUPS;
use crate::model::UsernameError;
use crate::store::StoreError;
use std::time::Duration;

/// Why a log-in was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// Unknown user, wrong password, or disabled: the same to the outside.
    #[error("wrong user name or password")]
    Wrong,
    /// Tried too often.
    #[error("too many attempts")]
    Throttled {
        /// When it may be tried again; at least a second.
        retry_after: Duration,
    },
    /// Too many log-ins wait.
    #[error("too many log-ins at once")]
    Busy,
    /// Could not ask.
    #[error("the user store cannot be asked")]
    Store(#[from] StoreError),
}

impl From<ThrottleError> for SignInError {
    fn from(error: ThrottleError) -> Self {
        match error {
            ThrottleError::Throttled { retry_after } => Self::Throttled { retry_after },
            ThrottleError::Store(error) => Self::Store(error),
        }
    }
}

/// Why a user was not added or changed. The texts are for people and name what to do.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// Not a user name.
    #[error(transparent)]
    Username(#[from] UsernameError),
    /// A user name that stands for something else.
    #[error("nobody can be called {0:?}: the audit log uses this name for itself; choose another")]
    Reserved(String),
    /// A user name that could be an e-mail address.
    #[error("a user name that you choose yourself has no @; leave it out")]
    At,
    /// A user name that stands for whoever runs an application.
    #[error("{0:?} cannot be chosen: applications give this name to those who run them; choose another")]
    Office(String),
    /// A user name with a mark at its start or end.
    #[error("a user name that you choose yourself begins and ends with a letter or a digit")]
    Edge,
    /// Not an e-mail address.
    #[error(
        "an e-mail address has one @ with something on both sides, no spaces and none of , ; | < > \", and at most 254 bytes"
    )]
    Email,
    /// Not a display name.
    #[error("a display name has 1 to 128 bytes and no control characters")]
    Name,
    /// A display name that would be read as two.
    #[error("a display name has none of , ; | because lists are written with them; write \"Ada Lovelace\"")]
    NameDelimiter,
    /// A display name that pretends to be another.
    #[error(
        "a display name has letters of one script, and no styled ones: others look alike; write it in one alphabet only"
    )]
    LookAlike,
    /// Not a group.
    #[error("{0:?} is no group: a group is written with letters, digits and . _ : @ + - and has 1 to 64 characters")]
    Group(String),
    /// Too many groups.
    #[error("a user can be in at most {MOST_GROUPS} groups")]
    TooManyGroups,
    /// A name that no source can have.
    #[error("{0:?} is no source: it is called as in the configuration, with a-z, 0-9 and - and at most 32 characters")]
    Source(String),
    /// Something that no application calls a user.
    #[error(
        "a user of an application is a text of 1 to 256 bytes without control characters, a whole number, or an object of \
         at most 1024 bytes"
    )]
    AppUser,
    /// Too many applications.
    #[error("a user can be somebody in at most {MOST_APP_USERS} applications")]
    TooManyAppUsers,
    /// A password that is too easy to guess.
    #[error("a password has at least {SHORTEST_PASSWORD} characters; several words are easy to remember")]
    ShortPassword,
    /// A password that is too long.
    #[error("a password has at most {LONGEST_PASSWORD} bytes; choose a shorter one")]
    LongPassword,
    /// A password that is tried first.
    #[error(
        "this password is one of the most common ones, which are tried first; choose another, such as several words"
    )]
    CommonPassword,
    /// A password that can be read off.
    #[error(
        "the password must not be your user name, your name, your e-mail address or the name of this site; choose another"
    )]
    OwnPassword,
    /// A new password that is the old one.
    #[error("the new password is the one that you have; choose another")]
    SamePassword,
    /// A password hash to be imported that cannot be used.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// There is no such user.
    #[error("there is no user {0}")]
    NoSuchUser(String),
    /// Name or e-mail address belong, or the name belonged, to somebody else.
    #[error("{0} is already taken; names of deleted users are not given out again")]
    Taken(&'static str),
    /// Tried too often.
    #[error("too many attempts; try again later")]
    Throttled {
        /// When it may be tried again; at least a second.
        retry_after: Duration,
    },
    /// Too many passwords are being checked.
    #[error("too many passwords are being checked at once; try again")]
    Busy,
    /// The operating system gave no randomness.
    #[error("the operating system gave no randomness")]
    Randomness,
    /// The store did not do it; nothing is reported done.
    #[error("the user store did not carry this out")]
    Store(#[source] StoreError),
}

impl From<ThrottleError> for AccountError {
    fn from(error: ThrottleError) -> Self {
        match error {
            ThrottleError::Throttled { retry_after } => Self::Throttled { retry_after },
            ThrottleError::Store(error) => Self::Store(error),
        }
    }
}

impl AccountError {
    /// What the store's answer means for `user`.
    pub(super) fn about(user: &str, error: StoreError) -> Self {
        match error {
            StoreError::Taken(what) => Self::Taken(what),
            StoreError::NoSuchUser => Self::NoSuchUser(user.to_owned()),
            error => Self::Store(error),
        }
    }
}
