use super::connect::parse;
use crate::store::Settings;
use crate::store::StoreError;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use secrecy::ExposeSecret;
use secrecy::SecretString;
use sqlx::AssertSqlSafe;
use sqlx::ConnectOptions;
use sqlx::PgConnection;
use sqlx::Row;
use sqlx::postgres::PgConnectOptions;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// How long one server may be silent before the next is asked as well: long enough for a busy one, and short enough that a
/// fail-over is no outage.
const HEAD_START: Duration = Duration::from_millis(500);

/// A server that must take changes takes none: a standby, or a primary that was demoted.
#[derive(Debug, thiserror::Error)]
#[error("this server takes no changes: it is a standby or read-only")]
struct ReadOnly;

/// The servers that one URL names, of which one is used: the first that takes changes, and the last that did before others.
pub(super) struct Servers {
    each: Vec<PgConnectOptions>,
    /// Whether a server that takes no changes is passed over.
    for_changes: bool,
    /// Sent on every new connection.
    setup: Option<Arc<str>>,
    head_start: Duration,
    preferred: AtomicUsize,
    era: Arc<AtomicU64>,
}

impl Servers {
    /// Those of `url`. The server gives up a statement when we do: else a locked table would gather a server process for
    /// each call that we have long given up. Not behind a pooler, which would hand the setting to others.
    pub(super) fn of(url: &SecretString, settings: &Settings) -> Result<Self, StoreError> {
        let urls = each_server(url.expose_secret());
        let several = urls.len() > 1;
        let mut for_changes = several;
        let mut each = Vec::with_capacity(urls.len());
        for url in &urls {
            let parsed = parse(url, several, settings)?;
            for_changes = parsed.for_changes.unwrap_or(several);
            each.push(parsed.options);
        }
        let milliseconds = settings.call_timeout.as_millis().max(1);
        Ok(Self {
            each,
            for_changes,
            setup: settings
                .prepared_statements
                .then(|| format!("SET statement_timeout = {milliseconds}").into()),
            head_start: HEAD_START.min(settings.call_timeout / 4),
            preferred: AtomicUsize::new(0),
            era: Arc::default(),
        })
    }

    /// Moves whenever another server took the place of the one before: what was connected until then may be to one that
    /// is no longer the primary, and must not be asked again.
    pub(super) fn era(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.era)
    }

    /// A connection to a server that may be used. With several, one that is silent or fails is joined by the next, so that
    /// the caller's deadline is not spent on a machine that is gone.
    pub(super) async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        if let [only] = &self.each[..] {
            return self.connect_to(only).await;
        }
        let first = self.preferred.load(Ordering::Relaxed);
        let mut next = (0..self.each.len()).map(|step| (first + step) % self.each.len());
        let mut trying = FuturesUnordered::new();
        let mut failure = sqlx::Error::PoolClosed;
        let mut first_failure = true;
        loop {
            if let Some(index) = next.next() {
                trying.push(async move { (index, self.connect_to(&self.each[index]).await) });
            }
            let waits = tokio::time::timeout(self.head_start, trying.next());
            let answered = if next.len() > 0 {
                match waits.await {
                    Ok(answered) => answered,
                    Err(_) => continue,
                }
            } else {
                trying.next().await
            };
            match answered {
                Some((index, Ok(connection))) => {
                    self.prefer(index);
                    return Ok(connection);
                }
                Some((_, Err(error))) if std::mem::take(&mut first_failure) => failure = error,
                Some((_, Err(_))) => {}
                None => return Err(failure),
            }
        }
    }

    /// How to connect to the server that was connected to last.
    pub(super) fn current(&self) -> Option<&PgConnectOptions> {
        self.each.get(self.preferred.load(Ordering::Relaxed))
    }

    async fn connect_to(&self, options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
        let mut connection = options.connect().await?;
        if self.for_changes {
            // Both in one round trip. A standby is read-only, and so is a primary that somebody made so.
            let setup = self.setup.as_deref().unwrap_or_default();
            let sql = format!("{setup};SHOW transaction_read_only");
            let row = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_one(&mut connection).await?;
            if row.try_get::<String, _>(0)? != "off" {
                return Err(sqlx::Error::Io(std::io::Error::other(ReadOnly)));
            }
        } else if let Some(setup) = &self.setup {
            let setup = sqlx::raw_sql(AssertSqlSafe(Arc::clone(setup)));
            setup.execute(&mut connection).await?;
        }
        Ok(connection)
    }

    fn prefer(&self, index: usize) {
        if self.preferred.swap(index, Ordering::Relaxed) != index {
            self.era.fetch_add(1, Ordering::Relaxed);
            let server = place(&self.each[index]);
            tracing::info!(
                store.server = server,
                "another server of the database takes the changes"
            );
        }
    }

    /// Hosts, database and user for the log; never a password.
    pub(super) fn describe(&self, schema: &str) -> String {
        format!("{}, schema {schema}", self.describe_reader())
    }

    /// The same of an application's own tables, which may stand in any schema.
    pub(super) fn describe_reader(&self) -> String {
        let user = self.each.first().map_or("", PgConnectOptions::get_username);
        format!("postgres {} as {user}", self.place())
    }

    /// The same without whom it is asked as: where the data is.
    pub(super) fn whereabouts(&self, schema: &str) -> String {
        format!("{} {schema}", self.place())
    }

    fn place(&self) -> String {
        let places: Vec<String> = self.each.iter().map(place).collect();
        let first = self.each.first();
        let database = first.map_or("", |options| options.get_database().unwrap_or(options.get_username()));
        format!("{}/{database}", places.join(","))
    }
}

fn place(options: &PgConnectOptions) -> String {
    match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    }
}

/// One URL for each server of a Postgres URL that names several: `postgres://user@one:5432,two:5432/database`, as libpq
/// writes it. A URL with one server comes back as it is.
#[must_use]
pub fn each_server(url: &str) -> Vec<String> {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |at| start + at);
    let hosts = url[start..end].rfind('@').map_or(start, |at| start + at + 1);
    let each = url[hosts..end].split(',');
    each.map(|host| format!("{}{host}{}", &url[..hosts], &url[end..]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::each_server;

    #[test]
    fn a_url_may_name_several_servers() {
        for (url, each) in [
            (
                "postgres://u:p@one:5432/d?x=a,b",
                vec!["postgres://u:p@one:5432/d?x=a,b"],
            ),
            (
                "postgres://u:a,b@one:1,[::1]:2,three/d",
                vec![
                    "postgres://u:a,b@one:1/d",
                    "postgres://u:a,b@[::1]:2/d",
                    "postgres://u:a,b@three/d",
                ],
            ),
            ("postgres://one,two", vec!["postgres://one", "postgres://two"]),
            ("postgres:///d?host=/run", vec!["postgres:///d?host=/run"]),
            ("no url", vec!["no url"]),
            ("", vec![""]),
        ] {
            assert_eq!(each_server(url), each, "{url}");
        }
    }
}
