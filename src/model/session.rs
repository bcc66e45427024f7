use super::{Timestamp, UserId};
use secrecy::SecretString;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use uuid::Uuid;

/// SHA-256 of a token: the key of a session in store and cache. Whoever reads it cannot sign in with it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

impl fmt::Debug for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Digest({:02x}{:02x}..)", self.0[0], self.0[1])
    }
}

/// The name of a session that people and logs may see: a UUID, version 7 (of one that an application keeps: 8), never usable to sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct PublicId(pub Uuid);

impl PublicId {
    /// Whether it names a session that an application keeps: those are made of the row's key, and of version 8.
    #[must_use]
    pub fn is_of_source(self) -> bool {
        self.0.get_version_num() == 8
    }
}

impl fmt::Display for PublicId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// A signed-in browser.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// Key.
    pub digest: Digest,
    /// What people and logs call it.
    pub public_id: PublicId,
    /// Whose it is.
    pub user: UserId,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When the user last proved who they are.
    pub authenticated_at: Timestamp,
    /// Last recorded activity.
    pub last_seen_at: Timestamp,
    /// Idle end. The session is over at this moment, not after it.
    pub expires_at: Timestamp,
    /// Absolute end. `expires_at` never lies past it.
    pub ends_at: Timestamp,
    /// Whether the user asked to be remembered.
    pub remembered: bool,
    /// How the user proved who they are: `pwd`, ... (RFC 8176 names).
    pub methods: Vec<String>,
    /// The browser's own description, at most 128 bytes.
    pub user_agent: Option<String>,
    /// A name for the device that a person understands.
    pub device: Option<String>,
    /// Address of the log-in.
    pub first_address: Option<IpAddr>,
    /// Address of the last recorded activity.
    pub last_address: Option<IpAddr>,
    /// A small JSON object of the application's, at most 4 KiB; never used in rules or headers.
    pub data: Option<serde_json::Value>,
}

impl Session {
    /// Whether the session is over at `now`: exact at the boundary, swept or not.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        now >= self.expires_at || now >= self.ends_at
    }
}

/// What a log-in writes. The store fills in nothing of its own.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// The record to insert.
    pub session: Session,
    /// The session of the same browser that this one replaces; deleted in the same transaction. Its `data` is carried
    /// over when it belongs to the same user.
    pub replaces: Option<Digest>,
    /// The hash of the password that was proven; where it is no longer the user's, nothing is opened.
    pub proven: Option<SecretString>,
    /// How many sessions that are not over the user may have with this one; `None` for any number.
    pub limit: Option<NonZeroU32>,
    /// What happens when there would be more.
    pub when_full: WhenFull,
    /// Whether an event tells of a new device, unless the user has a session that is not over with the same user agent.
    pub tell_new_device: bool,
}

impl NewSession {
    /// A session that replaces none, without a limit.
    #[must_use]
    pub const fn of(session: Session) -> Self {
        Self {
            session,
            replaces: None,
            proven: None,
            limit: None,
            when_full: WhenFull::EndOldest,
            tell_new_device: false,
        }
    }
}

/// What becomes of a log-in of a user who has as many sessions as they may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// The sessions that were not seen for the longest time end.
    EndOldest,
    /// The log-in is refused.
    Refuse,
}
