//! The document of the operators' API held against the API: Schemathesis makes requests out of the one, good and bad ones
//! and chains of them, and checks every answer of the other.

use crate::python;
use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::postgres::Postgres;
use crate::support::upstream::Upstream;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const TOKEN: &str = "0123456789abcdef-admin-token-0123456789abcdef";
const PASSWORD: &str = "correct horse battery staple";
const COOKIE: &str = "portcullis-test";
/// Members whose own session must outlive the run: named so that lists by name end with them.
const MEMBER: &str = "zzzz-member";
const ADMIN: &str = "/.portcullis/admin";
/// Requests of a kind for each operation, where a generator would go on for ever.
const EXAMPLES: &str = "40";
const PATIENCE: Duration = Duration::from_mins(5);

/// What the document cannot say, and nothing else: each operation where a request may be well-formed and is refused with
/// 400 all the same. A paging token must be one that was given out, a password none of the most common ones, an e-mail
/// address and a name without look-alikes, a session's data small and without U+0000; and sessions end either of a user
/// or of everybody.
const WELL_FORMED_AND_REFUSED: &[&str] = &[
    "listUsers",
    "addUser",
    "changeUser",
    "listSessionsOfUser",
    "listSessions",
    "changeSession",
    "endSessions",
    "listBans",
    "listEvents",
];

/// A gateway that people use while its operators' API is tried.
struct Place {
    gateway: Gateway,
    _app: Upstream,
}

impl Place {
    fn start(top: &str) -> Self {
        let app = Upstream::hello();
        let config = format!(
            r#"{top}
[session]
cookie = "{COOKIE}"
secure = "auto"
secrets = ["0123456789abcdef0123456789abcdef"]

[portal]
unsafe_plain_login = true

[throttle]
account = "3/10m"
address = "100000/10m"

[log]
format = "json"

[[listener]]
address = "127.0.0.1:0"

[admin]
address = "127.0.0.1:0"
token = "{TOKEN}"
group = "admins"

[[upstream]]
name = "app"
servers = ["{}"]

[[route]]
name = "all"
upstream = "app"
"#,
            app.url()
        );
        Self {
            gateway: Gateway::start(&config),
            _app: app,
        }
    }

    fn host(&self) -> String {
        self.gateway.address(0).to_string()
    }

    async fn ask(&self, method: &str, target: &str, body: Option<Value>) -> Value {
        let bearer = format!("Authorization: Bearer {TOKEN}");
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let lines = [bearer.as_str(), "Content-Type: application/json"];
        let mut client = Client::plain(self.gateway.admin()).await;
        let answer = client
            .request(method, "localhost", target, &lines, body.as_bytes())
            .await;
        assert!(
            matches!(answer.status, 200 | 201),
            "{method} {target}: {}",
            answer.text()
        );
        answer.json()
    }

    /// Adds a user; the key.
    async fn add(&self, name: &str, groups: &[&str]) -> String {
        let new = json!({ "username": name, "password": PASSWORD, "groups": groups });
        let added = self.ask("POST", "/api/users", Some(new)).await;
        added["id"].as_str().expect("a key").to_owned()
    }

    /// The document with examples of what is there, so that each operation is carried out whatever is made up besides.
    async fn with_examples(&self, mut document: Value) -> Value {
        for (id, path, method) in [
            ("showUser", "/users/{id}", "get"),
            ("changeUser", "/users/{id}", "patch"),
            ("deleteUser", "/users/{id}", "delete"),
            ("listSessionsOfUser", "/users/{id}/sessions", "get"),
            ("showSession", "/sessions/{id}", "get"),
            ("changeSession", "/sessions/{id}", "patch"),
            ("endSession", "/sessions/{id}", "delete"),
            ("liftBan", "/bans/{who}", "delete"),
        ] {
            let name = format!("example.{}", id.to_lowercase());
            let user = self.add(&name, &[]).await;
            self.log_in(&name, PASSWORD).await.expect("a cookie");
            let example = match path {
                "/sessions/{id}" => {
                    let list = self.ask("GET", &format!("/api/sessions?user={name}"), None).await;
                    list["items"][0]["public_id"].clone()
                }
                "/bans/{who}" => {
                    self.mistype(&name).await;
                    json!(name)
                }
                _ => json!(user),
            };
            let mut parameter = document["paths"][path]["parameters"][0].clone();
            parameter["example"] = example;
            let operation = &mut document["paths"][path][method];
            assert_eq!(operation["operationId"], id);
            match operation["parameters"].as_array_mut() {
                Some(parameters) => parameters.push(parameter),
                None => operation["parameters"] = json!([parameter]),
            }
        }
        for (path, method, example) in [
            ("/users", "post", json!({ "username": "example.new" })),
            ("/users/{id}", "patch", json!({ "name": "Ada" })),
            ("/sessions/{id}", "patch", json!({ "data": { "theme": "dark" } })),
        ] {
            document["paths"][path][method]["requestBody"]["content"]["application/json"]["example"] = example;
        }
        document
    }

    async fn mistype(&self, name: &str) {
        for _ in 0..4 {
            self.log_in(name, "mistyped").await;
        }
    }

    async fn log_in(&self, name: &str, password: &str) -> Option<String> {
        let body = json!({ "username": name, "password": password }).to_string();
        let lines = ["Content-Type: application/json", "Sec-Fetch-Site: same-origin"];
        let mut client = Client::plain(self.gateway.address(0)).await;
        let answer = client
            .request("POST", &self.host(), "/.portcullis/login", &lines, body.as_bytes())
            .await;
        answer.cookie(COOKIE)
    }

    /// Somebody new, who signs in and then mistypes until they are banned.
    async fn visit(&self, number: usize) {
        let name = format!("visitor{number}");
        self.add(&name, &["visitors"]).await;
        // A run may have disabled or deleted them by now.
        self.log_in(&name, PASSWORD).await;
        self.mistype(&name).await;
    }

    /// The outcome of `run`, while people come and go: what one operation ends is there for the next.
    async fn while_people_come(&self, run: Run) -> Ran {
        let visitors = async {
            for number in 0.. {
                self.visit(number).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            ran = run.ended() => ran,
            () = visitors => unreachable!("visitors never end"),
        }
    }

    /// Which operations of `document` (by id) the gateway answered with their own success, by its access log.
    fn carried_out(&self, base: &str, document: &Value) -> BTreeSet<String> {
        let log = self.gateway.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let requests: Vec<(String, String, u64)> = lines
            .filter_map(|line| {
                let path = line["path"].as_str()?.strip_prefix(base)?.to_owned();
                Some((line["method"].as_str()?.to_lowercase(), path, line["status"].as_u64()?))
            })
            .collect();
        let of = |method: &str, path: &str| {
            requests
                .iter()
                .filter(|(m, p, _)| m == method && is_of(path, p))
                .map(|(_, _, status)| *status)
                .collect::<Vec<_>>()
        };
        operations(document)
            .filter(|(path, method, operation)| {
                let success =
                    |status: &u64| *status < 300 && operation["responses"].get(status.to_string().as_str()).is_some();
                of(method, path).iter().any(success)
            })
            .map(|(_, _, operation)| operation["operationId"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// Whether `path` is one of the template, as in `/users/{id}`.
fn is_of(template: &str, path: &str) -> bool {
    let (wanted, found): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    let same = |(wanted, found): (&&str, &&str)| wanted.starts_with('{') || wanted == found;
    wanted.len() == found.len() && wanted.iter().zip(&found).all(same)
}

/// Path, method and description.
fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths.flat_map(|(path, item)| {
        let methods = item
            .as_object()
            .unwrap()
            .iter()
            .filter(|(name, _)| *name != "parameters");
        methods.map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}

fn ids(document: &Value) -> BTreeSet<String> {
    operations(document)
        .map(|(_, _, operation)| operation["operationId"].as_str().unwrap().to_owned())
        .collect()
}

fn settings(more: &str) -> String {
    let ids = serde_json::to_string(WELL_FORMED_AND_REFUSED).unwrap();
    format!(
        r#"[[operations]]
include-operation-id = {ids}
checks.positive_data_acceptance.expected-statuses = ["2xx", 400, 401, 403, 404, 409, 415, 429]
{more}"#
    )
}

/// Schemathesis under way; killed when dropped.
struct Run {
    child: Child,
    folder: tempfile::TempDir,
}

/// How it ended, and what it said.
struct Ran {
    flawless: bool,
    told: String,
}

impl Run {
    /// On the API at `base`, with the same requests each time.
    fn start(base: &str, document: &Value, more: &[&str], settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("openapi.json");
        std::fs::write(&file, document.to_string()).unwrap();
        std::fs::write(folder.path().join("schemathesis.toml"), settings).unwrap();
        let told = File::create(folder.path().join("told")).unwrap();
        let child = Command::new(python::program("schemathesis"))
            .arg("run")
            .arg(&file)
            .args([
                "--url",
                base,
                "--generation-database",
                "none",
                "--continue-on-failure",
                "--no-color",
            ])
            .args(more)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stderr(told.try_clone().unwrap())
            .stdout(told)
            .spawn()
            .expect("Schemathesis starts");
        Self { child, folder }
    }

    async fn ended(mut self) -> Ran {
        let ended = tokio::time::timeout(PATIENCE, async {
            loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status.success();
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        let ended = ended.await;
        let told = std::fs::read_to_string(self.folder.path().join("told")).unwrap();
        Ran {
            flawless: ended.unwrap_or_else(|_| panic!("not finished in {PATIENCE:?}: {told}")),
            told,
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn assert_flawless(run: &Ran, gateway: &Gateway, tried: usize) {
    assert!(run.flawless, "{}", run.told);
    assert!(run.told.contains(&format!("Tested: {tried}\n")), "{}", run.told);
    let log = gateway.log();
    assert!(!log.contains("panicked"), "{log}");
}

fn all_but(document: &Value, left_out: &[&str]) -> BTreeSet<String> {
    let mut all = ids(document);
    for id in left_out {
        assert!(all.remove(*id), "{id} is not in the document");
    }
    all
}

async fn with_the_token(top: &str, seed: &str) {
    let place = Place::start(top);
    let document = place.ask("GET", "/api/openapi.json", None).await;
    let document = place.with_examples(document).await;
    let base = format!("http://{}/api", place.gateway.admin());
    let header = format!("Authorization: Bearer {TOKEN}");
    let more = [
        "--header",
        &header,
        "--seed",
        seed,
        "--max-examples",
        EXAMPLES,
        "--checks",
        "all",
    ];
    let run = Run::start(&base, &document, &more, &settings(""));
    let run = place.while_people_come(run).await;
    let carried_out = place.carried_out("/api", &document);
    assert_flawless(&run, &place.gateway, ids(&document).len());
    assert_eq!(carried_out, ids(&document), "{}", run.told);
}

#[tokio::test]
async fn programs_with_the_token_are_answered_as_the_document_says_on_sqlite() {
    with_the_token("", "1").await;
}

#[tokio::test]
async fn programs_with_the_token_are_answered_as_the_document_says_on_postgres() {
    let url = Postgres::shared().database();
    with_the_token(&format!("[store]\nurl = \"{url}\"\n"), "2").await;
}

#[tokio::test]
async fn members_are_answered_as_their_document_says() {
    let place = Place::start("");
    place.add(MEMBER, &["admins"]).await;
    let cookie = place.log_in(MEMBER, PASSWORD).await.expect("a cookie");
    let line = format!("Cookie: {cookie}");
    let mut client = Client::plain(place.gateway.address(0)).await;
    let document = client
        .get(&place.host(), &format!("{ADMIN}/openapi.json"), &[&line])
        .await;
    let document = place.with_examples(document.json()).await;
    let scheme = &document["components"]["securitySchemes"]["session"];
    assert_eq!(*scheme, json!({ "type": "apiKey", "in": "cookie", "name": COOKIE }));
    let base = format!("http://{}{ADMIN}", place.host());
    let value = cookie.split_once('=').expect("name=value").1;
    // The two that are left out would end the session that the run lives on: of everybody, or the newest in a list.
    let settings = settings(&format!(
        "[[operations]]\ninclude-operation-id = [\"endSessions\", \"endSession\"]\nenabled = false\n\
         [auth.openapi.session]\napi_key = \"{value}\"\n"
    ));
    // What a page's own script sends.
    let script = [
        "--header",
        "Sec-Fetch-Site: same-origin",
        "--header",
        "Sec-Fetch-Mode: cors",
    ];
    let more = [
        &script[..],
        &["--seed", "3", "--max-examples", EXAMPLES, "--checks", "all"],
    ]
    .concat();
    let run = Run::start(&base, &document, &more, &settings);
    let run = place.while_people_come(run).await;
    let carried_out = place.carried_out(ADMIN, &document);
    assert_flawless(&run, &place.gateway, ids(&document).len() - 2);
    let expected = all_but(&document, &["endSessions", "endSession"]);
    assert_eq!(carried_out, expected, "{}", run.told);
}

#[tokio::test]
async fn who_proves_nothing_is_refused_as_the_document_says_and_changes_nothing() {
    let place = Place::start("");
    place.visit(0).await;
    let document = place.ask("GET", "/api/openapi.json", None).await;
    // By command: this address is banned afterwards.
    let kept = || ["user", "session"].map(|what| place.gateway.command(&[what, "list", "--json"], "").stdout);
    let before = kept();
    let base = format!("http://{}/api", place.gateway.admin());
    // Whatever they send is refused, so that it is no question whether what is well-formed is accepted.
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
                  response_schema_conformance";
    let header = format!("Authorization: Bearer {}", TOKEN.replace("admin", "wrong"));
    let more = [
        "--header",
        &header,
        "--seed",
        "4",
        "--max-examples",
        "10",
        "--checks",
        checks,
    ];
    let run = Run::start(&base, &document, &more, "").ended().await;
    assert_flawless(&run, &place.gateway, ids(&document).len());
    // What this test itself asked for with the right token.
    let own = BTreeSet::from(["addUser", "document"].map(str::to_owned));
    assert_eq!(place.carried_out("/api", &document), own);
    let after = kept();
    assert!(before.iter().all(|list| !list.is_empty()));
    assert_eq!(before, after, "users and sessions");
}
