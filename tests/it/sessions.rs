//! Sessions over a real store: what one process ends, another refuses.

use crate::support::store::{Opened, add, event, on_postgres, on_sqlite, user};
use portcullis::clock::Clock;
use portcullis::model::EventKind;
use portcullis::session::{
    CacheSettings, CookieSettings, Identified, Local, Login, SameSite, Secure, Sessions, Settings, SweepSettings,
    WhenFull, Which,
};
use portcullis::store::Store;
use portcullis::telemetry::Metrics;
use secrecy::{ExposeSecret, SecretSlice};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Settings of an instance that believes an answer for so long.
pub fn settings(max_age: Duration, max_age_without_feed: Duration) -> Settings {
    Settings {
        secrets: vec![SecretSlice::from(vec![1; 32])],
        cookie: CookieSettings {
            name: "__Host-portcullis".to_owned(),
            domains: Vec::new(),
            secure: Secure::Always,
            same_site: SameSite::Lax,
            token_prefix: String::new(),
        },
        idle_timeout: Duration::from_hours(12),
        lifetime: Duration::from_hours(24),
        remember_lifetime: Some(Duration::from_hours(48)),
        max_per_user: None,
        when_full: WhenFull::EndOldest,
        rolling: true,
        touch_interval: Duration::from_mins(1),
        sources: Vec::new(),
        sweep: SweepSettings {
            interval: Duration::from_mins(15),
            at: None,
        },
        cache: CacheSettings {
            capacity: 1_000,
            max_age,
            max_age_without_feed,
        },
    }
}

fn sessions(store: Arc<dyn Store>, max_age: Duration, max_age_without_feed: Duration) -> Arc<Sessions> {
    let settings = settings(max_age, max_age_without_feed);
    let control = tokio::runtime::Handle::current();
    Sessions::new(store, settings, Clock::system(), control, Arc::new(Metrics::new()))
}

/// A log-in of a user who is added for it.
pub async fn login(opened: &Opened, name: &str) -> Login {
    let user = user(name);
    add(&*opened.store, &user).await;
    Login {
        user,
        methods: vec!["pwd".to_owned()],
        remember: false,
        known_browser: true,
        user_agent: Some("Mozilla/5.0".to_owned()),
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        replaces: None,
        proven: None,
    }
}

async fn sign_in(sessions: &Sessions, opened: &Opened) -> String {
    let login = login(opened, "anna").await;
    let opened = sessions.open(login).await.expect("a session is opened");
    opened.cookie_value.expose_secret().to_owned()
}

async fn ask(local: &Local, value: &str) -> Identified {
    local.identify(&[value.as_bytes()], Duration::ZERO).await
}

/// Instances that may keep nothing longer than its question see each other's log-ins and ends at once.
async fn instances_share_sessions(opened: Opened) {
    let one = sessions(Arc::clone(&opened.store), Duration::ZERO, Duration::ZERO);
    let two = sessions(opened.beside().await, Duration::ZERO, Duration::ZERO);
    let value = sign_in(&one, &opened).await;
    let local = Local::new(Arc::clone(&two));
    let Identified::Live(live) = ask(&local, &value).await else {
        panic!("another instance does not know the session")
    };
    assert_eq!(live.entry.user.username.as_str(), "anna");
    let which = Which::Public(live.entry.session.public_id);
    let ended = one.end(which, event(EventKind::LoggedOut)).await.expect("it is ended");
    assert_eq!(ended.len(), 1);
    assert!(matches!(ask(&local, &value).await, Identified::Dead));
}

#[tokio::test]
async fn instances_share_sessions_on_postgres() {
    instances_share_sessions(on_postgres().await).await;
}

#[tokio::test]
async fn instances_share_sessions_on_sqlite() {
    instances_share_sessions(on_sqlite().await).await;
}

#[tokio::test]
async fn what_another_process_ends_in_the_file_is_refused_long_before_the_cached_copy_is_too_old() {
    let opened = on_sqlite().await;
    let long = Duration::from_hours(1);
    let sessions = sessions(Arc::clone(&opened.store), long, long);
    let stop = CancellationToken::new();
    let watch = tokio::spawn(Arc::clone(&sessions).watch(stop.clone()));
    let value = sign_in(&sessions, &opened).await;
    let local = Local::new(Arc::clone(&sessions));
    assert!(matches!(ask(&local, &value).await, Identified::Live(_)));
    let command = opened.beside().await;
    let ended = command.end_sessions(Which::All, event(EventKind::SessionEnded)).await;
    assert_eq!(ended.expect("the command ends it").len(), 1);
    let started = Instant::now();
    while matches!(ask(&local, &value).await, Identified::Live(_)) {
        assert!(started.elapsed() < PATIENCE, "the session lives on");
        tokio::task::yield_now().await;
    }
    assert!(matches!(ask(&local, &value).await, Identified::Dead));
    stop.cancel();
    tokio::time::timeout(PATIENCE, watch)
        .await
        .expect("the watch ends")
        .expect("no panic");
}
