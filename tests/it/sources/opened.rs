//! Log-ins here that sign people into the application, too.

use super::*;
use crate::support::client::{Client, Response};
use crate::support::gateway::portcullis;
use crate::support::stage::{PASSWORD, USER, config};
use portcullis::clock::Clock;
use portcullis::store::{Adding, Expiry, LegacySettings, LegacyTable, Unit, Zone};
use serde_json::{Value, json};

const OPEN: &str = "open = true\nopen_cookie = { max_age = \"1h\" }";
const LOGIN: &str = "/.portcullis/login";
const LOGOUT: &str = "/.portcullis/logout";

impl Scene {
    /// Whose user of the application somebody is, said by command.
    fn app_user(&self, value: &str) {
        let said = self
            .stage
            .gateway
            .command(&["user", "app-user", USER, "crm", value], "");
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    }

    /// Signs in over JSON, with cookies that the browser has.
    async fn log_in(&self, cookies: &str) -> Response {
        let body = json!({ "username": USER, "password": PASSWORD }).to_string();
        let line = format!("Cookie: {cookies}");
        let mut lines = vec![
            "Content-Type: application/json",
            "Accept: application/json",
            "Sec-Fetch-Site: same-origin",
        ];
        if !cookies.is_empty() {
            lines.push(&line);
        }
        let mut client = self.stage.client().await;
        client.request("POST", HOST, LOGIN, &lines, body.as_bytes()).await
    }

    /// Signs in by the page as a browser does; the answer.
    async fn submit(&self) -> Response {
        let mut client = self.stage.client().await;
        let page = client.get(HOST, LOGIN, &["Accept: text/html"]).await;
        let text = page.text();
        let token = text.split("name=\"csrf\" value=\"").nth(1).expect("a token");
        let token = token.split('"').next().expect("a token");
        let cookie = page.values("set-cookie").join("; ");
        let cookie = cookie.split(';').next().expect("a cookie");
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("username", USER),
                ("password", PASSWORD),
                ("csrf", token),
                ("next", "/x"),
            ])
            .finish();
        let lines = [
            "Content-Type: application/x-www-form-urlencoded",
            "Accept: text/html",
            "Sec-Fetch-Site: same-origin",
            &format!("Cookie: {cookie}"),
        ];
        client.request("POST", HOST, LOGIN, &lines, body.as_bytes()).await
    }

    async fn log_out(&self, cookies: &str) -> Response {
        let lines = [
            "Accept: application/json",
            "Sec-Fetch-Site: same-origin",
            &format!("Cookie: {cookies}"),
        ];
        self.stage
            .client()
            .await
            .request("POST", HOST, LOGOUT, &lines, b"")
            .await
    }
}

/// `name=value` of the cookie with this name.
fn pair(answer: &Response, name: &str) -> Option<String> {
    let lines = answer.values("set-cookie");
    let found = lines.iter().find(|line| line.starts_with(&format!("{name}=")))?;
    Some(found.split(';').next().expect("a pair").to_owned())
}

fn both(answer: &Response) -> String {
    let pairs = ["__Host-portcullis", "connect.sid"].map(|name| pair(answer, name).expect("a cookie"));
    pairs.join("; ")
}

async fn scene(more: &str) -> Scene {
    Scene::with(more, |_| Reply::text("hello")).await
}

#[tokio::test]
async fn a_log_in_here_is_one_in_the_application_as_the_user_that_an_administrator_named() {
    let scene = scene(OPEN).await;
    scene.app_user("42");
    let answer = scene.log_in("").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        answer.json()["applications"],
        json!([{ "source": "crm", "state": "opened" }])
    );
    let cookie = pair(&answer, "connect.sid").expect("the application's cookie");
    let rows = scene.sql("SELECT sid || '|' || (sess #>> '{passport,user}') || '|' || (sess #> '{passport,user}')::text || '|' \
        || json_typeof(sess #> '{passport,user}') || '|' || (expire BETWEEN ((now() AT TIME ZONE 'UTC') + interval '58 minutes') \
        AND ((now() AT TIME ZONE 'UTC') + interval '61 minutes'))::text FROM session");
    let (sid, rest) = rows.trim().split_once('|').expect("one row");
    assert_eq!(rest, "42|42|number|true");
    assert_eq!(sid.len(), 32);
    // Signed by the first of the secrets.
    assert!(cookie.starts_with(&format!("connect.sid=s%3A{sid}.")), "{cookie}");
    assert_ne!(cookie, signed(sid), "that is the older one's");
    let lines = answer.values("set-cookie");
    let line = lines
        .iter()
        .find(|line| line.starts_with("connect.sid="))
        .expect("its cookie");
    assert!(
        line.ends_with("; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=3600"),
        "{line}"
    );
    // By itself it is the application's user; with ours it is the same person, and ours comes first.
    assert_eq!(scene.told("/", &cookie).await.as_deref(), Some("crm:42"));
    let browser = both(&answer);
    assert_eq!(scene.told("/members", &browser).await.as_deref(), Some("ada"));
    let audit = scene.stage.gateway.command(&["audit", "--json"], "");
    let audit = String::from_utf8_lossy(&audit.stdout).into_owned();
    assert!(
        audit.contains("app_session_opened") && audit.contains("app_user_changed"),
        "{audit}"
    );
    assert!(!audit.contains(sid), "a key is no matter of the log");
    assert!(!scene.stage.gateway.log().contains(sid));
}

#[tokio::test]
async fn the_page_leads_on_where_everything_was_opened_and_says_so_where_it_was_not() {
    let scene = scene(OPEN).await;
    let answer = scene.submit().await;
    assert_eq!(answer.status, 200);
    assert!(
        answer
            .text()
            .contains("You are signed in here, but not in crm: nobody has said yet"),
        "{}",
        answer.text()
    );
    assert!(answer.text().contains("href=\"/x\""));
    assert!(pair(&answer, "__Host-portcullis").is_some() && pair(&answer, "connect.sid").is_none());
    assert_eq!(scene.sql("SELECT count(*) FROM session").trim(), "0");
    scene.app_user("42");
    let answer = scene.submit().await;
    assert_eq!((answer.status, answer.value("location")), (303, Some("/x")));
    assert!(pair(&answer, "connect.sid").is_some());
}

#[tokio::test]
async fn every_log_in_has_a_key_of_its_own_and_takes_the_place_of_what_the_browser_had() {
    let scene = scene(OPEN).await;
    scene.app_user("42");
    // A row whose key somebody else may know.
    scene.row("planted", r#"{"cookie":{},"passport":{"user":7}}"#);
    scene.row("others", r#"{"cookie":{},"passport":{"user":8}}"#);
    let first = scene.log_in(&signed("planted")).await;
    let second = scene.log_in(&both(&first)).await;
    assert_ne!(pair(&first, "connect.sid"), pair(&second, "connect.sid"));
    let left = scene
        .sql("SELECT string_agg(sess #>> '{passport,user}', ',' ORDER BY sess #>> '{passport,user}') FROM session");
    assert_eq!(left.trim(), "42,8", "only the browser's own was replaced");
    assert_eq!(scene.told("/", &both(&second)).await.as_deref(), Some("ada"));
}

#[tokio::test]
async fn who_is_nobody_in_the_application_stays_nobody_there() {
    let scene = scene(OPEN).await;
    let answer = scene.log_in("").await;
    let told = answer.json();
    assert_eq!(
        (&told["applications"][0]["state"], &told["user"]["username"]),
        (&json!("no_user"), &json!(USER))
    );
    assert!(
        told["applications"][0]["notice"]
            .as_str()
            .is_some_and(|text| text.contains("not in crm"))
    );
    scene.app_user("42");
    let said = scene
        .stage
        .gateway
        .command(&["user", "app-user", USER, "crm", "--unset"], "");
    assert!(said.status.success());
    assert_eq!(scene.log_in("").await.json()["applications"][0]["state"], "no_user");
    // Whatever a visitor sends, nobody listens to it.
    let body = json!({ "username": USER, "password": PASSWORD, "app_user": 1, "app_users": { "crm": 1 } }).to_string();
    let lines = [
        "Content-Type: application/json",
        "Sec-Fetch-Site: same-origin",
        "X-App-User: 1",
    ];
    let mut client = scene.stage.client().await;
    let answer = client.request("POST", HOST, LOGIN, &lines, body.as_bytes()).await;
    assert!(pair(&answer, "connect.sid").is_none());
    assert_eq!(scene.sql("SELECT count(*) FROM session").trim(), "0");
}

#[tokio::test]
async fn only_a_log_in_on_a_host_of_the_source_opens_anything() {
    let scene = scene(OPEN).await;
    scene.app_user("42");
    let body = json!({ "username": USER, "password": PASSWORD }).to_string();
    let lines = [
        "Content-Type: application/json",
        "Accept: application/json",
        "Sec-Fetch-Site: same-origin",
    ];
    let mut client = Client::plain(scene.stage.gateway.address(1)).await;
    let answer = client
        .request("POST", "other.example.test", LOGIN, &lines, body.as_bytes())
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["applications"], Value::Null);
    assert_eq!(scene.sql("SELECT count(*) FROM session").trim(), "0");
}

#[tokio::test]
async fn a_log_out_here_is_one_in_the_application() {
    let scene = scene(OPEN).await;
    scene.app_user("42");
    let browser = both(&scene.log_in("").await);
    let cookie = browser.split("; ").nth(1).expect("the application's").to_owned();
    assert_eq!(scene.told("/", &cookie).await.as_deref(), Some("crm:42"));
    let answer = scene.log_out(&browser).await;
    assert_eq!(answer.status, 204);
    assert!(
        answer
            .values("set-cookie")
            .iter()
            .any(|line| line.starts_with("connect.sid=;") && line.contains("Max-Age=0")),
        "{:?}",
        answer.values("set-cookie")
    );
    assert_eq!(scene.sql("SELECT count(*) FROM session").trim(), "0");
    assert_eq!(scene.told("/", &cookie).await, None, "at once");
    assert_eq!(scene.told("/", &browser).await, None);
}

#[tokio::test]
async fn what_a_log_in_or_a_log_out_ended_stays_ended_though_a_request_saves_it_again() {
    for more in [OPEN.to_owned(), format!("{OPEN}\nend = true")] {
        let scene = scene(&more).await;
        scene.app_user("42");
        let saved = |sid: &str, user: u32| {
            scene.sql(&format!("DELETE FROM session WHERE sid = '{sid}'"));
            scene.row(sid, &format!("{{\"cookie\":{{}},\"passport\":{{\"user\":{user}}}}}"));
        };
        saved("planted", 7);
        let answer = scene.log_in(&signed("planted")).await;
        assert_eq!(answer.json()["applications"][0]["state"], "opened", "{}", answer.text());
        saved("planted", 7);
        assert_eq!(scene.told("/", &signed("planted")).await, None, "{more}");
        assert_eq!(scene.sql("SELECT count(*) FROM session WHERE sid = 'planted'"), "0");
        let browser = both(&answer);
        let (ours, theirs) = browser.split_once("; ").expect("two cookies");
        assert_eq!(scene.told("/", theirs).await.as_deref(), Some("crm:42"));
        let sid = scene.sql("SELECT sid FROM session");
        let answer = scene.log_out(&browser).await;
        assert_eq!(answer.status, 204, "{more}: {}", answer.text());
        for name in ["__Host-portcullis=;", "connect.sid=;"] {
            let taken = |line: &&str| line.starts_with(name) && line.contains("Max-Age=0");
            let lines = answer.values("set-cookie");
            assert!(lines.iter().any(taken), "{more}: {lines:?}");
        }
        saved(&sid, 42);
        assert_eq!(scene.told("/", theirs).await, None, "{more}");
        assert_eq!(scene.told("/", ours).await, None, "{more}");
        assert_eq!(scene.sql("SELECT count(*) FROM session"), "0", "{more}");
        let audit = scene.stage.gateway.command(&["audit", "--json"], "");
        let audit = String::from_utf8_lossy(&audit.stdout).into_owned();
        let of = |parts: &[&str]| {
            audit
                .lines()
                .filter(|line| parts.iter().all(|part| line.contains(part)))
                .count()
        };
        assert_eq!(
            of(&["\"session_ended\"", "\"replaced\"", "crm:7", "\"source\":\"crm\""]),
            1,
            "{audit}"
        );
        assert_eq!(of(&["\"logged_out\"", "crm:42", "\"source\":\"crm\""]), 1, "{audit}");
        assert_eq!(of(&["\"app_user_changed\"", "\"source\":\"crm\""]), 1, "{audit}");
    }
}

#[tokio::test]
async fn two_people_in_one_browser_are_still_two() {
    let scene = scene(OPEN).await;
    scene.app_user("42");
    scene.row("theirs", r#"{"cookie":{},"passport":{"user":43}}"#);
    scene.row("hers", r#"{"cookie":{},"passport":{"user":42}}"#);
    let with = |sid: &str| format!("{}; {}", scene.stage.cookie, signed(sid));
    let both = format!("Cookie: {}", with("theirs"));
    let refused = scene.get("/", &[&both, "Accept: application/json"]).await;
    assert_eq!(refused.0, 401);
    assert!(refused.1.is_none());
    // By whichever way she came to it: an administrator said that the two are one.
    let patience = std::time::Instant::now();
    loop {
        let line = format!("Cookie: {}", with("hers"));
        let (status, told) = scene.get("/", &[&line, "Accept: application/json"]).await;
        if status == 200 {
            assert_eq!(told.expect("forwarded").values("x-forwarded-user"), ["ada"]);
            break;
        }
        assert!(patience.elapsed() < SOON, "{status}");
        crate::support::gateway::pause();
    }
    // No longer one, as soon as nobody says so.
    let said = scene
        .stage
        .gateway
        .command(&["user", "app-user", USER, "crm", "--unset"], "");
    assert!(said.status.success());
    let patience = std::time::Instant::now();
    let line = format!("Cookie: {}", with("hers"));
    while scene.get("/", &[&line, "Accept: application/json"]).await.0 != 401 {
        assert!(patience.elapsed() < SOON);
        crate::support::gateway::pause();
    }
}

#[tokio::test]
async fn an_application_that_cannot_be_asked_keeps_nobody_from_signing_in_here() {
    let scene = scene(OPEN).await;
    scene.app_user("42");
    let browser = both(&scene.log_in("").await);
    scene.sql("ALTER TABLE session RENAME TO elsewhere");
    let answer = scene.log_in("").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["applications"][0]["state"], "unavailable");
    assert!(pair(&answer, "connect.sid").is_none());
    let ours = pair(&answer, "__Host-portcullis").expect("signed in here");
    assert_eq!(scene.told("/", &ours).await.as_deref(), Some("ada"));
    let page = scene.submit().await;
    assert!(
        page.status == 200 && page.text().contains("it cannot be reached right now"),
        "{}",
        page.text()
    );
    // A log-out that was not stored is not told to be done.
    let answer = scene.log_out(&browser).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.values("set-cookie").is_empty());
    scene.sql("ALTER TABLE elsewhere RENAME TO session");
    assert_eq!(
        scene.told("/", &browser).await.as_deref(),
        Some("ada"),
        "still signed in"
    );
    assert_eq!(scene.log_out(&browser).await.status, 204);
    assert_eq!(scene.sql("SELECT count(*) FROM session").trim(), "0");
}

#[tokio::test]
async fn a_user_who_does_not_fit_is_signed_in_here_only() {
    let more = format!("{OPEN}\nuser_map = {{ \"7\" = \"bob\" }}");
    let scene = scene(&more).await;
    for value in ["7", r#"{"key":42}"#] {
        scene.app_user(value);
        let answer = scene.log_in("").await;
        assert_eq!(answer.json()["applications"][0]["state"], "misfit", "{value}");
        assert!(pair(&answer, "connect.sid").is_none());
    }
    assert_eq!(scene.sql("SELECT count(*) FROM session").trim(), "0");
}

#[tokio::test]
async fn a_row_that_has_the_key_already_stays_as_it_is() {
    let database = Postgres::shared().database();
    let server = Postgres::shared();
    server.sql(&database, TABLE);
    server.sql(
        &database,
        "INSERT INTO session VALUES ('sid0', '{\"cookie\":{},\"a\":1}', '2001-01-01')",
    );
    let settings = LegacySettings {
        url: database.clone().into(),
        table: "session".to_owned(),
        key: "sid".to_owned(),
        payload: Some("sess".to_owned()),
        payload_paths: None,
        may_touch: false,
        verify: None,
        columns: Vec::new(),
        expiry: Expiry::At {
            column: "expire".to_owned(),
            unit: Unit::Timestamp,
        },
        zone: Zone::Utc,
        users: None,
        may_end: false,
        adding: Adding {
            rows: true,
            table: false,
        },
        max_connections: 1,
        call_timeout: Duration::from_secs(20),
        prepared_statements: true,
    };
    let table = LegacyTable::new(settings.clone(), Clock::system()).expect("a table");
    let end = Clock::system().now().plus(Duration::from_secs(90));
    let payload = json!({ "cookie": {}, "a": 2 });
    assert!(table.open("sid0", &payload, end).await.is_err());
    assert_eq!(
        server.sql(&database, "SELECT sess, expire FROM session").trim(),
        "{\"cookie\":{},\"a\":1}|2001-01-01 00:00:00"
    );
    table.open("sid1", &payload, end).await.expect("another key");
    assert_eq!(server.sql(&database, "SELECT count(*) FROM session").trim(), "2");
    let left = table.find("sid1").await.expect("asked").expect("a row").left;
    assert!((80..=91).contains(&left.as_secs()), "{left:?}");
    let reads_only = LegacySettings {
        adding: Adding::default(),
        ..settings
    };
    let table = LegacyTable::new(reads_only, Clock::system()).expect("a table");
    assert!(table.open("sid2", &payload, end).await.is_err(), "nobody allowed it");
    assert_eq!(server.sql(&database, "SELECT count(*) FROM session").trim(), "2");
}

/// `portcullis source check crm` with these lines of a source on `database`, whose table is not there or is.
fn check(database: &str, more: &str) -> (bool, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = config(
        "",
        &format!("{ROUTES}\n{}", source(database, more)),
        "http://127.0.0.1:1",
    );
    std::fs::write(folder.path().join("portcullis.toml"), text).expect("the configuration is written");
    let output = portcullis(
        folder.path(),
        &["source", "check", "crm", "--config", "portcullis.toml"],
        "",
    );
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), said)
}

const DESCRIBED: &str = "SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull, ', ' \
    ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = to_regclass('area.sessions') AND a.attnum > 0";
const INDEXED: &str = "SELECT string_agg(indexdef, '; ' ORDER BY indexname) FROM pg_indexes WHERE schemaname = 'area'";

#[tokio::test]
async fn the_librarys_table_is_made_where_it_is_missing_and_never_altered() {
    let database = Postgres::shared().database();
    let server = Postgres::shared();
    server.sql(&database, "CREATE SCHEMA area");
    let more = format!("{OPEN}\ncreate_table = true\ntable = \"area.sessions\"");
    let (works, said) = check(&database, &more);
    assert!(
        works && said.contains("the gateway makes it in schema area when it starts"),
        "{said}"
    );
    assert_eq!(server.sql(&database, DESCRIBED).trim(), "", "a check makes nothing");
    let routes = format!("{ROUTES}\n{}", source(&database, &more));
    let stage = Stage::with("", &routes, |_| Reply::text("hello")).await;
    stage
        .gateway
        .wait_for_log("made the table of an application's sessions");
    assert_eq!(
        server.sql(&database, DESCRIBED).trim(),
        "sid character varying true, sess json true, expire timestamp(6) without time zone true"
    );
    assert_eq!(
        server.sql(&database, INDEXED).trim(),
        "CREATE INDEX \"IDX_session_expire\" ON area.sessions USING btree (expire); \
         CREATE UNIQUE INDEX session_pkey ON area.sessions USING btree (sid)"
    );
    let scene = Scene { stage, database };
    scene.app_user("42");
    let answer = scene.log_in("").await;
    assert_eq!(answer.json()["applications"][0]["state"], "opened", "{}", answer.text());
    // One that is there stays as it is, whatever it looks like.
    scene.sql("DROP INDEX area.\"IDX_session_expire\"; ALTER TABLE area.sessions ADD note text");
    let (works, said) = check(&scene.database, &more);
    assert!(works && said.contains("the role may add rows"), "{said}");
    let routes = format!("{ROUTES}\n{}", source(&scene.database, &more));
    let again = Stage::with("", &routes, |_| Reply::text("hello")).await;
    again.gateway.add_user("bob", PASSWORD, &[]);
    assert!(!again.gateway.log().contains("made the table"));
    assert!(!scene.sql(INDEXED).contains("IDX_session_expire"));
    assert!(scene.sql(DESCRIBED).contains("note text"));
}

#[test]
fn what_stands_against_opening_and_making_is_found_in_words_that_name_the_fix() {
    let server = Postgres::shared();
    let database = server.database();
    let name = database.rsplit('/').next().expect("a name").to_owned();
    let role = format!("opens_{name}");
    server.sql(&database, &format!("CREATE ROLE {role} LOGIN; CREATE SCHEMA area; CREATE SCHEMA taken; \
        CREATE TABLE taken.other (a int CONSTRAINT session_pkey PRIMARY KEY); GRANT USAGE ON SCHEMA area, taken TO {role}; \
        GRANT CREATE ON SCHEMA taken TO {role}; {TABLE}; GRANT SELECT ON session TO {role}"));
    let url = format!("postgres://{role}@127.0.0.1:{}/{name}", server.port());
    for (more, says) in [
        (
            "create_table = true\ntable = \"nowhere.session\"",
            "schema nowhere does not exist",
        ),
        (
            "create_table = true\ntable = \"area.session\"",
            "may not make it: GRANT CREATE ON SCHEMA \"area\"",
        ),
        (
            "create_table = true\ntable = \"taken.session\"",
            "has session_pkey already",
        ),
        (
            OPEN,
            "GRANT INSERT (\"sid\", \"expire\", \"sess\"), DELETE ON \"session\"",
        ),
    ] {
        let (works, said) = check(&url, more);
        assert!(!works && said.contains(says), "{says}: {said}");
    }
    server.sql(
        &database,
        &format!("GRANT INSERT (sid, sess, expire), DELETE ON session TO {role}"),
    );
    let (works, said) = check(&url, OPEN);
    assert!(works && said.contains("the role may add rows"), "{said}");
    server.sql(&database, "ALTER TABLE session ADD tenant int NOT NULL");
    let (works, said) = check(&url, OPEN);
    assert!(!works && said.contains("a row must have \"tenant\""), "{said}");
}
