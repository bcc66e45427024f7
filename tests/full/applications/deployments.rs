//! The configurations for applications that keep their own sessions, each started from the very file that is shipped, in
//! front of the real library as that deployment has it.

use super::*;
use crate::support::gateway::PROGRAM;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use tempfile::TempDir;

const HOUR: u64 = 3_600_000;
/// Whose administration ends sessions of the application.
const ENDS: &str = "separate-front-end-legacy";
const OURS: &str = "for tests only, and long enough for a secret";

/// How browsers come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Tls,
    Plain,
    Balancer,
}

/// A deployment as its users find it.
struct Deployment {
    file: &'static str,
    source: &'static str,
    host: &'static str,
    reach: Reach,
    /// Where people sign in and out, and see who they are.
    paths: [&'static str; 3],
    program: &'static str,
    settings: Value,
}

/// Its gateway's surroundings.
struct Running {
    deployment: Deployment,
    data: Data,
    app: Program,
    folder: Arc<TempDir>,
    ca: String,
}

impl Running {
    fn new(deployment: Deployment) -> Self {
        let data = Data::in_zone("America/New_York");
        let mut settings = deployment.settings.clone();
        settings["database"] = data.url.as_str().into();
        // Our tables of the same names stand in a schema that is called as the tests' role.
        settings["options"] = "-c search_path=public".into();
        settings["secret"] = "keyboard cat".into();
        let app = Program::node(deployment.program, &settings);
        let folder = Arc::new(tempfile::tempdir().expect("a temporary folder"));
        let ca = certificates(folder.path(), deployment.host);
        Self {
            deployment,
            data,
            app,
            folder,
            ca,
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let (path, server) = (self.folder.path(), Postgres::shared());
        let root = env!("CARGO_MANIFEST_DIR");
        let file = format!("{root}/config/examples/{}.toml", self.deployment.file);
        let name = self.data.url.rsplit('/').next().expect("a name");
        let mut command = Command::new(PROGRAM);
        command
            .current_dir(path)
            .args(arguments)
            .args(["--config", &file])
            .env_clear()
            .envs([
                ("APP_URL", format!("http://{}", self.app.address())),
                ("HTTPS_ADDRESS", "127.0.0.1:0".to_owned()),
                ("HTTP_ADDRESS", "127.0.0.1:0".to_owned()),
                ("PORT", "0".to_owned()),
                ("TLS_CHAIN", path.join("leaf.pem").display().to_string()),
                ("TLS_KEY", path.join("leaf.key").display().to_string()),
                ("SESSION_SECRET", "keyboard cat".to_owned()),
                ("GATEWAY_SECRET", OURS.to_owned()),
                ("ADMIN_TOKEN", "for-tests-only-and-long-enough-for-a-token".to_owned()),
                ("DATABASE_URL", self.data.url.clone()),
                ("READER_URL", self.data.reader.clone()),
                ("READER", format!("reader_{name}")),
                ("DB_PORT", server.port().to_string()),
                ("DB_NAME", name.to_owned()),
                ("TOOLS_NAME", self.deployment.host.to_owned()),
                ("PORTCULLIS_DATA_DIR", path.join("data").display().to_string()),
                ("PORTCULLIS_ADMIN_ADDRESS", "127.0.0.1:0".to_owned()),
                ("PORTCULLIS_LIFE_DRAIN_DELAY", "0s".to_owned()),
            ]);
        if self.deployment.reach == Reach::Balancer {
            command.env("PORTCULLIS_TRUST_PROXIES", "127.0.0.1/32");
        }
        command
    }

    fn start(&self) -> Gateway {
        Gateway::spawn(self.command(&["run", "--json"]), &self.folder)
            .unwrap_or_else(|end| panic!("the gateway ended with {:?}:\n{}", end.code, end.stderr))
    }

    async fn ask(&self, gateway: &Gateway, cookie: &mut Option<String>, method: &str, target: &str) -> Response {
        let (host, reach) = (self.deployment.host, self.deployment.reach);
        let listeners = gateway.ready()["listeners"].as_array().map_or(0, Vec::len);
        let mut client = match reach {
            Reach::Tls => Client::tls(gateway.address(0), host, &self.ca).await,
            Reach::Plain | Reach::Balancer => Client::plain(gateway.address(listeners - 1)).await,
        };
        let mut lines = vec!["Accept: application/json", "Sec-Fetch-Site: same-origin"];
        if reach == Reach::Balancer {
            lines.extend(["X-Forwarded-Proto: https", "X-Forwarded-For: 203.0.113.9"]);
        }
        let line = cookie.as_ref().map(|pair| format!("Cookie: {pair}"));
        lines.extend(line.as_deref());
        let answer = client.request(method, host, target, &lines, b"").await;
        if let Some(line) = answer.values("set-cookie").first() {
            *cookie = line.split(';').next().map(str::to_owned);
        }
        answer
    }

    /// Whom the application takes the cookie's holder for, and whom the gateway told it of.
    async fn told(&self, gateway: &Gateway, cookie: &mut Option<String>) -> [Value; 2] {
        let answer = self.ask(gateway, cookie, "GET", self.deployment.paths[2]).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let said = answer.json();
        [said["user"].clone(), said["told"].clone()]
    }
}

/// By command: over in the application, too.
async fn ends_a_user(running: &Running, gateway: &Gateway, cookie: &mut Option<String>) {
    let user = format!("{}:1", running.deployment.source);
    let ended = running.command(&["session", "end", "--user", &user]).output();
    let ended = ended.expect("the program starts");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let since = Instant::now();
    while running.told(gateway, cookie).await != [Value::Null, Value::Null] {
        assert!(since.elapsed() < BOUND, "{}", gateway.log());
        pause();
    }
}

/// Signed in by the application's own code, known here, through a kill of the gateway, until the application says bye.
async fn goes_as_the_file_says(deployment: Deployment) {
    let running = Running::new(deployment);
    let migrated = running.command(&["migrate"]).output().expect("the program starts");
    assert!(
        migrated.status.success(),
        "{}",
        String::from_utf8_lossy(&migrated.stderr)
    );
    let (file, paths) = (running.deployment.file, running.deployment.paths);
    let ends = file == ENDS;
    if ends {
        // As the head of the file says.
        running.data.let_end();
    }
    let gateway = running.start();
    let mut cookie = None;
    assert_eq!(
        running.told(&gateway, &mut cookie).await,
        [Value::Null, Value::Null],
        "{file}"
    );
    let answer = running.ask(&gateway, &mut cookie, "POST", paths[0]).await;
    assert_eq!(answer.status, 204, "{file}: {}", answer.text());
    let known = [json!("1"), json!(format!("{}:1", running.deployment.source))];
    assert_eq!(running.told(&gateway, &mut cookie).await, known, "{file}");

    let mut check = running.command(&["source", "check", running.deployment.source, "--cookie-stdin"]);
    let mut check = check
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let pair = cookie.clone().expect("a cookie");
    std::io::Write::write_all(&mut check.stdin.take().expect("it is piped"), pair.as_bytes()).expect("it reads");
    let output = check.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && !said.contains("FAULT"), "{file}: {said}");
    assert!(said.contains("the cookie is that of"), "{file}: {said}");

    if ends {
        ends_a_user(&running, &gateway, &mut cookie).await;
        let answer = running.ask(&gateway, &mut cookie, "POST", paths[0]).await;
        assert_eq!(answer.status, 204, "{file}: {}", answer.text());
    }
    let pair = cookie.clone().expect("a cookie");
    gateway.signal("KILL");
    gateway.ended();
    let gateway = running.start();
    assert_eq!(
        running.told(&gateway, &mut cookie).await,
        known,
        "{file}: after kill -9"
    );
    let answer = running.ask(&gateway, &mut cookie, "POST", paths[1]).await;
    assert_eq!(answer.status, 204, "{file}: {}", answer.text());
    // A browser that keeps what it should forget: only the row can end its access.
    let mut kept = Some(pair);
    assert_eq!(
        running.told(&gateway, &mut kept).await,
        [Value::Null, Value::Null],
        "{file}"
    );
}

fn express(file: &'static str, source: &'static str, host: &'static str, reach: Reach, settings: Value) -> Deployment {
    Deployment {
        file,
        source,
        host,
        reach,
        paths: ["/login?user=1", "/logout", "/"],
        program: "express.mjs",
        settings,
    }
}

#[tokio::test]
async fn a_fixed_week_of_passports_sessions() {
    let cookie = json!({ "maxAge": 168 * HOUR, "sameSite": "lax", "secure": true });
    let settings = json!({ "resave": false, "passport": true, "trust_proxy": true, "cookie": cookie });
    let deployment = express("fixed-week-legacy", "app", "app.example.com", Reach::Tls, settings);
    goes_as_the_file_says(deployment).await;
}

#[tokio::test]
async fn a_working_day_of_rolling_sessions() {
    let cookie = json!({ "maxAge": 12 * HOUR, "sameSite": "strict", "secure": true });
    let settings = json!({ "name": "nestmap.sid", "resave": false, "rolling": true, "proxy": true, "cookie": cookie });
    let deployment = express(
        "working-day-legacy",
        "app",
        "app.example.com",
        Reach::Balancer,
        settings,
    );
    goes_as_the_file_says(deployment).await;
}

#[tokio::test]
async fn an_intranet_with_sessions_in_a_schema_of_their_own() {
    let cookie = json!({ "maxAge": 24 * HOUR, "sameSite": "lax", "secure": false });
    let settings = json!({ "schema": "schema_system", "resave": true, "trust_proxy": true, "cookie": cookie });
    let deployment = express(
        "intranet-legacy",
        "tools",
        "tools.internal.example",
        Reach::Plain,
        settings,
    );
    goes_as_the_file_says(deployment).await;
}

#[tokio::test]
async fn an_offline_application_with_ids_and_notes_of_its_own() {
    let cookie = json!({ "maxAge": 72 * HOUR, "sameSite": "strict", "secure": true });
    let settings = json!({
        "table": "sessions", "prefix": "aiq", "rolling": true, "notes": true, "ttl": 3 * 86_400, "trust_proxy": true,
        "cookie": cookie,
    });
    let deployment = express("offline-app-legacy", "app", "app.example.com", Reach::Tls, settings);
    goes_as_the_file_says(deployment).await;
}

#[tokio::test]
async fn an_api_with_a_table_of_its_own() {
    let deployment = Deployment {
        file: "separate-front-end-legacy",
        source: "api",
        host: "api.example.com",
        reach: Reach::Balancer,
        paths: ["/api/auth/login?user=1", "/api/auth/logout", "/api/auth/me"],
        program: "plain.mjs",
        settings: json!({}),
    };
    goes_as_the_file_says(deployment).await;
}

/// A leaf for the host in `folder`; the PEM of its authority.
fn certificates(folder: &Path, host: &str) -> String {
    let ca_key = KeyPair::generate().expect("a key");
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = ca.self_signed(&ca_key).expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let leaf = CertificateParams::new([host.to_owned()]).expect("a name");
    let leaf = leaf
        .signed_by(&key, &Issuer::from_params(&ca, &ca_key))
        .expect("a leaf");
    std::fs::write(folder.join("leaf.pem"), leaf.pem()).expect("the certificate is written");
    std::fs::write(folder.join("leaf.key"), key.serialize_pem()).expect("the key is written");
    authority.pem()
}
