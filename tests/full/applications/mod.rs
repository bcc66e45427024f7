//! Applications whose sessions somebody else's library keeps, unchanged behind the gateway: each signs people in by its own
//! code (`tests/applications`), and the gateway knows them by the application's own cookie and rows.

mod deployments;
mod ended;
mod express;
mod moved;
mod node;
mod opened;
mod program;
mod python;
mod told;
mod touched;

use crate::support::client::{Client, Response};
use crate::support::gateway::{Gateway, pause, portcullis};
use crate::support::postgres::Postgres;
use portcullis::session::principal;
use program::Program;
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Output;
use std::time::{Duration, Instant};

const HOST: &str = "app.example.test";
const ZONES: [&str; 3] = ["Etc/UTC", "America/New_York", "Asia/Kolkata"];
/// For how long a row is believed, unless a source says otherwise, and what a busy machine adds.
const BOUND: Duration = Duration::from_secs(5 + 3);
/// How long a short session lives. Long enough to be asked for while it is live.
const SHORT: Duration = Duration::from_secs(4);
/// A library may round an end up to the next second.
const ROUNDED: Duration = Duration::from_millis(1_200);

/// An application's own database, with a role that may read its tables and do nothing else.
struct Data {
    url: String,
    reader: String,
}

impl Data {
    /// In a database that is in this zone.
    fn in_zone(zone: &str) -> Self {
        let server = Postgres::shared();
        let url = server.database();
        let name = url.rsplit('/').next().expect("a name").to_owned();
        let role = format!("reader_{name}");
        server.sql(&url, &format!("ALTER DATABASE {name} SET timezone = '{zone}'"));
        // Tables are made when the application is first used, some in a schema of their own.
        server.sql(
            &url,
            &format!(
                "CREATE SCHEMA schema_system; CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA schema_system TO {role}; \
                 ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {role}"
            ),
        );
        let reader = format!("postgres://{role}@127.0.0.1:{}/{name}", server.port());
        Self { url, reader }
    }

    /// From here on the role of the gateway may delete rows.
    fn let_end(&self) {
        let name = self.url.rsplit('/').next().expect("a name");
        self.sql(&format!(
            "GRANT DELETE ON ALL TABLES IN SCHEMA public, schema_system TO reader_{name}"
        ));
    }

    fn sql(&self, sql: &str) -> String {
        Postgres::shared().sql(&self.url, sql)
    }
}

/// An application behind a gateway that reads its sessions.
struct Scene {
    gateway: Gateway,
    data: Data,
    app: Program,
}

impl Scene {
    /// `source` are the lines of the source behind its name, host and database.
    fn new(data: Data, app: Program, source: &str) -> Self {
        let gateway = Gateway::start(&config(&data, &app, source));
        Self { gateway, data, app }
    }

    fn visitor(&self) -> Visitor<'_> {
        Visitor {
            gateway: &self.gateway,
            cookies: BTreeMap::new(),
            raw: None,
        }
    }

    /// Somebody whom the application has just signed in, by a request through the gateway.
    async fn signed_in(&self, query: &str) -> Visitor<'_> {
        let mut visitor = self.visitor();
        assert_eq!(visitor.told().await, (None, None));
        let answer = visitor.ask("POST", &format!("/login?{query}")).await;
        assert_eq!(answer.status, 204, "{}", answer.text());
        visitor
    }

    /// Tries the source as it is configured, or with other lines, and perhaps a cookie.
    fn check(&self, source: &str, cookie: Option<&str>) -> (bool, String) {
        // In a file of its own: the gateway goes on with its.
        let folder = self.gateway.folder();
        let running = std::fs::read_to_string(folder.join("portcullis.toml")).expect("the configuration");
        let (before, _) = running.split_once("# lines").expect("our own mark");
        std::fs::write(folder.join("trial.toml"), format!("{before}{source}\n")).expect("the configuration");
        let mut arguments = vec!["source", "check", "crm", "--config", "trial.toml"];
        arguments.extend(cookie.map(|_| "--cookie-stdin"));
        let Output {
            status, stdout, stderr, ..
        } = portcullis(folder, &arguments, cookie.unwrap_or_default());
        let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
        (status.success(), said)
    }
}

fn config(data: &Data, app: &Program, source: &str) -> String {
    format!(
        r#"
[[listener]]
address = "127.0.0.1:0"
certificates = "local"

[admin]
address = "127.0.0.1:0"

[[upstream]]
name = "app"
servers = ["http://{}"]

[[route]]
name = "crm"
host = "{HOST}"
upstream = "app"
access = "optional"
sessions = ["native", "crm"]

[[source]]
name = "crm"
hosts = ["{HOST}"]
store_url = "{}"
# lines
{source}
"#,
        app.address(),
        data.reader
    )
}

/// A browser, as far as cookies go.
struct Visitor<'a> {
    gateway: &'a Gateway,
    cookies: BTreeMap<String, String>,
    /// Sent in their place.
    raw: Option<String>,
}

impl Visitor<'_> {
    fn cookie(&self) -> String {
        let pairs = self.cookies.iter().map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join("; ")
    }

    async fn ask(&mut self, method: &str, target: &str) -> Response {
        let mut client = Client::tls(self.gateway.address(0), HOST, &self.gateway.ca()).await;
        let cookie = format!("Cookie: {}", self.raw.clone().unwrap_or_else(|| self.cookie()));
        let origin = format!("Origin: https://{HOST}");
        let mut lines = vec![
            origin.as_str(),
            "Sec-Fetch-Site: same-origin",
            "Accept: application/json",
        ];
        if cookie.len() > "Cookie: ".len() {
            lines.push(&cookie);
        }
        let answer = client.request(method, HOST, target, &lines, b"").await;
        self.keep(&answer);
        answer
    }

    fn keep(&mut self, answer: &Response) {
        for line in answer.values("set-cookie") {
            let pair = line.split(';').next().expect("a first part");
            let (name, value) = pair.split_once('=').expect("a pair");
            // A browser that keeps what it should forget: only the row can end its access.
            if !value.is_empty() && !line.contains("Max-Age=0") && !line.contains("1970") {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// Whom the application itself takes this visitor for, and whom the gateway told it of.
    async fn told(&mut self) -> (Option<String>, Option<String>) {
        let answer = self.ask("GET", "/").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let said = answer.json();
        let text = |value: &Value| match value {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        (text(&said["user"]), text(&said["told"]))
    }

    /// The user, of whom application and gateway say the same.
    async fn known(&mut self) -> String {
        let (user, told) = self.told().await;
        let user = user.expect("the application knows its visitor");
        assert_eq!(told, Some(principal("crm", &user).to_string()));
        user
    }
}

/// What holds for each application: it signs people in and the gateway knows them, each as who they are; its log-out is one
/// here, at the latest within the bound and at once where its path is named (`/bye`).
async fn signs_in_and_out(scene: &Scene) {
    let mut stays = scene.signed_in("user=1").await;
    let mut leaves = scene.signed_in("user=1").await;
    let mut says_bye = scene.signed_in("user=2").await;
    let first = stays.known().await;
    assert_eq!(leaves.known().await, first);
    assert_ne!(says_bye.known().await, first);
    takes_cookies_alike(scene, &stays, &says_bye).await;
    assert_eq!(says_bye.ask("POST", "/bye").await.status, 204);
    assert_eq!(says_bye.told().await, (None, None), "its path is named");
    assert_eq!(leaves.ask("POST", "/logout").await.status, 204);
    let left = Instant::now();
    while leaves.told().await != (None, None) {
        assert!(left.elapsed() < BOUND, "known {:?} after the log-out", left.elapsed());
        pause();
    }
    assert_eq!(stays.known().await, first);
}

/// Whatever a browser makes of its cookies, nobody is told to be another than the application takes them for.
async fn takes_cookies_alike(scene: &Scene, one: &Visitor<'_>, other: &Visitor<'_>) {
    let (first, second) = (one.cookie(), other.cookie());
    let session = |(name, _): &(&String, &String)| name.contains("sess") || name.ends_with("sid");
    let (name, value) = one.cookies.iter().find(session).expect("a session's cookie");
    let (start, rest) = value.split_at(1);
    let escaped = format!("%{:02X}{rest}", start.as_bytes()[0]);
    let mut differ = Vec::new();
    for cookies in [
        format!("{first}; {second}"),
        format!("{second}; {first}"),
        format!("{name}=; {second}"),
        format!("{name}=x; {second}"),
        format!("{second}; {name}=x"),
        format!("{name}; {second}"),
        format!("{name}=\"{value}\""),
        format!("{name}=\"{value}"),
        format!("{name}={escaped}"),
        format!("{name}={value}%zz"),
        format!("{name}= {value} "),
        format!(" {name} ={value}"),
        format!("a=1,{name}={value}"),
        format!("{}={value}", name.to_uppercase()),
        format!("{name}={value}; Path=/"),
    ] {
        let mut visitor = scene.visitor();
        visitor.raw = Some(cookies.clone());
        let (user, told) = visitor.told().await;
        let expected = user.as_ref().map(|user| principal("crm", user).to_string());
        // Libraries differ about quotes and about names without a value; whose cookie it is, they never do.
        let is_odd = cookies.contains('"') || cookies.starts_with(&format!("{name};"));
        let one_knows_nobody = told.is_none() || expected.is_none();
        if told != expected && !(is_odd && one_knows_nobody) {
            differ.push(format!(
                "{cookies}: the application says {user:?}, the gateway {told:?}"
            ));
        }
    }
    assert!(differ.is_empty(), "{differ:#?}");
}

/// A session that ends is over here as soon as in the application.
async fn ends_in_time(scene: &Scene, query: &str) {
    let mut short = scene.signed_in(query).await;
    short.known().await;
    // Unasked, since a request may make it live on.
    tokio::time::sleep(SHORT + ROUNDED).await;
    assert_eq!(short.told().await, (None, None), "its end has come");
}

async fn plays_together(scene: &Scene) {
    signs_in_and_out(scene).await;
    ends_in_time(scene, &format!("user=1&lives={}", SHORT.as_millis())).await;
}
