//! The statements for a table of which the configuration names the columns. Names are quoted, values bound.

use super::LegacySettings;
use super::Unit;
use super::catalog::Catalog;
use super::catalog::ColumnType;
use super::listing;
use super::settings::Expiry;
use super::settings::Lifetime;
use super::settings::UserTable;
use crate::store::StoreError;
use std::sync::Arc;

/// What is asked of one application's tables.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Statements {
    pub(super) find: Arc<str>,
    /// Empty where the mapping has no users' table.
    pub(super) find_user: Arc<str>,
    pub(super) end: Arc<str>,
    /// For sources that may add rows: payload, end in seconds since 1970, key, and the zone where there is one.
    pub(super) open: Option<Arc<str>>,
    /// Live rows by the hash of their key, after `$1`.
    pub(super) list: Arc<str>,
    /// The same of rows in which a subject may stand.
    pub(super) list_of: Arc<str>,
    /// The live row with the public id `$1`.
    pub(super) show: Arc<str>,
    /// Where ends may be moved.
    pub(super) prolong: Option<Arc<str>>,
    /// Bound behind the key where the moment's column has no zone of its own.
    pub(super) zone: Option<String>,
}

/// A name as Postgres takes it whatever is in it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as Postgres takes it whatever is in it, and whatever it makes of backslashes.
pub(super) fn literal(text: &str) -> String {
    let text = text.replace('\'', "''");
    if text.contains('\\') {
        format!("E'{}'", text.replace('\\', r"\\"))
    } else {
        format!("'{text}'")
    }
}

/// `schema.table` or `table`, each part quoted.
pub(super) fn quoted_table(table: &str) -> String {
    match table.split_once('.') {
        Some((schema, table)) => format!("{}.{}", quoted(schema), quoted(table)),
        None => quoted(table),
    }
}

pub(super) fn statements(settings: &LegacySettings, catalog: &Catalog) -> Result<Statements, StoreError> {
    let (moment, zoned) = moment(settings, catalog, "$2")?;
    let table = quoted_table(&settings.table);
    let key = names_row(settings, catalog)?;
    let find = format!(
        "SELECT {payload} AS payload, {verify} AS verify, {columns} AS columns, \
         {left} AS left_seconds FROM {table} AS t WHERE {key} LIMIT 2",
        payload = bytes(settings.payload.as_deref(), catalog)?,
        verify = bytes(settings.verify.as_deref(), catalog)?,
        columns = object("t", &settings.columns),
        left = left_of(&end(&settings.expiry, &moment)),
    );
    let find_user = settings
        .users
        .as_ref()
        .map_or_else(|| Ok("".into()), |users| find_user(users, catalog))?;
    let prolong = settings
        .may_touch
        .then(|| prolong(settings, catalog, zoned))
        .transpose()?;
    let listing = listing::Listing::new(settings, catalog, &end(&settings.expiry, &moment), zoned)?;
    Ok(Statements {
        list: listing.all(),
        list_of: listing.of_subject(),
        show: listing.of_public_id(),
        prolong,
        find: find.into(),
        find_user,
        end: format!("DELETE FROM {table} AS t WHERE {key}").into(),
        open: settings.adding.rows.then(|| open(settings, catalog)).transpose()?,
        zone: zoned.then(|| catalog.zone.clone()),
    })
}

/// Adds a row, and fails where there is one with the key.
fn open(settings: &LegacySettings, catalog: &Catalog) -> Result<Arc<str>, StoreError> {
    let (column, unit) = settings.expiry.moment();
    let payload = settings.payload.as_deref().unwrap_or_default();
    let payload_value = match catalog.type_of(payload)? {
        ColumnType::Json => "$1::text::json",
        _ => "$1::text",
    };
    let end = match (unit, catalog.type_of(column)?) {
        (Unit::Seconds, _) => "$2::bigint",
        (Unit::Millis, _) => "$2::bigint * 1000",
        (Unit::Timestamp, ColumnType::Timestamp) => "to_timestamp($2::bigint) AT TIME ZONE $4",
        (Unit::Timestamp, _) => "to_timestamp($2::bigint)",
    };
    let sql = format!(
        "INSERT INTO {table} ({payload}, {column}, {key}) VALUES ({payload_value}, {end}, $3::text)",
        table = quoted_table(&settings.table),
        payload = quoted(payload),
        column = quoted(column),
        key = quoted(&settings.key),
    );
    Ok(sql.into())
}

/// Moves ends forward: the keys are `$1`, the zone `$2`, seconds that they are to live `$3`, and the least step `$4`. Rows
/// are locked one by one without waiting, in an order, so that nobody is in anybody's way; what is written is decided once
/// more under the lock. Whole seconds, as connect-pg-simple writes them.
fn prolong(settings: &LegacySettings, catalog: &Catalog, zoned: bool) -> Result<Arc<str>, StoreError> {
    let (table, name) = (quoted_table(&settings.table), quoted(&settings.key));
    let end = end_in(settings, catalog, "$2::text")?;
    let cast = match catalog.type_of(&settings.key)? {
        ColumnType::Uuid => "::uuid",
        ColumnType::Integer => "::bigint",
        ColumnType::Char => "::bpchar",
        _ => "",
    };
    let column = quoted(settings.expiry.moment().0);
    let zone = if zoned { " AT TIME ZONE $2::text" } else { "" };
    let new = "to_timestamp(ceil(extract(epoch FROM clock_timestamp()) + h.seconds))";
    let text = format!(
        "WITH wanted AS (SELECT w.key, w.seconds, w.step FROM unnest($1::text[], $3::float8[], $4::float8[]) \
             AS w (key, seconds, step)), \
         held AS MATERIALIZED (SELECT t.{name} AS key, w.seconds, w.step FROM wanted AS w \
             JOIN {table} AS t ON t.{name} = w.key{cast} WHERE {end} > clock_timestamp() \
             AND {end} < clock_timestamp() + (w.seconds - w.step) * interval '1 second' \
             ORDER BY t.{name} FOR NO KEY UPDATE OF t SKIP LOCKED) \
         UPDATE {table} AS t SET {column} = {new}{zone} FROM held AS h WHERE t.{name} = h.key \
             AND {end} > clock_timestamp() AND {end} < {new} RETURNING t.{name}::text AS key"
    );
    Ok(text.into())
}

/// When the row `t` is over, read in `zone` where its moment has none of its own.
pub(super) fn end_in(settings: &LegacySettings, catalog: &Catalog, zone: &str) -> Result<String, StoreError> {
    let (moment, _) = moment(settings, catalog, zone)?;
    Ok(end(&settings.expiry, &moment))
}

/// The moment as one with a zone, and whether `zone` was needed for it.
fn moment(settings: &LegacySettings, catalog: &Catalog, zone: &str) -> Result<(String, bool), StoreError> {
    let (column, unit) = settings.expiry.moment();
    let name = format!("t.{}", quoted(column));
    Ok(match (unit, catalog.type_of(column)?) {
        (Unit::Seconds, _) => (since_1970(&format!("{name}::float8")), false),
        (Unit::Millis, _) => (since_1970(&format!("{name}::float8 / 1000")), false),
        // Seconds or milliseconds since 1970: as seconds, the latter would be in the year 5138 or later.
        (Unit::Timestamp, ColumnType::Integer) => (
            since_1970(&format!(
                "CASE WHEN {name} >= 100000000000 THEN {name} / 1000.0 ELSE {name} END"
            )),
            false,
        ),
        (Unit::Timestamp, ColumnType::Timestamp) => (format!("({name} AT TIME ZONE {zone})"), true),
        (Unit::Timestamp, _) => (name, false),
    })
}

/// Seconds since 1970 as a moment. Postgres fails on one that it has no year for, and with it every statement that meets
/// such a row: it is over, or never is.
fn since_1970(seconds: &str) -> String {
    // Not LEAST, which passes over NULL: without an end a row is over.
    format!(
        "to_timestamp(CASE WHEN {seconds} > 9000000000000 THEN 9000000000000 \
         WHEN {seconds} < -60000000000 THEN -60000000000 ELSE {seconds} END)"
    )
}

/// Seconds until `end`. Each is made a number before they are compared: Postgres before 17 cannot take a moment from
/// `infinity`.
pub(super) fn left_of(end: &str) -> String {
    format!("(EXTRACT(EPOCH FROM {end})::float8 - EXTRACT(EPOCH FROM clock_timestamp())::float8)")
}

fn end(expiry: &Expiry, moment: &str) -> String {
    match expiry {
        Expiry::At { .. } => moment.to_owned(),
        Expiry::After {
            lifetime: Lifetime::Fixed(lifetime),
            ..
        } => format!("({moment} + interval '{} seconds')", lifetime.as_secs()),
        Expiry::After {
            lifetime: Lifetime::Column(column),
            ..
        } => {
            let seconds = format!("t.{}", quoted(column));
            // Less than zero means for ever (Spring), which is a hundred years here, as is what Postgres has no room for.
            format!(
                "(CASE WHEN {seconds} < 0 OR {seconds} > 100000000000 THEN clock_timestamp() + interval '100 years' \
                 ELSE {moment} + make_interval(secs => {seconds}) END)"
            )
        }
    }
}

/// A column as bytes: JSON and text as UTF-8, `bytea` as it is.
pub(super) fn bytes(column: Option<&str>, catalog: &Catalog) -> Result<String, StoreError> {
    let Some(column) = column else {
        return Ok("NULL::bytea".to_owned());
    };
    let name = format!("t.{}", quoted(column));
    Ok(match catalog.type_of(column)? {
        ColumnType::Bytes => name,
        _ => format!("convert_to({name}::text, 'UTF8')"),
    })
}

/// The comparison of the key with `$1`. In one spelling only, that of the row: an end is known by the key's hash, so another
/// spelling of it (capitals of a UUID, blanks behind a `char`) must not find the row.
fn names_row(settings: &LegacySettings, catalog: &Catalog) -> Result<String, StoreError> {
    let key = equals("t", &settings.key, catalog.type_of(&settings.key)?);
    Ok(format!(
        "{key} AND t.{}::text COLLATE \"C\" = $1",
        quoted(&settings.key)
    ))
}

/// The comparison with `$1` in the column's own type, so that its index serves. A text that is none of the type finds
/// nothing, and is no fault of the statement.
fn equals(table: &str, column: &str, kind: ColumnType) -> String {
    let name = format!("{table}.{}", quoted(column));
    match kind {
        ColumnType::Uuid => {
            format!("{name} = CASE WHEN $1 ~* '^[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}$' THEN $1::uuid END")
        }
        // The largest has nineteen digits, and texts of as many are in the order of their numbers.
        ColumnType::Integer => format!(
            "{name} = CASE WHEN $1 ~ '^-?[0-9]{{1,18}}$' OR $1 ~ '^[0-9]{{19}}$' AND $1 COLLATE \"C\" <= '9223372036854775807' \
             THEN $1::bigint END"
        ),
        ColumnType::Char => format!("{name} = $1::bpchar"),
        _ => format!("{name} = $1"),
    }
}

fn find_user(users: &UserTable, catalog: &Catalog) -> Result<Arc<str>, StoreError> {
    let sql = format!(
        "SELECT {columns} AS columns FROM {table} AS u WHERE {key} LIMIT 2",
        columns = object("u", &users.columns),
        table = quoted_table(&users.table),
        key = equals("u", &users.key, catalog.type_of_user(&users.key)?),
    );
    Ok(sql.into())
}

pub(super) fn object(table: &str, columns: &[String]) -> String {
    if columns.is_empty() {
        return "'{}'::json".to_owned();
    }
    let pairs = columns
        .iter()
        .map(|column| format!("'{}', {table}.{}", column.replace('\'', "''"), quoted(column)));
    // Not `jsonb`, which fails on what a column of `json` may hold (`\u0000`).
    format!("json_build_object({})", pairs.collect::<Vec<_>>().join(", "))
}

/// The way through a whole table, a page at a time.
pub(super) struct PageStatements {
    /// `$1`: the zone, or null.
    pub(super) first: Arc<str>,
    /// `$2`: the key behind which it goes on.
    pub(super) next: Arc<str>,
    pub(super) zone: Option<String>,
}

/// Pages of `rows` rows, and one more. Of a payload no more is sent than tells that it is too large.
pub(super) fn pages(settings: &LegacySettings, catalog: &Catalog, rows: u32) -> Result<PageStatements, StoreError> {
    const MOST: usize = 64 * 1024 + 1;
    let (moment, zoned) = moment(settings, catalog, "$1::text")?;
    let key = format!("t.{}", quoted(&settings.key));
    let behind = match catalog.type_of(&settings.key)? {
        ColumnType::Uuid => "$2::uuid",
        ColumnType::Integer => "$2::bigint",
        ColumnType::Char => "$2::bpchar",
        _ => "$2",
    };
    let select = format!(
        "SELECT {key}::text AS key, substring({payload} FROM 1 FOR {MOST}) AS payload, {verify} AS verify, \
         {columns} AS columns, {left} AS left_seconds FROM {table} AS t",
        payload = bytes(settings.payload.as_deref(), catalog)?,
        verify = bytes(settings.verify.as_deref(), catalog)?,
        columns = object("t", &settings.columns),
        left = left_of(&end(&settings.expiry, &moment)),
        table = quoted_table(&settings.table),
    );
    let limit = rows + 1;
    let zone = "($1::text IS NULL OR true)";
    Ok(PageStatements {
        first: format!("{select} WHERE {zone} ORDER BY {key} LIMIT {limit}").into(),
        next: format!("{select} WHERE {zone} AND {key} > {behind} ORDER BY {key} LIMIT {limit}").into(),
        zone: zoned.then(|| catalog.zone.clone()),
    })
}

/// Some rows as [`Statements::find`] would show them, with what the clock of the moment's column shows.
pub(super) fn sample(
    settings: &LegacySettings,
    catalog: &Catalog,
    rows: u32,
) -> Result<(String, Option<String>), StoreError> {
    let (moment, zoned) = moment(settings, catalog, "$1")?;
    let (column, unit) = settings.expiry.moment();
    let name = format!("t.{}", quoted(column));
    let wall = match (unit, catalog.type_of(column)?) {
        (Unit::Timestamp, ColumnType::Integer) => format!("EXTRACT(EPOCH FROM {moment})::float8"),
        (Unit::Timestamp, _) => format!("EXTRACT(EPOCH FROM {name})::float8"),
        (Unit::Seconds, _) => format!("{name}::float8"),
        (Unit::Millis, _) => format!("{name}::float8 / 1000"),
    };
    let text = format!(
        "SELECT {payload} AS payload, {columns} AS columns, {wall} AS wall, \
         ({wall} - EXTRACT(EPOCH FROM {moment})::float8) AS ahead, \
         {left} AS left_seconds FROM {table} AS t LIMIT {rows}",
        payload = bytes(settings.payload.as_deref(), catalog)?,
        columns = object("t", &settings.columns),
        left = left_of(&end(&settings.expiry, &moment)),
        table = quoted_table(&settings.table),
    );
    Ok((text, zoned.then(|| catalog.zone.clone())))
}

#[cfg(test)]
mod tests {
    use super::super::Zone;
    use super::*;
    use std::time::Duration;

    fn express() -> LegacySettings {
        LegacySettings {
            url: "postgres://reader@localhost/crm".to_owned().into(),
            table: "schema_system.session".to_owned(),
            key: "sid".to_owned(),
            payload: Some("sess".to_owned()),
            verify: None,
            columns: Vec::new(),
            expiry: Expiry::At {
                column: "expire".to_owned(),
                unit: Unit::Timestamp,
            },
            zone: Zone::Utc,
            users: None,
            payload_paths: None,
            may_touch: false,
            may_end: false,
            adding: super::super::Adding::default(),
            max_connections: 4,
            call_timeout: Duration::from_secs(2),
            prepared_statements: true,
        }
    }

    fn catalog(expire: &str) -> Catalog {
        let columns = [
            ("sid", "varchar"),
            ("sess", "json"),
            ("expire", expire),
            ("id", "uuid"),
            ("n", "int4"),
        ];
        Catalog::of(&columns, &[("id", "int4")], "Asia/Kolkata")
    }

    #[test]
    fn a_time_without_a_zone_is_read_in_the_applications() {
        let sql = statements(&express(), &catalog("timestamp")).unwrap();
        assert!(sql.find.contains(r#"(t."expire" AT TIME ZONE $2)"#), "{}", sql.find);
        assert_eq!(sql.zone.as_deref(), Some("Asia/Kolkata"));
        let sql = statements(&express(), &catalog("timestamptz")).unwrap();
        assert!(!sql.find.contains("$2"), "{}", sql.find);
        assert_eq!(sql.zone, None);
        let sql = statements(&express(), &catalog("int8")).unwrap();
        assert!(sql.find.contains("to_timestamp(CASE WHEN CASE WHEN"), "{}", sql.find);
        assert_eq!(sql.zone, None);
    }

    #[test]
    fn an_end_is_written_by_the_clock_that_the_application_reads_it_by() {
        let mut settings = express();
        assert_eq!(statements(&settings, &catalog("timestamp")).unwrap().open, None);
        settings.adding.rows = true;
        let sql = statements(&settings, &catalog("timestamp")).unwrap();
        assert_eq!(
            sql.open.as_deref(),
            Some(
                r#"INSERT INTO "schema_system"."session" ("sess", "expire", "sid") VALUES ($1::text::json, to_timestamp($2::bigint) AT TIME ZONE $4, $3::text)"#
            )
        );
        let sql = statements(&settings, &catalog("timestamptz")).unwrap();
        assert!(!sql.open.unwrap().contains("$4"));
    }

    #[test]
    fn names_cannot_leave_their_quotes() {
        let mut settings = express();
        settings.table = r#"s"; DROP TABLE users; --.t"t"#.to_owned();
        settings.columns = vec!["a'b".to_owned()];
        let sql = statements(&settings, &catalog("timestamp")).unwrap();
        assert!(
            sql.find.contains(r#"FROM "s""; DROP TABLE users; --"."t""t" AS t"#),
            "{}",
            sql.find
        );
        assert!(
            sql.find.contains(r#"json_build_object('a''b', t."a'b")"#),
            "{}",
            sql.find
        );
    }

    #[test]
    fn a_key_is_compared_in_its_columns_own_type() {
        let mut settings = express();
        settings.key = "id".to_owned();
        let sql = statements(&settings, &catalog("timestamp")).unwrap();
        assert!(sql.find.contains("THEN $1::uuid END"), "{}", sql.find);
        settings.key = "n".to_owned();
        let sql = statements(&settings, &catalog("timestamp")).unwrap();
        assert!(sql.end.contains("THEN $1::bigint END"), "{}", sql.end);
        settings.key = "absent".to_owned();
        assert!(statements(&settings, &catalog("timestamp")).is_err());
    }
}
