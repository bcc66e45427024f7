//! `intranet-legacy.toml`: sessions in a schema of their own, http and https side by side, by name and by address.

use super::kept;
use super::place::{Reach, Shipped};
use super::theirs::{Before, Column};

const NAME: &str = "tools.internal.example";
const ADDRESS: &str = "127.0.0.1";
const COLUMN: Column = Column {
    shipped: Shipped {
        name: "intranet-legacy",
        reach: Reach::Http(ADDRESS),
        cookie: "connect.sid",
        schema: "schema_system",
    },
    source: "tools",
    table: "schema_system.session",
    zone: "Europe/Berlin",
    life: 24 * 3600,
    attributes: "Path=/; Expires=Tue, 19 Jan 2038 03:14:07 GMT; HttpOnly; SameSite=Lax",
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
async fn several_containers_share_one_database() {
    kept::instances_need_no_affinity(&Before::new(COLUMN)).await;
}

#[tokio::test]
async fn invalid_and_expired_sessions_are_401_swept_or_not() {
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
async fn one_cookie_counts_over_http_and_https_by_name_and_by_address_and_nowhere_else() {
    let before = Before::new(COLUMN);
    let gateway = before.place.start();
    for reach in [
        Reach::Http(ADDRESS),
        Reach::Http(NAME),
        Reach::Https(ADDRESS),
        Reach::Https(NAME),
    ] {
        let mut browser = before.place.browser_by(&gateway, reach).await;
        let answer = kept::sign_in(&before, &mut browser).await;
        assert!(!answer.values("set-cookie")[0].contains("Secure"), "{reach:?}");
        kept::assert_known(&before, &mut browser, "with that cookie").await;
        let scheme = if matches!(reach, Reach::Https(_)) {
            "https"
        } else {
            "http"
        };
        assert_eq!(before.place.app.last().values("x-forwarded-proto"), [scheme]);
    }
    let mut elsewhere = before
        .place
        .browser_by(&gateway, Reach::Http("elsewhere.internal.example"))
        .await;
    elsewhere.cookie = Some(before.open(3600).cookie);
    kept::assert_refused(
        &before,
        &mut elsewhere,
        "Not authenticated",
        "a name that is not the application's",
    )
    .await;
}

#[tokio::test]
async fn our_tables_are_made_beside_the_applications_at_start_and_its_own_stay() {
    let before = Before::unmigrated(COLUMN);
    let session = before.open(3600);
    let was = before.table();
    let gateway = before.place.start();
    let mut browser = before.place.browser(&gateway).await;
    browser.cookie = Some(session.cookie);
    kept::assert_known(&before, &mut browser, "on fresh tables").await;
    assert_eq!(before.table(), was);
    assert_eq!(
        before
            .place
            .sql("SELECT to_regclass('schema_system.sessions') IS NOT NULL"),
        "t"
    );
    assert_eq!(
        before
            .place
            .sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'portcullis'"),
        "0"
    );
}
