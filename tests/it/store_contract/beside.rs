use crate::support::store::{Opened, add, event, open_session, session, user};
use portcullis::clock::Clock;
use portcullis::model::EventKind;
use portcullis::store::{StoreError, Which};
use std::time::Duration;

pub async fn a_command_beside_the_gateway_sees_and_changes_the_same_state(opened: &Opened) {
    let ann = user("ann");
    let live = session(&ann);
    let command = opened.beside().await;
    add(&*command, &ann).await;
    open_session(&*opened.store, &live).await;
    let ended = command
        .end_sessions(Which::User(ann.id), event(EventKind::SessionEnded))
        .await
        .unwrap();
    assert_eq!(ended.len(), 1);
    assert!(opened.store.find_session(&live.digest).await.unwrap().is_none());
    command.close().await.unwrap();
}

pub async fn the_clock_is_the_databases(opened: &Opened) {
    let here = Clock::system().now();
    let there = opened.store.now().await.unwrap();
    let apart = there.since(here).max(here.since(there));
    assert!(apart < Duration::from_mins(1), "{apart:?}");
}

pub async fn a_closed_store_answers_that_it_cannot_be_asked(opened: &Opened) {
    let ann = user("ann");
    add(&*opened.store, &ann).await;
    opened.store.close().await.unwrap();
    let asked = opened.store.find_session(&session(&ann).digest).await;
    assert!(matches!(asked, Err(StoreError::Unreachable(_))), "{asked:?}");
    let added = opened.store.record(event(EventKind::LoggedOut)).await;
    assert!(matches!(added, Err(StoreError::Unreachable(_))), "{added:?}");
}
