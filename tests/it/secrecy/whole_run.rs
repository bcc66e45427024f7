//! A run in which everybody does everything, on both engines and with both formats of the log: every endpoint of the
//! portal and of the operators' API, the page, every command, and what people type in the wrong place.

use super::witness::Witness;
use crate::support::client::{Client, Response};
use crate::support::gateway::{Gateway, PATIENCE, pause};
use crate::support::postgres::Postgres;
use crate::support::stage::{self, HOST};
use crate::support::upstream::{Recorded, Reply, Upstream};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;
use tempfile::TempDir;
use tokio::sync::Notify;

const SECRET: &str = "session-secret-0123456789abcdef0123456789abcdef";
const OLD_SECRET: &str = "former-secret-0123456789abcdef0123456789abcdef";
const TOKEN: &str = "admin-token-0123456789abcdef0123456789abcdef";
const HEADER_TOKEN: &str = "header-token-0123456789abcdef0123456789abcdef";
const DATABASE: &str = "database-password";
/// What an application that keeps its own sessions signs its cookies with.
const THEIRS: &str = "the-secret-of-an-application";

const ADA: &str = "ada-types-this-password";
const WRONG: &str = "ada-never-had-this-one";
const NEW: &str = "ada-chose-this-later";
const BY_COMMAND: &str = "ada-was-given-this-by-hand";
const BOB: &str = "bob-was-given-this-by-the-api";
const EVE: &str = "eve-registers-with-this";
const ROOT: &str = "root-manages-with-this";
const TOO_COMMON: &str = "qwertyuiop";
/// Of an application whose sessions are copied: what it signs its cookies with, and the key of a row.
const MOVED: &str = "keyboard cat";
const ROW: &str = "key-of-an-applications-row";
/// Keys of rows of an application whose sessions are ended here, and what else stands in the rows.
const ENDED: [&str; 10] = [
    "key-0-of-a-session-that-is-ended",
    "key-1-of-a-session-that-is-ended",
    "key-2-of-a-session-that-is-ended",
    "key-3-of-a-session-that-is-ended",
    "key-4-of-a-session-that-is-ended",
    "key-5-of-a-session-that-is-ended",
    "key-6-of-a-session-that-is-ended",
    "key-7-of-a-session-that-is-ended",
    "key-8-of-a-session-that-is-ended",
    "key-9-of-a-session-that-is-ended",
];
/// The key under which the application saves an ended session anew.
const SUCCESSOR: &str = "key-of-the-successor-of-an-ended-session";
const IN_A_ROW: &str = "value-in-an-applications-row";
const IN_A_QUERY: &str = "value-in-a-query";
const IN_A_HEADER: &str = "value-in-a-header";
const IN_A_BODY: &str = "value-in-a-body";

/// bcrypt of [`IMPORTED`], as another program kept it.
const HASH: &str = "$2b$04$CMQDxgiyBNTzICCbEbcH6.K3zJjt0D8itb1eBpMU2Z2tmxyETWO1m";
const IMPORTED: &str = "Grüße, 42 Türme";
/// Of nobody who signs in.
const DJANGO: &str = "pbkdf2_sha256$260000$seasalt2$YlZ2Vggtqdc61YjArZuoApoBh9JNGYoDRBUGu6tcJQo=";

/// Every value above that must be nowhere.
const SECRETS: &[&str] = &[
    SECRET,
    OLD_SECRET,
    TOKEN,
    HEADER_TOKEN,
    DATABASE,
    THEIRS,
    ADA,
    WRONG,
    NEW,
    BY_COMMAND,
    BOB,
    EVE,
    ROOT,
    TOO_COMMON,
    IMPORTED,
    IN_A_HEADER,
    IN_A_BODY,
    MOVED,
    ROW,
    SUCCESSOR,
    IN_A_ROW,
];

const ROUTES: &str = r#"
[[route]]
name = "app"
host = "app.example.test"
upstream = "app"
groups = ["users", "registered", "admins"]

[[route]]
name = "public"
host = "app.example.test"
path = "/public"
upstream = "app"
access = "public"

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
name = "shop"
host = "app.example.test"
path = "/shop"
upstream = "app"
groups = ["shop:staff"]
sessions = ["native", "shop"]
"#;

const MORE: &str = r#"
[[portal.alias]]
host = "app.example.test"
path = "/api/auth/login"
endpoint = "login"

[[portal.alias]]
host = "app.example.test"
path = "/api/admin/session-stats"
endpoint = "admin/stats"
"#;

const PREFIX: &str = "/.portcullis";

/// A browser or a program, where it asks, and its cookies.
#[derive(Clone)]
struct Jar {
    at: At,
    cookies: BTreeMap<String, String>,
}

impl Jar {
    fn new(at: At) -> Self {
        Self {
            at,
            cookies: BTreeMap::new(),
        }
    }

    fn line(&self) -> String {
        let pairs: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        format!("Cookie: {}; other={IN_A_HEADER}", pairs.join("; "))
    }

    fn keep(&mut self, answer: &Response) {
        for line in answer.values("set-cookie") {
            let (name, value) = line
                .split(';')
                .next()
                .and_then(|pair| pair.split_once('='))
                .expect("a pair");
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

struct Run {
    gateway: Gateway,
    folder: Arc<TempDir>,
    witness: Witness,
    /// What was asked and answered with success, by its method and path.
    asked: BTreeSet<(String, String)>,
    /// The database of the application whose sessions are ended here.
    shop: String,
}

/// An application that people are signed into as well, on a database of its own.
fn application() -> String {
    let server = Postgres::shared();
    let url = server.database();
    server.sql(
        &url,
        "CREATE TABLE session (sid varchar PRIMARY KEY, sess json NOT NULL, expire timestamp(6) NOT NULL)",
    );
    let url = url.replacen('@', &format!(":{DATABASE}@"), 1);
    format!(
        "[[source]]\nname = \"crm\"\npreset = \"express\"\nhosts = [\"{HOST}\"]\nstore_url = \"{url}\"\n\
         secrets = [\"{THEIRS}\"]\nuser = \"/passport/user\"\nopen = true"
    )
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    Portal,
    Admin,
}

impl Run {
    fn start(store: &str, log: &str, app: &Upstream) -> Self {
        let shop_database = Postgres::shared().database();
        let top = format!(
            "{store}\n{}\n[session]\nsecrets = [\"{SECRET}\", \"{OLD_SECRET}\"]\n\
             [portal]\nregistration = true\nadmin_token = \"{HEADER_TOKEN}\"\n\
             [throttle]\naccount = \"3/10m\"\naddress = \"1000/10m\"\nbrowser = \"1000/10m\"\n\
             [log]\nlevel = \"trace\"\n{log}\n{MORE}\n{}",
            application(),
            moved_application(),
        ) + &shop(&shop_database);
        let admin = format!("[admin]\ntoken = \"{TOKEN}\"\ngroup = \"admins\"\n");
        let config = stage::config(&top, ROUTES, &app.url()).replacen("[admin]\n", &admin, 1);
        let mut witness = Witness::default();
        for secret in SECRETS.iter().chain(&ENDED) {
            witness.learn("a password or token of the test", secret);
        }
        // The browser's own address may come back to it, as in `next`.
        witness.learn_of_the_browser("a value in a query", IN_A_QUERY);
        witness.learn("a hash that nobody signed in with", DJANGO);
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        Self {
            gateway: Gateway::try_start_in(&folder, &config, &[]).expect("it starts"),
            folder,
            witness,
            asked: BTreeSet::new(),
            shop: shop_database,
        }
    }

    async fn connect(&self, at: At) -> Client {
        match at {
            At::Portal => Client::tls(self.gateway.address(0), HOST, &self.gateway.ca()).await,
            At::Admin => Client::plain(self.gateway.admin()).await,
        }
    }

    async fn send(&mut self, jar: &mut Jar, method: &str, target: &str, lines: &[&str], body: &str) -> Response {
        let cookies = jar.line();
        let mut all = vec![
            "Sec-Fetch-Site: same-origin",
            "User-Agent: Mozilla/5.0 (X11; Linux) Firefox/140.0",
        ];
        if !jar.cookies.is_empty() {
            all.push(&cookies);
        }
        all.extend(lines);
        let host = if jar.at == At::Portal { HOST } else { "localhost" };
        let mut client = self.connect(jar.at).await;
        let answer = client.request(method, host, target, &all, body.as_bytes()).await;
        jar.keep(&answer);
        self.heard(jar.at, method, target, &answer);
        answer
    }

    fn heard(&mut self, at: At, method: &str, target: &str, answer: &Response) {
        let path = target.split('?').next().unwrap_or(target);
        // The page of a link repeats the link in its form alone; its address is no answer.
        self.witness
            .hear_answer(&format!("the answer to {method} {path}"), answer);
        if answer.status < 400 {
            let path = match at {
                At::Portal => path.strip_prefix(PREFIX).unwrap_or(path),
                At::Admin => path,
            };
            self.asked.insert((method.to_owned(), path.to_owned()));
        }
    }

    /// JSON at the portal.
    async fn post(&mut self, jar: &mut Jar, path: &str, body: &Value) -> Response {
        let lines = ["Content-Type: application/json", "Accept: application/json"];
        let target = format!("{PREFIX}{path}");
        self.send(jar, "POST", &target, &lines, &body.to_string()).await
    }

    async fn get(&mut self, jar: &mut Jar, path: &str, accept: &str) -> Response {
        let accept = format!("Accept: {accept}");
        self.send(jar, "GET", &format!("{PREFIX}{path}"), &[&accept], "").await
    }

    /// A form of a page: what it hides goes along.
    async fn submit(&mut self, jar: &mut Jar, page: &str, action: &str, fields: &[(&str, &str)]) -> Response {
        let shown = self.send(jar, "GET", page, &["Accept: text/html"], "").await;
        let text = shown.text();
        let token = text
            .split_once("name=\"csrf\" value=\"")
            .and_then(|(_, rest)| rest.split('"').next());
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("csrf", token.unwrap_or_else(|| panic!("{page} has a form: {text}")));
        form.extend_pairs(fields);
        let lines = ["Content-Type: application/x-www-form-urlencoded", "Accept: text/html"];
        self.send(jar, "POST", action, &lines, &form.finish()).await
    }

    /// A program with the token.
    async fn manage(&mut self, method: &str, target: &str, body: Option<Value>) -> Response {
        let bearer = format!("Authorization: Bearer {TOKEN}");
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let lines = [bearer.as_str(), "Content-Type: application/json"];
        self.send(&mut Jar::new(At::Admin), method, target, &lines, &body).await
    }

    /// A command; what it prints once is cut.
    fn command(&mut self, args: &[&str], input: &str) -> String {
        let output = self.gateway.command(args, input);
        let name = args.join(" ");
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        let cut = match args {
            ["admin", "login-link", ..] => self.witness.without("a link", &out, "/open?link=", '"'),
            ["user", "list", "--json", ..] | ["session", "list", .., "--json"] => {
                self.witness.without("a place in a list", &out, "\"next\":\"", '"')
            }
            _ => out.clone(),
        };
        self.witness.hear(&format!("the output of {name}"), cut);
        self.witness.hear(&format!("what {name} said of errors"), output.stderr);
        out
    }
}

/// People who sign in, and what they get wrong.
async fn visit(run: &mut Run) -> Jar {
    let mut ada = Jar::new(At::Portal);
    let login = format!("{PREFIX}/login?next=/%3Ftoken%3D{IN_A_QUERY}");
    let action = format!("{PREFIX}/login");
    let typed = |name: &'static str, password: &'static str| [("username", name), ("password", password)];
    for (name, password) in [("ada", WRONG), (ADA, WRONG), (WRONG, ADA), ("", ADA)] {
        run.submit(&mut Jar::new(At::Portal), &login, &action, &typed(name, password))
            .await;
    }
    let answer = run.submit(&mut ada, &login, &action, &typed("ada", ADA)).await;
    assert_eq!(answer.status, 303, "{}", answer.text());
    for body in [
        json!({ "username": WRONG, "password": "x" }),
        json!({ "username": WRONG, "password": "x" }),
        json!({ "username": WRONG, "password": "x" }),
        json!({ "username": "ada", "password": WRONG, "unknown": ADA }),
        json!({ "username": ["ada"], "password": WRONG }),
    ] {
        run.post(&mut Jar::new(At::Portal), "/login", &body).await;
    }
    let cut = format!("{{\"username\": \"ada\", \"password\": \"{WRONG}\"");
    let lines = ["Content-Type: application/json"];
    run.send(&mut Jar::new(At::Portal), "POST", &action, &lines, &cut).await;
    browse(run, &mut ada).await;
    ada
}

/// Secrets in every place that a request has.
async fn browse(run: &mut Run, ada: &mut Jar) {
    let authorization = format!("Authorization: Bearer {IN_A_HEADER}");
    let forged = format!("Cookie: __Host-portcullis={}; portcullis={}", WRONG.repeat(3), ADA);
    for target in ["/", "/public", "/denied", "/staff", "/a/../b", "/.portcullis/nothing"] {
        let target = format!("{target}?token={IN_A_QUERY}");
        run.send(ada, "GET", &target, &[&authorization], "").await;
        run.send(&mut Jar::new(At::Portal), "GET", &target, &[&forged], "")
            .await;
    }
    run.send(ada, "POST", "/public", &[], IN_A_BODY).await;
    for path in ["/", "/login", "/logout", "/password", "/sessions"] {
        run.get(ada, path, "text/html").await;
    }
    for path in ["/me", "/session", "/sessions"] {
        assert_eq!(run.get(ada, path, "application/json").await.status, 200);
    }
    let synced = run.post(ada, "/sync", &json!({ "device": { "name": "tablet" } })).await;
    assert_eq!(synced.status, 200, "{}", synced.text());
}

/// Registration, change of password, and the end of sessions, one of them while its stream is open.
async fn change(run: &mut Run, ada: &mut Jar) {
    let registers = |name: &str, password: &str| json!({ "username": name, "password": password });
    let mut eve = Jar::new(At::Portal);
    run.get(&mut eve, "/register", "text/html").await;
    for refused in [
        registers("eve", TOO_COMMON),
        registers(EVE, EVE),
        registers("ada", EVE),
        registers("eve", "short-1"),
    ] {
        let answer = run.post(&mut eve, "/register", &refused).await;
        assert!(answer.status >= 400, "{refused}");
    }
    let page = format!("{PREFIX}/register");
    let fields = [("username", "eve"), ("password", TOO_COMMON)];
    run.submit(&mut eve, &page, &page, &fields).await;
    let registered = run.post(&mut eve, "/register", &registers("eve", EVE)).await;
    assert_eq!(registered.status, 200, "{}", registered.text());
    let mut other = Jar::new(At::Portal);
    let signed_in = run
        .post(
            &mut other,
            "/login",
            &json!({ "username": "ada", "password": ADA, "remember": true }),
        )
        .await;
    assert_eq!(signed_in.status, 200, "{}", signed_in.text());
    for (current, new, status) in [(WRONG, NEW, 403), (ADA, TOO_COMMON, 400), (ADA, NEW, 200)] {
        let answer = run
            .post(ada, "/password", &json!({ "current": current, "new": new }))
            .await;
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    let mut third = Jar::new(At::Portal);
    let alias = json!({ "username": "ada", "password": NEW }).to_string();
    let lines = ["Content-Type: application/json", "Accept: application/json"];
    let answer = run.send(&mut third, "POST", "/api/auth/login", &lines, &alias).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    watch_the_end(run, ada, &third).await;
    let mut fourth = Jar::new(At::Portal);
    run.post(&mut fourth, "/login", &json!({ "username": "ada", "password": NEW }))
        .await;
    assert!(run.post(ada, "/sessions/end-others", &json!({})).await.status < 300);
    assert!(run.post(&mut eve, "/logout", &json!({})).await.status < 300);
}

/// The stream `events` of one session while another one ends it.
async fn watch_the_end(run: &mut Run, ada: &mut Jar, third: &Jar) {
    let mut stream = run.connect(At::Portal).await;
    let head = format!(
        "GET {PREFIX}/events HTTP/1.1\r\nHost: {HOST}\r\n{}\r\n\r\n",
        third.line()
    );
    stream.send(head.as_bytes()).await;
    let list = run.get(ada, "/sessions", "application/json").await.json();
    let own = run.get(ada, "/session", "application/json").await.json()["public_id"].clone();
    let sessions = list["sessions"].as_array().expect("a list");
    for session in sessions.iter().filter(|session| session["public_id"] != own) {
        let target = format!("{PREFIX}/sessions/{}", session["public_id"].as_str().expect("an id"));
        let ended = run
            .send(ada, "DELETE", &target, &["Accept: application/json"], "")
            .await;
        assert_eq!(ended.status, 204);
    }
    let answer = stream.response().await;
    assert!(answer.text().contains("event: ended"), "{}", answer.text());
    run.heard(At::Portal, "GET", &format!("{PREFIX}/events"), &answer);
}

/// Programs with the token, members, holders of the header's token, and those who have none.
async fn manage(run: &mut Run) {
    let new = json!({ "username": "bob", "email": "bob@example.com", "password": BOB, "groups": ["users"] });
    let bob = run.manage("POST", "/api/users", Some(new)).await.json()["id"]
        .as_str()
        .expect("a key")
        .to_owned();
    for refused in [
        json!({ "username": BOB, "password": TOO_COMMON }),
        json!({ "username": "bob", "password": BOB }),
    ] {
        assert!(run.manage("POST", "/api/users", Some(refused)).await.status >= 400);
    }
    let mut signed_in = Jar::new(At::Portal);
    run.post(&mut signed_in, "/login", &json!({ "username": "bob", "password": BOB }))
        .await;
    let sessions = run
        .manage("GET", &format!("/api/users/{bob}/sessions"), None)
        .await
        .json();
    let session = sessions["items"][0]["public_id"].as_str().expect("an id").to_owned();
    read_everything(run, &bob, &session).await;
    change_everything(run, &bob, &session).await;
    let wrong = format!("Authorization: Bearer {WRONG}");
    run.send(&mut Jar::new(At::Admin), "GET", "/api/users", &[&wrong], "")
        .await;
    for header in [HEADER_TOKEN, WRONG, TOKEN] {
        let line = format!("X-Admin-Token: {header}");
        run.send(
            &mut Jar::new(At::Portal),
            "GET",
            "/api/admin/session-stats",
            &[&line],
            "",
        )
        .await;
    }
    let mut member = Jar::new(At::Portal);
    run.post(&mut member, "/login", &json!({ "username": "root", "password": ROOT }))
        .await;
    for path in ["users", "sessions", "stats", "bans", "audit", "openapi.json"] {
        let answer = run
            .get(&mut member, &format!("/admin/{path}"), "application/json")
            .await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }
}

async fn change_everything(run: &mut Run, bob: &str, session: &str) {
    let data = json!({ "data": { "theme": "dark" } });
    assert_eq!(
        run.manage("PATCH", &format!("/api/sessions/{session}"), Some(data))
            .await
            .status,
        200
    );
    assert_eq!(
        run.manage("DELETE", &format!("/api/sessions/{session}"), None)
            .await
            .status,
        204
    );
    let change = json!({ "name": "Bob", "password": NEW, "app_users": { "crm": { "id": 7 } } });
    assert_eq!(
        run.manage("PATCH", &format!("/api/users/{bob}"), Some(change))
            .await
            .status,
        200
    );
    assert_eq!(run.manage("DELETE", "/api/sessions?user=bob", None).await.status, 200);
    let bans = run.manage("GET", "/api/bans", None).await.json();
    let ban = bans["items"][0]["id"]
        .as_str()
        .expect("the mistyped name is banned")
        .to_owned();
    assert_eq!(
        run.manage("DELETE", &format!("/api/bans/{ban}"), None).await.status,
        204
    );
    assert_eq!(
        run.manage("DELETE", &format!("/api/users/{bob}"), None).await.status,
        204
    );
    assert_eq!(run.manage("POST", "/api/sweep", None).await.status, 200);
    assert_eq!(run.manage("POST", "/api/reload", None).await.status, 200);
}

async fn read_everything(run: &mut Run, user: &str, session: &str) {
    for target in [
        "/api/users?limit=1".to_owned(),
        format!("/api/users?search={IN_A_QUERY}"),
        format!("/api/users?after={IN_A_QUERY}"),
        format!("/api/users/{user}"),
        "/api/sessions?limit=1".to_owned(),
        "/api/sessions".to_owned(),
        format!("/api/sessions/{session}"),
        "/api/stats".to_owned(),
        "/api/audit?limit=1000".to_owned(),
        "/api/audit?format=jsonl&limit=1000".to_owned(),
        "/api/bans".to_owned(),
        "/api/openapi.json".to_owned(),
        "/healthz".to_owned(),
        "/readyz".to_owned(),
        "/metrics".to_owned(),
    ] {
        run.manage("GET", &target, None).await;
    }
}

/// A link, the page that it opens, and what the page does.
async fn open_the_page(run: &mut Run) {
    let admin = format!("http://{}", run.gateway.admin());
    let said = run.command(&["admin", "login-link", "--admin-url", &admin, "--json"], "");
    let said: Value = serde_json::from_str(&said).expect("JSON");
    let link = said["url"]
        .as_str()
        .expect("a URL")
        .strip_prefix(&admin)
        .expect("of the listener")
        .to_owned();
    let mut browser = Jar::new(At::Admin);
    run.send(&mut browser, "GET", &link, &[], "").await;
    let form = ["Content-Type: application/x-www-form-urlencoded"];
    let (_, link) = link.split_once('?').expect("a query");
    for (link, status) in [(format!("link={WRONG}").as_str(), 403), (link, 303), (link, 403)] {
        let answer = run.send(&mut browser, "POST", "/open", &form, link).await;
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    assert_eq!(run.witness.learned("portcullis-admin"), 1, "the pass is known");
    let swept = run.submit(&mut browser, "/", "/act", &[("sweep", "now")]).await;
    assert_eq!(swept.status, 303, "{}", swept.text());
    run.send(&mut browser, "GET", "/?swept", &[], "").await;
    assert_eq!(run.submit(&mut browser, "/", "/leave", &[]).await.status, 303);
}

/// Users of another program: one signs in, which makes the hash ours.
async fn import(run: &mut Run) {
    let file = format!(
        "username,email,password_hash\nfred,fred@example.com,{HASH}\ngina,,{DJANGO}\nhans,,{IMPORTED}\n{IMPORTED},,{DJANGO}\n"
    );
    run.command(&["user", "import", "-", "--dry-run"], &file);
    run.command(&["user", "import", "-"], &file);
    let line = format!("{{\"username\":\"ida\",\"password_hash\":\"{DJANGO}\",\"unknown\":\"{IMPORTED}\"}}\n");
    run.command(&["user", "import", "-", "--json"], &line);
    let mut fred = Jar::new(At::Portal);
    let answer = run
        .post(
            &mut fred,
            "/login",
            &json!({ "username": "fred", "password": IMPORTED }),
        )
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    // From here on nobody's: what was kept of it is ours.
    run.witness.learn("a hash of another program that was replaced", HASH);
    run.command(&["user", "delete", "gina"], "");
}

/// An application with a session in a table of its own, as a source that has moved.
fn moved_application() -> String {
    let server = Postgres::shared();
    let url = server.database();
    server.sql(
        &url,
        &format!(
            "CREATE TABLE session (sid varchar PRIMARY KEY, sess json NOT NULL, expire timestamp(6) NOT NULL); \
             INSERT INTO session VALUES ('{ROW}', '{{\"passport\":{{\"user\":42}}}}', \
             now() AT TIME ZONE 'UTC' + interval '1 hour')"
        ),
    );
    let url = url.replacen('@', &format!(":{DATABASE}@"), 1);
    format!(
        "[[source]]\nname = \"old\"\ncookie = \"old.sid\"\npreset = \"express\"\nhosts = [\"{HOST}\"]\nstore_url = \"{url}\"\nzone = \"utc\"\n\
         secrets = [\"{MOVED}\"]\nuser = \"/passport/user\"\nmoved = true\n"
    )
}

/// Somebody goes on with an application's cookie.
async fn move_over(run: &mut Run) {
    for args in [
        &["session", "import", "--source", "old", "--dry-run"][..],
        &["session", "import", "--source", "old", "--create-users", "--json"],
        &["session", "import", "--source", "old"],
        &["session", "import", "--source", ROW],
        &["source", "check", "old"],
    ] {
        // What was typed comes back in a message about it, on the screen of whoever typed it.
        if args.contains(&ROW) {
            run.gateway.command(args, "");
        } else {
            run.command(args, "");
        }
    }
    let (_, cookie) = crate::sources::signed(ROW)
        .split_once('=')
        .map_or_else(Default::default, |(name, value)| (name.to_owned(), value.to_owned()));
    run.witness.learn("an application's cookie", &cookie);
    let mut holder = Jar::new(At::Portal);
    holder.cookies.insert("old.sid".to_owned(), cookie);
    let me = run.get(&mut holder, "/me", "application/json").await;
    assert_eq!(
        (me.status, &me.json()["username"]),
        (200, &json!("old-42")),
        "{}",
        me.text()
    );
}

/// An application whose sessions are ended here: many of one user, and of two others.
fn shop(database: &str) -> String {
    let server = Postgres::shared();
    server.sql(
        database,
        "CREATE TABLE session (sid varchar PRIMARY KEY, sess json NOT NULL, expire timestamp(6) NOT NULL)",
    );
    for (number, key) in ENDED.iter().enumerate() {
        let user = [42, 42, 42, 42, 42, 42, 43, 43, 44, 44][number];
        server.sql(database, &saved(key, user));
    }
    let url = database.replacen('@', &format!(":{DATABASE}@"), 1);
    format!(
        "[[source]]\nname = \"shop\"\ncookie = \"shop.sid\"\npreset = \"express\"\nhosts = [\"{HOST}\"]\nstore_url = \"{url}\"\n\
         zone = \"utc\"\nsecrets = [\"{MOVED}\"]\nuser = \"/passport/user\"\ngroups = \"/roles\"\nend = true\n"
    )
}

/// As the library saves a session.
fn saved(key: &str, user: u32) -> String {
    format!(
        "INSERT INTO session VALUES ('{key}', '{{\"passport\":{{\"user\":{user}}},\"roles\":[\"staff\"],\"note\":\"{IN_A_ROW}\"}}', \
         now() AT TIME ZONE 'UTC' + interval '1 hour') ON CONFLICT (sid) DO UPDATE SET sess = EXCLUDED.sess"
    )
}

/// The value of the cookie of a row.
fn value_of(key: &str) -> String {
    crate::sources::signed(key)
        .split_once('=')
        .expect("a pair")
        .1
        .to_owned()
}

/// What the application answers: a request to `/shop/held` when it is let go, with a session under another key.
fn answers(gate: &Arc<Notify>) -> impl Fn(&Recorded) -> Reply + Send + Sync + 'static {
    let gate = Arc::clone(gate);
    let cookie = format!("Set-Cookie: shop.sid={}; Path=/\r\n", value_of(SUCCESSOR));
    move |request| match request.target().as_str() {
        "/shop/held" => Reply::Gated {
            first: Vec::new(),
            gate: Arc::clone(&gate),
            then: format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n{cookie}\r\nsaved").into_bytes(),
        },
        _ => Reply::text("hello"),
    }
}

/// A browser that the shop has signed in.
fn holder(run: &mut Run, number: usize) -> Jar {
    let value = value_of(ENDED[number]);
    run.witness.learn("an application's cookie", &value);
    let mut jar = Jar::new(At::Portal);
    jar.cookies.insert("shop.sid".to_owned(), value);
    jar
}

/// The public id of the session that a jar holds.
async fn own_id(run: &mut Run, jar: &mut Jar) -> String {
    let state = run.get(jar, "/session", "application/json").await;
    assert_eq!(state.status, 200, "{}", state.text());
    state.json()["public_id"].as_str().expect("an id").to_owned()
}

/// Every way to end an application's session, each over sessions of one.
async fn end_theirs(run: &mut Run, app: &Upstream, gate: &Notify) {
    run.witness.learn("an application's cookie", &value_of(SUCCESSOR));
    end_ones_own(run).await;
    end_as_operator(run).await;
    end_while_busy(run, app, gate).await;
    let left = Postgres::shared().sql(&run.shop, "SELECT count(*) FROM session");
    assert_eq!(left, "0", "every session was ended");
}

/// Visitors, by their own pages and endpoints.
async fn end_ones_own(run: &mut Run) {
    let mut jars = [0, 1, 2, 3, 4, 5].map(|number| holder(run, number));
    let json = ["Accept: application/json"];
    let [ada, others @ ..] = &mut jars;
    assert_eq!(run.send(ada, "GET", "/shop/", &[], "").await.status, 200);
    for (path, accept) in [
        ("/me", "application/json"),
        ("/sessions", "application/json"),
        ("/sessions", "text/html"),
        ("/logout", "text/html"),
        ("/", "text/html"),
    ] {
        let answer = run.get(ada, path, accept).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }
    let ids = [own_id(run, &mut others[0]).await, own_id(run, &mut others[1]).await];
    let target = format!("{PREFIX}/sessions/{}", ids[0]);
    assert_eq!(run.send(ada, "DELETE", &target, &json, "").await.status, 204);
    let action = format!("{PREFIX}/sessions/{}/end", ids[1]);
    let page = format!("{PREFIX}/sessions");
    assert_eq!(run.submit(ada, &page, &action, &[]).await.status, 303);
    // One that the application does not let go of.
    let sql = |sql: &str| Postgres::shared().sql(&run.shop, sql);
    sql(
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'kept'; END$$; \
         CREATE TRIGGER keep BEFORE DELETE ON session FOR EACH ROW EXECUTE FUNCTION keep()",
    );
    let stands = run.post(&mut others[2], "/logout", &json!({})).await;
    assert_eq!(stands.status, 503, "{}", stands.text());
    Postgres::shared().sql(&run.shop, "DROP TRIGGER keep ON session");
    let ended = run.post(ada, "/sessions/end-others", &json!({})).await;
    assert_eq!(ended.status, 204, "{}", ended.text());
    assert_eq!(run.post(ada, "/logout", &json!({})).await.status, 204);
}

/// Operators, by the API and by command.
async fn end_as_operator(run: &mut Run) {
    for number in [6, 7, 8, 9] {
        let mut jar = holder(run, number);
        assert_eq!(run.send(&mut jar, "GET", "/shop/", &[], "").await.status, 200);
    }
    for query in ["source=shop&limit=1", "source=shop", "user=shop:43"] {
        let listed = run.manage("GET", &format!("/api/sessions?{query}"), None).await;
        assert_eq!(listed.status, 200, "{}", listed.text());
    }
    let listed = run.manage("GET", "/api/sessions?user=shop:43", None).await.json();
    let id = listed["items"][0]["public_id"].as_str().expect("an id").to_owned();
    let target = format!("/api/sessions/{id}");
    assert_eq!(run.manage("GET", &target, None).await.status, 200);
    assert_eq!(run.manage("DELETE", &target, None).await.status, 204);
    let ended = run.manage("DELETE", "/api/sessions?user=shop:43", None).await;
    assert_eq!(ended.json()["ended"], 1, "{}", ended.text());
    run.command(&["session", "list", "--source", "shop"], "");
    run.command(&["session", "list", "--source", "shop", "--limit", "1", "--json"], "");
    let listed = run.command(&["session", "list", "--user", "shop:44", "--json"], "");
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    let id = listed["items"][0]["public_id"].as_str().expect("an id");
    run.command(&["session", "show", id], "");
    run.command(&["session", "show", id, "--json"], "");
    let ended = run.command(&["session", "end", id], "");
    assert!(ended.contains("1 session ended"), "{ended}");
    let ended = run.command(&["session", "end", "--user", "shop:44", "--json"], "");
    assert!(ended.contains("public_id") || ended.contains("ended"), "{ended}");
    run.command(&["source", "check", "shop"], "");
    run.command(&["source", "ddl", "shop"], "");
}

/// A request is under way meanwhile, and saves the session under another key.
async fn end_while_busy(run: &mut Run, app: &Upstream, gate: &Notify) {
    let key = ENDED[9];
    Postgres::shared().sql(&run.shop, "DELETE FROM session");
    let again = format!("again-{key}");
    run.witness.learn("a row's key", &again);
    Postgres::shared().sql(&run.shop, &saved(&again, 45));
    let cookie = value_of(&again);
    run.witness.learn("an application's cookie", &cookie);
    app.forget();
    let mut client = run.connect(At::Portal).await;
    let head = format!("GET /shop/held HTTP/1.1\r\nHost: {HOST}\r\nCookie: shop.sid={cookie}\r\n\r\n");
    client.send(head.as_bytes()).await;
    app.wait_for(1);
    let ended = run.manage("DELETE", "/api/sessions?user=shop:45", None).await;
    assert_eq!(ended.json()["ended"], 1, "{}", ended.text());
    for key in [again.as_str(), SUCCESSOR] {
        Postgres::shared().sql(&run.shop, &saved(key, 45));
    }
    gate.notify_one();
    let answer = client.response().await;
    assert_eq!(
        (answer.text().as_str(), answer.values("set-cookie").len()),
        ("saved", 0)
    );
    run.heard(At::Portal, "GET", "/shop/held", &answer);
    let since = Instant::now();
    while Postgres::shared().sql(&run.shop, "SELECT count(*) FROM session") != "0" {
        assert!(since.elapsed() < PATIENCE, "what came back stands");
        pause();
    }
}

/// What every command says that reads or changes state.
fn administer(run: &mut Run) {
    run.command(&["user", "add", "zoe", "--password-stdin"], TOO_COMMON);
    run.command(&["user", "password", "ada", "--password-stdin"], TOO_COMMON);
    run.command(&["user", "password", "ada", "--password-stdin"], BY_COMMAND);
    for args in [
        &["user", "list"][..],
        &["user", "list", "--json", "--limit", "1"],
        &["user", "show", "ada"],
        &["user", "show", "ada", "--json"],
        &["user", "show", WRONG],
        &["user", "group", "add", "ada", "staff"],
        &["user", "group", "remove", "ada", "staff"],
        &["user", "app-user", "ada", "crm", "43", "--json"],
        &["source", "list"],
        &["source", "check"],
        &["user", "disable", "ada"],
        &["user", "enable", "ada"],
        &["session", "list"],
        &["session", "list", "--json"],
        &["session", "show", "01a1fec3-28a1-73e4-b2ee-253426882e20"],
        &["session", "stats"],
        &["session", "stats", "--json"],
        &["session", "sweep"],
        &["ban", "list"],
        &["ban", "list", "--json"],
        &["ban", "lift", "ada"],
        &["audit"],
        &["audit", "--json"],
        &["admin", "token"],
        &["config", "show", "--origin"],
        &["config", "show"],
        &["check"],
        &["check", "--online", "--format", "json"],
        &["migrate", "--dry-run"],
        &["healthcheck"],
        &["session", "end", "--all"],
    ] {
        // What was typed comes back in a message about it, on the screen of whoever typed it.
        if args.contains(&WRONG) {
            run.gateway.command(args, "");
        } else {
            run.command(args, "");
        }
    }
}

/// Every endpoint was asked and answered with success: one that is added must be added here.
fn assert_everything_was_asked(run: &Run, document: &Value) {
    for name in portcullis::portal::ENDPOINTS {
        let found = run.asked.iter().any(|(_, path)| path.trim_start_matches('/') == name);
        assert!(found, "{name} was not asked: {:?}", run.asked);
    }
    for (template, item) in document["paths"].as_object().expect("paths") {
        let start = template.split('{').next().unwrap_or(template);
        let end = template.split('}').nth(1).unwrap_or_default();
        for method in item
            .as_object()
            .expect("methods")
            .keys()
            .filter(|name| *name != "parameters")
        {
            let found = run.asked.iter().any(|(asked, path)| {
                let path = path.strip_prefix("/api").unwrap_or(path);
                let middle = path.strip_prefix(start).and_then(|rest| rest.strip_suffix(end));
                let one = template.contains('{');
                asked.eq_ignore_ascii_case(method)
                    && middle.is_some_and(|middle| middle.is_empty() != one && !middle.contains('/'))
            });
            assert!(found, "{method} {template} was not asked");
        }
    }
}

/// Every file below `folder` but the configuration.
fn files_below(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files_below(&path, found);
        } else if path.extension().is_none_or(|kind| kind != "toml") {
            found.push((path.display().to_string(), fs::read(&path).expect("a file")));
        }
    }
}

/// Where a run keeps what it keeps.
enum Store {
    Sqlite,
    Postgres(String),
}

impl Store {
    fn config(&self) -> String {
        match self {
            Self::Sqlite => String::new(),
            Self::Postgres(url) => {
                let url = url.replacen('@', &format!(":{DATABASE}@"), 1);
                format!("[store]\nurl = \"{url}\"")
            }
        }
    }

    /// Everything in it as text, bytes in hexadecimal.
    async fn dump(&self, folder: &Path) -> Vec<u8> {
        match self {
            Self::Sqlite => dump_of_sqlite(&folder.join("data/portcullis.db")).await,
            Self::Postgres(url) => {
                let mut dump = Command::new(Postgres::shared().programs().join("pg_dump"));
                let output = dump.args(["--dbname", url]).output().expect("pg_dump runs");
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                output.stdout
            }
        }
    }
}

async fn dump_of_sqlite(file: &Path) -> Vec<u8> {
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    let mut connection = options.connect().await.expect("the file opens");
    let columns = "SELECT t.name, c.name FROM sqlite_master t, pragma_table_info(t.name) c WHERE t.type = 'table'";
    let columns: Vec<(String, String)> = sqlx::query_as(columns)
        .fetch_all(&mut connection)
        .await
        .expect("tables");
    let mut dump = String::new();
    for (table, column) in columns {
        let all = format!(
            "SELECT CASE typeof(\"{column}\") WHEN 'blob' THEN lower(hex(\"{column}\")) \
             ELSE CAST(ifnull(\"{column}\", '') AS TEXT) END FROM \"{table}\""
        );
        let rows: Vec<(String,)> = sqlx::query_as(AssertSqlSafe(all))
            .fetch_all(&mut connection)
            .await
            .expect("rows");
        dump.extend(rows.into_iter().map(|(value,)| format!("{table}.{column}: {value}\n")));
    }
    dump.into_bytes()
}

async fn scenario(store: &Store, log: &str) {
    let gate = Arc::new(Notify::new());
    let app = Upstream::start(answers(&gate));
    let mut run = Run::start(&store.config(), log, &app);
    run.command(
        &[
            "user",
            "add",
            "ada",
            "--email",
            "ada@example.com",
            "--group",
            "users",
            "--password-stdin",
        ],
        ADA,
    );
    run.command(&["user", "add", "root", "--group", "admins", "--password-stdin"], ROOT);
    run.command(&["user", "app-user", "ada", "crm", "42"], "");
    let mut ada = visit(&mut run).await;
    change(&mut run, &mut ada).await;
    import(&mut run).await;
    move_over(&mut run).await;
    end_theirs(&mut run, &app, &gate).await;
    manage(&mut run).await;
    open_the_page(&mut run).await;
    let document = run.manage("GET", "/api/openapi.json", None).await.json();
    assert_everything_was_asked(&run, &document);
    administer(&mut run);
    // Somebody stays signed in, so that a session is in what is searched.
    let mut ada = Jar::new(At::Portal);
    let last = run
        .post(
            &mut ada,
            "/login",
            &json!({ "username": "ada", "password": BY_COMMAND }),
        )
        .await;
    assert_eq!(last.status, 200, "{}", last.text());
    let theirs = ada
        .cookies
        .get("connect.sid")
        .expect("the application's cookie")
        .clone();
    let sid = theirs.trim_start_matches("s%3A").split('.').next().unwrap_or_default();
    run.witness.learn("the key of an application's session", sid);
    search(run, store).await;
}

/// Searches all that was said and kept.
async fn search(run: Run, store: &Store) {
    let Run {
        gateway,
        folder,
        mut witness,
        ..
    } = run;
    let kept = store.dump(gateway.folder()).await;
    assert!(
        has(&kept, b"$argon2id$") && has(&kept, b"ada@example.com"),
        "users are in the dump"
    );
    let digest = witness.digests().pop().expect("a session");
    assert!(has(&kept, digest.as_bytes()), "the digest of the token is in the dump");
    witness.hear("a dump of the database", kept);
    // After the stop, when SQLite has written its journal back: that holds rows as they were.
    let stopped = gateway.terminate();
    let mut written = Vec::new();
    files_below(folder.path(), &mut written);
    written.push(("the log".to_owned(), stopped.stderr.into_bytes()));
    let logged = written.iter().any(|(_, said)| has(said, b"/.portcullis/login"));
    assert!(logged, "the log tells of requests");
    for (name, bytes) in written {
        witness.hear(&name, bytes);
    }
    let leaks = witness.leaks();
    assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks.join("\n"));
}

fn has(bytes: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(bytes, part).is_some()
}

#[tokio::test]
async fn no_secret_of_a_whole_run_is_anywhere_but_where_it_is_handed_over_on_sqlite() {
    scenario(&Store::Sqlite, "format = \"json\"\naccess_file = \"access.log\"").await;
}

#[tokio::test]
async fn no_secret_of_a_whole_run_is_anywhere_but_where_it_is_handed_over_on_postgres() {
    let store = Store::Postgres(Postgres::shared().database());
    scenario(&store, "format = \"pretty\"").await;
}
