//! `intranet.toml`: http and https side by side, by name and by address, several containers.

use super::claims;
use super::figures;
use super::place::{Place, Reach, Shipped, USER, attributes};

const NAME: &str = "tools.internal.example";
const ADDRESS: &str = "127.0.0.1";
const SHIPPED: Shipped = Shipped {
    name: "intranet",
    reach: Reach::Http(ADDRESS),
    cookie: "intranet.sid",
    schema: "schema_system",
};

#[tokio::test]
async fn sessions_survive_kill_and_restart() {
    claims::survives_kill_and_restart(&Place::new(SHIPPED).prepared()).await;
}

#[tokio::test]
async fn several_containers_share_one_database() {
    claims::instances_need_no_affinity(&Place::new(SHIPPED).prepared()).await;
}

#[tokio::test]
async fn invalid_and_expired_sessions_are_401_swept_or_not() {
    claims::invalid_and_expired_are_refused(&Place::new(SHIPPED).prepared()).await;
}

#[tokio::test]
async fn the_cookie_holds_over_http_and_https_by_name_and_by_address() {
    let place = Place::new(SHIPPED).prepared();
    let gateway = place.start();
    for (reach, secure) in [
        (Reach::Http(ADDRESS), false),
        (Reach::Http(NAME), false),
        (Reach::Https(ADDRESS), true),
        (Reach::Https(NAME), true),
    ] {
        let mut browser = place.browser_by(&gateway, reach).await;
        let line = browser.sign_in(USER).await;
        let mut expected = vec!["HttpOnly", "Max-Age=86400", "Path=/", "SameSite=Lax"];
        expected.extend(secure.then_some("Secure"));
        assert_eq!(attributes(&line), expected, "{reach:?}");
        claims::assert_signed_in(&place, &mut browser, "with that cookie").await;
    }
}

#[tokio::test]
async fn the_timeout_is_a_variable_in_milliseconds() {
    let mut place = Place::new(SHIPPED).prepared();
    place.set("SESSION_TIMEOUT", "5400000");
    let gateway = place.start();
    let cookie = place.browser(&gateway).await.sign_in(USER).await;
    assert!(attributes(&cookie).contains(&"Max-Age=5400"), "{cookie}");
    let life = "SELECT extract(epoch FROM expires_at - created_at)::bigint FROM schema_system.sessions";
    assert_eq!(place.count(life), 5400);
    for wrong in ["24h", "-1", "0", "1e9"] {
        place.set("SESSION_TIMEOUT", wrong);
        let end = place.try_start().err().expect("it must not start");
        assert_eq!(end.code, Some(2), "{wrong}: {}", end.stderr);
        assert!(end.stderr.contains("${SESSION_TIMEOUT}"), "{wrong}: {}", end.stderr);
    }
}

#[tokio::test]
async fn our_tables_stand_beside_the_applications_in_its_schema() {
    let place = Place::new(SHIPPED);
    place.sql("CREATE SCHEMA schema_system; CREATE TABLE schema_system.session (sid varchar PRIMARY KEY, sess json NOT NULL, expire timestamp(6) NOT NULL)");
    place.sql("INSERT INTO schema_system.session VALUES ('old', '{\"cookie\":{}}', '2030-01-01')");
    let place = place.prepared();
    let gateway = place.start();
    place.signed_in(&gateway).await;
    assert_eq!(place.rows(), 1);
    assert_eq!(
        place.sql("SELECT sid FROM schema_system.session"),
        "old",
        "theirs is as it was"
    );
    assert_eq!(
        place.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'portcullis'"),
        "0"
    );
}

#[tokio::test]
async fn tables_that_are_missing_are_made_at_start() {
    let place = Place::new(SHIPPED);
    let gateway = place.start();
    assert_eq!(place.rows(), 0);
    drop(gateway);
    place.add_user(USER, &[]);
    let gateway = place.start();
    let mut browser = place.signed_in(&gateway).await;
    claims::assert_signed_in(&place, &mut browser, "on fresh tables").await;
}

#[test]
fn a_secret_under_32_bytes_is_a_fault_at_start() {
    claims::short_secrets_are_refused(&mut Place::new(SHIPPED));
}

#[tokio::test]
async fn the_start_tells_database_trust_store_cookie_and_address_without_a_secret() {
    let place = Place::new(SHIPPED).prepared();
    let gateway = place.start();
    let says = [
        "intranet.sid",
        "\"auto\"",
        "\"lax\"",
        "\"trust.proxies\":\"none\"",
        gateway.url(1),
    ];
    claims::start_is_told(&place, &gateway, &says);
}

#[tokio::test]
async fn memory_stays_where_it_was() {
    figures::memory_stays(&Place::new(SHIPPED).prepared()).await;
}

#[tokio::test]
async fn expired_sessions_are_removed_every_15_minutes() {
    claims::sweeps_by_itself(&mut Place::new(SHIPPED).prepared(), "15m").await;
}
