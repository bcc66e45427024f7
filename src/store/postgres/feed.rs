use super::Postgres;
use crate::store::Call;
use crate::store::StoreError;
use crate::store::feed::Feed;
use crate::store::feed::FeedMessage;
use crate::store::feed::Subscription;
use crate::store::feed::channel;
use crate::store::work;
use crate::store::work::within;
use sqlx::Connection;
use sqlx::postgres::PgConnectOptions;
use sqlx::postgres::PgListener;
use sqlx::postgres::PgPoolOptions;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::runtime::Handle;

const TABLE: &str = "feed";

impl Feed for Postgres {
    fn listen(&self) -> Call<'_, Option<Box<dyn Subscription>>> {
        within(self.limit, async move {
            self.check_ready()?;
            // The driver's listener would try a refused connection until its time is over, and knows one server only.
            let found = self.direct.connect().await.map_err(StoreError::Unreachable)?;
            drop(found.close().await);
            let server = self.direct.current().ok_or(StoreError::TimedOut)?;
            let listener = Listener::open(server, self.limit, &channel(&self.schema)).await?;
            Ok(Some(Box::new(listener) as Box<dyn Subscription>))
        })
    }

    fn beat(&self) -> Call<'_, ()> {
        within(self.limit, async move {
            self.check_ready()?;
            let query = || self.query(&self.sql.beat).bind(channel(&self.schema));
            let sent = work::read::<sqlx::Postgres>(&self.beats, TABLE, query).await?;
            if sent.is_empty() {
                tracing::debug!("no heartbeat is sent: the server's queue of notifications is half full");
            }
            Ok(())
        })
    }
}

/// The driver's listener, which is to say nothing when it goes.
struct Listener {
    inner: Option<PgListener>,
    nowhere: Handle,
}

impl Listener {
    async fn open(options: &PgConnectOptions, limit: Duration, channel: &str) -> Result<Self, StoreError> {
        let name = options.get_application_name().unwrap_or("portcullis");
        let options = options.clone().application_name(&format!("{name} feed"));
        // The driver's listener takes connections from the driver's pool only. This one has no tasks and dies with it.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(limit)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(options);
        let failed = |error| StoreError::on(TABLE, error);
        let nowhere = ended_runtime().map_err(|error| failed(sqlx::Error::Io(error)))?;
        let inner = PgListener::connect_with(&pool).await.map_err(failed)?;
        let mut this = Self {
            inner: Some(inner),
            nowhere,
        };
        if let Some(inner) = &mut this.inner {
            inner.ignore_pool_close_event(true);
            // A new connection would have missed what the old one was told.
            inner.eager_reconnect(false);
            inner.listen(channel).await.map_err(failed)?;
        }
        Ok(this)
    }
}

impl Subscription for Listener {
    fn next(&mut self) -> Call<'_, FeedMessage> {
        Box::pin(async move {
            let Some(inner) = &mut self.inner else {
                return Err(StoreError::Unreachable(sqlx::Error::PoolClosed));
            };
            match inner.try_recv().await {
                Ok(Some(notification)) => Ok(FeedMessage::parse(notification.payload())),
                // Lost; asked once more, the driver would connect again and tell nobody what went by.
                Ok(None) => {
                    let gone = std::io::Error::from(std::io::ErrorKind::ConnectionAborted);
                    Err(StoreError::Unreachable(sqlx::Error::Io(gone)))
                }
                Err(error) => Err(StoreError::on(TABLE, error)),
            }
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
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
