//! What both engines write into columns in the same way. A value that cannot be read back is an error, never a guess.

use crate::model::Digest;
use crate::model::Timestamp;
use crate::model::UserState;
use crate::model::Username;
use std::net::IpAddr;

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

/// `expires_at` rounded up to the hour: an index on it changes once an hour and not with every touch.
pub(super) fn sweep_at(expires_at: Timestamp) -> Timestamp {
    const HOUR: i64 = 3_600_000_000;
    let micros = expires_at.as_micros();
    let over = micros.rem_euclid(HOUR);
    let up = if over == 0 { 0 } else { HOUR - over };
    Timestamp::from_micros(micros.saturating_add(up))
}

/// Counts and limits: SQL has no unsigned numbers.
pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::sweep_at;
    use crate::model::Timestamp;

    #[test]
    fn a_session_is_swept_at_the_first_full_hour_that_it_is_over() {
        let hour = Timestamp::from_micros(3_600_000_000);
        assert_eq!(sweep_at(hour), hour);
        assert_eq!(sweep_at(Timestamp::from_micros(1)), hour);
        assert_eq!(
            sweep_at(Timestamp::from_micros(3_600_000_001)),
            Timestamp::from_micros(7_200_000_000)
        );
        assert_eq!(sweep_at(Timestamp::from_micros(-1)), Timestamp::from_micros(0));
    }
}
