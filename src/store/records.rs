use crate::model::Digest;
use crate::model::Event;
use crate::model::EventKind;
use crate::model::PublicId;
use crate::model::Session;
use crate::model::Timestamp;
use crate::model::User;
use crate::model::UserId;
use crate::model::UserState;
use secrecy::SecretString;

/// A session and its user, found in one round trip.
#[derive(Clone, Debug)]
pub struct Found {
    /// The session; may be over: the caller compares with its clock.
    pub session: Session,
    /// Its user, in whatever state.
    pub user: User,
}

/// What a log-in must know of a user.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The user.
    pub user: User,
    /// PHC string of the password; `None` when none was set.
    pub password: Option<SecretString>,
}

/// A user to be added.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// The record.
    pub user: User,
    /// PHC string of the password.
    pub password: Option<SecretString>,
}

/// What became of a user who was to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// Added.
    Done,
    /// Not added: this is taken, as [`super::StoreError::Taken`] names it.
    Taken(&'static str),
}

/// A password in place of the one that was proven.
#[derive(Clone, Debug)]
pub struct PasswordChange {
    /// The hash that was stored when the old password was proven.
    pub before: SecretString,
    /// The PHC string of the new one.
    pub after: SecretString,
}

/// A change to a user; `None` leaves a part as it is.
#[derive(Clone, Debug, Default)]
pub struct UserChange {
    /// New PHC string of the password.
    pub password: Option<SecretString>,
    /// New state.
    pub state: Option<UserState>,
    /// New groups, sorted.
    pub groups: Option<Vec<String>>,
    /// Groups that are added to those the user has by then; sorted and freed of doubles by the store.
    pub add_groups: Vec<String>,
    /// Groups that are taken from those the user has by then.
    pub remove_groups: Vec<String>,
    /// Whether all sessions of the user end in the same transaction.
    pub end_sessions: bool,
}

/// Which sessions to end.
#[derive(Clone, Debug)]
pub enum Which {
    /// The one with this digest.
    Digest(Digest),
    /// The one with this public id.
    Public(PublicId),
    /// All of a user.
    User(UserId),
    /// All of a user but one.
    Others {
        /// Whose.
        user: UserId,
        /// The one that stays.
        keep: Digest,
    },
    /// All of everybody.
    All,
}

/// A session that was ended, so that caches can forget it.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Its key.
    pub digest: Digest,
    /// Its public id.
    pub public_id: PublicId,
    /// Whose it was.
    pub user: UserId,
}

/// An audit event as it was read back.
#[derive(Clone, Debug, serde::Serialize)]
pub struct RecordedEvent {
    /// When.
    pub at: Timestamp,
    /// The word of [`crate::model::EventKind`].
    pub kind: String,
    /// Who did it.
    pub actor: String,
    /// Whom it concerns.
    pub user: Option<UserId>,
    /// Whom it concerns, as it was written at the time.
    pub username: Option<String>,
    /// Which session.
    pub session: Option<PublicId>,
    /// From which address.
    pub address: Option<std::net::IpAddr>,
    /// Why.
    pub reason: Option<String>,
    /// On what kind of device.
    pub device: Option<String>,
    /// Which session took the place of this one.
    pub successor: Option<PublicId>,
    /// Which application's sessions or users it is about.
    pub source: Option<String>,
}

/// How much there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Users in any state.
    pub users: u64,
    /// Sessions that are not over.
    pub sessions: u64,
}

impl UserChange {
    /// The groups of a user who had `groups`; `None` when they stay.
    pub(super) fn groups_after(&self, groups: &[String]) -> Option<Vec<String>> {
        let before = self.groups.as_deref().unwrap_or(groups);
        let mut after = before.to_vec();
        after.extend(self.add_groups.iter().cloned());
        after.retain(|group| !self.remove_groups.contains(group));
        after.sort();
        after.dedup();
        (after != groups).then_some(after)
    }
}

impl Ended {
    /// What the audit log is told of a session whose place another took; `login` is the event of that one.
    pub(super) fn succeeded(&self, login: &Event, reason: &'static str) -> Event {
        let of_the_same = login.user == Some(self.user);
        Event {
            kind: EventKind::SessionEnded,
            user: Some(self.user),
            username: login.username.clone().filter(|_| of_the_same),
            session: Some(self.public_id),
            successor: login.session,
            device: None,
            reason: Some(reason),
            ..login.clone()
        }
    }

    /// What the audit log is told of this one, where `template` says what happened.
    pub(super) fn told(&self, template: &Event) -> Event {
        Event {
            user: Some(self.user),
            session: Some(self.public_id),
            ..template.clone()
        }
    }

    /// Fills in `event` what is known when exactly one session ended.
    pub(super) fn tell(ended: &[Self], event: &mut Event) {
        if let [one] = ended {
            event.session = Some(one.public_id);
            event.user = Some(one.user);
        }
    }
}
