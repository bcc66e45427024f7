//! Connections at rest and on loan.
//!
//! sqlx has a pool, but it asks the server once more after every call (without a deadline, so that a server that stops
//! answering keeps the connection for ever), and tries a refused connection again until its time is over, so that an
//! outage costs every request the whole time of a call. Here a connection that is not given back is closed: a call that
//! is dropped half-way, timed out or failed leaves nothing behind in the pool.

use super::StoreError;
use super::error::is_broken;
use super::error::is_read_only;
use crate::clock::Clock;
use futures_util::future::BoxFuture;
use sqlx::Connection;
use std::ops::Deref;
use std::ops::DerefMut;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;

/// Calls that may wait for a connection of one pool; by then those at the end would be late anyway.
const MOST_WAITING: usize = 4096;

/// Makes a connection.
pub(super) type Connect<C> = Box<dyn Fn() -> BoxFuture<'static, Result<C, sqlx::Error>> + Send + Sync>;

/// At most so many connections to one place.
pub(super) struct Pool<C> {
    connect: Connect<C>,
    permits: Arc<Semaphore>,
    waiting: Semaphore,
    resting: Mutex<Vec<Kept<C>>>,
    limits: Option<Limits>,
    made: AtomicU64,
    clock: Clock,
    era: Arc<AtomicU64>,
}

struct Kept<C> {
    connection: C,
    serial: u64,
    era: u64,
    born: Duration,
    since: Duration,
}

/// How long a connection is used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Longest time at rest: firewalls forget silent connections without a word.
    pub(super) rest: Duration,
    /// Longest life: after it a name may lead to another server.
    pub(super) life: Duration,
}

impl<C: Connection> Pool<C> {
    /// At most `most` connections; one beyond `limits` is not used again, nor one that was made before `era` moved. Several
    /// pools may share an era.
    pub(super) fn new(
        connect: Connect<C>,
        most: u32,
        limits: Option<Limits>,
        clock: Clock,
        era: Arc<AtomicU64>,
    ) -> Arc<Self> {
        Arc::new(Self {
            connect,
            permits: Arc::new(Semaphore::new(usize::try_from(most).unwrap_or(1).max(1))),
            waiting: Semaphore::new(MOST_WAITING),
            resting: Mutex::new(Vec::new()),
            limits,
            made: AtomicU64::new(0),
            clock,
            era,
        })
    }

    /// A connection, waited for or made. The caller's deadline bounds the wait.
    pub(super) async fn lease(self: &Arc<Self>) -> Result<Lease<C>, StoreError> {
        let place = self.waiting.try_acquire().map_err(|_| StoreError::TimedOut)?;
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        drop(place);
        let permit = permit.map_err(|_| StoreError::Unreachable(sqlx::Error::PoolClosed))?;
        let used = self.take_rested();
        let fresh = used.is_none();
        let kept = match used {
            Some(kept) => kept,
            None => self.make().await.map_err(StoreError::Unreachable)?,
        };
        Ok(Lease {
            kept: Some(kept),
            pool: Arc::clone(self),
            permit,
            fresh,
        })
    }

    /// Closes every connection at rest; leased ones are closed when they come back.
    pub(super) async fn close(&self) {
        self.permits.close();
        let resting = std::mem::take(&mut *self.lock());
        for kept in resting {
            // Nothing is lost when the other side is gone already.
            drop(kept.connection.close().await);
        }
    }

    async fn make(&self) -> Result<Kept<C>, sqlx::Error> {
        // Before connecting: where the era moves meanwhile, nobody knows to which server this one leads.
        let era = self.era();
        let connection = (self.connect)().await?;
        let now = self.clock.elapsed();
        Ok(Kept {
            connection,
            era,
            serial: self.made.fetch_add(1, Ordering::Relaxed),
            born: now,
            since: now,
        })
    }

    /// The one used last, so that those not needed grow old and are closed.
    fn take_rested(&self) -> Option<Kept<C>> {
        let mut resting = self.lock();
        let now = self.clock.elapsed();
        let era = self.era();
        resting.retain(|kept| kept.era == era);
        if let Some(Limits { rest, life }) = self.limits {
            let ago = |then| now.saturating_sub(then);
            resting.retain(|kept| ago(kept.since) <= rest && ago(kept.born) <= life);
        }
        resting.pop()
    }

    fn era(&self) -> u64 {
        self.era.load(Ordering::Relaxed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Kept<C>>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection on loan. Closed when dropped; [`Lease::give_back`] is for connections that can go on.
pub(super) struct Lease<C: Connection> {
    kept: Option<Kept<C>>,
    pool: Arc<Pool<C>>,
    permit: OwnedSemaphorePermit,
    fresh: bool,
}

impl<C: Connection> Lease<C> {
    /// Puts the connection to rest for the next call.
    pub(super) fn give_back(mut self) {
        if let Some(mut kept) = self.kept.take()
            && !self.pool.permits.is_closed()
            && kept.era == self.pool.era()
        {
            kept.since = self.pool.clock.elapsed();
            self.pool.lock().push(kept);
        }
        drop(self.permit);
    }

    /// Whether `error` may come only of this connection having rested: the server was restarted meanwhile. Then all
    /// others at rest broke with it and are dropped here.
    pub(super) fn was_stale(&self, error: &sqlx::Error) -> bool {
        let stale = !self.fresh && is_broken(error);
        if stale {
            self.pool.lock().clear();
        }
        stale
    }

    /// Whether `error` says that the server takes no changes any more although it did when this connection was made: then it
    /// was replaced by another, and nothing that was connected until now is used again, look-ups included.
    pub(super) fn was_demoted(&self, error: &sqlx::Error) {
        if !self.fresh && is_read_only(error) {
            self.pool.era.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A number that no other connection of this pool had.
    pub(super) fn serial(&self) -> u64 {
        self.kept.as_ref().map_or(0, |kept| kept.serial)
    }
}

impl<C: Connection> Deref for Lease<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self
            .kept
            .as_ref()
            .expect("taken only by give_back, which ends the lease")
            .connection
    }
}

impl<C: Connection> DerefMut for Lease<C> {
    fn deref_mut(&mut self) -> &mut C {
        &mut self
            .kept
            .as_mut()
            .expect("taken only by give_back, which ends the lease")
            .connection
    }
}
