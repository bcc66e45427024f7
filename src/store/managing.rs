use super::Call;
use super::StoreError;
use super::records::Ended;
use super::records::RecordedEvent;
use crate::model::Event;
use crate::model::PublicId;
use crate::model::Timestamp;
use crate::model::User;
use crate::model::UserId;
use crate::model::UserState;
use crate::model::Username;
use secrecy::SecretString;
use std::collections::BTreeMap;

/// What operators ask and change beyond what log-in and log-out need. A part of [`super::Store`]; the same rules hold. Both
/// engines have all of it; a store that keeps nothing of this (a stand-in of tests) answers that it cannot be asked.
pub trait Managing: Send + Sync {
    /// The user with this key.
    fn find_user_by_id(&self, _user: UserId) -> Call<'_, Option<User>> {
        unasked()
    }
    /// Changes several things of a user at once and writes `events`, in one transaction; sessions end where the edit says so
    /// or disables. `NoSuchUser` when there is none, `Taken` when the address is another user's.
    fn edit_user(&self, _user: UserId, _edit: UserEdit, _events: Vec<Event>) -> Call<'_, Edited> {
        unasked()
    }
    /// Puts `data` in place of a session's own and writes `event`; `None`, and nothing is done, when there is no such
    /// session.
    fn set_session_data(
        &self,
        _id: PublicId,
        _data: Option<serde_json::Value>,
        _event: Event,
    ) -> Call<'_, Option<Ended>> {
        unasked()
    }
    /// Events with their keys, newest first.
    fn find_events(&self, _filter: EventFilter) -> Call<'_, Vec<(i64, RecordedEvent)>> {
        unasked()
    }
    /// Forgets at most `limit` events from before `before`, without waiting for another instance that does the same; how
    /// many.
    fn forget_events(&self, _before: Timestamp, _limit: u32) -> Call<'_, u64> {
        unasked()
    }
    /// How many sessions there are at `now`, and what they take.
    fn session_figures(&self, _now: Timestamp) -> Call<'_, SessionFigures> {
        unasked()
    }
    /// The users with most unexpired sessions at `now`, at most `limit`.
    fn busiest_users(&self, _now: Timestamp, _limit: u32) -> Call<'_, Vec<(Username, u64)>> {
        unasked()
    }
    /// How many events of each kind there were in each hour, among the newest of the window.
    fn event_hours(&self, _window: Window) -> Call<'_, Vec<EventHour>> {
        unasked()
    }
    /// Log-ins of the window by one of their traits, the most frequent first, at most `limit`; what has no such trait is
    /// left out.
    fn log_ins_by(&self, _what: LogInTrait, _window: Window, _limit: u32) -> Call<'_, Vec<(String, u64)>> {
        unasked()
    }
}

/// The answer of a store that keeps nothing of this.
fn unasked<T: Send + 'static>() -> Call<'static, T> {
    Box::pin(std::future::ready(Err(StoreError::NotReady)))
}

/// What becomes of a text that may be absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// It stays as it is.
    #[default]
    Keep,
    /// It is taken away.
    Clear,
    /// This takes its place.
    Set(String),
}

impl Part {
    /// Whether anything changes.
    #[must_use]
    pub fn changes(&self) -> bool {
        *self != Self::Keep
    }

    /// What stands there after it, where `before` stood.
    #[must_use]
    pub fn after(&self, before: Option<&str>) -> Option<String> {
        match self {
            Self::Keep => before.map(str::to_owned),
            Self::Clear => None,
            Self::Set(text) => Some(text.clone()),
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Set(text) => Some(text),
            Self::Keep | Self::Clear => None,
        }
    }
}

/// What is to be changed of a user; `None` leaves a part as it is.
#[derive(Clone, Debug, Default)]
pub struct UserEdit {
    /// New e-mail address, lower-cased; counts as verified.
    pub email: Part,
    /// New display name.
    pub name: Part,
    /// New groups, sorted.
    pub groups: Option<Vec<String>>,
    /// New state.
    pub state: Option<UserState>,
    /// New PHC string of the password.
    pub password: Option<SecretString>,
    /// Whether all sessions of the user end.
    pub end_sessions: bool,
    /// Who the user is in applications from now on, by source; `None` for nobody.
    pub app_users: BTreeMap<String, Option<serde_json::Value>>,
}

/// A user after an edit.
#[derive(Clone, Debug)]
pub struct Edited {
    /// As they are.
    pub user: User,
    /// The sessions that ended with it.
    pub ended: Vec<Ended>,
}

/// Which events.
#[derive(Clone, Debug)]
pub struct EventFilter {
    /// Only events with a smaller key, to go on with a list.
    pub below: Option<i64>,
    /// At most this many.
    pub limit: u32,
    /// From this moment on.
    pub since: Option<Timestamp>,
    /// Before this moment.
    pub until: Option<Timestamp>,
    /// Only of this kind.
    pub kind: Option<String>,
    /// Only about this user, deleted ones included.
    pub user: Option<Username>,
    /// Only about this session.
    pub session: Option<PublicId>,
}

impl EventFilter {
    /// The newest `limit` of all.
    #[must_use]
    pub const fn newest(limit: u32) -> Self {
        Self {
            below: None,
            limit,
            since: None,
            until: None,
            kind: None,
            user: None,
            session: None,
        }
    }
}

/// How many sessions there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionFigures {
    /// All that are stored. Counted, or estimated by the engine where there are more than five million.
    pub total: u64,
    /// Those that are over and not swept yet.
    pub expired: u64,
    /// Those that were opened since midnight (UTC) and are still stored.
    pub created_today: u64,
    /// Users in any state.
    pub users: u64,
    /// Bytes that sessions take, indexes included; an estimate on SQLite.
    pub bytes: u64,
}

/// Which events are counted: the newest `most` of those since `since`, so that the cost is bounded.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// From this moment on.
    pub since: Timestamp,
    /// At most this many.
    pub most: u32,
}

/// How many events of a kind there were in one hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventHour {
    /// Hours since 1970-01-01T00:00:00Z.
    pub hour: i64,
    /// The word of [`crate::model::EventKind`].
    pub kind: String,
    /// How many.
    pub count: u64,
    /// The oldest of them.
    pub oldest: Timestamp,
}

/// What log-ins are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogInTrait {
    /// The network of those that succeeded: /24, or /48 of IPv6.
    Network,
    /// The kind of device of those that succeeded.
    Device,
    /// Why those that failed did.
    FailureReason,
}

/// Bytes that a session takes on SQLite beside its texts: its other values, its place on the page, and four indexes.
pub(super) const SQLITE_OVERHEAD: u64 = 310;

/// Counts by network, from counts by address. Texts that are no address count as nothing.
pub(super) fn by_network(addresses: impl IntoIterator<Item = (String, u64)>, limit: u32) -> Vec<(String, u64)> {
    let mut networks: BTreeMap<String, u64> = BTreeMap::new();
    for (address, count) in addresses {
        if let Ok(address) = address.parse() {
            *networks.entry(network_of(address)).or_default() += count;
        }
    }
    let mut counted: Vec<_> = networks.into_iter().collect();
    // Stable: equal counts stay in the order of their names.
    counted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counted.truncate(limit as usize);
    counted
}

fn network_of(address: std::net::IpAddr) -> String {
    match address {
        std::net::IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        std::net::IpAddr::V6(address) => {
            let [a, b, c, ..] = address.segments();
            format!("{}/48", std::net::Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
        }
    }
}

/// The least public id of a session that was opened at `at` or later: a version 7 UUID starts with milliseconds
/// (RFC 9562, 5.7).
pub(super) fn first_id_since(at: Timestamp) -> uuid::Uuid {
    let millis = u128::try_from(at.as_micros() / 1000).unwrap_or(0);
    uuid::Uuid::from_u128(millis << 80)
}

/// The midnight (UTC) before `now`.
pub(super) fn midnight(now: Timestamp) -> Timestamp {
    const DAY: i64 = 86_400_000_000;
    Timestamp::from_micros(now.as_micros().div_euclid(DAY) * DAY)
}

#[cfg(test)]
mod tests {
    use super::{by_network, first_id_since, midnight};
    use crate::model::Timestamp;

    #[test]
    fn addresses_of_one_network_are_counted_together() {
        let counted = [
            ("192.0.2.1", 1),
            ("192.0.2.255", 2),
            ("2001:db8:1:2::3", 5),
            ("198.51.100.1", 3),
            ("x", 9),
        ];
        let counted = by_network(counted.map(|(address, count)| (address.to_owned(), count)), 3);
        let expected = [("2001:db8:1::/48", 5), ("192.0.2.0/24", 3), ("198.51.100.0/24", 3)];
        assert_eq!(counted, expected.map(|(network, count)| (network.to_owned(), count)));
    }

    #[test]
    fn ids_of_a_day_start_at_its_midnight() {
        let noon = Timestamp::from_micros(1_769_860_800_000_000);
        assert_eq!(midnight(noon).to_string(), "2026-01-31T00:00:00Z");
        assert_eq!(midnight(midnight(noon)), midnight(noon));
        let id = first_id_since(noon);
        let made = uuid::Builder::from_unix_timestamp_millis(1_769_860_800_000, &[0; 10]).into_uuid();
        let before = uuid::Builder::from_unix_timestamp_millis(1_769_860_799_999, &[255; 10]).into_uuid();
        assert!(before < id && id <= made);
    }
}
