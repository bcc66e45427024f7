//! Browsers that come back, and how long they stay signed in.

use crate::support::client::{Client, Response};
use crate::support::gateway::{Gateway, PATIENCE, pause};
use crate::support::postgres::Postgres;
use crate::support::stage::{HOST, PASSWORD, ROUTES, Stage, USER, config};
use crate::support::upstream::{Reply, Upstream};
use std::sync::Arc;
use std::time::{Duration, Instant};

const COOKIE: &str = "__Host-portcullis";

fn hello() -> Reply {
    Reply::text("hello")
}

async fn stage(top: &str) -> Stage {
    Stage::with(top, ROUTES, |_| hello()).await
}

/// An answer to a request with the session's cookie, over a connection of its own.
async fn get(stage: &Stage, target: &str) -> Response {
    let mut client = stage.client().await;
    client
        .get(HOST, target, &[&stage.cookie_line(), "Sec-Fetch-Mode: cors"])
        .await
}

fn shown(stage: &Stage) -> serde_json::Value {
    let listed = stage.gateway.command(&["session", "list", "--json"], "");
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    listed["items"][0].clone()
}

fn metric(text: &str, line: &str) -> u64 {
    let found = text.lines().find_map(|found| found.strip_prefix(line));
    found
        .unwrap_or_else(|| panic!("{line} is not in {text}"))
        .trim()
        .parse()
        .expect("a number")
}

async fn metrics(gateway: &Gateway) -> String {
    let mut client = Client::plain(gateway.admin()).await;
    client.get("127.0.0.1", "/metrics", &[]).await.text()
}

fn max_age(line: &str) -> u64 {
    let part = line.split("; ").find_map(|part| part.strip_prefix("Max-Age="));
    part.expect("a life").parse().expect("a number")
}

/// A wait that is what the test is about: real cookies and rows end by the database's clock.
async fn wait(time: Duration) {
    tokio::time::sleep(time).await;
}

#[tokio::test]
async fn activity_keeps_a_session_alive_and_silence_ends_it() {
    let stage = stage("[session]\nidle_timeout = \"6s\"\nlifetime = \"1h\"").await;
    let begun = Instant::now();
    // More than twice the idle time, never silent for half of it.
    while begun.elapsed() < Duration::from_secs(14) {
        wait(Duration::from_secs(2)).await;
        assert_eq!(get(&stage, "/").await.status, 200, "after {:?}", begun.elapsed());
    }
    let silent = Instant::now();
    wait(Duration::from_millis(6_100).saturating_sub(silent.elapsed())).await;
    let refused = get(&stage, "/").await;
    assert_eq!(refused.status, 401, "{}", refused.text());
    assert_eq!(refused.json()["error"], "Session expired");
}

#[tokio::test]
async fn without_rolling_a_session_ends_however_active_it_is() {
    let stage = stage("[session]\nrolling = false\nidle_timeout = \"6s\"\nlifetime = \"1h\"").await;
    let begun = Instant::now();
    let (mut asked, mut lived) = (Duration::ZERO, Duration::ZERO);
    while get(&stage, "/").await.status == 200 {
        lived = asked;
        assert!(lived < Duration::from_secs(7), "it lives on after {lived:?}");
        wait(Duration::from_millis(200)).await;
        asked = begun.elapsed();
    }
    assert!(lived > Duration::from_secs(2), "it ended after {lived:?}");
}

#[tokio::test]
async fn the_absolute_end_comes_however_active_a_session_is() {
    let stage = stage("[session]\nidle_timeout = \"4s\"\nlifetime = \"8s\"").await;
    let begun = Instant::now();
    let (mut asked, mut lived) = (Duration::ZERO, Duration::ZERO);
    while get(&stage, "/").await.status == 200 {
        lived = asked;
        assert!(lived < Duration::from_secs(9), "it lives on after {lived:?}");
        wait(Duration::from_millis(200)).await;
        asked = begun.elapsed();
    }
    assert!(
        lived > Duration::from_secs(5),
        "activity must carry it past its idle time, not only {lived:?}"
    );
}

#[tokio::test]
async fn forwarded_requests_are_activity_and_the_gateways_own_pages_are_not() {
    let stage = stage("[session]\nidle_timeout = \"16s\"\nlifetime = \"1h\"").await;
    let before = shown(&stage);
    wait(Duration::from_millis(4_500)).await;
    for own in ["session", "me", "sessions"] {
        let answer = get(&stage, &format!("/.portcullis/{own}")).await;
        assert_eq!(answer.status, 200, "{own}");
        assert!(answer.values("set-cookie").is_empty(), "{own}");
    }
    assert_eq!(get(&stage, "/denied").await.status, 403);
    wait(Duration::from_millis(1_500)).await;
    assert_eq!(shown(&stage)["last_seen_at"], before["last_seen_at"]);
    assert_eq!(get(&stage, "/").await.status, 200);
    let begun = Instant::now();
    while shown(&stage)["last_seen_at"] == before["last_seen_at"] {
        assert!(begun.elapsed() < PATIENCE, "the activity was never written");
        pause();
    }
    let after = shown(&stage);
    assert_ne!(after["expires_at"], before["expires_at"]);
    assert_eq!(after["ends_at"], before["ends_at"]);
    assert_eq!(after["last_address"], "127.0.0.1");
    let text = metrics(&stage.gateway).await;
    assert_eq!(metric(&text, r#"portcullis_touches_total{result="written"}"#), 1);
}

/// What the application says of caches depends on the last word of the path; it also sets cookies, ours among them.
fn cached(word: &str) -> Reply {
    let (status, control) = match word {
        "public" => (200, "public, max-age=60"),
        "shared" => (200, "s-maxage=60"),
        "understood" => (200, "max-age=60, no-store, must-understand"),
        "304" => (304, "private"),
        "private" => (200, "private"),
        _ => return hello(),
    };
    Reply::Fixed {
        status,
        headers: vec![
            ("Cache-Control".to_owned(), control.to_owned()),
            ("Set-Cookie".to_owned(), format!("{COOKIE}=theirs; Path=/")),
            ("Set-Cookie".to_owned(), "own=1".to_owned()),
        ],
        body: Vec::new(),
    }
}

/// A stage whose touches lie four seconds apart, with a route that leaves answers open to shared caches.
async fn stage_with_caches() -> Stage {
    const OPEN: &str = r#"
[[route]]
name = "cached"
host = "app.example.test"
path = "/cached"
upstream = "app"
cache_private = false
"#;
    let routes = format!("{ROUTES}{OPEN}");
    let top = "[session]\nidle_timeout = \"20s\"\nlifetime = \"1h\"\ntouch_interval = \"4s\"";
    Stage::with(top, &routes, |request| {
        cached(request.target().split('/').next_back().unwrap_or_default())
    })
    .await
}

fn own_lines(answer: &Response) -> Vec<String> {
    let start = format!("{COOKIE}=");
    let lines = answer.values("set-cookie").into_iter();
    lines
        .filter(|line| line.starts_with(&start))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn a_browser_gets_its_cookie_anew_with_answers_that_no_shared_cache_keeps() {
    let stage = stage_with_caches().await;
    assert!(own_lines(&get(&stage, "/").await).is_empty(), "its cookie is fresh");
    wait(Duration::from_millis(4_300)).await;
    for never in [
        "/cached/public",
        "/cached/shared",
        "/cached/plain",
        "/cached/understood",
        "/public",
        "/304",
        "/shared",
    ] {
        assert_eq!(own_lines(&get(&stage, never).await), [""; 0], "{never}");
    }
    let answer = get(&stage, "/private").await;
    let [line] = own_lines(&answer).try_into().expect("one cookie is owed");
    assert!(
        line.starts_with(&format!("{}; ", stage.cookie)),
        "the same token: {line}"
    );
    for attribute in ["HttpOnly", "Secure", "SameSite=Lax", "Path=/"] {
        assert!(line.split("; ").any(|part| part == attribute), "{line}");
    }
    assert!((18..=20).contains(&max_age(&line)), "{line}");
    assert!(
        answer.values("set-cookie").contains(&"own=1"),
        "the application's own pass"
    );
    assert!(own_lines(&get(&stage, "/").await).is_empty(), "once a touch");
    wait(Duration::from_millis(4_300)).await;
    let renewed = get(&stage, "/").await;
    assert_eq!(
        own_lines(&renewed).len(),
        1,
        "an answer that says nothing is made private"
    );
    assert_eq!(renewed.value("cache-control"), Some("private"));
}

#[tokio::test]
async fn a_page_that_asks_for_its_session_gets_the_cookie_that_answers_could_not_carry() {
    let stage = stage_with_caches().await;
    wait(Duration::from_millis(4_300)).await;
    let asked = get(&stage, "/.portcullis/session").await;
    assert!(own_lines(&asked).is_empty(), "asking is no activity");
    assert!(own_lines(&get(&stage, "/cached/public").await).is_empty());
    let asked = get(&stage, "/.portcullis/session").await;
    assert_eq!(own_lines(&asked).len(), 1);
    assert!(own_lines(&get(&stage, "/").await).is_empty(), "it has gone out");
}

#[tokio::test]
async fn the_first_cookie_lives_as_long_as_its_session() {
    let top = "[session]\nidle_timeout = \"10m\"\nlifetime = \"20m\"\nremember_lifetime = \"30m\"";
    for (rolling, remember, life) in [
        (true, false, 600),
        (false, false, 600),
        (true, true, 1800),
        (false, true, 1800),
    ] {
        let stage = stage(&format!("{top}\nrolling = {rolling}")).await;
        let mut client = stage.client().await;
        let body = serde_json::json!({ "username": USER, "password": PASSWORD, "remember": remember }).to_string();
        let lines = [
            "Content-Type: application/json",
            "Accept: application/json",
            "Sec-Fetch-Site: same-origin",
        ];
        let answer = client
            .request("POST", HOST, "/.portcullis/login", &lines, body.as_bytes())
            .await;
        let start = format!("{COOKIE}=");
        let line = answer
            .values("set-cookie")
            .into_iter()
            .find(|line| line.starts_with(&start));
        assert_eq!(
            max_age(line.expect("a cookie")),
            life,
            "rolling {rolling}, remember {remember}"
        );
    }
}

/// Starts one gateway on a database after another, in one folder.
struct Place {
    folder: Arc<tempfile::TempDir>,
    text: String,
    app: Upstream,
}

impl Place {
    fn new(session: &str) -> Self {
        let app = Upstream::start(|_| hello());
        let url = Postgres::shared().database();
        let top = format!(
            "[store]\nurl = \"{url}\"\ncall_timeout = \"20s\"\n\
             [session]\nsecrets = [\"a secret of the tests that is long enough\"]\n{session}\n\
             [life]\ndrain_delay = \"0s\""
        );
        Self {
            folder: Arc::new(tempfile::tempdir().expect("a folder")),
            text: config(&top, ROUTES, &app.url()),
            app,
        }
    }

    fn start(&self) -> Gateway {
        let started = Gateway::try_start_in(&self.folder, &self.text, &[]);
        started.unwrap_or_else(|end| panic!("the gateway ended with {:?}:\n{}", end.code, end.stderr))
    }
}

async fn ask(gateway: &Gateway, cookie: &str) -> u16 {
    let mut client = Client::tls(gateway.address(0), HOST, &gateway.ca()).await;
    let line = format!("Cookie: {cookie}");
    client.get(HOST, "/", &[&line, "Sec-Fetch-Mode: cors"]).await.status
}

#[tokio::test]
async fn what_was_active_until_the_stop_is_written_before_the_process_ends() {
    let place = Place::new("idle_timeout = \"1h\"\nlifetime = \"2h\"\ntouch_interval = \"1s\"");
    let gateway = place.start();
    gateway.add_user(USER, PASSWORD, &[]);
    let mut client = Client::tls(gateway.address(0), HOST, &gateway.ca()).await;
    let cookie = client.sign_in(HOST, USER, PASSWORD).await;
    let seen = |gateway: &Gateway| {
        let listed = gateway.command(&["session", "list", "--json"], "");
        let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).expect("JSON");
        listed["items"][0]["last_seen_at"].as_str().expect("a time").to_owned()
    };
    let before = seen(&gateway);
    wait(Duration::from_millis(2_100)).await;
    assert_eq!(ask(&gateway, &cookie).await, 200);
    // At once: no tick of the writer is waited for.
    let stopped = gateway.terminate();
    assert!(stopped.status.success(), "{}", stopped.stderr);
    assert!(!stopped.stderr.contains("could not be written"), "{}", stopped.stderr);
    let after = place.start();
    assert_ne!(seen(&after), before);
    assert_eq!(ask(&after, &cookie).await, 200);
    assert!(!place.app.requests().is_empty());
}

#[tokio::test]
async fn a_process_that_is_killed_signs_nobody_out_by_more_than_the_touch_interval() {
    let place = Place::new("idle_timeout = \"12s\"\nlifetime = \"1h\"\ntouch_interval = \"1s\"");
    let gateway = place.start();
    gateway.add_user(USER, PASSWORD, &[]);
    let mut client = Client::tls(gateway.address(0), HOST, &gateway.ca()).await;
    let cookie = client.sign_in(HOST, USER, PASSWORD).await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(13) {
        assert_eq!(ask(&gateway, &cookie).await, 200, "after {:?}", begun.elapsed());
        wait(Duration::from_millis(300)).await;
    }
    gateway.signal("KILL");
    gateway.ended();
    let second = place.start();
    assert_eq!(ask(&second, &cookie).await, 200, "active a moment ago");
}

#[tokio::test]
async fn instances_keep_a_session_alive_for_each_other() {
    let place = Place::new("idle_timeout = \"8s\"\nlifetime = \"1h\"");
    let one = place.start();
    one.add_user(USER, PASSWORD, &[]);
    let other_folder = Place {
        folder: Arc::new(tempfile::tempdir().expect("a folder")),
        text: place.text.clone(),
        app: Upstream::start(|_| hello()),
    };
    let two = other_folder.start();
    let mut client = Client::tls(one.address(0), HOST, &one.ca()).await;
    let cookie = client.sign_in(HOST, USER, PASSWORD).await;
    assert_eq!(ask(&one, &cookie).await, 200);
    let begun = Instant::now();
    // Only the second instance sees activity; the first one's copy looks idle long before it is asked again.
    while begun.elapsed() < Duration::from_secs(12) {
        wait(Duration::from_secs(1)).await;
        assert_eq!(ask(&two, &cookie).await, 200, "after {:?}", begun.elapsed());
    }
    assert_eq!(
        ask(&one, &cookie).await,
        200,
        "the store knows of the activity at the other instance"
    );
}
