//! What operators want to know of sessions and log-ins, in numbers. Bounded: each question has the store's call timeout, and
//! log-ins are counted among the newest events only.

use super::InstanceFacts;
use super::Sessions;
use super::facts;
use crate::model::EventKind;
use crate::model::Timestamp;
use crate::model::Username;
use crate::store::EventHour;
use crate::store::LogInTrait;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::Sweep;
use crate::store::Window;
use serde::Serialize;
use std::collections::BTreeMap;

/// How many days log-ins are told of.
const DAYS: i64 = 30;
/// The most events that log-ins are counted among.
const NEWEST: u32 = 200_000;
/// The most users, networks and reasons that are told.
const TOP: u32 = 10;
/// How many runs of the sweep are told.
const SWEEPS: u32 = 5;

/// Numbers of sessions and log-ins. A part that the store could not tell in time is `None`.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// When they were taken, by the database's clock.
    pub at: Timestamp,
    /// Sessions.
    pub sessions: SessionCounts,
    /// The users with most active sessions.
    pub users: Option<Vec<UserCount>>,
    /// Log-ins of the last 30 days.
    pub log_ins: Option<LogIns>,
    /// The last runs of the sweep, the newest first.
    pub sweeps: Option<Vec<SweepRun>>,
    /// Gateways on this store, the oldest first; none on SQLite, which has one only.
    pub instances: Option<Vec<InstanceFacts>>,
}

/// Numbers of sessions.
#[derive(Clone, Debug, Serialize)]
pub struct SessionCounts {
    /// All that are stored; an estimate where there are more than five million.
    pub total: u64,
    /// Those that are not over.
    pub active: u64,
    /// Those that are over and not swept yet.
    pub expired: u64,
    /// Those that were opened since midnight (UTC) and are still stored.
    pub created_today: u64,
    /// Users in any state.
    pub users: u64,
    /// What all of them take, indexes included; an estimate on SQLite.
    pub bytes: u64,
    /// The same for one session; `None` without sessions.
    pub bytes_each: Option<u64>,
}

/// How many active sessions a user has.
#[derive(Clone, Debug, Serialize)]
pub struct UserCount {
    /// Who.
    pub user: Username,
    /// How many.
    pub sessions: u64,
}

/// Log-ins of the last 30 days, or of as many as fit among the newest 200,000 events.
#[derive(Clone, Debug, Serialize)]
pub struct LogIns {
    /// The moment from which on all were counted.
    pub since: Timestamp,
    /// By day (UTC), the oldest first; days without any are there.
    pub by_day: Vec<DayCount>,
    /// Those that succeeded, by hour of the day (UTC): 24 numbers.
    pub by_hour: Vec<u64>,
    /// Those that succeeded, by network (/24, or /48 of IPv6), the most frequent first.
    pub by_network: Vec<NetworkCount>,
    /// Those that succeeded, by kind of device, the most frequent first.
    pub by_device: Vec<DeviceCount>,
    /// Those that were refused, by reason, the most frequent first.
    pub failures: Vec<ReasonCount>,
}

/// Log-ins of a day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DayCount {
    /// As in `2026-01-31`.
    pub day: String,
    /// Log-ins.
    pub succeeded: u64,
    /// Refusals.
    pub failed: u64,
}

/// Log-ins from a network.
#[derive(Clone, Debug, Serialize)]
pub struct NetworkCount {
    /// As in `192.0.2.0/24`.
    pub network: String,
    /// How many.
    pub log_ins: u64,
}

/// Log-ins on a kind of device.
#[derive(Clone, Debug, Serialize)]
pub struct DeviceCount {
    /// As in `Firefox on Windows`.
    pub device: String,
    /// How many.
    pub log_ins: u64,
}

/// A run of the sweep.
#[derive(Clone, Debug, Serialize)]
pub struct SweepRun {
    /// When it began.
    pub at: Timestamp,
    /// How long it took.
    pub took_seconds: f64,
    /// How many expired sessions it removed.
    pub removed: u64,
    /// Whether somebody asked for it.
    pub by_hand: bool,
    /// Why it ended early: `timed_out`, `unreachable` or `refused`.
    pub error: Option<String>,
}

/// Log-ins refused for a reason.
#[derive(Clone, Debug, Serialize)]
pub struct ReasonCount {
    /// As in the audit log.
    pub reason: String,
    /// How many.
    pub count: u64,
}

/// Asks `store` for everything. To be called on the control runtime, or by a command.
///
/// # Errors
/// The store's, where not even sessions can be counted; further parts that fail are left out.
pub async fn figures(store: &dyn Store) -> Result<Figures, StoreError> {
    let now = store.now().await?;
    let window = Window {
        since: first_day(now),
        most: NEWEST,
    };
    // One after the other: statistics are not worth more than one connection.
    let sessions = store.session_figures(now).await?;
    let users = told(store.busiest_users(now, TOP).await, "users");
    let sweeps = told(store.last_sweeps(SWEEPS).await, "sweeps");
    let log_ins = told(log_ins(store, now, window).await, "log-ins");
    let instances = told(store.list_instances().await, "instances");
    Ok(Figures {
        at: now,
        sessions: SessionCounts {
            total: sessions.total,
            active: sessions.total.saturating_sub(sessions.expired),
            expired: sessions.expired,
            created_today: sessions.created_today,
            users: sessions.users,
            bytes: sessions.bytes,
            bytes_each: sessions.bytes.checked_div(sessions.total),
        },
        users: users.map(|users| {
            let count = |(user, sessions)| UserCount { user, sessions };
            users.into_iter().map(count).collect()
        }),
        log_ins,
        sweeps: sweeps.map(|sweeps| sweeps.into_iter().map(SweepRun::from).collect()),
        instances: instances.as_deref().map(facts),
    })
}

impl From<Sweep> for SweepRun {
    fn from(sweep: Sweep) -> Self {
        Self {
            at: sweep.at,
            took_seconds: sweep.took.as_secs_f64(),
            removed: sweep.removed,
            by_hand: sweep.by_hand,
            error: sweep.error,
        }
    }
}

fn told<T>(outcome: Result<T, StoreError>, part: &'static str) -> Option<T> {
    outcome
        .inspect_err(|error| {
            let error: &dyn std::error::Error = error;
            tracing::warn!(part, error, "a part of the statistics could not be had");
        })
        .ok()
}

async fn log_ins(store: &dyn Store, now: Timestamp, window: Window) -> Result<LogIns, StoreError> {
    let hours = store.event_hours(window).await?;
    let networks = store.log_ins_by(LogInTrait::Network, window, TOP).await?;
    let devices = store.log_ins_by(LogInTrait::Device, window, TOP).await?;
    let failures = store.log_ins_by(LogInTrait::FailureReason, window, TOP).await?;
    let network = |(network, log_ins)| NetworkCount { network, log_ins };
    let device = |(device, log_ins)| DeviceCount { device, log_ins };
    let reason = |(reason, count)| ReasonCount { reason, count };
    Ok(LogIns {
        since: complete_since(&hours, window),
        by_day: by_day(&hours, now),
        by_hour: by_hour(&hours),
        by_network: networks.into_iter().map(network).collect(),
        by_device: devices.into_iter().map(device).collect(),
        failures: failures.into_iter().map(reason).collect(),
    })
}

/// The midnight of the first day that is told of.
fn first_day(now: Timestamp) -> Timestamp {
    let day = now.as_seconds().div_euclid(86_400) - (DAYS - 1);
    Timestamp::from_micros(day * 86_400_000_000)
}

/// A window that is full reaches back to its oldest event only.
fn complete_since(hours: &[EventHour], window: Window) -> Timestamp {
    let seen: u64 = hours.iter().map(|hour| hour.count).sum();
    let oldest = hours.iter().map(|hour| hour.oldest).min();
    oldest
        .filter(|_| seen >= u64::from(window.most))
        .unwrap_or(window.since)
}

fn by_day(hours: &[EventHour], now: Timestamp) -> Vec<DayCount> {
    let last = now.as_seconds().div_euclid(86_400);
    let mut days: BTreeMap<i64, (u64, u64)> = (last - (DAYS - 1)..=last).map(|day| (day, (0, 0))).collect();
    for hour in hours {
        // The clock may be a little behind an event that another instance wrote.
        if let Some((succeeded, failed)) = days.get_mut(&hour.hour.div_euclid(24).min(last)) {
            if hour.kind == EventKind::LoginSucceeded.as_str() {
                *succeeded += hour.count;
            } else if hour.kind == EventKind::LoginFailed.as_str() {
                *failed += hour.count;
            }
        }
    }
    let count = |(day, (succeeded, failed)): (i64, (u64, u64))| DayCount {
        day: Timestamp::from_micros(day * 86_400_000_000).to_string()[..10].to_owned(),
        succeeded,
        failed,
    };
    days.into_iter().map(count).collect()
}

fn by_hour(hours: &[EventHour]) -> Vec<u64> {
    let mut counts = vec![0; 24];
    for hour in hours
        .iter()
        .filter(|hour| hour.kind == EventKind::LoginSucceeded.as_str())
    {
        if let Some(count) = usize::try_from(hour.hour.rem_euclid(24))
            .ok()
            .and_then(|at| counts.get_mut(at))
        {
            *count += hour.count;
        }
    }
    counts
}

impl Sessions {
    /// Numbers of sessions and log-ins.
    ///
    /// # Errors
    /// The store's, where not even sessions can be counted.
    pub async fn figures(&self) -> Result<Figures, StoreError> {
        figures(&*self.cache.store).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const NOON: Timestamp = Timestamp::from_micros(1_769_860_800_000_000);

    fn hour(before_noon: i64, kind: EventKind, count: u64) -> EventHour {
        let hour = NOON.as_seconds() / 3600 - before_noon;
        EventHour {
            hour,
            kind: kind.as_str().to_owned(),
            count,
            oldest: Timestamp::from_micros(hour * 3_600_000_000),
        }
    }

    #[test]
    fn log_ins_are_told_by_day_and_hour_of_the_day() {
        let hours = [
            hour(0, EventKind::LoginSucceeded, 2),
            hour(24, EventKind::LoginSucceeded, 3),
            hour(13, EventKind::LoginFailed, 4),
            hour(1, EventKind::LoggedOut, 9),
        ];
        let days = by_day(&hours, NOON);
        assert_eq!(days.len(), 30);
        assert_eq!((days[0].day.as_str(), days[0].succeeded), ("2026-01-02", 0));
        let told: Vec<_> = days[28..]
            .iter()
            .map(|day| (day.day.as_str(), day.succeeded, day.failed))
            .collect();
        assert_eq!(told, [("2026-01-30", 3, 4), ("2026-01-31", 2, 0)]);
        let by_hour = by_hour(&hours);
        assert_eq!((by_hour.len(), by_hour[12], by_hour.iter().sum::<u64>()), (24, 5, 5));
    }

    #[test]
    fn a_window_that_is_full_says_from_when_on_it_is_complete() {
        let hours = [hour(0, EventKind::LoginSucceeded, 2), hour(5, EventKind::LoggedOut, 3)];
        let since = first_day(NOON);
        assert_eq!(since.to_string(), "2026-01-02T00:00:00Z");
        assert_eq!(complete_since(&hours, Window { since, most: 6 }), since);
        assert_eq!(
            complete_since(&hours, Window { since, most: 5 }),
            NOON.minus(Duration::from_hours(5))
        );
    }
}
