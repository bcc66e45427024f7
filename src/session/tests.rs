//! The promises of this room, at both levels of the cache.

use super::testing::*;
use super::*;
use crate::model::Event;
use crate::model::EventKind;
use crate::model::UserState;
use std::task::Poll;

impl crate::store::Imports for testing::FakeStore {}

impl crate::store::Managing for testing::FakeStore {}
impl crate::store::Feed for testing::FakeStore {}
impl crate::store::Passes for testing::FakeStore {}
impl crate::store::Tombstones for testing::FakeStore {}
impl crate::store::Instances for testing::FakeStore {}

async fn ask(local: &Local, value: &str) -> Identified {
    local.identify(&[value.as_bytes()], NO_GRACE).await
}

fn is_live(identified: &Identified, name: &str) -> bool {
    matches!(identified, Identified::Live(live) if live.entry.user.username.as_str() == name && live.stale.is_none())
}

#[tokio::test]
async fn an_opened_session_is_live_without_another_question() {
    let bench = Bench::new();
    let (value, digest) = bench.open("anna").await;
    let local = bench.local();
    let asked = bench.store.asked();
    assert!(is_live(&ask(&local, &value).await, "anna"));
    assert!(matches!(
        local.try_identify(&[value.as_bytes()]),
        Some(Identified::Live(_))
    ));
    assert_eq!(bench.store.asked(), asked);
    let row = bench.store.rows.lock().unwrap()[&digest].clone();
    assert_eq!((row.expires_at, row.ends_at), (START.plus(IDLE), START.plus(LIFETIME)));
    let event = bench.store.events.lock().unwrap()[0].clone();
    assert_eq!(
        (event.kind, event.session),
        (EventKind::LoginSucceeded, Some(row.public_id))
    );
}

#[tokio::test]
async fn a_remembered_session_lives_longer_and_ends_at_its_absolute_end_only() {
    let bench = Bench::new();
    let mut login = bench.login("anna");
    login.remember = true;
    let session = bench.sessions.open(login).await.unwrap().entry.session.clone();
    assert_eq!(session.ends_at, START.plus(4 * LIFETIME));
    assert_eq!(session.expires_at, session.ends_at);
    assert!(session.remembered);
}

#[tokio::test]
async fn where_nobody_is_remembered_asking_for_it_changes_nothing() {
    let settings = Settings {
        remember_lifetime: None,
        ..settings()
    };
    let bench = Bench::with(Arc::new(FakeStore::new()), Clock::manual(START), settings);
    let mut login = bench.login("anna");
    login.remember = true;
    let session = bench.sessions.open(login).await.unwrap().entry.session.clone();
    assert_eq!(session.ends_at, START.plus(LIFETIME));
    assert!(!session.remembered && !bench.sessions.remembers());
}

#[tokio::test]
async fn forged_and_altered_cookies_cost_no_question() {
    let bench = Bench::new();
    let (value, _) = bench.open_cold("anna").await;
    let asked = bench.store.asked();
    let local = bench.local();
    let mut altered = value.clone().into_bytes();
    altered[0] = if altered[0] == b'A' { b'B' } else { b'A' };
    assert!(matches!(local.identify(&[&altered], NO_GRACE).await, Identified::Dead));
    assert!(matches!(ask(&local, "invented").await, Identified::Dead));
    assert!(matches!(local.identify(&[], NO_GRACE).await, Identified::Anonymous));
    assert_eq!(bench.store.asked(), asked);
}

#[tokio::test]
async fn a_load_under_way_when_its_session_ends_is_not_believed_at_either_level() {
    let bench = Bench::new();
    let (value, digest) = bench.open_cold("anna").await;
    let local = bench.local();
    let asked = bench.store.asked();
    bench.store.is_late(true);
    let question = ask(&local, &value);
    let ending = async {
        bench.store.begun(asked + 1).await;
        bench.sessions.end(Which::Digest(digest), logout()).await.unwrap();
        bench.store.is_late(false);
    };
    let (answer, ()) = tokio::join!(question, ending);
    assert!(matches!(answer, Identified::Dead), "{answer:?}");
    assert!(matches!(ask(&local, &value).await, Identified::Dead));
    assert!(matches!(
        bench.sessions.identify(&[value.as_bytes()], NO_GRACE).await,
        Identified::Dead
    ));
}

#[tokio::test]
async fn a_load_under_way_when_its_user_changes_is_asked_again() {
    let bench = Bench::new();
    let (value, _) = bench.open_cold("anna").await;
    let local = bench.local();
    let asked = bench.store.asked();
    bench.store.is_late(true);
    let question = ask(&local, &value);
    let changing = async {
        bench.store.begun(asked + 1).await;
        let id = user("anna").id;
        bench.store.users.lock().unwrap().get_mut(&id).unwrap().groups.clear();
        bench.sessions.forget_user(id);
        bench.store.is_late(false);
    };
    let (answer, ()) = tokio::join!(question, changing);
    let Identified::Live(live) = answer else {
        panic!("{answer:?}")
    };
    assert!(live.entry.user.groups.is_empty());
    assert_eq!(bench.store.asked(), asked + 2);
    let Some(Identified::Live(live)) = local.try_identify(&[value.as_bytes()]) else {
        panic!()
    };
    assert!(live.entry.user.groups.is_empty());
}

#[tokio::test]
async fn what_was_ended_is_refused_at_once_at_both_levels_whoever_ends_it() {
    let ways: [fn(Digest, crate::model::PublicId) -> Which; 4] = [
        |digest, _| Which::Digest(digest),
        |_, id| Which::Public(id),
        |_, _| Which::User(user("anna").id),
        |_, _| Which::All,
    ];
    for way in ways {
        let bench = Bench::new();
        let (value, digest) = bench.open("anna").await;
        let local = bench.local();
        assert!(is_live(&ask(&local, &value).await, "anna"));
        let id = bench.store.rows.lock().unwrap()[&digest].public_id;
        let ended = bench.sessions.end(way(digest, id), logout()).await.unwrap();
        assert_eq!(ended[0].digest, digest);
        assert!(local.try_identify(&[value.as_bytes()]).is_none());
        assert!(matches!(ask(&local, &value).await, Identified::Dead));
    }
}

#[tokio::test]
async fn the_memory_of_what_was_ended_is_given_back_at_once() {
    let bench = Bench::new();
    for _ in 0..10 {
        let (_, digest) = bench.open("anna").await;
        bench.sessions.end(Which::Digest(digest), logout()).await.unwrap();
    }
    let (value, _) = bench.open("anna").await;
    assert_eq!(bench.sessions.cache.size().await, 1);
    assert!(is_live(&ask(&bench.local(), &value).await, "anna"));
}

#[tokio::test]
async fn an_end_that_was_not_heard_is_an_error_and_nothing_cached_is_believed() {
    let ways: [fn(Digest) -> Which; 3] = [Which::Digest, |_| Which::User(user("anna").id), |_| Which::All];
    for way in ways {
        let bench = Bench::new();
        let (value, digest) = bench.open("anna").await;
        let local = bench.local();
        assert!(is_live(&ask(&local, &value).await, "anna"));
        bench.store.is_down(true);
        assert!(bench.sessions.end(way(digest), logout()).await.is_err());
        let answer = local.identify(&[value.as_bytes()], MAX_AGE).await;
        assert!(matches!(answer, Identified::Unavailable));
        bench.store.is_down(false);
        assert!(matches!(ask(&local, &value).await, Identified::Dead));
    }
}

#[tokio::test]
async fn a_log_in_that_was_not_heard_leaves_the_old_session_unbelieved() {
    let bench = Bench::new();
    let (old, digest) = bench.open("anna").await;
    let local = bench.local();
    assert!(is_live(&ask(&local, &old).await, "anna"));
    let mut login = bench.login("anna");
    login.replaces = Some(digest);
    bench.store.is_down(true);
    assert!(bench.sessions.open(login).await.is_err());
    assert!(matches!(ask(&local, &old).await, Identified::Unavailable));
}

#[tokio::test]
async fn an_absent_answer_that_was_under_way_when_its_session_changed_is_asked_again() {
    let bench = Bench::new();
    let (value, digest) = bench.open_cold("anna").await;
    let row = bench.store.rows.lock().unwrap().remove(&digest).unwrap();
    let local = bench.local();
    let asked = bench.store.asked();
    bench.store.is_late(true);
    let question = ask(&local, &value);
    let changing = async {
        bench.store.begun(asked + 1).await;
        bench.store.rows.lock().unwrap().insert(digest, row);
        bench.sessions.cache.stripes.forget(&digest);
        bench.store.is_late(false);
    };
    let (answer, ()) = tokio::join!(question, changing);
    assert!(is_live(&answer, "anna"), "{answer:?}");
}

#[tokio::test]
async fn an_end_goes_on_when_nobody_waits_for_it() {
    let bench = Bench::new();
    let (value, digest) = bench.open("anna").await;
    let local = bench.local();
    assert!(is_live(&ask(&local, &value).await, "anna"));
    let mut end = Box::pin(bench.sessions.end(Which::Digest(digest), logout()));
    assert!(futures_util::poll!(&mut end).is_pending());
    drop(end);
    while !bench.store.rows.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(matches!(ask(&local, &value).await, Identified::Dead));
}

#[tokio::test]
async fn a_log_in_ends_the_session_that_the_browser_had() {
    let bench = Bench::new();
    let (old, digest) = bench.open("anna").await;
    let local = bench.local();
    assert!(is_live(&ask(&local, &old).await, "anna"));
    let mut login = bench.login("anna");
    login.replaces = Some(digest);
    bench.sessions.open(login).await.unwrap();
    assert!(local.try_identify(&[old.as_bytes()]).is_none());
    assert!(matches!(ask(&local, &old).await, Identified::Dead));
}

#[tokio::test]
async fn a_user_who_is_gone_cannot_sign_in_and_a_failed_log_in_opens_nothing() {
    let bench = Bench::new();
    let login = bench.login("anna");
    bench.store.users.lock().unwrap().clear();
    assert!(matches!(bench.sessions.open(login).await, Err(SessionError::UserGone)));
    let login = bench.login("anna");
    bench.store.is_down(true);
    assert!(matches!(bench.sessions.open(login).await, Err(SessionError::Store(_))));
}

#[tokio::test]
async fn a_hundred_misses_at_once_are_one_question() {
    let bench = Bench::new();
    let (value, _) = bench.open_cold("anna").await;
    let asked = bench.store.asked();
    bench.store.is_late(true);
    let locals: Vec<_> = (0..100).map(|_| bench.local()).collect();
    let questions = futures_util::future::join_all(locals.iter().map(|local| ask(local, &value)));
    let answering = async {
        bench.store.begun(asked + 1).await;
        bench.store.is_late(false);
    };
    let (answers, ()) = tokio::join!(questions, answering);
    assert!(answers.iter().all(|answer| is_live(answer, "anna")));
    assert_eq!(bench.store.asked(), asked + 1);
}

#[tokio::test]
async fn a_question_goes_on_when_the_one_who_asked_goes_away() {
    let bench = Bench::new();
    let (value, _) = bench.open_cold("anna").await;
    let asked = bench.store.asked();
    bench.store.is_late(true);
    let local = bench.local();
    let values = [value.as_bytes()];
    let mut question = Box::pin(local.identify(&values, NO_GRACE));
    assert!(matches!(futures_util::poll!(&mut question), Poll::Pending));
    drop(question);
    bench.store.begun(asked + 1).await;
    bench.store.is_late(false);
    assert!(is_live(&ask(&local, &value).await, "anna"));
    assert_eq!(bench.store.asked(), asked + 1);
}

#[tokio::test]
async fn an_absent_answer_is_remembered_but_not_for_long() {
    let bench = Bench::new();
    let (value, digest) = bench.open_cold("anna").await;
    bench.store.delete(&digest);
    let asked = bench.store.asked();
    for _ in 0..3 {
        assert!(matches!(ask(&bench.local(), &value).await, Identified::Dead));
    }
    assert_eq!(bench.store.asked(), asked + 1);
    bench.clock.advance(SHORT);
    assert!(matches!(ask(&bench.local(), &value).await, Identified::Dead));
    assert_eq!(bench.store.asked(), asked + 2);
}

#[tokio::test]
async fn could_not_ask_is_never_absent_and_never_remembered() {
    let bench = Bench::new();
    let (value, _) = bench.open_cold("anna").await;
    let local = bench.local();
    bench.store.is_down(true);
    assert!(matches!(ask(&local, &value).await, Identified::Unavailable));
    assert!(matches!(ask(&local, &value).await, Identified::Unavailable));
    bench.store.is_down(false);
    assert!(is_live(&ask(&local, &value).await, "anna"));
}

#[tokio::test]
async fn a_change_elsewhere_is_seen_after_the_bound_at_both_levels() {
    let bench = Bench::new();
    let (value, digest) = bench.open("anna").await;
    let local = bench.local();
    assert!(is_live(&ask(&local, &value).await, "anna"));
    bench.store.delete(&digest);
    bench.clock.advance(SHORT.saturating_sub(Duration::from_micros(1)));
    assert!(local.try_identify(&[value.as_bytes()]).is_some());
    assert!(is_live(
        &bench.sessions.identify(&[value.as_bytes()], NO_GRACE).await,
        "anna"
    ));
    bench.clock.advance(Duration::from_micros(1));
    assert!(local.try_identify(&[value.as_bytes()]).is_none());
    assert!(matches!(ask(&local, &value).await, Identified::Dead));
}

#[tokio::test]
async fn a_session_is_over_exactly_at_its_end_at_both_levels() {
    let bench = Bench::new();
    bench.sessions.cache.set_bound(LIFETIME);
    let (value, _) = bench.open("anna").await;
    let local = bench.local();
    assert!(is_live(&ask(&local, &value).await, "anna"));
    bench.clock.advance(IDLE.saturating_sub(Duration::from_micros(1)));
    assert!(local.try_identify(&[value.as_bytes()]).is_some());
    assert!(is_live(
        &bench.sessions.identify(&[value.as_bytes()], NO_GRACE).await,
        "anna"
    ));
    bench.clock.advance(Duration::from_micros(1));
    assert!(local.try_identify(&[value.as_bytes()]).is_none());
    assert!(matches!(ask(&local, &value).await, Identified::Dead));
}

#[tokio::test]
async fn a_copy_that_looks_idle_expired_is_asked_for_once_before_it_is_refused() {
    let bench = Bench::new();
    bench.sessions.cache.set_bound(LIFETIME);
    let (value, digest) = bench.open("anna").await;
    let (gone, _) = bench.open("bert").await;
    let asked = bench.store.asked();
    bench.store.rows.lock().unwrap().get_mut(&digest).unwrap().expires_at = START.plus(2 * IDLE);
    bench.clock.advance(IDLE);
    assert!(is_live(&ask(&bench.local(), &value).await, "anna"));
    for _ in 0..3 {
        assert!(matches!(ask(&bench.local(), &gone).await, Identified::Dead));
    }
    assert_eq!(bench.store.asked(), asked + 2);
    bench.store.is_down(true);
    bench.clock.advance(IDLE);
    assert!(matches!(
        bench.local().identify(&[value.as_bytes()], LIFETIME).await,
        Identified::Unavailable
    ));
}

#[tokio::test]
async fn a_disabled_user_has_no_session() {
    let bench = Bench::new();
    let (value, _) = bench.open_cold("anna").await;
    let id = user("anna").id;
    bench.store.users.lock().unwrap().get_mut(&id).unwrap().state = UserState::Disabled;
    assert!(matches!(ask(&bench.local(), &value).await, Identified::Dead));
}

#[tokio::test]
async fn during_an_outage_an_aged_answer_is_believed_for_the_grace_and_says_its_age() {
    let grace = Duration::from_mins(1);
    let bench = Bench::new();
    let (value, _) = bench.open("anna").await;
    let local = bench.local();
    assert!(is_live(&ask(&local, &value).await, "anna"));
    bench.store.is_down(true);
    bench.clock.advance(SHORT);
    assert!(matches!(ask(&local, &value).await, Identified::Unavailable));
    for _ in 0..2 {
        let Identified::Live(live) = local.identify(&[value.as_bytes()], grace).await else {
            panic!()
        };
        assert_eq!(live.stale, Some(SHORT));
        assert!(local.try_identify(&[value.as_bytes()]).is_none());
    }
    bench.clock.advance(grace);
    assert!(matches!(
        local.identify(&[value.as_bytes()], grace).await,
        Identified::Unavailable
    ));
}

#[tokio::test]
async fn the_grace_ends_with_the_outage_and_never_covers_a_known_end() {
    let grace = Duration::from_mins(1);
    let bench = Bench::new();
    let (value, digest) = bench.open("anna").await;
    let local = bench.local();
    bench.store.is_down(true);
    bench.clock.advance(SHORT);
    assert!(matches!(
        local.identify(&[value.as_bytes()], grace).await,
        Identified::Live(_)
    ));
    bench.store.is_down(false);
    // The first one after the outage need not wait for the answer that its question brings.
    drop(local.identify(&[value.as_bytes()], grace).await);
    while bench.sessions.cache.flights.failing() {
        tokio::task::yield_now().await;
    }
    assert!(is_live(&local.identify(&[value.as_bytes()], grace).await, "anna"));
    bench.store.is_down(true);
    bench.clock.advance(SHORT);
    bench.sessions.cache.stripes.forget(&digest);
    assert!(matches!(
        local.identify(&[value.as_bytes()], grace).await,
        Identified::Unavailable
    ));
}

#[tokio::test]
async fn of_several_cookies_the_one_live_session_is_used() {
    let bench = Bench::new();
    let (dead, digest) = bench.open("anna").await;
    let (value, _) = bench.open("bert").await;
    bench.sessions.end(Which::Digest(digest), logout()).await.unwrap();
    let local = bench.local();
    let values: [&[u8]; 4] = [b"forged", dead.as_bytes(), value.as_bytes(), value.as_bytes()];
    assert!(is_live(&local.identify(&values, NO_GRACE).await, "bert"));
}

#[tokio::test]
async fn of_two_sessions_of_one_user_the_newest_is_used() {
    let bench = Bench::new();
    let (old, _) = bench.open("anna").await;
    bench.clock.advance(Duration::from_secs(1));
    let (new, newest) = bench.open("anna").await;
    for values in [[old.as_bytes(), new.as_bytes()], [new.as_bytes(), old.as_bytes()]] {
        let Identified::Live(live) = bench.local().identify(&values, NO_GRACE).await else {
            panic!()
        };
        assert_eq!(live.entry.session.digest, newest);
    }
}

#[tokio::test]
async fn live_sessions_of_two_users_are_no_session_and_audited_once() {
    let bench = Bench::new();
    let (anna, _) = bench.open("anna").await;
    let (bert, _) = bench.open("bert").await;
    let local = bench.local();
    for _ in 0..3 {
        let answer = local.identify(&[anna.as_bytes(), bert.as_bytes()], NO_GRACE).await;
        assert!(matches!(answer, Identified::Conflict), "{answer:?}");
    }
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let events = bench.store.events.lock().unwrap();
    let conflicts: Vec<&Event> = events
        .iter()
        .filter(|event| event.kind == EventKind::SessionConflict)
        .collect();
    let names: Vec<_> = conflicts.iter().filter_map(|event| event.username.as_deref()).collect();
    assert_eq!(names, ["anna", "bert"]);
}

#[tokio::test]
async fn one_live_and_one_that_could_not_be_asked_for_is_undecided() {
    let bench = Bench::new();
    let (bert, digest) = bench.open("bert").await;
    let (anna, _) = bench.open("anna").await;
    bench.sessions.cache.stripes.forget(&digest);
    bench.store.is_down(true);
    for values in [[anna.as_bytes(), bert.as_bytes()], [bert.as_bytes(), anna.as_bytes()]] {
        assert!(matches!(
            bench.local().identify(&values, NO_GRACE).await,
            Identified::Unavailable
        ));
    }
}

#[tokio::test]
async fn another_instance_finds_the_session_and_sees_its_end_after_the_bound() {
    let one = Bench::new();
    let two = Bench::over(Arc::clone(&one.store), one.clock.clone());
    let (value, digest) = one.open("anna").await;
    assert!(is_live(&ask(&two.local(), &value).await, "anna"));
    one.sessions.end(Which::Digest(digest), logout()).await.unwrap();
    one.clock.advance(SHORT);
    assert!(matches!(ask(&two.local(), &value).await, Identified::Dead));
}

#[tokio::test]
async fn hits_and_look_ups_are_counted() {
    let bench = Bench::new();
    let (value, _) = bench.open_cold("anna").await;
    let local = bench.local();
    for _ in 0..5 {
        assert!(is_live(&ask(&local, &value).await, "anna"));
    }
    assert!(is_live(&ask(&bench.local(), &value).await, "anna"));
    drop(local);
    let text = bench.metrics.text();
    for line in [
        r#"portcullis_cache_hits_total{level="first"} 4"#,
        r#"portcullis_cache_hits_total{level="shared"} 1"#,
        r#"portcullis_session_lookups_total{source="native",result="found"} 2"#,
        r#"portcullis_session_lookups_total{source="native",result="unavailable"} 0"#,
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
}

mod watching {
    use super::super::watch::{Poll, set_time};
    use super::*;
    use std::sync::atomic::Ordering::SeqCst;

    #[tokio::test]
    async fn a_write_by_another_process_makes_everything_forgotten() {
        let bench = Bench::new();
        let cache = &bench.sessions.cache;
        let mut poll = Poll::default();
        assert!(poll.step(cache).await.is_continue());
        let (value, digest) = bench.open("anna").await;
        let local = bench.local();
        bench.clock.advance(SHORT);
        assert!(poll.step(cache).await.is_continue());
        assert!(is_live(&ask(&local, &value).await, "anna"), "the long bound holds");
        assert!(bench.metrics.text().contains("portcullis_feed_healthy 1"));
        bench.store.delete(&digest);
        bench.store.version.store(2, SeqCst);
        assert!(is_live(&ask(&local, &value).await, "anna"));
        assert!(poll.step(cache).await.is_continue());
        assert!(matches!(ask(&local, &value).await, Identified::Dead));
    }

    #[tokio::test]
    async fn a_poll_that_fails_shortens_the_bound_and_the_next_forgets_everything() {
        let bench = Bench::new();
        let cache = &bench.sessions.cache;
        let mut poll = Poll::default();
        assert!(poll.step(cache).await.is_continue());
        let (value, digest) = bench.open("anna").await;
        let local = bench.local();
        assert!(is_live(&ask(&local, &value).await, "anna"));
        bench.store.is_down(true);
        assert!(poll.step(cache).await.is_continue());
        assert!(bench.metrics.text().contains("portcullis_feed_healthy 0"));
        bench.store.delete(&digest);
        bench.store.is_down(false);
        assert!(is_live(&ask(&local, &value).await, "anna"));
        assert!(poll.step(cache).await.is_continue());
        assert!(matches!(ask(&local, &value).await, Identified::Dead));
    }

    #[tokio::test]
    async fn the_databases_clock_decides_when_a_session_is_over() {
        let bench = Bench::new();
        let (value, _) = bench.open("anna").await;
        *bench.store.clock.lock().unwrap() = START.plus(IDLE);
        set_time(&bench.sessions.cache).await.unwrap();
        assert_eq!(bench.sessions.now(), START.plus(IDLE));
        assert!(matches!(ask(&bench.local(), &value).await, Identified::Dead));
    }

    #[tokio::test]
    async fn the_watch_ends_when_it_is_told_to() {
        let bench = Bench::new();
        let stop = tokio_util::sync::CancellationToken::new();
        let watch = tokio::spawn(Arc::clone(&bench.sessions).watch(stop.clone()));
        stop.cancel();
        tokio::time::timeout(Duration::from_secs(10), watch)
            .await
            .unwrap()
            .unwrap();
    }
}
