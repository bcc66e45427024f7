//! Change of password and registration, as pages and as JSON.

use super::bench::*;
use super::{COOKIE, LOGIN, ME};
use http::{HeaderValue, Method};
use portcullis::model::EventKind;
use portcullis::web::Desk;
use portcullis::web::Scheme;
use portcullis::web::strike;
use serde_json::json;

const CHANGE: &str = "/.portcullis/password";
const REGISTER: &str = "/.portcullis/register";
const NEW: &str = "several new words";

fn open_to_all() -> Bench {
    Bench::with(|settings, _| settings.registration = true)
}

async fn signed_in(bench: &Bench) -> Browser {
    let mut browser = Browser::default();
    browser.sign_in(bench, "alice").await;
    browser
}

#[tokio::test]
async fn a_form_changes_the_password_and_ends_every_other_session() {
    let bench = Bench::new();
    let (mut here, mut there, mut bob) = (signed_in(&bench).await, signed_in(&bench).await, Browser::default());
    bob.sign_in(&bench, "bob").await;
    let mut stolen = here.clone();
    let fields = [("current", PASSWORD), ("new", NEW), ("username", "bob")];
    let answer = here.submit(&bench, CHANGE, CHANGE, &fields).await;
    assert_eq!(answer.status(), 200, "{}", text(&answer));
    assert!(text(&answer).contains("<h1>Your password was changed</h1>"));
    assert_ne!(
        here.cookies[COOKIE], stolen.cookies[COOKIE],
        "the old token is worth nothing"
    );
    assert_eq!(body(&here.fetch(&bench, ME).await)["username"], "alice");
    for old in [&mut there, &mut stolen] {
        assert_eq!(old.fetch(&bench, ME).await.status(), 401);
    }
    assert_eq!(bob.fetch(&bench, ME).await.status(), 200, "nobody else is signed out");
    let event = bench.store.events.lock().unwrap().pop().unwrap();
    assert_eq!(
        (event.kind, event.actor.as_str()),
        (EventKind::PasswordChanged, "alice")
    );
    assert!(event.session.is_some() && event.address.is_some());

    let sign_in = json!({"username": "alice", "password": PASSWORD});
    let old = Browser::default().post_json(&bench, LOGIN, &sign_in).await;
    assert_eq!(old.status(), 401);
    let sign_in = json!({"username": "alice", "password": NEW});
    let new = Browser::default().post_json(&bench, LOGIN, &sign_in).await;
    assert_eq!(new.status(), 200);
}

#[tokio::test]
async fn a_script_changes_the_password_with_json() {
    let bench = Bench::new();
    let mut browser = signed_in(&bench).await;
    let before = browser.cookies[COOKIE].clone();
    let answer = browser
        .post_json(&bench, CHANGE, &json!({"current": PASSWORD, "new": NEW}))
        .await;
    assert_eq!(answer.status(), 200, "{}", text(&answer));
    let told = body(&answer);
    assert_eq!(told["user"]["username"], "alice");
    assert!(told["session"]["public_id"].is_string() && told.get("next").is_none());
    assert_ne!(browser.cookies[COOKIE], before);
    assert_eq!(bench.store.sessions(), 1);
}

#[tokio::test]
async fn a_wrong_current_password_changes_nothing_and_is_audited() {
    let bench = Bench::new();
    let (mut browser, mut other) = (signed_in(&bench).await, signed_in(&bench).await);
    let answer = browser
        .submit(&bench, CHANGE, CHANGE, &[("current", "not hers"), ("new", NEW)])
        .await;
    assert_eq!(answer.status(), 403);
    let page = text(&answer);
    assert!(page.contains("current password is wrong") && page.contains("role=\"alert\""));
    assert!(
        !page.contains("not hers") && !page.contains(NEW),
        "a password never comes back"
    );
    let event = bench.store.events.lock().unwrap().pop().unwrap();
    assert_eq!(
        (event.kind, event.reason),
        (EventKind::LoginFailed, Some("wrong_current_password"))
    );
    assert_eq!(event.username.as_deref(), Some("alice"));
    let answer = browser
        .post_json(&bench, CHANGE, &json!({"current": "no", "new": NEW}))
        .await;
    assert_eq!(
        (answer.status().as_u16(), &body(&answer)["type"]),
        (403, &json!("urn:portcullis:wrong-credentials"))
    );
    assert_eq!(other.fetch(&bench, ME).await.status(), 200);
    assert_eq!(browser.fetch(&bench, ME).await.status(), 200);
    let sign_in = json!({"username": "alice", "password": PASSWORD});
    assert_eq!(
        Browser::default().post_json(&bench, LOGIN, &sign_in).await.status(),
        200
    );
}

#[tokio::test]
async fn a_new_password_that_may_not_be_chosen_is_told_and_changes_nothing() {
    let bench = Bench::new();
    let mut browser = signed_in(&bench).await;
    for (new, word) in [
        ("short", "at least 8 characters"),
        ("Password1", "most common"),
        ("alice@example.com", "e-mail address"),
        ("the alice", "your name"),
        (PASSWORD, "the one that you have"),
    ] {
        let answer = browser
            .post_json(&bench, CHANGE, &json!({"current": PASSWORD, "new": new}))
            .await;
        assert_eq!(answer.status(), 400, "{new}");
        let told = body(&answer);
        assert_eq!(told["type"], "urn:portcullis:unfit-password", "{new}");
        assert!(told["error"].as_str().unwrap().contains(word), "{new}: {told}");
    }
    for fields in [[("current", ""), ("new", NEW)], [("current", PASSWORD), ("new", "")]] {
        let answer = browser.submit(&bench, CHANGE, CHANGE, &fields).await;
        assert_eq!(answer.status(), 400);
    }
    assert_eq!(browser.fetch(&bench, ME).await.status(), 200);
}

/// Whoever has a stolen session learns nothing of the password but through the door that is counted and throttled.
#[tokio::test]
async fn nothing_is_said_of_the_new_password_before_the_current_one_is_proven() {
    let bench = Bench::new();
    let mut browser = signed_in(&bench).await;
    for new in ["short", "Password1", "guess"] {
        let answer = browser
            .post_json(&bench, CHANGE, &json!({"current": "guess", "new": new}))
            .await;
        assert_eq!(body(&answer)["type"], "urn:portcullis:wrong-credentials", "{new}");
    }
}

#[tokio::test]
async fn the_page_is_for_who_is_signed_in() {
    let bench = Bench::new();
    let mut browser = Browser::default();
    let answer = browser.open(&bench, CHANGE).await;
    assert_eq!(answer.status(), 303);
    assert_eq!(
        header(&answer, "location"),
        Some("/.portcullis/login?next=/.portcullis/password")
    );
    let answer = browser.fetch(&bench, CHANGE).await;
    assert_eq!(
        (answer.status().as_u16(), &body(&answer)["error"]),
        (401, &json!("Not authenticated"))
    );
    let answer = browser
        .post_json(&bench, CHANGE, &json!({"current": "a", "new": NEW}))
        .await;
    assert_eq!(answer.status(), 401);
    browser.cookies.insert(COOKIE.to_owned(), "invented".to_owned());
    let answer = browser.fetch(&bench, CHANGE).await;
    assert_eq!(body(&answer)["error"], "Session expired");
    let page = signed_in(&bench).await.open(&bench, CHANGE).await;
    for word in [
        "name=\"current\"",
        "autocomplete=\"current-password\"",
        "autocomplete=\"new-password\"",
        "value=\"alice\"",
        "name=\"csrf\"",
    ] {
        assert!(text(&page).contains(word), "{word}");
    }
}

#[tokio::test]
async fn nothing_changes_for_a_request_from_elsewhere_or_without_a_fresh_form() {
    let bench = open_to_all();
    let mut browser = signed_in(&bench).await;
    let asked = [
        (
            CHANGE,
            json!({"current": PASSWORD, "new": NEW}),
            format!("current={PASSWORD}&new={NEW}"),
        ),
        (
            REGISTER,
            json!({"username": "eve", "password": NEW}),
            format!("username=eve&password={NEW}"),
        ),
    ];
    for (path, object, fields) in asked {
        for (name, value) in [
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
        ] {
            let mut request = json(path, &object);
            request.headers.insert(name, HeaderValue::from_static(value));
            assert_eq!(
                browser.send(&bench, request).await.status(),
                403,
                "{path} {name}: {value}"
            );
        }
        let mut unsaid = json(path, &object);
        strike(&mut unsaid.headers, "origin");
        assert_eq!(browser.send(&bench, unsaid).await.status(), 403, "{path}");
        let answer = browser.send(&bench, form(path, fields.replace(' ', "+"))).await;
        assert_eq!(answer.status(), 403, "{path}: a form without our token");
        let mut plain = json(path, &object);
        plain
            .headers
            .insert("content-type", HeaderValue::from_static("text/plain"));
        assert_eq!(browser.send(&bench, plain).await.status(), 415, "{path}");
        for (name, value) in [("admin", json!(true)), ("groups", json!(["admins"]))] {
            let mut more = object.clone();
            more[name] = value;
            assert_eq!(
                browser.post_json(&bench, path, &more).await.status(),
                400,
                "{path} {name}"
            );
        }
    }
    assert_eq!(bench.store.sessions(), 1);
    assert!(bench.store.added.lock().unwrap().is_empty());
    let sign_in = json!({"username": "alice", "password": PASSWORD});
    assert_eq!(
        Browser::default().post_json(&bench, LOGIN, &sign_in).await.status(),
        200
    );
}

#[tokio::test]
async fn no_password_travels_in_the_clear() {
    let bench = open_to_all();
    for path in [CHANGE, REGISTER] {
        for method in [Method::GET, Method::POST] {
            let mut request = exchange(method.clone(), path);
            request.scheme = Scheme::Http;
            let answer = bench.portal.answer(request).await;
            assert_eq!(answer.status(), 403, "{method} {path}");
            assert!(text(&answer).contains("not encrypted"), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn an_outage_is_503_and_changes_nothing() {
    let bench = open_to_all();
    let mut browser = signed_in(&bench).await;
    let page = browser.open(&bench, CHANGE).await;
    let csrf = token(&page).unwrap();
    bench.store.is_down(true);
    // The session is still believed; the password cannot be asked for.
    let fields = format!("csrf={csrf}&current=correct+horse+battery&new=several+new+words");
    let answer = browser.send(&bench, form(CHANGE, fields)).await;
    assert_eq!(answer.status(), 503);
    assert!(header(&answer, "retry-after").is_some());
    assert!(text(&answer).contains("was not changed"), "{}", text(&answer));
    let answer = browser
        .post_json(&bench, REGISTER, &json!({"username": "eve", "password": NEW}))
        .await;
    assert_eq!(answer.status(), 503);
    bench.let_caches_grow_old();
    assert_eq!(browser.fetch(&bench, CHANGE).await.status(), 503);
    assert!(browser.cookies.contains_key(COOKIE), "nobody is signed out");
    bench.store.is_down(false);
    assert_eq!(browser.fetch(&bench, ME).await.status(), 200);
    assert!(bench.store.added.lock().unwrap().is_empty());
}

#[tokio::test]
async fn registration_is_not_there_unless_it_is_switched_on() {
    let bench = Bench::new();
    let mut browser = Browser::default();
    assert_eq!(browser.open(&bench, REGISTER).await.status(), 404);
    let asked = json!({"username": "eve", "password": NEW});
    assert_eq!(browser.post_json(&bench, REGISTER, &asked).await.status(), 404);
    let put = browser.send(&bench, exchange(Method::PUT, REGISTER)).await;
    assert_eq!(put.status(), 404);
    assert!(!text(&browser.open(&bench, LOGIN).await).contains("register"));
    assert!(bench.store.added.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_visitor_makes_an_account_and_is_signed_in() {
    let (bench, mut browser) = (open_to_all(), Browser::default());
    let page = browser.open(&bench, "/.portcullis/login?next=%2Forders").await;
    assert!(text(&page).contains("href=\"/.portcullis/register?next=/orders\""));
    let fields = [
        ("username", " eve "),
        ("email", "Eve@Example.com"),
        ("name", "Eve Adams"),
        ("password", NEW),
        ("next", "/orders"),
    ];
    let answer = browser.submit(&bench, REGISTER, REGISTER, &fields).await;
    assert_eq!(answer.status(), 303, "{}", text(&answer));
    assert_eq!(header(&answer, "location"), Some("/orders"));
    let me = body(&browser.fetch(&bench, ME).await);
    assert_eq!(
        (&me["username"], &me["name"], &me["groups"], &me["email"]),
        (&json!("eve"), &json!("Eve Adams"), &json!(["registered"]), &json!(null)),
        "an address that nobody verified is told to nobody"
    );
    let eve = bench.store.added.lock().unwrap()[0].clone();
    assert_eq!(
        (eve.email.as_deref(), eve.email_verified),
        (Some("eve@example.com"), false)
    );
    let events = bench.store.events.lock().unwrap().clone();
    let kinds: Vec<_> = events.iter().map(|event| (event.kind, event.reason)).collect();
    assert_eq!(
        kinds,
        [
            (EventKind::UserAdded, Some("registered")),
            (EventKind::LoginSucceeded, None)
        ]
    );
    assert_eq!(events[0].actor, "eve");
    let account = browser.open(&bench, ME).await;
    assert!(
        !text(&account).contains("eve@example.com"),
        "whether it was kept tells whose it is"
    );
}

#[tokio::test]
async fn a_script_makes_an_account_with_json() {
    let (bench, mut browser) = (open_to_all(), Browser::default());
    let asked = json!({"username": "eve", "password": NEW, "next": "//evil.example"});
    let answer = browser.post_json(&bench, REGISTER, &asked).await;
    assert_eq!(answer.status(), 200, "{}", text(&answer));
    let told = body(&answer);
    assert_eq!(
        (&told["user"]["groups"], &told["next"]),
        (&json!(["registered"]), &json!("/"))
    );
    assert!(browser.cookies.contains_key(COOKIE));
}

#[tokio::test]
async fn what_cannot_be_an_account_is_told_and_kept_but_for_the_password() {
    let (bench, mut browser) = (open_to_all(), Browser::default());
    for (username, name, email, password, status, word) in [
        ("alice", "", "", NEW, 409, "not free"),
        ("Alice", "", "", NEW, 400, "a-z, 0-9"),
        ("command", "", "", NEW, 400, "audit log"),
        ("admin-token", "", "", NEW, 400, "audit log"),
        ("root", "", "", NEW, 400, "applications give this name"),
        ("alice.", "", "", NEW, 400, "begins and ends"),
        ("eve@example.com", "", "", NEW, 400, "no @"),
        ("eve", "Eve, Ad\u{202e}a", "", NEW, 400, "control characters"),
        ("eve", "Adams, Eve", "", NEW, 400, "lists are written"),
        ("eve", "\u{410}dmin Support", "", NEW, 400, "look alike"),
        ("eve", "", "nobody", NEW, 400, "one @"),
        ("eve", "", "", "password1", 400, "most common"),
        ("evelynadams", "", "", "EvelynAdams", 400, "your user name"),
        ("eve", "", "", "short", 400, "at least 8"),
        ("eve", "", "", "example ltd", 400, "name of this site"),
    ] {
        let fields = [
            ("username", username),
            ("name", name),
            ("email", email),
            ("password", password),
        ];
        let answer = browser.submit(&bench, REGISTER, REGISTER, &fields).await;
        assert_eq!(answer.status(), status, "{username} {name} {password}");
        let page = text(&answer);
        assert!(page.contains(word) && page.contains("role=\"alert\""), "{word}: {page}");
        assert!(page.contains(&format!("value=\"{username}\"")), "{page}");
        assert!(
            !page.contains(&format!("value=\"{password}\"")),
            "a password never comes back"
        );
    }
    assert!(bench.store.added.lock().unwrap().is_empty());
    assert_eq!(bench.store.sessions(), 0);
}

#[tokio::test]
async fn who_is_signed_in_is_asked_before_another_account_is_made() {
    let bench = open_to_all();
    let mut browser = signed_in(&bench).await;
    let page = browser.open(&bench, REGISTER).await;
    assert!(text(&page).contains("You are signed in"));
}

#[tokio::test]
async fn a_password_that_was_set_by_somebody_else_meanwhile_is_not_overwritten() {
    let bench = Bench::new();
    let mut browser = signed_in(&bench).await;
    bench.store.events.lock().unwrap().clear();
    // The administrator's change comes between the proof and the change.
    bench.store.set_after_next_proof("alice", "$argon2id$of$somebody$else");
    let answer = browser
        .post_json(&bench, CHANGE, &json!({"current": PASSWORD, "new": NEW}))
        .await;
    assert_eq!(answer.status(), 409, "{}", text(&answer));
    assert_eq!(body(&answer)["type"], "urn:portcullis:password-changed");
    assert!(bench.store.events.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_log_in_under_way_does_not_outlive_a_change_of_the_password() {
    let bench = Bench::new();
    bench.store.set_after_next_proof("alice", "$argon2id$of$somebody$else");
    let sign_in = json!({"username": "alice", "password": PASSWORD});
    let answer = Browser::default().post_json(&bench, LOGIN, &sign_in).await;
    assert_eq!(answer.status(), 401, "{}", text(&answer));
    assert_eq!(bench.store.sessions(), 0);
}
