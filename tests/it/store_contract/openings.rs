use crate::support::store::{NOON, Opened, add, event, open_session, session, user};
use portcullis::model::{Event, EventKind, NewSession, PublicId, Session, User, WhenFull};
use portcullis::store::{RecordedEvent, StoreError};
use std::num::NonZeroU32;
use std::time::Duration;

/// A session of `user` that was last seen so many minutes before noon, and is opened at noon.
fn seen(user: &User, minutes: u64) -> Session {
    Session {
        last_seen_at: NOON.minus(Duration::from_mins(minutes)),
        ..session(user)
    }
}

fn limited(session: &Session, most: u32, when_full: WhenFull) -> NewSession {
    NewSession {
        limit: NonZeroU32::new(most),
        when_full,
        ..NewSession::of(session.clone())
    }
}

fn login(session: &Session, user: &User) -> Event {
    Event {
        user: Some(user.id),
        username: Some(user.username.to_string()),
        session: Some(session.public_id),
        address: Some([192, 0, 2, 7].into()),
        device: Some("Firefox on Linux".to_owned()),
        ..event(EventKind::LoginSucceeded)
    }
}

async fn open(opened: &Opened, new: NewSession, user: &User) -> Result<Vec<PublicId>, StoreError> {
    let event = login(&new.session, user);
    let ended = opened.store.open_session(new, event).await?;
    Ok(ended.iter().map(|one| one.public_id).collect())
}

async fn events(opened: &Opened, kind: EventKind) -> Vec<RecordedEvent> {
    let events = opened.store.list_events(None, 1000).await.unwrap();
    events.into_iter().filter(|event| event.kind == kind.as_str()).collect()
}

pub async fn the_session_unseen_for_longest_ends_for_one_too_many(opened: &Opened) {
    let (ann, bob) = (user("ann"), user("bob"));
    add(&*opened.store, &ann).await;
    add(&*opened.store, &bob).await;
    let (old, older, newest, of_bob) = (seen(&ann, 5), seen(&ann, 9), seen(&ann, 0), seen(&bob, 99));
    for one in [&old, &older, &newest, &of_bob] {
        open_session(&*opened.store, one).await;
    }
    let next = session(&ann);
    let ended = open(opened, limited(&next, 3, WhenFull::EndOldest), &ann)
        .await
        .unwrap();
    assert_eq!(ended, [older.public_id]);
    let told = events(opened, EventKind::SessionEnded).await;
    let [told] = &told[..] else { panic!("{told:?}") };
    assert_eq!(
        (told.session, told.successor),
        (Some(older.public_id), Some(next.public_id))
    );
    assert_eq!((told.reason.as_deref(), told.user), (Some("limit"), Some(ann.id)));
    assert_eq!((told.username.as_deref(), told.device.as_deref()), (Some("ann"), None));
    for kept in [&old, &newest, &next, &of_bob] {
        assert!(opened.store.find_session(&kept.digest).await.unwrap().is_some());
    }
    // A limit that was lowered is reached by one log-in.
    let last = session(&ann);
    let mut ended = open(opened, limited(&last, 1, WhenFull::EndOldest), &ann)
        .await
        .unwrap();
    ended.sort();
    let mut expected = [old.public_id, newest.public_id, next.public_id];
    expected.sort();
    assert_eq!(ended, expected);
}

pub async fn a_log_in_beyond_the_limit_is_refused_where_that_is_wanted(opened: &Opened) {
    let ann = user("ann");
    add(&*opened.store, &ann).await;
    let (first, second) = (session(&ann), session(&ann));
    open_session(&*opened.store, &first).await;
    open_session(&*opened.store, &second).await;
    let refused = session(&ann);
    let outcome = open(opened, limited(&refused, 2, WhenFull::Refuse), &ann).await;
    assert!(matches!(outcome, Err(StoreError::Full)), "{outcome:?}");
    assert!(opened.store.find_session(&refused.digest).await.unwrap().is_none());
    assert_eq!(events(opened, EventKind::SessionEnded).await.len(), 0);
    // What the log-in would have replaced stays when it is refused, and makes room when it is not.
    let replacing = |most| NewSession {
        replaces: Some(first.digest),
        ..limited(&refused, most, WhenFull::Refuse)
    };
    let outcome = open(opened, replacing(1), &ann).await;
    assert!(matches!(outcome, Err(StoreError::Full)), "{outcome:?}");
    assert!(opened.store.find_session(&first.digest).await.unwrap().is_some());
    assert_eq!(open(opened, replacing(2), &ann).await.unwrap(), [first.public_id]);
}

pub async fn sessions_that_are_over_take_nobodys_place(opened: &Opened) {
    let ann = user("ann");
    add(&*opened.store, &ann).await;
    let idle = Session {
        expires_at: NOON,
        ..session(&ann)
    };
    let ended = Session {
        expires_at: NOON,
        ends_at: NOON,
        ..session(&ann)
    };
    let live = session(&ann);
    for one in [&idle, &ended, &live] {
        open_session(&*opened.store, one).await;
    }
    let next = session(&ann);
    assert!(
        open(opened, limited(&next, 2, WhenFull::Refuse), &ann)
            .await
            .unwrap()
            .is_empty()
    );
}

pub async fn log_ins_at_once_never_exceed_the_limit(opened: &Opened) {
    let ann = user("ann");
    add(&*opened.store, &ann).await;
    let beside = opened.beside().await;
    for when_full in [WhenFull::EndOldest, WhenFull::Refuse] {
        let log_ins = (0..16).map(|number| {
            let store = if number % 2 == 0 { &opened.store } else { &beside };
            let new = limited(&session(&ann), 3, when_full);
            async move { store.open_session(new, event(EventKind::LoginSucceeded)).await }
        });
        let outcomes = futures_util::future::join_all(log_ins).await;
        let done = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        let live = opened.store.list_sessions(Some(ann.id), None, 100).await.unwrap();
        assert_eq!(live.len(), 3, "{when_full:?}");
        match when_full {
            WhenFull::EndOldest => assert_eq!(done, 16),
            WhenFull::Refuse => assert_eq!(done, 0, "three were open already"),
        }
    }
    let newcomers = user("bob");
    add(&*opened.store, &newcomers).await;
    let log_ins = (0..16).map(|_| {
        let new = limited(&session(&newcomers), 3, WhenFull::Refuse);
        opened.store.open_session(new, event(EventKind::LoginSucceeded))
    });
    let outcomes = futures_util::future::join_all(log_ins).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 3);
    let full = |outcome: &&Result<_, StoreError>| matches!(outcome, Err(StoreError::Full));
    assert_eq!(outcomes.iter().filter(full).count(), 13);
}

pub async fn a_new_session_is_linked_to_the_one_it_replaces(opened: &Opened) {
    let (ann, bob) = (user("ann"), user("bob"));
    add(&*opened.store, &ann).await;
    add(&*opened.store, &bob).await;
    let (first, second, of_bob) = (session(&ann), session(&ann), session(&bob));
    open_session(&*opened.store, &first).await;
    let replacing = |new: &Session, old: &Session| NewSession {
        replaces: Some(old.digest),
        ..NewSession::of(new.clone())
    };
    open(opened, replacing(&second, &first), &ann).await.unwrap();
    open(opened, replacing(&of_bob, &second), &bob).await.unwrap();
    let told = events(opened, EventKind::SessionEnded).await;
    let [by_bob, by_ann] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(
        (by_ann.session, by_ann.successor),
        (Some(first.public_id), Some(second.public_id))
    );
    assert_eq!(
        (by_ann.reason.as_deref(), by_ann.username.as_deref()),
        (Some("replaced"), Some("ann"))
    );
    assert_eq!(
        (by_bob.session, by_bob.successor),
        (Some(second.public_id), Some(of_bob.public_id))
    );
    assert_eq!((by_bob.user, by_bob.username.as_deref()), (Some(ann.id), None));
    assert_eq!(by_bob.actor, "tests");
    let opened_by = events(opened, EventKind::LoginSucceeded).await;
    assert!(opened_by.iter().all(|event| event.successor.is_none()));
}

pub async fn a_device_is_new_until_a_live_session_has_the_same_agent(opened: &Opened) {
    let (ann, bob) = (user("ann"), user("bob"));
    add(&*opened.store, &ann).await;
    add(&*opened.store, &bob).await;
    let with = |user: &User, agent: Option<&str>| Session {
        user_agent: agent.map(str::to_owned),
        ..session(user)
    };
    let told = async |new: Session, tell: bool, user: &User| {
        let before = events(opened, EventKind::NewDevice).await.len();
        let new = NewSession {
            tell_new_device: tell,
            ..NewSession::of(new)
        };
        open(opened, new, user).await.unwrap();
        events(opened, EventKind::NewDevice).await.len() > before
    };
    assert!(told(with(&ann, Some("one")), true, &ann).await);
    assert!(!told(with(&ann, Some("one")), true, &ann).await);
    assert!(told(with(&ann, Some("two")), true, &ann).await);
    assert!(
        !told(with(&ann, Some("three")), false, &ann).await,
        "the browser is known"
    );
    assert!(
        told(with(&bob, Some("one")), true, &bob).await,
        "what others have says nothing"
    );
    assert!(told(with(&ann, None), true, &ann).await);
    assert!(!told(with(&ann, None), true, &ann).await);
    let over = Session {
        expires_at: NOON,
        ..with(&ann, Some("four"))
    };
    assert!(told(over, true, &ann).await);
    assert!(
        told(with(&ann, Some("four")), true, &ann).await,
        "a session that is over says nothing"
    );
    let newest = &events(opened, EventKind::NewDevice).await[0];
    assert_eq!(
        (newest.user, newest.device.as_deref()),
        (Some(ann.id), Some("Firefox on Linux"))
    );
    assert!(newest.session.is_some() && newest.address.is_some());
}
