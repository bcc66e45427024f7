//! What both engines write into columns in the same way. A value that cannot be read back is an error, never a guess.

use crate::model::Digest;
use crate::model::Timestamp;
use crate::model::UserState;
use crate::model::Username;
use crate::store::sweeps::SweepScope;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// A value that is not what this program writes.
#[derive(Debug, thiserror::Error)]
#[error("the column {0} holds something else than portcullis writes")]
struct Strange(&'static str);

fn strange(column: &'static str) -> sqlx::Error {
    sqlx::Error::ColumnDecode {
        index: column.to_owned(),
        source: Box::new(Strange(column)),
    }
}

pub(super) fn digest(bytes: &[u8]) -> Result<Digest, sqlx::Error> {
    bytes.try_into().map(Digest).map_err(|_| strange("digest"))
}

pub(super) fn username(text: &str) -> Result<Username, sqlx::Error> {
    Username::parse(text).map_err(|_| strange("username"))
}

pub(super) const fn state_word(state: UserState) -> &'static str {
    match state {
        UserState::Active => "active",
        UserState::Disabled => "disabled",
    }
}

pub(super) fn state(word: &str) -> Result<UserState, sqlx::Error> {
    match word {
        "active" => Ok(UserState::Active),
        "disabled" => Ok(UserState::Disabled),
        _ => Err(strange("state")),
    }
}

/// Nothing where the user has none.
pub(super) fn app_users(object: Option<Value>) -> BTreeMap<String, Value> {
    match object {
        Some(Value::Object(members)) => members.into_iter().collect(),
        _ => BTreeMap::new(),
    }
}

pub(super) fn address(text: Option<&str>) -> Result<Option<IpAddr>, sqlx::Error> {
    text.map(str::parse).transpose().map_err(|_| strange("address"))
}

/// Words with a space between them: four bytes for `pwd`, where a Postgres array would take 28.
pub(super) fn methods_text(methods: &[String]) -> String {
    methods.join(" ")
}

pub(super) fn methods(text: &str) -> Vec<String> {
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

const HOUR: i64 = 3_600_000_000;

/// `expires_at` rounded up to the hour: an index on it changes once an hour and not with every touch. Each session has
/// full hours of its own, so that not all that are active change the index in the same minute.
pub(super) fn sweep_at(digest: &Digest, expires_at: Timestamp) -> Timestamp {
    let second = i64::from(u16::from_le_bytes([digest.0[30], digest.0[31]])) % 3600;
    let micros = expires_at.as_micros();
    let over = micros.saturating_sub(second * 1_000_000).rem_euclid(HOUR);
    let up = if over == 0 { 0 } else { HOUR - over };
    Timestamp::from_micros(micros.saturating_add(up))
}

/// The greatest `sweep_at` that a sweep has to look at: less than an hour lies between it and the end.
pub(super) fn swept_until(scope: SweepScope, now: Timestamp) -> Timestamp {
    match scope {
        SweepScope::Due => now,
        SweepScope::All => Timestamp::from_micros(now.as_micros().saturating_add(HOUR)),
    }
}

/// Spans of time: microseconds, as everything else.
pub(super) fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// Counts and limits: SQL has no unsigned numbers.
pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{sweep_at, swept_until};
    use crate::model::Digest;
    use crate::model::Timestamp;
    use crate::store::sweeps::SweepScope;
    use proptest::prelude::*;

    const HOUR: Timestamp = Timestamp::from_micros(3_600_000_000);

    #[test]
    fn a_session_is_swept_at_the_first_full_hour_of_its_own_that_it_is_over() {
        let on_the_hour = Digest([0; 32]);
        assert_eq!(sweep_at(&on_the_hour, HOUR), HOUR);
        assert_eq!(sweep_at(&on_the_hour, Timestamp::from_micros(1)), HOUR);
        assert_eq!(
            sweep_at(&on_the_hour, Timestamp::from_micros(3_600_000_001)),
            Timestamp::from_micros(7_200_000_000)
        );
        assert_eq!(
            sweep_at(&on_the_hour, Timestamp::from_micros(-1)),
            Timestamp::from_micros(0)
        );
        let mut ten_seconds_past = Digest([0; 32]);
        ten_seconds_past.0[30] = 10;
        let past = Timestamp::from_micros(3_610_000_000);
        assert_eq!(sweep_at(&ten_seconds_past, HOUR), past);
        assert_eq!(sweep_at(&ten_seconds_past, past), past);
    }

    proptest! {
        #[test]
        fn no_session_is_swept_before_its_end_or_found_too_late_by_hand(bytes: [u8; 32], end in 0..i64::MAX / 2) {
            let end = Timestamp::from_micros(end);
            let at = sweep_at(&Digest(bytes), end);
            prop_assert!(at >= end);
            prop_assert!(at <= swept_until(SweepScope::All, end));
            prop_assert_eq!(swept_until(SweepScope::Due, end), end);
        }
    }
}
