//! `working-day.toml`: rolling, several instances behind a load balancer that ends TLS.

use super::claims;
use super::place::{HOST, PASSWORD, Place, Reach, Shipped, USER, attributes};

const SHIPPED: Shipped = Shipped {
    name: "working-day",
    reach: Reach::Balancer(HOST),
    cookie: "nestmap.sid",
    schema: "portcullis",
};

#[tokio::test]
async fn sessions_survive_kill_and_restart() {
    claims::survives_kill_and_restart(&Place::new(SHIPPED).prepared()).await;
}

#[tokio::test]
async fn behind_a_load_balancer_no_affinity_is_needed() {
    claims::instances_need_no_affinity(&Place::new(SHIPPED).prepared()).await;
}

#[tokio::test]
async fn invalid_and_expired_sessions_are_refused_swept_or_not() {
    claims::invalid_and_expired_are_refused(&Place::new(SHIPPED).prepared()).await;
}

#[tokio::test]
async fn in_development_the_cookie_works_over_plain_http_and_nobody_is_believed() {
    let mut place = Place::new(SHIPPED).prepared();
    place.set("NODE_ENV", "development");
    place.unset("PORTCULLIS_TRUST_PROXIES");
    let gateway = place.start();
    let mut browser = place.browser_by(&gateway, Reach::Http(HOST)).await;
    let line = browser.sign_in(USER).await;
    assert!(!attributes(&line).contains(&"Secure"), "{line}");
    claims::assert_signed_in(&place, &mut browser, "over plain http").await;
    let lines = ["Accept: application/json", "X-Forwarded-For: 203.0.113.9"];
    browser.send("GET", claims::TARGET, &lines, "").await;
    assert_eq!(place.app.last().values("x-forwarded-for"), ["127.0.0.1"]);
}

#[test]
fn a_secret_under_32_bytes_is_a_fault_at_start() {
    claims::short_secrets_are_refused(&mut Place::new(SHIPPED));
}

#[tokio::test]
async fn the_start_is_told_without_a_secret() {
    let place = Place::new(SHIPPED).prepared();
    let gateway = place.start();
    let says = ["nestmap.sid", "\"always\"", "\"strict\"", "127.0.0.1/32"];
    claims::start_is_told(&place, &gateway, &says);
}

#[tokio::test]
async fn a_visitor_who_has_not_signed_in_has_no_row_and_no_cookie() {
    let place = Place::new(SHIPPED).prepared();
    let gateway = place.start();
    let mut visitor = place.browser(&gateway).await;
    for target in ["/", "/", "/.portcullis/session", "/.portcullis/login"] {
        let answer = visitor.get(target).await;
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        assert_eq!(visitor.cookie, None, "{target}");
    }
    assert_eq!(place.rows(), 0);
}

#[tokio::test]
async fn a_log_in_takes_a_new_session_and_signing_out_leaves_nothing() {
    let place = Place::new(SHIPPED).prepared();
    let gateway = place.start();
    let mut browser = place.browser(&gateway).await;
    // What an attacker would have planted.
    let planted = format!("nestmap.sid={}", "A".repeat(64));
    browser.cookie = Some(planted.clone());
    browser.sign_in(USER).await;
    let first = browser.cookie.clone();
    assert_ne!(first, Some(planted));
    browser.sign_in(USER).await;
    let second = browser.cookie.clone();
    assert_ne!(first, second, "every log-in has a new token");
    assert_eq!(place.rows(), 1, "the session that this browser had is ended");
    let mut old = place.browser(&gateway).await;
    old.cookie = first;
    claims::assert_refused(&place, &mut old, "the session before").await;
    let answer = browser.sign_out().await;
    let cleared = answer
        .values("set-cookie")
        .into_iter()
        .find(|line| line.starts_with("nestmap.sid=;"));
    assert!(
        cleared.is_some_and(|line| line.contains("Max-Age=0")),
        "{:?}",
        answer.headers
    );
    assert_eq!(place.rows(), 0);
}

#[tokio::test]
async fn log_ins_and_ends_are_audited() {
    claims::log_ins_and_ends_are_audited(&Place::new(SHIPPED).prepared()).await;
}

#[tokio::test]
async fn an_unchanged_session_is_not_written() {
    let place = Place::new(SHIPPED).prepared();
    let gateway = place.start();
    let mut browser = place.signed_in(&gateway).await;
    let version = "SELECT xmin || ' ' || ctid FROM portcullis.sessions";
    let before = place.sql(version);
    for _ in 0..20 {
        claims::assert_signed_in(&place, &mut browser, "a request").await;
    }
    assert_eq!(
        place.sql(version),
        before,
        "twenty requests within a minute of the log-in"
    );
}

#[tokio::test]
async fn activity_moves_the_end_to_twelve_hours_from_then() {
    claims::activity_moves_the_end(&Place::new(SHIPPED).prepared(), 12 * 3600, "11 hours").await;
}

#[tokio::test]
async fn the_cookie_is_http_only_secure_and_strict_for_twelve_hours() {
    let place = Place::new(SHIPPED).prepared();
    let gateway = place.start();
    let line = place.browser(&gateway).await.sign_in(USER).await;
    let expected = ["HttpOnly", "Max-Age=43200", "Path=/", "SameSite=Strict", "Secure"];
    assert_eq!(attributes(&line), expected);
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
        line.contains("Max-Age=43200;") || line.ends_with("Max-Age=43200"),
        "{line}"
    );
}

#[tokio::test]
async fn administrators_see_statistics_and_store_settings_and_nobody_else() {
    let place = Place::new(SHIPPED).prepared();
    place.add_user("root", &["admins"]);
    let gateway = place.start();
    let mut browser = place.browser(&gateway).await;
    let answer = browser.get("/api/admin/session-stats").await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.json()["error"], "Admin authentication required");
    for _ in 0..3 {
        place.signed_in(&gateway).await;
    }
    place.expire_all();
    let mut ada = place.signed_in(&gateway).await;
    assert_eq!(ada.get("/api/admin/session-stats").await.status, 401);
    browser.sign_in("root").await;
    let answer = browser.get("/api/admin/session-stats").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.json();
    let sessions = &told["sessions"];
    let counts = ["total", "active", "expired", "created_today"].map(|name| sessions[name].as_u64().expect("a number"));
    assert_eq!(counts, [5, 2, 3, 5], "{told}");
    assert_eq!(
        (told["store"]["engine"].as_str(), told["store"]["schema"].as_str()),
        (Some("postgres"), Some("portcullis"))
    );
    assert!(
        !answer.text().contains("127.0.0.1") && !answer.text().contains("postgres://"),
        "{}",
        answer.text()
    );
    assert!(place.app.requests().is_empty(), "the application saw none of it");
}
