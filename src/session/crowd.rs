//! Many look-ups at once, asked together. What a flood of cookies costs the store is one statement after the other, however
//! many cookies there are, and whoever is among them waits for a statement or two.

use super::cache::Cache;
use super::cache::TRIES;
use super::load::Landing;
use super::load::Loaded;
use crate::model::Digest;
use crate::store::Found;
use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

/// Sessions asked for in one statement: about two milliseconds of the server's time.
const TOGETHER: usize = 500;
/// Who waits longer than this for their turn hears that the store could not be asked: it answers, but so slowly that those
/// behind would wait for one deadline after the other.
const TURN: Duration = Duration::from_secs(2);

/// Those who wait to be asked for together. Bounded by the number of all look-ups under way.
#[derive(Default)]
pub(super) struct Crowd(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    landings: VecDeque<Landing>,
    /// Whether somebody asks for them.
    attended: bool,
}

impl Crowd {
    /// Lets `landing` wait; whether somebody must be sent to ask for the crowd.
    pub(super) fn join(&self, landing: Landing) -> bool {
        let mut waiting = self.lock();
        waiting.landings.push_back(landing);
        !std::mem::replace(&mut waiting.attended, true)
    }

    /// The next to ask for; empty when nobody waits, and then nobody attends any more.
    fn next(&self) -> Vec<Landing> {
        let mut waiting = self.lock();
        let some = waiting.landings.len().min(TOGETHER);
        waiting.attended = some > 0;
        waiting.landings.drain(..some).collect()
    }

    fn everybody(&self) -> VecDeque<Landing> {
        std::mem::take(&mut self.lock().landings)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Should the attendant end early, nobody is left waiting: they hear that the store could not be asked.
struct Attending<'a>(Option<&'a Crowd>);

impl Drop for Attending<'_> {
    fn drop(&mut self) {
        let Some(crowd) = self.0 else {
            return;
        };
        let mut waiting = crowd.lock();
        waiting.attended = false;
        let left = std::mem::take(&mut waiting.landings);
        drop(waiting);
        drop(left);
    }
}

impl Cache {
    /// Asks for the crowd until nobody waits. On the control runtime.
    pub(super) async fn attend_crowd(self: Arc<Self>) {
        let mut attending = Attending(Some(&self.flights.crowd));
        loop {
            let landings = self.flights.crowd.next();
            if landings.is_empty() {
                // Whoever joined since has sent somebody else.
                attending.0 = None;
                return;
            }
            let late = self.time.elapsed().saturating_sub(TURN);
            let (landings, tired): (Vec<_>, Vec<_>) =
                landings.into_iter().partition(|landing| landing.asked_at >= late);
            for landing in tired {
                landing.land(Loaded::Unavailable);
            }
            let digests: Vec<Digest> = landings.iter().map(|landing| landing.digest).collect();
            let (loaded, silent) = self.load_together(&digests).await;
            for (landing, loaded) in landings.into_iter().zip(loaded) {
                self.keep(landing.digest, &loaded).await;
                landing.land(loaded);
            }
            if silent {
                // A store that did not answer these will not answer the others in their time.
                for landing in self.flights.crowd.everybody() {
                    landing.land(Loaded::Unavailable);
                }
            }
        }
    }

    /// One answer for each of `digests`, in their order, and whether the store was silent. Sessions that change faster than
    /// they are read bring no answer either, which says nothing of the others.
    async fn load_together(&self, digests: &[Digest]) -> (Vec<Loaded>, bool) {
        let mut silent = false;
        let mut loaded = vec![Loaded::Unavailable; digests.len()];
        let mut guesses = vec![None; digests.len()];
        let mut open: Vec<usize> = Vec::with_capacity(digests.len());
        for (index, digest) in digests.iter().enumerate() {
            match self.peek(digest).await {
                Some(known) => loaded[index] = known,
                None => open.push(index),
            }
        }
        for _ in 0..TRIES {
            if open.is_empty() {
                break;
            }
            let mut at_hand = Vec::with_capacity(open.len());
            for index in &open {
                let entry = self.at_hand(&digests[*index]).await;
                let guess = guesses[*index].or_else(|| entry.as_ref().map(|entry| entry.session.user));
                at_hand.push((entry, self.stripes.before(&digests[*index], guess)));
            }
            let asked: Vec<Digest> = open.iter().map(|index| digests[*index]).collect();
            let loaded_at = self.time.elapsed();
            let mut found: HashMap<Digest, Found> = match self.query_many(&asked).await {
                Ok(found) => found.into_iter().map(|one| (one.session.digest, one)).collect(),
                Err(error) => {
                    self.failed(&error);
                    silent = true;
                    break;
                }
            };
            let mut again = Vec::new();
            for (index, (entry, before)) in open.into_iter().zip(at_hand) {
                let found = found.remove(&digests[index]);
                self.answered(found.is_some());
                match self.conclude(&digests[index], found, before, loaded_at, entry.as_deref()) {
                    Ok(known) => loaded[index] = known,
                    Err(user) => {
                        guesses[index] = user;
                        again.push(index);
                    }
                }
            }
            open = again;
        }
        (loaded, silent)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Bench;
    use super::*;

    #[tokio::test]
    async fn one_whose_session_never_holds_still_takes_no_answer_from_the_others() {
        let bench = Bench::new();
        let cache = Arc::clone(&bench.sessions.cache);
        bench.store.is_late(true);
        let alone: Vec<_> = (0..32).map(|count| cache.ask(&Digest([count; 32]))).collect();
        let (restless, other) = (Digest([100; 32]), Digest([101; 32]));
        let first = cache.ask(&restless);
        let mut batches = bench.store.batches.subscribe();
        drop(batches.wait_for(|begun| *begun == 1).await.unwrap());
        let second = cache.ask(&other);
        let moving = Arc::downgrade(&cache);
        let changes = move || moving.upgrade().into_iter().for_each(|cache| cache.forget(&restless));
        *bench.store.answering.lock().unwrap() = Some(Box::new(changes));
        bench.store.is_late(false);
        assert!(matches!(first.outcome().await, Loaded::Unavailable));
        assert!(matches!(second.outcome().await, Loaded::Absent(_)), "the store answers");
        for asked in alone {
            assert!(matches!(asked.outcome().await, Loaded::Absent(_)));
        }
    }

    #[tokio::test]
    async fn nobody_waits_for_one_slow_statement_after_the_other() {
        let bench = Bench::new();
        let cache = Arc::clone(&bench.sessions.cache);
        bench.store.is_late(true);
        let alone: Vec<_> = (0..32).map(|count| cache.ask(&Digest([count; 32]))).collect();
        let first = cache.ask(&Digest([100; 32]));
        let mut batches = bench.store.batches.subscribe();
        drop(batches.wait_for(|begun| *begun == 1).await.unwrap());
        let (waits, soon) = (Digest([101; 32]), Digest([102; 32]));
        let waits = cache.ask(&waits);
        bench.clock.advance(TURN + Duration::from_millis(1));
        let soon = cache.ask(&soon);
        bench.store.is_late(false);
        assert!(matches!(first.outcome().await, Loaded::Absent(_)));
        assert!(matches!(waits.outcome().await, Loaded::Unavailable));
        assert!(matches!(soon.outcome().await, Loaded::Absent(_)));
        drop(alone);
    }
}
