//! `portcullis audit`: what happened to users and sessions, and who did it.

use super::failure::Wrong;
use super::output;
use super::place::Place;
use crate::model::PublicId;
use crate::model::Timestamp;
use crate::model::Username;
use crate::store::EventFilter;
use crate::store::RecordedEvent;
use crate::store::Store;
use anyhow::Result;
use clap::Args;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// How many events are asked for at once.
const PAGE: u32 = 1_000;
/// How many are told where nobody says.
const FEW: u64 = 100;

/// Show the audit log, the newest entry first; with --json one JSON object a line
#[derive(Args, Debug)]
pub(super) struct Options {
    #[command(flatten)]
    place: Place,
    /// Only entries from this time on: 2026-01-31T12:00:00Z, or an age such as 90m, 24h or 7d
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only entries before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only entries about this user
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Only entries of this kind, such as `login_failed`
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Only entries about the session with this public id
    #[arg(long, value_name = "ID")]
    session: Option<uuid::Uuid>,
    /// At most this many [default: 100, or all with --since]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

pub(super) async fn run(options: Options) -> Result<()> {
    let user = options.user.as_deref().map(username).transpose()?;
    let most = options
        .limit
        .unwrap_or(if options.since.is_some() { u64::MAX } else { FEW });
    let desk = options.place.open().await?;
    let now = desk.store.now().await?;
    let moment = |text: &Option<String>| text.as_deref().map(|text| moment(text, now)).transpose();
    let filter = EventFilter {
        since: moment(&options.since)?,
        until: moment(&options.until)?,
        user,
        kind: options.kind,
        session: options.session.map(PublicId),
        ..EventFilter::newest(PAGE)
    };
    let mut rows = Vec::new();
    let more = each(&*desk.store, filter, most, |event| {
        if options.place.json {
            return output::json(&event);
        }
        rows.push(row(&event));
        Ok(())
    })
    .await?;
    desk.close().await;
    if options.place.json {
        return Ok(());
    }
    if rows.is_empty() {
        return output::line("No entries.");
    }
    output::table(&["at", "what", "user", "by", "from", "why", "session", "source"], rows)?;
    if more {
        output::line("There is more: --limit N, or --since TIME for all since then.")?;
    }
    Ok(())
}

/// Hands at most `most` events to `tell`, page by page; whether there are more.
async fn each(
    store: &dyn Store,
    mut filter: EventFilter,
    most: u64,
    mut tell: impl FnMut(RecordedEvent) -> Result<()>,
) -> Result<bool> {
    let mut told = 0;
    loop {
        let page = store.find_events(filter.clone()).await?;
        let full = page.len() == filter.limit as usize;
        for (id, event) in page {
            if told == most {
                return Ok(true);
            }
            filter.below = Some(id);
            tell(event)?;
            told += 1;
        }
        if !full {
            return Ok(false);
        }
    }
}

fn row(event: &RecordedEvent) -> Vec<String> {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    vec![
        event.at.to_string(),
        event.kind.clone(),
        or_dash(event.username.clone()),
        event.actor.clone(),
        or_dash(event.address.map(|address| address.to_string())),
        or_dash(event.reason.clone()),
        or_dash(event.session.map(|session| session.to_string())),
        or_dash(event.source.clone()),
    ]
}

fn username(name: &str) -> Result<Username> {
    Ok(Username::parse(name).map_err(|error| Wrong(format!("{name:?} is no user name: {error}")))?)
}

/// A moment in RFC 3339, or an age.
fn moment(text: &str, now: Timestamp) -> Result<Timestamp> {
    let age = text
        .split_at_checked(text.len().saturating_sub(1))
        .and_then(|(number, unit)| {
            let number: u64 = number.parse().ok()?;
            let seconds = match unit {
                "s" => 1,
                "m" => 60,
                "h" => 3_600,
                "d" => 86_400,
                _ => return None,
            };
            number.checked_mul(seconds).map(Duration::from_secs)
        });
    if let Some(age) = age {
        return Ok(now.minus(age));
    }
    let at = OffsetDateTime::parse(text, &Rfc3339);
    let hint = || {
        Wrong(format!(
            "{text:?} is no time: write 2026-01-31T12:00:00Z, or an age such as 90m, 24h or 7d"
        ))
    };
    Ok(at.map(Timestamp::from).map_err(|_| hint())?)
}

#[cfg(test)]
mod tests {
    use super::moment;
    use crate::model::Timestamp;

    #[test]
    fn a_time_is_a_moment_or_an_age() {
        let now = Timestamp::from_micros(1_769_860_800_000_000);
        for (text, at) in [
            ("90m", "2026-01-31T10:30:00Z"),
            ("7d", "2026-01-24T12:00:00Z"),
            ("2026-01-01T01:00:00+01:00", "2026-01-01T00:00:00Z"),
        ] {
            assert_eq!(moment(text, now).unwrap().to_string(), at, "{text}");
        }
        for text in ["", "d", "7", "7w", "-7d", "yesterday", "2026-01-01"] {
            assert!(moment(text, now).is_err(), "{text}");
        }
    }
}
