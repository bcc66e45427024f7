use std::fmt;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A moment in UTC with microseconds, as Postgres keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 0000-01-01T00:00:00Z, the first second that RFC 3339 can write.
    pub const FIRST: Self = Self(-62_167_219_200_000_000);
    /// 9999-12-31T23:59:59Z, the last second that RFC 3339 can write.
    pub const LAST: Self = Self(253_402_300_799_000_000);

    /// From microseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970-01-01T00:00:00Z, rounded down.
    #[must_use]
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This moment and `by` more; the greatest moment when that does not fit.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
    }

    /// This moment less `by`.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
    }

    /// How long from `earlier` to this moment; zero when it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl From<OffsetDateTime> for Timestamp {
    fn from(at: OffsetDateTime) -> Self {
        Self(i64::try_from(at.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX))
    }
}

/// The nearest moment of the years 0 to 9999.
impl From<Timestamp> for OffsetDateTime {
    fn from(at: Timestamp) -> Self {
        let within = at.0.clamp(Timestamp::FIRST.0, Timestamp::LAST.0);
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(within) * 1_000).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

/// RFC 3339 in UTC, whole seconds: `2026-01-31T12:00:00Z`. It has four digits for the year: what lies outside of them is
/// shown as the nearest moment within.
impl fmt::Display for Timestamp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self
            .as_seconds()
            .clamp(Self::FIRST.as_seconds(), Self::LAST.as_seconds());
        let whole = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        out.write_str(&whole.format(&Rfc3339).map_err(|_| fmt::Error)?)
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::Timestamp;
    use std::time::Duration;

    #[test]
    fn a_moment_is_shown_in_utc_with_whole_seconds() {
        let at = Timestamp::from_micros(1_769_860_800_999_999);
        assert_eq!(at.to_string(), "2026-01-31T12:00:00Z");
        assert_eq!(at.plus(Duration::from_mins(1)).since(at), Duration::from_mins(1));
        assert_eq!(at.since(at.plus(Duration::from_secs(1))), Duration::ZERO);
    }

    #[test]
    fn every_moment_can_be_shown() {
        let shown = |seconds: i64| Timestamp::from_micros(seconds.saturating_mul(1_000_000)).to_string();
        assert_eq!(shown(-62_167_219_200), "0000-01-01T00:00:00Z");
        assert_eq!(shown(-62_167_219_201), "0000-01-01T00:00:00Z");
        assert_eq!(Timestamp::LAST.to_string(), "9999-12-31T23:59:59Z");
        assert_eq!(shown(253_402_300_800), "9999-12-31T23:59:59Z");
        assert_eq!(shown(i64::MIN), "0000-01-01T00:00:00Z");
        assert_eq!(shown(i64::MAX), "9999-12-31T23:59:59Z");
        let year = |micros| time::OffsetDateTime::from(Timestamp::from_micros(micros)).year();
        assert_eq!((year(i64::MIN), year(0), year(i64::MAX)), (0, 1970, 9999));
    }
}
