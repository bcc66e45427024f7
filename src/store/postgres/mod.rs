//! State on a Postgres server, shared by any number of gateways.

mod browsers;
mod connect;
mod events;
mod feed;
mod imports;
mod instances;
mod managing;
mod migrate;
mod moment;
mod openings;
mod passes;
mod passwords;
mod rows;
mod servers;
mod sessions;
mod statements;
mod sweeps;
mod throttles;
mod tombstones;
mod touches;
mod users;

use super::Call;
use super::Place;
use super::Settings;
use super::Store;
use super::StoreError;
use super::columns;
use super::pool::Pool;
use super::records::{
    Added, Counts, Credentials, Ended, Found, NewUser, PasswordChange, RecordedEvent, UserChange, Which,
};
use super::sweeps::Sweep;
use super::sweeps::SweepScope;
use super::throttles::{Admission, Ban, Cell, WhichBans};
use super::touches::Touch;
use super::touches::Touched;
use super::work;
use super::work::Work;
use super::work::within;
use crate::clock::Clock;
use crate::model::Digest;
use crate::model::Event;
use crate::model::NewSession;
use crate::model::PublicId;
use crate::model::Timestamp;
use crate::model::User;
use crate::model::UserId;
use crate::model::Username;
pub(super) use feed::Listening;
use secrecy::SecretString;
use servers::Servers;
pub use servers::each_server;
use sqlx::AssertSqlSafe;
use sqlx::PgConnection;
use sqlx::Row;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use statements::Statements;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use time::OffsetDateTime;

type PgPool = Pool<PgConnection>;
type Begun = Work<sqlx::Postgres>;

/// How long migrations may take, waiting for another instance's included.
const MIGRATIONS: Duration = Duration::from_mins(10);

/// A Postgres server.
pub(super) struct Postgres {
    sql: Statements,
    /// Look-ups have connections of their own, so that nothing slow stands before them.
    lookups: Arc<PgPool>,
    others: Arc<PgPool>,
    /// Heartbeats of the feed, which are to be late only when everything is.
    beats: Arc<PgPool>,
    listening: Listening,
    limit: Duration,
    named_statements: bool,
    /// Name of the lock under which users are added.
    names_lock: String,
    /// Name of the lock under which expired sessions are removed.
    sweep_lock: String,
    /// For migrations, past any pooler.
    direct: Arc<Servers>,
    schema: String,
    migrate: bool,
    ready: AtomicBool,
    description: String,
}

/// Every statement on tables in `schema`, by name; for the test that prepares them all.
#[must_use]
pub fn statements(schema: &str) -> Vec<(&'static str, String)> {
    Statements::in_schema(schema).all()
}

/// Connections to an application's own database.
pub(super) fn application_pool(
    url: &SecretString,
    settings: &Settings,
    clock: Clock,
) -> Result<Arc<PgPool>, StoreError> {
    let servers = Arc::new(Servers::of(url, settings)?);
    Ok(connect::pool(&servers, settings.max_connections, clock))
}

/// How to listen to an application's own database.
pub(super) fn application_listening(url: &SecretString, settings: &Settings) -> Result<Listening, StoreError> {
    let servers = Arc::new(Servers::of(url, settings)?);
    let end_backends = Statements::in_schema("").end_backends;
    let (limit, named) = (settings.call_timeout, settings.prepared_statements);
    Ok(Listening::new(servers, limit, end_backends, named))
}

/// See [`super::describe`].
pub(super) fn describe(url: &SecretString, schema: &str, settings: &Settings) -> Option<String> {
    Some(Servers::of(url, settings).ok()?.describe(schema))
}

/// Where an application's own database is, and who reads it.
pub(super) fn describe_application(url: &SecretString, settings: &Settings) -> Option<String> {
    Some(Servers::of(url, settings).ok()?.describe_reader())
}

/// See [`super::is_same`].
pub(super) fn whereabouts(url: &SecretString, schema: &str, settings: &Settings) -> Option<String> {
    Some(Servers::of(url, settings).ok()?.whereabouts(schema))
}

impl Postgres {
    /// Connects to nothing yet.
    pub(super) fn new(settings: &Settings, clock: Clock) -> Result<Self, StoreError> {
        let Place::Postgres {
            url,
            direct_url,
            schema,
        } = &settings.place
        else {
            return Err(StoreError::Url("it names no Postgres server"));
        };
        let servers = Arc::new(Servers::of(url, settings)?);
        let direct = match direct_url {
            Some(url) => Arc::new(Servers::of(url, settings)?),
            None => Arc::clone(&servers),
        };
        let lookups = (settings.max_connections / 4).max(1);
        let others = settings.max_connections.saturating_sub(lookups).max(1);
        let sql = Statements::in_schema(schema);
        Ok(Self {
            lookups: connect::pool(&servers, lookups, clock.clone()),
            others: connect::pool(&servers, others, clock.clone()),
            beats: connect::pool(&servers, 1, clock),
            listening: Listening::new(
                Arc::clone(&direct),
                settings.call_timeout,
                Arc::clone(&sql.end_backends),
                settings.prepared_statements,
            ),
            limit: settings.call_timeout,
            named_statements: settings.prepared_statements,
            names_lock: format!("portcullis users {schema}"),
            sweep_lock: format!("portcullis sweep {schema}"),
            description: servers.describe(schema),
            direct,
            sql,
            schema: schema.clone(),
            migrate: settings.migrate,
            ready: AtomicBool::new(false),
        })
    }

    fn query(&self, sql: &Arc<str>) -> Query<'static, sqlx::Postgres, PgArguments> {
        sqlx::query(AssertSqlSafe(Arc::clone(sql))).persistent(self.named_statements)
    }

    async fn read(
        &self,
        pool: &Arc<PgPool>,
        table: &'static str,
        query: impl Fn() -> Query<'static, sqlx::Postgres, PgArguments>,
    ) -> Result<Vec<PgRow>, StoreError> {
        self.check_ready()?;
        if self.named_statements {
            return work::read::<sqlx::Postgres>(pool, table, query).await;
        }
        // The driver describes a statement before it runs it, and without a transaction a pooler may have the two done by
        // two server processes.
        let mut work = Work::begin(pool, table, "BEGIN").await?;
        let outcome = work.rows(table, query()).await;
        work.settle(outcome).await
    }

    async fn begin(&self, table: &'static str) -> Result<Begun, StoreError> {
        self.check_ready()?;
        Work::begin(&self.others, table, "BEGIN").await
    }

    fn check_ready(&self) -> Result<(), StoreError> {
        let ready = self.ready.load(Ordering::Acquire);
        ready.then_some(()).ok_or(StoreError::NotReady)
    }

    async fn make_ready(&self) -> Result<(), StoreError> {
        if self.check_ready().is_ok() {
            return Ok(());
        }
        let due = within(self.limit, migrate::due(self)).await?;
        if !due.is_empty() {
            if !self.migrate {
                return Err(StoreError::Pending(due.len()));
            }
            migrate::apply(self).await?;
        }
        self.ready.store(true, Ordering::Release);
        Ok(())
    }

    async fn ask_now(&self) -> Result<Timestamp, StoreError> {
        let found = self.read(&self.others, "clock", || self.query(&self.sql.now)).await?;
        let row = found.first().ok_or(StoreError::on("clock", sqlx::Error::RowNotFound))?;
        rows::now(row).map_err(|error| StoreError::on("clock", error))
    }

    async fn ask_count(&self, now: Timestamp) -> Result<Counts, StoreError> {
        let query = || self.query(&self.sql.count).bind(OffsetDateTime::from(now));
        let found = self.read(&self.others, "sessions", query).await?;
        let row = found
            .first()
            .ok_or(StoreError::on("sessions", sqlx::Error::RowNotFound))?;
        let number = |column| row.try_get(column).map(columns::unsigned);
        let failed = |error| StoreError::on("sessions", error);
        Ok(Counts {
            users: number("users").map_err(failed)?,
            sessions: number("sessions").map_err(failed)?,
        })
    }
}

impl Store for Postgres {
    fn prepare(&self) -> Call<'_, ()> {
        within(MIGRATIONS, self.make_ready())
    }
    fn find_session<'a>(&'a self, digest: &'a Digest) -> Call<'a, Option<Found>> {
        within(self.limit, sessions::find(self, digest))
    }
    fn find_sessions<'a>(&'a self, digests: &'a [Digest]) -> Call<'a, Vec<Found>> {
        within(self.limit, browsers::find_all(self, digests))
    }
    fn name_device<'a>(&'a self, digest: &'a Digest, name: &'a str, event: Event) -> Call<'a, bool> {
        within(self.limit, browsers::name_device(self, digest, name, event))
    }
    fn open_session(&self, new: NewSession, event: Event) -> Call<'_, Vec<Ended>> {
        within(self.limit, openings::open(self, new, event))
    }
    fn end_sessions(&self, which: Which, event: Event) -> Call<'_, Vec<Ended>> {
        within(self.limit, async move { sessions::end(self, &which, event).await })
    }
    fn touch_sessions<'a>(&'a self, touches: &'a [Touch], apart: Duration) -> Call<'a, Vec<Touched>> {
        within(self.limit, touches::touch(self, touches, apart))
    }
    fn sweep_sessions(&self, scope: SweepScope, now: Timestamp, limit: u32) -> Call<'_, Option<u64>> {
        within(self.limit, sweeps::sweep(self, scope, now, limit))
    }
    fn record_sweep(&self, sweep: Sweep) -> Call<'_, ()> {
        within(self.limit, sweeps::record(self, sweep))
    }
    fn last_sweeps(&self, limit: u32) -> Call<'_, Vec<Sweep>> {
        within(self.limit, sweeps::last(self, limit))
    }
    fn list_sessions(&self, user: Option<UserId>, after: Option<PublicId>, limit: u32) -> Call<'_, Vec<Found>> {
        within(self.limit, sessions::list(self, user, after, limit))
    }
    fn find_session_by_public_id(&self, id: PublicId) -> Call<'_, Option<Found>> {
        within(self.limit, sessions::find_by_public_id(self, id))
    }
    fn add_user(&self, new: NewUser, event: Event) -> Call<'_, ()> {
        within(self.limit, users::add(self, new, event))
    }
    fn add_users(&self, new: Vec<(NewUser, Event)>, dry_run: bool) -> Call<'_, Vec<Added>> {
        within(self.limit, users::add_all(self, new, dry_run))
    }
    fn replace_password(
        &self,
        user: UserId,
        before: SecretString,
        after: SecretString,
        event: Event,
    ) -> Call<'_, bool> {
        let change = PasswordChange { before, after };
        within(self.limit, passwords::replace(self, user, change, event))
    }
    fn change_password(&self, new: NewSession, change: PasswordChange, event: Event) -> Call<'_, Option<Vec<Ended>>> {
        within(self.limit, passwords::change(self, new, change, event))
    }
    fn find_credentials<'a>(&'a self, login: &'a str) -> Call<'a, Option<Credentials>> {
        within(self.limit, users::find_credentials(self, login))
    }
    fn find_user<'a>(&'a self, username: &'a Username) -> Call<'a, Option<User>> {
        within(self.limit, users::find(self, username))
    }
    fn list_users<'a>(
        &'a self,
        search: Option<&'a str>,
        after: Option<&'a Username>,
        limit: u32,
    ) -> Call<'a, Vec<User>> {
        within(self.limit, users::list(self, search, after, limit))
    }
    fn change_user(&self, user: UserId, change: UserChange, event: Event) -> Call<'_, Vec<Ended>> {
        within(self.limit, users::change(self, user, change, event))
    }
    fn delete_user(&self, user: UserId, event: Event) -> Call<'_, Vec<Ended>> {
        within(self.limit, users::delete(self, user, event))
    }
    fn record(&self, event: Event) -> Call<'_, ()> {
        within(self.limit, events::record(self, event))
    }
    fn list_events(&self, user: Option<UserId>, limit: u32) -> Call<'_, Vec<RecordedEvent>> {
        within(self.limit, events::list(self, user, limit))
    }
    fn admit<'a>(&'a self, cells: &'a [Cell], now: Timestamp, ban: &'a Event) -> Call<'a, Admission> {
        within(self.limit, throttles::admit(self, cells, now, ban))
    }
    fn give_back<'a>(&'a self, cells: &'a [Cell]) -> Call<'a, ()> {
        within(self.limit, throttles::give_back(self, cells))
    }
    fn free_at<'a>(&'a self, bucket: &'a str) -> Call<'a, Option<Timestamp>> {
        within(self.limit, throttles::free_at(self, bucket))
    }
    fn list_bans<'a>(&'a self, now: Timestamp, after: Option<&'a str>, limit: u32) -> Call<'a, Vec<Ban>> {
        within(self.limit, throttles::list(self, now, after, limit))
    }
    fn lift_bans<'a>(&'a self, which: &'a WhichBans, event: &'a Event) -> Call<'a, Vec<String>> {
        within(self.limit, throttles::lift(self, which, event))
    }
    fn forget_cells(&self, now: Timestamp, limit: u32) -> Call<'_, u64> {
        within(self.limit, throttles::forget(self, now, limit))
    }
    fn now(&self) -> Call<'_, Timestamp> {
        within(self.limit, self.ask_now())
    }
    fn data_version(&self) -> Call<'_, Option<i64>> {
        Box::pin(std::future::ready(Ok(None)))
    }
    fn count(&self, now: Timestamp) -> Call<'_, Counts> {
        within(self.limit, self.ask_count(now))
    }
    fn migrate(&self, dry_run: bool) -> Call<'_, Vec<String>> {
        within(MIGRATIONS, async move {
            if dry_run {
                let due = within(self.limit, migrate::due(self)).await?;
                return Ok(super::migrate::names(&due));
            }
            migrate::apply(self).await
        })
    }
    fn description(&self) -> String {
        self.description.clone()
    }
    fn close(&self) -> Call<'_, ()> {
        within(self.limit, async move {
            self.lookups.close().await;
            self.others.close().await;
            self.beats.close().await;
            Ok(())
        })
    }
}
