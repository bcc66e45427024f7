use super::{PublicId, Timestamp, UserId};
use std::net::IpAddr;

/// What happened; the text form is what the audit log keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// Somebody signed in.
    LoginSucceeded,
    /// A log-in was refused.
    LoginFailed,
    /// A user gave the device of a session a name.
    DeviceNamed,
    /// Somebody signed in on a device that is not known as theirs.
    NewDevice,
    /// Attempts began to be refused for a while; the reason says by what they were counted.
    BanStarted,
    /// Somebody lifted such a refusal.
    BanLifted,
    /// A session that an application kept was copied here.
    SessionImported,
    /// A session was ended by its user.
    LoggedOut,
    /// A session was ended by somebody else.
    SessionEnded,
    /// Live sessions of two users came in one request; both were refused.
    SessionConflict,
    /// A user was added.
    UserAdded,
    /// A user's password was set.
    PasswordSet,
    /// A user changed their password; their sessions ended, and one was opened in their place.
    PasswordChanged,
    /// The hash of an imported password was replaced by one of ours at a log-in.
    PasswordUpgraded,
    /// A user may no longer sign in.
    UserDisabled,
    /// A user may sign in again.
    UserEnabled,
    /// A user was deleted.
    UserDeleted,
    /// A user's e-mail address or display name was changed.
    UserChanged,
    /// A user's groups were changed.
    GroupsChanged,
    /// An administrator said who a user is in an application that keeps its own sessions, or that they are nobody there.
    AppUserChanged,
    /// A log-in signed a user into such an application too.
    AppSessionOpened,
    /// The data that applications keep with a session was changed.
    SessionDataChanged,
    /// An operator was let in by a link.
    AdminSignedIn,
    /// An operator's page was left.
    AdminSignedOut,
    /// A link for an operator was made.
    AdminLinkMade,
    /// Somebody without a right to it asked for the operators' side.
    AdminRefused,
    /// The token of aliases of the operators' side was used.
    AdminTokenUsed,
}

impl EventKind {
    /// The word in the audit log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LoginSucceeded => "login_succeeded",
            Self::LoginFailed => "login_failed",
            Self::DeviceNamed => "device_named",
            Self::NewDevice => "new_device",
            Self::BanStarted => "ban_started",
            Self::BanLifted => "ban_lifted",
            Self::SessionImported => "session_imported",
            Self::LoggedOut => "logged_out",
            Self::SessionEnded => "session_ended",
            Self::SessionConflict => "session_conflict",
            Self::UserAdded => "user_added",
            Self::PasswordSet => "password_set",
            Self::PasswordChanged => "password_changed",
            Self::PasswordUpgraded => "password_upgraded",
            Self::UserDisabled => "user_disabled",
            Self::UserEnabled => "user_enabled",
            Self::UserDeleted => "user_deleted",
            Self::UserChanged => "user_changed",
            Self::GroupsChanged => "groups_changed",
            Self::AppUserChanged => "app_user_changed",
            Self::AppSessionOpened => "app_session_opened",
            Self::SessionDataChanged => "session_data_changed",
            Self::AdminSignedIn => "admin_signed_in",
            Self::AdminSignedOut => "admin_signed_out",
            Self::AdminLinkMade => "admin_link_made",
            Self::AdminRefused => "admin_refused",
            Self::AdminTokenUsed => "admin_token_used",
        }
    }
}

/// One line of the audit log. Holds no secret: no token, no password, no cookie.
#[derive(Clone, Debug)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: EventKind,
    /// Who did it: a user name, `command` or `system`. At most 64 bytes.
    pub actor: String,
    /// Whom it concerns, by key, where there is such a user.
    pub user: Option<UserId>,
    /// Whom it concerns, as it was written at the time; at most 64 bytes.
    pub username: Option<String>,
    /// Which session.
    pub session: Option<PublicId>,
    /// From which address.
    pub address: Option<IpAddr>,
    /// A short reason from a closed list, such as `wrong_password`.
    pub reason: Option<&'static str>,
    /// On what kind of device, as in `Firefox on Windows`; of log-ins only. At most 128 bytes.
    pub device: Option<String>,
    /// Which session took the place of the one that ended.
    pub successor: Option<PublicId>,
    /// Which application's sessions or users it is about, by the name of its source; none of the gateway's own.
    pub source: Option<String>,
}

impl Event {
    /// An event with only the required parts; add the rest with struct update.
    #[must_use]
    pub fn new(at: Timestamp, kind: EventKind, actor: impl Into<String>) -> Self {
        Self {
            at,
            kind,
            actor: actor.into(),
            user: None,
            username: None,
            session: None,
            address: None,
            reason: None,
            device: None,
            successor: None,
            source: None,
        }
    }
}
