//! The configuration changes while the gateway runs: what takes effect, what waits for a restart, what is refused.

mod applied;
mod certificates;
mod handover;
mod refused;
mod service;
mod sources;
mod watched;

use crate::support::client::{Client, Response};
use crate::support::gateway::{Gateway, PATIENCE, pause};
use crate::support::stage::{HOST, PASSWORD, USER};
use crate::support::upstream::{Recorded, Reply, Upstream};
use std::process::Output;
use std::sync::Arc;
use std::time::Instant;
use tempfile::TempDir;

const TOKEN: &str = "0123456789abcdef-admin-token-0123456789abcdef";
const SECRET: &str = "0123456789abcdef0123456789abcdef-one";
const SECOND: &str = "0123456789abcdef0123456789abcdef-two";

/// A gateway whose configuration is written anew.
struct Site {
    app: Upstream,
    gateway: Gateway,
    folder: Arc<TempDir>,
}

/// What is changed most.
struct Words<'a> {
    top: &'a str,
    secrets: &'a [&'a str],
    routes: &'a str,
}

impl Default for Words<'_> {
    fn default() -> Self {
        Self {
            top: "",
            secrets: &[SECRET],
            routes: ROUTE,
        }
    }
}

const ROUTE: &str = r#"
[[route]]
name = "app"
host = "app.example.test"
upstream = "app"
"#;

fn text(words: &Words<'_>, app: &Upstream) -> String {
    format!(
        r#"{}
[session]
secrets = {:?}

[[listener]]
address = "127.0.0.1:0"
certificates = "local"

[admin]
address = "127.0.0.1:0"
token = "{TOKEN}"

[life]
drain_delay = "0s"

[[upstream]]
name = "app"
servers = ["{}"]
{}"#,
        words.top,
        words.secrets,
        app.url(),
        words.routes
    )
}

impl Site {
    async fn start() -> (Self, String) {
        Self::with(&Words::default(), |request| {
            if request.values("upgrade").is_empty() {
                Reply::text("hello")
            } else {
                Reply::WebSocketEcho
            }
        })
        .await
    }

    /// With the cookie of somebody who signed in.
    async fn with(words: &Words<'_>, script: impl Fn(&Recorded) -> Reply + Send + Sync + 'static) -> (Self, String) {
        let app = Upstream::start(script);
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let gateway = Gateway::try_start_in(&folder, &text(words, &app), &[]).unwrap();
        let site = Self { app, gateway, folder };
        site.gateway.add_user(USER, PASSWORD, &["users"]);
        let cookie = site.client().await.sign_in(HOST, USER, PASSWORD).await;
        site.app.forget();
        (site, format!("Cookie: {cookie}"))
    }

    async fn client(&self) -> Client {
        Client::tls(self.gateway.address(0), HOST, &self.gateway.ca()).await
    }

    fn write(&self, words: &Words<'_>) {
        self.write_text(&text(words, &self.app));
    }

    /// As careful programs write: whole or not at all.
    fn write_text(&self, text: &str) {
        let file = self.folder.path().join("portcullis.toml");
        std::fs::write(file.with_extension("new"), text).unwrap();
        std::fs::rename(file.with_extension("new"), file).unwrap();
    }

    /// `portcullis reload`.
    fn reload(&self) -> Output {
        let admin = format!("http://{}", self.gateway.admin());
        self.gateway.command(&["reload", "--admin-url", &admin], "")
    }

    /// The same for a configuration that must take effect; what the command said.
    #[track_caller]
    fn applied(&self, words: &Words<'_>) -> String {
        self.write(words);
        let output = self.reload();
        assert!(output.status.success(), "{}", errors(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    async fn ask(&self, token: &str) -> Response {
        let bearer = format!("Authorization: Bearer {token}");
        let mut client = Client::plain(self.gateway.admin()).await;
        client
            .request("POST", "localhost", "/api/reload", &[&bearer], b"")
            .await
    }

    async fn success(&self) -> bool {
        let mut client = Client::plain(self.gateway.admin()).await;
        let metrics = client.get("localhost", "/metrics", &[]).await.text();
        let line = metrics
            .lines()
            .find(|line| line.starts_with("portcullis_config_reload_success "));
        line.expect("the metric is there").ends_with(" 1")
    }
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Waits until `holds`.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        pause();
    }
}
