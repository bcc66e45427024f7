use super::PgPool;
use crate::clock::Clock;
use crate::store::Settings;
use crate::store::StoreError;
use crate::store::pool::Limits;
use crate::store::pool::Pool;
use secrecy::ExposeSecret;
use secrecy::SecretString;
use sqlx::AssertSqlSafe;
use sqlx::ConnectOptions;
use sqlx::Executor;
use sqlx::PgConnection;
use sqlx::postgres::PgConnectOptions;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// Firewalls and address translators commonly forget a silent connection after four minutes or more.
const LIMITS: Limits = Limits {
    rest: Duration::from_mins(2),
    life: Duration::from_mins(30),
};
/// What a URL may say. The driver would log anything else with its value, which may be a mistyped password.
const PARAMETERS: &[&str] = &[
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

/// How to connect to `url`. A URL without a user is refused: the driver would sign in as whoever runs this process.
pub(super) fn options(url: &SecretString, settings: &Settings) -> Result<PgConnectOptions, StoreError> {
    const SHAPE: &str = "write it as postgres://USER:PASSWORD@HOST:5432/DATABASE";
    let url = Url::parse(url.expose_secret()).map_err(|_| StoreError::Url(SHAPE))?;
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        return Err(StoreError::Url(SHAPE));
    }
    let named = |key: &str| {
        url.query_pairs()
            .any(|(found, value)| found == key && !value.is_empty())
    };
    if url.username().is_empty() && !named("user") {
        return Err(StoreError::Url(
            "it names no user; write postgres://USER@HOST:5432/DATABASE",
        ));
    }
    let is_known = |key: &str| PARAMETERS.contains(&key) || key.starts_with("options[");
    if !url.query_pairs().all(|(key, _)| is_known(&key)) {
        return Err(StoreError::Url(
            "one of its parameters is not supported; sslmode, sslrootcert, sslcert and sslkey are",
        ));
    }
    let options = PgConnectOptions::from_url(&url);
    let mut options = options.map_err(|_| StoreError::Url("one of its parameters has a value that cannot be used"))?;
    if !named("application_name") {
        options = options.application_name("portcullis");
    }
    if !settings.prepared_statements {
        options = options.statement_cache_capacity(0);
    }
    Ok(options.disable_statement_logging())
}

/// At most `most` connections. The server gives up a statement when we do: else a locked table would gather a server
/// process for each call that we have long given up. Not behind a pooler, which would hand the setting to others.
pub(super) fn pool(options: &PgConnectOptions, settings: &Settings, most: u32, clock: Clock) -> Arc<PgPool> {
    let options = options.clone();
    let milliseconds = settings.call_timeout.as_millis().max(1);
    let limit: Option<Arc<str>> = settings
        .prepared_statements
        .then(|| format!("SET statement_timeout = {milliseconds}").into());
    let connect = move || -> futures_util::future::BoxFuture<'static, Result<PgConnection, sqlx::Error>> {
        let (options, limit) = (options.clone(), limit.clone());
        Box::pin(async move {
            let mut connection = options.connect().await?;
            if let Some(limit) = limit {
                connection.execute(AssertSqlSafe(limit)).await?;
            }
            Ok(connection)
        })
    };
    Pool::new(Box::new(connect), most, Some(LIMITS), clock)
}

/// Host, database and user for the log; never a password.
pub(super) fn describe(options: &PgConnectOptions, schema: &str) -> String {
    let user = options.get_username();
    format!("postgres {} as {user}, schema {schema}", server(options))
}

/// The same without whom it is asked as: where the data is.
pub(super) fn whereabouts(options: &PgConnectOptions, schema: &str) -> String {
    format!("{} {schema}", server(options))
}

fn server(options: &PgConnectOptions) -> String {
    let place = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    };
    format!("{place}/{}", options.get_database().unwrap_or(options.get_username()))
}
