//! Two changes at once, in the order that would hurt: one is held just before its commit while the other comes.

use super::lock;
use crate::support::postgres::Postgres;
use crate::support::store::{Opened, add, event, postgres_settings, session, user};
use portcullis::model::{EventKind, NewSession, User, UserState};
use portcullis::store::{NewUser, StoreError, UserChange};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Lets tasks go on until so many statements wait for a lock.
async fn until_waiting(url: &str, count: &str) {
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let start = Instant::now();
    while Postgres::shared().sql(url, waiting) != count {
        assert!(
            start.elapsed() < Duration::from_secs(15),
            "{count} statements should wait"
        );
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_in_that_comes_during_a_disabling_is_refused() {
    let url = Postgres::shared().database();
    let opened = Opened::with(postgres_settings(&url)).await;
    let ann = user("ann");
    add(&*opened.store, &ann).await;
    let locked = lock(&url, "audit_events").await;
    let (store, id) = (Arc::clone(&opened.store), ann.id);
    let disabling = tokio::spawn(async move {
        let change = UserChange {
            state: Some(UserState::Disabled),
            ..UserChange::default()
        };
        store.change_user(id, change, event(EventKind::UserDisabled)).await
    });
    until_waiting(&url, "1").await;
    let (store, new) = (Arc::clone(&opened.store), session(&ann));
    let opening = tokio::spawn(async move {
        let new = NewSession::of(new);
        store.open_session(new, event(EventKind::LoginSucceeded)).await
    });
    until_waiting(&url, "2").await;
    locked.release().await;
    disabling.await.unwrap().unwrap();
    let refused = opening.await.unwrap();
    assert!(matches!(refused, Err(StoreError::NoSuchUser)), "{refused:?}");
    assert!(opened.store.list_sessions(None, None, 9).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disabling_that_comes_during_a_log_in_ends_its_session() {
    let url = Postgres::shared().database();
    let opened = Opened::with(postgres_settings(&url)).await;
    let ann = user("ann");
    add(&*opened.store, &ann).await;
    let locked = lock(&url, "audit_events").await;
    let (store, new) = (Arc::clone(&opened.store), session(&ann));
    let opening = tokio::spawn(async move {
        let new = NewSession::of(new);
        store.open_session(new, event(EventKind::LoginSucceeded)).await
    });
    until_waiting(&url, "1").await;
    let (store, id) = (Arc::clone(&opened.store), ann.id);
    let disabling = tokio::spawn(async move {
        let change = UserChange {
            state: Some(UserState::Disabled),
            ..UserChange::default()
        };
        store.change_user(id, change, event(EventKind::UserDisabled)).await
    });
    until_waiting(&url, "2").await;
    locked.release().await;
    opening.await.unwrap().unwrap();
    assert_eq!(disabling.await.unwrap().unwrap().len(), 1);
    assert!(opened.store.list_sessions(None, None, 9).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_and_an_address_that_come_at_once_do_not_become_two_users() {
    let url = Postgres::shared().database();
    let opened = Opened::with(postgres_settings(&url)).await;
    let locked = lock(&url, "audit_events").await;
    let by_name = user("ann@example.com");
    let by_address = User {
        email: Some("ann@example.com".to_owned()),
        ..user("berta")
    };
    let mut tasks = Vec::new();
    for (user, waiting) in [(by_name, "1"), (by_address, "2")] {
        let store = Arc::clone(&opened.store);
        let new = NewUser { user, password: None };
        tasks.push(tokio::spawn(async move {
            store.add_user(new, event(EventKind::UserAdded)).await
        }));
        until_waiting(&url, waiting).await;
    }
    locked.release().await;
    let second = tasks.pop().unwrap().await.unwrap();
    assert!(
        matches!(second, Err(StoreError::Taken("the e-mail address"))),
        "{second:?}"
    );
    tasks.pop().unwrap().await.unwrap().unwrap();
}
