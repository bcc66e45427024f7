use super::{ann_signed_in, in_time, is_found, lock, record};
use crate::support::postgres::{Postgres, USER};
use crate::support::store::{NOON, Opened, event, postgres_settings, session};
use portcullis::clock::Clock;
use portcullis::model::{EventKind, NewSession};
use portcullis::store::{Place, Role, Settings, StoreError, open};
use std::time::{Duration, Instant};

const SCHEMA: &str = "\"Port\"\"cullis\"";

fn short(url: &str) -> Settings {
    Settings {
        call_timeout: Duration::from_secs(4),
        ..postgres_settings(url)
    }
}

async fn opened(url: &str) -> Opened {
    Opened::with(short(url)).await
}

#[tokio::test]
async fn a_gateway_starts_without_its_database_and_is_ready_once_it_comes() {
    let server = Postgres::private();
    let url = server.database();
    server.stop();
    let patient = Settings {
        required_at_start: false,
        ..short(&url)
    };
    let store = open(&patient, Role::Gateway, Clock::system())
        .await
        .expect("an outage does not keep a gateway from starting");
    let asked = store.now().await;
    assert!(matches!(asked, Err(StoreError::NotReady)), "{asked:?}");
    let tried = store.prepare().await;
    assert!(matches!(tried, Err(StoreError::Unreachable(_))), "{tried:?}");
    for (settings, role) in [(short(&url), Role::Gateway), (patient, Role::Command)] {
        let refused = open(&settings, role, Clock::system())
            .await
            .map(|store| store.description());
        assert!(matches!(refused, Err(StoreError::Unreachable(_))), "{refused:?}");
    }
    server.start();
    store.prepare().await.unwrap();
    assert_eq!(store.count(NOON).await.unwrap().users, 0);
}

#[tokio::test]
async fn a_stopped_server_is_told_at_once_and_its_return_needs_no_reopening() {
    let server = Postgres::private();
    let opened = opened(&server.database()).await;
    let (_, live) = ann_signed_in(&opened).await;
    assert!(is_found(&opened, &live).await.unwrap());
    for crash in [false, true] {
        if crash {
            server.kill();
        } else {
            server.stop();
        }
        // The first may meet a connection that broke at rest, the second makes a new one: both hear it at once.
        for _ in 0..2 {
            let start = Instant::now();
            let (read, written) = (is_found(&opened, &live).await, record(&opened).await);
            assert!(matches!(read, Err(StoreError::Unreachable(_))), "{read:?}");
            assert!(matches!(written, Err(StoreError::Unreachable(_))), "{written:?}");
            assert!(
                start.elapsed() < opened.settings.call_timeout,
                "nobody waits for a refused connection"
            );
        }
        server.start();
        assert!(is_found(&opened, &live).await.unwrap());
        record(&opened).await.unwrap();
    }
}

#[tokio::test]
async fn a_restart_between_two_calls_goes_unnoticed() {
    let server = Postgres::private();
    let opened = opened(&server.database()).await;
    let (_, live) = ann_signed_in(&opened).await;
    let rest = futures_util::future::join_all((0..4).map(|_| opened.store.now())).await;
    assert!(rest.iter().all(Result::is_ok) && is_found(&opened, &live).await.unwrap());
    server.stop();
    server.start();
    assert!(is_found(&opened, &live).await.unwrap());
    record(&opened).await.unwrap();
    opened.store.now().await.unwrap();
}

#[tokio::test]
async fn a_server_that_stopped_answering_costs_a_call_its_time_and_no_more() {
    let server = Postgres::private();
    let opened = opened(&server.database()).await;
    let (_, live) = ann_signed_in(&opened).await;
    server.freeze();
    for _ in 0..2 {
        let calls = (0..20).map(|_| in_time(&opened, is_found(&opened, &live)));
        for answer in futures_util::future::join_all(calls).await {
            assert!(matches!(answer, Err(StoreError::TimedOut)), "{answer:?}");
        }
        let written = in_time(&opened, record(&opened)).await;
        assert!(matches!(written, Err(StoreError::TimedOut)), "{written:?}");
    }
    server.thaw();
    assert!(is_found(&opened, &live).await.unwrap());
    record(&opened).await.unwrap();
    server.freeze();
    in_time(&opened, opened.store.close())
        .await
        .expect("idle connections are closed without an answer");
}

#[tokio::test]
async fn a_missing_table_is_a_failure_and_not_an_absent_session() {
    let server = Postgres::shared();
    let url = server.database();
    let opened = opened(&url).await;
    let (_, live) = ann_signed_in(&opened).await;
    server.sql(&url, &format!("ALTER TABLE {SCHEMA}.sessions RENAME TO elsewhere"));
    let asked = is_found(&opened, &live).await;
    assert!(
        matches!(asked, Err(StoreError::Failed { table: "sessions", .. })),
        "{asked:?}"
    );
    let ended = opened
        .store
        .end_sessions(portcullis::store::Which::All, event(EventKind::SessionEnded))
        .await;
    assert!(matches!(ended, Err(StoreError::Failed { .. })), "{ended:?}");
    server.sql(&url, &format!("ALTER TABLE {SCHEMA}.elsewhere RENAME TO sessions"));
    assert!(is_found(&opened, &live).await.unwrap());
}

#[tokio::test]
async fn a_read_only_database_answers_reads_and_refuses_changes() {
    let server = Postgres::shared();
    let url = server.database();
    let opened = opened(&url).await;
    let (_, live) = ann_signed_in(&opened).await;
    let database = url.rsplit('/').next().unwrap();
    let set = |value: &str| {
        server.sql(
            "postgres",
            &format!("ALTER DATABASE {database} SET default_transaction_read_only = {value}"),
        );
        let others = "datname = current_database() AND pid <> pg_backend_pid()";
        server.sql(
            &url,
            &format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"),
        );
    };
    set("on");
    assert!(is_found(&opened, &live).await.unwrap());
    let written = record(&opened).await;
    assert!(matches!(written, Err(StoreError::Failed { .. })), "{written:?}");
    set("off");
    record(&opened).await.unwrap();
}

#[tokio::test]
async fn no_free_connection_on_the_server_is_an_outage() {
    let server = Postgres::shared();
    let url = server.database();
    let database = url.rsplit('/').next().unwrap();
    let role = format!("{database}_user");
    server.sql(
        &url,
        &format!("CREATE ROLE {role} LOGIN; GRANT CREATE ON DATABASE {database} TO {role}"),
    );
    let opened = opened(&url.replacen(USER, &role, 1)).await;
    let (_, live) = ann_signed_in(&opened).await;
    server.sql(&url, &format!("ALTER ROLE {role} CONNECTION LIMIT 0"));
    server.sql(
        &url,
        &format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'"),
    );
    let asked = is_found(&opened, &live).await;
    assert!(matches!(asked, Err(StoreError::Unreachable(_))), "{asked:?}");
    server.sql(&url, &format!("ALTER ROLE {role} CONNECTION LIMIT -1"));
    assert!(is_found(&opened, &live).await.unwrap());
}

#[tokio::test]
async fn a_locked_table_costs_a_call_its_time_and_leaves_nothing_on_the_server() {
    let server = Postgres::shared();
    let url = server.database();
    let opened = opened(&url).await;
    let (_, live) = ann_signed_in(&opened).await;
    let locked = lock(&url, "sessions").await;
    for _ in 0..3 {
        let answer = in_time(&opened, is_found(&opened, &live)).await;
        assert!(matches!(answer, Err(StoreError::TimedOut)), "{answer:?}");
    }
    // Three calls were given up; the server gives up each a moment later at most.
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let start = Instant::now();
    while server.sql(&url, waiting) != "0" {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "statements that nobody waits for are still there"
        );
    }
    locked.release().await;
    assert!(is_found(&opened, &live).await.unwrap());
}

#[tokio::test]
async fn look_ups_do_not_stand_behind_anything_slow() {
    let url = Postgres::shared().database();
    let patient = Settings {
        call_timeout: Duration::from_secs(4),
        ..postgres_settings(&url)
    };
    let opened = Opened::with(patient).await;
    let (ann, live) = ann_signed_in(&opened).await;
    let locked = lock(&url, "audit_events").await;
    let slow = futures_util::future::join_all((0..30).map(|_| record(&opened)));
    let quick = async {
        for _ in 0..50 {
            assert!(is_found(&opened, &live).await.unwrap());
        }
        let other = opened.store.list_users(None, Some(&ann.username), 1);
        let other = tokio::time::timeout(Duration::from_millis(200), other).await;
        assert!(other.is_err(), "all other connections wait");
    };
    let (answers, ()) = tokio::join!(slow, quick);
    assert!(
        answers.iter().all(|answer| matches!(answer, Err(StoreError::TimedOut))),
        "{answers:?}"
    );
    locked.release().await;
    record(&opened).await.unwrap();
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_is_rolled_back_whole() {
    let url = Postgres::shared().database();
    let opened = opened(&url).await;
    let (ann, old) = ann_signed_in(&opened).await;
    let locked = lock(&url, "audit_events").await;
    let new = session(&ann);
    let opening = NewSession {
        replaces: Some(old.digest),
        ..NewSession::of(new.clone())
    };
    // The old session is deleted and the new one inserted by then; the event cannot be written.
    let call = opened.store.open_session(opening, event(EventKind::LoginSucceeded));
    assert!(tokio::time::timeout(Duration::from_millis(400), call).await.is_err());
    locked.release().await;
    let start = Instant::now();
    while !is_found(&opened, &old).await.unwrap() {
        assert!(start.elapsed() < Duration::from_secs(20), "the old session is gone");
    }
    assert!(!is_found(&opened, &new).await.unwrap());
}

#[tokio::test]
async fn many_calls_share_few_connections() {
    let url = Postgres::shared().database();
    let opened = Opened::with(postgres_settings(&url)).await;
    let (_, live) = ann_signed_in(&opened).await;
    let reads = futures_util::future::join_all((0..500).map(|_| is_found(&opened, &live)));
    let writes = futures_util::future::join_all((0..100).map(|_| record(&opened)));
    let (reads, writes) = tokio::join!(reads, writes);
    assert!(reads.iter().all(|found| matches!(found, Ok(true))));
    assert!(writes.iter().all(Result::is_ok));
    let ours =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'portcullis'";
    assert_eq!(Postgres::shared().sql(&url, ours), "8");
}

#[tokio::test]
async fn without_prepared_statements_nothing_stays_on_the_connection() {
    let url = Postgres::shared().database();
    let settings = Settings {
        prepared_statements: false,
        ..postgres_settings(&url)
    };
    let opened = Opened::with(settings).await;
    let (_, live) = ann_signed_in(&opened).await;
    for _ in 0..3 {
        assert!(is_found(&opened, &live).await.unwrap());
    }
    let counted = opened.store.count(NOON).await.unwrap();
    assert_eq!((counted.users, counted.sessions), (1, 1));
}

#[tokio::test]
async fn a_url_that_names_no_user_is_refused_without_being_shown() {
    let url = Postgres::shared().database();
    for (bad, shown) in [
        (url.replacen("portcullis@", "", 1), "it names no user"),
        (url.replacen("portcullis@", ":hunter2@", 1), "it names no user"),
        (
            "hunter2 is no URL".to_owned(),
            "write it as postgres://USER:PASSWORD@HOST:5432/DATABASE",
        ),
        (
            "mysql://hunter2@host/db".to_owned(),
            "write it as postgres://USER:PASSWORD@HOST:5432/DATABASE",
        ),
        (format!("{url}?sslmode=hunter2"), "one of its parameters has a value"),
        (
            format!("{url}?passwort=hunter2"),
            "one of its parameters is not supported",
        ),
    ] {
        let refused = open(&short(&bad), Role::Command, Clock::system())
            .await
            .map(|store| store.description());
        let refused = refused.unwrap_err();
        assert!(matches!(refused, StoreError::Url(_)), "{bad}: {refused:?}");
        let text = format!("{refused} {refused:?}");
        assert!(text.contains(shown) && !text.contains("hunter2"), "{bad}: {text}");
    }
    let named = url.replacen("portcullis@", "", 1) + "?user=portcullis";
    let store = open(&short(&named), Role::Command, Clock::system()).await.unwrap();
    let port = Postgres::shared().port();
    let database = url.rsplit('/').next().unwrap();
    let expected = format!("postgres 127.0.0.1:{port}/{database} as portcullis, schema Port\"cullis");
    assert_eq!(store.description(), expected);
}

#[tokio::test]
async fn gateways_that_start_together_migrate_once() {
    let url = Postgres::shared().database();
    let settings = postgres_settings(&url);
    let starts = (0..5).map(|_| open(&settings, Role::Gateway, Clock::system()));
    for started in futures_util::future::join_all(starts).await {
        started.expect("every instance starts");
    }
    let Place::Postgres { .. } = settings.place else {
        panic!("not Postgres")
    };
    assert_eq!(
        Postgres::shared().sql(
            &url,
            &format!("SELECT count(*) - count(DISTINCT version), min(version) FROM {SCHEMA}.schema_versions")
        ),
        "0|1"
    );
}
