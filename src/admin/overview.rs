//! What the operators' page shows.

use super::page::CSS;
use crate::account::Banned;
use crate::audit::RecordedEvent;
use crate::model::Timestamp;
use crate::session::DayCount;
use crate::session::Figures;
use crate::session::Found;
use askama::Template;

/// How many sessions, bans and events it shows.
pub(super) const ROWS: u32 = 20;

/// A number with its word.
struct Tile {
    number: String,
    what: &'static str,
}

struct SessionRow {
    id: String,
    user: String,
    device: String,
    address: String,
    since: Timestamp,
    seen: Timestamp,
    state: &'static str,
}

struct EventRow {
    at: Timestamp,
    kind: String,
    user: String,
    actor: String,
    address: String,
    reason: String,
}

#[derive(Template)]
#[template(path = "admin_overview.html")]
pub(super) struct Overview<'a> {
    token: String,
    notice: Option<&'static str>,
    tiles: Vec<Tile>,
    sessions: Vec<SessionRow>,
    bans: Vec<Banned>,
    days: Vec<&'a DayCount>,
    most: u64,
    sweep: String,
    events: Vec<EventRow>,
}

impl<'a> Overview<'a> {
    pub(super) fn new(
        token: String,
        notice: Option<&'static str>,
        figures: &'a Figures,
        lists: Lists,
        now: Timestamp,
    ) -> Self {
        let days: Vec<&DayCount> = figures.log_ins.as_ref().map_or_else(Vec::new, |log_ins| {
            let with_any = log_ins.by_day.iter().rev().filter(|day| day.succeeded + day.failed > 0);
            with_any.collect()
        });
        Self {
            token,
            notice,
            tiles: tiles(figures),
            sessions: lists
                .sessions
                .into_iter()
                .map(|found| session_row(found, now))
                .collect(),
            bans: lists.bans,
            most: days.iter().map(|day| day.succeeded).max().unwrap_or(0).max(1),
            days,
            sweep: last_sweep(figures),
            events: lists.events.into_iter().map(|(_, event)| event_row(event)).collect(),
        }
    }
}

/// What is listed.
pub(super) struct Lists {
    pub sessions: Vec<Found>,
    pub bans: Vec<Banned>,
    pub events: Vec<(i64, RecordedEvent)>,
}

fn tiles(figures: &Figures) -> Vec<Tile> {
    let sessions = &figures.sessions;
    let tile = |number: u64, what| Tile {
        number: number.to_string(),
        what,
    };
    vec![
        tile(sessions.active, "active sessions"),
        tile(sessions.created_today, "signed in today (UTC)"),
        tile(sessions.users, "users"),
        tile(sessions.expired, "expired, not removed yet"),
    ]
    .into_iter()
    .chain(instance_tiles(figures))
    .collect()
}

/// Only where there can be several.
fn instance_tiles(figures: &Figures) -> Vec<Tile> {
    let all = figures.instances.as_deref().unwrap_or_default();
    let live = all.iter().filter(|one| one.live).count();
    let apart = all.iter().filter(|one| !one.refuses_cookies_of.is_empty()).count();
    let tile = |number: usize, what| Tile {
        number: number.to_string(),
        what,
    };
    let mut tiles = Vec::new();
    if live > 0 {
        tiles.push(tile(live, "instances"));
    }
    if apart > 0 {
        tiles.push(tile(apart, "of them refuse cookies of others: see their logs"));
    }
    tiles
}

fn session_row(found: Found, now: Timestamp) -> SessionRow {
    let Found { session, user } = found;
    let address = session.last_address.or(session.first_address);
    SessionRow {
        id: session.public_id.to_string(),
        user: user.username.to_string(),
        state: if session.is_over(now) { "expired" } else { "active" },
        device: session.device.unwrap_or_else(dash),
        address: address.map_or_else(dash, |address| address.to_string()),
        since: session.authenticated_at,
        seen: session.last_seen_at,
    }
}

fn event_row(event: RecordedEvent) -> EventRow {
    EventRow {
        at: event.at,
        kind: event.kind,
        user: event.username.unwrap_or_else(dash),
        actor: event.actor,
        address: event.address.map_or_else(dash, |address| address.to_string()),
        reason: event.reason.unwrap_or_else(dash),
    }
}

fn dash() -> String {
    "–".to_owned()
}

fn last_sweep(figures: &Figures) -> String {
    match figures.sweeps.as_ref().and_then(|sweeps| sweeps.first()) {
        None => "They are refused at their end; this only gives the room back. No run is known yet.".to_owned(),
        Some(run) => match &run.error {
            None => format!("The last run, at {}, removed {}.", run.at, run.removed),
            Some(error) => format!("The last run, at {}, ended early ({error}).", run.at),
        },
    }
}

/// What was done, by the word that an action left in the address.
pub(super) fn notice(word: &str) -> Option<&'static str> {
    Some(match word {
        "ended" => "The session was ended.",
        "lifted" => "The ban was lifted.",
        "swept" => "Expired sessions were removed.",
        "sweeping" => "Expired sessions are being removed; that takes a while.",
        "elsewhere" => "Another instance is removing expired sessions at this moment.",
        "gone" => "It was gone already.",
        _ => return None,
    })
}
