use super::{SCRIPT, config, get, hello, post, until};
use crate::support::gateway::{Gateway, PATIENCE, pause};
use crate::support::path::Path;
use crate::support::postgres::Postgres;
use crate::support::store::{Opened, add, event, open_session, postgres_settings, session, user};
use crate::support::usher::Usher;
use portcullis::model::EventKind;
use portcullis::store::Settings;
use std::time::{Duration, Instant};

const SESSIONS: &str = "SELECT count(*) FROM portcullis.sessions";

/// A primary with a database, and a standby of it.
fn pair() -> (Postgres, String, Postgres) {
    let primary = Postgres::private();
    let url = primary.database();
    let standby = primary.standby();
    (primary, url, standby)
}

/// The URL with both servers, in this order.
fn both(url: &str, one: &Postgres, two: &Postgres) -> String {
    let database = url.rsplit('/').next().expect("a name");
    let user = crate::support::postgres::USER;
    format!(
        "postgres://{user}@127.0.0.1:{},127.0.0.1:{}/{database}",
        one.port(),
        two.port()
    )
}

/// What a synchronous standby would have by now.
fn caught_up(standby: &Postgres, url: &str, sessions: &str) {
    let started = Instant::now();
    while standby.sql(url, SESSIONS) != sessions {
        assert!(started.elapsed() < PATIENCE, "the standby does not follow");
        pause();
    }
}

async fn log_out(gateway: &Gateway, cookie: &str) {
    let started = Instant::now();
    loop {
        let answer = post(gateway, "/.portcullis/logout", &[cookie]).await;
        if answer.status == 204 {
            return;
        }
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(
            started.elapsed() < PATIENCE,
            "nothing can be changed: {}",
            answer.text()
        );
        pause();
    }
}

#[tokio::test]
async fn sessions_go_on_with_the_standby_that_was_promoted() {
    let (primary, url, standby) = pair();
    let app = hello();
    // The standby stands first: it takes no changes, so it is passed over.
    let gateway = Gateway::start(&config(&both(&url, &standby, &primary), "1s", "100ms", &app.url()));
    let usher = Usher::on(&url).await;
    let (live, ended) = (usher.sign_in_many(6).await, usher.sign_in().await);
    for cookie in &live {
        assert_eq!(get(&gateway, "/", &[cookie]).await.status, 200);
    }
    assert_eq!(get(&gateway, "/", &[&ended]).await.status, 200);
    log_out(&gateway, &ended).await;
    caught_up(&standby, &url, "6");
    primary.kill();
    let down = Instant::now();
    until(
        &gateway,
        &live[0],
        503,
        "nobody is asked who may not know of the last log-outs",
    )
    .await;
    standby.promote();
    let promoted = Instant::now();
    until(&gateway, &live[0], 200, "promoted").await;
    println!(
        "fail-over: back {:?} after the promotion, {:?} after the end",
        promoted.elapsed(),
        down.elapsed()
    );
    for cookie in &live {
        until(&gateway, cookie, 200, "promoted").await;
    }
    assert_eq!(get(&gateway, "/", &[&ended, SCRIPT]).await.status, 401);
    log_out(&gateway, &live[0]).await;
    assert_eq!(standby.sql(&url, SESSIONS), "5");
    // The old one comes back and takes itself for the primary. Nobody goes back to it.
    primary.start();
    for _ in 0..20 {
        assert_eq!(get(&gateway, "/", &[&live[0], SCRIPT]).await.status, 401);
        assert_eq!(get(&gateway, "/", &[&live[1], SCRIPT]).await.status, 200);
        pause();
    }
}

#[tokio::test]
async fn a_primary_that_hangs_is_left_and_what_was_connected_to_it_is_not_asked_again() {
    let (primary, url, standby) = pair();
    let app = hello();
    let gateway = Gateway::start(&config(&both(&url, &primary, &standby), "2s", "100ms", &app.url()));
    let usher = Usher::on(&url).await;
    let live = usher.sign_in_many(6).await;
    let ask_all = || {
        let asks = live
            .iter()
            .map(|cookie| async { get(&gateway, "/", &[cookie, SCRIPT]).await });
        futures_util::future::join_all(asks)
    };
    // At once, so that several connections rest afterwards.
    assert!(ask_all().await.iter().all(|answer| answer.status == 200));
    caught_up(&standby, &url, "6");
    primary.freeze();
    standby.promote();
    let promoted = Instant::now();
    until(&gateway, &live[0], 200, "promoted").await;
    println!(
        "fail-over from a server that hangs: back after {:?}",
        promoted.elapsed()
    );
    log_out(&gateway, &live[0]).await;
    // It was only slow, and answers again as if it were the primary, with the session that was ended meanwhile.
    primary.thaw();
    assert_eq!(primary.sql(&url, SESSIONS), "6");
    for _ in 0..5 {
        let answers = ask_all().await;
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses, [401, 200, 200, 200, 200, 200], "asked of the wrong server");
    }
}

#[tokio::test]
async fn a_look_up_never_uses_a_connection_to_the_primary_before() {
    let (primary, url, standby) = pair();
    let settings = Settings {
        call_timeout: Duration::from_secs(1),
        ..postgres_settings(&both(&url, &primary, &standby))
    };
    let opened = Opened::with(settings).await;
    let ann = user("ann");
    let live = session(&ann);
    add(&*opened.store, &ann).await;
    open_session(&*opened.store, &live).await;
    let found = async || {
        opened
            .store
            .find_session(&live.digest)
            .await
            .map(|found| found.is_some())
    };
    assert!(found().await.unwrap());
    let sessions = "SELECT count(*) FROM \"Port\"\"cullis\".sessions";
    let started = Instant::now();
    while standby.sql(&url, "SELECT to_regclass('\"Port\"\"cullis\".sessions') IS NOT NULL") != "t"
        || standby.sql(&url, sessions) != "1"
    {
        assert!(started.elapsed() < PATIENCE, "the standby does not follow");
        pause();
    }
    // Look-ups rest while the primary hangs, and only changes notice that another has taken over.
    primary.freeze();
    standby.promote();
    let started = Instant::now();
    while opened.store.record(event(EventKind::LoggedOut)).await.is_err() {
        assert!(started.elapsed() < PATIENCE, "nothing can be changed");
    }
    primary.thaw();
    standby.sql(&url, &sessions.replace("SELECT count(*)", "DELETE"));
    assert_eq!(primary.sql(&url, sessions), "1", "the old primary knows nothing of it");
    assert!(!found().await.unwrap(), "the wrong server was asked");
}

#[tokio::test]
async fn an_address_that_leads_to_another_server_is_followed() {
    let (primary, url, standby) = pair();
    let path = Path::to(primary.port());
    let app = hello();
    let by_path = url.replace(&primary.port().to_string(), &path.port().to_string());
    let gateway = Gateway::start(&config(&by_path, "1s", "100ms", &app.url()));
    let usher = Usher::on(&url).await;
    let live = usher.sign_in_many(3).await;
    for cookie in &live {
        assert_eq!(get(&gateway, "/", &[cookie]).await.status, 200);
    }
    caught_up(&standby, &url, "3");
    // In order, as a planned switch is made.
    primary.stop();
    standby.promote();
    path.lead_to(standby.port());
    for cookie in &live {
        until(&gateway, cookie, 200, "switched").await;
    }
    log_out(&gateway, &live[0]).await;
    assert_eq!(standby.sql(&url, SESSIONS), "2");
}
