//! A gateway in front of a recording application, with a user who is signed in: what most tests start from.

use super::client::Client;
use super::gateway::Gateway;
use super::upstream::{Recorded, Reply, Upstream};

/// The host of every stage.
pub const HOST: &str = "app.example.test";
/// The user of every stage.
pub const USER: &str = "ada";
/// Her password.
pub const PASSWORD: &str = "correct horse battery staple";

/// The routes of a stage, from which a test may start its own.
pub const ROUTES: &str = r#"
[[route]]
name = "app"
host = "app.example.test"
path = "/"
upstream = "app"

[[route]]
name = "public"
host = "app.example.test"
path = "/public"
upstream = "app"
access = "public"
allow_preflight = true

[[route]]
name = "optional"
host = "app.example.test"
path = "/optional"
upstream = "app"
access = "optional"

[[route]]
name = "denied"
host = "app.example.test"
path = "/denied"
upstream = "app"
access = "deny"

[[route]]
name = "staff"
host = "app.example.test"
path = "/staff"
upstream = "app"
groups = ["staff"]

[[route]]
name = "preflight"
host = "app.example.test"
path = "/cors"
upstream = "app"
allow_preflight = true
"#;

/// A gateway, its application, and a cookie of [`USER`].
pub struct Stage {
    /// The application.
    pub app: Upstream,
    /// The gateway: listener 0 is TLS, listener 1 plain.
    pub gateway: Gateway,
    /// `name=value` of the session cookie.
    pub cookie: String,
}

impl Stage {
    /// With [`ROUTES`] and an application that says hello, or echoes on WebSockets.
    pub async fn start() -> Self {
        Self::with("", ROUTES, |request| {
            if request.values("upgrade").is_empty() {
                Reply::text("hello")
            } else {
                Reply::WebSocketEcho
            }
        })
        .await
    }

    /// With lines in front of the listeners, routes, and an application of one's own.
    pub async fn with(top: &str, routes: &str, script: impl Fn(&Recorded) -> Reply + Send + Sync + 'static) -> Self {
        let app = Upstream::start(script);
        let gateway = Gateway::start(&config(top, routes, &app.url()));
        gateway.add_user(USER, PASSWORD, &["users"]);
        let cookie = Client::tls(gateway.address(0), HOST, &gateway.ca())
            .await
            .sign_in(HOST, USER, PASSWORD)
            .await;
        app.forget();
        Self { app, gateway, cookie }
    }

    /// A new HTTP/1.1 connection over TLS.
    pub async fn client(&self) -> Client {
        Client::tls(self.gateway.address(0), HOST, &self.gateway.ca()).await
    }

    /// The line with the session cookie.
    pub fn cookie_line(&self) -> String {
        format!("Cookie: {}", self.cookie)
    }
}

/// The text of a stage's configuration.
pub fn config(top: &str, routes: &str, app: &str) -> String {
    format!(
        r#"{top}
[[listener]]
address = "127.0.0.1:0"
certificates = "local"

[[listener]]
address = "127.0.0.1:0"

[admin]
address = "127.0.0.1:0"

[[upstream]]
name = "app"
servers = ["{app}"]
{routes}"#
    )
}
