use crate::support::store::{Opened, add, event, open_session, session, user};
use portcullis::model::{Digest, EventKind};

pub async fn many_sessions_are_found_in_one_question(opened: &Opened) {
    let (ann, bob) = (user("ann"), user("bob"));
    let (first, second, other) = (session(&ann), session(&bob), session(&bob));
    for one in [&ann, &bob] {
        add(&*opened.store, one).await;
    }
    for one in [&first, &second, &other] {
        open_session(&*opened.store, one).await;
    }
    let unknown = Digest([7; 32]);
    let asked = [second.digest, unknown, first.digest];
    let mut found = opened.store.find_sessions(&asked).await.unwrap();
    found.sort_by_key(|found| found.session.public_id);
    assert_eq!(found.len(), 2);
    assert_eq!((&found[0].session, &found[0].user), (&first, &ann));
    assert_eq!((&found[1].session, &found[1].user), (&second, &bob));
    assert!(opened.store.find_sessions(&[]).await.unwrap().is_empty());
}

pub async fn a_device_is_named_and_audited_only_when_that_changes_something(opened: &Opened) {
    let ann = user("ann");
    let (written, other) = (session(&ann), session(&ann));
    add(&*opened.store, &ann).await;
    open_session(&*opened.store, &written).await;
    open_session(&*opened.store, &other).await;
    let named = || event(EventKind::DeviceNamed);
    let name = "Ann's \u{1f4f1}";
    assert!(opened.store.name_device(&written.digest, name, named()).await.unwrap());
    assert!(!opened.store.name_device(&written.digest, name, named()).await.unwrap());
    assert!(!opened.store.name_device(&Digest([7; 32]), name, named()).await.unwrap());
    let find = |digest| async move { opened.store.find_session(&digest).await.unwrap().unwrap().session };
    let now = find(written.digest).await;
    assert_eq!(now.device.as_deref(), Some(name));
    assert_eq!(
        portcullis::model::Session {
            device: written.device.clone(),
            ..now
        },
        written
    );
    assert_eq!(find(other.digest).await, other);
    let events = opened.store.list_events(None, 100).await.unwrap();
    assert_eq!(events.iter().filter(|event| event.kind == "device_named").count(), 1);
}
