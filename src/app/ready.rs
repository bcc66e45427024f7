//! Readiness, and the database that is waited for.

use super::herald;
use super::herald::Word;
use crate::admin::Readiness;
use crate::clock::Clock;
use crate::lifecycle::Lifecycle;
use crate::store;
use crate::store::Role;
use crate::store::Store;
use crate::store::StoreError;
use crate::telemetry::Chain;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often a database that was not there at start is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Ready once the store was reached and migrated, until the drain begins. A database that fails later does not make an
/// instance unready: cached sessions go on, and taking every instance away at once would help nobody.
pub(super) struct Ready {
    pub prepared: AtomicBool,
    pub lifecycle: Lifecycle,
}

impl Readiness for Ready {
    fn ready(&self) -> Result<(), &'static str> {
        // Who asks does not know which of two processes answers.
        if self.lifecycle.draining.is_cancelled() && !self.lifecycle.handed_over.is_cancelled() {
            return Err("draining");
        }
        if self.prepared.load(Ordering::Acquire) {
            Ok(())
        } else {
            Err("the database has not been reached yet")
        }
    }
}

/// Says of which database `error` is, where its own words do not.
#[must_use]
pub fn name_store(error: StoreError, settings: &store::Settings) -> anyhow::Error {
    let nameless = !matches!(
        error,
        StoreError::Url(_) | StoreError::InUse(_) | StoreError::File { .. } | StoreError::Taken(_)
    );
    match store::describe(settings).filter(|_| nameless) {
        Some(place) => {
            let told = format!("{error} ({place})");
            anyhow::Error::new(error).context(told)
        }
        None => error.into(),
    }
}

pub(super) async fn open_store(
    settings: &store::Settings,
    clock: &Clock,
    ready: &Arc<Ready>,
) -> Result<Arc<dyn Store>, StoreError> {
    let store = store::open(settings, Role::Gateway, clock.clone()).await?;
    prepare(&store, ready).await?;
    Ok(store)
}

/// Waits for a database that could not be reached at start; requests are answered 503 until it is.
async fn prepare(store: &Arc<dyn Store>, ready: &Arc<Ready>) -> Result<(), StoreError> {
    let mut told = match store.prepare().await {
        Ok(()) => {
            ready.prepared.store(true, Ordering::Release);
            return Ok(());
        }
        Err(error @ (StoreError::Unreachable(_) | StoreError::TimedOut)) => tell(store.as_ref(), &error),
        Err(error) => return Err(error),
    };
    let (store, ready) = (Arc::clone(store), Arc::clone(ready));
    let lifecycle = ready.lifecycle.clone();
    lifecycle.tasks.clone().spawn(async move {
        loop {
            tokio::select! {
                () = tokio::time::sleep(TRY_AGAIN) => {}
                () = lifecycle.soft.cancelled() => return,
            }
            match store.prepare().await {
                Ok(()) => break,
                // A server that is there by now may refuse us for another reason than its absence.
                Err(error @ (StoreError::Unreachable(_) | StoreError::TimedOut)) => {
                    if Chain(&error).to_string() != told {
                        told = tell(store.as_ref(), &error);
                    }
                }
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the database was reached but cannot be used"
                    );
                    lifecycle.fail();
                    return;
                }
            }
        }
        ready.prepared.store(true, Ordering::Release);
        tracing::info!("the database was reached; ready");
        herald::tell(Word::Status(herald::SERVING)).await;
    });
    Ok(())
}

/// Why the database cannot be reached, for the log; returns what was told.
fn tell(store: &dyn Store, error: &StoreError) -> String {
    tracing::warn!(
        store.place = store.description(),
        error = error as &dyn std::error::Error,
        "the database cannot be reached; not ready until it can"
    );
    Chain(error).to_string()
}
