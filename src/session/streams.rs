//! The registry of open streams of signed-in sessions: whoever relays one holds a [`super::OpenStream`], and hears from it
//! when the session no longer carries the stream.
//!
//! What is known to have ended is told at once, by [`Streams::end`], before the end is reported to anybody. Everything
//! else (a user who changed, a file that another process wrote, an answer that grows old, an idle end that other
//! instances may have moved) only makes the session *due*: the attendant (`attend.rs`) asks the store, many sessions at
//! once, and settles what it heard.
//!
//! A stream is registered first and its entry is compared with the counters of changes second; an end moves the counters
//! first and looks for streams second. So one of the two always sees the other.

use super::Entry;
use super::StreamEnd;
use crate::model::Digest;
use crate::model::UserId;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::sync::watch;

const SHARDS: usize = 64;
/// More users than this who changed between two rounds are everybody.
const MOST_USERS: usize = 1_024;

/// What the streams of one session are told.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    /// The last answer of the store that found it.
    pub(super) entry: Arc<Entry>,
    pub(super) trust: Trust,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// The store said that it lives.
    Sure,
    /// Something changed since; the store is being asked.
    Doubtful,
    /// The store could not be asked; the last answer holds as long as it would for a request.
    Unheard,
    /// The same, and its idle end has come: others may have moved it, but nobody knows.
    Lapsed,
    /// Over.
    Over(StreamEnd),
}

/// What the store was heard to say of a session.
pub(super) enum Heard {
    Lives(Arc<Entry>),
    Over(StreamEnd),
    /// Could not ask; `lapsed` when its idle end has come.
    Nothing {
        lapsed: bool,
    },
}

/// All streams of this process, by session.
pub(super) struct Streams {
    shards: Vec<Mutex<Shard>>,
    /// Users who changed since the last round.
    users: Mutex<HashSet<UserId>>,
    /// Whether everybody may have changed since the last round.
    everything: AtomicBool,
    bell: Notify,
    /// When the attendant wakes by itself, in microseconds; while it is not asleep, the end of time.
    wakes_at: AtomicU64,
}

#[derive(Default)]
struct Shard {
    sessions: HashMap<Digest, Attended>,
    timers: BTreeSet<(Duration, [u8; 32])>,
}

/// A session with open streams.
struct Attended {
    standing: watch::Sender<Standing>,
    streams: usize,
    /// How many of them are the portal's own `events`.
    listeners: usize,
    /// When it is to be asked for; `None` while that happens.
    check_at: Option<Duration>,
}

impl Shard {
    /// The session is to be asked for at `at`, or sooner if that was settled before.
    fn arm(&mut self, digest: &Digest, at: Duration) -> bool {
        let Some(attended) = self.sessions.get_mut(digest) else {
            return false;
        };
        if attended.check_at.is_some_and(|before| before <= at) {
            return false;
        }
        if let Some(before) = attended.check_at.replace(at) {
            self.timers.remove(&(before, digest.0));
        }
        self.timers.insert((at, digest.0))
    }
}

impl Streams {
    pub(super) fn new() -> Self {
        Self {
            shards: std::iter::repeat_with(Mutex::default).take(SHARDS).collect(),
            users: Mutex::default(),
            everything: AtomicBool::new(false),
            bell: Notify::new(),
            wakes_at: AtomicU64::new(u64::MAX),
        }
    }

    fn shard(&self, digest: &Digest) -> MutexGuard<'_, Shard> {
        // Other bytes than the stripes and the first level use.
        lock(&self.shards[usize::from(digest.0[4]) % SHARDS])
    }

    /// Registers one more stream of `entry`'s session.
    pub(super) fn open(&self, entry: &Arc<Entry>, check_at: Duration) -> watch::Receiver<Standing> {
        let shard = self.shard(&entry.session.digest);
        self.add(shard, entry, check_at, false)
    }

    /// The same for a listener; `None` when the session has `most` of them.
    pub(super) fn open_listener(
        &self,
        entry: &Arc<Entry>,
        check_at: Duration,
        most: usize,
    ) -> Option<watch::Receiver<Standing>> {
        let shard = self.shard(&entry.session.digest);
        let known = shard.sessions.get(&entry.session.digest);
        let full = known.is_some_and(|attended| attended.listeners >= most);
        (!full).then(|| self.add(shard, entry, check_at, true))
    }

    fn add(
        &self,
        mut shard: MutexGuard<'_, Shard>,
        entry: &Arc<Entry>,
        check_at: Duration,
        listener: bool,
    ) -> watch::Receiver<Standing> {
        let digest = entry.session.digest;
        let attended = shard.sessions.entry(digest).or_insert_with(|| Attended {
            standing: watch::Sender::new(Standing {
                entry: Arc::clone(entry),
                trust: Trust::Sure,
            }),
            streams: 0,
            listeners: 0,
            check_at: None,
        });
        attended.streams += 1;
        attended.listeners += usize::from(listener);
        let standing = attended.standing.subscribe();
        let armed = shard.arm(&digest, check_at);
        drop(shard);
        if armed {
            self.ring_for(check_at);
        }
        standing
    }

    pub(super) fn close(&self, digest: &Digest, listener: bool) {
        let mut shard = self.shard(digest);
        let Some(attended) = shard.sessions.get_mut(digest) else {
            return;
        };
        attended.streams -= 1;
        attended.listeners -= usize::from(listener);
        if attended.streams == 0
            && let Some(gone) = shard.sessions.remove(digest)
            && let Some(at) = gone.check_at
        {
            shard.timers.remove(&(at, digest.0));
        }
    }

    fn ring_for(&self, at: Duration) {
        if micros(at) < self.wakes_at.load(SeqCst) {
            self.bell.notify_one();
        }
    }

    /// Ends every stream of a session that is known to be over. Returns after all of them were told.
    pub(super) fn end(&self, digest: &Digest, why: StreamEnd) {
        if let Some(attended) = self.shard(digest).sessions.get(digest) {
            attended.finish(why);
        }
    }

    /// A session may have changed.
    pub(super) fn doubt(&self, digest: &Digest) {
        let mut shard = self.shard(digest);
        if let Some(attended) = shard.sessions.get(digest) {
            attended.doubt();
            shard.arm(digest, Duration::ZERO);
            drop(shard);
            self.bell.notify_one();
        }
    }

    /// A user may have changed.
    pub(super) fn doubt_user(&self, user: UserId) {
        let mut users = lock(&self.users);
        if users.len() < MOST_USERS {
            users.insert(user);
        } else {
            self.everything.store(true, SeqCst);
        }
        drop(users);
        self.bell.notify_one();
    }

    /// Anything may have changed.
    pub(super) fn doubt_all(&self) {
        self.everything.store(true, SeqCst);
        self.bell.notify_one();
    }

    /// Sessions that are to be asked for at `now`; each is given once, until it is settled or becomes due again.
    pub(super) fn take_due(&self, now: Duration) -> Vec<Arc<Entry>> {
        let users = std::mem::take(&mut *lock(&self.users));
        let everything = self.everything.swap(false, SeqCst);
        let mut due = Vec::new();
        for shard in &self.shards {
            let mut shard = lock(shard);
            if everything || !users.is_empty() {
                shard.make_due(|user| everything || users.contains(&user));
            }
            while let Some(&(at, key)) = shard.timers.first()
                && at <= now
            {
                shard.timers.pop_first();
                if let Some(attended) = shard.sessions.get_mut(&Digest(key)) {
                    attended.check_at = None;
                    let standing = attended.standing.borrow();
                    if !matches!(standing.trust, Trust::Over(_)) {
                        due.push(Arc::clone(&standing.entry));
                    }
                }
            }
        }
        due
    }

    /// Writes down what was heard of a session, which is to be asked for again at `again`.
    pub(super) fn settle(&self, digest: &Digest, heard: Heard, again: Duration) {
        let mut shard = self.shard(digest);
        let Some(attended) = shard.sessions.get(digest) else {
            return;
        };
        match heard {
            Heard::Over(why) => return attended.finish(why),
            Heard::Lives(entry) => attended.lives(entry),
            Heard::Nothing { lapsed } => attended.unheard(lapsed),
        }
        shard.arm(digest, again);
    }

    /// Waits until something is due. Only the attendant calls it.
    pub(super) async fn wait(&self, now: impl Fn() -> Duration) {
        // From here on everybody rings, so that nothing is missed between the look at the timers and the sleep.
        self.wakes_at.store(u64::MAX, SeqCst);
        let first = |shard: &Mutex<Shard>| lock(shard).timers.first().map(|(at, _)| *at);
        let next = self.shards.iter().filter_map(first).min();
        self.wakes_at.store(next.map_or(u64::MAX, micros), SeqCst);
        match next {
            Some(at) => {
                let left = at.saturating_sub(now());
                // An answer either way: something is due, or somebody rang.
                let _ = tokio::time::timeout(left, self.bell.notified()).await;
            }
            None => self.bell.notified().await,
        }
    }

    /// Streams open.
    pub(super) fn count(&self) -> usize {
        let of = |shard: &Mutex<Shard>| -> usize { lock(shard).sessions.values().map(|one| one.streams).sum() };
        self.shards.iter().map(of).sum()
    }
}

impl Shard {
    fn make_due(&mut self, concerns: impl Fn(UserId) -> bool) {
        let concerned: Vec<Digest> = self
            .sessions
            .iter()
            .filter(|(_, attended)| concerns(attended.standing.borrow().entry.session.user))
            .map(|(digest, _)| *digest)
            .collect();
        for digest in concerned {
            self.arm(&digest, Duration::ZERO);
        }
    }
}

impl Attended {
    fn finish(&self, why: StreamEnd) {
        self.standing.send_if_modified(|standing| {
            let news = !matches!(standing.trust, Trust::Over(_));
            if news {
                standing.trust = Trust::Over(why);
            }
            news
        });
    }

    fn doubt(&self) {
        self.standing.send_if_modified(|standing| {
            if standing.trust == Trust::Sure {
                standing.trust = Trust::Doubtful;
            }
            false
        });
    }

    /// Streams are woken only when there is something to tell: most answers say what was known.
    fn lives(&self, entry: Arc<Entry>) {
        self.standing.send_if_modified(|standing| {
            if matches!(standing.trust, Trust::Over(_)) {
                return false;
            }
            let news = standing.trust != Trust::Sure
                || standing.entry.session != entry.session
                || standing.entry.user != entry.user;
            standing.entry = entry;
            standing.trust = Trust::Sure;
            news
        });
    }

    fn unheard(&self, lapsed: bool) {
        let trust = if lapsed { Trust::Lapsed } else { Trust::Unheard };
        self.standing.send_if_modified(|standing| {
            let news = standing.trust != trust && !matches!(standing.trust, Trust::Over(_));
            if news {
                standing.trust = trust;
            }
            news
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn micros(at: Duration) -> u64 {
    u64::try_from(at.as_micros()).unwrap_or(u64::MAX)
}
