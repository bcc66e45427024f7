//! What the log is told of a feed, each once until it is healthy again.

use crate::store::DdlError;
use crate::store::StoreError;
use std::error::Error;

/// Why nothing is heard.
#[derive(Debug)]
pub(in crate::session) enum Lost {
    /// No subscription, or it ended.
    Broken(StoreError),
    /// Heartbeats were sent and none was heard.
    Unheard,
    /// No heartbeat could be sent.
    Unsent(StoreError),
    /// The database's clock was set.
    ClockSet,
    /// The triggers tell nothing, so no heartbeat was sent.
    Untold,
    /// There is no room for what they tell, so none was sent.
    QueueFull,
    /// Whether an application's table has the trigger cannot be asked.
    Unasked(DdlError),
    /// An application's table has none.
    NoTrigger,
    /// It has one that is not the one of this configuration, or is switched off.
    OtherTrigger,
    /// It can have none.
    Impossible,
}

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Broken,
    Unheard,
    Unsent,
    ClockSet,
    Untold,
    QueueFull,
    NoTrigger,
    OtherTrigger,
    Impossible,
}

impl Lost {
    pub(super) fn cause(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Broken(StoreError::Pooled) => None,
            Self::Broken(error) | Self::Unsent(error) => Some(error),
            Self::Unasked(error) => Some(error),
            _ => None,
        }
    }
}

impl Word {
    /// `None` for what is said elsewhere.
    pub(super) fn of(lost: &Lost) -> Option<Self> {
        Some(match lost {
            // Said where the database is waited for.
            Lost::Broken(StoreError::NotReady) | Lost::Unsent(StoreError::NotReady) => return None,
            Lost::Broken(StoreError::Pooled) | Lost::Unheard => Self::Unheard,
            Lost::Broken(_) | Lost::Unasked(_) => Self::Broken,
            Lost::Unsent(_) => Self::Unsent,
            Lost::ClockSet => Self::ClockSet,
            Lost::Untold => Self::Untold,
            Lost::QueueFull => Self::QueueFull,
            Lost::NoTrigger => Self::NoTrigger,
            Lost::OtherTrigger => Self::OtherTrigger,
            Lost::Impossible => Self::Impossible,
        })
    }
}

pub(super) fn seen(source: Option<&str>) {
    match source {
        None => tracing::info!("changes by other instances are seen as they happen"),
        Some(name) => tracing::info!(
            source.name = name,
            "log-outs in the application are seen as they happen, by its trigger"
        ),
    }
}

/// Of the store's own feed.
pub(super) fn tell(word: Word, error: Option<&(dyn Error + 'static)>) {
    match word {
        Word::Unheard => tracing::warn!(
            "changes by other instances are not seen: the database accepts LISTEN, and its notifications do not \
             arrive. Behind a pooler in transaction mode, give a direct connection to the same database as \
             store.listen_url. Until then cached sessions are believed for a shorter time"
        ),
        Word::ClockSet => tracing::warn!("the database's clock was set; it is read anew"),
        Word::Unsent => tracing::warn!(
            error,
            "changes by other instances are not seen: no heartbeat can be sent; cached sessions are believed for a \
             shorter time"
        ),
        Word::Untold | Word::NoTrigger | Word::OtherTrigger | Word::Impossible => tracing::warn!(
            "changes by other instances are not seen: the triggers feed_deleted, feed_truncated and feed_updated of the \
             tables sessions and users, or feed_ended of legacy_ended, are gone or switched off; switch them on (ALTER TABLE ... ENABLE TRIGGER ALL). \
             Until then cached sessions are believed for a shorter time"
        ),
        Word::QueueFull => tracing::warn!(
            "changes by other instances are not seen: the database's queue of notifications is half full, because \
             somebody listens within a long transaction. Until then cached sessions are believed for a shorter time"
        ),
        Word::Broken => tracing::warn!(
            error,
            "changes by other instances are not seen; cached sessions are believed for a shorter time"
        ),
    }
}

/// Of an application's database.
pub(super) fn tell_of_source(word: Word, error: Option<&(dyn Error + 'static)>, name: &str) {
    match word {
        Word::NoTrigger => tracing::info!(
            source.name = name,
            "the application's table has no trigger: log-outs in it count after the source's max_age; `portcullis source \
             ddl` prints one by which they count at once"
        ),
        Word::OtherTrigger => tracing::warn!(
            source.name = name,
            "the trigger of the application's table is switched off, or not the one that belongs to this configuration: \
             run what `portcullis source ddl` prints. Until then log-outs in the application count after the source's \
             max_age"
        ),
        Word::Impossible => tracing::info!(
            source.name = name,
            "the application's table can have no trigger that sees every row that goes (it is a view, partitioned, or \
             inherits): log-outs in it count after the source's max_age"
        ),
        Word::Untold => tracing::warn!(
            source.name = name,
            "log-outs in the application are not seen at once: the trigger of its table is gone, changed or switched off; \
             run what `portcullis source ddl` prints. Until then they count after the source's max_age"
        ),
        Word::Unheard => tracing::warn!(
            source.name = name,
            "log-outs in the application are not seen at once: its database accepts LISTEN, and notifications do not \
             arrive. Behind a pooler in transaction mode, give a direct connection as the source's store_url. Until then \
             they count after the source's max_age"
        ),
        Word::ClockSet => tracing::warn!(
            source.name = name,
            "the clock of the application's database was set; it is read anew"
        ),
        Word::QueueFull => tracing::warn!(
            source.name = name,
            "log-outs in the application are not seen at once: its database's queue of notifications is half full, \
             because somebody listens within a long transaction. Until then they count after the source's max_age"
        ),
        Word::Unsent | Word::Broken => tracing::warn!(
            source.name = name,
            error,
            "log-outs in the application are not seen at once; until they are, they count after the source's max_age"
        ),
    }
}
