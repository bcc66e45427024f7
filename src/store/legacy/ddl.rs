//! The trigger by which an application's own log-outs are told at once, as text for the owner of its tables.
//!
//! What must always hold: no statement of the application ever fails because of it; no payload has more than a digest of
//! a key, since any role of the database may listen; activity alone tells nothing.

use super::LegacySettings;
use super::catalog::Catalog;
use super::catalog::ColumnType;
use super::settings::Expiry;
use super::settings::Lifetime;
use super::sql;
use super::sql::literal;
use super::sql::quoted;
use crate::store::StoreError;
use aws_lc_rs::digest;
use std::fmt::Write;

/// Keys of one message: 120 digests in hex are 7,680 bytes; a payload has room for 7,999.
const KEYS: u32 = 120;
/// More rows than this of one statement are told as one word for everything.
const MOST_ROWS: u32 = 2_000;
/// For how long after its end a row's deletion is told: clean-ups of what is long over tell nothing.
const OVER_FOR: &str = "5 minutes";

/// Statements that the owner of an application's tables may run; nothing here ever does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ddl {
    /// Makes the trigger, or brings it up to date.
    pub apply: String,
    /// Takes it away.
    pub undo: String,
}

/// A table as the database knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Relation {
    pub(super) schema: String,
    pub(super) name: String,
}

impl Relation {
    pub(super) fn quoted(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.name))
    }
}

/// The trigger for one source, as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Teller {
    pub(super) sessions: Relation,
    pub(super) users: Option<Relation>,
    /// Channel, function, and the beginning of the triggers' names.
    pub(super) name: String,
    /// The function's text.
    pub(super) body: String,
    /// What the triggers are called with, so that one of another text is known.
    pub(super) version: String,
    /// Which updates call the function at all.
    sessions_when: String,
    users_when: String,
}

impl Teller {
    pub(super) fn new(
        settings: &LegacySettings,
        catalog: &Catalog,
        sessions: Relation,
        users: Option<Relation>,
    ) -> Result<Self, StoreError> {
        let name = name_of(&sessions);
        let body = body(settings, catalog, &name)?;
        let mut watched: Vec<String> = row_changes(settings);
        if let Some(payload) = read_payload(settings) {
            watched.push(differs(payload));
        }
        let sessions_when = watched.join("\n        OR ");
        let users_when = match &settings.users {
            Some(users) => {
                let mut columns: Vec<&String> = users.columns.iter().chain([&users.key]).collect();
                columns.sort_unstable();
                columns.dedup();
                let changes: Vec<String> = columns.iter().map(|column| differs(column)).collect();
                changes.join("\n        OR ")
            }
            None => String::new(),
        };
        let whole = format!("{body}\0{sessions_when}\0{users_when}");
        Ok(Self {
            version: hashed(&whole)[..16].to_owned(),
            sessions,
            users,
            name,
            body,
            sessions_when,
            users_when,
        })
    }

    /// How many triggers there are when all are there.
    pub(super) fn triggers(&self) -> i64 {
        if self.users.is_some() { 6 } else { 3 }
    }

    /// The arguments of its triggers, as the catalog keeps them.
    pub(super) fn arguments(&self) -> [Vec<u8>; 2] {
        ["sessions", "users"].map(|what| format!("{what}\0{}\0", self.version).into_bytes())
    }

    pub(super) fn ddl(&self) -> Ddl {
        let function = format!("{}.{}", quoted(&self.sessions.schema), quoted(&self.name));
        let mut tag = "$portcullis$".to_owned();
        while self.body.contains(&tag) {
            tag.insert(1, 'x');
        }
        let mut apply = format!(
            "-- Tells Portcullis of ended and changed sessions as they happen. To be run by the owner of the tables.\n\
             -- It changes no row, and no statement of the application fails because of it, but PREPARE TRANSACTION:\n\
             -- Postgres allows no notification in a transaction of two phases.\n\
             BEGIN;\n\
             SET LOCAL search_path = pg_catalog, pg_temp;\n\
             -- Better not done at once than in the way of the application.\n\
             SET LOCAL lock_timeout = '5s';\n\
             -- That there is nothing to replace yet is no news.\n\
             SET LOCAL client_min_messages = warning;\n\
             CREATE OR REPLACE FUNCTION {function}() RETURNS trigger\n    \
             LANGUAGE plpgsql SECURITY INVOKER SET search_path = pg_catalog, pg_temp\nAS {tag}{body}{tag};\n\
             REVOKE ALL ON FUNCTION {function}() FROM PUBLIC;\n",
            body = self.body,
        );
        let mut each = vec![("sessions", &self.sessions, &self.sessions_when)];
        each.extend(self.users.iter().map(|users| ("users", users, &self.users_when)));
        for (what, table, when) in each {
            let (name, table) = (|event: &str| quoted(&format!("{}_{event}", self.name)), table.quoted());
            let calls = format!("EXECUTE FUNCTION {function}('{what}', '{}')", self.version);
            let (deleted, truncated, updated) = (name("deleted"), name("truncated"), name("updated"));
            // Writing to a text cannot fail.
            let _ = write!(
                apply,
                "DROP TRIGGER IF EXISTS {deleted} ON {table};\n\
                 DROP TRIGGER IF EXISTS {truncated} ON {table};\n\
                 DROP TRIGGER IF EXISTS {updated} ON {table};\n\
                 CREATE TRIGGER {deleted} AFTER DELETE ON {table} REFERENCING OLD TABLE AS gone\n    \
                 FOR EACH STATEMENT {calls};\n\
                 CREATE TRIGGER {truncated} AFTER TRUNCATE ON {table}\n    \
                 FOR EACH STATEMENT {calls};\n\
                 CREATE TRIGGER {updated} AFTER UPDATE ON {table} FOR EACH ROW\n    \
                 WHEN ({when})\n    {calls};\n"
            );
        }
        apply.push_str("COMMIT;\n");
        Ddl {
            apply,
            undo: format!(
                "-- Takes the triggers with it.\n\
                 BEGIN;\n\
                 SET LOCAL lock_timeout = '5s';\n\
                 DROP FUNCTION IF EXISTS {function}() CASCADE;\n\
                 COMMIT;\n"
            ),
        }
    }
}

/// By the table alone, so that sources of several gateways may share one.
fn name_of(sessions: &Relation) -> String {
    format!("portcullis_{}", &hashed(&sessions.quoted())[..24])
}

fn hashed(text: &str) -> String {
    hex::encode(digest::digest(&digest::SHA256, text.as_bytes()))
}

fn differs(column: &str) -> String {
    let name = quoted(column);
    format!("OLD.{name}::text IS DISTINCT FROM NEW.{name}::text")
}

/// The column of the payload, where anything of it counts.
fn read_payload(settings: &LegacySettings) -> Option<&String> {
    let counts = settings.payload_paths.as_ref().is_none_or(|paths| !paths.is_empty());
    settings.payload.as_ref().filter(|_| counts)
}

/// What of a row counts besides its payload: its key, what is read of its columns, and an end that comes sooner. Texts
/// are compared, which cannot fail.
fn row_changes(settings: &LegacySettings) -> Vec<String> {
    let mut columns = vec![&settings.key];
    columns.extend(&settings.verify);
    columns.extend(&settings.columns);
    if let Expiry::After {
        lifetime: Lifetime::Column(column),
        ..
    } = &settings.expiry
    {
        columns.push(column);
    }
    let mut changes: Vec<String> = Vec::new();
    for column in columns {
        let change = differs(column);
        if !changes.contains(&change) {
            changes.push(change);
        }
    }
    let end = quoted(settings.expiry.moment().0);
    changes.push(format!(
        "(OLD.{end} IS NOT NULL AND (NEW.{end} IS NULL OR NEW.{end} < OLD.{end}))"
    ));
    changes
}

/// What an update must have changed to count, payload included, and what is to be done before that is asked.
fn payload_changes(settings: &LegacySettings, catalog: &Catalog) -> Result<(String, Vec<String>), StoreError> {
    let mut changes = row_changes(settings);
    let (Some(payload), paths) = (read_payload(settings), &settings.payload_paths) else {
        return Ok((String::new(), changes));
    };
    let Some(paths) = paths else {
        changes.push(differs(payload));
        return Ok((String::new(), changes));
    };
    let (column, bytes) = (quoted(payload), catalog.type_of(payload)? == ColumnType::Bytes);
    let json = |row: &str| {
        if bytes {
            format!("convert_from({row}.{column}, 'UTF8')::jsonb")
        } else {
            format!("{row}.{column}::text::jsonb")
        }
    };
    changes.extend(paths.iter().map(|path| {
        let steps: Vec<String> = path.iter().map(|step| literal(step)).collect();
        let path = format!("ARRAY[{}]::text[]", steps.join(", "));
        format!("(before #> {path})::text IS DISTINCT FROM (after #> {path})::text")
    }));
    let read = format!("before := {}; after := {};\n            ", json("OLD"), json("NEW"));
    Ok((read, changes))
}

fn body(settings: &LegacySettings, catalog: &Catalog, channel: &str) -> Result<String, StoreError> {
    let key = |row: &str| {
        let name = quoted(&settings.key);
        format!("encode(sha256(convert_to({row}.{name}::text, 'UTF8')), 'hex')")
    };
    let zone = literal(&catalog.zone);
    let end = sql::end_in(settings, catalog, &zone)?;
    let (read, changes) = payload_changes(settings, catalog)?;
    let same_key = format!("NOT ({})", differs(&settings.key));
    Ok(format!(
        r"
DECLARE
    messages text[];
    found    bigint;
    counts   boolean;
    before   jsonb;
    after    jsonb;
BEGIN
    IF TG_OP = 'TRUNCATE' OR TG_ARGV[0] = 'users' THEN
        messages := ARRAY['f'];
    ELSIF TG_OP = 'DELETE' THEN
        SELECT count(*) INTO found FROM gone AS t WHERE ({end} > clock_timestamp() - interval '{OVER_FOR}') IS NOT FALSE;
        IF found > {MOST_ROWS} THEN
            messages := ARRAY['f'];
        ELSIF found > 0 THEN
            SELECT array_agg(message) INTO messages FROM (
                SELECT 's:' || string_agg(key, '') FROM (
                    SELECT {gone} AS key, (row_number() OVER () - 1) / {KEYS} AS batch
                    FROM gone AS t WHERE ({end} > clock_timestamp() - interval '{OVER_FOR}') IS NOT FALSE) AS each
                GROUP BY batch) AS told (message);
        END IF;
    ELSE
        BEGIN
            {read}counts := {changes};
        EXCEPTION WHEN OTHERS THEN
            counts := true;
        END;
        IF counts THEN
            messages := ARRAY['s:' || {old} ||
                CASE WHEN {same_key} THEN '' ELSE {new} END];
        END IF;
    END IF;
    IF messages IS NOT NULL AND pg_notification_queue_usage() < 0.75 THEN
        PERFORM pg_notify('{channel}', message) FROM unnest(messages) AS told (message);
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
{unsaid}    RETURN NULL;
END
",
        unsaid = unsaid(channel),
        gone = key("t"),
        old = key("OLD"),
        new = key("NEW"),
        changes = changes.join("\n                OR "),
    ))
}

/// Of which rows a statement was cannot be said: of any.
fn unsaid(channel: &str) -> String {
    format!(
        r"    BEGIN
        IF pg_notification_queue_usage() < 0.75 THEN
            PERFORM pg_notify('{channel}', 'f');
        END IF;
    EXCEPTION WHEN OTHERS THEN
        RAISE LOG 'portcullis: a gateway was not told of a change (%)', SQLSTATE;
    END;
"
    )
}

#[cfg(test)]
mod tests {
    use super::super::Unit;
    use super::super::Zone;
    use super::*;
    use std::time::Duration;

    fn settings() -> LegacySettings {
        LegacySettings {
            url: "postgres://reader@localhost/crm".to_owned().into(),
            table: "session".to_owned(),
            key: "sid".to_owned(),
            payload: Some("sess".to_owned()),
            payload_paths: Some(vec![vec!["passport".to_owned(), "user".to_owned()]]),
            verify: None,
            columns: Vec::new(),
            expiry: Expiry::At {
                column: "expire".to_owned(),
                unit: Unit::Timestamp,
            },
            zone: Zone::Utc,
            users: None,
            may_touch: false,
            may_end: false,
            adding: super::super::Adding::default(),
            max_connections: 4,
            call_timeout: Duration::from_secs(2),
            prepared_statements: true,
        }
    }

    fn teller(settings: &LegacySettings) -> Teller {
        let columns = [("sid", "varchar"), ("sess", "json"), ("expire", "timestamp")];
        let catalog = Catalog::of(&columns, &[], "Asia/Kolkata");
        let sessions = Relation {
            schema: "s\"x".to_owned(),
            name: "session".to_owned(),
        };
        Teller::new(settings, &catalog, sessions, None).unwrap()
    }

    #[test]
    fn names_and_texts_cannot_leave_their_quotes() {
        let mut odd = settings();
        odd.payload_paths = Some(vec![vec!["a'b\\c".to_owned(), "$portcullis$".to_owned()]]);
        let ddl = teller(&odd).ddl();
        assert!(ddl.apply.contains(r#"ON "s""x"."session""#), "{}", ddl.apply);
        assert!(
            ddl.apply.contains(r"ARRAY[E'a''b\\c', '$portcullis$']::text[]"),
            "{}",
            ddl.apply
        );
        assert!(ddl.apply.contains("AS $xportcullis$"), "{}", ddl.apply);
        assert!(
            ddl.undo.contains(r#"DROP FUNCTION IF EXISTS "s""x"."portcullis_"#),
            "{}",
            ddl.undo
        );
    }

    #[test]
    fn another_configuration_is_another_trigger_under_the_same_name() {
        let (one, mut other) = (teller(&settings()), settings());
        assert_eq!(one.version, teller(&settings()).version);
        other.payload_paths = Some(vec![vec!["userId".to_owned()]]);
        let other = teller(&other);
        assert_eq!(one.name, other.name);
        assert_ne!(one.version, other.version);
        assert_ne!(one.arguments(), other.arguments());
    }

    #[test]
    fn a_payload_of_which_nothing_is_read_tells_nothing() {
        let mut columns = settings();
        columns.payload_paths = Some(Vec::new());
        columns.columns = vec!["user_id".to_owned()];
        let ddl = teller(&columns).ddl().apply;
        assert!(!ddl.contains("\"sess\""), "{ddl}");
        assert!(
            ddl.contains("OLD.\"user_id\"::text IS DISTINCT FROM NEW.\"user_id\"::text"),
            "{ddl}"
        );
    }
}
