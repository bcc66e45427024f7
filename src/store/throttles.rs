use crate::model::Event;
use crate::model::Timestamp;
use crate::model::UserId;
use crate::model::Username;
use std::time::Duration;

/// How long a ban that is over is remembered, so that a siege with pauses is told once.
pub(super) const BAN_MEMORY: Duration = Duration::from_mins(15);

/// What attempts are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BucketKind {
    /// A user, however the name is spelled.
    Account,
    /// A name that is nobody's, as a keyed hash.
    Name,
    /// A browser in which this user signed in before.
    Browser,
    /// An address: log-ins.
    Address,
    /// An address: registrations.
    Registration,
    /// An address: tokens of administrators.
    Token,
}

impl BucketKind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Account,
        Self::Name,
        Self::Browser,
        Self::Address,
        Self::Registration,
        Self::Token,
    ];

    /// The word in the store, in the audit log and in lists of bans.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Name => "name",
            Self::Browser => "browser",
            Self::Address => "address",
            Self::Registration => "registration",
            Self::Token => "token",
        }
    }
}

/// One thing that an attempt is counted by, with its limit: `burst` attempts at once, then one each `interval` (the generic
/// cell rate algorithm, ITU-T I.371).
#[derive(Clone, Debug)]
pub struct Cell {
    /// What it is.
    pub kind: BucketKind,
    /// Which one; with the kind, the key of the row. At most 100 bytes and no secret.
    pub key: String,
    /// The user whom it concerns.
    pub user: Option<UserId>,
    /// At least 1.
    pub burst: u32,
    /// At least a microsecond.
    pub interval: Duration,
}

impl Cell {
    /// The key of the row: `account:018f…`, `address:192.0.2.7`.
    #[must_use]
    pub fn bucket(&self) -> String {
        format!("{}:{}", self.kind.as_str(), self.key)
    }

    /// `free_at` and `clear_at` of a cell whose first attempt is counted at `now`.
    pub(super) fn fresh(&self, now: Timestamp) -> (Timestamp, Timestamp) {
        let slack = self.interval.saturating_mul(self.burst.saturating_sub(1));
        let clear_at = now.plus(self.interval);
        (clear_at.minus(slack), clear_at)
    }

    /// What the audit log is told when this cell begins to refuse: `template` says when, who and from where.
    pub(super) fn ban(&self, template: &Event) -> Event {
        let mut event = template.clone();
        event.reason = Some(self.kind.as_str());
        if self.user.is_none() {
            (event.user, event.username) = (None, None);
        }
        event
    }
}

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It was counted in every cell.
    Admitted,
    /// It was counted in none; the buckets that refused, and when each is free again.
    Refused(Vec<(String, Timestamp)>),
}

/// Something whose attempts are refused for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// The key of the row.
    pub bucket: String,
    /// The user whom it concerns.
    pub user: Option<UserId>,
    /// Their name.
    pub username: Option<Username>,
    /// When the first attempt was refused; `None` when none was yet.
    pub since: Option<Timestamp>,
    /// When the next attempt is counted again.
    pub until: Timestamp,
}

/// Which bans to lift.
#[derive(Clone, Debug)]
pub enum WhichBans {
    /// Those of a user: the account's and their browsers'.
    User(UserId),
    /// Those with these keys.
    Buckets(Vec<String>),
    /// All.
    All,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_cell_leaves_room_for_the_rest_of_the_burst() {
        let now = Timestamp::from_micros(1_000_000_000);
        let minute = Duration::from_mins(1);
        let cell = |burst| Cell {
            kind: BucketKind::Address,
            key: "192.0.2.7".to_owned(),
            user: None,
            burst,
            interval: minute,
        };
        assert_eq!(cell(1).fresh(now), (now.plus(minute), now.plus(minute)));
        assert_eq!(cell(2).fresh(now), (now, now.plus(minute)));
        assert_eq!(cell(10).fresh(now).0, now.minus(minute * 8));
        assert_eq!(cell(10).bucket(), "address:192.0.2.7");
    }
}
