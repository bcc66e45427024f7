//! What a call costs on the way to the database, counted on the wire.

use super::SLACK;
use crate::support::path::{Mode, Path};
use crate::support::postgres::Postgres;
use crate::support::store::{Opened, add, event, open_session, postgres_settings, session, user};
use portcullis::model::{EventKind, Session};
use portcullis::store::{Settings, StoreError};
use std::time::{Duration, Instant};

async fn opened(change: impl FnOnce(&mut Settings)) -> (Path, Opened, Session) {
    let server = Postgres::shared();
    let path = Path::to(server.port());
    let url = server
        .database()
        .replace(&server.port().to_string(), &path.port().to_string());
    let mut settings = Settings {
        call_timeout: Duration::from_secs(2),
        ..postgres_settings(&url)
    };
    change(&mut settings);
    let opened = Opened::with(settings).await;
    let ann = user("ann");
    let live = session(&ann);
    add(&*opened.store, &ann).await;
    open_session(&*opened.store, &live).await;
    (path, opened, live)
}

async fn find(opened: &Opened, session: &Session) -> Result<bool, StoreError> {
    Ok(opened.store.find_session(&session.digest).await?.is_some())
}

#[tokio::test]
async fn a_look_up_is_one_round_trip_and_needs_no_new_connection() {
    let (path, opened, live) = opened(|_| {}).await;
    assert!(find(&opened, &live).await.unwrap());
    let (made, questions) = (path.made(), path.questions());
    for _ in 0..20 {
        assert!(find(&opened, &live).await.unwrap());
    }
    assert_eq!((path.made() - made, path.questions() - questions), (0, 20));
}

#[tokio::test]
async fn statements_are_prepared_by_name_unless_that_is_switched_off() {
    for named in [true, false] {
        let (path, opened, live) = opened(|settings| settings.prepared_statements = named).await;
        for _ in 0..2 {
            assert!(find(&opened, &live).await.unwrap());
            let event = event(EventKind::LoggedOut);
            opened.store.record(event).await.unwrap();
        }
        assert_eq!(path.has_sent(b"sqlx_s_"), named, "a named statement");
        assert_eq!(
            path.has_sent(b"SET statement_timeout"),
            named,
            "a setting that a pooler would pass on"
        );
    }
}

#[tokio::test]
async fn a_read_is_asked_again_when_its_connection_broke_and_that_is_not_noticed() {
    let (path, opened, live) = opened(|_| {}).await;
    for _ in 0..3 {
        assert!(find(&opened, &live).await.unwrap());
        path.cut();
        assert!(find(&opened, &live).await.unwrap());
    }
}

#[tokio::test]
async fn a_connection_whose_call_ran_out_of_time_is_closed_and_another_is_made() {
    let limit = Duration::from_secs(2);
    let (path, opened, live) = opened(|settings| settings.call_timeout = limit).await;
    assert!(find(&opened, &live).await.unwrap());
    let made = path.made();
    path.set(Mode::Dark);
    let started = Instant::now();
    let late = find(&opened, &live).await;
    assert!(matches!(late, Err(StoreError::TimedOut)), "{late:?}");
    assert!(started.elapsed() < limit + SLACK, "{:?}", started.elapsed());
    path.set(Mode::Open);
    assert!(find(&opened, &live).await.unwrap());
    assert_eq!(path.made() - made, 1, "the late answer must not meet the next question");
}
