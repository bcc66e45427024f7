//! State in one SQLite file, served by one gateway; commands work beside it.

mod browsers;
mod events;
mod file;
mod imports;
mod instances;
mod managing;
mod migrate;
mod openings;
mod passes;
mod passwords;
mod rows;
mod sessions;
mod statements;
mod sweeps;
mod throttles;
mod tombstones;
mod touches;
mod users;

use super::Call;
use super::Role;
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
use secrecy::SecretString;
use sqlx::AssertSqlSafe;
use sqlx::ConnectOptions;
use sqlx::Row;
use sqlx::SqliteConnection;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous};
use statements::Statements;
use std::fs::File;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

type SqlitePool = Pool<SqliteConnection>;
type Begun = Work<sqlx::Sqlite>;

const MIGRATIONS: Duration = Duration::from_mins(10);
const READERS: u32 = 2;

/// A SQLite file.
pub(super) struct Sqlite {
    sql: Statements,
    lookups: Arc<SqlitePool>,
    readers: Arc<SqlitePool>,
    /// SQLite has one writer at a time; one connection makes ours wait in order instead of failing busy.
    writer: Arc<SqlitePool>,
    limit: Duration,
    migrate: bool,
    ready: AtomicBool,
    clock: Clock,
    description: String,
    path: PathBuf,
    /// Held for life by a gateway.
    _lock: Option<File>,
}

/// Every statement, by name; for the test that prepares them all.
#[must_use]
pub fn statements() -> Vec<(&'static str, String)> {
    Statements::new().all()
}

/// See [`super::describe`].
pub(super) fn describe(path: &Path) -> String {
    format!("sqlite {}", path.display())
}

impl Sqlite {
    /// Opens nothing yet, but to serve takes the file's lock.
    pub(super) fn new(settings: &Settings, path: &Path, role: Role, clock: &Clock) -> Result<Self, StoreError> {
        let lock = (role == Role::Gateway).then(|| file::lock(path)).transpose()?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            // With NORMAL a power cut may undo the last commits: a session that was ended would live again.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(settings.call_timeout.mul_f32(0.75))
            .disable_statement_logging();
        let pool = |most| {
            let options = options.clone();
            let connect = move || -> futures_util::future::BoxFuture<'static, _> {
                let options = options.clone();
                Box::pin(async move { options.connect().await })
            };
            Pool::new(Box::new(connect), most, None, clock.clone(), Arc::default())
        };
        Ok(Self {
            sql: Statements::new(),
            lookups: pool(READERS),
            readers: pool(READERS),
            writer: pool(1),
            limit: settings.call_timeout,
            migrate: settings.migrate,
            ready: AtomicBool::new(false),
            clock: clock.clone(),
            description: describe(path),
            path: path.to_owned(),
            _lock: lock,
        })
    }

    fn query(sql: &Arc<str>) -> Query<'static, sqlx::Sqlite, SqliteArguments> {
        sqlx::query(AssertSqlSafe(Arc::clone(sql)))
    }

    async fn read(
        &self,
        pool: &Arc<SqlitePool>,
        table: &'static str,
        query: impl Fn() -> Query<'static, sqlx::Sqlite, SqliteArguments>,
    ) -> Result<Vec<SqliteRow>, StoreError> {
        self.check_ready()?;
        work::read::<sqlx::Sqlite>(pool, table, query).await
    }

    /// A transaction that writes from the start: one that begins by reading may find that another wrote meanwhile.
    async fn begin(&self, table: &'static str) -> Result<Begun, StoreError> {
        self.check_ready()?;
        Work::begin(&self.writer, table, "BEGIN IMMEDIATE").await
    }

    fn check_ready(&self) -> Result<(), StoreError> {
        let ready = self.ready.load(Ordering::Acquire);
        ready.then_some(()).ok_or(StoreError::NotReady)
    }

    async fn make_ready(&self) -> Result<(), StoreError> {
        if self.check_ready().is_ok() {
            return Ok(());
        }
        let due = migrate::due(self).await?;
        if !due.is_empty() {
            if !self.migrate {
                return Err(StoreError::Pending(due.len()));
            }
            migrate::apply(self).await?;
        }
        self.ready.store(true, Ordering::Release);
        Ok(())
    }

    /// Asked on the writer's connection, because the number does not change with the commits of the connection that
    /// asks, and all of ours are made there. Numbers of two connections tell nothing of each other, so a new writer is a
    /// change too.
    async fn ask_data_version(&self) -> Result<Option<i64>, StoreError> {
        const TABLE: &str = "data_version";
        self.check_ready()?;
        let mut lease = self.writer.lease().await?;
        let asked = Self::query(&self.sql.data_version).fetch_one(&mut *lease).await;
        let version: Result<i64, _> = asked.and_then(|row| row.try_get(0));
        let version = version.map_err(|error| StoreError::on(TABLE, error))?;
        let connection = i64::try_from(lease.serial()).unwrap_or(i64::MAX);
        lease.give_back();
        Ok(Some((connection << 32) | (version & 0xffff_ffff)))
    }

    async fn ask_count(&self, now: Timestamp) -> Result<Counts, StoreError> {
        let query = || Self::query(&self.sql.count).bind(now.as_micros());
        let found = self.read(&self.readers, "sessions", query).await?;
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

/// Changes by other processes are seen by [`Store::data_version`].
impl super::Feed for Sqlite {}

impl Store for Sqlite {
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
    /// The machine's clock: the file has none.
    fn now(&self) -> Call<'_, Timestamp> {
        Box::pin(std::future::ready(Ok(self.clock.now())))
    }
    fn data_version(&self) -> Call<'_, Option<i64>> {
        within(self.limit, self.ask_data_version())
    }
    fn count(&self, now: Timestamp) -> Call<'_, Counts> {
        within(self.limit, self.ask_count(now))
    }
    fn migrate(&self, dry_run: bool) -> Call<'_, Vec<String>> {
        within(MIGRATIONS, async move {
            if dry_run {
                return Ok(super::migrate::names(&migrate::due(self).await?));
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
            self.readers.close().await;
            self.writer.close().await;
            Ok(())
        })
    }
}
