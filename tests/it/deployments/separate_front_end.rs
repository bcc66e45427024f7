//! `separate-front-end.toml`: an API for a front end on another site, behind a balancer; a developer's machine, too.

use super::claims;
use super::figures;
use super::place::{ADMIN_TOKEN, PASSWORD, Place, Reach, Shipped, USER, attributes};
use crate::support::client::Response;
use crate::support::upstream::Reply;
use std::time::Duration;

const HOST: &str = "api.example.com";
const SHIPPED: Shipped = Shipped {
    name: "separate-front-end",
    reach: Reach::Balancer(HOST),
    cookie: "session",
    schema: "portcullis",
};

#[tokio::test]
async fn sessions_survive_kill_and_restart() {
    claims::survives_kill_and_restart(&Place::new(SHIPPED).prepared()).await;
}

#[tokio::test]
async fn several_instances_on_one_database_need_no_affinity() {
    claims::instances_need_no_affinity(&Place::new(SHIPPED).prepared()).await;
}

#[tokio::test]
async fn invalid_and_expired_sessions_are_refused_swept_or_not() {
    claims::invalid_and_expired_are_refused(&Place::new(SHIPPED).prepared()).await;
}

#[tokio::test]
async fn in_production_the_cookie_is_secure_and_goes_with_requests_from_other_sites() {
    for mode in [None, Some("production")] {
        let mut place = Place::new(SHIPPED).prepared();
        if let Some(mode) = mode {
            place.set("NODE_ENV", mode);
        }
        let gateway = place.start();
        let line = place.browser(&gateway).await.sign_in(USER).await;
        let expected = ["HttpOnly", "Max-Age=604800", "Path=/", "SameSite=None", "Secure"];
        assert_eq!(attributes(&line), expected, "{mode:?}");
    }
}

#[tokio::test]
async fn in_development_the_cookie_is_lax_and_works_over_plain_http() {
    let mut place = Place::new(SHIPPED).prepared();
    place.set("NODE_ENV", "development");
    place.set("API_HOST", "localhost");
    place.unset("PORTCULLIS_TRUST_PROXIES");
    let gateway = place.start();
    let mut browser = place.browser_by(&gateway, Reach::Http("localhost")).await;
    let line = browser.sign_in(USER).await;
    assert_eq!(
        attributes(&line),
        ["HttpOnly", "Max-Age=604800", "Path=/", "SameSite=Lax"]
    );
    claims::assert_signed_in(&place, &mut browser, "over plain http").await;
}

#[test]
fn a_mode_that_the_file_does_not_know_is_a_fault_at_start() {
    let mut place = Place::new(SHIPPED);
    place.set("NODE_ENV", "prodution");
    let end = place.try_start().err().expect("it must not start");
    assert_eq!(end.code, Some(2), "{}", end.stderr);
    assert!(end.stderr.contains("\"development\", \"production\""), "{}", end.stderr);
}

#[test]
fn a_secret_under_32_bytes_is_a_fault_at_start() {
    claims::short_secrets_are_refused(&mut Place::new(SHIPPED));
}

#[tokio::test]
async fn the_start_is_told_without_a_secret() {
    let place = Place::new(SHIPPED).prepared();
    let gateway = place.start();
    claims::start_is_told(
        &place,
        &gateway,
        &["\"session\"", "\"always\"", "\"none\"", "127.0.0.1/32"],
    );
}

#[tokio::test]
async fn deleting_a_user_deletes_the_sessions() {
    let place = Place::new(SHIPPED).prepared();
    place.add_user("bob", &["users"]);
    let gateway = place.start();
    let mut ada = place.signed_in(&gateway).await;
    let mut bob = place.browser(&gateway).await;
    bob.sign_in("bob").await;
    assert_eq!(place.rows(), 2);
    place.sql("DELETE FROM portcullis.users WHERE username = 'bob'");
    assert_eq!(place.rows(), 1, "the rows went with their user");
    bob.until(claims::TARGET, 401).await;
    claims::assert_signed_in(&place, &mut ada, "somebody else").await;
}

#[tokio::test]
async fn sessions_are_found_by_index() {
    let place = Place::new(SHIPPED).prepared();
    let uses_index = |filter: &str| {
        let plan = place.sql(&format!(
            "SET enable_seqscan = off; EXPLAIN SELECT * FROM portcullis.sessions WHERE {filter}"
        ));
        assert!(plan.contains("Index"), "{filter}: {plan}");
    };
    uses_index("digest = '\\x00'");
    uses_index("public_id = '00000000-0000-0000-0000-000000000000'");
    uses_index("user_id = '00000000-0000-0000-0000-000000000000'");
    uses_index("sweep_at < now()");
}

#[tokio::test]
async fn log_ins_and_ends_are_audited() {
    claims::log_ins_and_ends_are_audited(&Place::new(SHIPPED).prepared()).await;
}

/// The life of one session, as its owner, an operator and the database see it.
#[tokio::test]
async fn a_session_is_created_found_and_nothing_once_it_has_expired() {
    let place = Place::new(SHIPPED).prepared();
    let (gateway, other) = (place.start(), place.start());
    let mut browser = place.signed_in(&gateway).await;
    let row = place.sql(
        "SELECT s.public_id, u.username, s.expires_at = s.created_at + interval '7 days' \
         FROM portcullis.sessions s JOIN portcullis.users u ON u.id = s.user_id",
    );
    let (id, rest) = row.split_once('|').expect("columns");
    assert_eq!(rest, "ada|t", "the row is in the table");
    let told = browser.get("/.portcullis/session").await.json();
    assert_eq!(
        (told["state"].as_str(), told["public_id"].as_str()),
        (Some("active"), Some(id))
    );
    let shown = |id: &str| place.command(&["session", "show", id, "--json"], "");
    let found: serde_json::Value = serde_json::from_slice(&shown(id).stdout).expect("JSON");
    assert_eq!(
        (found["user"].as_str(), found["state"].as_str()),
        (Some(USER), Some("active"))
    );

    place.expire_all();
    let mut fresh = place.browser(&other).await;
    fresh.cookie.clone_from(&browser.cookie);
    let told = fresh.get("/.portcullis/session").await.json();
    assert_eq!(told["state"], "expired");
    assert!(told["public_id"].is_null() && told["expires_at"].is_null(), "{told}");
    assert_eq!(fresh.get("/.portcullis/me").await.status, 401);
    place.sql("DELETE FROM portcullis.sessions");
    assert_eq!(shown(id).status.code(), Some(1), "nobody finds what is gone");
}

#[tokio::test]
async fn all_sessions_of_a_user_are_listed_and_ended_and_nobody_elses() {
    let place = Place::new(SHIPPED).prepared();
    place.add_user("bob", &["users"]);
    let gateway = place.start();
    let mut ada = [place.signed_in(&gateway).await, place.signed_in(&gateway).await];
    let mut bob = place.browser(&gateway).await;
    bob.sign_in("bob").await;
    let list = |user: &str| -> usize {
        let listed = place.done(&["session", "list", "--user", user, "--json"], "");
        let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
        listed["items"].as_array().expect("a list").len()
    };
    assert_eq!((list(USER), list("bob")), (2, 1));
    place.done(&["session", "end", "--user", USER], "");
    assert_eq!((list(USER), list("bob")), (0, 1));
    for browser in &mut ada {
        browser.until(claims::TARGET, 401).await;
    }
    assert_eq!(bob.get(claims::TARGET).await.status, 200);
}

/// The application's own stream: what it sends is there at once, however long the rest takes.
#[tokio::test]
async fn the_applications_event_stream_is_passed_on_unbuffered_and_ends_with_the_session() {
    let place = Place::with_app(SHIPPED, |_| Reply::Events {
        every: Duration::from_hours(1),
    })
    .prepared();
    let gateway = place.start();
    let mut stranger = place.browser(&gateway).await;
    assert_eq!(stranger.get("/api/events").await.status, 401);
    let mut browser = place.signed_in(&gateway).await;
    let stream = browser.open("/api/events").await;
    assert_eq!(
        stream.chunk().await,
        b"data: 0\n\n",
        "the first event, an hour before the second"
    );
    let mut other_tab = place.browser(&gateway).await;
    other_tab.cookie.clone_from(&browser.cookie);
    other_tab.sign_out().await;
    let rest = browser.stream().chunk().await;
    assert_eq!(rest, b"", "it ends, an hour before the application would say more");
    assert_eq!(other_tab.get("/api/events").await.status, 401);
}

/// A page of the front end, on its own site.
const FETCH: [&str; 5] = [
    "Origin: https://www.example.com",
    "Sec-Fetch-Site: cross-site",
    "Sec-Fetch-Mode: cors",
    "Accept: */*",
    "Content-Type: application/json",
];

#[tokio::test]
async fn the_front_end_signs_in_and_out_by_its_own_paths_from_its_own_site() {
    let place = Place::new(SHIPPED).prepared();
    let gateway = place.start();
    let mut browser = place.browser(&gateway).await;
    let asks = [
        "Origin: https://www.example.com",
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: content-type",
    ];
    let asked = browser.send("OPTIONS", "/api/auth/login", &asks, "").await;
    assert_eq!(asked.status, 204, "{}", asked.text());
    assert_shared(&asked);
    for name in ["username", "email"] {
        let user = if name == "email" { "ada@example.com" } else { USER };
        let body = serde_json::json!({ name: user, "password": PASSWORD }).to_string();
        let answer = browser.send("POST", "/api/auth/login", &FETCH, &body).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        assert_eq!(answer.json()["username"], USER, "it returns the user");
        assert_shared(&answer);
    }
    let answer = browser.send("GET", "/api/auth/me", &FETCH, "").await;
    assert_eq!((answer.status, answer.json()["username"].as_str()), (200, Some(USER)));
    assert_shared(&answer);
    let answer = browser.send("POST", "/api/auth/logout", &FETCH, "{}").await;
    assert_eq!(answer.status, 204, "{}", answer.text());
    assert_eq!(place.rows(), 0);
    assert!(place.app.requests().is_empty(), "the application saw none of it");
}

#[tokio::test]
async fn a_visitor_registers_by_the_front_ends_own_path_and_uses_the_api() {
    let place = Place::new(SHIPPED).prepared();
    let gateway = place.start();
    let mut browser = place.browser(&gateway).await;
    let new = serde_json::json!({ "username": "eve", "email": "eve@example.com", "password": PASSWORD }).to_string();
    let answer = browser.send("POST", "/api/auth/register", &FETCH, &new).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_shared(&answer);
    assert_eq!(answer.json()["username"], "eve", "it returns the user");
    assert_eq!(browser.send("GET", claims::TARGET, &FETCH, "").await.status, 200);
    let again = browser.send("POST", "/api/auth/register", &FETCH, &new).await;
    assert_eq!(again.status, 409, "{}", again.text());
    assert!(again.json()["error"].is_string(), "{}", again.text());
}

/// The token of older pages, or a session of the group; any other session, as it was once, does not do.
#[tokio::test]
async fn administration_needs_the_token_or_a_member_and_is_audited() {
    let place = Place::new(SHIPPED).prepared();
    place.add_user("root", &["users", "admins"]);
    let gateway = place.start();
    let token = format!("X-Admin-Token: {ADMIN_TOKEN}");
    let wrong = format!("X-Admin-Token: {}", ADMIN_TOKEN.to_lowercase());
    let mut ada = place.signed_in(&gateway).await;
    let mut nobody = place.browser(&gateway).await;
    for target in ["/api/admin/users", "/api/admin/sessions", "/api/admin/stats"] {
        for browser in [&mut nobody, &mut ada] {
            let answer = browser.send("GET", target, &["Accept: application/json"], "").await;
            assert_eq!(answer.status, 401, "{target}: {}", answer.text());
            assert_eq!(answer.json()["error"], "Admin authentication required");
        }
        assert_eq!(nobody.send("GET", target, &[&wrong], "").await.status, 401, "{target}");
        let answer = nobody.send("GET", target, &[&token], "").await;
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
    }
    let mut root = place.browser(&gateway).await;
    root.sign_in("root").await;
    assert_eq!(root.get("/api/admin/users").await.status, 200);
    assert!(place.app.requests().is_empty(), "the application saw none of it");
    let audit = place.done(&["audit", "--json"], "");
    assert!(
        audit.contains("\"admin-token-user\"") && !audit.contains(ADMIN_TOKEN),
        "{audit}"
    );
}

#[tokio::test]
async fn refusals_say_why_in_json_that_the_front_end_can_read() {
    let place = Place::new(SHIPPED).prepared();
    let gateway = place.start();
    let mut browser = place.browser(&gateway).await;
    for (target, cookie, error) in [
        ("/api/auth/me", None, "Not authenticated"),
        ("/api/orders", None, "Not authenticated"),
        ("/api/auth/me", Some("session=dead"), "Session expired"),
        ("/api/orders", Some("session=dead"), "Session expired"),
    ] {
        browser.cookie = cookie.map(str::to_owned);
        let answer = browser.send("GET", target, &FETCH, "").await;
        assert_eq!(answer.status, 401, "{target}");
        assert_eq!(answer.json()["error"], error, "{target}");
        assert_shared(&answer);
    }
    let wrong = serde_json::json!({ "username": USER, "password": "wrong horse" }).to_string();
    let answer = browser.send("POST", "/api/auth/login", &FETCH, &wrong).await;
    assert_eq!(answer.status, 401);
    assert!(answer.json()["error"].is_string(), "{}", answer.text());
}

#[tokio::test]
async fn pages_of_other_sites_can_neither_sign_in_nor_read() {
    let place = Place::new(SHIPPED).prepared();
    let gateway = place.start();
    let mut browser = place.signed_in(&gateway).await;
    for origin in [
        "https://evil.example",
        "https://www.example.com.evil.example",
        "http://www.example.com",
        "null",
    ] {
        let line = format!("Origin: {origin}");
        let mut lines = FETCH;
        lines[0] = &line;
        let body = serde_json::json!({ "username": USER, "password": PASSWORD }).to_string();
        let answer = browser.send("POST", "/api/auth/login", &lines, &body).await;
        assert_eq!(answer.status, 403, "{origin}: {}", answer.text());
        let asks = [line.as_str(), "Access-Control-Request-Method: POST"];
        assert_eq!(
            browser.send("OPTIONS", "/api/auth/login", &asks, "").await.status,
            403,
            "{origin}"
        );
        let cookie = browser.cookie.take();
        let answer = browser.send("GET", "/api/orders", &lines, "").await;
        assert_eq!(answer.value("access-control-allow-origin"), None, "{origin}");
        browser.cookie = cookie;
    }
    assert_eq!(place.rows(), 1);
}

fn assert_shared(answer: &Response) {
    assert_eq!(
        answer.value("access-control-allow-origin"),
        Some("https://www.example.com"),
        "{:?}",
        answer.headers
    );
    assert_eq!(answer.value("access-control-allow-credentials"), Some("true"));
    assert!(answer.values("vary").contains(&"Origin"), "{:?}", answer.headers);
}

#[tokio::test]
async fn expired_sessions_are_removed_every_hour_and_the_log_says_how_many() {
    claims::sweeps_by_itself(&mut Place::new(SHIPPED).prepared(), "1h").await;
}

#[tokio::test]
async fn a_sweep_that_fails_says_why_and_the_next_one_works() {
    let mut place = Place::new(SHIPPED).prepared();
    place.set("PORTCULLIS_SESSION_SWEEP_INTERVAL", "1s");
    let gateway = place.start();
    place.sql("ALTER TABLE portcullis.sessions RENAME TO gone");
    gateway.wait_for_log("expired sessions could not be removed");
    place.sql("ALTER TABLE portcullis.gone RENAME TO sessions");
    gateway.wait_for_log("\"sweep.removed\":0");
}

#[tokio::test]
async fn an_eleventh_session_of_a_user_ends_the_one_unseen_for_longest() {
    let place = Place::new(SHIPPED).prepared();
    let gateway = place.start();
    let mut browsers = figures::crowd(&place, &gateway, 11).await;
    assert_eq!(place.rows(), 10);
    let mut statuses = Vec::new();
    for browser in &mut browsers {
        statuses.push(browser.get(claims::TARGET).await.status);
    }
    assert_eq!(
        statuses.iter().filter(|status| **status == 200).count(),
        10,
        "{statuses:?}"
    );
    assert_eq!(statuses[0], 401, "{statuses:?}");
}

#[tokio::test]
async fn a_user_sees_devices_and_addresses_and_ends_one_of_them() {
    let place = Place::new(SHIPPED).prepared();
    let gateway = place.start();
    let mut here = place.signed_in(&gateway).await;
    let mut there = place.browser(&gateway).await;
    let agent = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    let login = serde_json::json!({ "username": USER, "password": PASSWORD }).to_string();
    let lines = [agent, "Content-Type: application/json", "Accept: application/json"];
    assert_eq!(
        there.send("POST", "/.portcullis/login", &lines, &login).await.status,
        200
    );
    let listed = here.get("/.portcullis/sessions").await.json();
    let sessions = listed["sessions"].as_array().expect("a list");
    assert_eq!(sessions.len(), 2, "{listed}");
    let other = sessions
        .iter()
        .find(|one| one["current"] == false)
        .expect("another one");
    assert_eq!(other["device"], "Firefox on Linux", "{listed}");
    assert_eq!(other["address"], "203.0.113.9", "the browser's, not the balancer's");
    let target = format!("/.portcullis/sessions/{}", other["public_id"].as_str().expect("an id"));
    let lines = ["Accept: application/json"];
    assert_eq!(here.send("DELETE", &target, &lines, "").await.status, 204);
    assert_eq!(there.get(claims::TARGET).await.status, 401);
    assert_eq!(here.get(claims::TARGET).await.status, 200);
}

#[tokio::test]
async fn active_expired_per_user_and_created_today_are_counted_from_zero_to_eight() {
    let place = Place::new(SHIPPED).prepared();
    place.add_user("bob", &["users"]);
    let gateway = place.start();
    let counts = |place: &Place| -> serde_json::Value {
        let told = place.done(&["session", "stats", "--json"], "");
        let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
        let sessions = &told["sessions"];
        serde_json::json!([
            sessions["active"],
            sessions["expired"],
            told["users"],
            sessions["created_today"]
        ])
    };
    assert_eq!(counts(&place), serde_json::json!([0, 0, [], 0]));
    for user in [USER, USER, USER, "bob", "bob"] {
        place.browser(&gateway).await.sign_in(user).await;
    }
    place.expire_all();
    for user in [USER, USER, "bob"] {
        place.browser(&gateway).await.sign_in(user).await;
    }
    let users = serde_json::json!([{ "user": USER, "sessions": 2 }, { "user": "bob", "sessions": 1 }]);
    assert_eq!(counts(&place), serde_json::json!([3, 5, users, 8]));
}
