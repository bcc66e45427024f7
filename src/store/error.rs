use sqlx::postgres::PgDatabaseError;
use sqlx::sqlite::SqliteError;
use std::path::PathBuf;

/// Why a call failed. All but `Taken`, `Full` and `NoSuchUser` mean *could not ask*.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No connection could be made or the one at hand broke.
    #[error("the database cannot be reached")]
    Unreachable(#[source] sqlx::Error),
    /// The call took longer than it may.
    #[error("the database did not answer in time")]
    TimedOut,
    /// The database answered with an error.
    #[error("the database refused a statement on {table}")]
    Failed {
        /// The table that it was about.
        table: &'static str,
        /// What it said.
        #[source]
        source: sqlx::Error,
    },
    /// The name or e-mail is taken, or belonged to a deleted user.
    #[error("{0} is already taken")]
    Taken(&'static str),
    /// The user has as many sessions as they may have.
    #[error("the user has too many sessions")]
    Full,
    /// There is no such user.
    #[error("there is no such user")]
    NoSuchUser,
    /// The URL of the database cannot be used; it is not shown, because it may hold a password.
    #[error("the database URL cannot be used: {0}")]
    Url(&'static str),
    /// The schema is newer than this program can run beside.
    #[error("the database was migrated by a newer version of portcullis ({found}); this one knows up to {known}")]
    TooNew {
        /// Version of the schema.
        found: i64,
        /// Greatest version known here.
        known: i64,
    },
    /// Nobody has checked its schema yet: [`super::Store::prepare`] has not succeeded.
    #[error("the database has not been made ready yet")]
    NotReady,
    /// A pooler gives one connection to several clients in turn, so that what is told on it reaches anybody.
    #[error("the database is reached through a pooler in transaction mode, which loses LISTEN")]
    Pooled,
    /// Migrations are pending and `migrate = false`.
    #[error("{0} migrations are pending; run `portcullis migrate`")]
    Pending(usize),
    /// Another gateway has the SQLite file.
    #[error("{0} is already in use by another gateway; one SQLite file serves one gateway")]
    InUse(PathBuf),
    /// The SQLite file or its folder cannot be used.
    #[error("cannot use {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl StoreError {
    /// What a driver's error means for a call on `table`. Whatever is not known to be something else is a failure of the
    /// store, never an absent row.
    pub(super) fn on(table: &'static str, error: sqlx::Error) -> Self {
        if is_late(&error) {
            return Self::TimedOut;
        }
        if is_broken(&error) {
            return Self::Unreachable(error);
        }
        match taken(&error) {
            Some(what) => Self::Taken(what),
            None => Self::Failed { table, source: error },
        }
    }

    /// Whether a statement failed in a way that one may whose table was altered since it was made: an operator, a function, a
    /// column or a cast that is not there (class 42, rights aside), or another type than the prepared one's.
    pub(super) fn may_be_of_columns(&self) -> bool {
        const NO_RIGHT: &str = "42501";
        const OTHER_TYPE: &str = "0A000";
        match self {
            Self::Failed { source, .. } => postgres_code(source)
                .is_some_and(|code| code == OTHER_TYPE || (code.starts_with("42") && code != NO_RIGHT)),
            _ => false,
        }
    }

    /// Whether the fault lay with the data only, so that the connection can go on. After any other it is closed: a server
    /// that became read-only was replaced by another, and a statement that the server forgot stays forgotten.
    pub(super) fn leaves_connection(&self) -> bool {
        match self {
            Self::Taken(_) | Self::Full | Self::NoSuchUser => true,
            Self::Failed { source, .. } => {
                let error = source.as_database_error();
                error.is_some_and(|error| !matches!(error.kind(), sqlx::error::ErrorKind::Other))
            }
            _ => false,
        }
    }
}

/// Whether the connection broke or the server is going away, so that a read may be asked again on another connection.
pub(super) fn is_broken(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        // 08: connection exceptions. 57P01 to 57P05: the server stops, starts or ended this connection. 53300: it has no
        // connection left. https://www.postgresql.org/docs/current/errcodes-appendix.html
        sqlx::Error::Database(_) => postgres_code(error)
            .is_some_and(|code| code.starts_with("08") || code.starts_with("57P") || code == "53300"),
        _ => false,
    }
}

/// Whether a change was refused because the server is a standby or made read-only.
pub(super) fn is_read_only(error: &sqlx::Error) -> bool {
    postgres_code(error) == Some("25006")
}

/// Whether the database gave up waiting: a statement or lock timeout of Postgres, a busy file of SQLite.
fn is_late(error: &sqlx::Error) -> bool {
    const BUSY: i32 = 5;
    const LOCKED: i32 = 6;
    if let Some(code) = postgres_code(error) {
        return code == "57014" || code == "55P03";
    }
    match error {
        sqlx::Error::PoolTimedOut => true,
        sqlx::Error::Database(error) => error.try_downcast_ref::<SqliteError>().is_some_and(|error| {
            let code = sqlx::error::DatabaseError::code(error).and_then(|code| code.parse::<i32>().ok());
            code.is_some_and(|code| matches!(code & 0xff, BUSY | LOCKED))
        }),
        _ => false,
    }
}

/// Which word of a user was taken by somebody who was added at the same moment. Postgres names the constraint, SQLite
/// the column in its message.
fn taken(error: &sqlx::Error) -> Option<&'static str> {
    let error = error.as_database_error().filter(|error| error.is_unique_violation())?;
    let place = error.constraint().unwrap_or_else(|| error.message());
    if place.contains("email") {
        return Some(super::EMAIL);
    }
    place.contains("username").then_some(super::USERNAME)
}

fn postgres_code(error: &sqlx::Error) -> Option<&str> {
    let error = error.as_database_error()?.try_downcast_ref::<PgDatabaseError>()?;
    Some(error.code())
}
