//! `offline-app.toml`: signed in for three days after the last sign of life, over https only, for front ends that go
//! offline and come back.

use super::claims;
use super::figures;
use super::place::{HOST, PASSWORD, Place, Reach, Shipped, USER, attributes};
use crate::support::gateway::{PATIENCE, pause};
use std::time::Instant;

const SHIPPED: Shipped = Shipped {
    name: "offline-app",
    reach: Reach::Https(HOST),
    cookie: "__Host-portcullis",
    schema: "portcullis",
};

#[tokio::test]
async fn sessions_survive_kill_and_restart() {
    claims::survives_kill_and_restart(&Place::new(SHIPPED).prepared()).await;
}

#[tokio::test]
async fn several_instances_need_no_affinity() {
    claims::instances_need_no_affinity(&Place::new(SHIPPED).prepared()).await;
}

#[tokio::test]
async fn invalid_and_expired_sessions_are_refused_swept_or_not() {
    claims::invalid_and_expired_are_refused(&Place::new(SHIPPED).prepared()).await;
}

#[tokio::test]
async fn the_cookie_is_http_only_secure_and_strict_and_its_value_starts_with_the_prefix() {
    let place = Place::new(SHIPPED).prepared();
    let gateway = place.start();
    let mut browser = place.browser(&gateway).await;
    let line = browser.sign_in(USER).await;
    assert!(line.starts_with("__Host-portcullis=aiq_"), "{line}");
    let expected = ["HttpOnly", "Max-Age=259200", "Path=/", "SameSite=Strict", "Secure"];
    assert_eq!(attributes(&line), expected);
    // The prefix is part of what is checked.
    browser.cookie = browser.cookie.map(|pair| pair.replace("aiq_", ""));
    claims::assert_refused(&place, &mut browser, "without the prefix").await;
}

#[tokio::test]
async fn https_is_enforced() {
    let place = Place::new(SHIPPED).prepared();
    let gateway = place.start();
    let mut plain = place.browser_by(&gateway, Reach::Http(HOST)).await;
    let answer = plain.get("/report").await;
    assert_eq!(answer.status, 308);
    assert_eq!(answer.value("location"), Some("https://app.example.com/report"));
    let login = serde_json::json!({ "username": "ada", "password": PASSWORD });
    let answer = plain.post("/.portcullis/login", &login).await;
    assert_eq!(answer.status, 403, "a password is not taken over plain http");
    assert_eq!(plain.cookie, None);
    let answer = place.browser(&gateway).await.get("/").await;
    let hsts = answer.value("strict-transport-security");
    assert!(
        hsts.is_some_and(|value| value.starts_with("max-age=31536000")),
        "{:?}",
        answer.headers
    );
    assert_eq!(place.rows(), 0);
}

#[test]
fn a_secret_under_32_bytes_is_a_fault_at_start() {
    claims::short_secrets_are_refused(&mut Place::new(SHIPPED));
}

#[tokio::test]
async fn the_start_is_told_without_a_secret() {
    let place = Place::new(SHIPPED).prepared();
    let gateway = place.start();
    claims::start_is_told(&place, &gateway, &["__Host-portcullis", "\"always\"", "\"strict\""]);
}

#[tokio::test]
async fn the_application_is_given_the_public_id_of_the_session_and_not_its_token() {
    let place = Place::new(SHIPPED).prepared();
    let gateway = place.start();
    let mut browser = place.signed_in(&gateway).await;
    browser.get(claims::TARGET).await;
    let told = place.app.last();
    let [id] = &told.values("x-session-id")[..] else {
        panic!("no public id: {}", told.text())
    };
    assert_eq!(*id, place.sql("SELECT public_id FROM portcullis.sessions"));
    let mut thief = place.browser(&gateway).await;
    thief.cookie = Some(format!("__Host-portcullis=aiq_{id}"));
    claims::assert_refused(&place, &mut thief, "the public id is no key").await;
}

#[tokio::test]
async fn log_ins_and_ends_are_audited() {
    claims::log_ins_and_ends_are_audited(&Place::new(SHIPPED).prepared()).await;
}

#[tokio::test]
async fn many_at_once_are_answered_by_a_small_pool() {
    figures::many_at_once(&Place::new(SHIPPED).prepared()).await;
}

#[tokio::test]
async fn memory_stays_where_it_was() {
    figures::memory_stays(&Place::new(SHIPPED).prepared()).await;
}

#[tokio::test]
async fn a_log_in_by_json_has_a_new_id_each_time_and_keeps_the_users_own_data() {
    let place = Place::new(SHIPPED).prepared();
    place.add_user("bob", &[]);
    let gateway = place.start();
    let mut browser = place.browser(&gateway).await;
    let facts = "SELECT u.username || ' ' || coalesce(s.data->>'draft', 'nothing') \
                 FROM portcullis.sessions s JOIN portcullis.users u ON u.id = s.user_id";
    let mut seen = Vec::new();
    for round in 0..3 {
        let login = serde_json::json!({ "username": USER, "password": PASSWORD });
        let answer = browser.post("/api/establish-session", &login).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let told = answer.json()["session"]["public_id"].clone();
        seen.push((browser.cookie.clone(), told));
        if round == 0 {
            place.sql("UPDATE portcullis.sessions SET data = '{\"draft\": \"seven\"}'");
        }
        assert_eq!(
            place.sql(facts),
            "ada seven",
            "the session before is gone, what it held is not"
        );
    }
    let login = serde_json::json!({ "username": "bob", "password": PASSWORD });
    assert_eq!(browser.post("/api/establish-session", &login).await.status, 200);
    assert_eq!(place.sql(facts), "bob nothing", "nothing of hers is his");
    seen.dedup();
    assert_eq!(seen.len(), 3, "{seen:?}");
    let audited = "SELECT count(DISTINCT session_id) FROM portcullis.audit_events WHERE kind = 'login_succeeded'";
    assert_eq!(place.count(audited), 4, "each of them is in the trail");
    assert!(place.app.requests().is_empty(), "the application saw none of it");
}

#[tokio::test]
async fn nobody_who_is_active_is_ever_signed_out() {
    claims::activity_moves_the_end(&Place::new(SHIPPED).prepared(), 72 * 3600, "71 hours").await;
}

#[tokio::test]
async fn a_pause_of_three_days_ends_the_session() {
    let place = Place::new(SHIPPED).prepared();
    let (one, two) = (place.start(), place.start());
    let cookie = place.signed_in(&one).await.cookie;
    place.pass("72 hours");
    let mut browser = place.browser(&two).await;
    browser.cookie = cookie;
    claims::assert_refused(&place, &mut browser, "three days later").await;
}

#[tokio::test]
async fn activity_is_written_once_a_minute_at_most() {
    let place = Place::new(SHIPPED).prepared();
    let (one, two) = (place.start(), place.start());
    let cookie = place.signed_in(&one).await.cookie;
    place.pass("5 minutes");
    let seen = "SELECT round(extract(epoch FROM now() - last_seen_at))::bigint FROM portcullis.sessions";
    assert!(place.count(seen) >= 300);
    let mut browser = place.browser(&two).await;
    browser.cookie = cookie;
    claims::assert_signed_in(&place, &mut browser, "after five minutes").await;
    let started = Instant::now();
    while place.count(seen) > 60 {
        assert!(started.elapsed() < PATIENCE, "the activity is never written");
        pause();
    }
    let version = "SELECT xmin || ' ' || ctid FROM portcullis.sessions";
    let written = place.sql(version);
    for _ in 0..50 {
        claims::assert_signed_in(&place, &mut browser, "within the minute").await;
    }
    two.terminate();
    assert_eq!(place.sql(version), written, "fifty more requests wrote nothing");
}

#[tokio::test]
async fn a_page_that_was_offline_syncs_and_its_device_is_known() {
    let place = Place::new(SHIPPED).prepared();
    let gateway = place.start();
    let mut browser = place.signed_in(&gateway).await;
    let device = serde_json::json!({ "device": { "name": "Ada's tablet" } });
    let answer = browser.post("/api/sync", &device).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.json();
    assert_eq!(told["user"]["username"], USER);
    assert_eq!(
        told["session"]["public_id"],
        place.sql("SELECT public_id FROM portcullis.sessions")
    );
    assert!(
        told["server_time"].is_string() && told["session"]["expires_at"].is_string(),
        "{told}"
    );
    let facts = place.sql("SELECT device, host(first_address), host(last_address) FROM portcullis.sessions");
    assert_eq!(facts, "Ada's tablet|127.0.0.1|127.0.0.1");
    let listed = browser.get("/.portcullis/sessions").await.json();
    assert_eq!(listed["sessions"][0]["device"], "Ada's tablet", "{listed}");
    place.done(&["session", "end", "--all"], "");
    let answer = browser.until("/api/sync-state", 401).await;
    assert_eq!(answer.json()["error"], "Session expired");
    let answer = browser.post("/api/sync", &device).await;
    assert_eq!(
        (answer.status, answer.json()["error"].as_str()),
        (401, Some("Session expired"))
    );
}

#[tokio::test]
async fn expired_sessions_are_removed_by_themselves() {
    claims::sweeps_by_itself(&mut Place::new(SHIPPED).prepared(), "15m").await;
}

#[tokio::test]
async fn nobody_is_asked_to_be_remembered_beyond_the_policy() {
    let place = Place::new(SHIPPED).prepared();
    let gateway = place.start();
    let mut browser = place.browser(&gateway).await;
    let page = browser
        .send("GET", "/.portcullis/login", &["Accept: text/html"], "")
        .await;
    assert!(
        page.text().contains("name=\"password\"") && !page.text().contains("remember"),
        "{}",
        page.text()
    );
    let login = serde_json::json!({ "username": USER, "password": PASSWORD, "remember": true });
    let answer = browser.post("/.portcullis/login", &login).await;
    let line = answer
        .values("set-cookie")
        .into_iter()
        .find(|line| line.starts_with(SHIPPED.cookie));
    let line = line.expect("a session cookie");
    assert!(
        line.contains("Max-Age=259200;") || line.ends_with("Max-Age=259200"),
        "{line}"
    );
}
