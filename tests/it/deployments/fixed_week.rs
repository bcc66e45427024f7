//! `fixed-week.toml`: a week from the log-in, https by the gateway, tables by migration only.

use super::claims;
use super::figures;
use super::place::{HOST, Place, Reach, Shipped, USER, attributes};

const SHIPPED: Shipped = Shipped {
    name: "fixed-week",
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
async fn the_cookie_is_http_only_secure_and_lax_for_seven_days() {
    let place = Place::new(SHIPPED).prepared();
    let gateway = place.start();
    let line = place.browser(&gateway).await.sign_in(USER).await;
    assert_eq!(
        attributes(&line),
        ["HttpOnly", "Max-Age=604800", "Path=/", "SameSite=Lax", "Secure"]
    );
}

#[test]
fn a_secret_under_32_bytes_is_a_fault_at_start() {
    claims::short_secrets_are_refused(&mut Place::new(SHIPPED));
}

#[test]
fn tables_are_made_by_migration_only() {
    let place = Place::new(SHIPPED);
    let end = place.try_start().err().expect("without tables it must not start");
    assert_eq!(end.code, Some(1), "{}", end.stderr);
    assert!(
        end.stderr.contains("portcullis migrate"),
        "the way out is not told: {}",
        end.stderr
    );
    let none = place.sql("SELECT to_regclass('portcullis.sessions') IS NULL");
    assert_eq!(none, "t", "a refused start makes nothing");
    place.done(&["migrate"], "");
    let columns = "SELECT string_agg(indexname, ' ' ORDER BY indexname) FROM pg_indexes WHERE tablename = 'sessions'";
    assert!(place.sql(columns).contains("sessions_pkey"));
    place.start();
}

#[test]
fn a_variable_that_is_missing_is_named() {
    let mut place = Place::new(SHIPPED);
    place.unset("DATABASE_URL");
    let end = place.try_start().err().expect("it must not start");
    assert_eq!(end.code, Some(2));
    assert!(end.stderr.contains("\"DATABASE_URL\" is not set"), "{}", end.stderr);
}

#[tokio::test]
async fn the_start_is_told_without_a_secret() {
    let place = Place::new(SHIPPED).prepared();
    let gateway = place.start();
    let says = ["__Host-portcullis", "\"always\"", "\"lax\"", "\"none\""];
    claims::start_is_told(&place, &gateway, &says);
}

#[tokio::test]
async fn several_sessions_of_one_user_are_signed_in_at_once() {
    let place = Place::new(SHIPPED).prepared();
    let gateway = place.start();
    let mut browsers = Vec::new();
    for _ in 0..12 {
        browsers.push(place.signed_in(&gateway).await);
    }
    for browser in &mut browsers {
        claims::assert_signed_in(&place, browser, "one of twelve").await;
    }
    browsers[2].sign_out().await;
    for (index, browser) in browsers.iter_mut().enumerate() {
        if index == 2 {
            claims::assert_refused(&place, browser, "signed out").await;
        } else {
            claims::assert_signed_in(&place, browser, "another one signed out").await;
        }
    }
}

#[tokio::test]
async fn a_log_in_does_not_reach_beyond_its_week() {
    let place = Place::new(SHIPPED).prepared();
    let gateway = place.start();
    let mut browser = place.signed_in(&gateway).await;
    let life = "SELECT extract(epoch FROM expires_at - created_at)::bigint FROM portcullis.sessions";
    assert_eq!(place.count(life), 604_800);
    claims::assert_signed_in(&place, &mut browser, "activity").await;
    gateway.terminate();
    assert_eq!(place.count(life), 604_800, "activity moves nothing");
}

#[tokio::test]
async fn plain_http_is_sent_to_https() {
    let place = Place::new(SHIPPED).prepared();
    let gateway = place.start();
    let answer = place.browser_by(&gateway, Reach::Http(HOST)).await.get("/a?b=c").await;
    assert_eq!(answer.status, 308);
    assert_eq!(answer.value("location"), Some("https://app.example.com/a?b=c"));
    assert!(place.app.requests().is_empty());
}

#[tokio::test]
async fn a_deploy_signs_nobody_out() {
    claims::a_deploy_signs_nobody_out(&Place::new(SHIPPED).prepared()).await;
}

#[tokio::test]
async fn errors_are_handled_and_give_nothing_away() {
    claims::an_outage_signs_nobody_out(&Place::new(SHIPPED).prepared()).await;
}

#[tokio::test]
async fn a_session_takes_about_500_bytes_and_is_found_by_its_key() {
    figures::size_and_look_up(&Place::new(SHIPPED).prepared()).await;
}

#[tokio::test]
async fn headers_tell_the_application_who_it_is_and_browsers_what_to_keep() {
    let place = Place::new(SHIPPED).prepared();
    let gateway = place.start();
    let mut browser = place.signed_in(&gateway).await;
    let answer = browser.get("/report").await;
    assert_eq!(answer.value("cache-control"), Some("private"));
    assert!(
        answer.values("set-cookie").is_empty(),
        "an unchanged session sets nothing"
    );
    let told = place.app.last();
    for (name, value) in [
        ("x-forwarded-user", USER),
        ("x-forwarded-preferred-username", USER),
        ("x-forwarded-groups", "users"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", HOST),
        ("x-forwarded-for", "127.0.0.1"),
    ] {
        assert_eq!(told.values(name), [value], "{name}");
    }
    let login = place.browser(&gateway).await.get("/.portcullis/session").await;
    assert_eq!(login.value("cache-control"), Some("no-store"));
    assert!(login.value("x-request-id").is_some());
}

#[tokio::test]
async fn expired_sessions_are_removed_every_15_minutes_and_the_log_says_how_many() {
    claims::sweeps_by_itself(&mut Place::new(SHIPPED).prepared(), "15m").await;
}

#[tokio::test]
async fn a_thousand_expired_sessions_are_removed_by_hand_and_live_ones_stay() {
    figures::sweep_of_a_thousand(&Place::new(SHIPPED).prepared()).await;
}

#[test]
fn there_is_a_sweep_of_its_own_at_three_in_the_morning() {
    let shown = Place::new(SHIPPED).done(&["config", "show"], "");
    assert!(shown.contains("sweep_at = \"03:00\""), "{shown}");
}

#[tokio::test]
async fn statistics_are_told_by_command() {
    let place = Place::new(SHIPPED).prepared();
    let gateway = place.start();
    let stats = || -> serde_json::Value {
        serde_json::from_str(&place.done(&["session", "stats", "--json"], "")).expect("JSON")
    };
    assert_eq!(stats()["sessions"]["total"], 0);
    place.signed_in(&gateway).await;
    place.expire_all();
    place.signed_in(&gateway).await;
    let told = stats();
    let counts = ["total", "active", "expired", "users"].map(|name| told["sessions"][name].as_u64().expect("a number"));
    assert_eq!(counts, [2, 1, 1, 1], "{told}");
    assert_eq!(
        told["log_ins"]["by_day"]
            .as_array()
            .and_then(|days| days.last())
            .map(|day| day["succeeded"].clone()),
        Some(2.into()),
        "{told}"
    );
    let page = place.done(&["session", "stats"], "");
    assert!(page.contains("active"), "{page}");
}
