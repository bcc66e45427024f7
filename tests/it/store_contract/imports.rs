use crate::support::store::{NOON, Opened, add, event, session, user};
use portcullis::model::{Digest, EventKind, Session, Timestamp, User, UserState};
use portcullis::store::{ImportBatch, Imported, ImportedSession, NewUser, StoreError, Tombstone, UserChange, Which};
use std::time::Duration;

/// A copy as the import makes it.
fn copy(user: &User) -> Session {
    Session {
        authenticated_at: Timestamp::from_micros(0),
        last_seen_at: NOON,
        expires_at: NOON.plus(Duration::from_hours(1)),
        ends_at: NOON.plus(Duration::from_hours(1)),
        methods: Vec::new(),
        user_agent: None,
        device: None,
        first_address: None,
        last_address: None,
        ..session(user)
    }
}

/// The row that it is a copy of.
fn row_of(copy: &Session) -> Digest {
    Digest(copy.digest.0.map(|byte| !byte))
}

fn batch(sessions: &[(&Session, &User)], minute: u64, follows_table: bool) -> ImportBatch {
    let sessions = sessions.iter().map(|(session, user)| ImportedSession {
        session: (*session).clone(),
        username: user.username.clone(),
        of_row: row_of(session),
    });
    ImportBatch {
        source: "crm".to_owned(),
        seen_at: NOON.plus(Duration::from_mins(minute)),
        sessions: sessions.collect(),
        follows_table,
        dry_run: false,
        event: event(EventKind::SessionImported),
        ended: event(EventKind::SessionEnded),
    }
}

async fn events(opened: &Opened, kind: EventKind) -> usize {
    let events = opened.store.list_events(None, 1000).await.unwrap();
    events.iter().filter(|event| event.kind == kind.as_str()).count()
}

pub async fn a_session_is_copied_once_and_what_was_ended_is_not_copied_again(opened: &Opened) {
    let store = &*opened.store;
    let (ann, bob) = (user("ann"), user("bob"));
    add(store, &ann).await;
    add(store, &bob).await;
    let (one, other) = (copy(&ann), copy(&bob));
    let both = [(&one, &ann), (&other, &bob)];
    let looked = ImportBatch {
        dry_run: true,
        ..batch(&both, 0, false)
    };
    let copied = [Imported::Copied, Imported::Copied];
    assert_eq!(store.import_sessions(&looked).await.unwrap(), copied);
    assert!(store.find_session(&one.digest).await.unwrap().is_none());
    assert_eq!(store.import_sessions(&batch(&both, 0, false)).await.unwrap(), copied);
    let found = store.find_session(&one.digest).await.unwrap().expect("it is there");
    assert_eq!((found.session, found.user.id), (one.clone(), ann.id));
    assert_eq!(events(opened, EventKind::SessionImported).await, 2);
    let told = store.list_events(Some(bob.id), 1).await.unwrap();
    assert_eq!(told[0].session, Some(other.public_id));
    assert_eq!(told[0].username.as_deref(), Some("bob"));
    store
        .end_sessions(Which::Digest(one.digest), event(EventKind::LoggedOut))
        .await
        .unwrap();
    let again = store.import_sessions(&batch(&both, 1, false)).await.unwrap();
    assert_eq!(again, [Imported::EndedBefore, Imported::Kept]);
    assert!(store.find_session(&one.digest).await.unwrap().is_none());
    assert_eq!(events(opened, EventKind::SessionImported).await, 2);
    assert_eq!(store.count_imported("crm").await.unwrap(), 1);
    assert_eq!(store.count_imported("shop").await.unwrap(), 0);
}

pub async fn a_copy_ends_with_the_session_that_it_is_one_of_and_none_is_made_of_it_again(opened: &Opened) {
    let store = &*opened.store;
    let ann = user("ann");
    add(store, &ann).await;
    let (one, other, third) = (copy(&ann), copy(&ann), copy(&ann));
    let both = [(&one, &ann), (&other, &ann)];
    store.import_sessions(&batch(&both, 0, false)).await.unwrap();
    let tombstone = |copy: &Session| Tombstone {
        digest: row_of(copy),
        source: "crm".to_owned(),
        ended_at: NOON,
        until: NOON.plus(Duration::from_hours(24)),
    };
    let ends = [tombstone(&one), tombstone(&third)];
    store.bury(&ends, event(EventKind::LoggedOut)).await.unwrap();
    assert!(store.find_session(&one.digest).await.unwrap().is_none());
    assert!(store.find_session(&other.digest).await.unwrap().is_some());
    let told = store.list_events(Some(ann.id), 9).await.unwrap();
    assert_eq!(
        (told[0].session, told[0].kind.as_str()),
        (Some(one.public_id), "logged_out")
    );
    assert_eq!(events(opened, EventKind::LoggedOut).await, 2);
    // Who had read the rows before they were ended copies them no more: the one that had a copy, and the one that had none.
    let all = [(&one, &ann), (&other, &ann), (&third, &ann)];
    let again = store.import_sessions(&batch(&all, 1, true)).await.unwrap();
    assert_eq!(again, [Imported::EndedBefore, Imported::Kept, Imported::EndedBefore]);
    for gone in [&one, &third] {
        assert!(store.find_session(&gone.digest).await.unwrap().is_none());
    }
}

pub async fn nobody_gets_a_copy_who_is_disabled_or_gone(opened: &Opened) {
    let store = &*opened.store;
    let (ann, bob) = (user("ann"), user("bob"));
    add(store, &ann).await;
    let disabled = UserChange {
        state: Some(UserState::Disabled),
        ..UserChange::default()
    };
    store
        .change_user(ann.id, disabled, event(EventKind::UserDisabled))
        .await
        .unwrap();
    let (one, other) = (copy(&ann), copy(&bob));
    let refused = store
        .import_sessions(&batch(&[(&one, &ann), (&other, &bob)], 0, true))
        .await;
    assert_eq!(refused.unwrap(), [Imported::UserGone, Imported::UserGone]);
    assert_eq!(events(opened, EventKind::SessionImported).await, 0);
    // Nothing is remembered of it: once they may sign in, they are copied.
    let enabled = UserChange {
        state: Some(UserState::Active),
        ..UserChange::default()
    };
    store
        .change_user(ann.id, enabled, event(EventKind::UserEnabled))
        .await
        .unwrap();
    let copied = store.import_sessions(&batch(&[(&one, &ann)], 0, true)).await.unwrap();
    assert_eq!(copied, [Imported::Copied]);
}

pub async fn a_copy_follows_its_row_while_the_table_decides_and_not_after(opened: &Opened) {
    let store = &*opened.store;
    let (ann, bob) = (user("ann"), user("bob"));
    add(store, &ann).await;
    add(store, &bob).await;
    let one = copy(&ann);
    store.import_sessions(&batch(&[(&one, &ann)], 0, true)).await.unwrap();
    let later = Session {
        expires_at: NOON.plus(Duration::from_hours(5)),
        ends_at: NOON.plus(Duration::from_hours(5)),
        ..copy(&ann)
    };
    let later = Session {
        digest: one.digest,
        ..later
    };
    let of_bob = Session {
        digest: one.digest,
        ..copy(&bob)
    };
    let kept = store
        .import_sessions(&batch(&[(&later, &ann)], 1, false))
        .await
        .unwrap();
    assert_eq!(kept, [Imported::Kept]);
    let kept = store
        .import_sessions(&batch(&[(&of_bob, &bob)], 1, false))
        .await
        .unwrap();
    assert_eq!(kept, [Imported::Kept]);
    let ends = async || {
        store
            .find_session(&one.digest)
            .await
            .unwrap()
            .map(|found| found.session.ends_at)
    };
    assert_eq!(ends().await, Some(one.ends_at));
    let moved = store.import_sessions(&batch(&[(&later, &ann)], 2, true)).await.unwrap();
    assert_eq!(moved, [Imported::Moved]);
    assert_eq!(ends().await, Some(later.ends_at));
    let replaced = store
        .import_sessions(&batch(&[(&of_bob, &bob)], 3, true))
        .await
        .unwrap();
    assert_eq!(replaced, [Imported::Replaced]);
    let found = store.find_session(&one.digest).await.unwrap().expect("it is there");
    assert_eq!(found.session, of_bob);
    assert_eq!(events(opened, EventKind::SessionEnded).await, 1);
}

pub async fn copies_whose_row_was_not_seen_end_a_few_at_a_time(opened: &Opened) {
    let store = &*opened.store;
    let ann = user("ann");
    add(store, &ann).await;
    let all: Vec<Session> = (0..5).map(|_| copy(&ann)).collect();
    let pairs: Vec<_> = all.iter().map(|one| (one, &ann)).collect();
    store.import_sessions(&batch(&pairs, 0, true)).await.unwrap();
    store.import_sessions(&batch(&pairs[..1], 9, true)).await.unwrap();
    let told = event(EventKind::SessionEnded);
    let before = NOON.plus(Duration::from_mins(9));
    assert!(
        store
            .end_unseen("shop", before, 9, &told, true)
            .await
            .unwrap()
            .is_empty()
    );
    let mut counts = Vec::new();
    for forget in [true, false] {
        counts.push(store.end_unseen("crm", before, 2, &told, forget).await.unwrap().len());
    }
    assert_eq!(counts, [2, 2]);
    assert!(
        store
            .end_unseen("crm", before, 2, &told, true)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(store.find_session(&all[0].digest).await.unwrap().is_some());
    assert_eq!(events(opened, EventKind::SessionEnded).await, 4);
    // Those that were forgotten are copied when they come back; the others had been ended.
    let back = store.import_sessions(&batch(&pairs, 10, true)).await.unwrap();
    let count = |what: Imported| back.iter().filter(|one| **one == what).count();
    assert_eq!(
        [Imported::Kept, Imported::Copied, Imported::EndedBefore].map(count),
        [1, 2, 2]
    );
}

pub async fn a_user_who_was_made_for_a_subject_is_found_by_it_alone(opened: &Opened) {
    let store = &*opened.store;
    let made = User {
        email: None,
        email_verified: false,
        ..user("crm-7")
    };
    let new = || NewUser {
        user: made.clone(),
        password: None,
    };
    let added = || event(EventKind::UserAdded);
    store.import_user("crm", "7", new(), added()).await.unwrap();
    let found = async |source: &str, subject: &str| {
        let found = store.find_imported_user(source, subject).await.unwrap();
        found.map(|user| user.id)
    };
    assert_eq!(found("crm", "7").await, Some(made.id));
    assert_eq!(found("shop", "7").await, None);
    assert_eq!(found("crm", "8").await, None);
    let taken = store.import_user("crm", "8", new(), added()).await;
    assert!(matches!(taken, Err(StoreError::Taken(_))), "{taken:?}");
    assert_eq!(found("crm", "8").await, None);
    store.delete_user(made.id, event(EventKind::UserDeleted)).await.unwrap();
    assert_eq!(found("crm", "7").await, None);
}
