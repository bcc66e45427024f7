use crate::support::store::{NOON, Opened, event, session, user};
use portcullis::model::{Event, EventKind};
use std::time::Duration;

pub async fn an_event_comes_back_as_it_was_written(opened: &Opened) {
    let ann = user("ann");
    let full = Event {
        user: Some(ann.id),
        username: Some("ann".to_owned()),
        session: Some(session(&ann).public_id),
        address: Some("2001:db8::1".parse().unwrap()),
        reason: Some("wrong_password"),
        device: Some("Firefox on Linux".to_owned()),
        successor: Some(session(&ann).public_id),
        ..Event::new(NOON.plus(Duration::from_micros(7)), EventKind::LoginFailed, "system")
    };
    opened.store.record(full.clone()).await.unwrap();
    opened.store.record(event(EventKind::SessionConflict)).await.unwrap();
    let events = opened.store.list_events(None, 10).await.unwrap();
    let [bare, read] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(
        (read.at, read.kind.as_str(), read.actor.as_str()),
        (full.at, "login_failed", "system")
    );
    assert_eq!(
        (read.user, &read.username, read.session),
        (full.user, &full.username, full.session)
    );
    assert_eq!((read.address, read.reason.as_deref()), (full.address, full.reason));
    assert_eq!((&read.device, read.successor), (&full.device, full.successor));
    assert_eq!((bare.kind.as_str(), bare.actor.as_str()), ("session_conflict", "tests"));
    assert!(bare.user.is_none() && bare.username.is_none() && bare.session.is_none());
    assert!(bare.address.is_none() && bare.reason.is_none() && bare.device.is_none() && bare.successor.is_none());
}

pub async fn events_are_listed_newest_first_of_one_user_or_all(opened: &Opened) {
    let (ann, bob) = (user("ann"), user("bob"));
    for (user, kind) in [
        (&ann, EventKind::UserAdded),
        (&bob, EventKind::UserAdded),
        (&ann, EventKind::LoggedOut),
    ] {
        let mut event = event(kind);
        event.user = Some(user.id);
        opened.store.record(event).await.unwrap();
    }
    let words = |events: Vec<portcullis::store::RecordedEvent>| -> Vec<String> {
        events.into_iter().map(|event| event.kind).collect()
    };
    let all = opened.store.list_events(None, 2).await.unwrap();
    assert_eq!(words(all), ["logged_out", "user_added"]);
    let of_ann = opened.store.list_events(Some(ann.id), 10).await.unwrap();
    assert_eq!(words(of_ann), ["logged_out", "user_added"]);
}
