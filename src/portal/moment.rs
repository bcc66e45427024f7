//! Moments as people say them.

use crate::model::Timestamp;
use time::OffsetDateTime;
use time::macros::format_description;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// The moment itself, to the minute, in UTC.
pub(super) fn in_words(at: Timestamp) -> String {
    OffsetDateTime::from(at)
        .format(format_description!(
            "[day padding:none] [month repr:long] [year], [hour]:[minute]\u{a0}UTC"
        ))
        .unwrap_or_else(|_| at.to_string())
}

/// How long `at` is past: `3 hours ago`.
pub(super) fn ago(at: Timestamp, now: Timestamp) -> String {
    match span(now.since(at).as_secs()) {
        Some(span) => format!("{span} ago"),
        None => "just now".to_owned(),
    }
}

/// How long it is until `at`: `in 3 hours`. Half a minute is nothing: what was just set to twelve hours is not eleven.
pub(super) fn until(at: Timestamp, now: Timestamp) -> String {
    let seconds = at.since(now).as_secs();
    match span(if seconds < MINUTE {
        seconds
    } else {
        seconds + MINUTE / 2
    }) {
        Some(span) => format!("in {span}"),
        None => "in less than a minute".to_owned(),
    }
}

/// A length of time in its largest whole unit; `None` below a minute.
fn span(seconds: u64) -> Option<String> {
    let (count, unit) = match seconds {
        0..MINUTE => return None,
        MINUTE..HOUR => (seconds / MINUTE, "minute"),
        HOUR..DAY => (seconds / HOUR, "hour"),
        _ => (seconds / DAY, "day"),
    };
    let plural = if count == 1 { "" } else { "s" };
    Some(format!("{count} {unit}{plural}"))
}

#[cfg(test)]
mod tests {
    use super::{ago, in_words, until};
    use crate::model::Timestamp;
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_micros(1_769_860_800_000_000);

    #[test]
    fn a_moment_is_told_in_words() {
        assert_eq!(in_words(NOW), "31 January 2026, 12:00\u{a0}UTC");
    }

    #[test]
    fn past_and_coming_moments_are_told_by_their_largest_unit() {
        for (seconds, past, coming) in [
            (0, "just now", "in less than a minute"),
            (59, "just now", "in less than a minute"),
            (60, "1 minute ago", "in 1 minute"),
            (3599, "59 minutes ago", "in 1 hour"),
            (3569, "59 minutes ago", "in 59 minutes"),
            (3600, "1 hour ago", "in 1 hour"),
            (2 * 86_400 - 1, "1 day ago", "in 2 days"),
            (30 * 86_400, "30 days ago", "in 30 days"),
        ] {
            let away = Duration::from_secs(seconds);
            assert_eq!(ago(NOW.minus(away), NOW), past);
            assert_eq!(until(NOW.plus(away), NOW), coming);
        }
        assert_eq!(ago(NOW.plus(Duration::from_secs(90)), NOW), "just now", "another clock");
    }
}
