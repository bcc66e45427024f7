//! The same through real gateways: what browsers and scripts are told, and what is written down.

use crate::support::client::{Client, Response};
use crate::support::gateway::Gateway;
use crate::support::postgres::Postgres;
use crate::support::stage::{self, HOST, PASSWORD, ROUTES, Stage, USER};
use crate::support::store::sqlite_settings;
use crate::support::upstream::{Reply, Upstream};
use portcullis::clock::Clock;
use portcullis::store::{RecordedEvent, Role, Store, open};
use serde_json::json;
use std::sync::Arc;

const FIREFOX: &str = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0";
const LOGIN: &str = "/.portcullis/login";
const KNOWN: &str = "__Host-portcullis-known";
const SESSION: &str = "__Host-portcullis";
/// Long intervals: nothing is free again while a test runs.
const SLOW: &str = "[trust]\nproxies = [\"127.0.0.0/8\"]\n\
                    [throttle]\naccount = \"3/45m\"\naddress = \"20/300m\"\nbrowser = \"4/60m\"\n";

async fn stage_with(top: &str) -> Stage {
    Stage::with(top, ROUTES, |_| Reply::text("hello")).await
}

async fn client(gateway: &Gateway) -> Client {
    Client::tls(gateway.address(0), HOST, &gateway.ca()).await
}

/// A log-in by script from `address`, with more lines.
async fn attempt(gateway: &Gateway, user: &str, password: &str, address: &str, lines: &[&str]) -> Response {
    let body = json!({ "username": user, "password": password }).to_string();
    let from = format!("X-Forwarded-For: {address}");
    let mut all = vec!["Content-Type: application/json", "Sec-Fetch-Site: same-origin", &from];
    all.extend(lines);
    let mut client = client(gateway).await;
    client.request("POST", HOST, LOGIN, &all, body.as_bytes()).await
}

async fn status(gateway: &Gateway, user: &str, password: &str, address: &str) -> u16 {
    attempt(gateway, user, password, address, &[]).await.status
}

/// What a gateway on SQLite wrote down of `kind`, newest first.
async fn written(gateway: &Gateway, kind: &str) -> Vec<RecordedEvent> {
    let settings = sqlite_settings(&gateway.folder().join("data/portcullis.db"));
    let store: Arc<dyn Store> = open(&settings, Role::Command, Clock::system()).await.expect("the file");
    let events = store.list_events(None, 1000).await.expect("events");
    events.into_iter().filter(|event| event.kind == kind).collect()
}

async fn metric(gateway: &Gateway, series: &str) -> Option<f64> {
    let mut client = Client::plain(gateway.admin()).await;
    let text = client.get("localhost", "/metrics", &[]).await.text();
    let line = text.lines().find_map(|line| line.strip_prefix(series))?.trim();
    line.parse().ok()
}

#[tokio::test]
async fn an_account_is_throttled_by_every_name_and_everybody_is_told_when_to_come_back() {
    let stage = stage_with(SLOW).await;
    let gateway = &stage.gateway;
    let added = gateway.command(
        &["user", "add", "bob", "--email", "bob@example.com", "--password-stdin"],
        PASSWORD,
    );
    assert!(added.status.success());
    for (login, address) in [
        ("bob", "192.0.2.1"),
        ("BOB@Example.com", "192.0.2.2"),
        (" Bob ", "192.0.2.3"),
    ] {
        assert_eq!(status(gateway, login, "wrong", address).await, 401, "{login}");
    }
    for login in ["bob", "bob@example.com"] {
        let refused = attempt(gateway, login, PASSWORD, "192.0.2.4", &[]).await;
        assert_eq!(refused.status, 429, "{login}");
        let wait: u64 = refused.value("retry-after").expect("a time").parse().expect("seconds");
        assert!((800..=900).contains(&wait), "{wait}");
        assert_eq!(refused.value("content-type"), Some("application/problem+json"));
        let problem = refused.json();
        assert_eq!(
            (&problem["type"], &problem["status"]),
            (&"urn:portcullis:too-many-attempts".into(), &429.into())
        );
        assert_eq!(
            problem["error"],
            format!(
                "There were too many attempts to sign in. Please try again in {} minutes.",
                wait.div_ceil(60)
            )
        );
        assert!(refused.values("set-cookie").is_empty());
    }
    assert_eq!(
        status(gateway, USER, PASSWORD, "192.0.2.4").await,
        200,
        "nobody else is concerned"
    );
    let told = written(gateway, "ban_started").await;
    let [ban] = &told[..] else { panic!("{told:?}") };
    assert_eq!(
        (ban.username.as_deref(), ban.reason.as_deref()),
        (Some("bob"), Some("account"))
    );
    assert_eq!(ban.address, Some([192, 0, 2, 4].into()));
    assert_eq!(
        metric(gateway, r#"portcullis_logins_total{result="throttled"}"#).await,
        Some(2.0)
    );
    assert_eq!(
        metric(gateway, r#"portcullis_logins_total{result="failed"}"#).await,
        Some(3.0)
    );
}

#[tokio::test]
async fn people_get_the_form_again_with_a_friendly_word() {
    let stage = stage_with(SLOW).await;
    let mut browser = stage.client().await;
    let page = browser
        .get(HOST, LOGIN, &["Accept: text/html", "Sec-Fetch-Mode: navigate"])
        .await;
    let form = page.cookie("__Host-portcullis-form").expect("a form's cookie");
    let (_, rest) = page
        .text()
        .split_once("name=\"csrf\" value=\"")
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    let token = rest.split('"').next().unwrap().to_owned();
    let cookie = format!("Cookie: {form}");
    let lines = [
        "Content-Type: application/x-www-form-urlencoded",
        "Accept: text/html",
        "Sec-Fetch-Site: same-origin",
        "Sec-Fetch-Mode: navigate",
        &cookie,
    ];
    let mut answers = Vec::new();
    for _ in 0..4 {
        let body = format!("csrf={token}&username=ghost&password=wrong&next=%2Forders");
        answers.push(browser.request("POST", HOST, LOGIN, &lines, body.as_bytes()).await);
    }
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [401, 401, 401, 429], "nobody's name is refused just as soon");
    let page = answers[3].text();
    assert!(
        answers[3].value("retry-after").is_some()
            && answers[3].value("content-type") == Some("text/html; charset=utf-8")
    );
    assert!(
        page.contains("too many attempts") && page.contains("15 minutes"),
        "{page}"
    );
    assert!(
        page.contains("value=\"ghost\"") && page.contains("value=\"/orders\""),
        "the form keeps what was typed"
    );
}

#[tokio::test]
async fn instances_on_one_database_throttle_together() {
    let url = Postgres::shared().database();
    let app = Upstream::start(|_| Reply::text("hello"));
    let top = format!("[store]\nurl = \"{url}\"\n[session]\nsecrets = [\"0123456789abcdef0123456789abcdef\"]\n{SLOW}");
    let config = stage::config(&top, ROUTES, &app.url());
    let (one, two) = (Gateway::start(&config), Gateway::start(&config));
    one.add_user(USER, PASSWORD, &[]);
    for (gateway, login) in [
        (&one, USER),
        (&two, USER),
        (&one, USER),
        (&one, "ghost"),
        (&two, "Ghost"),
        (&two, "ghost"),
    ] {
        assert_eq!(status(gateway, login, "wrong", "192.0.2.1").await, 401);
    }
    for gateway in [&one, &two] {
        for login in [USER, "GHOST"] {
            assert_eq!(status(gateway, login, PASSWORD, "192.0.2.2").await, 429, "{login}");
        }
    }
    let lifted = one.command(&["ban", "lift", "--all", "--json"], "");
    assert!(lifted.status.success(), "{}", String::from_utf8_lossy(&lifted.stderr));
    let started = std::time::Instant::now();
    while status(&two, USER, PASSWORD, "192.0.2.2").await == 429 {
        assert!(
            started.elapsed() < crate::support::gateway::PATIENCE,
            "a lifted ban goes on"
        );
        crate::support::gateway::pause();
    }
    assert_eq!(status(&two, USER, PASSWORD, "192.0.2.2").await, 200);
}

/// Whoever has an account and sits at somebody's browser has that browser's count, however often they sign in themselves.
#[tokio::test]
async fn a_log_in_of_ones_own_buys_no_further_guesses_at_others() {
    let stage = stage_with(SLOW).await;
    let gateway = &stage.gateway;
    let added = gateway.command(&["user", "add", "mallory", "--password-stdin"], PASSWORD);
    assert!(added.status.success());
    let mut known = attempt(gateway, USER, PASSWORD, "192.0.2.1", &[])
        .await
        .cookie(KNOWN)
        .expect("the browser is known from here on");
    let mut guesses = 0;
    for _ in 0..3 {
        let line = format!("Cookie: {known}");
        let own = attempt(gateway, "mallory", PASSWORD, "192.0.2.1", &[&line]).await;
        known = own.cookie(KNOWN).expect("mallory is known there too");
        let line = format!("Cookie: {known}");
        while attempt(gateway, USER, "wrong", "192.0.2.1", &[&line]).await.status == 401 {
            guesses += 1;
        }
    }
    assert_eq!(guesses, 4, "as many as the browser has");
}

#[tokio::test]
async fn a_browser_that_is_known_signs_in_while_strangers_try() {
    let stage = stage_with(SLOW).await;
    let gateway = &stage.gateway;
    let first = attempt(gateway, USER, PASSWORD, "192.0.2.1", &[]).await;
    let known = first.cookie(KNOWN).expect("the browser is known from here on");
    let line = first
        .values("set-cookie")
        .into_iter()
        .find(|line| line.starts_with(KNOWN))
        .unwrap();
    assert!(
        line.ends_with("; Path=/; Max-Age=34560000; HttpOnly; SameSite=Lax; Secure"),
        "{line}"
    );
    for _ in 0..3 {
        assert_eq!(status(gateway, USER, "wrong", "198.51.100.1").await, 401);
    }
    assert_eq!(
        status(gateway, USER, PASSWORD, "192.0.2.1").await,
        429,
        "without the cookie it is a stranger"
    );
    let cookie = format!("Cookie: {known}");
    let second = attempt(gateway, USER, PASSWORD, "192.0.2.1", &[&cookie]).await;
    assert_eq!(second.status, 200);
    let renewed = second.cookie(KNOWN).expect("a new one at each log-in");
    assert_ne!(renewed, known);
    // It opens nothing, and is nobody's business behind the gateway.
    let mut client = stage.client().await;
    let as_session = known.replacen(KNOWN, SESSION, 1);
    for value in [&cookie, &format!("Cookie: {as_session}")] {
        let lines = [value.as_str(), "Accept: application/json"];
        assert_eq!(client.get(HOST, "/", &lines).await.status, 401);
        assert_eq!(client.get(HOST, "/.portcullis/me", &lines).await.status, 401);
    }
    let own = format!(
        "{}; theme=dark; {known}; __HOST-Portcullis-Known=x; portcullis-known=y",
        stage.cookie_line()
    );
    assert_eq!(client.get(HOST, "/", &[&own]).await.status, 200);
    assert_eq!(stage.app.last().values("cookie"), ["theme=dark"]);
    // Changed by one character, it says nothing.
    let mut forged = known.clone();
    let last = if forged.ends_with('A') { 'B' } else { 'A' };
    let at = forged.len() - 20;
    forged.replace_range(at..=at, &last.to_string());
    let cookie = format!("Cookie: {forged}");
    assert_eq!(
        attempt(gateway, USER, PASSWORD, "192.0.2.1", &[&cookie]).await.status,
        429
    );
}

#[tokio::test]
async fn an_address_is_what_trusted_proxies_say_and_nobody_else() {
    let top = "[throttle]\naccount = \"unlimited\"\naddress = \"3/45m\"\n";
    let trusting = stage_with(&format!("[trust]\nproxies = [\"127.0.0.0/8\"]\n{top}")).await;
    for address in ["192.0.2.1", "192.0.2.1", "::ffff:192.0.2.1"] {
        assert_eq!(status(&trusting.gateway, "ghost", "wrong", address).await, 401);
    }
    assert_eq!(status(&trusting.gateway, "ghost", "wrong", "192.0.2.1").await, 429);
    assert_eq!(status(&trusting.gateway, "ghost", "wrong", "192.0.2.2").await, 401);
    let doubting = stage_with(top).await;
    for number in 0..3 {
        assert_eq!(
            status(&doubting.gateway, "ghost", "wrong", &format!("192.0.2.{number}")).await,
            401
        );
    }
    assert_eq!(
        status(&doubting.gateway, "ghost", "wrong", "192.0.2.99").await,
        429,
        "a client says what it likes"
    );
}

#[tokio::test]
async fn the_session_unseen_for_longest_ends_at_once_for_one_too_many() {
    let stage = stage_with("[session]\nmax_per_user = 2\n").await;
    let gateway = &stage.gateway;
    let get = async |cookie: &str| {
        let line = format!("Cookie: {cookie}");
        client(gateway)
            .await
            .get(HOST, "/", &[&line, "Accept: application/json"])
            .await
            .status
    };
    let second = client(gateway).await.sign_in(HOST, USER, PASSWORD).await;
    assert_eq!((get(&stage.cookie).await, get(&second).await), (200, 200));
    let third = client(gateway).await.sign_in(HOST, USER, PASSWORD).await;
    assert_eq!(get(&stage.cookie).await, 401, "ended before the answer was sent");
    assert_eq!((get(&second).await, get(&third).await), (200, 200));
    let ended = written(gateway, "session_ended").await;
    let [ended] = &ended[..] else { panic!("{ended:?}") };
    assert_eq!(
        (ended.reason.as_deref(), ended.username.as_deref()),
        (Some("limit"), Some(USER))
    );
    let opened = written(gateway, "login_succeeded").await;
    assert_eq!(ended.successor, opened[0].session, "which log-in it made room for");
    assert_eq!(ended.session, opened[2].session);
    // To sign in again in the same browser takes no place.
    let line = format!("Cookie: {third}");
    assert_eq!(
        attempt(gateway, USER, PASSWORD, "127.0.0.1", &[&line]).await.status,
        200
    );
    assert_eq!((get(&second).await, get(&third).await), (200, 401));
    assert_eq!(
        written(gateway, "session_ended").await[0].reason.as_deref(),
        Some("replaced")
    );
}

#[tokio::test]
async fn where_nobody_is_signed_out_for_another_device_the_log_in_is_refused() {
    let stage = stage_with("[session]\nmax_per_user = 1\nwhen_full = \"refuse\"\n").await;
    let gateway = &stage.gateway;
    let refused = attempt(gateway, USER, PASSWORD, "127.0.0.1", &["User-Agent: curl/8.5.0"]).await;
    assert_eq!(refused.status, 409);
    let problem = refused.json();
    assert_eq!(problem["type"], "urn:portcullis:too-many-sessions");
    assert!(
        problem["error"]
            .as_str()
            .unwrap()
            .contains("sign out on another one first"),
        "{problem}"
    );
    assert!(refused.values("set-cookie").is_empty());
    assert_eq!(
        status(gateway, USER, "wrong", "127.0.0.1").await,
        401,
        "a stranger learns nothing of it"
    );
    let failed = written(gateway, "login_failed").await;
    let reasons: Vec<_> = failed.iter().map(|event| event.reason.as_deref()).collect();
    assert_eq!(reasons, [Some("wrong_password"), Some("too_many_sessions")]);
    assert_eq!(
        (failed[1].username.as_deref(), failed[1].device.as_deref()),
        (Some(USER), Some("curl"))
    );
    assert_eq!(
        metric(gateway, r#"portcullis_logins_total{result="too_many_sessions"}"#).await,
        Some(1.0)
    );
    let own = stage.cookie_line();
    assert_eq!(
        attempt(gateway, USER, PASSWORD, "127.0.0.1", &[&own]).await.status,
        200,
        "in its place"
    );
}

#[tokio::test]
async fn a_device_has_a_name_and_a_new_one_is_told_of() {
    let stage = stage_with("").await;
    let gateway = &stage.gateway;
    let told = async || {
        let events = written(gateway, "new_device").await;
        events.into_iter().map(|event| event.device).collect::<Vec<_>>()
    };
    assert_eq!(told().await, [None], "the stage's own client says nothing of itself");
    let first = attempt(gateway, USER, PASSWORD, "127.0.0.1", &[FIREFOX]).await;
    let firefox = Some("Firefox on Linux".to_owned());
    assert_eq!(told().await, [firefox.clone(), None]);
    let (session, known) = (first.cookie(SESSION).unwrap(), first.cookie(KNOWN).unwrap());
    let log_out = async |cookie: &str| {
        let lines = ["Content-Type: application/json", "Sec-Fetch-Site: same-origin", cookie];
        let answer = client(gateway)
            .await
            .request("POST", HOST, "/.portcullis/logout", &lines, b"")
            .await;
        assert_eq!(answer.status, 204);
    };
    log_out(&format!("Cookie: {session}")).await;
    // Known by its cookie, though the description changed and no session is left.
    let cookie = format!("Cookie: {known}");
    let updated = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
    assert_eq!(
        attempt(gateway, USER, PASSWORD, "127.0.0.1", &[updated, &cookie])
            .await
            .status,
        200
    );
    assert_eq!(told().await.len(), 2);
    // Known by a live session with the same description.
    assert_eq!(
        attempt(gateway, USER, PASSWORD, "127.0.0.1", &[updated]).await.status,
        200
    );
    assert_eq!(told().await.len(), 2);
    assert_eq!(
        attempt(gateway, USER, PASSWORD, "127.0.0.1", &[FIREFOX]).await.status,
        200
    );
    assert_eq!(told().await.len(), 3);
    let hostile = "User-Agent: Mozilla/5.0 \u{fffd}\u{1}<script> (Windows) Chrome/1 \u{202e}";
    assert_eq!(
        attempt(gateway, USER, PASSWORD, "127.0.0.1", &[hostile]).await.status,
        400,
        "a control is no header"
    );
    let hostile = "User-Agent: Mozilla/5.0 \u{fffd}<script> (Windows) Chrome/1 \u{202e}";
    assert_eq!(
        attempt(gateway, USER, PASSWORD, "127.0.0.1", &[hostile]).await.status,
        200
    );
    assert_eq!(told().await[0].as_deref(), Some("Chrome on Windows"));
    let listed = gateway.command(&["session", "list", "--json"], "");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains("\"device\":\"Firefox on Linux\""), "{listed}");
    let opened = written(gateway, "login_succeeded").await;
    assert_eq!(opened[0].device.as_deref(), Some("Chrome on Windows"));
    assert!(opened[0].session.is_some());
}
