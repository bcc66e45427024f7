use crate::support::store::{NOON, Opened, add, event, open_session, session, user};
use portcullis::model::{Digest, EventKind, NewSession, PublicId, Session, UserId, UserState};
use portcullis::store::{StoreError, UserChange, Which};
use std::time::Duration;
use uuid::Uuid;

pub async fn a_session_comes_back_as_it_was_written(opened: &Opened) {
    let ann = user("ann");
    let mut written = session(&ann);
    written.data = Some(serde_json::json!({"theme": "dark", "n": [1, 2.5, null], "ü": "ä"}));
    add(&*opened.store, &ann).await;
    open_session(&*opened.store, &written).await;
    let found = opened.store.find_session(&written.digest).await.unwrap().unwrap();
    assert_eq!((&found.session, &found.user), (&written, &ann));
    let found = opened
        .store
        .find_session_by_public_id(written.public_id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((&found.session, &found.user), (&written, &ann));
}

pub async fn a_session_without_the_optional_parts_comes_back_so(opened: &Opened) {
    let mut bob = user("bob");
    (bob.email, bob.email_verified, bob.name) = (None, false, None);
    bob.groups.clear();
    let written = Session {
        remembered: false,
        methods: Vec::new(),
        user_agent: None,
        device: None,
        first_address: None,
        last_address: None,
        ..session(&bob)
    };
    add(&*opened.store, &bob).await;
    open_session(&*opened.store, &written).await;
    let found = opened.store.find_session(&written.digest).await.unwrap().unwrap();
    assert_eq!((found.session, found.user), (written, bob));
}

pub async fn an_unknown_digest_is_absent(opened: &Opened) {
    assert!(opened.store.find_session(&Digest([7; 32])).await.unwrap().is_none());
    let unknown = opened.store.find_session_by_public_id(PublicId(Uuid::now_v7())).await;
    assert!(unknown.unwrap().is_none());
}

pub async fn an_expired_session_is_still_found_and_the_caller_judges(opened: &Opened) {
    let ann = user("ann");
    let mut over = session(&ann);
    over.expires_at = NOON.minus(Duration::from_hours(1));
    add(&*opened.store, &ann).await;
    open_session(&*opened.store, &over).await;
    let found = opened.store.find_session(&over.digest).await.unwrap().unwrap();
    assert!(found.session.is_over(NOON));
}

pub async fn a_log_in_ends_the_session_it_replaces(opened: &Opened) {
    let ann = user("ann");
    let (old, new) = (session(&ann), session(&ann));
    add(&*opened.store, &ann).await;
    open_session(&*opened.store, &old).await;
    let replaced = opened
        .store
        .open_session(replacing(&new, old.digest), event(EventKind::LoginSucceeded))
        .await;
    let replaced = replaced.unwrap().remove(0);
    assert_eq!(
        (replaced.digest, replaced.public_id, replaced.user),
        (old.digest, old.public_id, ann.id)
    );
    assert!(opened.store.find_session(&old.digest).await.unwrap().is_none());
    assert!(opened.store.find_session(&new.digest).await.unwrap().is_some());
}

pub async fn data_is_carried_over_for_the_same_user_only(opened: &Opened) {
    let (ann, bob) = (user("ann"), user("bob"));
    let (mut first, second, third) = (session(&ann), session(&ann), session(&bob));
    first.data = Some(serde_json::json!({"cart": 3}));
    add(&*opened.store, &ann).await;
    add(&*opened.store, &bob).await;
    open_session(&*opened.store, &first).await;
    let login = || event(EventKind::LoginSucceeded);
    opened
        .store
        .open_session(replacing(&second, first.digest), login())
        .await
        .unwrap();
    let of_same_user = opened.store.find_session(&second.digest).await.unwrap().unwrap();
    assert_eq!(of_same_user.session.data, first.data);
    let replaced = opened
        .store
        .open_session(replacing(&third, second.digest), login())
        .await
        .unwrap();
    assert_eq!(replaced[0].user, ann.id);
    let of_another = opened.store.find_session(&third.digest).await.unwrap().unwrap();
    assert_eq!(of_another.session.data, None);
}

pub async fn a_replaced_session_that_is_gone_is_no_error(opened: &Opened) {
    let ann = user("ann");
    let new = session(&ann);
    add(&*opened.store, &ann).await;
    let gone = Digest([9; 32]);
    let opening = opened
        .store
        .open_session(replacing(&new, gone), event(EventKind::LoginSucceeded))
        .await;
    assert!(opening.unwrap().is_empty());
    assert!(opened.store.find_session(&new.digest).await.unwrap().is_some());
}

pub async fn nobody_opens_a_session_for_a_disabled_or_missing_user(opened: &Opened) {
    let (ann, stranger) = (user("ann"), user("stranger"));
    add(&*opened.store, &ann).await;
    let disabling = UserChange {
        state: Some(UserState::Disabled),
        ..UserChange::default()
    };
    opened
        .store
        .change_user(ann.id, disabling, event(EventKind::UserDisabled))
        .await
        .unwrap();
    for nobody in [&ann, &stranger] {
        let new = session(nobody);
        let opening = NewSession::of(new.clone());
        let refused = opened
            .store
            .open_session(opening, event(EventKind::LoginSucceeded))
            .await;
        assert!(matches!(refused, Err(StoreError::NoSuchUser)), "{refused:?}");
        assert!(opened.store.find_session(&new.digest).await.unwrap().is_none());
    }
    assert_eq!(kinds(opened, None).await, ["user_disabled", "user_added"]);
}

pub async fn a_failed_log_in_leaves_the_replaced_session_alone(opened: &Opened) {
    let ann = user("ann");
    let old = session(&ann);
    add(&*opened.store, &ann).await;
    open_session(&*opened.store, &old).await;
    let nobody = session(&user("nobody"));
    let refused = opened
        .store
        .open_session(replacing(&nobody, old.digest), event(EventKind::LoginSucceeded))
        .await;
    assert!(matches!(refused, Err(StoreError::NoSuchUser)), "{refused:?}");
    // A session with a digest that exists already: the insert fails after the old one was taken.
    let twin = Session {
        digest: old.digest,
        ..session(&ann)
    };
    let other = session(&ann);
    open_session(&*opened.store, &other).await;
    let refused = opened
        .store
        .open_session(replacing(&twin, other.digest), event(EventKind::LoginSucceeded))
        .await;
    assert!(matches!(refused, Err(StoreError::Failed { .. })), "{refused:?}");
    for kept in [&old, &other] {
        assert!(opened.store.find_session(&kept.digest).await.unwrap().is_some());
    }
}

pub async fn ending_tells_exactly_which_sessions_ended(opened: &Opened) {
    let (ann, bob) = (user("ann"), user("bob"));
    add(&*opened.store, &ann).await;
    add(&*opened.store, &bob).await;
    let of_ann: Vec<Session> = std::iter::repeat_with(|| session(&ann)).take(4).collect();
    let of_bob: Vec<Session> = std::iter::repeat_with(|| session(&bob)).take(2).collect();
    for session in of_ann.iter().chain(&of_bob) {
        open_session(&*opened.store, session).await;
    }
    assert_eq!(
        end(opened, Which::Digest(of_ann[0].digest)).await,
        public_ids(&of_ann[..1])
    );
    assert_eq!(
        end(opened, Which::Public(of_ann[1].public_id)).await,
        public_ids(&of_ann[1..2])
    );
    let others = Which::Others {
        user: ann.id,
        keep: of_ann[2].digest,
    };
    assert_eq!(end(opened, others.clone()).await, public_ids(&of_ann[3..]));
    assert_eq!(end(opened, others).await, []);
    assert_eq!(end(opened, Which::User(ann.id)).await, public_ids(&of_ann[2..3]));
    assert_eq!(end(opened, Which::User(ann.id)).await, []);
    assert_eq!(end(opened, Which::All).await, public_ids(&of_bob));
    assert!(opened.store.list_sessions(None, None, 10).await.unwrap().is_empty());
}

pub async fn ending_nothing_writes_no_event(opened: &Opened) {
    assert_eq!(end(opened, Which::Digest(Digest([1; 32]))).await, []);
    assert_eq!(end(opened, Which::User(UserId(Uuid::now_v7()))).await, []);
    assert_eq!(end(opened, Which::All).await, []);
    assert!(opened.store.list_events(None, 10).await.unwrap().is_empty());
}

pub async fn ending_one_fills_in_the_event(opened: &Opened) {
    let ann = user("ann");
    let sessions = [session(&ann), session(&ann), session(&ann)];
    add(&*opened.store, &ann).await;
    for session in &sessions {
        open_session(&*opened.store, session).await;
    }
    end(opened, Which::Digest(sessions[0].digest)).await;
    let events = opened.store.list_events(Some(ann.id), 1).await.unwrap();
    assert_eq!(
        (events[0].session, events[0].kind.as_str()),
        (Some(sessions[0].public_id), "session_ended")
    );
    end(opened, Which::All).await;
    let events = opened.store.list_events(None, 1).await.unwrap();
    assert_eq!((events[0].session, events[0].user), (None, None));
}

pub async fn sessions_are_listed_newest_first_in_pages(opened: &Opened) {
    let (ann, bob) = (user("ann"), user("bob"));
    add(&*opened.store, &ann).await;
    add(&*opened.store, &bob).await;
    let mut sessions = Vec::new();
    for index in 0..5 {
        sessions.push(session(if index % 2 == 0 { &ann } else { &bob }));
    }
    for session in &sessions {
        open_session(&*opened.store, session).await;
    }
    sessions.reverse();
    let ids = public_ids_in_order(&sessions);
    let first = listed(opened, None, None, 3).await;
    assert_eq!(first, ids[..3]);
    assert_eq!(listed(opened, None, Some(first[2]), 3).await, ids[3..]);
    assert_eq!(listed(opened, Some(ann.id), None, 9).await, [ids[0], ids[2], ids[4]]);
    assert_eq!(listed(opened, Some(ann.id), Some(ids[0]), 1).await, [ids[2]]);
    assert!(listed(opened, None, None, 0).await.is_empty());
}

pub async fn sessions_that_are_over_are_not_counted(opened: &Opened) {
    let ann = user("ann");
    add(&*opened.store, &ann).await;
    let live = session(&ann);
    let at_its_end = Session {
        expires_at: NOON,
        ..session(&ann)
    };
    open_session(&*opened.store, &live).await;
    open_session(&*opened.store, &at_its_end).await;
    let counts = opened.store.count(NOON).await.unwrap();
    assert_eq!((counts.users, counts.sessions), (1, 1));
    let later = opened.store.count(live.expires_at).await.unwrap();
    assert_eq!((later.users, later.sessions), (1, 0));
}

fn replacing(session: &Session, old: Digest) -> NewSession {
    NewSession {
        replaces: Some(old),
        ..NewSession::of(session.clone())
    }
}

async fn end(opened: &Opened, which: Which) -> Vec<PublicId> {
    let ended = opened.store.end_sessions(which, event(EventKind::SessionEnded)).await;
    let mut ids: Vec<_> = ended.unwrap().iter().map(|ended| ended.public_id).collect();
    ids.sort();
    ids
}

async fn listed(opened: &Opened, user: Option<UserId>, after: Option<PublicId>, limit: u32) -> Vec<PublicId> {
    let listed = opened.store.list_sessions(user, after, limit).await.unwrap();
    listed.iter().map(|found| found.session.public_id).collect()
}

pub async fn kinds(opened: &Opened, user: Option<UserId>) -> Vec<String> {
    let events = opened.store.list_events(user, 100).await.unwrap();
    events.into_iter().map(|event| event.kind).collect()
}

fn public_ids_in_order(sessions: &[Session]) -> Vec<PublicId> {
    sessions.iter().map(|session| session.public_id).collect()
}

fn public_ids(sessions: &[Session]) -> Vec<PublicId> {
    let mut ids = public_ids_in_order(sessions);
    ids.sort();
    ids
}
