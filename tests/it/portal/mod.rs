//! The desk as browsers and scripts meet it.

mod bench;
mod circle;
mod credentials;
mod origins;
mod own_sessions;

use bench::*;
use http::{HeaderValue, Method, StatusCode};
use portcullis::model::EventKind;
use portcullis::web::Desk;
use portcullis::web::Scheme;
use portcullis::web::strike;
use serde_json::json;
use std::time::Duration;

const LOGIN: &str = "/.portcullis/login";
const LOGOUT: &str = "/.portcullis/logout";
const ME: &str = "/.portcullis/me";
const SESSION: &str = "/.portcullis/session";
const COOKIE: &str = "__Host-portcullis";

fn right() -> [(&'static str, &'static str); 2] {
    [("username", "alice"), ("password", PASSWORD)]
}

#[tokio::test]
async fn a_form_signs_in_and_leads_back() {
    let (bench, mut browser) = (Bench::new(), Browser::default());
    let fields = [right()[0], right()[1], ("next", "/orders?open=1")];
    let answer = browser.submit(&bench, LOGIN, LOGIN, &fields).await;
    assert_eq!(answer.status(), 303);
    assert_eq!(header(&answer, "location"), Some("/orders?open=1"));
    assert!(browser.cookies.contains_key(COOKIE));
    let me = browser.fetch(&bench, ME).await;
    assert_eq!(body(&me)["username"], "alice");
    assert_eq!(bench.counted("succeeded"), 1);
}

#[tokio::test]
async fn the_form_carries_a_checked_return_address_only() {
    let (bench, mut browser) = (Bench::new(), Browser::default());
    let page = browser.open(&bench, "/.portcullis/login?next=%2Forders").await;
    assert!(text(&page).contains("name=\"next\" value=\"/orders\""));
    let page = browser.open(&bench, "/.portcullis/login?next=%2F%2Fevil.example").await;
    assert!(!text(&page).contains("evil"));
    let fields = [right()[0], right()[1], ("next", "https://evil.example/")];
    let answer = browser.submit(&bench, LOGIN, LOGIN, &fields).await;
    assert_eq!(header(&answer, "location"), Some("/"));
}

#[tokio::test]
async fn a_script_signs_in_with_json() {
    let (bench, mut browser) = (Bench::new(), Browser::default());
    let sent = json!({"username": "alice@example.com", "password": PASSWORD, "next": "/x"});
    let answer = browser.post_json(&bench, LOGIN, &sent).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(header(&answer, "content-type"), Some("application/json"));
    let told = body(&answer);
    assert_eq!(told["user"]["username"], "alice");
    assert_eq!(told["user"]["name"], "The alice");
    assert_eq!(told["user"]["email"], "alice@example.com");
    assert_eq!(told["user"]["groups"], json!(["staff"]));
    assert_eq!(told["session"]["expires_at"], "2026-02-01T00:00:00Z");
    assert_eq!(told["session"]["ends_at"], "2026-02-07T12:00:00Z");
    assert!(told["session"]["public_id"].is_string());
    assert_eq!(told["next"], "/x");
    assert!(
        !text(&answer).contains(&browser.cookies[COOKIE]),
        "the token is for the cookie alone"
    );
}

#[tokio::test]
async fn a_wrong_password_keeps_the_name_and_signs_nobody_in() {
    let (bench, mut browser) = (Bench::new(), Browser::default());
    for name in ["alice", "nobody"] {
        let fields = [
            ("username", name),
            ("password", "wrong"),
            ("remember", "on"),
            ("next", "/orders"),
        ];
        let answer = browser.submit(&bench, LOGIN, LOGIN, &fields).await;
        assert_eq!(answer.status(), 401);
        let page = text(&answer);
        assert!(page.contains(&format!("value=\"{name}\"")) && page.contains("role=\"alert\""));
        assert!(page.contains("value=\"/orders\"") && page.contains(" checked"));
        assert!(!page.contains("\"wrong\""), "a password never comes back");
    }
    let answer = browser
        .post_json(&bench, LOGIN, &json!({"username": "alice", "password": "wrong"}))
        .await;
    assert_eq!(answer.status(), 401);
    assert_eq!(header(&answer, "content-type"), Some("application/problem+json"));
    assert_eq!(body(&answer)["type"], "urn:portcullis:wrong-credentials");
    assert!(!browser.cookies.contains_key(COOKIE));
    assert_eq!(bench.counted("failed"), 3);
    assert_eq!(bench.store.sessions(), 0);
}

#[tokio::test]
async fn a_log_in_ends_the_old_session_of_the_browser() {
    let (bench, mut browser) = (Bench::new(), Browser::default());
    browser.sign_in(&bench, "alice").await;
    let mut old = browser.clone();
    browser.sign_in(&bench, "bob").await;
    assert_eq!(bench.store.sessions(), 1);
    assert_eq!(old.fetch(&bench, ME).await.status(), 401);
    assert_eq!(body(&browser.fetch(&bench, ME).await)["username"], "bob");
}

#[tokio::test]
async fn nothing_changes_for_a_request_from_another_origin() {
    let bench = Bench::new();
    let mut browser = Browser::default();
    browser.sign_in(&bench, "alice").await;
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        for path in [LOGIN, LOGOUT] {
            let mut request = json(path, &json!({}));
            request.headers.insert(name, HeaderValue::from_static(value));
            let answer = browser.send(&bench, request).await;
            assert_eq!(answer.status(), 403, "{path} {name}: {value}");
            let mut request = form(path, "csrf=x".into());
            request.headers.insert(name, HeaderValue::from_static(value));
            assert_eq!(
                browser.send(&bench, request).await.status(),
                403,
                "{path} {name}: {value}"
            );
        }
    }
    assert_eq!(bench.store.sessions(), 1);
}

#[tokio::test]
async fn a_script_with_a_session_must_say_where_it_is_from() {
    let (bench, mut browser) = (Bench::new(), Browser::default());
    let mut silent = json(LOGIN, &json!({"username": "alice", "password": PASSWORD}));
    strike(&mut silent.headers, "origin");
    let first = browser.send(&bench, silent).await;
    assert_eq!(first.status(), 200, "without a session there is nothing to abuse");
    let mut silent = json(LOGOUT, &json!({}));
    strike(&mut silent.headers, "origin");
    assert_eq!(browser.send(&bench, silent).await.status(), 403);
    let bare = exchange(Method::POST, LOGOUT);
    assert_eq!(browser.send(&bench, bare).await.status(), 403);
    assert_eq!(bench.store.sessions(), 1);
    let mut fetched = exchange(Method::POST, LOGOUT);
    fetched
        .headers
        .insert("sec-fetch-site", HeaderValue::from_static("same-origin"));
    assert_eq!(browser.send(&bench, fetched).await.status(), 204);
    assert_eq!(bench.store.sessions(), 0);
}

#[tokio::test]
async fn other_bodies_than_forms_and_json_are_415() {
    let (bench, mut browser) = (Bench::new(), Browser::default());
    for kind in ["text/plain", "multipart/form-data; boundary=x", "application/xml"] {
        let mut request = json(LOGIN, &json!({"username": "alice", "password": PASSWORD}));
        request.headers.insert("content-type", HeaderValue::from_static(kind));
        assert_eq!(browser.send(&bench, request).await.status(), 415, "{kind}");
    }
    assert_eq!(bench.store.sessions(), 0);
}

#[tokio::test]
async fn unknown_members_and_doubled_fields_are_400() {
    let (bench, mut browser) = (Bench::new(), Browser::default());
    let sent = json!({"username": "alice", "password": PASSWORD, "admin": true});
    assert_eq!(browser.post_json(&bench, LOGIN, &sent).await.status(), 400);
    let fields = [right()[0], right()[1], ("username", "bob")];
    assert_eq!(browser.submit(&bench, LOGIN, LOGIN, &fields).await.status(), 400);
    let empty = [("username", "alice"), ("password", "")];
    let answer = browser.submit(&bench, LOGIN, LOGIN, &empty).await;
    assert_eq!(answer.status(), 400);
    assert!(text(&answer).contains("value=\"alice\""));
    let long = json!({"username": "alice", "password": "x".repeat(1025)});
    assert_eq!(browser.post_json(&bench, LOGIN, &long).await.status(), 400);
    assert_eq!(bench.store.sessions(), 0);
}

#[tokio::test]
async fn a_stale_form_is_shown_again_and_then_works() {
    let (bench, mut browser) = (Bench::new(), Browser::default());
    let page = browser.open(&bench, LOGIN).await;
    bench.clock.advance(Duration::from_hours(3));
    let sent = |token: &str| {
        let mut body = form_urlencoded::Serializer::new(String::new());
        form(LOGIN, body.append_pair("csrf", token).extend_pairs(right()).finish())
    };
    let again = browser.send(&bench, sent(&token(&page).unwrap())).await;
    assert_eq!(again.status(), 403);
    assert!(text(&again).contains("value=\"alice\"") && text(&again).contains("Please try again"));
    assert_eq!(bench.store.sessions(), 0);
    let answer = browser.send(&bench, sent(&token(&again).unwrap())).await;
    assert_eq!(answer.status(), 303);
}

#[tokio::test]
async fn a_form_without_its_cookie_signs_nobody_in() {
    let (bench, mut browser) = (Bench::new(), Browser::default());
    let page = browser.open(&bench, LOGIN).await;
    let mut body = form_urlencoded::Serializer::new(String::new());
    let body = body
        .append_pair("csrf", &token(&page).unwrap())
        .extend_pairs(right())
        .finish();
    let answer = Browser::default().send(&bench, form(LOGIN, body)).await;
    assert_eq!(answer.status(), 403);
    assert_eq!(bench.store.sessions(), 0);
}

#[tokio::test]
async fn signing_in_over_plain_http_is_refused_except_on_this_machine() {
    let bench = Bench::new();
    let plain = |method: Method, address: &str| {
        let mut request = json(LOGIN, &json!({"username": "alice", "password": PASSWORD}));
        request.method = method;
        request.scheme = Scheme::Http;
        request.address = address.parse().unwrap();
        request
            .headers
            .insert("origin", HeaderValue::from_static("http://crm.example.com"));
        request
    };
    for method in [Method::GET, Method::POST] {
        let answer = bench.portal.answer(plain(method, "192.0.2.7")).await;
        assert_eq!(answer.status(), 403);
        assert_eq!(body(&answer)["type"], "urn:portcullis:not-encrypted");
    }
    for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
        let answer = bench.portal.answer(plain(Method::POST, address)).await;
        assert_eq!(answer.status(), 200, "{address}");
    }
    let bench = Bench::with(|settings, _| settings.unsafe_plain_login = true);
    assert_eq!(
        bench.portal.answer(plain(Method::POST, "192.0.2.7")).await.status(),
        200
    );
}

#[tokio::test]
async fn somebody_signed_in_is_told_so_and_never_sent_round() {
    let (bench, mut browser) = (Bench::new(), Browser::default());
    browser.sign_in(&bench, "alice").await;
    let answer = browser.open(&bench, "/.portcullis/login?next=%2Forders").await;
    assert_eq!(answer.status(), 200);
    assert!(text(&answer).contains("The alice") && text(&answer).contains("href=\"/orders\""));
    let fields = [("switch", "on"), ("next", "/orders")];
    let answer = browser.submit(&bench, LOGIN, LOGOUT, &fields).await;
    assert_eq!(header(&answer, "location"), Some("/.portcullis/login?next=/orders"));
    assert!(!browser.cookies.contains_key(COOKIE));
}

#[tokio::test]
async fn a_log_out_ends_the_session_and_takes_the_cookie() {
    let (bench, mut browser) = (Bench::new(), Browser::default());
    browser.sign_in(&bench, "alice").await;
    let mut thief = browser.clone();
    let answer = browser.open(&bench, LOGOUT).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(bench.store.sessions(), 1, "a GET only asks");
    let answer = browser.submit(&bench, LOGOUT, LOGOUT, &[]).await;
    assert_eq!(answer.status(), 303);
    assert_eq!(
        header(&answer, "location"),
        Some("/.portcullis/login?notice=signed-out")
    );
    assert!(!browser.cookies.contains_key(COOKIE));
    let answer = thief.fetch(&bench, ME).await;
    assert_eq!(answer.status(), 401);
    assert_eq!(body(&answer)["error"], "Session expired");
    let events = bench.store.events.lock().unwrap();
    let event = events.iter().find(|event| event.kind == EventKind::LoggedOut).unwrap();
    assert_eq!(event.actor, "alice");
    assert!(event.session.is_some() && event.address.is_some());
}

#[tokio::test]
async fn a_log_out_with_a_stale_form_ends_nothing() {
    let (bench, mut browser) = (Bench::new(), Browser::default());
    browser.sign_in(&bench, "alice").await;
    let answer = browser.send(&bench, form(LOGOUT, "csrf=AAAA".into())).await;
    assert_eq!(answer.status(), 403);
    assert!(text(&answer).contains("still signed in") && token(&answer).is_some());
    assert_eq!(bench.store.sessions(), 1);
    assert!(browser.cookies.contains_key(COOKIE));
}

#[tokio::test]
async fn a_log_out_without_a_session_still_takes_the_cookie() {
    let (bench, mut browser) = (Bench::new(), Browser::default());
    let answer = browser.post_json(&bench, LOGOUT, &json!({})).await;
    assert_eq!(answer.status(), 204);
    assert!(header(&answer, "set-cookie").unwrap().contains("Max-Age=0"));
    let answer = browser.open(&bench, LOGOUT).await;
    assert_eq!(header(&answer, "location"), Some(LOGIN), "nothing to ask");
}

#[tokio::test]
async fn an_outage_signs_nobody_out() {
    let (bench, mut browser) = (Bench::new(), Browser::default());
    browser.sign_in(&bench, "alice").await;
    bench.let_caches_grow_old();
    bench.store.is_down(true);
    for path in [ME, SESSION, LOGIN, LOGOUT, "/.portcullis"] {
        let answer = browser.open(&bench, path).await;
        assert_eq!(answer.status(), 503, "{path}");
        assert!(header(&answer, "retry-after").is_some(), "{path}");
        assert!(header(&answer, "set-cookie").is_none(), "{path} keeps the cookie");
    }
    for path in [LOGIN, LOGOUT] {
        let sent = if path == LOGIN {
            json!({"username": "alice", "password": PASSWORD})
        } else {
            json!({})
        };
        let answer = browser.post_json(&bench, path, &sent).await;
        assert_eq!(answer.status(), 503, "{path}");
        assert!(header(&answer, "retry-after").is_some(), "{path}");
        assert!(header(&answer, "set-cookie").is_none(), "{path} keeps the cookie");
    }
    bench.store.is_down(false);
    assert_eq!(browser.fetch(&bench, ME).await.status(), 200);
    assert_eq!(bench.counted("unavailable"), 1);
}

#[tokio::test]
async fn a_form_sent_during_an_outage_says_that_nobody_was_signed_out() {
    let (bench, mut browser) = (Bench::new(), Browser::default());
    let page = browser.open(&bench, LOGIN).await;
    bench.store.is_down(true);
    let mut body = form_urlencoded::Serializer::new(String::new());
    let body = body
        .append_pair("csrf", &token(&page).unwrap())
        .extend_pairs(right())
        .finish();
    let answer = browser.send(&bench, form(LOGIN, body)).await;
    assert_eq!(answer.status(), 503);
    assert_eq!(header(&answer, "retry-after"), Some("5"));
    assert!(text(&answer).contains("Nobody was signed out") && text(&answer).contains("value=\"alice\""));
}

#[tokio::test]
async fn a_log_in_beyond_the_queue_is_asked_to_come_back() {
    let bench = Bench::with(|_, costs| {
        costs.at_once = 1;
        costs.queue = 0;
    });
    let sent = || json(LOGIN, &json!({"username": "alice", "password": PASSWORD}));
    let (first, second) = tokio::join!(bench.portal.answer(sent()), bench.portal.answer(sent()));
    assert_eq!(
        (first.status(), second.status()),
        (StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE)
    );
    assert!(header(&second, "retry-after").is_some());
    assert_eq!(body(&second)["type"], "urn:portcullis:busy");
    assert_eq!((bench.counted("succeeded"), bench.counted("busy")), (1, 1));
}

#[tokio::test]
async fn a_log_in_after_two_users_were_mixed_leaves_one() {
    let (bench, mut alice, mut bob) = (Bench::new(), Browser::default(), Browser::default());
    alice.sign_in(&bench, "alice").await;
    bob.sign_in(&bench, "bob").await;
    let mut request = json(LOGIN, &json!({"username": "alice", "password": PASSWORD}));
    let pairs = format!("{COOKIE}={}; {COOKIE}={}", alice.cookies[COOKIE], bob.cookies[COOKIE]);
    request.headers.insert("cookie", pairs.parse().unwrap());
    let answer = bench.portal.answer(request).await;
    let lines: Vec<_> = answer.headers().get_all("set-cookie").iter().collect();
    assert!(
        lines.first().unwrap().to_str().unwrap().contains("Max-Age=0"),
        "the old ones go first"
    );
    assert!(
        !lines.last().unwrap().to_str().unwrap().contains("Max-Age=0"),
        "the new one stays"
    );
}

#[tokio::test]
async fn a_log_out_that_was_not_stored_is_not_reported_as_done() {
    let (bench, mut browser) = (Bench::new(), Browser::default());
    browser.sign_in(&bench, "alice").await;
    let page = browser.open(&bench, LOGOUT).await;
    bench.store.is_down(true);
    let body = format!("csrf={}", token(&page).unwrap());
    let answer = browser.send(&bench, form(LOGOUT, body)).await;
    assert_eq!(answer.status(), 503);
    assert!(text(&answer).contains("You are still signed in"));
    assert!(browser.cookies.contains_key(COOKIE));
}

#[tokio::test]
async fn me_and_session_tell_the_three_states_apart() {
    let (bench, mut browser) = (Bench::new(), Browser::default());
    let answer = browser.fetch(&bench, ME).await;
    assert_eq!(answer.status(), 401);
    assert_eq!(body(&answer)["error"], "Not authenticated");
    assert_eq!(body(&answer)["login_url"], LOGIN);
    assert_eq!(body(&browser.fetch(&bench, SESSION).await)["state"], "none");

    browser.sign_in(&bench, "alice").await;
    let me = body(&browser.fetch(&bench, ME).await);
    assert_eq!(me["name"], "The alice");
    let session = body(&browser.fetch(&bench, SESSION).await);
    assert_eq!(session["state"], "active");
    assert_eq!(session["seconds_left"], 12 * 60 * 60);
    assert_eq!(session["expires_at"], "2026-02-01T00:00:00Z");

    bench.clock.advance(Duration::from_hours(12));
    let answer = browser.fetch(&bench, ME).await;
    assert_eq!(answer.status(), 401);
    assert_eq!(body(&answer)["error"], "Session expired");
    let session = body(&browser.fetch(&bench, SESSION).await);
    assert_eq!(
        (session["state"].as_str(), session["seconds_left"].is_null()),
        (Some("expired"), true)
    );
}

#[tokio::test]
async fn me_is_a_page_for_people() {
    let (bench, mut browser) = (Bench::new(), Browser::default());
    let answer = browser.open(&bench, ME).await;
    assert_eq!(
        header(&answer, "location"),
        Some("/.portcullis/login?next=/.portcullis/me")
    );
    assert_eq!(
        header(&browser.open(&bench, "/.portcullis/").await, "location"),
        Some(LOGIN)
    );
    browser.sign_in(&bench, "alice").await;
    let answer = browser.open(&bench, ME).await;
    assert!(text(&answer).contains("The alice") && text(&answer).contains("alice@example.com"));
    for root in ["/.portcullis", "/.portcullis/"] {
        let answer = browser.open(&bench, root).await;
        assert_eq!(answer.status(), 200);
        for link in [
            "/.portcullis/sessions",
            "/.portcullis/password",
            "action=\"/.portcullis/logout\"",
        ] {
            assert!(text(&answer).contains(link), "{root} leads to {link}");
        }
    }
}

#[tokio::test]
async fn live_sessions_of_two_users_are_none() {
    let (bench, mut alice, mut bob) = (Bench::new(), Browser::default(), Browser::default());
    alice.sign_in(&bench, "alice").await;
    bob.sign_in(&bench, "bob").await;
    let both = |method: Method, path: &str| {
        let mut request = exchange(method, path);
        let pairs = format!("{COOKIE}={}; {COOKIE}={}", alice.cookies[COOKIE], bob.cookies[COOKIE]);
        request.headers.insert("cookie", pairs.parse().unwrap());
        request
    };
    let answer = bench.portal.answer(both(Method::GET, ME)).await;
    assert_eq!(answer.status(), 401);
    assert!(header(&answer, "set-cookie").unwrap().contains("Max-Age=0"));
    let answer = bench.portal.answer(both(Method::GET, LOGIN)).await;
    assert!(text(&answer).contains("two different users"));
    assert!(
        answer
            .headers()
            .get_all("set-cookie")
            .iter()
            .any(|line| line.to_str().unwrap().contains("Max-Age=0"))
    );
    let answer = bench.portal.answer(both(Method::GET, SESSION)).await;
    assert_eq!(body(&answer)["state"], "none");
}

#[tokio::test]
async fn what_is_not_there_is_404_and_a_wrong_method_405() {
    let (bench, mut browser) = (Bench::new(), Browser::default());
    for path in [
        "register",
        "sessions/",
        "sync/",
        "events/x",
        "verify/nginx",
        "jwks.json",
        "admin/users",
        "login/",
        "Login",
        "log%69n",
        "me/x",
    ] {
        let answer = browser.fetch(&bench, &format!("/.portcullis/{path}")).await;
        assert_eq!(answer.status(), 404, "{path}");
    }
    for (method, path, allow) in [
        (Method::PUT, LOGIN, "GET, HEAD, POST"),
        (Method::DELETE, LOGOUT, "GET, HEAD, POST"),
        (Method::POST, ME, "GET, HEAD"),
        (Method::OPTIONS, SESSION, "GET, HEAD"),
        (Method::HEAD, "/.portcullis/events", "GET"),
        (Method::GET, "/.portcullis/sync", "POST"),
        (Method::POST, "/.portcullis/sessions", "GET, HEAD"),
        (Method::GET, "/.portcullis/sessions/end-others", "POST"),
        (Method::DELETE, "/.portcullis/sessions/end-others", "POST"),
        (Method::GET, "/.portcullis/sessions/x", "DELETE"),
        (Method::DELETE, "/.portcullis/sessions/x/end", "POST"),
    ] {
        let answer = browser.send(&bench, exchange(method, path)).await;
        assert_eq!(answer.status(), 405, "{path}");
        assert_eq!(header(&answer, "allow"), Some(allow), "{path}");
    }
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let (bench, mut browser) = (Bench::new(), Browser::default());
    browser.open(&bench, LOGIN).await;
    let got = browser.send(&bench, exchange(Method::GET, LOGIN)).await;
    let head = browser.send(&bench, exchange(Method::HEAD, LOGIN)).await;
    assert_eq!(head.status(), 200);
    assert!(head.body().is_empty());
    assert_eq!(
        header(&head, "content-length"),
        Some(got.body().len().to_string().as_str())
    );
}

#[tokio::test]
async fn every_answer_names_its_request_and_is_not_stored() {
    let (bench, mut browser) = (Bench::new(), Browser::default());
    let mut answers = vec![
        browser.open(&bench, LOGIN).await,
        browser.open(&bench, "/.portcullis/nothing").await,
        browser.fetch(&bench, SESSION).await,
        browser.fetch(&bench, ME).await,
        browser.submit(&bench, LOGIN, LOGIN, &right()).await,
    ];
    answers.push(browser.open(&bench, ME).await);
    answers.push(browser.post_json(&bench, LOGOUT, &json!({})).await);
    for answer in answers {
        let status = answer.status();
        assert_eq!(
            header(&answer, "x-request-id"),
            Some("00000000000000000000000000000001"),
            "{status}"
        );
        assert_eq!(header(&answer, "cache-control"), Some("no-store"), "{status}");
        assert_eq!(header(&answer, "x-content-type-options"), Some("nosniff"), "{status}");
    }
}
