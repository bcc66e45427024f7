//! How a cached answer learns that it is no longer true.
//!
//! An invalidation happens after the change was committed and increments a counter; an answer remembers the counters as
//! they stood *before* its query and is believed only while they stand so still. Two sessions that share a counter cost
//! a needless question, never a wrong answer.
//!
//! The user is known only after the query, so the user's counter cannot be read before it. Instead one epoch counts the
//! invalidations of all users. It is incremented *before* the user's counter; the load reads it before the query, and
//! after the query reads first the user's counter, then the epoch again:
//! - Epoch unmoved: no user's counter that was incremented after the first reading was seen (an incremented counter
//!   makes the increment of the epoch visible too). An invalidation whose epoch was counted before the first reading was
//!   committed before the query, which therefore saw its change. So the value read is as good as one read before.
//! - Epoch moved: not believed; the question is asked again, and this time the user of the first answer is a guess
//!   whose counter *is* read before the query, so that a storm of changes to other users cannot keep a load from ending.

use crate::model::Digest;
use crate::model::UserId;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, SeqCst};

const STRIPES: usize = 65_536;

/// Counters of changes: by session, by user, and of everything.
pub(super) struct Stripes {
    sessions: Box<[AtomicU64]>,
    users: Box<[AtomicU64]>,
    /// Invalidations of users, any user.
    epoch: AtomicU64,
    everything: AtomicU64,
}

/// What stood before a query.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    session: u64,
    everything: u64,
    epoch: u64,
    guess: Option<(UserId, u64)>,
}

/// What stood before the query of an answer that found a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamps {
    session: u64,
    user: u64,
    everything: u64,
}

/// What stood before the query of an answer that found none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AbsentStamps {
    session: u64,
    everything: u64,
}

impl Stamps {
    /// What an answer that names a session which is over may remember.
    pub(super) const fn absent(self) -> AbsentStamps {
        AbsentStamps {
            session: self.session,
            everything: self.everything,
        }
    }
}

impl Stripes {
    pub(super) fn new() -> Self {
        let row = || std::iter::repeat_with(AtomicU64::default).take(STRIPES).collect();
        Self {
            sessions: row(),
            users: row(),
            epoch: AtomicU64::default(),
            everything: AtomicU64::default(),
        }
    }

    /// To be read before a query. `guess` is the user that the answer will probably name.
    pub(super) fn before(&self, digest: &Digest, guess: Option<UserId>) -> Before {
        Before {
            session: self.session(digest).load(Acquire),
            everything: self.everything.load(Acquire),
            epoch: self.epoch.load(Acquire),
            guess: guess.map(|user| (user, self.user(user).load(Acquire))),
        }
    }

    /// To be read after the query whose answer named `user`; `None` when something changed that the query may have missed.
    pub(super) fn stamp(&self, digest: &Digest, user: UserId, before: Before) -> Option<Stamps> {
        let stamps = match before.guess {
            Some((guess, stood)) if guess == user => Stamps {
                session: before.session,
                user: stood,
                everything: before.everything,
            },
            _ => {
                let stands = self.user(user).load(Acquire);
                if self.epoch.load(Acquire) != before.epoch {
                    return None;
                }
                Stamps {
                    session: before.session,
                    user: stands,
                    everything: before.everything,
                }
            }
        };
        self.hold(digest, user, stamps).then_some(stamps)
    }

    /// What stands at this moment: for an entry that is shown once and never kept.
    pub(super) fn standing(&self, digest: &Digest, user: UserId) -> Stamps {
        Stamps {
            session: self.session(digest).load(Acquire),
            user: self.user(user).load(Acquire),
            everything: self.everything.load(Acquire),
        }
    }

    /// The same as [`Stripes::stamp`] for an answer that found nothing.
    pub(super) fn stamp_absent(&self, digest: &Digest, before: Before) -> Option<AbsentStamps> {
        let stamps = AbsentStamps {
            session: before.session,
            everything: before.everything,
        };
        self.hold_absent(digest, stamps).then_some(stamps)
    }

    /// Whether nothing changed since the answer was asked for.
    pub(super) fn hold(&self, digest: &Digest, user: UserId, stamps: Stamps) -> bool {
        self.session(digest).load(Acquire) == stamps.session
            && self.user(user).load(Acquire) == stamps.user
            && self.everything.load(Acquire) == stamps.everything
    }

    /// The same for an answer that found nothing.
    pub(super) fn hold_absent(&self, digest: &Digest, stamps: AbsentStamps) -> bool {
        self.session(digest).load(Acquire) == stamps.session && self.everything.load(Acquire) == stamps.everything
    }

    /// After a session changed in the store.
    pub(super) fn forget(&self, digest: &Digest) {
        self.session(digest).fetch_add(1, SeqCst);
    }

    /// After a user changed in the store. The epoch goes first: see the top of this file.
    pub(super) fn forget_user(&self, user: UserId) {
        self.epoch.fetch_add(1, SeqCst);
        self.user(user).fetch_add(1, SeqCst);
    }

    /// After anything may have changed.
    pub(super) fn forget_all(&self) {
        self.everything.fetch_add(1, SeqCst);
    }

    fn session(&self, digest: &Digest) -> &AtomicU64 {
        &self.sessions[usize::from(u16::from_le_bytes([digest.0[0], digest.0[1]]))]
    }

    fn user(&self, user: UserId) -> &AtomicU64 {
        // Fibonacci hashing: the ends of a UUIDv7 are random, but nothing promises that every id is one.
        let folded = user.0.as_u64_pair();
        let mixed = (folded.0 ^ folded.1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
        &self.users[usize::try_from(mixed).unwrap_or(0) % STRIPES]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const DIGEST: Digest = Digest([7; 32]);
    const USER: UserId = UserId(Uuid::from_u128(1));
    const OTHER: UserId = UserId(Uuid::from_u128(2));

    #[test]
    fn an_answer_holds_until_its_session_its_user_or_everything_changes() {
        let changes: [fn(&Stripes); 3] = [
            |stripes| stripes.forget(&DIGEST),
            |stripes| stripes.forget_user(USER),
            Stripes::forget_all,
        ];
        for change in changes {
            let stripes = Stripes::new();
            let stamps = stripes.stamp(&DIGEST, USER, stripes.before(&DIGEST, None)).unwrap();
            assert!(stripes.hold(&DIGEST, USER, stamps));
            stripes.forget(&Digest([8; 32]));
            stripes.forget_user(OTHER);
            assert!(stripes.hold(&DIGEST, USER, stamps));
            change(&stripes);
            assert!(!stripes.hold(&DIGEST, USER, stamps));
        }
    }

    #[test]
    fn a_change_during_the_query_is_never_stamped_over() {
        let changes: [fn(&Stripes); 3] = [
            |stripes| stripes.forget(&DIGEST),
            |stripes| stripes.forget_user(USER),
            Stripes::forget_all,
        ];
        for change in changes {
            for guess in [None, Some(USER), Some(OTHER)] {
                let stripes = Stripes::new();
                let before = stripes.before(&DIGEST, guess);
                change(&stripes);
                assert_eq!(stripes.stamp(&DIGEST, USER, before), None, "{guess:?}");
            }
        }
    }

    #[test]
    fn a_change_to_another_user_does_not_disturb_a_right_guess() {
        let stripes = Stripes::new();
        let unguessed = stripes.before(&DIGEST, None);
        let guessed = stripes.before(&DIGEST, Some(USER));
        stripes.forget_user(OTHER);
        assert_eq!(stripes.stamp(&DIGEST, USER, unguessed), None);
        assert!(stripes.stamp(&DIGEST, USER, guessed).is_some());
    }

    #[test]
    fn an_absent_answer_holds_until_its_session_or_everything_changes() {
        let stripes = Stripes::new();
        let before = stripes.before(&DIGEST, None);
        let stamps = stripes.stamp_absent(&DIGEST, before).unwrap();
        stripes.forget_user(USER);
        assert!(stripes.hold_absent(&DIGEST, stamps));
        stripes.forget(&DIGEST);
        assert!(!stripes.hold_absent(&DIGEST, stamps));
        assert_eq!(stripes.stamp_absent(&DIGEST, before), None);
    }
}
