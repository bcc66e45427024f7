//! The operators' API as programs and members of the administrators' group use it, on both engines.

mod audit;
mod callers;
mod lists;
mod outage;
mod page;
mod sessions;
mod statistics;
mod upkeep;
mod users;

use crate::support::client::{Client, Response};
use crate::support::gateway::Gateway;
use crate::support::postgres::Postgres;
use crate::support::stage::{self, HOST, PASSWORD, ROUTES};
use crate::support::upstream::Upstream;
use serde_json::Value;

/// The token of programs.
const TOKEN: &str = "0123456789abcdef-admin-token-0123456789abcdef";
const SECRETS: &str = "[session]\nsecrets = [\"0123456789abcdef0123456789abcdef\"]\n";

/// A gateway with a token and a group, and the application behind it.
struct Office {
    gateway: Gateway,
    app: Upstream,
}

impl Office {
    /// On SQLite, with lines in front of the listeners.
    fn start(top: &str) -> Self {
        let app = Upstream::hello();
        let config = config(top, &app);
        Self {
            gateway: Gateway::start(&config),
            app,
        }
    }

    /// On SQLite and on Postgres.
    fn on_both_engines() -> [Self; 2] {
        let url = Postgres::shared().database();
        [
            Self::start(""),
            Self::start(&format!("[store]\nurl = \"{url}\"\n{SECRETS}")),
        ]
    }

    /// Sends a request with the token; a body is JSON.
    async fn ask(&self, method: &str, target: &str, body: Option<Value>) -> Response {
        let bearer = format!("Authorization: Bearer {TOKEN}");
        let mut lines = vec![bearer.as_str()];
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        if !body.is_empty() {
            lines.push("Content-Type: application/json");
        }
        self.plain(method, target, &lines, body.as_bytes()).await
    }

    async fn get(&self, target: &str) -> Response {
        self.ask("GET", target, None).await
    }

    /// The JSON of an answer that must be 200.
    async fn json(&self, target: &str) -> Value {
        let answer = self.get(target).await;
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        answer.json()
    }

    /// A request to the admin listener as it is.
    async fn plain(&self, method: &str, target: &str, lines: &[&str], body: &[u8]) -> Response {
        let mut client = Client::plain(self.gateway.admin()).await;
        client.request(method, "localhost", target, lines, body).await
    }

    async fn client(&self) -> Client {
        Client::tls(self.gateway.address(0), HOST, &self.gateway.ca()).await
    }

    /// Signs somebody in: the line with the cookie.
    async fn sign_in(&self, user: &str) -> String {
        format!("Cookie: {}", self.client().await.sign_in(HOST, user, PASSWORD).await)
    }

    /// Whether a session still opens the application.
    async fn opens(&self, cookie: &str) -> bool {
        let answer = self
            .client()
            .await
            .get(HOST, "/", &[cookie, "Accept: application/json"])
            .await;
        answer.status == 200
    }

    /// Adds a user with the API; their key.
    async fn add(&self, name: &str, groups: &[&str]) -> String {
        let new = serde_json::json!({ "username": name, "password": PASSWORD, "groups": groups });
        let added = self.ask("POST", "/api/users", Some(new)).await;
        assert_eq!(added.status, 201, "{}", added.text());
        added.json()["id"].as_str().expect("a key").to_owned()
    }

    /// The kinds of the newest events, the newest first, but for devices that were new.
    async fn kinds(&self) -> Vec<String> {
        kinds(&self.json("/api/audit").await)
    }
}

/// The kinds of listed events but for devices that were new.
fn kinds(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().expect("a list").iter();
    let kinds = items.map(|event| event["kind"].as_str().expect("a kind").to_owned());
    kinds.filter(|kind| kind != "new_device").collect()
}

fn config(top: &str, app: &Upstream) -> String {
    let admin = format!("[admin]\ntoken = \"{TOKEN}\"\ngroup = \"admins\"\n");
    stage::config(top, ROUTES, &app.url()).replacen("[admin]\n", &admin, 1)
}

/// The answer is a problem with this status, and says `words`.
#[track_caller]
fn refused(answer: &Response, status: u16, words: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.value("content-type"), Some("application/problem+json"));
    let error = answer.json()["error"].as_str().expect("a sentence").to_owned();
    assert!(error.contains(words), "{error}");
}
