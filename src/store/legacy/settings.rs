use crate::store::Place;
use crate::store::Settings;
use crate::store::postgres::describe_application;
use secrecy::ExposeSecret;
use secrecy::SecretString;
use std::time::Duration;

/// Whose wall clock a `timestamp without time zone` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Zone {
    /// UTC.
    Utc,
    /// An IANA name; a fixed offset would be wrong for half of the year.
    Named(String),
    /// That of the application's own connections: what `ALTER ROLE` or `ALTER DATABASE` says for this role.
    Session {
        /// The role that the application connects as; else that of the URL.
        role: Option<String>,
    },
}

/// How a column tells a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// As the column's type says: a timestamp with or without zone.
    Timestamp,
    /// Seconds since 1970.
    Seconds,
    /// Milliseconds since 1970.
    Millis,
}

/// How long a session lives after a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// This long.
    Fixed(Duration),
    /// As many seconds as the column says; less than zero means for ever.
    Column(String),
}

/// When a row is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// At the moment in the column.
    At {
        /// Column.
        column: String,
        /// What it holds.
        unit: Unit,
    },
    /// So long after the moment in the column.
    After {
        /// Column with the last activity, or the last change.
        column: String,
        /// What it holds.
        unit: Unit,
        /// How long.
        lifetime: Lifetime,
    },
}

impl Expiry {
    /// The columns that it reads.
    pub(super) fn columns(&self) -> Vec<&str> {
        match self {
            Self::At { column, .. }
            | Self::After {
                column,
                lifetime: Lifetime::Fixed(_),
                ..
            } => vec![column],
            Self::After {
                column,
                lifetime: Lifetime::Column(other),
                ..
            } => vec![column, other],
        }
    }

    /// The column with the moment, and what it holds.
    pub(super) fn moment(&self) -> (&str, Unit) {
        match self {
            Self::At { column, unit } | Self::After { column, unit, .. } => (column, *unit),
        }
    }
}

/// The table of the users, for what a session's row does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserTable {
    /// Perhaps with a schema: `schema.table`.
    pub table: String,
    /// Column that equals the subject.
    pub key: String,
    /// Columns that are read.
    pub columns: Vec<String>,
}

/// What may be added to an application's database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Adding {
    /// Rows that sign somebody in; those of a log-out may be deleted then.
    pub rows: bool,
    /// connect-pg-simple's table, where there is none.
    pub table: bool,
}

/// Where an application keeps its sessions.
#[derive(Clone, Debug)]
pub struct LegacySettings {
    /// How to connect; holds a password and is never shown.
    pub url: SecretString,
    /// Perhaps with a schema: `schema.table`.
    pub table: String,
    /// Column of the key.
    pub key: String,
    /// Column of the payload.
    pub payload: Option<String>,
    /// The places of the payload that are read, each as its steps, where the database can tell them from the rest; `None`:
    /// anything in it may count.
    pub payload_paths: Option<Vec<Vec<String>>>,
    /// Column whose bytes are compared with the hash of a part of the cookie.
    pub verify: Option<String>,
    /// Other columns that are read.
    pub columns: Vec<String>,
    /// When a row is over.
    pub expiry: Expiry,
    /// Zone of a timestamp without one.
    pub zone: Zone,
    /// The users' table.
    pub users: Option<UserTable>,
    /// Whether ends may be moved forward.
    pub may_touch: bool,
    /// Whether rows may be deleted.
    pub may_end: bool,
    /// What may be added.
    pub adding: Adding,
    /// Most connections at once.
    pub max_connections: u32,
    /// The most that one call may take.
    pub call_timeout: Duration,
    /// Whether statements are prepared by name.
    pub prepared_statements: bool,
}

impl LegacySettings {
    /// Whether sessions are ended here at all, so that an end must be remembered: by people (`may_end`), or by the log-ins
    /// and log-outs that are ones in the application, too.
    #[must_use]
    pub const fn are_ended(&self) -> bool {
        self.may_end || self.adding.rows
    }

    /// Where the table is and who reads it, for people: server, database, role and table, never a password.
    #[must_use]
    pub fn description(&self) -> String {
        let place = describe_application(&self.url, &self.connecting());
        let place = place.unwrap_or_else(|| "an address that cannot be used".to_owned());
        format!("{place}, table {}", self.table)
    }

    /// How its connections are made.
    pub(super) fn connecting(&self) -> Settings {
        Settings {
            place: Place::Postgres {
                url: self.url.clone(),
                direct_url: None,
                schema: String::new(),
            },
            max_connections: self.max_connections,
            call_timeout: self.call_timeout,
            migrate: false,
            required_at_start: false,
            prepared_statements: self.prepared_statements,
        }
    }
}

impl PartialEq for LegacySettings {
    fn eq(&self, other: &Self) -> bool {
        // Everything but the URL, which is compared by what it hides.
        let shown = |one: &Self| format!("{one:?}");
        shown(self) == shown(other) && self.url.expose_secret() == other.url.expose_secret()
    }
}
