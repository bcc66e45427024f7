//! `working-day-legacy.toml`: rolling sessions of `nestmap.sid`, several instances behind a balancer that ends TLS.

use super::claims::TARGET;
use super::kept;
use super::place::{HOST, Reach, Shipped, attributes};
use super::theirs::{Before, Column};

const COLUMN: Column = Column {
    shipped: Shipped {
        name: "working-day-legacy",
        reach: Reach::Balancer(HOST),
        cookie: "nestmap.sid",
        schema: "portcullis",
    },
    source: "app",
    table: "session",
    zone: "Asia/Kolkata",
    life: 12 * 3600,
    attributes: "Path=/; Expires=Tue, 19 Jan 2038 03:14:07 GMT; HttpOnly; Secure; SameSite=Strict",
    ids: "",
    user: Some("/userId"),
    log_in: "/login",
    log_out: "/logout",
    ends: false,
};

#[tokio::test]
async fn sessions_survive_kill_and_restart() {
    kept::survives_kill_and_restart(&Before::new(COLUMN)).await;
}

#[tokio::test]
async fn behind_a_load_balancer_no_affinity_is_needed() {
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
async fn activity_in_the_application_moves_the_end() {
    kept::activity_moves_the_end(&Before::new(COLUMN)).await;
}

#[tokio::test]
async fn the_applications_cookie_comes_through_as_it_set_it() {
    let before = Before::new(COLUMN);
    let gateway = before.place.start();
    let mut browser = before.place.browser(&gateway).await;
    let answer = kept::sign_in(&before, &mut browser).await;
    let [line] = answer.values("set-cookie")[..] else {
        panic!("{:?}", answer.headers)
    };
    let mut expected: Vec<_> = COLUMN.attributes.split("; ").collect();
    expected.sort_unstable();
    assert_eq!(attributes(line), expected);
    // The balancer's word on https is passed on, once; the application sends no Secure cookie without it.
    assert_eq!(before.place.app.last().values("x-forwarded-proto"), ["https"]);
    assert_eq!(before.place.app.last().values("x-forwarded-for"), ["203.0.113.9"]);
}

#[tokio::test]
async fn a_visitor_without_log_in_has_no_row_and_no_cookie() {
    let before = Before::new(COLUMN);
    let gateway = before.place.start();
    let mut visitor = before.place.browser(&gateway).await;
    for target in ["/", "/login-page", "/"] {
        assert_eq!(visitor.get(target).await.status, 200, "{target}");
        assert_eq!(visitor.cookie, None, "{target}");
        assert!(before.place.app.last().values("x-forwarded-user").is_empty());
    }
    let ours = before.place.count("SELECT count(*) FROM portcullis.sessions");
    assert_eq!((before.rows(), ours), (0, 0));
}

#[tokio::test]
async fn a_log_in_takes_a_new_id_and_the_old_one_is_refused() {
    let before = Before::new(COLUMN);
    let gateway = before.place.start();
    let mut browser = kept::signed_in(&before, &gateway).await;
    kept::assert_known(&before, &mut browser, "the first").await;
    let first = browser.cookie.clone();
    kept::sign_in(&before, &mut browser).await;
    assert_ne!(browser.cookie, first);
    kept::assert_known(&before, &mut browser, "the second").await;
    let mut old = before.place.browser(&gateway).await;
    old.cookie = first;
    kept::assert_refused(
        &before,
        &mut old,
        "Session expired",
        "its row was deleted by the log-in",
    )
    .await;
}

#[tokio::test]
async fn the_applications_own_statistics_are_for_who_is_signed_in() {
    let before = Before::new(COLUMN);
    let gateway = before.place.start();
    let mut browser = before.place.browser(&gateway).await;
    assert_eq!(browser.get("/api/admin/session-stats").await.status, 401);
    kept::sign_in(&before, &mut browser).await;
    assert_eq!(browser.get("/api/admin/session-stats").await.text(), "hello");
}

#[tokio::test]
async fn in_development_nobody_in_front_is_believed() {
    let mut before = Before::new(COLUMN);
    before.place.set("NODE_ENV", "development");
    before.place.unset("PORTCULLIS_TRUST_PROXIES");
    let cookie = before.open(3600).cookie;
    let gateway = before.place.start();
    let mut browser = before.place.browser_by(&gateway, Reach::Http(HOST)).await;
    browser.cookie = Some(cookie);
    kept::assert_known(&before, &mut browser, "over plain http").await;
    let lines = ["X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https"];
    browser.send("GET", TARGET, &lines, "").await;
    let told = before.place.app.last();
    assert_eq!(told.values("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(told.values("x-forwarded-proto"), ["http"]);
}
