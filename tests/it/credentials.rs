//! Passwords and accounts through the real program, on one instance and on two.

use crate::support::client::{Client, Response};
use crate::support::gateway::{Gateway, pause};
use crate::support::postgres::Postgres;
use crate::support::stage::{self, HOST, PASSWORD, ROUTES, Stage, USER};
use crate::support::upstream::Upstream;
use portcullis::clock::Clock;
use portcullis::store::{Place, RecordedEvent, Role, Settings, Store, open};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

const NEW: &str = "several new words of hers";
const REGISTRATION: &str = "[portal]\nregistration = true\n";
const OPEN_ROUTES: &str = r#"
[[route]]
name = "app"
host = "app.example.test"
upstream = "app"
groups = ["users", "registered"]

[[route]]
name = "staff"
host = "app.example.test"
path = "/staff"
upstream = "app"
groups = ["staff"]
"#;

async fn client(gateway: &Gateway) -> Client {
    Client::tls(gateway.address(0), HOST, &gateway.ca()).await
}

async fn post(gateway: &Gateway, path: &str, cookie: Option<&str>, body: &Value) -> Response {
    let cookie = cookie.map(|cookie| format!("Cookie: {cookie}"));
    let mut lines = vec![
        "Content-Type: application/json",
        "Accept: application/json",
        "Sec-Fetch-Site: same-origin",
    ];
    lines.extend(cookie.as_deref());
    let body = body.to_string();
    let mut client = client(gateway).await;
    client.request("POST", HOST, path, &lines, body.as_bytes()).await
}

async fn change(gateway: &Gateway, cookie: &str, current: &str, new: &str) -> Response {
    let body = json!({"current": current, "new": new});
    post(gateway, "/.portcullis/password", Some(cookie), &body).await
}

async fn status(gateway: &Gateway, cookie: &str) -> u16 {
    let line = format!("Cookie: {cookie}");
    client(gateway)
        .await
        .get(HOST, "/", &[&line, "Accept: application/json"])
        .await
        .status
}

async fn store_of(gateway: &Gateway) -> Arc<dyn Store> {
    let settings = Settings {
        place: Place::Sqlite {
            path: gateway.folder().join("data/portcullis.db"),
        },
        ..crate::support::store::sqlite_settings(gateway.folder())
    };
    open(&settings, Role::Command, Clock::system())
        .await
        .expect("the gateway's file")
}

async fn events(gateway: &Gateway) -> Vec<RecordedEvent> {
    let store = store_of(gateway).await;
    store.list_events(None, 50).await.expect("the log can be read")
}

#[tokio::test]
async fn a_change_of_password_ends_every_other_session_before_it_is_answered() {
    let stage = Stage::start().await;
    let there = client(&stage.gateway).await.sign_in(HOST, USER, PASSWORD).await;
    for cookie in [&stage.cookie, &there] {
        assert_eq!(status(&stage.gateway, cookie).await, 200);
    }
    let answer = change(&stage.gateway, &stage.cookie, PASSWORD, NEW).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["user"]["username"], USER);
    let fresh = answer.cookie("__Host-portcullis").expect("a new cookie");
    assert_ne!(fresh, stage.cookie);
    for ended in [&stage.cookie, &there] {
        assert_eq!(status(&stage.gateway, ended).await, 401);
    }
    assert_eq!(status(&stage.gateway, &fresh).await, 200);
    let old = post(
        &stage.gateway,
        "/.portcullis/login",
        None,
        &json!({"username": USER, "password": PASSWORD}),
    )
    .await;
    assert_eq!(old.status, 401);
    client(&stage.gateway).await.sign_in(HOST, USER, NEW).await;
    let events = events(&stage.gateway).await;
    let changed = events
        .iter()
        .find(|event| event.kind == "password_changed")
        .expect("it is audited");
    assert_eq!(
        (changed.actor.as_str(), changed.username.as_deref()),
        (USER, Some(USER))
    );
    assert!(changed.session.is_some() && changed.address.is_some());
}

#[tokio::test]
async fn a_wrong_current_password_is_403_and_audited_and_ends_nothing() {
    let stage = Stage::start().await;
    let answer = change(&stage.gateway, &stage.cookie, "not hers at all", NEW).await;
    assert_eq!(answer.status, 403);
    assert!(answer.values("set-cookie").is_empty());
    assert_eq!(status(&stage.gateway, &stage.cookie).await, 200);
    let newest = events(&stage.gateway).await.remove(0);
    assert_eq!(
        (
            newest.kind.as_str(),
            newest.reason.as_deref(),
            newest.username.as_deref()
        ),
        ("login_failed", Some("wrong_current_password"), Some(USER))
    );
}

/// Two instances on one Postgres: the other one refuses the old sessions as soon as it looks again.
#[tokio::test]
async fn a_change_of_password_ends_the_sessions_on_every_instance() {
    let postgres = Postgres::shared();
    let top = format!(
        "[store]\nurl = \"{}\"\n[session]\nsecrets = [\"a secret of more than thirty-two bytes\"]\n\
         [cache]\nmax_age_without_feed = \"200ms\"\n",
        postgres.database()
    );
    let app = Upstream::hello();
    let config = stage::config(&top, ROUTES, &app.url());
    let (one, two) = (Gateway::start(&config), Gateway::start(&config));
    one.add_user(USER, PASSWORD, &[]);
    let here = client(&one).await.sign_in(HOST, USER, PASSWORD).await;
    let there = client(&two).await.sign_in(HOST, USER, PASSWORD).await;
    for gateway in [&one, &two] {
        for cookie in [&here, &there] {
            assert_eq!(status(gateway, cookie).await, 200);
        }
    }
    let answer = change(&one, &here, PASSWORD, NEW).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    for cookie in [&here, &there] {
        assert_eq!(status(&one, cookie).await, 401, "at once where it was done");
    }
    let started = Instant::now();
    while status(&two, &there).await == 200 || status(&two, &here).await == 200 {
        assert!(
            started.elapsed() < crate::support::gateway::PATIENCE,
            "the other instance never looked"
        );
        pause();
    }
    let fresh = answer.cookie("__Host-portcullis").expect("a new cookie");
    for gateway in [&one, &two] {
        assert_eq!(status(gateway, &fresh).await, 200);
    }
}

#[tokio::test]
async fn a_visitor_registers_and_passes_only_where_registered_users_may() {
    let app = Upstream::hello();
    let gateway = Gateway::start(&stage::config(REGISTRATION, OPEN_ROUTES, &app.url()));
    let asked = json!({"username": "eve", "email": "eve@example.com", "password": NEW, "next": "/orders"});
    let answer = post(&gateway, "/.portcullis/register", None, &asked).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.json();
    assert_eq!(told["user"]["groups"], json!(["registered"]));
    assert_eq!(
        (&told["user"]["email"], &told["next"]),
        (&Value::Null, &json!("/orders"))
    );
    let cookie = answer.cookie("__Host-portcullis").expect("a cookie");
    app.forget();
    let line = format!("Cookie: {cookie}");
    let passed = client(&gateway).await.get(HOST, "/", &[&line]).await;
    assert_eq!(passed.status, 200);
    let seen = app.last();
    assert_eq!(seen.values("x-forwarded-user"), ["eve"]);
    assert!(seen.values("x-forwarded-email").is_empty(), "nobody verified it");
    let staff = client(&gateway).await.get(HOST, "/staff", &[&line]).await;
    assert_eq!(staff.status, 403);
    let again = post(&gateway, "/.portcullis/register", None, &asked).await;
    assert_eq!(
        (again.status, again.json()["type"].clone()),
        (409, json!("urn:portcullis:taken"))
    );
    let kinds: Vec<_> = events(&gateway)
        .await
        .into_iter()
        .map(|event| (event.kind, event.reason))
        .collect();
    assert_eq!(
        kinds,
        [
            ("login_succeeded".to_owned(), None),
            ("user_added".to_owned(), Some("registered".to_owned()))
        ]
    );
}

#[tokio::test]
async fn an_imported_user_signs_in_with_the_old_password_and_has_a_hash_of_ours_then() {
    let app = Upstream::hello();
    let gateway = Gateway::start(&stage::config("", ROUTES, &app.url()));
    let file = "username,email,password_hash\n\
                ada,ada@example.com,$2b$04$CMQDxgiyBNTzICCbEbcH6.K3zJjt0D8itb1eBpMU2Z2tmxyETWO1m\n";
    let imported = gateway.command(&["user", "import", "-"], file);
    assert!(
        imported.status.success(),
        "{}",
        String::from_utf8_lossy(&imported.stderr)
    );
    let password = "Grüße, 42 Türme";
    let cookie = client(&gateway).await.sign_in(HOST, "ada@example.com", password).await;
    assert_eq!(status(&gateway, &cookie).await, 200);
    let found = store_of(&gateway).await.find_credentials("ada").await.unwrap().unwrap();
    let stored = found.password.expect("a password").expose_secret().to_owned();
    assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
    client(&gateway).await.sign_in(HOST, "ada", password).await;
    let kinds: Vec<_> = events(&gateway).await.into_iter().map(|event| event.kind).collect();
    assert_eq!(
        kinds,
        [
            "login_succeeded",
            "new_device",
            "login_succeeded",
            "password_upgraded",
            "user_added"
        ]
    );
}
