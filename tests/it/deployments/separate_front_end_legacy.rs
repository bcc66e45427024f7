//! `separate-front-end-legacy.toml`: an API with a table of its own whose key is the cookie, behind a balancer.

use super::claims::TARGET;
use super::kept;
use super::place::{ADMIN_TOKEN, Reach, Shipped, attributes};
use super::theirs::{Before, Column};

const HOST: &str = "api.example.com";
const COLUMN: Column = Column {
    shipped: Shipped {
        name: "separate-front-end-legacy",
        reach: Reach::Balancer(HOST),
        cookie: "session",
        schema: "portcullis",
    },
    source: "api",
    table: "public.sessions",
    zone: "America/New_York",
    life: 7 * 86_400,
    attributes: "Path=/; Max-Age=604800; HttpOnly; Secure; SameSite=None",
    ids: "",
    user: None,
    log_in: "/api/auth/login",
    log_out: "/api/auth/logout",
    ends: true,
};
/// A page of the front end, on its own site.
const FETCH: [&str; 4] = [
    "Origin: https://www.example.com",
    "Sec-Fetch-Site: cross-site",
    "Sec-Fetch-Mode: cors",
    "Accept: */*",
];

#[tokio::test]
async fn sessions_survive_kill_and_restart() {
    kept::survives_kill_and_restart(&Before::new(COLUMN)).await;
}

#[tokio::test]
async fn several_instances_on_one_database_need_no_affinity() {
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
async fn the_applications_event_stream_is_passed_on_unbuffered_and_ends_with_the_session() {
    kept::a_stream_ends_with_the_session(&Before::new(COLUMN)).await;
}

#[tokio::test]
async fn a_user_who_is_deleted_is_signed_out() {
    let before = Before::new(COLUMN);
    let gateway = before.place.start();
    let mut browser = kept::signed_in(&before, &gateway).await;
    kept::assert_known(&before, &mut browser, "before").await;
    before.place.sql("DELETE FROM public.users WHERE id = '42'");
    assert_eq!(before.rows(), 0, "the rows went with their user");
    browser.until(TARGET, 401).await;
}

/// Administration lists and ends them, by command and by what its pages call; the API's rows go, and nobody else's.
#[tokio::test]
async fn all_sessions_of_a_user_are_listed_and_ended_and_nobody_elses() {
    let before = Before::new(COLUMN);
    let gateway = before.place.start();
    let sql = |sql: &str| before.place.sql(sql);
    sql("INSERT INTO public.users VALUES ('43', 'eve@example.com', '')");
    sql("INSERT INTO public.sessions (id, user_id, expires_at) \
         VALUES ('of_eve', '43', now() AT TIME ZONE 'UTC' + interval '1 hour')");
    let mut eve = before.place.browser(&gateway).await;
    eve.cookie = Some("session=of_eve".to_owned());
    assert_eq!(eve.get(TARGET).await.status, 200);
    for by_command in [true, false] {
        let mut ada = [
            kept::signed_in(&before, &gateway).await,
            kept::signed_in(&before, &gateway).await,
        ];
        for browser in &mut ada {
            kept::assert_known(&before, browser, "before").await;
        }
        let listed = before
            .place
            .done(&["session", "list", "--user", "api:42", "--json"], "");
        let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
        assert_eq!(listed["items"].as_array().map(Vec::len), Some(2), "{listed}");
        if by_command {
            before.place.done(&["session", "end", "--user", "api:42"], "");
        } else {
            let token = format!("X-Admin-Token: {ADMIN_TOKEN}");
            let lines = ["Accept: application/json", token.as_str()];
            let mut pages = before.place.browser(&gateway).await;
            let answer = pages
                .send("DELETE", "/api/admin/sessions?user=api:42", &lines, "")
                .await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        assert_eq!(sql("SELECT string_agg(user_id, ' ') FROM public.sessions"), "43");
        for browser in &mut ada {
            browser.until(TARGET, 401).await;
        }
        assert_eq!(eve.get(TARGET).await.status, 200);
    }
}

#[tokio::test]
async fn the_e_mail_address_comes_out_of_the_users_table() {
    let before = Before::new(COLUMN);
    let gateway = before.place.start();
    let mut browser = kept::signed_in(&before, &gateway).await;
    kept::assert_known(&before, &mut browser, "signed in").await;
    assert_eq!(before.place.app.last().values("x-user-email"), ["ada@example.com"]);
}

#[tokio::test]
async fn the_front_end_signs_in_and_out_by_the_apis_own_paths_from_its_own_site() {
    let before = Before::new(COLUMN);
    let gateway = before.place.start();
    let mut browser = before.place.browser(&gateway).await;
    let asks = [
        "Origin: https://www.example.com",
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: content-type",
    ];
    let asked = browser.send("OPTIONS", "/api/auth/login", &asks, "").await;
    assert_eq!(asked.status, 200, "the API answers it: {}", asked.text());
    let answer = browser.send("POST", "/api/auth/login", &FETCH, "{}").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let expected = ["HttpOnly", "Max-Age=604800", "Path=/", "SameSite=None", "Secure"];
    assert_eq!(attributes(answer.values("set-cookie")[0]), expected);
    assert_eq!(browser.send("GET", TARGET, &FETCH, "").await.status, 200);
    browser.send("POST", "/api/auth/logout", &FETCH, "{}").await;
    let refused = browser.send("GET", TARGET, &FETCH, "").await;
    assert_eq!(
        (refused.status, refused.json()["error"].as_str()),
        (401, Some("Session expired"))
    );
    assert_eq!(
        refused.value("access-control-allow-origin"),
        Some("https://www.example.com"),
        "the front end can read why"
    );
}

/// Theirs took any session for an administrator's.
#[tokio::test]
async fn administration_needs_the_token_and_no_session_does_instead() {
    let before = Before::new(COLUMN);
    let gateway = before.place.start();
    let mut browser = kept::signed_in(&before, &gateway).await;
    before.place.app.forget();
    let refused = browser.get("/api/admin/sessions").await;
    assert_eq!(refused.status, 401);
    assert_eq!(refused.json()["error"], "Admin authentication required");
    let lines = [
        "Accept: application/json".to_owned(),
        format!("X-Admin-Token: {ADMIN_TOKEN}"),
    ];
    let lines = [lines[0].as_str(), lines[1].as_str()];
    assert_eq!(browser.send("GET", "/api/admin/sessions", &lines, "").await.status, 200);
    assert_eq!(browser.send("GET", "/api/admin/stats", &lines, "").await.status, 200);
    let audited = "SELECT count(*) FROM portcullis.audit_events WHERE actor = 'admin-token-user'";
    assert!(
        before.place.count(audited) > 0,
        "{}",
        before.place.sql("SELECT kind, actor FROM portcullis.audit_events")
    );
    // The API's own administration, which any session opens, is out of reach.
    assert_eq!(browser.get("/api/admin/anything").await.status, 403);
    assert_eq!(browser.send("GET", "/api/admin/anything", &lines, "").await.status, 403);
    assert!(before.place.app.requests().is_empty());
}

#[tokio::test]
async fn in_development_it_works_over_plain_http() {
    let mut before = Before::new(COLUMN);
    before.place.set("NODE_ENV", "development");
    before.place.set("API_HOST", "localhost");
    before.place.unset("PORTCULLIS_TRUST_PROXIES");
    let cookie = before.open(3600).cookie;
    let gateway = before.place.start();
    let mut browser = before.place.browser_by(&gateway, Reach::Http("localhost")).await;
    browser.cookie = Some(cookie);
    kept::assert_known(&before, &mut browser, "over plain http").await;
}

#[test]
fn sessions_are_found_by_index() {
    let before = Before::new(COLUMN);
    let plan = before
        .place
        .sql("SET enable_seqscan = off; EXPLAIN SELECT 1 FROM public.sessions WHERE id = 'x'");
    assert!(plan.contains("Index"), "{plan}");
}
