use crate::model::Timestamp;
use sqlx::Decode;
use sqlx::Postgres;
use sqlx::Type;
use sqlx::error::BoxDynError;
use sqlx::postgres::PgTypeInfo;
use sqlx::postgres::PgValueFormat;
use sqlx::postgres::PgValueRef;
use time::OffsetDateTime;

/// 2000-01-01T00:00:00Z, from which Postgres counts.
const EPOCH: i64 = 946_684_800_000_000;

/// A `timestamptz` as it stands in a row. The calendar of `time` ends with the year 9999, and reading what lies beyond it
/// panics there: `infinity`, which somebody may write by hand, would stop whoever reads the row.
pub(super) struct Moment(pub Timestamp);

impl Type<Postgres> for Moment {
    fn type_info() -> PgTypeInfo {
        <OffsetDateTime as Type<Postgres>>::type_info()
    }
    fn compatible(kind: &PgTypeInfo) -> bool {
        <OffsetDateTime as Type<Postgres>>::compatible(kind)
    }
}

impl<'r> Decode<'r, Postgres> for Moment {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        let at = match value.format() {
            PgValueFormat::Binary => {
                let micros = <i64 as Decode<Postgres>>::decode(value)?;
                Timestamp::from_micros(micros.saturating_add(EPOCH))
            }
            PgValueFormat::Text => <OffsetDateTime as Decode<Postgres>>::decode(value)?.into(),
        };
        Ok(Self(at))
    }
}
