//! A stream as whoever relays it holds it.

use super::Entry;
use super::Sessions;
use super::cache::Cache;
use super::streams::Standing;
use super::streams::Trust;
use crate::model::Digest;
use crate::model::User;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The shortest time for which an answer carries a stream: where answers are believed for less, every request asks, but
/// a stream cannot ask all the time.
const SHORTEST: Duration = Duration::from_secs(1);

/// Why a session no longer carries a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// Its user logged out.
    LoggedOut,
    /// Somebody ended the session.
    Ended,
    /// It came to its idle or absolute end.
    Expired,
    /// Its user may no longer sign in.
    Disabled,
    /// The same browser signed in anew.
    Replaced,
    /// It lives, but its user no longer meets the route's rule.
    NotAllowed,
    /// The store could not be asked for too long. Nobody was logged out.
    Unavailable,
}

impl StreamEnd {
    /// The word for programs and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LoggedOut => "logged_out",
            Self::Ended => "ended",
            Self::Expired => "expired",
            Self::Disabled => "disabled",
            Self::Replaced => "signed_in_again",
            Self::NotAllowed => "not_allowed",
            Self::Unavailable => "unavailable",
        }
    }
}

/// A stream that is registered with its session until this is dropped. Works on any runtime.
pub struct OpenStream {
    cache: Arc<Cache>,
    digest: Digest,
    listener: bool,
    opened_at: Duration,
    standing: watch::Receiver<Standing>,
}

impl OpenStream {
    /// The session and its user as they were last heard of.
    #[must_use]
    pub fn entry(&self) -> Arc<Entry> {
        Arc::clone(&self.standing.borrow().entry)
    }

    /// The same, shown to `look` without a count of its holders.
    pub(super) fn with_entry<T>(&self, look: impl FnOnce(&Cache, &Entry) -> T) -> T {
        look(&self.cache, &self.standing.borrow().entry)
    }

    /// Whether the session is known to be over. Asks nobody.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.standing.borrow().trust, Trust::Over(_))
    }

    /// Waits while it is being asked whether the session lived on as the stream was opened; not at all as a rule. A
    /// dropped future loses nothing.
    pub async fn settled(&self) {
        let mut standing = self.standing.clone();
        // The sender lives as long as the registration.
        let _ = standing.wait_for(|standing| standing.trust != Trust::Doubtful).await;
    }

    /// Waits until the session no longer carries the stream: it is over, `allows` refuses its user, or the store could not
    /// be asked for `grace` longer than its last answer is believed. A dropped future loses nothing.
    pub async fn ends(&self, grace: Duration, allows: impl Fn(&User) -> bool) -> StreamEnd {
        let mut standing = self.standing.clone();
        loop {
            let believed_until = {
                let now = standing.borrow_and_update();
                match now.trust {
                    Trust::Over(why) => return why,
                    Trust::Lapsed => return StreamEnd::Unavailable,
                    Trust::Sure | Trust::Doubtful | Trust::Unheard => {}
                }
                if !allows(&now.entry.user) {
                    return StreamEnd::NotAllowed;
                }
                let bound = self.cache.stream_bound().saturating_add(grace);
                // What a request was believed is enough to ask the first time.
                let first = self.opened_at.saturating_add(SHORTEST);
                now.entry.loaded_at.saturating_add(bound).max(first)
            };
            let left = believed_until.saturating_sub(self.cache.time.elapsed());
            if left.is_zero() {
                return StreamEnd::Unavailable;
            }
            // Answers that say nothing new wake nobody, so their age is looked at here.
            if let Ok(Err(_)) = tokio::time::timeout(left, standing.changed()).await {
                return StreamEnd::Unavailable;
            }
        }
    }

    /// What is heard of the session from here on.
    #[must_use]
    pub fn changes(&self) -> Changes {
        Changes(self.standing.clone())
    }

    /// Asks the store once more, and waits for its answer or until it could not be asked. A dropped future loses nothing.
    pub async fn ask_again(&self) {
        self.cache.streams.doubt(&self.digest);
        self.settled().await;
    }
}

/// Tells of what is heard of a session while one of its streams is open.
pub struct Changes(watch::Receiver<Standing>);

impl Changes {
    /// Waits until something is heard that was not known: its ends, its user, or that it is over. A dropped future loses
    /// nothing.
    pub async fn next(&mut self) {
        // The sender lives as long as the registration.
        let _ = self.0.changed().await;
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.cache.streams.close(&self.digest, self.listener);
    }
}

impl Sessions {
    /// Registers a stream of a session. An end that came in between is not missed: the session is asked for again where
    /// anything has changed since `entry` was loaded.
    #[must_use]
    pub fn open_stream(&self, entry: &Arc<Entry>) -> OpenStream {
        let standing = self
            .cache_of(entry)
            .streams
            .open(entry, self.cache_of(entry).check_at(entry));
        self.registered(entry, standing, false)
    }

    /// The same for somebody who listens to what becomes of the session; `None` when `most` do.
    #[must_use]
    pub fn open_listener(&self, entry: &Arc<Entry>, most: usize) -> Option<OpenStream> {
        let check_at = self.cache_of(entry).check_at(entry);
        let standing = self.cache_of(entry).streams.open_listener(entry, check_at, most)?;
        Some(self.registered(entry, standing, true))
    }

    fn registered(&self, entry: &Entry, standing: watch::Receiver<Standing>, listener: bool) -> OpenStream {
        let session = &entry.session;
        let stream = OpenStream {
            cache: Arc::clone(self.cache_of(entry)),
            digest: session.digest,
            listener,
            opened_at: self.cache_of(entry).time.elapsed(),
            standing,
        };
        if !self
            .cache_of(entry)
            .stripes
            .hold(&session.digest, session.user, entry.stamps)
        {
            self.cache_of(entry).streams.doubt(&session.digest);
        }
        stream
    }

    /// Streams open in this process.
    #[must_use]
    pub fn streams_open(&self) -> usize {
        self.cache.streams.count()
    }
}

impl Cache {
    /// How long an answer carries a stream.
    pub(super) fn stream_bound(&self) -> Duration {
        self.bound(self.time.elapsed()).max(SHORTEST)
    }

    /// When an open stream's session is to be asked for again: at its ends, and well before the answer is too old.
    pub(super) fn check_at(&self, entry: &Entry) -> Duration {
        let at = self.time.moment();
        let ends = entry.ends().since(at.now).saturating_add(at.elapsed);
        let aged = entry.loaded_at.saturating_add(self.stream_bound() / 2);
        ends.min(aged)
    }
}
