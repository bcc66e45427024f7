//! `fixed-week-legacy.toml`: Passport's sessions in connect-pg-simple's table, for a week from the log-in.

use super::claims::TARGET;
use super::kept;
use super::place::{HOST, Reach, Shipped, attributes};
use super::theirs::{Before, Column};

const COLUMN: Column = Column {
    shipped: Shipped {
        name: "fixed-week-legacy",
        reach: Reach::Https(HOST),
        cookie: "connect.sid",
        schema: "portcullis",
    },
    source: "app",
    table: "session",
    zone: "America/New_York",
    life: 7 * 86_400,
    attributes: "Path=/; Expires=Tue, 19 Jan 2038 03:14:07 GMT; HttpOnly; Secure; SameSite=Lax",
    ids: "",
    user: Some("/passport/user"),
    log_in: "/login",
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
async fn a_deploy_signs_nobody_out() {
    kept::a_deploy_signs_nobody_out(&Before::new(COLUMN)).await;
}

#[tokio::test]
async fn errors_are_handled_and_give_nothing_away() {
    kept::an_outage_signs_nobody_out(&Before::new(COLUMN)).await;
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
}

#[test]
fn our_tables_are_made_by_migration_only() {
    let before = Before::unmigrated(COLUMN);
    let end = before
        .place
        .try_start()
        .err()
        .expect("without tables it must not start");
    assert_eq!(end.code, Some(1), "{}", end.stderr);
    assert!(end.stderr.contains("portcullis migrate"), "{}", end.stderr);
    let none = before.place.sql("SELECT to_regclass('portcullis.sessions') IS NULL");
    assert_eq!(none, "t", "a refused start makes nothing");
}

#[test]
fn a_variable_that_is_missing_is_named() {
    for name in ["READER_URL", "SESSION_SECRET", "GATEWAY_SECRET", "DATABASE_URL"] {
        let mut before = Before::unmigrated(COLUMN);
        before.place.unset(name);
        let end = before.place.try_start().err().expect("it must not start");
        assert_eq!(end.code, Some(2), "{}", end.stderr);
        assert!(end.stderr.contains(&format!("{name:?} is not set")), "{}", end.stderr);
    }
}

#[tokio::test]
async fn plain_http_is_sent_to_https() {
    let before = Before::new(COLUMN);
    let gateway = before.place.start();
    let answer = before
        .place
        .browser_by(&gateway, Reach::Http(HOST))
        .await
        .get("/a?b=c")
        .await;
    assert_eq!(answer.status, 308);
    assert_eq!(answer.value("location"), Some("https://app.example.com/a?b=c"));
}

#[tokio::test]
async fn several_sessions_of_one_user_are_signed_in_at_once() {
    let before = Before::new(COLUMN);
    let gateway = before.place.start();
    let mut browsers = Vec::new();
    for _ in 0..6 {
        browsers.push(kept::signed_in(&before, &gateway).await);
    }
    browsers[2].post("/logout", &serde_json::json!({})).await;
    for (index, browser) in browsers.iter_mut().enumerate() {
        if index == 2 {
            kept::assert_refused(&before, browser, "Session expired", "signed out").await;
        } else {
            kept::assert_known(&before, browser, "another one signed out").await;
        }
    }
}

#[tokio::test]
async fn a_wrong_secret_of_the_applications_is_found() {
    let mut before = Before::new(COLUMN);
    let session = before.open(3600);
    before
        .place
        .set("SESSION_SECRET", "another secret than the application's own");
    let gateway = before.place.start();
    let mut browser = before.place.browser(&gateway).await;
    browser.cookie = Some(session.cookie.clone());
    assert_eq!(browser.get(TARGET).await.status, 401);
    let output = before
        .place
        .command(&["source", "check", "app", "--cookie-stdin"], &session.cookie);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        !output.status.success() && said.contains("signed with none of `secrets`"),
        "{said}"
    );
}
