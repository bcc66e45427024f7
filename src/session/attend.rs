//! The attendant of open streams: asks the store, many sessions at once, for those whose streams are due, and tells them.

use super::Entry;
use super::StreamEnd;
use super::cache::Cache;
use super::load::Loaded;
use super::streams::Heard;
use super::stripes::Before;
use crate::model::Digest;
use crate::model::UserState;
use crate::store::Found;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Most sessions asked for in one question.
const BATCH: usize = 500;
/// After which a question that brought nothing is asked again.
const AGAIN: Duration = Duration::from_millis(500);

/// Attends to open streams until it is dropped. One round at a time, so that what the store is asked stays bounded.
pub(super) async fn attend(cache: &Arc<Cache>) {
    loop {
        cache.streams.wait(|| cache.time.elapsed()).await;
        round(cache).await;
    }
}

/// Asks for every session that is due.
pub(super) async fn round(cache: &Cache) {
    let due = cache.streams.take_due(cache.time.elapsed());
    let mut silent = false;
    for batch in due.chunks(BATCH) {
        // One deadline is enough: a store that did not answer the first batch will not answer the others.
        let answers = if silent { None } else { cache.ask_many(batch).await };
        silent |= answers.is_none();
        for (index, known) in batch.iter().enumerate() {
            let heard = match &answers {
                Some(answers) => cache.hear(known, &answers[index]).await,
                None => Some(cache.nothing_heard_of(known)),
            };
            cache.settle(known, heard);
        }
    }
}

/// An answer for one session, with what stood before the question.
struct Answered {
    before: Before,
    loaded_at: Duration,
    found: Option<Found>,
}

impl Cache {
    /// One answer for each of `batch`, in its order; `None` when the store could not be asked.
    async fn ask_many(&self, batch: &[Arc<Entry>]) -> Option<Vec<Answered>> {
        let digests: Vec<Digest> = batch.iter().map(|entry| entry.session.digest).collect();
        let before: Vec<Before> = batch
            .iter()
            .map(|entry| self.stripes.before(&entry.session.digest, Some(entry.session.user)))
            .collect();
        let loaded_at = self.time.elapsed();
        let found = match self.query_many(&digests).await {
            Ok(found) => found,
            Err(error) => {
                self.failed(&error);
                return None;
            }
        };
        let mut found: HashMap<Digest, Found> = found.into_iter().map(|one| (one.session.digest, one)).collect();
        let answers = digests.iter().zip(before).map(|(digest, before)| {
            let found = found.remove(digest);
            self.answered(found.is_some());
            Answered {
                before,
                loaded_at,
                found,
            }
        });
        Some(answers.collect())
    }

    /// What an answer says of a session; `None` when something changed meanwhile that it may have missed.
    async fn hear(&self, known: &Entry, answered: &Answered) -> Option<Heard> {
        let digest = &known.session.digest;
        let now = self.time.moment().now;
        let Some(Found { session, user }) = &answered.found else {
            let why = if known.is_over(now) {
                StreamEnd::Expired
            } else {
                StreamEnd::Ended
            };
            return Some(Heard::Over(why));
        };
        if user.state != UserState::Active {
            return Some(Heard::Over(StreamEnd::Disabled));
        }
        let stamps = self.stripes.stamp(digest, session.user, answered.before)?;
        let mut entry = Entry::new(session.clone(), user.clone(), answered.loaded_at, stamps);
        entry.source = self.source();
        let entry = Arc::new(entry);
        self.go_on(&entry, Some(known));
        if entry.is_over(now) {
            return Some(Heard::Over(StreamEnd::Expired));
        }
        self.keep(*digest, &Loaded::Found(Arc::clone(&entry))).await;
        Some(Heard::Lives(entry))
    }

    /// An absolute end is one whether the store can be asked or not.
    fn nothing_heard_of(&self, known: &Entry) -> Heard {
        let now = self.time.moment().now;
        if now >= known.session.ends_at && self.ends_are_final() {
            Heard::Over(StreamEnd::Expired)
        } else {
            Heard::Nothing {
                lapsed: known.is_over(now),
            }
        }
    }

    fn settle(&self, known: &Entry, heard: Option<Heard>) {
        let digest = &known.session.digest;
        let soon = self.time.elapsed().saturating_add(AGAIN);
        match heard {
            // A session whose row is gone, or any that is over, is not a matter of counters any more.
            Some(Heard::Lives(entry)) => {
                let again = self.check_at(&entry);
                self.streams.settle(digest, Heard::Lives(entry), again);
            }
            Some(heard) => self.streams.settle(digest, heard, soon),
            None => self.streams.doubt(digest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::OpenStream;
    use super::super::testing::Bench;
    use super::super::testing::IDLE;
    use super::super::testing::LIFETIME;
    use super::super::testing::MAX_AGE;
    use super::super::testing::NO_GRACE;
    use super::super::testing::SHORT;
    use super::super::testing::START;
    use super::super::testing::logout;
    use super::super::testing::user;
    use super::*;
    use crate::model::Event;
    use crate::model::EventKind;
    use crate::store::Which;
    use futures_util::FutureExt;

    fn end_of(stream: &OpenStream) -> Option<StreamEnd> {
        stream.ends(NO_GRACE, |_| true).now_or_never()
    }

    async fn stream(bench: &Bench, name: &str) -> (OpenStream, Arc<Entry>) {
        let opened = bench.sessions.open(bench.login(name)).await.unwrap();
        (bench.sessions.open_stream(&opened.entry), opened.entry)
    }

    async fn one_round(bench: &Bench) {
        round(&bench.sessions.cache).await;
    }

    #[tokio::test]
    async fn streams_hear_of_an_end_before_it_is_reported_and_nobody_is_asked() {
        let bench = Bench::new();
        let (anna, entry) = stream(&bench, "anna").await;
        let again = bench.sessions.open_stream(&entry);
        let (bob, _) = stream(&bench, "bob").await;
        let which = Which::Digest(entry.session.digest);
        bench.sessions.end(which, logout()).await.unwrap();
        assert_eq!(end_of(&anna), Some(StreamEnd::LoggedOut));
        assert_eq!(end_of(&again), Some(StreamEnd::LoggedOut));
        assert!(anna.is_over() && !bob.is_over());
        assert_eq!(end_of(&bob), None);
        assert_eq!(*bench.store.batches.borrow(), 0);
    }

    #[tokio::test]
    async fn each_way_of_ending_has_its_word() {
        let bench = Bench::new();
        let by = |kind| Event::new(START, kind, "root");
        for (kind, why) in [
            (EventKind::LoggedOut, StreamEnd::LoggedOut),
            (EventKind::SessionEnded, StreamEnd::Ended),
            (EventKind::UserDisabled, StreamEnd::Disabled),
        ] {
            let (open, entry) = stream(&bench, "anna").await;
            bench
                .sessions
                .end(Which::User(entry.session.user), by(kind))
                .await
                .unwrap();
            assert_eq!(end_of(&open), Some(why));
        }
        let (open, entry) = stream(&bench, "anna").await;
        let mut login = bench.login("anna");
        login.replaces = Some(entry.session.digest);
        bench.sessions.open(login).await.unwrap();
        assert_eq!(end_of(&open), Some(StreamEnd::Replaced));
    }

    #[tokio::test]
    async fn an_end_between_the_look_up_and_the_stream_is_not_missed() {
        let bench = Bench::new();
        let entry = bench.sessions.open(bench.login("anna")).await.unwrap().entry;
        let which = Which::Digest(entry.session.digest);
        bench.sessions.end(which, logout()).await.unwrap();
        let late = bench.sessions.open_stream(&entry);
        assert_eq!(
            late.settled().now_or_never(),
            None,
            "not a byte passes before it is known"
        );
        one_round(&bench).await;
        assert_eq!(late.settled().now_or_never(), Some(()));
        assert_eq!(end_of(&late), Some(StreamEnd::Ended));
    }

    #[tokio::test]
    async fn what_somebody_else_deleted_is_found_in_one_question_for_many() {
        let bench = Bench::new();
        let mut streams = Vec::new();
        for count in 0..1_200_u32 {
            streams.push(stream(&bench, &format!("u{count}")).await);
        }
        let (gone, stays) = (&streams[700], &streams[701]);
        bench.store.delete(&gone.1.session.digest);
        bench.sessions.forget_all();
        one_round(&bench).await;
        assert_eq!(end_of(&gone.0), Some(StreamEnd::Ended));
        assert_eq!(end_of(&stays.0), None);
        assert_eq!(*bench.store.batches.borrow(), 3);
        assert_eq!(bench.store.asked(), 1_200, "one for each log-in and none for a stream");
    }

    #[tokio::test]
    async fn a_user_who_no_longer_meets_the_rule_loses_the_stream_and_others_are_not_asked_for() {
        let bench = Bench::new();
        let (anna, _) = stream(&bench, "anna").await;
        let (bob, _) = stream(&bench, "bob").await;
        let staff = |user: &crate::model::User| user.groups.iter().any(|group| group == "staff");
        let ends = |stream: &OpenStream| stream.ends(NO_GRACE, staff).now_or_never();
        let mut changed = user("anna");
        changed.groups.clear();
        bench.store.users.lock().unwrap().insert(changed.id, changed.clone());
        assert_eq!(ends(&anna), None);
        bench.sessions.forget_user(changed.id);
        let due = bench.sessions.cache.streams.take_due(bench.clock.elapsed());
        assert_eq!(due.len(), 1);
        bench.sessions.forget_user(changed.id);
        one_round(&bench).await;
        assert_eq!(ends(&anna), Some(StreamEnd::NotAllowed));
        assert_eq!(end_of(&anna), None, "another route's rule is met");
        assert_eq!(ends(&bob), None);
    }

    #[tokio::test]
    async fn a_store_that_cannot_be_asked_ends_streams_only_at_the_bound_and_the_grace() {
        let bench = Bench::new();
        let (open, _) = stream(&bench, "anna").await;
        bench.store.is_down(true);
        bench.sessions.forget_all();
        one_round(&bench).await;
        assert_eq!(end_of(&open), None);
        bench.clock.advance(SHORT);
        assert_eq!(end_of(&open), Some(StreamEnd::Unavailable));
        let graced = |grace| open.ends(grace, |_| true).now_or_never();
        assert_eq!(graced(Duration::from_secs(1)), None);
        // The answer is renewed when it can be.
        bench.store.is_down(false);
        bench.clock.advance(AGAIN);
        one_round(&bench).await;
        assert_eq!(end_of(&open), None);
        assert!(!open.is_over());
    }

    #[tokio::test]
    async fn one_failed_question_is_enough_for_a_round() {
        let bench = Bench::new();
        let mut streams = Vec::new();
        for count in 0..1_200_u32 {
            streams.push(stream(&bench, &format!("u{count}")).await);
        }
        bench.store.is_down(true);
        bench.sessions.forget_all();
        one_round(&bench).await;
        assert_eq!(*bench.store.batches.borrow(), 1);
    }

    #[tokio::test]
    async fn answers_are_renewed_before_they_are_too_old() {
        let bench = Bench::new();
        let (open, _) = stream(&bench, "anna").await;
        for _ in 0..10 {
            one_round(&bench).await;
            assert_eq!(end_of(&open), None);
            bench.clock.advance(SHORT / 2);
        }
        assert_eq!(*bench.store.batches.borrow(), 9);
        // While changes are seen, the longer bound is enough.
        bench.sessions.cache.set_bound(MAX_AGE);
        one_round(&bench).await;
        bench.clock.advance(SHORT);
        one_round(&bench).await;
        assert_eq!(*bench.store.batches.borrow(), 10);
    }

    #[tokio::test]
    async fn at_the_idle_end_the_store_is_asked_because_others_may_have_moved_it() {
        let bench = Bench::new();
        let (moved, entry) = stream(&bench, "anna").await;
        let (idle, _) = stream(&bench, "bob").await;
        let later = START.plus(2 * IDLE);
        bench
            .store
            .rows
            .lock()
            .unwrap()
            .get_mut(&entry.session.digest)
            .unwrap()
            .expires_at = later;
        bench.clock.advance(IDLE);
        one_round(&bench).await;
        assert_eq!(end_of(&moved), None);
        assert_eq!(moved.entry().ends(), later);
        assert_eq!(end_of(&idle), Some(StreamEnd::Expired));
    }

    #[tokio::test]
    async fn an_idle_end_that_nobody_can_confirm_signs_nobody_out_and_an_absolute_one_needs_no_word() {
        let bench = Bench::new();
        let (open, entry) = stream(&bench, "anna").await;
        bench.store.is_down(true);
        bench.clock.advance(IDLE);
        one_round(&bench).await;
        let long = LIFETIME;
        assert_eq!(open.ends(long, |_| true).now_or_never(), Some(StreamEnd::Unavailable));
        assert!(!open.is_over());
        bench.clock.advance(entry.session.ends_at.since(bench.clock.now()));
        one_round(&bench).await;
        assert_eq!(end_of(&open), Some(StreamEnd::Expired));
    }

    #[tokio::test]
    async fn a_late_answer_from_before_a_change_is_not_believed() {
        let bench = Bench::new();
        let (open, entry) = stream(&bench, "anna").await;
        bench.store.is_late(true);
        bench.sessions.forget_all();
        let cache = Arc::clone(&bench.sessions.cache);
        let first = tokio::spawn(async move { round(&cache).await });
        let mut batches = bench.store.batches.subscribe();
        drop(batches.wait_for(|begun| *begun == 1).await.unwrap());
        // Its row was read; now somebody deletes it, and the change is seen.
        bench.store.delete(&entry.session.digest);
        bench.sessions.forget_all();
        bench.store.is_late(false);
        first.await.unwrap();
        one_round(&bench).await;
        assert_eq!(end_of(&open), Some(StreamEnd::Ended));
    }

    #[tokio::test]
    async fn what_is_closed_is_gone_and_listeners_are_bounded() {
        let bench = Bench::new();
        let (open, entry) = stream(&bench, "anna").await;
        let listeners: Vec<_> = (0..3).map_while(|_| bench.sessions.open_listener(&entry, 2)).collect();
        assert_eq!(listeners.len(), 2);
        assert_eq!(bench.sessions.streams_open(), 3);
        drop(listeners);
        let listener = bench.sessions.open_listener(&entry, 2);
        assert!(listener.is_some());
        drop((open, listener));
        assert_eq!(bench.sessions.streams_open(), 0);
        bench.sessions.forget_all();
        assert!(bench.sessions.cache.streams.take_due(Duration::MAX).is_empty());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_stream_that_opens_while_its_session_ends_never_survives() {
        let bench = Bench::new();
        let cache = Arc::clone(&bench.sessions.cache);
        let attendant = tokio::spawn(async move { attend(&cache).await });
        for _ in 0..500 {
            let entry = bench.sessions.open(bench.login("anna")).await.unwrap().entry;
            let (sessions, known) = (Arc::clone(&bench.sessions), Arc::clone(&entry));
            let opening = tokio::spawn(async move { sessions.open_stream(&known) });
            let which = Which::Digest(entry.session.digest);
            bench.sessions.end(which, logout()).await.unwrap();
            let open = opening.await.unwrap();
            let end = tokio::time::timeout(Duration::from_secs(20), open.ends(NO_GRACE, |_| true)).await;
            assert!(matches!(end, Ok(StreamEnd::LoggedOut | StreamEnd::Ended)), "{end:?}");
        }
        attendant.abort();
        assert_eq!(bench.sessions.streams_open(), 0);
    }
}
