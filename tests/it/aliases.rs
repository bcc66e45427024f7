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

/// Programs that send no `Accept` are known by what they send, and at aliases by not asking for a page.
#[tokio::test]
async fn who_sends_json_is_refused_in_json_before_the_desk_is_asked() {
    let stage = stage().await;
    let large = "a".repeat(65 * 1024);
    let (json, form) = (
        "Content-Type: Application/JSON; charset=utf-8",
        "Content-Type: application/x-www-form-urlencoded",
    );
    for (target, lines, is_problem) in [
        ("/.portcullis/login", &[json][..], true),
        ("/api/auth/login", &[form], true),
        ("/api/auth/login", &[form, "Accept: text/html"], false),
        ("/.portcullis/login", &[form, "Accept: text/html"], false),
    ] {
        let mut client = stage.client().await;
        let answer = client.request("POST", HOST, target, lines, large.as_bytes()).await;
        assert_eq!(answer.status, 413, "{target}");
        let kind = answer.value("content-type").unwrap();
        assert_eq!(
            kind == "application/problem+json",
            is_problem,
            "{target} {lines:?}: {kind}"
        );
    }
}

#[test]
fn what_the_document_says_to_write_is_a_good_configuration() {
    let document = include_str!("../../docs/front-ends.md");
    let blocks: Vec<&str> = document.split("```toml\n").skip(1).collect();
    assert!(blocks.len() >= 4, "{}", blocks.len());
    for block in blocks {
        let block = block
            .split("```")
            .next()
            .unwrap()
            .replace("file:front-end-admin.token", TOKEN);
        let whole = format!("{}{block}", crate::config_settings::WHOLE);
        let loaded = crate::config_settings::load_with(&whole, &[]);
        let loaded = loaded.unwrap_or_else(|problems| panic!("{block}:\n{problems}"));
        assert!(loaded.warnings.is_empty(), "{block}: {}", loaded.warnings);
    }
}

const TOKEN: &str = "front-end-token-0123456789-0123456789-ok";
const OWN_TOKEN: &str = "listener-token-0123456789-0123456789-ok!";

/// The admin API at a front end's own paths: by token, and for the group `operators`.
async fn office() -> Stage {
    let tables = format!(
        r#"
[admin]
address = "127.0.0.1:0"
token = "{OWN_TOKEN}"
group = "operators"

[portal]
admin_token = "{TOKEN}"
return_origins = ["https://front.example.test"]

[[portal.alias]]
host = "app.example.test"
path = "/api/admin/session-stats"
endpoint = "admin/stats"

[[portal.alias]]
host = "app.example.test"
path = "/api/admin/sessions"
endpoint = "admin/sessions"
"#
    );
    let routes = format!("{ROUTES}{tables}");
    let app = crate::support::upstream::Upstream::start(script);
    let config =
        crate::support::stage::config("", &routes, &app.url()).replacen("[admin]\naddress = \"127.0.0.1:0\"\n", "", 1);
    let gateway = crate::support::gateway::Gateway::start(&config);
    gateway.add_user(USER, PASSWORD, &["users"]);
    gateway.add_user("olga", PASSWORD, &["operators"]);
    let cookie = Client::tls(gateway.address(0), HOST, &gateway.ca())
        .await
        .sign_in(HOST, USER, PASSWORD)
        .await;
    Stage { app, gateway, cookie }
}

const STATS: &str = "/api/admin/session-stats";

async fn stats(stage: &Stage, lines: &[&str]) -> Response {
    stage.client().await.get(HOST, STATS, lines).await
}

#[tokio::test]
async fn an_administration_page_reads_statistics_by_its_token() {
    let stage = office().await;
    let token = format!("X-Admin-Token: {TOKEN}");
    let answer = stats(&stage, &[&token]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.json();
    assert_eq!(
        (
            told["total"].as_u64(),
            told["active"].as_u64(),
            told["expired"].as_u64()
        ),
        (Some(1), Some(1), Some(0))
    );
    assert_eq!(told["store"]["engine"], "sqlite");
    assert!(!answer.text().contains("portcullis.db") && !answer.text().contains(TOKEN));

    let changed = ["Sec-Fetch-Site: same-origin", &token];
    let answer = stage
        .client()
        .await
        .request("DELETE", HOST, "/api/admin/sessions?all=true", &changed, b"")
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let events = stage.gateway.command(&["audit", "--json"], "");
    let events = String::from_utf8(events.stdout).unwrap();
    assert!(events.contains("\"admin-token-user\""), "{events}");
    assert!(
        events.contains("admin_token_used") && !events.contains(TOKEN),
        "{events}"
    );
    assert!(!stage.gateway.log().contains(TOKEN));
    assert!(stage.app.requests().is_empty());
}

#[tokio::test]
async fn without_token_or_member_an_aliased_admin_path_says_what_it_needs() {
    let stage = office().await;
    let user = stage.cookie_line();
    let wrong = [
        String::new(),
        user,
        format!("X-Admin-Token: {OWN_TOKEN}"),
        format!("X-Admin-Token: {TOKEN}x"),
        format!("X-Admin-Token: {}", &TOKEN[1..]),
        "X-Admin-Token:".to_owned(),
        format!("X_Admin_Token: {TOKEN}"),
        format!("Authorization: Bearer {TOKEN}"),
        format!("Authorization: Bearer {OWN_TOKEN}"),
        format!("Cookie: X-Admin-Token={TOKEN}"),
        format!("X-Admin-Token: {TOKEN}\r\nX-Admin-Token: {TOKEN}"),
    ];
    for line in &wrong {
        let lines: Vec<&str> = (!line.is_empty()).then_some(line.as_str()).into_iter().collect();
        let answer = stats(&stage, &lines).await;
        assert_eq!(answer.status, 401, "{line}");
        assert_eq!(answer.value("content-type"), Some("application/problem+json"), "{line}");
        assert_eq!(answer.json()["error"], "Admin authentication required", "{line}");
    }
    assert!(stage.app.requests().is_empty());
}

#[tokio::test]
async fn a_member_of_the_group_needs_no_token() {
    let stage = office().await;
    let olga = stage.client().await.sign_in(HOST, "olga", PASSWORD).await;
    let cookie = format!("Cookie: {olga}");
    let answer = stats(&stage, &[&cookie]).await;
    assert_eq!((answer.status, answer.json()["active"].as_u64()), (200, Some(2)));
    let foreign = [cookie.as_str(), "Sec-Fetch-Site: cross-site"];
    let answer = stage
        .client()
        .await
        .request("DELETE", HOST, "/api/admin/sessions?all=true", &foreign, b"")
        .await;
    assert_eq!(answer.status, 403, "{}", answer.text());
}

#[tokio::test]
async fn the_token_counts_on_aliases_only_and_never_reaches_an_application() {
    let stage = office().await;
    let cookie = stage.cookie_line();
    let token = format!("X-Admin-Token: {TOKEN}");
    let answer = stage
        .client()
        .await
        .get(HOST, "/.portcullis/admin/stats", &[&token])
        .await;
    assert_eq!(answer.status, 401, "under the prefix only members may");
    let answer = Client::plain(stage.gateway.admin())
        .await
        .get("localhost", "/api/stats", &[&token])
        .await;
    assert_eq!(answer.status, 401, "the listener has a token of its own");
    let answer = stage.client().await.get(HOST, "/staff", &[&token]).await;
    assert_ne!(answer.status, 200, "no route of an application opens");
    for spelling in ["X-Admin-Token", "x-admin-token", "X_Admin_Token", "X.ADMIN.TOKEN"] {
        stage.app.forget();
        let line = format!("{spelling}: {TOKEN}");
        assert_eq!(stage.client().await.get(HOST, "/", &[&cookie, &line]).await.status, 200);
        let seen = format!("{:?}", stage.app.requests());
        assert!(!seen.contains(TOKEN), "{spelling}: {seen}");
    }
}

#[tokio::test]
async fn the_token_is_taken_neither_over_a_network_in_the_clear_nor_from_another_origin() {
    let stage = office().await;
    let token = format!("X-Admin-Token: {TOKEN}");
    for line in [
        "Origin: https://front.example.test",
        "Origin: https://evil.example",
        "Origin: null",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-site",
    ] {
        let answer = stats(&stage, &[&token, line]).await;
        assert_eq!(answer.status, 403, "{line}");
        assert_eq!(answer.value("access-control-allow-origin"), None, "{line}");
    }
    let asked = [
        "Origin: https://front.example.test",
        "Access-Control-Request-Method: GET",
        "Access-Control-Request-Headers: x-admin-token",
    ];
    let answer = stage.client().await.request("OPTIONS", HOST, STATS, &asked, b"").await;
    assert_eq!(answer.value("access-control-allow-origin"), None, "{}", answer.status);
    let mut plain = Client::plain(stage.gateway.address(1)).await;
    assert_eq!(
        plain.get(HOST, STATS, &[&token]).await.status,
        200,
        "this machine talks to itself"
    );
}

#[tokio::test]
async fn a_token_from_elsewhere_over_plain_http_is_not_even_looked_at() {
    let tables = format!(
        r#"
[trust]
proxies = ["127.0.0.1/32"]

[portal]
admin_token = "{TOKEN}"

[[portal.alias]]
host = "app.example.test"
path = "/api/admin/session-stats"
endpoint = "admin/stats"
"#
    );
    let stage = Stage::with("", &(ROUTES.to_owned() + &tables), script).await;
    let token = format!("X-Admin-Token: {TOKEN}");
    let mut client = Client::plain(stage.gateway.address(1)).await;
    let from = "X-Forwarded-For: 192.0.2.7";
    let answer = client.get(HOST, STATS, &[&token, from]).await;
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert!(answer.json()["error"].as_str().unwrap().contains("plain http"));
    let answer = client
        .get(HOST, STATS, &[&token, from, "X-Forwarded-Proto: https"])
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn wrong_tokens_are_throttled_by_address_and_the_right_one_waits_as_well() {
    let stage = office().await;
    let mut client = stage.client().await;
    let mut throttled = None;
    for attempt in 0..200 {
        let line = format!("X-Admin-Token: wrong-{attempt:040}");
        let answer = client.get(HOST, STATS, &[&line]).await;
        if answer.status == 429 {
            throttled = Some(answer);
            break;
        }
        assert_eq!(answer.status, 401);
    }
    let answer = throttled.expect("a flood of guesses is stopped");
    let wait: u64 = answer.value("retry-after").unwrap().parse().unwrap();
    assert!(wait >= 1 && answer.json()["error"].is_string());
    let token = format!("X-Admin-Token: {TOKEN}");
    assert_eq!(
        client.get(HOST, STATS, &[&token]).await.status,
        429,
        "who guesses learns nothing by guessing right"
    );
}
