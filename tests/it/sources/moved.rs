//! An application goes over to the gateway's log-in, and nobody who is signed in has to sign in again.

mod whom;

use super::*;
use crate::support::client::{Client, Response};
use crate::support::gateway::{Gateway, PATIENCE, pause, portcullis};
use crate::support::stage::{PASSWORD, config};
use crate::support::upstream::Upstream;
use serde_json::Value;
use std::process::Output;
use std::sync::Arc;
use std::time::Instant;
use tempfile::TempDir;

const ADA: &str = r#"{"cookie":{},"passport":{"user":42},"roles":["staff"]}"#;
/// Whom the application is told of.
const HERE: Option<&str> = Some("ada");
const VISITOR: &str = r#"{"cookie":{}}"#;
const KEY: &str = "[session]\nsecrets = [\"0123456789abcdef0123456789abcdef\"]\n";
const MAPPED: &str = "user_map = { \"42\" = \"ada\", \"9\" = \"root\", \"5\" = \"gone\" }\n";

/// An application with a table of its own, and a gateway beside it that can be started with other configurations.
struct Move {
    app: Upstream,
    folder: Arc<TempDir>,
    database: String,
    store: String,
}

impl Move {
    /// Over SQLite, or over Postgres.
    fn on(postgres: bool) -> Self {
        let server = Postgres::shared();
        let database = server.database();
        server.sql(&database, TABLE);
        let store = if postgres {
            format!("[store]\nurl = \"{}\"\n", server.database())
        } else {
            String::new()
        };
        Self {
            app: Upstream::start(|_| Reply::text("hello")),
            folder: Arc::new(tempfile::tempdir().expect("a temporary folder")),
            database,
            store,
        }
    }

    fn config(&self, more: &str) -> String {
        let top = format!("{}{KEY}", self.store);
        let admin = "\n[[route]]\nname = \"rules\"\nhost = \"app.example.test\"\npath = \"/native\"\nupstream = \"app\"\n\
                     access = \"optional\"\n";
        let routes = format!("{ROUTES}{admin}\n{}", source(&self.database, more));
        let text = config(&top, &routes, &self.app.url());
        text.replace("[admin]\n", "[admin]\ngroup = \"admins\"\n")
    }

    /// A gateway with more keys of the source.
    fn start(&self, more: &str) -> Gateway {
        Gateway::try_start_in(&self.folder, &self.config(more), &[])
            .unwrap_or_else(|end| panic!("the gateway ended with {:?}:\n{}", end.code, end.stderr))
    }

    /// Before the move, with the users who are here.
    fn before(&self) -> Gateway {
        let gateway = self.start(MAPPED);
        gateway.add_user("ada", PASSWORD, &["users"]);
        gateway.add_user("root", PASSWORD, &["admins"]);
        gateway
    }

    fn moved(&self) -> Gateway {
        self.start(&format!("{MAPPED}moved = true\n"))
    }

    fn sql(&self, sql: &str) -> String {
        Postgres::shared().sql(&self.database, sql)
    }

    fn row(&self, sid: &str, sess: &str, lives: &str) {
        self.sql(&format!(
            "INSERT INTO session VALUES ('{sid}', '{sess}', now() AT TIME ZONE 'UTC' + interval '{lives}')"
        ));
    }

    fn run(&self, more: &[&str]) -> Output {
        let mut args = vec![
            "session",
            "import",
            "--source",
            "crm",
            "--json",
            "--config",
            "portcullis.toml",
        ];
        args.extend(more);
        portcullis(self.folder.path(), &args, "")
    }

    /// What a run of the import says.
    fn import(&self, more: &[&str]) -> Value {
        let output = self.run(more);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        serde_json::from_slice(&output.stdout).expect("a report")
    }

    /// Whom the application is told of with these cookies, or the status that the gateway answers.
    async fn told(&self, gateway: &Gateway, target: &str, cookies: &str) -> Result<Option<String>, u16> {
        self.app.forget();
        let mut client = client(gateway).await;
        let headers = [&*format!("Cookie: {cookies}"), "Accept: application/json"];
        let answer = client.get(HOST, target, &headers).await;
        match (answer.status, self.app.requests().pop()) {
            (200, Some(told)) => Ok(told.values("x-forwarded-user").pop()),
            (status, _) => Err(status),
        }
    }

    async fn knows(&self, gateway: &Gateway, cookies: &str) -> Option<String> {
        self.told(gateway, "/", cookies).await.expect("it is forwarded")
    }
}

async fn client(gateway: &Gateway) -> Client {
    Client::tls(gateway.address(0), HOST, &gateway.ca()).await
}

/// A request of a page of the site itself.
async fn ask(gateway: &Gateway, method: &str, target: &str, cookies: &str) -> Response {
    let cookie = format!("Cookie: {cookies}");
    let headers = [&*cookie, "Accept: application/json", "Sec-Fetch-Site: same-origin"];
    client(gateway).await.request(method, HOST, target, &headers, b"").await
}

async fn whoever_was_signed_in_stays_so(postgres: bool) {
    let scene = Move::on(postgres);
    scene.row("one", ADA, "1 hour");
    scene.row("two", ADA, "2 hours");
    scene.row("visitor", VISITOR, "1 hour");
    scene.row("over", ADA, "-1 second");
    scene.row("stranger", r#"{"cookie":{},"passport":{"user":7}}"#, "1 hour");
    scene.row("root", r#"{"cookie":{},"passport":{"user":9}}"#, "1 hour");
    scene.row("gone", r#"{"cookie":{},"passport":{"user":5}}"#, "1 hour");
    let gateway = scene.before();
    // Both are accepted in the meantime, and they are one person.
    assert_eq!(scene.knows(&gateway, &signed("one")).await.as_deref(), HERE);
    let native = client(&gateway).await.sign_in(HOST, "ada", PASSWORD).await;
    assert_eq!(
        scene
            .knows(&gateway, &format!("{native}; {}", signed("one")))
            .await
            .as_deref(),
        HERE
    );

    let dry = scene.import(&["--dry-run"]);
    assert_eq!((&dry["read"], &dry["copied"]), (&7.into(), &2.into()), "{dry}");
    let report = scene.import(&[]);
    assert_eq!(report["copied"], 2, "a dry run changed something: {report}");
    let left = serde_json::json!({ "over": 1, "no_user": 1, "unknown_user": 2, "administrator": 1 });
    assert_eq!(report["left"], left);
    // The same again copies nothing twice.
    let again = scene.import(&[]);
    assert_eq!((&again["copied"], &again["kept"]), (&0.into(), &2.into()), "{again}");
    drop(gateway);

    let gateway = scene.moved();
    scene.sql("DROP TABLE session");
    for sid in ["one", "two"] {
        assert_eq!(scene.knows(&gateway, &signed(sid)).await.as_deref(), HERE, "{sid}");
    }
    for sid in ["visitor", "over", "stranger", "root", "gone", "never"] {
        assert_eq!(scene.knows(&gateway, &signed(sid)).await, None, "{sid}");
    }
    // The signature is checked as before, other hosts and routes do not heed the cookie, and the digest opens nothing.
    let forged = signed("one").replace("s%3Aone", "s%3Atwo");
    assert_eq!(scene.knows(&gateway, &forged).await, None);
    assert_eq!(scene.told(&gateway, "/native", &signed("one")).await, Ok(None));
    let me = ask(&gateway, "GET", "/.portcullis/me", &signed("one")).await;
    assert_eq!((me.status, &me.json()["username"]), (200, &"ada".into()));
    let admin = ask(&gateway, "GET", "/.portcullis/admin/api/users", &signed("one")).await;
    assert!([401, 403, 404].contains(&admin.status), "{}", admin.status);

    log_out_and_log_in(&scene, &gateway).await;
    // Without a table there is nothing to copy, and it says so.
    let output = scene.run(&[]);
    assert_eq!(output.status.code(), Some(1));
}

/// The copies `one` and `two` of ada end by each.
async fn log_out_and_log_in(scene: &Move, gateway: &Gateway) {
    // A log-out logs out, and takes the old cookie.
    let out = ask(gateway, "POST", "/.portcullis/logout", &signed("one")).await;
    assert_eq!(out.status, 204, "{}", out.text());
    let cleared = out.values("set-cookie");
    let is_clear = |line: &&&str| line.starts_with("connect.sid=;") && line.contains("Max-Age=0");
    assert!(cleared.iter().any(|line| is_clear(&line)), "{cleared:?}");
    assert_eq!(scene.knows(gateway, &signed("one")).await, None);
    assert_eq!(scene.knows(gateway, &signed("two")).await.as_deref(), HERE);

    // A log-in takes the place of what the browser had.
    let body = format!(r#"{{"username":"ada","password":"{PASSWORD}"}}"#);
    let cookie = format!("Cookie: {}", signed("two"));
    let headers = [
        &*cookie,
        "Content-Type: application/json",
        "Sec-Fetch-Site: same-origin",
    ];
    let mut browser = client(gateway).await;
    let login = browser
        .request("POST", HOST, "/.portcullis/login", &headers, body.as_bytes())
        .await;
    assert_eq!(login.status, 200, "{}", login.text());
    assert_eq!(scene.knows(gateway, &signed("two")).await, None);
}

#[tokio::test]
async fn whoever_was_signed_in_stays_so_over_sqlite() {
    whoever_was_signed_in_stays_so(false).await;
}

#[tokio::test]
async fn whoever_was_signed_in_stays_so_over_postgres() {
    whoever_was_signed_in_stays_so(true).await;
}

#[tokio::test]
async fn what_was_ended_here_is_not_copied_again_and_ends_on_every_instance() {
    let scene = Move::on(true);
    scene.row("one", ADA, "1 hour");
    scene.row("two", ADA, "1 hour");
    let gateway = scene.before();
    assert_eq!(scene.import(&[])["copied"], 2);
    drop(gateway);
    let first = scene.moved();
    let second = scene.moved();
    for gateway in [&first, &second] {
        gateway.wait_for_log(crate::support::fleet::SEEN);
        assert_eq!(scene.knows(gateway, &signed("one")).await.as_deref(), HERE);
    }
    let out = ask(&first, "POST", "/.portcullis/logout", &signed("one")).await;
    assert_eq!(out.status, 204);
    assert_eq!(scene.knows(&first, &signed("one")).await, None);
    let started = Instant::now();
    while scene.knows(&second, &signed("one")).await.is_some() {
        assert!(started.elapsed() < PATIENCE, "the other instance goes on");
        pause();
    }
    let again = scene.import(&[]);
    assert_eq!(
        (&again["copied"], &again["left"]["ended_here"]),
        (&0.into(), &1.into()),
        "{again}"
    );
    assert_eq!(scene.knows(&first, &signed("one")).await, None);
    // A user who is disabled has no session, however they came by it.
    let done = first.command(&["user", "disable", "ada"], "");
    assert!(done.status.success());
    for gateway in [&first, &second] {
        let started = Instant::now();
        while scene.knows(gateway, &signed("two")).await.is_some() {
            assert!(started.elapsed() < PATIENCE, "a disabled user goes on");
            pause();
        }
    }
}

#[tokio::test]
async fn a_row_that_was_ended_here_and_came_back_is_not_copied() {
    let scene = Move::on(true);
    scene.row("one", ADA, "1 hour");
    scene.row("two", ADA, "1 hour");
    let ends = format!("{MAPPED}end = true\n");
    let gateway = scene.start(&ends);
    gateway.add_user("ada", PASSWORD, &["users"]);
    assert_eq!(scene.knows(&gateway, &signed("one")).await.as_deref(), HERE);
    let out = ask(&gateway, "POST", "/.portcullis/logout", &signed("one")).await;
    assert_eq!(out.status, 204, "{}", out.text());
    drop(gateway);
    // The application had read it before, and saves it again.
    scene.row("one", ADA, "1 hour");
    let report = scene.import(&[]);
    assert_eq!(
        (&report["copied"], &report["left"]["ended_here"]),
        (&1.into(), &1.into()),
        "{report}"
    );
    let gateway = scene.moved();
    assert_eq!(scene.knows(&gateway, &signed("one")).await, None);
    assert_eq!(scene.knows(&gateway, &signed("two")).await.as_deref(), HERE);
}

async fn an_end_before_the_move_is_one_of_the_copy(postgres: bool) {
    let scene = Move::on(postgres);
    for sid in ["out", "ended", "stays"] {
        scene.row(sid, ADA, "1 hour");
    }
    let gateway = scene.start(&format!("{MAPPED}end = true\n"));
    gateway.add_user("ada", PASSWORD, &["users"]);
    assert_eq!(scene.import(&[])["copied"], 3);
    let out = ask(&gateway, "POST", "/.portcullis/logout", &signed("out")).await;
    assert_eq!(out.status, 204, "{}", out.text());
    let state = ask(&gateway, "GET", "/.portcullis/session", &signed("ended")).await;
    let id = state.json()["public_id"].as_str().expect("an id").to_owned();
    let ended = gateway.command(&["session", "end", &id], "");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    drop(gateway);
    // Without another run of the import.
    let gateway = scene.moved();
    for sid in ["out", "ended"] {
        assert_eq!(scene.knows(&gateway, &signed(sid)).await, None, "{sid}");
    }
    assert_eq!(scene.knows(&gateway, &signed("stays")).await.as_deref(), HERE);
    // From here on the copy is the session, and who ends it ends what the old cookie opens.
    let state = ask(&gateway, "GET", "/.portcullis/session", &signed("stays")).await;
    let id = state.json()["public_id"].as_str().expect("an id").to_owned();
    let ended = gateway.command(&["session", "end", &id], "");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let started = Instant::now();
    while scene.knows(&gateway, &signed("stays")).await.is_some() {
        assert!(started.elapsed() < PATIENCE, "it goes on");
        pause();
    }
}

#[tokio::test]
async fn an_end_before_the_move_is_one_of_the_copy_over_sqlite() {
    an_end_before_the_move_is_one_of_the_copy(false).await;
}

#[tokio::test]
async fn an_end_before_the_move_is_one_of_the_copy_over_postgres() {
    an_end_before_the_move_is_one_of_the_copy(true).await;
}

#[tokio::test]
async fn until_the_move_the_table_decides() {
    let scene = Move::on(false);
    scene.row("stays", ADA, "1 hour");
    scene.row("leaves", ADA, "1 hour");
    scene.row("changes", ADA, "1 hour");
    let gateway = scene.before();
    gateway.add_user("bob", PASSWORD, &[]);
    assert_eq!(scene.import(&[])["copied"], 3);
    // The application logs one out, signs another user in by a cookie, and prolongs a third.
    scene.sql("DELETE FROM session WHERE sid = 'leaves'");
    scene.sql("UPDATE session SET sess = '{\"passport\":{\"user\":2}}' WHERE sid = 'changes'");
    scene.sql("UPDATE session SET expire = expire + interval '1 day' WHERE sid = 'stays'");
    drop(gateway);
    let more = MAPPED.replace(" }", ", \"2\" = \"bob\" }");
    let gateway = scene.start(&more);
    let report = scene.import(&[]);
    let counts = ["copied", "kept", "prolonged", "ended"].map(|name| report[name].as_u64().unwrap());
    assert_eq!(counts, [1, 0, 1, 1], "{report}");
    // A row that comes back is copied again: until the move its table decides.
    scene.row("leaves", ADA, "1 hour");
    assert_eq!(scene.import(&[])["copied"], 1);
    scene.sql("DELETE FROM session WHERE sid = 'leaves'");
    assert_eq!(scene.import(&[])["ended"], 1);
    drop(gateway);
    let gateway = scene.start(&format!("{more}moved = true\n"));
    assert_eq!(scene.knows(&gateway, &signed("stays")).await.as_deref(), HERE);
    assert_eq!(scene.knows(&gateway, &signed("changes")).await.as_deref(), Some("bob"));
    assert_eq!(scene.knows(&gateway, &signed("leaves")).await, None);
    let state = ask(&gateway, "GET", "/.portcullis/session", &signed("stays"))
        .await
        .json();
    assert!(state["seconds_left"].as_u64() > Some(86_400), "{state}");
    // After it, rows that go away end nobody's session, unless that is asked for.
    scene.sql("DELETE FROM session");
    assert_eq!(scene.import(&[])["ended"], 0);
    assert_eq!(scene.knows(&gateway, &signed("stays")).await.as_deref(), HERE);
    assert_eq!(scene.import(&["--end-missing"])["ended"], 2);
    let started = Instant::now();
    while scene.knows(&gateway, &signed("stays")).await.is_some() {
        assert!(started.elapsed() < PATIENCE, "it goes on");
        pause();
    }
}

#[tokio::test]
async fn an_application_that_lost_its_table_signs_nobody_out_by_giving_a_new_cookie() {
    let mut scene = Move::on(false);
    scene.app = Upstream::start(|_| {
        let set = "connect.sid=s%3Anew.AAAA; Path=/; HttpOnly";
        Reply::text("hello")
            .with("set-cookie", set)
            .with("set-cookie", "cart=7")
    });
    scene.row("one", ADA, "1 hour");
    let gateway = scene.before();
    assert_eq!(scene.import(&[])["copied"], 1);
    drop(gateway);
    let gateway = scene.start(&format!("{MAPPED}moved = true\nlogout_paths = [\"/bye\"]\n"));
    let of = async |target: &str, cookies: &str| {
        let answer = ask(&gateway, "GET", target, cookies).await;
        answer.values("set-cookie").len()
    };
    assert_eq!(of("/", &signed("one")).await, 1);
    // Its own log-out may take the cookie, and whoever has no copy is its own affair.
    assert_eq!(of("/bye", &signed("one")).await, 2);
    assert_eq!(of("/", "").await, 2);
    let native = client(&gateway).await.sign_in(HOST, "ada", PASSWORD).await;
    assert_eq!(of("/", &native).await, 2);
}

#[tokio::test]
async fn a_copy_ends_when_its_row_would_have() {
    let scene = Move::on(false);
    scene.row("brief", ADA, "12 seconds");
    let gateway = scene.before();
    assert_eq!(scene.import(&[])["copied"], 1);
    drop(gateway);
    let gateway = scene.moved();
    let started = Instant::now();
    while scene.knows(&gateway, &signed("brief")).await.is_some() {
        assert!(started.elapsed() < PATIENCE, "activity prolonged it");
        pause();
    }
    scene.sql("DROP TABLE session");
    assert_eq!(scene.knows(&gateway, &signed("brief")).await, None);
}

#[tokio::test]
async fn users_are_made_only_where_that_is_asked_for_and_none_can_sign_in_by_it() {
    let scene = Move::on(false);
    let gateway = scene.before();
    gateway.add_user("crm-8", PASSWORD, &[]);
    for user in ["7", "8", "\"Zoë\""] {
        let sid = format!("sid{}", user.trim_matches('"').len());
        let sess = format!(r#"{{"cookie":{{}},"email":"ada@example.com","passport":{{"user":{user}}}}}"#);
        let sid = if user == "8" { "eight".to_owned() } else { sid };
        scene.row(&sid, &sess, "1 hour");
    }
    assert_eq!(scene.import(&[])["left"]["unknown_user"], 3);
    let dry = scene.import(&["--create-users", "--dry-run"]);
    assert_eq!(
        (&dry["users_created"], &dry["left"]["name_taken"]),
        (&2.into(), &1.into()),
        "{dry}"
    );
    let report = scene.import(&["--create-users"]);
    // The one whose name somebody here has already is not taken for them.
    assert_eq!(
        (&report["users_created"], &report["copied"]),
        (&2.into(), &2.into()),
        "{report}"
    );
    assert_eq!(report["left"]["name_taken"], 1);
    let again = scene.import(&["--create-users"]);
    assert_eq!(
        (&again["users_created"], &again["kept"]),
        (&0.into(), &2.into()),
        "{again}"
    );
    drop(gateway);
    let gateway = scene.moved();
    assert_eq!(scene.knows(&gateway, &signed("sid1")).await.as_deref(), Some("crm-7"));
    assert_eq!(scene.knows(&gateway, &signed("eight")).await, None);
    let shown = gateway.command(&["user", "show", "crm-7", "--json"], "");
    let shown: Value = serde_json::from_slice(&shown.stdout).expect("a user");
    // An address that the application's users may choose makes nobody somebody here.
    assert_eq!(shown["email"], Value::Null, "{shown}");
    for password in ["", "crm-7", PASSWORD] {
        let body = format!(r#"{{"username":"crm-7","password":"{password}"}}"#);
        let headers = ["Content-Type: application/json", "Sec-Fetch-Site: same-origin"];
        let mut client = client(&gateway).await;
        let answer = client
            .request("POST", HOST, "/.portcullis/login", &headers, body.as_bytes())
            .await;
        assert!([400, 401].contains(&answer.status), "{}", answer.status);
    }
}

#[tokio::test]
async fn ten_thousand_are_copied_and_a_run_that_broke_off_is_taken_up_again() {
    let scene = Move::on(true);
    scene.sql(&format!(
        "INSERT INTO session SELECT 'sid' || n, '{ADA}', now() AT TIME ZONE 'UTC' + interval '1 hour' \
         FROM generate_series(1, 10000) AS n"
    ));
    // The last of all is one that the database itself cannot read: the run breaks off there.
    scene.sql("ALTER TABLE session ADD CONSTRAINT odd CHECK (true)");
    let gateway = scene.before();
    scene.sql(
        "CREATE FUNCTION odd(sid text) RETURNS boolean LANGUAGE plpgsql AS \
         $$ BEGIN IF sid = 'sid9999' THEN RAISE 'broken'; END IF; RETURN true; END $$; \
         ALTER TABLE session RENAME TO whole; \
         CREATE VIEW session AS SELECT * FROM whole WHERE odd(sid)",
    );
    let broken = scene.run(&[]);
    assert_eq!(broken.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&broken.stdout).expect("a report all the same");
    let copied = report["copied"].as_u64().unwrap();
    assert!((1..10_000).contains(&copied), "{report}");
    assert_eq!(report["ended"], 0, "what was not seen was not gone");
    scene.sql("DROP VIEW session; ALTER TABLE whole RENAME TO session");
    let rest = scene.import(&[]);
    assert_eq!(rest["read"], 10_000);
    assert_eq!(rest["copied"].as_u64().unwrap() + copied, 10_000, "{rest}");
    assert_eq!(rest["kept"].as_u64(), Some(copied));
    drop(gateway);
    let gateway = scene.moved();
    for sid in ["sid1", "sid5000", "sid9999"] {
        assert_eq!(scene.knows(&gateway, &signed(sid)).await.as_deref(), HERE, "{sid}");
    }
}

#[tokio::test]
async fn rows_that_cannot_be_read_are_counted_by_the_reason_and_nothing_secret_is_shown() {
    let scene = Move::on(false);
    let gateway = scene.before();
    scene.sql("ALTER TABLE session ALTER COLUMN sess TYPE text; ALTER TABLE session DROP CONSTRAINT session_pkey");
    scene.row("good", ADA, "1 hour");
    scene.row("torn", "{\"passport\":", "1 hour");
    scene.row("large", &format!("{{\"x\":\"{}\"}}", "x".repeat(70_000)), "1 hour");
    scene.row("twice", ADA, "1 hour");
    scene.row("twice", ADA, "1 hour");
    let report = scene.import(&[]);
    let left = serde_json::json!({ "unreadable_format": 1, "unreadable_too_large": 1, "same_key_twice": 2 });
    assert_eq!((&report["copied"], &report["left"]), (&1.into(), &left), "{report}");
    let output = portcullis(
        scene.folder.path(),
        &["session", "import", "--source", "crm", "--config", "portcullis.toml"],
        "",
    );
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("cannot be read: over 64 KiB"), "{said}");
    for secret in ["good", "torn", "twice", SECRET, "passport", &scene.database] {
        assert!(!said.contains(secret), "{said}");
    }
    drop(gateway);
    let gateway = scene.moved();
    assert_eq!(scene.knows(&gateway, &signed("twice")).await, None);
    // A copy is in the log, as what it is.
    let told = gateway.command(&["audit", "--json"], "");
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert_eq!(told.matches("session_imported").count(), 1, "{told}");
}

#[test]
fn a_source_that_has_moved_needs_no_database_and_one_that_has_not_does() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let check = |more: &str| {
        let source = source("postgres://reader@127.0.0.1:1/crm", more);
        let line = source
            .lines()
            .find(|line| line.starts_with("store_url"))
            .expect("a line");
        let text = config(
            "",
            &format!("{ROUTES}\n{}", source.replace(line, "")),
            "http://127.0.0.1:1",
        );
        std::fs::write(folder.path().join("portcullis.toml"), text).expect("the configuration is written");
        let check = ["check", "--config", "portcullis.toml"];
        let output = portcullis(folder.path(), &check, "");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    assert_eq!(check("moved = true").0, Some(0));
    let (code, said) = check("");
    assert_eq!(code, Some(2));
    assert!(said.contains("`store_url` is missing"), "{said}");
    let import = ["session", "import", "--source", "crm", "--config", "portcullis.toml"];
    check("moved = true");
    let output = portcullis(folder.path(), &import, "");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("nothing to copy from"));
}
