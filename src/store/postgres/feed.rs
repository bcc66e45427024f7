use super::Postgres;
use super::servers::Servers;
use super::statements::quoted;
use crate::store::BeatKey;
use crate::store::Call;
use crate::store::StoreError;
use crate::store::feed::Beat;
use crate::store::feed::Feed;
use crate::store::feed::FeedMessage;
use crate::store::feed::Subscription;
use crate::store::feed::channel;
use crate::store::work::within;
use sqlx::AssertSqlSafe;
use sqlx::Connection;
use sqlx::Executor;
use sqlx::PgConnection;
use sqlx::Row;
use sqlx::postgres::PgConnectOptions;
use sqlx::postgres::PgListener;
use sqlx::postgres::PgPoolOptions;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::runtime::Handle;

const TABLE: &str = "feed";
/// Attempts to catch a pooler in the act: whether it gives one server process to two clients depends on who else is
/// served at that moment.
const CATCHES: usize = 3;
/// Most server processes that are remembered to be ended.
const MOST_LEFT: usize = 16;

/// Server processes that listen although nobody hears them: behind a connection that died without a word, or behind a
/// pooler, where they would go on to tell other clients.
pub(super) type Left = Arc<Mutex<Vec<Backend>>>;

/// A server process: its id, and when it began, because ids come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Backend {
    id: i32,
    began: String,
}

impl Feed for Postgres {
    fn listen(&self) -> Call<'_, Option<Box<dyn Subscription>>> {
        within(self.limit, async move {
            self.check_ready()?;
            self.listening.open(&channel(&self.schema)).await.map(Some)
        })
    }

    fn beat(&self, key: BeatKey) -> Call<'_, Beat> {
        within(self.limit, async move {
            let query = || {
                let query = self.query(&self.sql.beat).bind(channel(&self.schema));
                query.bind(key.as_bytes().as_slice()).bind(self.schema.as_str())
            };
            let rows = self.read(&self.beats, TABLE, query).await?;
            let outcome = rows.first().map(|row| row.try_get::<String, _>("outcome")).transpose();
            Ok(Beat::of(outcome.map_err(failed)?.as_deref()))
        })
    }
}

/// How one listens: on a connection of its own, and never behind a pooler that would lose it.
pub(in crate::store) struct Listening {
    servers: Arc<Servers>,
    limit: Duration,
    end_backends: Arc<str>,
    named_statements: bool,
    left: Left,
}

impl Listening {
    pub(super) fn new(servers: Arc<Servers>, limit: Duration, end_backends: Arc<str>, named_statements: bool) -> Self {
        Self {
            servers,
            limit,
            end_backends,
            named_statements,
            left: Left::default(),
        }
    }

    /// Listens on `channel`. The caller's deadline bounds the wait.
    pub(in crate::store) async fn open(&self, channel: &str) -> Result<Box<dyn Subscription>, StoreError> {
        // The driver's listener would try a refused connection until its time is over, and knows one server only.
        let mut other = self.servers.connect().await.map_err(StoreError::Unreachable)?;
        self.end_left(&mut other).await?;
        let server = self.servers.current().ok_or(StoreError::TimedOut)?;
        let mut listener = Listener::connect(server, self.limit, Arc::clone(&self.left)).await?;
        for _ in 0..CATCHES {
            if is_shared(&mut listener, &mut other).await? {
                return Err(StoreError::Pooled);
            }
        }
        drop(other.close().await);
        listener.listen(channel).await?;
        Ok(Box::new(listener))
    }

    /// Ends what was left listening, but for those that serve somebody at this moment.
    async fn end_left(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        let left = std::mem::take(&mut *lock(&self.left));
        if left.is_empty() {
            return Ok(());
        }
        let gone = self.end_backends(connection, &left).await;
        let busy = |backend: &Backend| gone.as_ref().map_or(true, |busy| busy.contains(&backend.id));
        lock(&self.left).extend(left.into_iter().filter(busy));
        gone.map(drop).map_err(failed)
    }

    /// The ids of those that are still there.
    async fn end_backends(&self, connection: &mut PgConnection, which: &[Backend]) -> Result<Vec<i32>, sqlx::Error> {
        let ids: Vec<i32> = which.iter().map(|backend| backend.id).collect();
        let began: Vec<String> = which.iter().map(|backend| backend.began.clone()).collect();
        let mut work = connection.begin().await?;
        let query = sqlx::query(AssertSqlSafe(Arc::clone(&self.end_backends))).persistent(self.named_statements);
        let query = query.bind(ids).bind(began);
        let rows = query.fetch_all(&mut *work).await?;
        work.commit().await?;
        let mut left = Vec::new();
        for row in &rows {
            if !row.try_get::<bool, _>("ended")? {
                left.push(row.try_get("id")?);
            }
        }
        Ok(left)
    }
}

/// Whether a pooler gives one server process to two clients. To be known before LISTEN: the process would keep it, and tell
/// whoever is given it next, whose driver takes that for an error.
async fn is_shared(listener: &mut Listener, other: &mut PgConnection) -> Result<bool, StoreError> {
    let own = backend(listener.inner()?).await?;
    other.execute("BEGIN").await.map_err(failed)?;
    let held = backend(&mut *other).await?;
    let shared = own == held || backend(listener.inner()?).await? != own;
    other.execute("ROLLBACK").await.map_err(failed)?;
    Ok(shared)
}

/// In the simple protocol, which poolers keep together.
async fn backend<'c>(connection: impl Executor<'c, Database = sqlx::Postgres>) -> Result<i32, StoreError> {
    let row = sqlx::raw_sql("SELECT pg_backend_pid() AS id")
        .fetch_one(connection)
        .await;
    row.and_then(|row| row.try_get("id")).map_err(failed)
}

fn failed(error: sqlx::Error) -> StoreError {
    StoreError::on(TABLE, error)
}

fn lock(left: &Left) -> std::sync::MutexGuard<'_, Vec<Backend>> {
    left.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The driver's listener, which is to say nothing when it goes.
struct Listener {
    inner: Option<PgListener>,
    nowhere: Handle,
    backend: Option<Backend>,
    left: Left,
}

impl Listener {
    async fn connect(options: &PgConnectOptions, limit: Duration, left: Left) -> Result<Self, StoreError> {
        let name = options.get_application_name().unwrap_or("portcullis");
        let options = options.clone().application_name(&format!("{name} feed"));
        // The driver's listener takes connections from the driver's pool only. This one has no tasks and dies with it.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(limit)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(options);
        let nowhere = ended_runtime().map_err(|error| failed(sqlx::Error::Io(error)))?;
        let mut inner = PgListener::connect_with(&pool).await.map_err(failed)?;
        inner.ignore_pool_close_event(true);
        // A new connection would have missed what the old one was told.
        inner.eager_reconnect(false);
        Ok(Self {
            inner: Some(inner),
            nowhere,
            backend: None,
            left,
        })
    }

    fn inner(&mut self) -> Result<&mut PgListener, StoreError> {
        let gone = || StoreError::Unreachable(sqlx::Error::PoolClosed);
        self.inner.as_mut().ok_or_else(gone)
    }

    /// One transaction, so that it is known which server process listens wherever a pooler has it done.
    async fn listen(&mut self, channel: &str) -> Result<(), StoreError> {
        let sql = format!(
            "LISTEN {}; SELECT pid AS id, extract(epoch FROM backend_start)::text AS began FROM pg_stat_activity \
             WHERE pid = pg_backend_pid()",
            quoted(channel)
        );
        let row = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_one(self.inner()?).await;
        let row = row.map_err(failed)?;
        self.backend = Some(Backend {
            id: row.try_get("id").map_err(failed)?,
            began: row.try_get("began").map_err(failed)?,
        });
        Ok(())
    }
}

impl Subscription for Listener {
    fn next(&mut self) -> Call<'_, FeedMessage> {
        Box::pin(async move {
            match self.inner()?.try_recv().await {
                Ok(Some(notification)) => Ok(FeedMessage::parse(notification.payload())),
                // Lost; asked once more, the driver would connect again and tell nobody what went by.
                Ok(None) => {
                    let gone = std::io::Error::from(std::io::ErrorKind::ConnectionAborted);
                    Err(StoreError::Unreachable(sqlx::Error::Io(gone)))
                }
                Err(error) => Err(failed(error)),
            }
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(backend) = self.backend.take() {
            let mut left = lock(&self.left);
            if left.len() >= MOST_LEFT {
                left.remove(0);
            }
            left.push(backend);
        }
        // The driver spawns a farewell, which on a connection that died without a word waits for as long as TCP does (a
        // quarter of an hour). Spawned on a runtime that has ended, it is dropped, and the connection is closed at once.
        let _ended = self.nowhere.enter();
        drop(self.inner.take());
    }
}

fn ended_runtime() -> std::io::Result<Handle> {
    let runtime = Builder::new_current_thread().build()?;
    let handle = runtime.handle().clone();
    runtime.shutdown_background();
    Ok(handle)
}
