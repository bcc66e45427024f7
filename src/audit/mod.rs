//! What happened, to whom, by whom: the words of the audit log, reading it, and forgetting what is old.
//!
//! Events of changes are not written here: the store writes each in the transaction of the change that it tells of.
//!
//! Called by session and portal (words), by admin ([`Log`]) and by app, which lets [`Log::keep`] run.
//!
//! What must always hold: an event holds no secret; nothing is forgotten sooner than the retention says. A dropped future
//! loses its answer only, or one batch of what was to be forgotten.

mod retention;

pub use crate::model::Event;
pub use crate::model::EventKind;
pub use crate::store::EventFilter;
pub use crate::store::RecordedEvent;
pub use crate::store::StoreError;

use crate::store::Store;
use std::sync::Arc;
use std::time::Duration;

/// How long events are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long; `None`: for ever.
    pub retention: Option<Duration>,
}

/// The audit log. To be used on the control runtime.
pub struct Log {
    store: Arc<dyn Store>,
    settings: Settings,
}

impl Log {
    /// Over `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, settings: Settings) -> Arc<Self> {
        Arc::new(Self { store, settings })
    }

    /// Events with their keys, newest first.
    ///
    /// # Errors
    /// The store's.
    pub async fn find(&self, filter: EventFilter) -> Result<Vec<(i64, RecordedEvent)>, StoreError> {
        self.store.find_events(filter).await
    }

    /// Writes an event that stands for itself.
    ///
    /// # Errors
    /// The store's.
    pub async fn record(&self, event: Event) -> Result<(), StoreError> {
        self.store.record(event).await
    }
}
