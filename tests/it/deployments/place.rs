//! Where a shipped configuration is started: a database, an application, certificates, and any number of instances.

use crate::support::client::{Client, Response};
use crate::support::fleet;
use crate::support::gateway::{Gateway, PATIENCE, PROGRAM, Stillborn, pause};
use crate::support::postgres::Postgres;
use crate::support::upstream::{Recorded, Reply, Upstream};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Instant;
use tempfile::TempDir;

/// Who signs in.
pub const USER: &str = "ada";
/// Her password.
pub const PASSWORD: &str = "correct horse battery staple";
/// 48 bytes, as `openssl rand -base64 36` prints them.
pub const SECRET: &str = "Zm9yIHRlc3RzIG9ubHksIGFuZCBsb25nIGVub3VnaCE0";
/// What older administration pages send, another than the admin listener's.
pub const ADMIN_TOKEN: &str = "YWxzbyBmb3IgdGVzdHMgb25seSwgYW5kIGFsc28gbG9uZyBlbm91Z2ghIQ";
/// The host that the files name.
pub const HOST: &str = "app.example.com";

/// How a browser reaches an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Over TLS that the gateway ends, with this name or address.
    Https(&'static str),
    /// Over plain HTTP, with this name or address.
    Http(&'static str),
    /// Through a balancer that ended TLS for this name.
    Balancer(&'static str),
}

/// One of the five files, and what tests must know of it.
#[derive(Clone, Copy, Debug)]
pub struct Shipped {
    /// `config/examples/NAME.toml`.
    pub name: &'static str,
    /// How browsers come.
    pub reach: Reach,
    /// The session cookie's name in it.
    pub cookie: &'static str,
    /// The schema of our tables in it.
    pub schema: &'static str,
}

/// One of the five, ready to be started.
pub struct Place {
    /// The database, as tests reach it.
    pub database: String,
    /// The application.
    pub app: Upstream,
    /// What it is made of.
    pub shipped: Shipped,
    file: String,
    folder: Arc<TempDir>,
    environment: BTreeMap<&'static str, String>,
    ca: String,
}

impl Place {
    /// With an application that answers with the name of who is signed in.
    pub fn new(shipped: Shipped) -> Self {
        Self::with_app(shipped, |request| {
            Reply::text(&request.values("x-forwarded-user").join(","))
        })
    }

    /// With an application of one's own.
    pub fn with_app(shipped: Shipped, script: impl Fn(&Recorded) -> Reply + Send + Sync + 'static) -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a temporary folder"));
        let app = Upstream::start(script);
        let ca = certificates(folder.path());
        let database = Postgres::shared().database();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let mut environment = BTreeMap::from([
            ("APP_URL", app.url()),
            ("HTTPS_ADDRESS", "127.0.0.1:0".to_owned()),
            ("HTTP_ADDRESS", "127.0.0.1:0".to_owned()),
            ("PORT", "0".to_owned()),
            ("TLS_CHAIN", path("leaf.pem")),
            ("TLS_KEY", path("leaf.key")),
            ("SESSION_SECRET", SECRET.to_owned()),
            ("DATABASE_URL", database.clone()),
            ("ADMIN_TOKEN", ADMIN_TOKEN.to_owned()),
            ("DB_HOST", "127.0.0.1".to_owned()),
            ("DB_PORT", Postgres::shared().port().to_string()),
            ("DB_NAME", database.rsplit('/').next().expect("a name").to_owned()),
            ("PORTCULLIS_DATA_DIR", path("data")),
            ("PORTCULLIS_ADMIN_ADDRESS", "127.0.0.1:0".to_owned()),
            // No balancer has to notice that an instance stops.
            ("PORTCULLIS_LIFE_DRAIN_DELAY", "0s".to_owned()),
        ]);
        if matches!(shipped.reach, Reach::Balancer(_)) {
            environment.insert("PORTCULLIS_TRUST_PROXIES", "127.0.0.1/32".to_owned());
        }
        Self {
            file: format!("{}/config/examples/{}.toml", env!("CARGO_MANIFEST_DIR"), shipped.name),
            database,
            app,
            shipped,
            folder,
            environment,
            ca,
        }
    }

    /// Sets one variable for every start that follows.
    pub fn set(&mut self, name: &'static str, value: &str) {
        self.environment.insert(name, value.to_owned());
    }

    /// Takes one variable away.
    pub fn unset(&mut self, name: &'static str) {
        self.environment.remove(name);
    }

    /// Starts an instance and waits until it hears the feed: the moment when it does makes it forget what it knows.
    pub fn start(&self) -> Gateway {
        let gateway = self
            .try_start()
            .unwrap_or_else(|end| panic!("the gateway ended with {:?}:\n{}", end.code, end.stderr));
        gateway.wait_for_log(fleet::SEEN);
        gateway
    }

    /// Starts an instance that may refuse.
    pub fn try_start(&self) -> Result<Gateway, Stillborn> {
        let mut command = self.program();
        command.args(["run", "--json", "--config", &self.file]);
        Gateway::spawn(command, &self.folder)
    }

    /// Runs a command on the same file to its end.
    pub fn command(&self, arguments: &[&str], input: &str) -> Output {
        let input_file = self.folder.path().join("input");
        std::fs::write(&input_file, input).expect("the input is written");
        let mut command = self.program();
        command
            .args(arguments)
            .args(["--config", &self.file])
            .stdin(std::fs::File::open(input_file).expect("the input is there"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.output().expect("the program starts")
    }

    /// The same for a command that must do its work; what it printed.
    pub fn done(&self, arguments: &[&str], input: &str) -> String {
        let output = self.command(arguments, input);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// With the tables made and [`USER`] added.
    pub fn prepared(self) -> Self {
        self.done(&["migrate"], "");
        self.add_user(USER, &["users"]);
        self
    }

    /// Adds a user with [`PASSWORD`].
    pub fn add_user(&self, name: &str, groups: &[&str]) {
        let email = format!("{name}@example.com");
        let mut arguments = vec!["user", "add", name, "--password-stdin", "--email", &email];
        for group in groups {
            arguments.extend(["--group", group]);
        }
        self.done(&arguments, PASSWORD);
    }

    fn program(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .current_dir(self.folder.path())
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .envs(&self.environment);
        command
    }

    /// Runs SQL in the database.
    pub fn sql(&self, sql: &str) -> String {
        Postgres::shared().sql(&self.database, sql)
    }

    /// How many sessions have a row, expired ones too.
    pub fn rows(&self) -> i64 {
        self.count(&format!("SELECT count(*) FROM {}.sessions", self.shipped.schema))
    }

    /// Lets every session end a minute ago.
    pub fn expire_all(&self) {
        let past = "now() - interval '1 minute'";
        self.sql(&format!(
            "UPDATE {}.sessions SET expires_at = {past}, sweep_at = {past}",
            self.shipped.schema
        ));
    }

    /// Puts every session's times back, as if nobody had done anything for so long.
    pub fn pass(&self, time: &str) {
        let back = |name: &str| format!("{name} = {name} - interval '{time}'");
        let columns = [
            "created_at",
            "authenticated_at",
            "last_seen_at",
            "expires_at",
            "ends_at",
            "sweep_at",
        ]
        .map(back);
        self.sql(&format!(
            "UPDATE {}.sessions SET {}",
            self.shipped.schema,
            columns.join(", ")
        ));
    }

    /// Seconds until the only session's idle end.
    pub fn seconds_left(&self) -> i64 {
        self.count(&format!(
            "SELECT round(extract(epoch FROM expires_at - now()))::bigint FROM {}.sessions",
            self.shipped.schema
        ))
    }

    /// A number out of the database.
    pub fn count(&self, sql: &str) -> i64 {
        let text = self.sql(sql);
        text.parse().unwrap_or_else(|_| panic!("{sql} gave {text:?}"))
    }

    /// A browser without a cookie.
    pub async fn browser<'a>(&'a self, gateway: &'a Gateway) -> Browser<'a> {
        self.browser_by(gateway, self.shipped.reach).await
    }

    /// The same that comes another way.
    pub async fn browser_by<'a>(&'a self, gateway: &'a Gateway, reach: Reach) -> Browser<'a> {
        let client = match reach {
            Reach::Https(host) => Client::tls(gateway.address(self.listener("https")), host, &self.ca).await,
            Reach::Http(_) | Reach::Balancer(_) => Client::plain(gateway.address(self.listener("http"))).await,
        };
        Browser {
            client,
            reach,
            cookie: None,
            name: self.shipped.cookie,
        }
    }

    /// Where the file's listener of a scheme stands in its list: https first where there are two.
    fn listener(&self, scheme: &str) -> usize {
        let text = std::fs::read_to_string(&self.file).expect("the file is shipped");
        usize::from(scheme == "http" && text.matches("[[listener]]").count() > 1)
    }

    /// A browser of [`USER`], signed in.
    pub async fn signed_in<'a>(&'a self, gateway: &'a Gateway) -> Browser<'a> {
        let mut browser = self.browser(gateway).await;
        browser.sign_in(USER).await;
        browser
    }
}

/// One browser on one connection, with at most one cookie.
pub struct Browser<'a> {
    client: Client,
    reach: Reach,
    /// `name=value`.
    pub cookie: Option<String>,
    name: &'a str,
}

impl Browser<'_> {
    /// The name or address that it uses.
    pub fn host(&self) -> &'static str {
        match self.reach {
            Reach::Https(host) | Reach::Http(host) | Reach::Balancer(host) => host,
        }
    }

    /// A script's GET.
    pub async fn get(&mut self, target: &str) -> Response {
        self.send("GET", target, &["Accept: application/json"], "").await
    }

    /// A script's POST of JSON.
    pub async fn post(&mut self, target: &str, body: &serde_json::Value) -> Response {
        let lines = ["Accept: application/json", "Content-Type: application/json"];
        self.send("POST", target, &lines, &body.to_string()).await
    }

    /// A request with these lines, the cookie, and what a balancer adds; keeps the cookie that the answer sets.
    pub async fn send(&mut self, method: &str, target: &str, lines: &[&str], body: &str) -> Response {
        let cookie = self.cookie.as_ref().map(|pair| format!("Cookie: {pair}"));
        let mut all = lines.to_vec();
        all.extend(cookie.as_deref());
        if !lines.iter().any(|line| line.starts_with("Origin:")) {
            all.push("Sec-Fetch-Site: same-origin");
        }
        if matches!(self.reach, Reach::Balancer(_)) {
            all.extend(["X-Forwarded-Proto: https", "X-Forwarded-For: 203.0.113.9"]);
        }
        let host = self.host();
        let answer = self.client.request(method, host, target, &all, body.as_bytes()).await;
        if let Some(pair) = answer.cookie(self.name) {
            self.cookie = Some(pair);
        }
        answer
    }

    /// The connection, to go on reading from a stream.
    pub fn stream(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Opens a stream; what the application sends is to be read from the connection.
    pub async fn open(&mut self, target: &str) -> &mut Client {
        let cookie = format!("Cookie: {}", self.cookie.as_deref().unwrap_or("none="));
        let mut lines = vec![cookie.as_str(), "Accept: text/event-stream"];
        if matches!(self.reach, Reach::Balancer(_)) {
            lines.extend(["X-Forwarded-Proto: https", "X-Forwarded-For: 203.0.113.9"]);
        }
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: {}\r\n{}\r\n\r\n",
            self.host(),
            lines.join("\r\n")
        );
        self.client.send(head.as_bytes()).await;
        let answer = self.client.head().await;
        assert_eq!(answer.status, 200, "{target}: {:?}", answer.headers);
        &mut self.client
    }

    /// Signs in with [`PASSWORD`]; the `Set-Cookie` line.
    pub async fn sign_in(&mut self, user: &str) -> String {
        let body = serde_json::json!({ "username": user, "password": PASSWORD });
        let answer = self.post("/.portcullis/login", &body).await;
        assert_eq!(answer.status, 200, "log-in as {user}: {}", answer.text());
        let start = format!("{}=", self.name);
        let lines = answer.values("set-cookie").into_iter();
        let mut ours = lines.filter(|line| line.starts_with(&start));
        let line = ours.next().expect("a session cookie is set").to_owned();
        assert_eq!(ours.next(), None, "one cookie, once");
        line
    }

    /// Signs out.
    pub async fn sign_out(&mut self) -> Response {
        let answer = self.post("/.portcullis/logout", &serde_json::json!({})).await;
        assert!(answer.status < 400, "log-out: {} {}", answer.status, answer.text());
        answer
    }

    /// Asks until the answer has this status.
    pub async fn until(&mut self, target: &str, status: u16) -> Response {
        let started = Instant::now();
        loop {
            let answer = self.get(target).await;
            if answer.status == status {
                return answer;
            }
            assert!(started.elapsed() < PATIENCE, "{target}: still {}", answer.status);
            pause();
        }
    }
}

/// The attributes of a `Set-Cookie` line, sorted, without name and value.
pub fn attributes(line: &str) -> Vec<&str> {
    let mut attributes: Vec<_> = line.split("; ").skip(1).collect();
    attributes.sort_unstable();
    attributes
}

/// A leaf for every name and address that the tests use, in `folder`; the PEM of its authority.
fn certificates(folder: &Path) -> String {
    let ca_key = KeyPair::generate().expect("a key");
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = ca.self_signed(&ca_key).expect("an authority");
    let names = [HOST, "api.example.com", "tools.internal.example", "127.0.0.1"].map(str::to_owned);
    let key = KeyPair::generate().expect("a key");
    let leaf = CertificateParams::new(names).expect("names");
    let leaf = leaf
        .signed_by(&key, &Issuer::from_params(&ca, &ca_key))
        .expect("a leaf");
    std::fs::write(folder.join("leaf.pem"), leaf.pem()).expect("the certificate is written");
    std::fs::write(folder.join("leaf.key"), key.serialize_pem()).expect("the key is written");
    authority.pem()
}
