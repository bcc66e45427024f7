use crate::support::store::{NOON, Opened, add, event, open_session, session, user};
use portcullis::audit::Log;
use portcullis::model::{Digest, Event, EventKind, PublicId, UserId, UserState};
use portcullis::store::{EventFilter, LogInTrait, Part, Pass, StoreError, UserEdit, Window};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

pub async fn what_is_old_is_forgotten_in_batches_and_nothing_else(opened: &Opened) {
    let store = &opened.store;
    let now = store.now().await.unwrap();
    for hours in [400, 300, 200, 2, 0] {
        let at = now.minus(Duration::from_hours(hours));
        store
            .record(Event::new(at, EventKind::LoggedOut, "tests"))
            .await
            .unwrap();
    }
    assert_eq!(
        store
            .forget_events(now.minus(Duration::from_hours(250)), 1)
            .await
            .unwrap(),
        1
    );
    let kept = |events: Vec<(i64, portcullis::store::RecordedEvent)>| -> Vec<u64> {
        events
            .into_iter()
            .map(|(_, event)| (now.since(event.at).as_secs() + 1800) / 3600)
            .collect()
    };
    let left = store.find_events(EventFilter::newest(10)).await.unwrap();
    assert_eq!(kept(left), [0, 2, 200, 300], "the oldest went first");
    let log = Log::new(Arc::clone(store), portcullis::audit::Settings { retention: None });
    assert_eq!(log.forget_older_than(Duration::from_hours(100)).await.unwrap(), 2);
    let left = log.find(EventFilter::newest(10)).await.unwrap();
    assert_eq!(kept(left), [0, 2]);
}

pub async fn sessions_are_counted_by_what_they_are(opened: &Opened) {
    let (ann, bob) = (user("ann"), user("bob"));
    for user in [&ann, &bob] {
        add(&*opened.store, user).await;
    }
    let day = NOON.minus(Duration::from_hours(12));
    for (user, created, left) in [
        (&ann, NOON, 3600_i64),
        (&ann, day, 1),
        (&bob, day.minus(Duration::from_millis(1)), 1),
        (&bob, NOON, 0),
        (&bob, NOON, -7200),
    ] {
        let mut one = session(user);
        let millis = u64::try_from(created.as_micros() / 1000).unwrap();
        let random = Uuid::now_v7();
        let random: [u8; 10] = random.as_bytes()[6..].try_into().unwrap();
        one.public_id = PublicId(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid());
        one.expires_at = portcullis::model::Timestamp::from_micros(NOON.as_micros() + left * 1_000_000);
        one.ends_at = one.expires_at.max(one.ends_at);
        open_session(&*opened.store, &one).await;
    }
    let figures = opened.store.session_figures(NOON).await.unwrap();
    assert_eq!(
        (figures.total, figures.expired, figures.created_today, figures.users),
        (5, 2, 4, 2)
    );
    assert!(figures.bytes > 0);
    let busiest = opened.store.busiest_users(NOON, 10).await.unwrap();
    let told: Vec<_> = busiest.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(told, [("ann", 2), ("bob", 1)]);
    assert_eq!(opened.store.busiest_users(NOON, 1).await.unwrap().len(), 1);
}

pub async fn an_edit_is_made_whole_or_not_at_all(opened: &Opened) {
    let (ann, bob) = (user("ann"), user("bob"));
    for user in [&ann, &bob] {
        add(&*opened.store, user).await;
    }
    open_session(&*opened.store, &session(&ann)).await;
    let edit = UserEdit {
        email: Part::Set("bob@example.com".to_owned()),
        name: Part::Clear,
        state: Some(UserState::Disabled),
        ..UserEdit::default()
    };
    let events = || vec![event(EventKind::UserChanged), event(EventKind::UserDisabled)];
    let taken = opened.store.edit_user(ann.id, edit.clone(), events()).await;
    assert!(matches!(taken, Err(StoreError::Taken(_))), "{taken:?}");
    assert_eq!(opened.store.find_user_by_id(ann.id).await.unwrap(), Some(ann.clone()));
    let before = opened.store.find_events(EventFilter::newest(10)).await.unwrap().len();
    let edit = UserEdit {
        email: Part::Set("ann@example.org".to_owned()),
        ..edit
    };
    let edited = opened.store.edit_user(ann.id, edit.clone(), events()).await.unwrap();
    assert_eq!(edited.ended.len(), 1);
    let expected = portcullis::model::User {
        email: Some("ann@example.org".to_owned()),
        name: None,
        state: UserState::Disabled,
        ..ann.clone()
    };
    assert_eq!(edited.user, expected);
    assert_eq!(opened.store.find_user_by_id(ann.id).await.unwrap(), Some(expected));
    assert_eq!(
        opened.store.find_events(EventFilter::newest(10)).await.unwrap().len(),
        before + 2
    );
    let edit = UserEdit {
        email: Part::Keep,
        ..edit
    };
    let nobody = opened.store.edit_user(UserId(Uuid::now_v7()), edit, events()).await;
    assert!(matches!(nobody, Err(StoreError::NoSuchUser)));
}

fn who(app_users: &[(&str, Option<serde_json::Value>)]) -> UserEdit {
    let each = app_users
        .iter()
        .map(|(source, value)| ((*source).to_owned(), value.clone()));
    UserEdit {
        app_users: each.collect(),
        ..UserEdit::default()
    }
}

pub async fn who_a_user_is_in_applications_is_kept_with_the_user(opened: &Opened) {
    let store = &opened.store;
    let (ann, bob) = (user("ann"), user("bob"));
    for user in [&ann, &bob] {
        add(&**store, user).await;
    }
    let session = session(&ann);
    open_session(&**store, &session).await;
    let events = || vec![event(EventKind::AppUserChanged)];
    let values = [
        ("big", u64::MAX.into()),
        ("crm", 42.into()),
        ("shop", serde_json::json!({ "id": 42, "name": "Grüße" })),
        ("wiki", "42".into()),
    ];
    let all = who(&values.clone().map(|(source, value)| (source, Some(value))));
    let edited = store.edit_user(ann.id, all, events()).await.unwrap();
    let expected: std::collections::BTreeMap<_, _> = values
        .into_iter()
        .map(|(source, value)| (source.to_owned(), value))
        .collect();
    assert!(edited.ended.is_empty());
    // However a user is asked for.
    let found = [
        edited.user,
        store.find_session(&session.digest).await.unwrap().unwrap().user,
        store.find_credentials("ann").await.unwrap().unwrap().user,
        store.find_user_by_id(ann.id).await.unwrap().unwrap(),
    ];
    assert!(found.iter().all(|user| user.app_users == expected), "{found:?}");
    assert_eq!(store.find_user_by_id(bob.id).await.unwrap().unwrap(), bob);
    let less = who(&[("crm", Some("other".into())), ("shop", None), ("nowhere", None)]);
    let edited = store.edit_user(ann.id, less, events()).await.unwrap();
    let names: Vec<_> = edited.user.app_users.keys().map(String::as_str).collect();
    assert_eq!(names, ["big", "crm", "wiki"]);
    assert_eq!(edited.user.app_users["crm"], "other");
    assert_eq!(store.find_user_by_id(ann.id).await.unwrap().unwrap(), edited.user);
    let nobody = who(&[("crm", Some(1.into()))]);
    let nobody = store.edit_user(UserId(Uuid::now_v7()), nobody, events()).await;
    assert!(matches!(nobody, Err(StoreError::NoSuchUser)));
    store.delete_user(ann.id, event(EventKind::UserDeleted)).await.unwrap();
}

pub async fn a_link_is_used_once_and_in_time(opened: &Opened) {
    let pass = |byte: u8, minutes: u64| Pass {
        digest: Digest([byte; 32]),
        expires_at: NOON.plus(Duration::from_mins(minutes)),
    };
    let made = || event(EventKind::AdminLinkMade);
    for (byte, minutes) in [(1, 5), (2, 5)] {
        opened.store.add_link(pass(byte, minutes), NOON, made()).await.unwrap();
    }
    let used = |link: u8, browser: u8, minutes: u64| {
        let now = NOON.plus(Duration::from_mins(minutes));
        let signed_in = event(EventKind::AdminSignedIn);
        opened
            .store
            .use_link(Digest([link; 32]), pass(browser, 60), now, signed_in)
    };
    assert!(!used(2, 12, 5).await.unwrap(), "over at this moment");
    assert!(!used(3, 13, 0).await.unwrap(), "never made");
    assert!(used(1, 11, 4).await.unwrap());
    assert!(!used(1, 14, 4).await.unwrap(), "used up");
    assert!(!used(11, 15, 4).await.unwrap(), "a pass is no link");
    let good = |byte: u8, minutes: u64| {
        opened
            .store
            .has_pass(Digest([byte; 32]), NOON.plus(Duration::from_mins(minutes)))
    };
    assert!(good(11, 59).await.unwrap());
    for (byte, minutes) in [(11, 60), (12, 0), (13, 0), (14, 0), (2, 0), (1, 0)] {
        assert!(!good(byte, minutes).await.unwrap(), "{byte} at {minutes}");
    }
    let ended = |byte: u8| {
        opened
            .store
            .end_pass(Digest([byte; 32]), event(EventKind::AdminSignedOut))
    };
    assert!(!ended(2).await.unwrap(), "a link is no pass");
    assert!(ended(11).await.unwrap() && !ended(11).await.unwrap());
    assert!(!good(11, 5).await.unwrap());
    let kinds: Vec<_> = opened.store.find_events(EventFilter::newest(10)).await.unwrap();
    let kinds: Vec<_> = kinds.iter().map(|(_, event)| event.kind.as_str()).collect();
    assert_eq!(
        kinds,
        [
            "admin_signed_out",
            "admin_signed_in",
            "admin_link_made",
            "admin_link_made"
        ]
    );
}

pub async fn only_the_newest_events_of_a_window_are_counted(opened: &Opened) {
    for minute in 0..6_u64 {
        let log_in = Event {
            address: Some(format!("192.0.2.{minute}").parse().unwrap()),
            device: Some(if minute % 2 == 0 { "Firefox" } else { "Chrome" }.to_owned()),
            ..Event::new(NOON.plus(Duration::from_mins(minute)), EventKind::LoginSucceeded, "ann")
        };
        opened.store.record(log_in).await.unwrap();
    }
    let failed = Event {
        reason: Some("wrong_password"),
        ..Event::new(NOON.minus(Duration::from_mins(1)), EventKind::LoginFailed, "system")
    };
    opened.store.record(failed).await.unwrap();
    let all = Window {
        since: NOON.minus(Duration::from_hours(1)),
        most: 100,
    };
    let newest = Window { most: 3, ..all };
    let since = Window {
        since: NOON.plus(Duration::from_mins(4)),
        most: 100,
    };
    let by = |what, window| opened.store.log_ins_by(what, window, 10);
    let told = |counts: Vec<(String, u64)>| {
        counts
            .into_iter()
            .map(|(what, count)| format!("{what} {count}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(told(by(LogInTrait::Network, all).await.unwrap()), ["192.0.2.0/24 6"]);
    assert_eq!(told(by(LogInTrait::Network, newest).await.unwrap()), ["192.0.2.0/24 3"]);
    assert_eq!(
        told(by(LogInTrait::Device, newest).await.unwrap()),
        ["Chrome 2", "Firefox 1"]
    );
    assert_eq!(
        told(by(LogInTrait::Device, since).await.unwrap()),
        ["Chrome 1", "Firefox 1"]
    );
    assert_eq!(
        told(by(LogInTrait::FailureReason, all).await.unwrap()),
        ["wrong_password 1"]
    );
    assert_eq!(told(by(LogInTrait::FailureReason, newest).await.unwrap()), [""; 0]);
    let hours = opened.store.event_hours(newest).await.unwrap();
    let [hour] = &hours[..] else { panic!("{hours:?}") };
    assert_eq!(
        (hour.count, hour.kind.as_str(), hour.oldest),
        (3, "login_succeeded", NOON.plus(Duration::from_mins(3)))
    );
    assert_eq!(hour.hour, NOON.as_seconds() / 3600);
    assert_eq!(opened.store.event_hours(all).await.unwrap().len(), 2);
}
