//! What the head guard tells the service of the same connection, and the service the guard. Both run on one thread in
//! one task; the types are `Sync` only because hyper wants the I/O of an upgrade to be `Send`.

use crate::web::Fault;
use crate::web::UpgradeHold;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

/// What is special about one request.
#[derive(Clone)]
pub(super) enum Special {
    /// Its head was refused; hyper sees a stand-in.
    Fault(Fault),
    /// It asked for an upgrade.
    Hold(UpgradeHold),
}

/// Shared by guard and service.
pub(super) struct Notes {
    started: Instant,
    /// Index of the request that `special` is about. One place is enough: after a fault nothing is read, and while a
    /// hold is undecided neither.
    special_at: AtomicU64,
    special: Mutex<Option<Special>>,
    answered: AtomicU64,
    answered_after: AtomicU64,
    rest: AtomicBool,
}

const NOTHING: u64 = u64::MAX;

impl Notes {
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            special_at: AtomicU64::new(NOTHING),
            special: Mutex::new(None),
            answered: AtomicU64::new(0),
            answered_after: AtomicU64::new(0),
            rest: AtomicBool::new(false),
        }
    }

    /// The guard's word about the request `index`.
    pub fn mark(&self, index: u64, special: Special) {
        *self.special.lock().unwrap_or_else(PoisonError::into_inner) = Some(special);
        self.special_at.store(index, Ordering::Relaxed);
    }

    /// Asked by the service once for each request.
    pub fn about(&self, index: u64) -> Option<Special> {
        if self.special_at.load(Ordering::Relaxed) != index {
            return None;
        }
        self.special_at.store(NOTHING, Ordering::Relaxed);
        self.special.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Requests whose answer has left the service.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// When the connection began, or its last answer ended.
    pub fn idle_since(&self) -> Instant {
        self.started + Duration::from_millis(self.answered_after.load(Ordering::Relaxed))
    }

    /// The guard's word that hyper has nothing left to do and its memory may go.
    pub fn advise_rest(&self) {
        self.rest.store(true, Ordering::Relaxed);
    }

    /// Whether that was said since the last time.
    pub fn take_rest(&self) -> bool {
        let advised = self.rest.load(Ordering::Relaxed);
        if advised {
            self.rest.store(false, Ordering::Relaxed);
        }
        advised
    }

    fn answer_ended(&self) {
        let after = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.answered_after.store(after, Ordering::Relaxed);
        self.answered.store(self.answered() + 1, Ordering::Relaxed);
    }
}

/// One answer under way on an HTTP/1 connection; dropped with its body.
pub(super) struct Answering(pub std::sync::Arc<Notes>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.answer_ended();
    }
}
