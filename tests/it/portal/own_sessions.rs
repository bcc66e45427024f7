//! "My sessions": one's own and nobody else's, as a page and as JSON.

use super::bench::*;
use super::{COOKIE, LOGIN, LOGOUT, ME};
use http::{HeaderValue, Method};
use portcullis::model::EventKind;
use portcullis::web::Desk;
use serde_json::json;
use std::time::Duration;

const SESSIONS: &str = "/.portcullis/sessions";
const END_OTHERS: &str = "/.portcullis/sessions/end-others";

async fn list(bench: &Bench, browser: &mut Browser) -> Vec<serde_json::Value> {
    let answer = browser.fetch(bench, SESSIONS).await;
    assert_eq!(answer.status(), 200, "{}", text(&answer));
    body(&answer)["sessions"].as_array().unwrap().clone()
}

async fn current(bench: &Bench, browser: &mut Browser) -> String {
    let sessions = list(bench, browser).await;
    let own = sessions.iter().find(|session| session["current"] == true).unwrap();
    own["public_id"].as_str().unwrap().to_owned()
}

async fn delete(bench: &Bench, browser: &mut Browser, id: &str) -> portcullis::web::Answer {
    let mut request = exchange(Method::DELETE, &format!("{SESSIONS}/{id}"));
    request
        .headers
        .insert("sec-fetch-site", HeaderValue::from_static("same-origin"));
    request
        .headers
        .insert("accept", HeaderValue::from_static("application/json"));
    browser.send(bench, request).await
}

async fn two_of_alice(bench: &Bench) -> (Browser, Browser) {
    let (mut here, mut there) = (Browser::default(), Browser::default());
    here.sign_in(bench, "alice").await;
    bench.clock.advance(Duration::from_secs(1));
    there.sign_in(bench, "alice").await;
    (here, there)
}

#[tokio::test]
async fn ones_own_sessions_are_listed_and_this_one_is_marked() {
    let bench = Bench::new();
    let (mut here, _there) = two_of_alice(&bench).await;
    Browser::default().sign_in(&bench, "bob").await;
    let sessions = list(&bench, &mut here).await;
    assert_eq!(sessions.len(), 2, "bob's is not alice's");
    assert_eq!(sessions[0]["current"], true, "this one comes first");
    assert_eq!(sessions[1]["current"], false);
    for session in &sessions {
        let members: Vec<_> = session.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            members,
            [
                "address",
                "created_at",
                "current",
                "device",
                "expires_at",
                "last_seen_at",
                "public_id"
            ]
        );
        assert_eq!(session["address"], "192.0.2.7");
    }
    assert_eq!(sessions[0]["created_at"], "2026-01-31T12:00:00Z");
    assert_eq!(sessions[0]["expires_at"], "2026-02-01T00:00:00Z");
}

#[tokio::test]
async fn a_session_that_is_over_is_not_listed() {
    let bench = Bench::new();
    let (_here, mut there) = two_of_alice(&bench).await;
    bench.clock.advance(Duration::from_secs(12 * 3600 - 1));
    assert_eq!(
        list(&bench, &mut there).await.len(),
        1,
        "the first one ended this moment"
    );
}

#[tokio::test]
async fn who_is_not_signed_in_sees_no_sessions() {
    let bench = Bench::new();
    let mut nobody = Browser::default();
    let answer = nobody.fetch(&bench, SESSIONS).await;
    assert_eq!(
        (answer.status().as_u16(), &body(&answer)["error"]),
        (401, &json!("Not authenticated"))
    );
    let answer = nobody.open(&bench, SESSIONS).await;
    assert_eq!(
        header(&answer, "location"),
        Some("/.portcullis/login?next=/.portcullis/sessions")
    );
    let mut gone = Browser::default();
    gone.sign_in(&bench, "alice").await;
    let mut dead = gone.clone();
    gone.post_json(&bench, LOGOUT, &json!({})).await;
    assert_eq!(body(&dead.fetch(&bench, SESSIONS).await)["error"], "Session expired");
    for answer in [
        delete(&bench, &mut dead, "0192f0c1-2b3c-7d4e-8f90-a1b2c3d4e5f6").await,
        dead.post_json(&bench, END_OTHERS, &json!({})).await,
    ] {
        assert_eq!(
            (answer.status().as_u16(), &body(&answer)["error"]),
            (401, &json!("Session expired"))
        );
    }
}

#[tokio::test]
async fn one_session_is_ended_and_refused_before_the_answer() {
    let bench = Bench::new();
    let (mut here, mut there) = two_of_alice(&bench).await;
    let id = current(&bench, &mut there).await;
    assert_eq!(there.fetch(&bench, ME).await.status(), 200, "it is cached here");
    let answer = delete(&bench, &mut here, &id).await;
    assert_eq!(answer.status(), 204);
    assert!(header(&answer, "set-cookie").is_none(), "it was not this browser's");
    assert_eq!(there.fetch(&bench, ME).await.status(), 401);
    assert_eq!(here.fetch(&bench, ME).await.status(), 200);
    assert_eq!(delete(&bench, &mut here, &id).await.status(), 404, "only once");
    let events = bench.store.events.lock().unwrap();
    let event = events
        .iter()
        .find(|event| event.kind == EventKind::SessionEnded)
        .unwrap();
    assert_eq!((event.actor.as_str(), event.reason), ("alice", Some("own_session")));
    assert!(event.user.is_some() && event.address.is_some());
}

#[tokio::test]
async fn anothers_session_is_as_unknown_as_none() {
    let bench = Bench::new();
    let (mut alice, mut bob) = (Browser::default(), Browser::default());
    alice.sign_in(&bench, "alice").await;
    bob.sign_in(&bench, "bob").await;
    let of_bob = current(&bench, &mut bob).await;
    let mut answers = Vec::new();
    for id in [
        of_bob.as_str(),
        "0192f0c1-2b3c-7d4e-8f90-a1b2c3d4e5f6",
        "x",
        "%00",
        &of_bob.to_uppercase(),
        &of_bob.replace('-', ""),
    ] {
        let answer = delete(&bench, &mut alice, id).await;
        assert_eq!(answer.status(), 404, "{id}");
        answers.push(text(&answer).to_owned());
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(bob.fetch(&bench, ME).await.status(), 200);
}

#[tokio::test]
async fn ending_ones_own_session_is_a_log_out() {
    let (bench, mut browser) = (Bench::new(), Browser::default());
    browser.sign_in(&bench, "alice").await;
    let id = current(&bench, &mut browser).await;
    let answer = delete(&bench, &mut browser, &id).await;
    assert_eq!(answer.status(), 204);
    assert!(!browser.cookies.contains_key(COOKIE));
    assert_eq!(bench.store.sessions(), 0);
    let events = bench.store.events.lock().unwrap();
    assert!(events.iter().any(|event| event.kind == EventKind::LoggedOut));
}

#[tokio::test]
async fn all_others_end_and_this_one_stays() {
    let bench = Bench::new();
    let (mut here, mut there) = two_of_alice(&bench).await;
    let mut bob = Browser::default();
    bob.sign_in(&bench, "bob").await;
    assert_eq!(there.fetch(&bench, ME).await.status(), 200, "it is cached here");
    assert_eq!(here.post_json(&bench, END_OTHERS, &json!({})).await.status(), 204);
    assert_eq!(there.fetch(&bench, ME).await.status(), 401);
    assert_eq!(here.fetch(&bench, ME).await.status(), 200);
    assert_eq!(bob.fetch(&bench, ME).await.status(), 200);
    assert_eq!(list(&bench, &mut here).await.len(), 1);
}

#[tokio::test]
async fn the_page_ends_sessions_without_scripts() {
    let bench = Bench::new();
    let (mut here, mut there) = two_of_alice(&bench).await;
    let id = current(&bench, &mut there).await;
    let page = here.open(&bench, SESSIONS).await;
    assert!(text(&page).contains("This browser") && text(&page).contains(&format!("id=\"end-{id}\"")));
    assert!(
        text(&page).contains("title=\"31 January 2026, 12:00"),
        "{}",
        text(&page)
    );
    let answer = here
        .submit(&bench, SESSIONS, &format!("{SESSIONS}/{id}/end"), &[])
        .await;
    assert_eq!(answer.status(), 303);
    assert_eq!(header(&answer, "location"), Some("/.portcullis/sessions?notice=ended"));
    assert_eq!(there.fetch(&bench, ME).await.status(), 401);
    let page = here.open(&bench, "/.portcullis/sessions?notice=ended").await;
    assert!(text(&page).contains("The session was ended") && !text(&page).contains("end-others"));
    let again = here.submit(&bench, LOGOUT, &format!("{SESSIONS}/{id}/end"), &[]).await;
    assert_eq!(again.status(), 404);
    assert!(text(&again).contains("There is no such session"));
    there.sign_in(&bench, "alice").await;
    let answer = here.submit(&bench, SESSIONS, END_OTHERS, &[]).await;
    assert_eq!(
        header(&answer, "location"),
        Some("/.portcullis/sessions?notice=others-ended")
    );
    assert_eq!(there.fetch(&bench, ME).await.status(), 401);
}

#[tokio::test]
async fn a_form_without_its_token_ends_nothing() {
    let bench = Bench::new();
    let (mut here, mut there) = two_of_alice(&bench).await;
    let id = current(&bench, &mut there).await;
    for path in [format!("{SESSIONS}/{id}/end"), END_OTHERS.to_owned()] {
        let answer = here.send(&bench, form(&path, "csrf=AAAA".into())).await;
        assert_eq!(answer.status(), 403, "{path}");
        assert!(text(&answer).contains("Nothing was ended") && token(&answer).is_some());
    }
    assert_eq!(bench.store.sessions(), 2);
}

#[tokio::test]
async fn nothing_is_reported_done_while_the_store_is_down() {
    let bench = Bench::new();
    let (mut here, mut there) = two_of_alice(&bench).await;
    let id = current(&bench, &mut there).await;
    assert_eq!(here.fetch(&bench, ME).await.status(), 200, "who asks is cached");
    let page = here.open(&bench, SESSIONS).await;
    bench.store.is_down(true);
    let sent = form(END_OTHERS, format!("csrf={}", token(&page).unwrap()));
    let answer = here.send(&bench, sent).await;
    assert_eq!(answer.status(), 503);
    assert!(text(&answer).contains("Nothing was ended"));
    for answer in [
        delete(&bench, &mut here, &id).await,
        here.post_json(&bench, END_OTHERS, &json!({})).await,
        here.fetch(&bench, SESSIONS).await,
    ] {
        assert_eq!(answer.status(), 503, "{}", text(&answer));
        assert_eq!(body(&answer)["type"], "urn:portcullis:unavailable");
        assert!(header(&answer, "retry-after").is_some() && header(&answer, "set-cookie").is_none());
    }
    bench.store.is_down(false);
    assert_eq!(there.fetch(&bench, ME).await.status(), 200);
    assert_eq!(bench.store.sessions(), 2);
}

#[tokio::test]
async fn a_log_out_leaves_no_session_open_whose_cookie_was_sent() {
    let (bench, mut alice, mut bob) = (Bench::new(), Browser::default(), Browser::default());
    alice.sign_in(&bench, "alice").await;
    bob.sign_in(&bench, "bob").await;
    let mut request = json(LOGOUT, &json!({}));
    let pairs = format!("{COOKIE}={}; {COOKIE}={}", alice.cookies[COOKIE], bob.cookies[COOKIE]);
    request.headers.insert("cookie", pairs.parse().unwrap());
    assert_eq!(bench.portal.answer(request).await.status(), 204);
    assert_eq!(bench.store.sessions(), 0);
    for browser in [&mut alice, &mut bob] {
        assert_eq!(browser.fetch(&bench, ME).await.status(), 401);
    }
    let events = bench.store.events.lock().unwrap();
    let ended = events.iter().filter(|event| event.kind == EventKind::LoggedOut);
    assert_eq!(
        ended.map(|event| event.actor.as_str()).collect::<Vec<_>>(),
        ["alice", "bob"]
    );
}

#[tokio::test]
async fn a_log_out_empties_the_cache_where_the_host_asks_for_it_and_nothing_else() {
    let bench = Bench::with(|settings, _| settings.clear_cache = vec!["crm.example.com".to_owned()]);
    let mut browser = Browser::default();
    browser.sign_in(&bench, "alice").await;
    let answer = browser.post_json(&bench, LOGOUT, &json!({})).await;
    assert_eq!(header(&answer, "clear-site-data"), Some("\"cache\""));
    let (plain, mut browser) = (Bench::new(), Browser::default());
    browser.sign_in(&plain, "alice").await;
    let answer = browser.post_json(&plain, LOGOUT, &json!({})).await;
    assert_eq!(header(&answer, "clear-site-data"), None);
    let answer = browser.submit(&bench, LOGIN, LOGOUT, &[]).await;
    assert_eq!(
        (answer.status().as_u16(), header(&answer, "clear-site-data")),
        (303, Some("\"cache\""))
    );
}
