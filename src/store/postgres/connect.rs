use super::PgPool;
use super::servers::Servers;
use crate::clock::Clock;
use crate::store::Settings;
use crate::store::StoreError;
use crate::store::pool::Limits;
use crate::store::pool::Pool;
use futures_util::future::BoxFuture;
use sqlx::ConnectOptions;
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
/// Which servers of several will do, as libpq names it.
const SESSION_ATTRIBUTES: &str = "target_session_attrs";
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
    SESSION_ATTRIBUTES,
    "user",
];

/// One server of a URL.
pub(super) struct Parsed {
    pub(super) options: PgConnectOptions,
    /// Whether the URL says that the server must take changes.
    pub(super) for_changes: Option<bool>,
}

/// How to connect to `url`, which names one server. A URL without a user is refused: the driver would sign in as whoever
/// runs this process.
pub(super) fn parse(url: &str, one_of_several: bool, settings: &Settings) -> Result<Parsed, StoreError> {
    const SHAPE: &str = "write it as postgres://USER:PASSWORD@HOST:5432/DATABASE";
    let mut url = Url::parse(url).map_err(|_| StoreError::Url(SHAPE))?;
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        return Err(StoreError::Url(SHAPE));
    }
    let named = |url: &Url, key: &str| {
        url.query_pairs()
            .any(|(found, value)| found == key && !value.is_empty())
    };
    if url.username().is_empty() && !named(&url, "user") {
        return Err(StoreError::Url(
            "it names no user; write postgres://USER@HOST:5432/DATABASE",
        ));
    }
    let is_known = |key: &str| PARAMETERS.contains(&key) || key.starts_with("options[");
    if !url.query_pairs().all(|(key, _)| is_known(&key)) {
        return Err(StoreError::Url(
            "one of its parameters is not supported; sslmode, sslrootcert, sslcert, sslkey and target_session_attrs are",
        ));
    }
    let elsewhere = ["host", "hostaddr", "port"].iter().any(|key| named(&url, key));
    if one_of_several && (elsewhere || url.host_str().is_none_or(str::is_empty)) {
        return Err(StoreError::Url(
            "it names several servers; write each as HOST:5432 with commas between",
        ));
    }
    let for_changes = take_session_attributes(&mut url)?;
    let options = PgConnectOptions::from_url(&url);
    let mut options = options.map_err(|_| StoreError::Url("one of its parameters has a value that cannot be used"))?;
    if !named(&url, "application_name") {
        options = options.application_name("portcullis");
    }
    if !settings.prepared_statements {
        options = options.statement_cache_capacity(0);
    }
    Ok(Parsed {
        options: options.disable_statement_logging(),
        for_changes,
    })
}

/// The driver does not know this parameter, and would log it.
fn take_session_attributes(url: &mut Url) -> Result<Option<bool>, StoreError> {
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let (ours, others): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|(key, _)| key == SESSION_ATTRIBUTES);
    let Some((_, value)) = ours.last() else {
        return Ok(None);
    };
    let for_changes = match value.as_str() {
        "any" => false,
        "read-write" | "primary" => true,
        _ => return Err(StoreError::Url("target_session_attrs is read-write, primary or any")),
    };
    if others.is_empty() {
        url.set_query(None);
    } else {
        url.query_pairs_mut().clear().extend_pairs(others);
    }
    Ok(Some(for_changes))
}

/// At most `most` connections.
pub(super) fn pool(servers: &Arc<Servers>, most: u32, clock: Clock) -> Arc<PgPool> {
    let (servers, era) = (Arc::clone(servers), servers.era());
    let connect = move || -> BoxFuture<'static, Result<PgConnection, sqlx::Error>> {
        let servers = Arc::clone(&servers);
        Box::pin(async move { servers.connect().await })
    };
    Pool::new(Box::new(connect), most, Some(LIMITS), clock, era)
}
