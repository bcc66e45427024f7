//! The JSON of existing front ends: their own paths, answered by the gateway, over real sockets.

use crate::support::client::{Client, Response};
use crate::support::stage::{HOST, PASSWORD, ROUTES, Stage, USER};
use crate::support::upstream::{Recorded, Reply};

const ALIASES: &str = r#"
[[portal.alias]]
host = "app.example.test"
path = "/api/auth/login"
endpoint = "login"

[[portal.alias]]
host = "app.example.test"
path = "/api/auth/logout"
endpoint = "logout"

[[portal.alias]]
host = "app.example.test"
path = "/api/auth/me"
endpoint = "me"

[[portal.alias]]
host = "app.example.test"
path = "/api/establish-session"
endpoint = "login"

[[portal.alias]]
host = "app.example.test"
path = "/api/sessions"
endpoint = "sessions"

[[route]]
name = "other"
host = "other.example.test"
path = "/"
upstream = "app"
access = "public"

[portal]
return_origins = ["https://front.example.test"]
"#;

/// A front end's request, as `fetch` sends it.
const FETCH: [&str; 4] = [
    "Accept: */*",
    "Sec-Fetch-Site: same-origin",
    "Sec-Fetch-Mode: cors",
    "Sec-Fetch-Dest: empty",
];

fn script(request: &Recorded) -> Reply {
    let _ = request;
    Reply::text("the application")
}

async fn stage() -> Stage {
    Stage::with("", &(ROUTES.to_owned() + ALIASES), script).await
}

async fn post(client: &mut Client, target: &str, lines: &[&str], sent: &str) -> Response {
    let mut all = vec!["Content-Type: application/json"];
    all.extend(FETCH);
    all.extend(lines);
    client.request("POST", HOST, target, &all, sent.as_bytes()).await
}

fn credentials(name: &str) -> String {
    serde_json::json!({ name: USER, "password": PASSWORD }).to_string()
}

#[tokio::test]
async fn a_front_end_signs_in_reads_who_it_is_and_signs_out_by_its_own_paths() {
    let stage = stage().await;
    let mut client = stage.client().await;
    let answer = client.get(HOST, "/api/auth/me", &FETCH).await;
    assert_eq!(
        (answer.status, answer.json()["error"].as_str()),
        (401, Some("Not authenticated"))
    );

    let answer = post(&mut client, "/api/auth/login", &[], &credentials("username")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.json();
    assert_eq!(told["username"], USER, "the user stands at the top");
    assert_eq!(told["user"]["username"], USER);
    assert_eq!(told["id"], told["user"]["id"]);
    let cookie = format!("Cookie: {}", answer.cookie("__Host-portcullis").unwrap());

    let mut lines = FETCH.to_vec();
    lines.push(&cookie);
    let answer = client.get(HOST, "/api/auth/me", &lines).await;
    assert_eq!((answer.status, answer.json()["username"].as_str()), (200, Some(USER)));
    let answer = client.get(HOST, "/api/sessions", &lines).await;
    assert_eq!(answer.json()["sessions"].as_array().unwrap().len(), 2);

    let answer = post(&mut client, "/api/auth/logout", &[&cookie], "").await;
    assert_eq!(answer.status, 204);
    assert!(
        answer
            .values("set-cookie")
            .iter()
            .all(|line| line.contains("Max-Age=0"))
    );
    let answer = client.get(HOST, "/api/auth/me", &lines).await;
    assert_eq!(
        (answer.status, answer.json()["error"].as_str()),
        (401, Some("Session expired"))
    );
    assert!(stage.app.requests().is_empty(), "the application saw none of it");
}

#[tokio::test]
async fn a_log_in_by_json_gives_a_new_session_each_time() {
    let stage = stage().await;
    let mut client = stage.client().await;
    let first = post(&mut client, "/api/establish-session", &[], &credentials("email")).await;
    assert_eq!(
        first.status,
        200,
        "a user name is found under that name as well: {}",
        first.text()
    );
    let old = format!("Cookie: {}", first.cookie("__Host-portcullis").unwrap());
    let second = post(&mut client, "/api/establish-session", &[&old], &credentials("username")).await;
    let new = format!("Cookie: {}", second.cookie("__Host-portcullis").unwrap());
    assert_ne!(old, new);
    assert_ne!(
        first.json()["session"]["public_id"],
        second.json()["session"]["public_id"]
    );
    let wrong = post(
        &mut client,
        "/api/establish-session",
        &[&new],
        r#"{"username":"ada","password":"no"}"#,
    )
    .await;
    assert_eq!(wrong.status, 401);
    assert!(wrong.json()["error"].is_string() && wrong.values("set-cookie").is_empty());
    for (cookie, status) in [(&old, 401), (&new, 200)] {
        let answer = client
            .get(HOST, "/api/auth/me", &[cookie, "Accept: application/json"])
            .await;
        assert_eq!(answer.status, status, "{cookie}");
    }
}

#[tokio::test]
async fn an_alias_is_exactly_its_path_and_no_other_reading_of_it_reaches_the_application() {
    let stage = stage().await;
    let cookie = stage.cookie_line();
    let mut client = stage.client().await;
    for target in [
        "/api/auth/ME",
        "/api/auth/me/",
        "/api/auth/%6De",
        "/api/auth/%256De",
        "/api/auth/me;x",
        "/api/auth/me.",
        "/api/auth/me%20",
        "/api/auth%2Fme",
        "//api/auth/me",
        "/api/auth//me",
        "/x/..%2fapi/auth/me",
    ] {
        let mut fresh = stage.client().await;
        let answer = fresh.get(HOST, target, &[&cookie]).await;
        assert_eq!(answer.status, 400, "{target}");
        assert!(stage.app.requests().is_empty(), "{target}");
    }
    for (target, status, text) in [
        ("/api/auth/me/avatar", 200, "the application"),
        ("/api/auth/mes", 200, "the application"),
        ("/api/auth", 200, "the application"),
    ] {
        let answer = client.get(HOST, target, &[&cookie]).await;
        assert_eq!((answer.status, answer.text().as_str()), (status, text), "{target}");
    }
    let seen = stage.app.requests().len();
    let answer = client.get(HOST, "/api/auth/me?x=/../&y=1", &[&cookie]).await;
    assert_eq!(answer.json()["username"], USER, "a query changes nothing");
    assert_eq!(stage.app.requests().len(), seen);
}

#[tokio::test]
async fn an_alias_is_of_one_host_only() {
    let stage = stage().await;
    let mut client = Client::plain(stage.gateway.address(1)).await;
    let answer = client.get("other.example.test", "/api/auth/me", &[]).await;
    assert_eq!(answer.text(), "the application");
    let answer = client.get("unknown.example.test", "/api/auth/me", &[]).await;
    assert_eq!(answer.status, 421);
}

#[tokio::test]
async fn an_alias_answers_by_the_methods_of_its_endpoint_and_in_json() {
    let stage = stage().await;
    let mut client = stage.client().await;
    let answer = client.request("PUT", HOST, "/api/auth/login", &[], b"").await;
    assert_eq!((answer.status, answer.value("allow")), (405, Some("GET, HEAD, POST")));
    assert_eq!(
        answer.value("content-type"),
        Some("application/problem+json"),
        "nothing was said of pages"
    );
    let answer = client
        .request("POST", HOST, "/api/auth/me", &["Origin: https://app.example.test"], b"")
        .await;
    assert_eq!((answer.status, answer.value("allow")), (405, Some("GET, HEAD")));
    let answer = client.get(HOST, "/api/auth/me", &["Accept: text/html"]).await;
    assert_eq!(answer.status, 303, "who asks for a page by name is led to one");
    assert_eq!(client.request("HEAD", HOST, "/api/auth/me", &[], b"").await.status, 401);
}

#[tokio::test]
async fn the_rules_of_origins_hold_on_aliases_too() {
    let stage = stage().await;
    let cookie = stage.cookie_line();
    let mut client = stage.client().await;
    for (lines, status) in [
        (vec!["Sec-Fetch-Site: cross-site"], 403),
        (vec!["Origin: https://evil.example"], 403),
        (vec!["Origin: null"], 403),
        (vec![cookie.as_str()], 403),
        (
            vec![
                cookie.as_str(),
                "Origin: https://front.example.test",
                "Content-Type: text/plain",
            ],
            415,
        ),
        (vec!["Content-Type: text/plain", "Sec-Fetch-Site: same-origin"], 415),
    ] {
        let mut all = lines.clone();
        if !lines.iter().any(|line| line.starts_with("Content-Type")) {
            all.push("Content-Type: application/json");
        }
        let answer = client
            .request(
                "POST",
                HOST,
                "/api/auth/login",
                &all,
                credentials("username").as_bytes(),
            )
            .await;
        assert_eq!(answer.status, status, "{lines:?}");
        assert!(answer.json()["error"].is_string() && answer.values("set-cookie").is_empty());
    }
    let asked = [
        "Origin: https://front.example.test",
        "Sec-Fetch-Site: cross-site",
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: content-type,x-admin-token",
    ];
    let answer = client.request("OPTIONS", HOST, "/api/auth/login", &asked, b"").await;
    assert_eq!(answer.status, 204);
    assert_eq!(
        answer.value("access-control-allow-origin"),
        Some("https://front.example.test")
    );
    assert_eq!(answer.value("access-control-allow-headers"), Some("content-type"));
    let answer = client
        .request(
            "POST",
            HOST,
            "/api/auth/login",
            &[asked[0], asked[1], "Content-Type: application/json"],
            credentials("username").as_bytes(),
        )
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.value("access-control-allow-credentials"), Some("true"));
    assert!(stage.app.requests().is_empty());
}

#[tokio::test]
async fn a_body_beyond_64_kib_is_413_by_an_alias_and_under_the_prefix() {
    let stage = stage().await;
    let large = format!("{{\"username\":\"{}\"}}", "a".repeat(65 * 1024));
    for target in [
        "/api/auth/login",
        "/.portcullis/login",
        "/.portcullis/logout",
        "/.portcullis/sessions/end-others",
    ] {
        let mut client = stage.client().await;
        let answer = post(&mut client, target, &[], &large).await;
        assert_eq!(answer.status, 413, "{target}");
        assert!(answer.json()["error"].is_string());
    }
}
