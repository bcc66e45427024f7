//! What an application's database tells as it happens, where the owner of its tables let it.

use super::LegacySettings;
use super::TABLE;
use super::catalog::Catalog;
use super::ddl::Ddl;
use super::ddl::Relation;
use super::ddl::Teller;
use super::failed;
use super::sql::quoted_table;
use crate::clock::Clock;
use crate::model::Timestamp;
use crate::store::Beat;
use crate::store::BeatKey;
use crate::store::Call;
use crate::store::Settings;
use crate::store::StoreError;
use crate::store::Subscription;
use crate::store::pool::Pool;
use crate::store::postgres::Listening;
use crate::store::postgres::application_listening;
use crate::store::postgres::application_pool;
use crate::store::work;
use crate::store::work::within;
use aws_lc_rs::digest;
use sqlx::AssertSqlSafe;
use sqlx::PgConnection;
use sqlx::Row;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

/// A table that may have the trigger is a plain one: rows of others can go without a word to it.
const RELATION: &str = "SELECT n.nspname::text AS schema, c.relname::text AS name, c.relkind = 'r' AND NOT EXISTS \
    (SELECT 1 FROM pg_catalog.pg_inherits AS i WHERE c.oid IN (i.inhrelid, i.inhparent)) AS plain \
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
    WHERE c.oid = to_regclass($1)";
/// `$1` and `$2` are the tables, `$3` the function with its schema, `$4` the digest of its text, `$5` and `$6` the
/// arguments of its triggers.
const TRIGGERS: &str = "(SELECT count(*) AS there, count(*) FILTER (WHERE t.tgenabled IN ('O', 'A') \
        AND t.tgargs IN ($5, $6) AND sha256(convert_to(p.prosrc, 'UTF8')) = $4) AS current \
    FROM pg_catalog.pg_trigger AS t JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid \
    JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace \
    WHERE t.tgrelid IN (to_regclass($1), to_regclass($2)) AND n.nspname || '.' || p.proname = $3) AS triggers";
/// As the store's own, with the triggers that count here. `$7` is the channel, `$8` the key, `$9` how many they are.
const BEAT: &str = "SELECT CASE WHEN current < $9 THEN 'untold' WHEN pg_notification_queue_usage() >= 0.5 THEN 'full' \
        ELSE 'sent' || pg_notify($7, 'h:' || moment || ':' || \
            left(encode(sha256($8 || sha256($8 || convert_to(moment, 'UTF8'))), 'hex'), 32))::text END AS outcome \
    FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint::text AS moment OFFSET 0) AS told, {triggers}";
const NOW: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now";

/// Whether changes of a table are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// They are, by the trigger that belongs to this configuration.
    Current,
    /// They are not.
    Absent,
    /// There is a trigger: an older one, that of another configuration, or one that is switched off.
    Other,
    /// This table can have none.
    Impossible,
}

/// Why there is no trigger to print.
#[derive(Debug, thiserror::Error)]
pub enum DdlError {
    /// No such table.
    #[error("there is no table {0} in the application's database")]
    NoTable(String),
    /// No trigger can see all changes.
    #[error(
        "{0} is a view, a foreign table, partitioned, or inherits: no trigger sees every row that goes, so log-outs count \
         after `max_age`"
    )]
    NotPlain(String),
    /// Could not ask.
    #[error("the application's database cannot be asked")]
    Store(#[from] StoreError),
}

/// Listens to what is told of one application's table.
pub struct LegacyFeed {
    settings: LegacySettings,
    /// Heartbeats, which are to be late only when everything is.
    pool: Arc<Pool<PgConnection>>,
    listening: Listening,
    beat: Arc<str>,
    teller: Mutex<Option<Arc<Teller>>>,
}

impl LegacyFeed {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// The URL cannot be used.
    pub fn new(settings: LegacySettings, clock: Clock) -> Result<Self, StoreError> {
        let connecting = Settings {
            max_connections: 1,
            ..settings.connecting()
        };
        Ok(Self {
            pool: application_pool(&settings.url, &connecting, clock)?,
            listening: application_listening(&settings.url, &connecting)?,
            beat: BEAT.replace("{triggers}", TRIGGERS).into(),
            teller: Mutex::default(),
            settings,
        })
    }

    /// What the owner of the table may run.
    ///
    /// # Errors
    /// See [`DdlError`].
    pub async fn ddl(&self) -> Result<Ddl, DdlError> {
        Ok(self.read_teller().await?.ddl())
    }

    /// Whether the trigger is there and the one that [`LegacyFeed::ddl`] makes.
    ///
    /// # Errors
    /// Could not ask, or there is no such table.
    pub async fn trigger(&self) -> Result<Trigger, DdlError> {
        let teller = match self.read_teller().await {
            Ok(teller) => teller,
            Err(DdlError::NotPlain(_)) => return Ok(Trigger::Impossible),
            Err(error) => return Err(error),
        };
        let ask = within(self.settings.call_timeout, async {
            let sql: Arc<str> = format!("SELECT there, current FROM {TRIGGERS}").into();
            let query = || about(&teller, self.query(&sql));
            let rows = work::read::<sqlx::Postgres>(&self.pool, TABLE, query).await?;
            let row = rows.first().ok_or_else(|| failed(sqlx::Error::RowNotFound))?;
            let number = |name| row.try_get::<i64, _>(name).map_err(failed);
            Ok((number("there")?, number("current")?))
        });
        let (there, current) = ask.await?;
        let standing = match (there, current >= teller.triggers()) {
            (0, _) => Trigger::Absent,
            (_, true) => Trigger::Current,
            (_, false) => Trigger::Other,
        };
        *self.lock() = Some(teller);
        Ok(standing)
    }

    /// Listens, as [`crate::store::Feed::listen`]. To be called after [`LegacyFeed::trigger`] found the current one.
    pub fn listen(&self) -> Call<'_, Box<dyn Subscription>> {
        within(self.settings.call_timeout, async {
            let teller = self.known_teller()?;
            self.listening.open(&teller.name).await
        })
    }

    /// Sends a heartbeat unless the triggers tell nothing, as [`crate::store::Feed::beat`]. Any role may.
    pub fn beat(&self, key: BeatKey) -> Call<'_, Beat> {
        within(self.settings.call_timeout, async move {
            let teller = self.known_teller()?;
            let query = || {
                let query = about(&teller, self.query(&self.beat)).bind(teller.name.clone());
                query.bind(key.as_bytes().as_slice()).bind(teller.triggers())
            };
            let rows = work::read::<sqlx::Postgres>(&self.pool, TABLE, query).await?;
            let outcome = rows.first().map(|row| row.try_get::<String, _>("outcome")).transpose();
            Ok(Beat::of(outcome.map_err(failed)?.as_deref()))
        })
    }

    /// The time of the application's database.
    pub fn now(&self) -> Call<'_, Timestamp> {
        within(self.settings.call_timeout, async {
            let query = || sqlx::query(NOW).persistent(self.settings.prepared_statements);
            let rows = work::read::<sqlx::Postgres>(&self.pool, TABLE, query).await?;
            let row = rows.first().ok_or_else(|| failed(sqlx::Error::RowNotFound))?;
            row.try_get("now").map(Timestamp::from_micros).map_err(failed)
        })
    }

    async fn read_teller(&self) -> Result<Arc<Teller>, DdlError> {
        let limit = self.settings.call_timeout;
        let sessions = within(limit, self.relation(&self.settings.table)).await?;
        let sessions = plain(sessions, &self.settings.table)?;
        let users = match &self.settings.users {
            Some(users) => Some(plain(within(limit, self.relation(&users.table)).await?, &users.table)?),
            None => None,
        };
        let read = within(limit, async {
            let catalog = Catalog::read(&self.pool, &self.settings).await?;
            Teller::new(&self.settings, &catalog, sessions, users)
        });
        Ok(Arc::new(read.await?))
    }

    /// A table as the database knows it, and whether it is a plain one.
    async fn relation(&self, table: &str) -> Result<Option<(Relation, bool)>, StoreError> {
        let quoted = quoted_table(table);
        let query = || sqlx::query(RELATION).bind(quoted.clone()).persistent(false);
        let rows = work::read::<sqlx::Postgres>(&self.pool, TABLE, query).await?;
        let found = rows.first().map(|row| {
            let relation = Relation {
                schema: row.try_get("schema")?,
                name: row.try_get("name")?,
            };
            Ok((relation, row.try_get("plain")?))
        });
        found.transpose().map_err(failed)
    }

    fn known_teller(&self) -> Result<Arc<Teller>, StoreError> {
        self.lock().clone().ok_or(StoreError::NotReady)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<Teller>>> {
        self.teller.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn query(&self, sql: &Arc<str>) -> Query<'static, sqlx::Postgres, PgArguments> {
        sqlx::query(AssertSqlSafe(Arc::clone(sql))).persistent(self.settings.prepared_statements)
    }
}

fn plain(found: Option<(Relation, bool)>, table: &str) -> Result<Relation, DdlError> {
    match found {
        Some((relation, true)) => Ok(relation),
        Some((_, false)) => Err(DdlError::NotPlain(table.to_owned())),
        None => Err(DdlError::NoTable(table.to_owned())),
    }
}

/// The first six values of [`TRIGGERS`].
fn about<'q>(teller: &Teller, query: Query<'q, sqlx::Postgres, PgArguments>) -> Query<'q, sqlx::Postgres, PgArguments> {
    let users = teller.users.as_ref().unwrap_or(&teller.sessions);
    let text = digest::digest(&digest::SHA256, teller.body.as_bytes());
    let [sessions_args, users_args] = teller.arguments();
    query
        .bind(teller.sessions.quoted())
        .bind(users.quoted())
        .bind(format!("{}.{}", teller.sessions.schema, teller.name))
        .bind(text.as_ref().to_vec())
        .bind(sessions_args)
        .bind(users_args)
}
