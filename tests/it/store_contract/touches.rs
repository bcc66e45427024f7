use crate::support::store::{NOON, Opened, add, event, open_session, session, user};
use portcullis::model::{EventKind, Session, Timestamp, User};
use portcullis::store::{Touch, Touched, Which};
use std::time::Duration;

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// A session that was last seen at noon, an hour before its idle end and twelve before its absolute one.
fn seen_at_noon(user: &User) -> Session {
    Session {
        last_seen_at: NOON,
        ..session(user)
    }
}

fn touch(session: &Session, seen_at: Timestamp) -> Touch {
    Touch {
        digest: session.digest,
        seen_at,
        expires_at: seen_at.plus(HOUR),
        known_end: session.expires_at,
        address: Some([192, 0, 2, 99].into()),
    }
}

async fn opened_for(opened: &Opened) -> Session {
    let ann = user("ann");
    let written = seen_at_noon(&ann);
    add(&*opened.store, &ann).await;
    open_session(&*opened.store, &written).await;
    written
}

async fn row(opened: &Opened, session: &Session) -> Session {
    let found = opened.store.find_session(&session.digest).await.unwrap();
    found.expect("the session is there").session
}

async fn outcome(opened: &Opened, touch: Touch) -> Touched {
    opened.store.touch_sessions(&[touch], MINUTE).await.unwrap()[0]
}

pub async fn a_touch_moves_the_idle_end_and_writes_when_and_from_where(opened: &Opened) {
    let before = opened_for(opened).await;
    let at = NOON.plus(MINUTE);
    assert_eq!(outcome(opened, touch(&before, at)).await, Touched::Written);
    let expected = Session {
        last_seen_at: at,
        expires_at: at.plus(HOUR),
        last_address: Some([192, 0, 2, 99].into()),
        ..before.clone()
    };
    assert_eq!(row(opened, &before).await, expected);
    let nowhere = Touch {
        address: None,
        ..touch(&before, at.plus(MINUTE))
    };
    assert_eq!(outcome(opened, nowhere).await, Touched::Written);
    assert_eq!(row(opened, &before).await.last_address, expected.last_address);
}

pub async fn a_touch_moves_times_forward_only(opened: &Opened) {
    let before = opened_for(opened).await;
    let late = NOON.plus(10 * MINUTE);
    assert_eq!(outcome(opened, touch(&before, late)).await, Touched::Written);
    let stands = row(opened, &before).await;
    for earlier in [late, late.minus(MINUTE), NOON, NOON.minus(HOUR)] {
        assert_eq!(outcome(opened, touch(&before, earlier)).await, Touched::Known);
    }
    let shorter = Touch {
        expires_at: NOON,
        ..touch(&before, late.plus(MINUTE))
    };
    assert_eq!(outcome(opened, shorter).await, Touched::Written);
    assert_eq!(row(opened, &before).await.expires_at, stands.expires_at);
}

pub async fn touches_of_several_instances_are_one_in_an_interval(opened: &Opened) {
    let before = opened_for(opened).await;
    let almost = NOON.plus(MINUTE).minus(Duration::from_micros(1));
    assert_eq!(outcome(opened, touch(&before, almost)).await, Touched::Known);
    assert_eq!(row(opened, &before).await, before);
    assert_eq!(
        outcome(opened, touch(&before, NOON.plus(MINUTE))).await,
        Touched::Written
    );
}

pub async fn a_touch_never_moves_an_end_past_the_absolute_one(opened: &Opened) {
    let before = opened_for(opened).await;
    let long = Touch {
        expires_at: before.ends_at.plus(HOUR),
        ..touch(&before, NOON.plus(MINUTE))
    };
    assert_eq!(outcome(opened, long).await, Touched::Written);
    assert_eq!(row(opened, &before).await.expires_at, before.ends_at);
}

pub async fn activity_just_before_the_end_counts_and_at_the_end_does_not(opened: &Opened) {
    let before = opened_for(opened).await;
    let end = before.expires_at;
    for late in [end, end.plus(MINUTE)] {
        assert_eq!(outcome(opened, touch(&before, late)).await, Touched::Over);
    }
    assert_eq!(row(opened, &before).await, before);
    let just = end.minus(Duration::from_micros(1));
    assert_eq!(outcome(opened, touch(&before, just)).await, Touched::Written);
    assert_eq!(row(opened, &before).await.expires_at, just.plus(HOUR));
}

pub async fn an_end_that_was_brought_forward_stays(opened: &Opened) {
    let before = opened_for(opened).await;
    let known = Touch {
        known_end: before.expires_at.plus(Duration::from_micros(1)),
        ..touch(&before, NOON.plus(MINUTE))
    };
    assert_eq!(outcome(opened, known).await, Touched::Over);
    assert_eq!(row(opened, &before).await, before);
}

pub async fn a_touch_brings_no_ended_session_back(opened: &Opened) {
    let before = opened_for(opened).await;
    let ended = opened
        .store
        .end_sessions(Which::Digest(before.digest), event(EventKind::LoggedOut));
    assert_eq!(ended.await.unwrap().len(), 1);
    assert_eq!(outcome(opened, touch(&before, NOON.plus(MINUTE))).await, Touched::Over);
    assert!(opened.store.find_session(&before.digest).await.unwrap().is_none());
}

pub async fn touches_are_answered_in_their_order(opened: &Opened) {
    let ann = user("ann");
    add(&*opened.store, &ann).await;
    let mut touches = Vec::new();
    let mut expected = Vec::new();
    for number in 0..60_u32 {
        let one = seen_at_noon(&ann);
        let (seen_at, outcome) = match number % 3 {
            0 => (NOON.plus(MINUTE), Touched::Written),
            1 => (NOON, Touched::Known),
            _ => (NOON.plus(MINUTE), Touched::Over),
        };
        if outcome != Touched::Over {
            open_session(&*opened.store, &one).await;
        }
        touches.push(touch(&one, seen_at));
        expected.push(outcome);
    }
    assert_eq!(opened.store.touch_sessions(&touches, MINUTE).await.unwrap(), expected);
    assert_eq!(opened.store.touch_sessions(&[], MINUTE).await.unwrap(), []);
}
