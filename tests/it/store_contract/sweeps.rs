use crate::support::store::{NOON, Opened, add, open_session, session, user};
use portcullis::model::{Session, Timestamp};
use portcullis::store::{Sweep, SweepScope};
use std::time::Duration;

const MICRO: Duration = Duration::from_micros(1);
const HOUR: Duration = Duration::from_hours(1);

/// Opens sessions that end at these moments.
async fn ending_at(opened: &Opened, ends: &[Timestamp]) -> Vec<Session> {
    let ann = user("ann");
    add(&*opened.store, &ann).await;
    let mut all = Vec::new();
    for end in ends {
        let one = Session {
            last_seen_at: NOON.minus(HOUR),
            expires_at: *end,
            ..session(&ann)
        };
        open_session(&*opened.store, &one).await;
        all.push(one);
    }
    all
}

async fn is_there(opened: &Opened, session: &Session) -> bool {
    opened.store.find_session(&session.digest).await.unwrap().is_some()
}

pub async fn a_thorough_sweep_removes_exactly_what_is_over(opened: &Opened) {
    let ends = [
        NOON.minus(2 * HOUR),
        NOON.minus(MICRO),
        NOON,
        NOON.plus(MICRO),
        NOON.plus(HOUR),
    ];
    let all = ending_at(opened, &ends).await;
    let events = opened.store.list_events(None, 100).await.unwrap().len();
    let removed = opened.store.sweep_sessions(SweepScope::All, NOON, 100).await.unwrap();
    assert_eq!(removed, Some(3));
    for (session, stays) in all.iter().zip([false, false, false, true, true]) {
        assert_eq!(is_there(opened, session).await, stays, "{:?}", session.expires_at);
    }
    assert_eq!(opened.store.list_events(None, 100).await.unwrap().len(), events);
}

pub async fn a_due_sweep_leaves_what_ended_within_the_hour_and_nothing_older(opened: &Opened) {
    let ends = [NOON.minus(HOUR), NOON.minus(2 * HOUR), NOON.plus(MICRO)];
    let all = ending_at(opened, &ends).await;
    let removed = opened.store.sweep_sessions(SweepScope::Due, NOON, 100).await.unwrap();
    assert_eq!(removed, Some(2));
    assert!(is_there(opened, &all[2]).await);
    let recent = ending_at_more(opened, NOON.minus(MICRO)).await;
    let later = NOON.plus(HOUR).minus(MICRO);
    opened.store.sweep_sessions(SweepScope::Due, later, 100).await.unwrap();
    assert!(!is_there(opened, &recent).await);
}

async fn ending_at_more(opened: &Opened, end: Timestamp) -> Session {
    let bob = user("bob");
    add(&*opened.store, &bob).await;
    let one = Session {
        expires_at: end,
        ..session(&bob)
    };
    open_session(&*opened.store, &one).await;
    one
}

pub async fn a_sweep_takes_no_more_than_it_is_told(opened: &Opened) {
    ending_at(opened, &[NOON.minus(HOUR); 5]).await;
    for left in [2, 2, 1, 0] {
        let removed = opened.store.sweep_sessions(SweepScope::All, NOON, 2).await.unwrap();
        assert_eq!(removed, Some(left));
    }
}

pub async fn a_session_that_activity_moved_on_is_not_swept(opened: &Opened) {
    let all = ending_at(opened, &[NOON.plus(MICRO)]).await;
    let touch = portcullis::store::Touch {
        digest: all[0].digest,
        seen_at: NOON,
        expires_at: NOON.plus(3 * HOUR),
        known_end: all[0].expires_at,
        address: None,
    };
    drop(opened.store.touch_sessions(&[touch], Duration::ZERO).await.unwrap());
    let moment = NOON.plus(Duration::from_secs(2)).plus(3 * HOUR);
    for (at, removed) in [(NOON.plus(2 * HOUR), 0), (moment, 1)] {
        let swept = opened.store.sweep_sessions(SweepScope::All, at, 100).await.unwrap();
        assert_eq!(swept, Some(removed), "{at:?}");
    }
}

pub async fn the_last_sweeps_are_kept_newest_first_and_not_for_ever(opened: &Opened) {
    let run = |number: u64| Sweep {
        at: NOON.plus(Duration::from_secs(number)),
        took: Duration::from_micros(number),
        removed: number,
        by_hand: number.is_multiple_of(2),
        error: number.is_multiple_of(3).then(|| "timed_out".to_owned()),
    };
    for number in 0..210 {
        opened.store.record_sweep(run(number)).await.unwrap();
    }
    let last = opened.store.last_sweeps(3).await.unwrap();
    assert_eq!(last, [run(209), run(208), run(207)]);
    assert_eq!(opened.store.last_sweeps(1000).await.unwrap().len(), 200);
    let strange = Sweep {
        error: Some("anything else".to_owned()),
        ..run(0)
    };
    assert!(opened.store.record_sweep(strange).await.is_err());
}
