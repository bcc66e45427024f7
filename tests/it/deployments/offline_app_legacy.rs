//! `offline-app-legacy.toml`: rolling sessions in `sessions` with ids of their own making, over https only.

use super::claims::TARGET;
use super::kept;
use super::place::{HOST, Reach, Shipped, attributes};
use super::theirs::{Before, Column};

const COLUMN: Column = Column {
    shipped: Shipped {
        name: "offline-app-legacy",
        reach: Reach::Https(HOST),
        cookie: "connect.sid",
        schema: "portcullis",
    },
    source: "app",
    table: "public.sessions",
    zone: "Pacific/Auckland",
    life: 72 * 3600,
    attributes: "Path=/; Expires=Tue, 19 Jan 2038 03:14:07 GMT; HttpOnly; Secure; SameSite=Strict",
    ids: "aiq_1737500000000_",
    user: Some("/userId"),
    log_in: "/api/establish-session",
    log_out: "/logout",
    ends: false,
};

#[tokio::test]
async fn sessions_survive_kill_and_restart() {
    kept::survives_kill_and_restart(&Before::new(COLUMN)).await;
}

#[tokio::test]
async fn several_instances_need_no_affinity() {
    kept::instances_need_no_affinity(&Before::new(COLUMN)).await;
}

#[tokio::test]
async fn invalid_and_expired_sessions_are_refused_swept_or_not() {
    kept::invalid_and_expired_are_refused(&Before::new(COLUMN)).await;
}

#[tokio::test]
async fn the_applications_table_is_only_read() {
    kept::the_table_is_only_read(&Before::new(COLUMN)).await;
}

#[test]
fn the_source_is_found_in_order() {
    kept::source_check_passes(&Before::new(COLUMN));
}

#[tokio::test]
async fn the_start_tells_whose_sessions_are_read() {
    let before = Before::new(COLUMN);
    let gateway = before.place.start();
    kept::start_is_told(&before, &gateway);
}

#[tokio::test]
async fn headers_tell_the_application_who_it_is_whatever_a_visitor_says() {
    kept::identity_is_the_gateways_word(&Before::new(COLUMN)).await;
}

#[tokio::test]
async fn its_trigger_tells_of_a_log_out_at_once() {
    kept::a_trigger_tells_of_a_log_out(&mut Before::new(COLUMN)).await;
}

#[tokio::test]
async fn a_row_that_is_deleted_is_a_log_out() {
    kept::a_row_that_is_deleted_is_a_log_out(&Before::new(COLUMN)).await;
}

#[tokio::test]
async fn nobody_who_is_active_is_ever_signed_out() {
    kept::activity_moves_the_end(&Before::new(COLUMN)).await;
}

#[tokio::test]
async fn https_is_enforced() {
    let before = Before::new(COLUMN);
    let gateway = before.place.start();
    let mut plain = before.place.browser_by(&gateway, Reach::Http(HOST)).await;
    plain.cookie = Some(before.open(3600).cookie);
    let answer = plain.get("/report").await;
    assert_eq!(answer.status, 308);
    assert_eq!(answer.value("location"), Some("https://app.example.com/report"));
    let answer = plain.post("/api/establish-session", &serde_json::json!({})).await;
    assert_eq!(answer.status, 403, "a password is not taken over plain http");
    assert!(before.place.app.requests().is_empty());
    let answer = before.place.browser(&gateway).await.get("/").await;
    let hsts = answer.value("strict-transport-security");
    assert!(
        hsts.is_some_and(|value| value.starts_with("max-age=31536000")),
        "{:?}",
        answer.headers
    );
}

#[tokio::test]
async fn each_log_in_by_json_has_a_new_id_with_the_applications_prefix() {
    let before = Before::new(COLUMN);
    let gateway = before.place.start();
    let mut browser = before.place.browser(&gateway).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let answer = kept::sign_in(&before, &mut browser).await;
        let line = answer.values("set-cookie")[0].to_owned();
        assert!(line.starts_with("connect.sid=s%3Aaiq_"), "{line}");
        assert!(attributes(&line).contains(&"SameSite=Strict"), "{line}");
        kept::assert_known(&before, &mut browser, "the new id").await;
        seen.push(browser.cookie.clone());
        assert_eq!(before.rows(), 1, "the id before is gone");
    }
    for old in &seen[..2] {
        let mut thief = before.place.browser(&gateway).await;
        thief.cookie.clone_from(old);
        kept::assert_refused(&before, &mut thief, "Session expired", "an id from before").await;
    }
}

#[tokio::test]
async fn the_application_is_given_a_public_id_of_the_session_which_opens_nothing() {
    let before = Before::new(COLUMN);
    let (one, two) = (before.place.start(), before.place.start());
    let session = before.open(3600);
    let mut told = Vec::new();
    for gateway in [&one, &two] {
        let mut browser = before.place.browser(gateway).await;
        browser.cookie = Some(session.cookie.clone());
        browser.get(TARGET).await;
        told.extend(before.place.app.last().values("x-session-id"));
    }
    let [first, second] = &told[..] else { panic!("{told:?}") };
    assert_eq!(first, second, "the same on every instance");
    assert!(!session.id.contains(first.as_str()) && !first.contains(&session.id));
    for value in [
        format!("connect.sid=s%3A{first}"),
        format!("connect.sid={first}"),
        COLUMN.cookie(first),
    ] {
        let mut thief = before.place.browser(&one).await;
        thief.cookie = Some(value);
        assert_eq!(thief.get(TARGET).await.status, 401);
    }
}
