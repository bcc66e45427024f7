use super::*;
use crate::support::stage;
use crate::support::upstream::Upstream;
use serde_json::{Value, json};

const EVENTS: &str = "/.portcullis/events";
const SYNC: &str = "/.portcullis/sync";
const SESSION: &str = "/.portcullis/session";

/// A page that listens.
struct Listener {
    client: Client,
    text: String,
}

impl Listener {
    async fn open(stage: &Stage) -> Self {
        let (client, head) = begin(stage, EVENTS).await;
        assert_eq!(head.status, 200);
        assert_eq!(head.value("content-type"), Some("text/event-stream"));
        assert_eq!(head.value("cache-control"), Some("no-store"));
        assert!(head.value("x-request-id").is_some());
        let mut listener = Self {
            client,
            text: String::new(),
        };
        assert_eq!(listener.block().await.as_deref(), Some("retry: 3000\n: listening"));
        listener
    }

    /// The next lines up to an empty one; `None` when the stream ended as a whole answer does.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(block);
            }
            let chunk = self.client.chunk().await;
            if chunk.is_empty() {
                assert_eq!(self.text, "");
                return None;
            }
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The next event as its name and its data.
    async fn event(&mut self) -> (String, Value) {
        loop {
            let block = self.block().await.expect("an event comes");
            if block.starts_with(':') {
                continue;
            }
            let line = |name: &str| {
                let start = format!("{name}: ");
                let mut lines = block.lines().filter_map(|line| line.strip_prefix(&start));
                lines
                    .next()
                    .unwrap_or_else(|| panic!("no {name} in {block:?}"))
                    .to_owned()
            };
            assert!(line("id").parse::<i64>().is_ok());
            return (line("event"), serde_json::from_str(&line("data")).unwrap());
        }
    }
}

async fn session(stage: &Stage) -> Value {
    let answer = stage.client().await.get(HOST, SESSION, &[&stage.cookie_line()]).await;
    assert_eq!(answer.status, 200);
    answer.json()
}

async fn sync(stage: &Stage, body: &Value) -> Response {
    let lines = [
        stage.cookie_line(),
        "Content-Type: application/json".to_owned(),
        "Sec-Fetch-Site: same-origin".to_owned(),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let body = body.to_string();
    stage
        .client()
        .await
        .request("POST", HOST, SYNC, &lines, body.as_bytes())
        .await
}

/// Signs in with the cookie of the session that the browser has.
async fn sign_in_over(stage: &Stage) {
    let cookie = stage.cookie_line();
    let lines = [&cookie, "Sec-Fetch-Site: same-origin", "Content-Type: application/json"];
    let body = json!({"username": USER, "password": PASSWORD}).to_string();
    let mut client = stage.client().await;
    let answer = client
        .request("POST", HOST, "/.portcullis/login", &lines, body.as_bytes())
        .await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_page_that_listens_is_told_of_the_end_and_why() {
    let mut stage = stage(&Heard::default()).await;
    for reason in ["logged_out", "signed_in_again", "ended"] {
        let id = session(&stage).await["public_id"].clone();
        let mut listener = Listener::open(&stage).await;
        until_open(&stage.gateway, "portal", 1).await;
        match reason {
            "logged_out" => log_out(&stage).await,
            "signed_in_again" => sign_in_over(&stage).await,
            _ => {
                let output = stage.gateway.command(&["session", "end", "--all"], "");
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            }
        }
        let ended = Instant::now();
        let (name, told) = listener.event().await;
        assert_eq!((name.as_str(), &told["reason"]), ("ended", &json!(reason)), "{told}");
        assert_eq!(told["public_id"], id);
        assert!(told["at"].as_str().is_some_and(|at| at.ends_with('Z')), "{told}");
        assert_eq!(listener.block().await, None, "it ends as a whole answer does");
        assert!(ended.elapsed() < SOON, "{:?}", ended.elapsed());
        sign_in_again(&mut stage).await;
    }
    until_none_is_open(&stage.gateway).await;
}

#[tokio::test]
async fn a_page_that_listens_is_warned_before_the_end_and_listening_is_no_activity() {
    let top = "[session]\nidle_timeout = \"4s\"\n";
    let stage = Stage::with(top, ROUTES, application(&Heard::default())).await;
    let mut listener = Listener::open(&stage).await;
    let before = session(&stage).await;
    assert_eq!(before["state"], "active");
    let (name, told) = listener.event().await;
    assert_eq!((name.as_str(), &told["reason"]), ("expiring", &json!("idle")), "{told}");
    assert_eq!(told["at"], before["expires_at"]);
    let (name, told) = listener.event().await;
    assert_eq!((name.as_str(), &told["reason"]), ("ended", &json!("expired")), "{told}");
    assert_eq!(told["at"], before["expires_at"]);
    assert_eq!(listener.block().await, None);
    let after = session(&stage).await;
    assert_eq!(after["state"], "expired");
    for member in ["public_id", "expires_at", "ends_at", "seconds_left"] {
        assert_eq!(after[member], Value::Null);
    }
}

#[tokio::test]
async fn a_page_that_says_it_is_here_keeps_its_session_and_is_told_that_the_end_moved() {
    let top = "[session]\nidle_timeout = \"10s\"\n[cache]\nmax_age = \"1s\"\nmax_age_without_feed = \"1s\"\n";
    let stage = Stage::with(top, ROUTES, application(&Heard::default())).await;
    let mut listener = Listener::open(&stage).await;
    let before = session(&stage).await;
    let (name, told) = listener.event().await;
    assert_eq!(
        (name.as_str(), &told["at"]),
        ("expiring", &before["expires_at"]),
        "{told}"
    );
    assert_eq!(
        session(&stage).await["expires_at"],
        before["expires_at"],
        "asking is no activity"
    );
    let synced = sync(&stage, &json!({})).await.json();
    assert!(
        synced["session"]["expires_at"].as_str() > before["expires_at"].as_str(),
        "{synced}"
    );
    let (name, told) = listener.event().await;
    assert_eq!(
        (name.as_str(), &told["reason"]),
        ("changed", &json!("extended")),
        "{told}"
    );
    assert_eq!(told["at"], synced["session"]["expires_at"]);
}

#[tokio::test]
async fn a_page_that_listens_is_told_when_its_user_changed() {
    let stage = stage(&Heard::default()).await;
    let mut listener = Listener::open(&stage).await;
    let output = stage.gateway.command(&["user", "group", "add", USER, "staff"], "");
    assert!(output.status.success());
    let (name, told) = listener.event().await;
    assert_eq!((name.as_str(), &told["reason"]), ("changed", &json!("user")), "{told}");
}

const TOKEN: &str = "0123456789abcdef-admin-token-0123456789abcdef";

/// Asks the operators' API; the answer must be a good one.
async fn operate(stage: &Stage, method: &str, target: &str, body: &str) -> Response {
    let bearer = format!("Authorization: Bearer {TOKEN}");
    let lines = [bearer.as_str(), "Content-Type: application/json"];
    let lines = if body.is_empty() { &lines[..1] } else { &lines };
    let mut client = Client::plain(stage.gateway.admin()).await;
    let answer = client
        .request(method, "localhost", target, lines, body.as_bytes())
        .await;
    assert!(answer.status < 300, "{method} {target}: {}", answer.text());
    answer
}

#[tokio::test]
async fn a_page_that_listens_is_told_what_an_operator_did() {
    let app = Upstream::start(application(&Heard::default()));
    let config = stage::config("", ROUTES, &app.url());
    let gateway = Gateway::start(&config.replace("[admin]\n", &format!("[admin]\ntoken = \"{TOKEN}\"\n")));
    gateway.add_user(USER, PASSWORD, &[]);
    let cookie = String::new();
    let mut stage = Stage { app, gateway, cookie };
    let listed = operate(&stage, "GET", "/api/users", "").await.json();
    let user = format!("/api/users/{}", listed["items"][0]["id"].as_str().unwrap());
    for (method, target, body, name, reason) in [
        ("PATCH", user.as_str(), r#"{"groups":["staff"]}"#, "changed", "user"),
        ("DELETE", "/api/sessions?all=true", "", "ended", "ended"),
        ("PATCH", &user, r#"{"state":"disabled"}"#, "ended", "disabled"),
        ("DELETE", &user, "", "ended", "disabled"),
    ] {
        sign_in_again(&mut stage).await;
        let mut listener = Listener::open(&stage).await;
        operate(&stage, method, target, body).await;
        let done = Instant::now();
        let (told, data) = listener.event().await;
        assert_eq!(
            (told.as_str(), &data["reason"]),
            (name, &json!(reason)),
            "{method} {target}"
        );
        assert!(done.elapsed() < SOON, "{:?}", done.elapsed());
        if reason == "disabled" && method == "PATCH" {
            operate(&stage, "PATCH", &user, r#"{"state":"active"}"#).await;
        }
    }
}

#[tokio::test]
async fn nobody_listens_without_a_session_and_a_session_has_so_many_listeners() {
    let stage = stage(&Heard::default()).await;
    let mut client = stage.client().await;
    let answer = client.get(HOST, EVENTS, &["Accept: text/event-stream"]).await;
    assert_eq!(
        (answer.status, answer.value("content-type")),
        (401, Some("application/problem+json"))
    );
    assert_eq!(answer.json()["error"], "Not authenticated");
    let answer = client
        .request("POST", HOST, EVENTS, &["Sec-Fetch-Site: same-origin"], b"")
        .await;
    assert_eq!((answer.status, answer.value("allow")), (405, Some("GET")));
    let mut listeners = Vec::new();
    for _ in 0..32 {
        listeners.push(Listener::open(&stage).await);
    }
    let (_, head) = begin(&stage, EVENTS).await;
    assert_eq!(head.status, 429);
    assert!(head.value("retry-after").is_some());
    drop(listeners.pop());
    until_open(&stage.gateway, "portal", 31).await;
    drop(Listener::open(&stage).await);
    log_out(&stage).await;
    let answer = client.get(HOST, EVENTS, &[&stage.cookie_line()]).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]),
        (401, &json!("Session expired"))
    );
}

#[tokio::test]
async fn a_page_that_listens_does_not_hold_up_a_stop() {
    let top = "[life]\ndrain_delay = \"100ms\"\nstream_grace = \"200ms\"\ndrain_timeout = \"20s\"\n";
    let stage = Stage::with(top, ROUTES, application(&Heard::default())).await;
    let mut listener = Listener::open(&stage).await;
    let Stage { gateway, app, .. } = stage;
    let stopping = tokio::task::spawn_blocking(move || gateway.terminate());
    assert_eq!(
        listener.block().await,
        None,
        "it ends as a whole answer does, and nothing says that the session ended"
    );
    let stopped = stopping.await.unwrap();
    assert_eq!(stopped.status.code(), Some(0), "{}", stopped.stderr);
    assert!(stopped.took < Duration::from_secs(15), "{:?}", stopped.took);
    drop(app);
}

#[tokio::test]
async fn a_page_that_comes_back_says_so_and_hears_how_things_stand() {
    let stage = stage(&Heard::default()).await;
    let answer = sync(&stage, &json!({"device": {"name": "Ada's \u{1f4bb}"}})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.json();
    assert_eq!(told["user"]["username"], USER);
    assert_eq!(told["session"]["device"], "Ada's \u{1f4bb}");
    let now = session(&stage).await;
    assert_eq!(told["session"]["public_id"], now["public_id"]);
    assert_eq!(told["session"]["ends_at"], now["ends_at"]);
    assert!(told["server_time"].as_str().is_some_and(|at| at.ends_with('Z')));
    // Without a name the device keeps the one it has.
    assert_eq!(
        sync(&stage, &json!({})).await.json()["session"]["device"],
        "Ada's \u{1f4bb}"
    );
    let log = stage.gateway.command(&["session", "list", "--json"], "");
    assert!(
        String::from_utf8_lossy(&log.stdout).contains("Ada's"),
        "{}",
        String::from_utf8_lossy(&log.stdout)
    );
}

#[tokio::test]
async fn what_is_no_honest_sync_is_refused() {
    let stage = stage(&Heard::default()).await;
    let cookie = stage.cookie_line();
    let body = br#"{"device":{"name":"x"}}"#;
    let json_type = "Content-Type: application/json";
    let same = "Sec-Fetch-Site: same-origin";
    for (lines, body, status) in [
        (vec![same, json_type], &body[..], 401),
        (vec![&cookie, json_type], body, 403),
        (vec![&cookie, json_type, "Sec-Fetch-Site: cross-site"], body, 403),
        (vec![&cookie, json_type, "Origin: null"], body, 403),
        (
            vec![&cookie, json_type, same, "Origin: https://evil.example"],
            body,
            403,
        ),
        (vec![&cookie, same, "Content-Type: text/plain"], body, 415),
        (
            vec![&cookie, same, "Content-Type: application/x-www-form-urlencoded"],
            b"device=x",
            415,
        ),
        (vec![&cookie, same], b"", 415),
        (vec![&cookie, json_type, same], b"", 400),
        (
            vec![&cookie, json_type, same],
            br#"{"device":{"name":"x"},"more":1}"#,
            400,
        ),
        (vec![&cookie, json_type, same], br#"{"device":{"name":"\u0000"}}"#, 400),
    ] {
        let mut client = stage.client().await;
        let answer = client.request("POST", HOST, SYNC, &lines, body).await;
        assert_eq!(answer.status, status, "{lines:?}: {}", answer.text());
        if lines.contains(&json_type) {
            assert_eq!(answer.value("content-type"), Some("application/problem+json"));
            assert!(answer.json()["error"].is_string());
        }
    }
    let long = json!({"device": {"name": "x".repeat(129)}});
    assert_eq!(sync(&stage, &long).await.status, 400);
    let answer = stage.client().await.get(HOST, SYNC, &[&cookie]).await;
    assert_eq!((answer.status, answer.value("allow")), (405, Some("POST")));
    log_out(&stage).await;
    let answer = sync(&stage, &json!({})).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]),
        (401, &json!("Session expired"))
    );
}
