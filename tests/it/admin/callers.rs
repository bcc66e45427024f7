use super::{Office, TOKEN, config, refused};
use crate::support::client::Client;
use crate::support::gateway::{Gateway, PATIENCE, pause};
use crate::support::postgres::Postgres;
use crate::support::stage::{self, HOST, ROUTES};
use crate::support::upstream::Upstream;
use std::time::Instant;

const SOME: &[(&str, &str)] = &[
    ("GET", "/api/users"),
    ("POST", "/api/users"),
    ("DELETE", "/api/sessions?all=true"),
    ("GET", "/api/stats"),
    ("GET", "/api/audit"),
    ("GET", "/api/openapi.json"),
    ("OPTIONS", "/api/users"),
    ("GET", "/api/nothing"),
];

#[tokio::test]
async fn nobody_without_the_token_is_let_in_and_the_answer_says_how() {
    let office = Office::start("[throttle]\ntoken = \"1000/10m\"\n");
    let wrong = [
        String::new(),
        format!("Authorization: Bearer {TOKEN}x"),
        format!("Authorization: Bearer {}", &TOKEN[..40]),
        "Authorization: Bearer".to_owned(),
        format!("Authorization: Basic {TOKEN}"),
        format!("X-Admin-Token: {TOKEN}"),
        format!("Cookie: token={TOKEN}"),
        format!("Authorization: Bearer {TOKEN}\r\nAuthorization: Bearer {TOKEN}"),
    ];
    for line in &wrong {
        for (method, target) in SOME {
            let lines: Vec<&str> = (!line.is_empty()).then_some(line.as_str()).into_iter().collect();
            let answer = office.plain(method, target, &lines, b"").await;
            assert_eq!(answer.status, 401, "{method} {target} {line}");
            assert!(
                answer
                    .value("www-authenticate")
                    .expect("a challenge")
                    .starts_with("Bearer ")
            );
            assert!(!answer.text().contains(TOKEN));
        }
    }
    let answer = office.plain("GET", "/api/users", &[], b"").await;
    refused(&answer, 401, "Authorization: Bearer TOKEN");
    let events = office.json("/api/audit?kind=admin_refused").await;
    let events = events["items"].as_array().expect("a list");
    assert!(
        !events.is_empty() && events.len() <= 20,
        "a flood is cut: {}",
        events.len()
    );
    assert_eq!(events[0]["reason"], "wrong_token");
    assert!(!office.gateway.log().contains(TOKEN));
}

#[tokio::test]
async fn where_no_token_is_set_the_answer_names_the_way_to_one_and_health_stays_open() {
    let app = Upstream::hello();
    let gateway = Gateway::start(&stage::config("", ROUTES, &app.url()));
    let mut client = Client::plain(gateway.admin()).await;
    for lines in [&[][..], &["Authorization: Bearer "], &["Authorization: Bearer x"]] {
        let answer = client.get("localhost", "/api/users", lines).await;
        refused(&answer, 401, "portcullis admin token");
    }
    for open in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(client.get("localhost", open, &[]).await.status, 200, "{open}");
    }
    // No group is set either: what lies below the prefix is not there.
    let mut client = Client::tls(gateway.address(0), HOST, &gateway.ca()).await;
    let answer = client
        .get(HOST, "/.portcullis/admin/users", &["Accept: application/json"])
        .await;
    assert_eq!(answer.status, 404);
}

#[test]
fn a_short_token_is_refused_with_the_command_that_makes_a_good_one() {
    let app = Upstream::hello();
    let config = config("", &app).replace(TOKEN, "0123456789abcdef0123456789abcde");
    let Err(end) = Gateway::try_start(&config) else {
        panic!("it started")
    };
    assert_eq!(end.code, Some(2));
    assert!(
        end.stderr.contains("portcullis admin token") && end.stderr.contains("31 bytes"),
        "{}",
        end.stderr
    );
    assert!(!end.stderr.contains("0123456789abcdef0"), "{}", end.stderr);
}

#[tokio::test]
async fn a_name_that_somebody_else_controls_is_not_answered_even_with_the_token() {
    let office = Office::start("");
    let mut client = Client::plain(office.gateway.admin()).await;
    let bearer = format!("Authorization: Bearer {TOKEN}");
    for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example"] {
        let answer = client.get(host, "/api/users", &[&bearer]).await;
        refused(&answer, 421, "admin listener");
    }
    let own = office.gateway.admin().to_string();
    assert_eq!(client.get(&own, "/api/users", &[&bearer]).await.status, 200);
}

const JSON: &str = "Accept: application/json";
const OURS: &str = "Sec-Fetch-Site: same-origin";

#[tokio::test]
async fn members_of_the_group_manage_below_the_prefix_and_nobody_else_does() {
    for office in Office::on_both_engines() {
        office.add("boss", &["admins"]).await;
        let id = office.add("ada", &["users", "admin", "Admins"]).await;
        let (boss, ada) = (office.sign_in("boss").await, office.sign_in("ada").await);
        let mut client = office.client().await;
        let list = client.get(HOST, "/.portcullis/admin/users", &[&boss, JSON]).await;
        assert_eq!(list.status, 200, "{}", list.text());
        assert_eq!(list.json()["items"].as_array().map(Vec::len), Some(2));
        let user = format!("/.portcullis/admin/users/{id}");
        let change = br#"{"name":"Ada"}"#;
        let kind = "Content-Type: application/json";
        for (lines, status) in [
            (vec![boss.as_str(), kind], 403),
            (vec![&boss, kind, "Sec-Fetch-Site: cross-site"], 403),
            (vec![&boss, kind, "Sec-Fetch-Site: same-site"], 403),
            (vec![&boss, kind, "Origin: null"], 403),
            (vec![&boss, "Content-Type: text/plain", OURS], 415),
            (vec![&boss, OURS], 415),
            (vec![&ada, kind, OURS], 403),
            (vec![kind, OURS], 401),
            (vec![&boss, kind, OURS], 200),
        ] {
            let answer = client.request("PATCH", HOST, &user, &lines, change).await;
            assert_eq!(answer.status, status, "{lines:?}: {}", answer.text());
        }
        for (cookie, status) in [(ada.as_str(), 403), ("Cookie: a=b", 401)] {
            for target in ["users", "sessions", "stats", "audit", "openapi.json", "nothing", ""] {
                let target = format!("/.portcullis/admin/{target}");
                let answer = client.get(HOST, &target, &[cookie, JSON]).await;
                assert_eq!(answer.status, status, "{target}");
                assert!(answer.json()["error"].is_string());
            }
        }
        let events = office.json("/api/audit?user=ada").await;
        assert_eq!(events["items"][0]["kind"], "admin_refused");
        assert_eq!(events["items"][0]["reason"], "not_member");
        let changed = office.json("/api/audit?kind=user_changed").await;
        assert_eq!(changed["items"][0]["actor"], "boss");
        // The token is for the listener only, and nothing of all this went to the application.
        let bearer = format!("Authorization: Bearer {TOKEN}");
        let answer = client.get(HOST, "/.portcullis/admin/users", &[&bearer, JSON]).await;
        assert_eq!(answer.status, 401);
        assert!(office.app.requests().is_empty(), "nothing was forwarded");
    }
}

#[tokio::test]
async fn other_spellings_of_the_path_reach_neither_the_api_nor_the_application() {
    let office = Office::start("");
    office.add("ada", &[]).await;
    let cookie = office.sign_in("ada").await;
    for path in [
        "/.portcullis/%61dmin/users",
        "/.PORTCULLIS/admin/users",
        "/.portcullis/admin%2fusers",
        "/.portcullis//admin/users",
        "/.portcullis/x/../admin/users",
        "/.portcullis/admin;a/users",
        "/.portcullis/adminusers",
        "/.portcullis/ADMIN/users",
    ] {
        let answer = office.client().await.get(HOST, path, &[&cookie, JSON]).await;
        assert!(matches!(answer.status, 400 | 404), "{path}: {}", answer.status);
    }
    assert!(office.app.requests().is_empty(), "nothing was forwarded");
}

#[tokio::test]
async fn a_member_cannot_lock_themselves_out_and_loses_the_right_with_the_group() {
    let office = Office::start("");
    let boss_id = office.add("boss", &["admins"]).await;
    let boss = office.sign_in("boss").await;
    let own = format!("/.portcullis/admin/users/{boss_id}");
    let lines = [boss.as_str(), "Content-Type: application/json", OURS];
    let mut client = office.client().await;
    for body in [r#"{"state":"disabled"}"#, r#"{"groups":["users"]}"#] {
        let answer = client.request("PATCH", HOST, &own, &lines, body.as_bytes()).await;
        refused(&answer, 409, "yourself");
    }
    let answer = client.request("DELETE", HOST, &own, &lines[..1], b"").await;
    assert_eq!(answer.status, 403);
    let answer = client.request("DELETE", HOST, &own, &[&boss, OURS], b"").await;
    refused(&answer, 409, "yourself");
    assert_eq!(
        client
            .get(HOST, "/.portcullis/admin/users", &[&boss, JSON])
            .await
            .status,
        200
    );
    let left = office
        .ask(
            "PATCH",
            &format!("/api/users/{boss_id}"),
            Some(serde_json::json!({ "groups": [] })),
        )
        .await;
    assert_eq!(left.status, 200);
    let answer = client.get(HOST, "/.portcullis/admin/users", &[&boss, JSON]).await;
    refused(&answer, 403, "administrators");
}

#[tokio::test]
async fn what_changes_something_needs_a_log_in_of_the_last_15_minutes_and_seeing_one_of_12_hours() {
    let url = Postgres::shared().database();
    let database = url.rsplit('/').next().expect("a database").to_owned();
    let cache = "[cache]\nmax_age = \"1s\"\nmax_age_without_feed = \"100ms\"\n";
    let office = Office::start(&format!("[store]\nurl = \"{url}\"\n{}{cache}", super::SECRETS));
    let id = office.add("boss", &["admins"]).await;
    let boss = office.sign_in("boss").await;
    let user = format!("/.portcullis/admin/users/{id}");
    for (ago, see, change) in [
        ("14 minutes", 200, 200),
        ("16 minutes", 200, 401),
        ("13 hours", 401, 401),
    ] {
        let set = format!("UPDATE portcullis.sessions SET authenticated_at = now() - interval '{ago}'");
        Postgres::shared().sql(&database, &set);
        let mut client = office.client().await;
        // The cached copy is believed for a tenth of a second.
        let started = Instant::now();
        while client.get(HOST, &user, &[&boss, JSON]).await.status != see {
            assert!(started.elapsed() < PATIENCE, "{ago}");
            pause();
        }
        settle(&mut client, &user, &boss, change).await;
        let lines = [boss.as_str(), "Content-Type: application/json", OURS];
        let answer = client.request("PATCH", HOST, &user, &lines, br#"{"name":"B"}"#).await;
        assert_eq!(answer.status, change, "{ago}");
        if change == 401 {
            let problem = answer.json();
            assert_eq!(problem["type"], "urn:portcullis:step-up");
            assert_eq!(problem["login_url"], "/.portcullis/login");
        }
    }
}

/// Waits until the cached copy is no longer believed, where seeing tells nothing.
async fn settle(client: &mut Client, user: &str, boss: &str, change: u16) {
    let lines = [boss, "Content-Type: application/json", OURS];
    let started = Instant::now();
    while client.request("PATCH", HOST, user, &lines, b"{}").await.status != change {
        assert!(started.elapsed() < PATIENCE);
        pause();
    }
}
