//! Sessions of an application that are ended here: refused everywhere, whatever the application does with its rows.

mod late;

use super::*;
use crate::support::client::{Client, Response};
use crate::support::fleet::{SEEN, TOKEN};
use crate::support::gateway::{Gateway, PATIENCE, pause};
use crate::support::stage::config;
use crate::support::upstream::Upstream;
use serde_json::Value;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Notify;

const ADA: &str = r#"{"cookie":{"originalMaxAge":3600000},"passport":{"user":42}}"#;
const BOB: &str = r#"{"cookie":{"originalMaxAge":3600000},"passport":{"user":7}}"#;
/// What is believed for long, so that whatever is seen sooner was told.
const ENDS: &str = "end = true\nmax_age = \"5m\"";

/// An application's database, and gateways on one store that may end its sessions.
struct Pair {
    gateways: Vec<Gateway>,
    app: Upstream,
    database: String,
    store: String,
}

impl Pair {
    fn start(more: &str, script: impl Fn(&Recorded) -> Reply + Send + Sync + 'static) -> Self {
        let database = Postgres::shared().database();
        Postgres::shared().sql(&database, TABLE);
        Self::over(2, &source(&database, more), database, script)
    }

    fn over(
        count: usize,
        source: &str,
        database: String,
        script: impl Fn(&Recorded) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let store = Postgres::shared().database();
        let app = Upstream::start(script);
        let top = format!(
            "[store]\nurl = \"{store}\"\n[session]\nsecrets = [\"0123456789abcdef0123456789abcdef\"]\n\
             [cache]\nmax_age = \"60s\"\nmax_age_without_feed = \"60s\"\n"
        );
        let text = config(&top, &format!("{ROUTES}\n{source}"), &app.url());
        let start = || {
            let folder = Arc::new(tempfile::tempdir().expect("a temporary folder"));
            Gateway::try_start_in(&folder, &text, &[("PORTCULLIS_ADMIN_TOKEN", TOKEN)])
                .unwrap_or_else(|end| panic!("the gateway ended with {:?}:\n{}", end.code, end.stderr))
        };
        let gateways: Vec<Gateway> = std::iter::repeat_with(start).take(count).collect();
        for gateway in &gateways {
            gateway.wait_for_log(SEEN);
        }
        Self {
            gateways,
            app,
            database,
            store,
        }
    }

    fn sql(&self, sql: &str) -> String {
        Postgres::shared().sql(&self.database, sql)
    }

    fn store_sql(&self, sql: &str) -> String {
        Postgres::shared().sql(&self.store, &format!("SET search_path TO portcullis; {sql}"))
    }

    /// As the library saves a session, whether it is there or not.
    fn save(&self, sid: &str, sess: &str) {
        self.sql(&format!(
            "INSERT INTO session VALUES ('{sid}', '{sess}', now() AT TIME ZONE 'UTC' + interval '1 hour') \
             ON CONFLICT (sid) DO UPDATE SET sess = EXCLUDED.sess, expire = EXCLUDED.expire"
        ));
    }

    fn rows(&self, sid: &str) -> String {
        self.sql(&format!("SELECT count(*) FROM session WHERE sid = '{sid}'"))
    }

    fn until_no_row(&self, sid: &str) {
        let started = Instant::now();
        while self.rows(sid) != "0" {
            assert!(started.elapsed() < PATIENCE, "the row of {sid} stands");
            pause();
        }
    }

    async fn client(&self, index: usize) -> Client {
        let gateway = &self.gateways[index];
        Client::tls(gateway.address(0), HOST, &gateway.ca()).await
    }

    async fn ask(&self, index: usize, target: &str, sid: &str) -> Response {
        let cookie = format!("Cookie: theme=dark; {}", signed(sid));
        self.client(index)
            .await
            .get(HOST, target, &[&cookie, "Accept: application/json"])
            .await
    }

    async fn until_status(&self, index: usize, sid: &str, status: u16) {
        let started = Instant::now();
        loop {
            let found = self.ask(index, "/members", sid).await.status;
            if found == status {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "instance {index}: {found}");
            pause();
        }
    }

    async fn admin(&self, index: usize, method: &str, target: &str) -> Response {
        let mut client = Client::plain(self.gateways[index].admin()).await;
        let bearer = format!("Authorization: Bearer {TOKEN}");
        client.request(method, "localhost", target, &[&bearer], b"").await
    }

    /// Live sessions as an operator sees them.
    async fn listed(&self, query: &str) -> Vec<Value> {
        let answer = self.admin(0, "GET", &format!("/api/sessions?{query}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(!answer.text().contains("sid"), "a key is shown: {}", answer.text());
        answer.json()["items"].as_array().expect("a list").clone()
    }

    async fn id_of(&self, user: &str) -> String {
        let items = self.listed(&format!("user={user}")).await;
        items[0]["public_id"].as_str().expect("an id").to_owned()
    }
}

#[tokio::test]
async fn a_session_that_an_operator_ends_is_over_on_every_instance_and_in_the_application() {
    let events = |request: &Recorded| match request.target().as_str() {
        "/events" => Reply::Events {
            every: Duration::from_millis(20),
        },
        _ => Reply::text("hello"),
    };
    let pair = Pair::start(ENDS, events);
    pair.save("sid0", ADA);
    pair.save("sid1", ADA);
    pair.save("sid2", BOB);
    for index in 0..2 {
        for sid in ["sid0", "sid1", "sid2"] {
            assert_eq!(pair.ask(index, "/members", sid).await.status, 200);
        }
    }
    let mut stream = pair.client(1).await;
    let cookie = signed("sid2");
    stream
        .send(format!("GET /events HTTP/1.1\r\nHost: {HOST}\r\nCookie: {cookie}\r\n\r\n").as_bytes())
        .await;
    assert_eq!(stream.head().await.status, 200);
    stream.chunk().await;
    // One, by its id, at the other instance than the stream's.
    let id = pair.id_of("crm:7").await;
    let shown = pair.admin(1, "GET", &format!("/api/sessions/{id}")).await.json();
    assert_eq!((&shown["user"], &shown["source"]), (&"crm:7".into(), &"crm".into()));
    let answer = pair.admin(0, "DELETE", &format!("/api/sessions/{id}")).await;
    assert_eq!(answer.status, 204, "{}", answer.text());
    assert_eq!(pair.rows("sid2"), "0");
    assert_eq!(pair.ask(0, "/members", "sid2").await.status, 401);
    pair.until_status(1, "sid2", 401).await;
    // Cleanly, as streams of events end.
    assert!(stream.last_chunk().await.is_some());
    let gone = pair.admin(1, "DELETE", &format!("/api/sessions/{id}")).await;
    assert_eq!(gone.status, 404, "{}", gone.text());
    // All of a user; nobody else's.
    let answer = pair.admin(1, "DELETE", "/api/sessions?user=crm:42").await;
    assert_eq!(answer.json()["ended"], 2, "{}", answer.text());
    assert_eq!(pair.sql("SELECT count(*) FROM session"), "0");
    for sid in ["sid0", "sid1"] {
        assert_eq!(pair.ask(1, "/members", sid).await.status, 401);
        pair.until_status(0, sid, 401).await;
    }
    let audit = pair.store_sql("SELECT kind || ' ' || coalesce(username, '') FROM audit_events ORDER BY id");
    assert_eq!(audit, "session_ended crm:7\nsession_ended crm:42");
}

#[tokio::test]
async fn a_row_that_comes_back_is_never_believed_and_its_cookie_never_reaches_the_application() {
    let pair = Pair::start(ENDS, |_| Reply::text("hello"));
    pair.save("sid0", ADA);
    assert_eq!(pair.ask(0, "/members", "sid0").await.status, 200);
    let answer = pair.admin(0, "DELETE", "/api/sessions?user=crm:42").await;
    assert_eq!(answer.json()["ended"], 1, "{}", answer.text());
    for index in [0, 1, 0] {
        pair.save("sid0", ADA);
        pair.app.forget();
        let answer = pair.ask(index, "/", "sid0").await;
        assert_eq!(answer.status, 200);
        let told = pair.app.last();
        assert!(told.values("x-forwarded-user").is_empty());
        assert_eq!(told.values("cookie"), ["theme=dark"]);
        pair.until_no_row("sid0");
    }
    // The same person, signed in anew.
    pair.save("sid9", ADA);
    assert_eq!(pair.ask(0, "/members", "sid9").await.status, 200);
}

/// The application holds a request until the test lets it go, and answers with its cookies.
fn held(gate: &Arc<Notify>) -> impl Fn(&Recorded) -> Reply + Send + Sync + 'static {
    let gate = Arc::clone(gate);
    let cookies = format!(
        "Set-Cookie: theme=light; Path=/\r\nSet-Cookie: {}; Path=/; HttpOnly\r\n",
        signed("sid9")
    );
    move |request| match request.target().as_str() {
        "/save" => Reply::Gated {
            first: Vec::new(),
            gate: Arc::clone(&gate),
            then: format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n{cookies}\r\nsaved").into_bytes(),
        },
        _ => Reply::text("hello"),
    }
}

#[tokio::test]
async fn a_request_under_way_cannot_bring_an_ended_session_back_under_its_own_or_another_id() {
    let gate = Arc::new(Notify::new());
    let pair = Pair::start(ENDS, held(&gate));
    for (asked, ends) in [(0, 0), (1, 0)] {
        let sid = format!("sid{asked}");
        pair.save(&sid, ADA);
        pair.app.forget();
        let mut client = pair.client(asked).await;
        let line = format!("GET /save HTTP/1.1\r\nHost: {HOST}\r\nCookie: {}\r\n\r\n", signed(&sid));
        client.send(line.as_bytes()).await;
        pair.app.wait_for(1);
        let answer = pair.admin(ends, "DELETE", "/api/sessions?user=crm:42").await;
        assert_eq!(answer.json()["ended"], 1, "{}", answer.text());
        pair.until_status(asked, &sid, 401).await;
        // What it had read, it saves: under the same id, and under a new one.
        pair.save(&sid, ADA);
        pair.save("sid9", ADA);
        gate.notify_one();
        let answer = client.response().await;
        assert_eq!(answer.text(), "saved");
        assert_eq!(answer.values("set-cookie"), ["theme=light; Path=/"]);
        pair.until_no_row(&sid);
        pair.until_no_row("sid9");
        assert_eq!(pair.ask(asked, "/members", "sid9").await.status, 401);
        pair.store_sql("DELETE FROM legacy_ended");
    }
}

#[tokio::test]
async fn an_answer_to_a_session_that_lives_keeps_its_cookies() {
    let gate = Arc::new(Notify::new());
    let pair = Pair::start(ENDS, held(&gate));
    pair.save("sid0", ADA);
    gate.notify_one();
    let answer = pair.ask(0, "/save", "sid0").await;
    assert_eq!(
        answer.values("set-cookie").len(),
        2,
        "{:?}",
        answer.values("set-cookie")
    );
}

#[tokio::test]
async fn nothing_is_reported_done_that_the_store_did_not_write_down() {
    let pair = Pair::start(ENDS, |_| Reply::text("hello"));
    pair.save("sid0", ADA);
    let id = pair.id_of("crm:42").await;
    pair.store_sql("ALTER TABLE legacy_ended RENAME TO away");
    for target in [format!("/api/sessions/{id}"), "/api/sessions?user=crm:42".to_owned()] {
        let answer = pair.admin(0, "DELETE", &target).await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert_eq!(answer.json()["type"], "urn:portcullis:unavailable");
    }
    assert_eq!(pair.rows("sid0"), "1", "nothing was deleted");
    // Whether it was ended before cannot be asked: nobody is signed out by that.
    let answer = pair.ask(1, "/members", "sid0").await;
    assert_eq!(answer.status, 503);
    pair.store_sql("ALTER TABLE away RENAME TO legacy_ended");
    pair.until_status(1, "sid0", 200).await;
    pair.until_status(0, "sid0", 200).await;
}

/// `database` by a role that may only read.
fn reader(database: &str) -> String {
    let server = Postgres::shared();
    let name = database.rsplit('/').next().expect("a name");
    let role = format!("reader_{name}");
    server.sql(
        database,
        &format!("CREATE ROLE {role} LOGIN; GRANT SELECT ON session TO {role}"),
    );
    format!("postgres://{role}@127.0.0.1:{}/{name}", server.port())
}

#[tokio::test]
async fn where_the_row_cannot_be_deleted_the_end_counts_here_and_the_operator_is_told() {
    let database = Postgres::shared().database();
    Postgres::shared().sql(&database, TABLE);
    let source = source(&reader(&database), ENDS);
    let pair = Pair::over(2, &source, database, |_| Reply::text("hello"));
    pair.save("sid0", ADA);
    assert_eq!(pair.ask(1, "/members", "sid0").await.status, 200);
    let checked = pair.gateways[0].command(&["source", "check", "crm"], "");
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(!checked.status.success() && said.contains("GRANT DELETE ON"), "{said}");
    let answer = pair.admin(0, "DELETE", "/api/sessions?user=crm:42").await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.json()["type"], "urn:portcullis:rows-stand");
    assert_eq!(pair.rows("sid0"), "1");
    assert_eq!(pair.ask(0, "/members", "sid0").await.status, 401);
    pair.until_status(1, "sid0", 401).await;
    pair.app.forget();
    assert_eq!(pair.ask(0, "/", "sid0").await.status, 200);
    assert_eq!(pair.app.last().values("cookie"), ["theme=dark"]);
}

#[tokio::test]
async fn a_source_that_may_not_write_is_read_and_never_ended() {
    let pair = Pair::start("max_age = \"5m\"", |_| Reply::text("hello"));
    pair.save("sid0", ADA);
    let id = pair.id_of("crm:42").await;
    for target in [format!("/api/sessions/{id}"), "/api/sessions?user=crm:42".to_owned()] {
        let answer = pair.admin(0, "DELETE", &target).await;
        assert_eq!(answer.status, 409, "{}", answer.text());
    }
    let lines = [
        format!("Cookie: {}", signed("sid0")),
        "Sec-Fetch-Site: same-origin".to_owned(),
        "Accept: application/json".to_owned(),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let mut client = pair.client(0).await;
    for (method, target) in [
        ("POST", "/.portcullis/logout".to_owned()),
        ("POST", "/.portcullis/sessions/end-others".to_owned()),
        ("DELETE", format!("/.portcullis/sessions/{id}")),
    ] {
        let answer = client.request(method, HOST, &target, &lines, b"").await;
        assert_eq!(answer.status, 409, "{}", answer.text());
        assert_eq!(answer.json()["type"], "urn:portcullis:only-at-the-application");
    }
    assert_eq!(pair.ask(0, "/members", "sid0").await.status, 200);
    assert_eq!(pair.store_sql("SELECT count(*) FROM legacy_ended"), "0");
}

#[tokio::test]
async fn live_sessions_that_name_somebody_are_listed_in_pages_without_their_keys() {
    let pair = Pair::start("", |_| Reply::text("hello"));
    for index in 0..7 {
        pair.save(&format!("sid{index}"), if index % 2 == 0 { ADA } else { BOB });
    }
    pair.save("sid-nobody", r#"{"cookie":{}}"#);
    pair.sql(&format!(
        "INSERT INTO session VALUES ('sid-over', '{ADA}', now() AT TIME ZONE 'UTC' - interval '1 second')"
    ));
    // What only stands somewhere in a payload is nobody's subject.
    pair.save("sid-other", r#"{"cookie":{},"passport":{"user":1},"note":"42"}"#);
    assert_eq!(pair.listed("source=crm").await.len(), 8);
    assert_eq!(pair.listed("user=crm:42").await.len(), 4);
    assert_eq!(pair.listed("source=crm&user=crm:7").await.len(), 3);
    assert!(pair.listed("user=crm:4").await.is_empty());
    let (mut seen, mut next) = (Vec::new(), String::new());
    loop {
        let page = pair
            .admin(1, "GET", &format!("/api/sessions?source=crm&limit=3{next}"))
            .await;
        let page = page.json();
        for item in page["items"].as_array().expect("a list") {
            assert!(item["created_at"].is_null() && item["state"] == "active");
            seen.push(item["public_id"].as_str().expect("an id").to_owned());
        }
        match page["next"].as_str() {
            Some(token) => next = format!("&after={token}"),
            None => break,
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 8);
    for wrong in ["source=shop", "user=shop:42"] {
        assert_eq!(
            pair.admin(0, "GET", &format!("/api/sessions?{wrong}")).await.status,
            404
        );
    }
    for wrong in ["source=crm&user=ada", "source=crm&user=shop:1"] {
        assert_eq!(
            pair.admin(0, "GET", &format!("/api/sessions?{wrong}")).await.status,
            400
        );
    }
}

#[tokio::test]
async fn commands_list_show_and_end_them_beside_a_gateway_on_a_file_of_its_own() {
    let scene = Scene::with(ENDS, |_| Reply::text("hello")).await;
    scene.row("sid0", ADA);
    scene.row("sid1", ADA);
    assert_eq!(scene.told("/", &signed("sid0")).await.as_deref(), Some("crm:42"));
    let run = |args: &[&str]| {
        let output = scene.stage.gateway.command(args, "");
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("sid"), "a key is shown: {said}");
        (output.status.success(), said)
    };
    let (works, said) = run(&["session", "list", "--source", "crm", "--json"]);
    assert!(works, "{said}");
    let listed: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(2), "{said}");
    let id = listed["items"][0]["public_id"].as_str().expect("an id").to_owned();
    let (works, said) = run(&["session", "show", &id]);
    assert!(works && said.contains("crm:42"), "{said}");
    let (works, said) = run(&["session", "end", &id]);
    assert!(works && said.contains("1 session ended"), "{said}");
    assert_eq!(scene.sql("SELECT count(*) FROM session"), "1");
    let (works, said) = run(&["session", "end", "--user", "crm:42", "--json"]);
    assert!(works, "{said}");
    assert_eq!(scene.sql("SELECT count(*) FROM session"), "0");
    let ended = Instant::now();
    while scene.told("/", &signed("sid0")).await.is_some() {
        assert!(ended.elapsed() < SOON, "the gateway saw what another process wrote");
        pause();
    }
    // It is over whatever the application writes.
    scene.row("sid0", ADA);
    assert_eq!(scene.told("/", &signed("sid0")).await, None);
    let (works, said) = run(&["session", "end", &id]);
    assert!(!works && said.contains("there is no session"), "{said}");
    let (works, said) = run(&["session", "list", "--source", "shop"]);
    assert!(!works && said.contains("source list"), "{said}");
}

#[tokio::test]
async fn visitors_see_and_end_their_own_sessions_of_the_application() {
    let scene = Scene::with(ENDS, |_| Reply::text("hello")).await;
    for sid in ["sid0", "sid1", "sid2"] {
        scene.row(sid, ADA);
    }
    scene.row("sid3", BOB);
    let line = format!("Cookie: {}", signed("sid0"));
    let lines = [line.as_str(), "Sec-Fetch-Site: same-origin", "Accept: application/json"];
    let mut client = scene.stage.client().await;
    let me = client.get(HOST, "/.portcullis/me", &lines).await.json();
    assert_eq!(me["username"], "crm:42");
    let state = client.get(HOST, "/.portcullis/session", &lines).await.json();
    assert_eq!(state["state"], "active");
    let own = client.get(HOST, "/.portcullis/sessions", &lines).await;
    assert!(!own.text().contains("sid"), "{}", own.text());
    let own = own.json()["sessions"].as_array().expect("a list").clone();
    assert_eq!(own.len(), 3);
    assert_eq!(
        (&own[0]["current"], &own[0]["public_id"]),
        (&true.into(), &state["public_id"])
    );
    // Somebody else's is as unknown as one that never was; on another host, nobody is signed in.
    let others = client.get("other.example.test", "/.portcullis/me", &lines).await;
    assert_ne!(others.status, 200);
    let mut bob = scene.stage.client().await;
    let bobs = format!("Cookie: {}", signed("sid3"));
    let bobs = [bobs.as_str(), "Sec-Fetch-Site: same-origin", "Accept: application/json"];
    let target = format!("/.portcullis/sessions/{}", own[1]["public_id"].as_str().expect("an id"));
    assert_eq!(bob.request("DELETE", HOST, &target, &bobs, b"").await.status, 404);
    assert_eq!(client.request("DELETE", HOST, &target, &lines, b"").await.status, 204);
    assert_eq!(scene.sql("SELECT count(*) FROM session"), "3");
    let others = "/.portcullis/sessions/end-others";
    assert_eq!(client.request("POST", HOST, others, &lines, b"").await.status, 204);
    assert_eq!(
        scene.sql("SELECT string_agg(sid, ' ' ORDER BY sid) FROM session"),
        "sid0 sid3"
    );
    let page = ["Accept: text/html", "Sec-Fetch-Mode: navigate", line.as_str()];
    for target in ["/.portcullis/", "/.portcullis/sessions", "/.portcullis/logout"] {
        let page = client.get(HOST, target, &page).await;
        assert!(
            page.status == 200 && page.text().contains("crm:42"),
            "{target}: {}",
            page.text()
        );
    }
    // Nothing of ours is theirs: no password to change, no log-in to do again.
    let password = client.get(HOST, "/.portcullis/password", &page).await;
    assert_eq!(password.status, 303);
    let logout = client.request("POST", HOST, "/.portcullis/logout", &lines, b"").await;
    assert_eq!(logout.status, 204, "{}", logout.text());
    assert_eq!(scene.sql("SELECT sid FROM session"), "sid3");
    assert_eq!(scene.told("/", &signed("sid0")).await, None);
    assert_eq!(client.get(HOST, "/.portcullis/me", &lines).await.status, 401);
}

#[tokio::test]
async fn a_log_out_ends_both_sessions_that_a_browser_has() {
    let scene = Scene::with(&format!("{ENDS}\nuser_map = {{ \"42\" = \"ada\" }}"), |_| {
        Reply::text("hello")
    })
    .await;
    scene.row("sid0", ADA);
    scene.row("sid1", ADA);
    let both = format!("Cookie: {}; {}", scene.stage.cookie, signed("sid0"));
    let lines = [both.as_str(), "Sec-Fetch-Site: same-origin", "Accept: application/json"];
    let mut client = scene.stage.client().await;
    let answer = client.request("POST", HOST, "/.portcullis/logout", &lines, b"").await;
    assert_eq!(answer.status, 204, "{}", answer.text());
    assert_eq!(scene.told("/", &scene.stage.cookie).await, None);
    assert_eq!(scene.told("/", &signed("sid0")).await, None);
    // A user of ours by `user_map` finds their rows by the name that the rows have.
    let line = format!("Cookie: {}", signed("sid1"));
    let lines = [line.as_str(), "Sec-Fetch-Site: same-origin", "Accept: application/json"];
    let own = client.get(HOST, "/.portcullis/sessions", &lines).await.json();
    assert_eq!(own["sessions"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn everybodys_end_is_one_in_applications_that_allow_it_and_of_the_others_it_is_said() {
    let database = Postgres::shared().database();
    Postgres::shared().sql(&database, TABLE);
    let shop = Postgres::shared().database();
    Postgres::shared().sql(&shop, TABLE);
    let kept = source(&shop, "")
        .replace("\"crm\"", "\"shop\"")
        .replace(HOST, "other.example.test");
    let both = format!("{}{kept}", source(&database, ENDS));
    let pair = Pair::over(2, &both, database, |_| Reply::text("hello"));
    pair.save("sid0", ADA);
    assert_eq!(pair.ask(1, "/members", "sid0").await.status, 200);
    // More than one page of rows; visitors among them, and such that are over.
    pair.sql(&format!(
        "INSERT INTO session SELECT 'many' || n, '{ADA}', now() AT TIME ZONE 'UTC' + interval '1 hour' \
         FROM generate_series(1, 450) AS n"
    ));
    pair.save("visitor", r#"{"cookie":{}}"#);
    // Too large to be read here: nobody can say that it signs nobody in.
    pair.save(
        "large",
        &ADA.replace("42}", &format!("42}},\"x\":\"{}\"", "x".repeat(70_000))),
    );
    pair.sql(&format!(
        "INSERT INTO session VALUES ('over', '{ADA}', now() AT TIME ZONE 'UTC' - interval '1 second')"
    ));
    Postgres::shared().sql(
        &shop,
        &format!("INSERT INTO session VALUES ('sid0', '{ADA}', now() AT TIME ZONE 'UTC' + interval '1 hour')"),
    );
    pair.gateways[0].add_user("ada", "correct horse battery", &[]);
    let mut browser = pair.client(0).await;
    browser.sign_in(HOST, "ada", "correct horse battery").await;
    let answer = pair.admin(0, "DELETE", "/api/sessions?all=true").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let expected = serde_json::json!({
        "ended": 453,
        "sources": [
            { "source": "crm", "state": "ended", "ended": 452 },
            { "source": "shop", "state": "not_allowed", "ended": 0 },
        ],
    });
    assert_eq!(answer.json(), expected);
    let left = pair.sql("SELECT string_agg(sid, ' ' ORDER BY sid) FROM session");
    assert_eq!(left, "over visitor");
    assert_eq!(Postgres::shared().sql(&shop, "SELECT count(*) FROM session"), "1");
    pair.until_status(1, "sid0", 401).await;
    // It is an end like any other: what a request brings back is nobody's.
    pair.save("sid0", ADA);
    pair.until_status(0, "sid0", 401).await;
    // By command, likewise.
    pair.save("sid8", ADA);
    let ended = pair.gateways[0].command(&["session", "end", "--all"], "");
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(
        ended.status.success() && said.contains("crm: 1 session ended."),
        "{said}"
    );
    assert!(said.contains("shop: left alone"), "{said}");
    assert_eq!(pair.rows("sid8"), "0");
    // Where it cannot be written down, nothing is reported as done.
    pair.save("sid7", ADA);
    pair.store_sql("ALTER TABLE legacy_ended RENAME TO away");
    let answer = pair.admin(0, "DELETE", "/api/sessions?all=true").await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(pair.rows("sid7"), "1");
}

#[tokio::test]
async fn a_route_that_asks_nobody_whose_a_request_is_gives_an_ended_cookie_to_no_application() {
    let public = "[[route]]\nname = \"open\"\nhost = \"app.example.test\"\npath = \"/open\"\nupstream = \"app\"\n\
                  access = \"public\"\n";
    let pair = Pair::start(&format!("{ENDS}\n{public}"), |_| Reply::text("hello"));
    pair.save("sid0", ADA);
    pair.save("sid9", ADA);
    let cookies = async |index: usize, path: &str, sid: &str| {
        pair.app.forget();
        let answer = pair.ask(index, path, sid).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        pair.app.last().values("cookie").join("")
    };
    // One of each kind: nobody is asked, and others are.
    let paths = ["/open", "/ours"];
    let id = pair.ask(0, "/.portcullis/session", "sid0").await.json()["public_id"].clone();
    let answer = pair
        .admin(0, "DELETE", &format!("/api/sessions/{}", id.as_str().expect("an id")))
        .await;
    assert_eq!(answer.status, 204, "{}", answer.text());
    pair.save("sid0", ADA);
    for path in paths {
        assert_eq!(cookies(0, path, "sid0").await, "theme=dark", "{path}");
        // The other instance has seen neither the session nor its end; it was told.
        let started = Instant::now();
        while cookies(1, path, "sid0").await != "theme=dark" {
            assert!(started.elapsed() < PATIENCE, "{path}: it goes on");
            pause();
        }
        let whole = format!("theme=dark; {}", signed("sid9"));
        assert_eq!(cookies(1, path, "sid9").await, whole, "byte for byte");
    }
    // Nobody waits for a database there.
    pair.sql("ALTER TABLE session RENAME TO away");
    pair.store_sql("ALTER TABLE legacy_ended RENAME TO away");
    for path in paths {
        assert_eq!(cookies(1, path, "sid0").await, "theme=dark", "{path}");
        assert_eq!(
            cookies(0, path, "sid9").await,
            format!("theme=dark; {}", signed("sid9"))
        );
    }
}

#[tokio::test]
async fn a_row_that_came_back_is_in_no_list_and_goes_again_when_it_is_seen() {
    let pair = Pair::start(ENDS, |_| Reply::text("hello"));
    pair.save("sid0", ADA);
    let id = pair.id_of("crm:42").await;
    // By a command, which is over before the application saves it once more: nobody looks after the row.
    let ended = pair.gateways[0].command(&["session", "end", "--user", "crm:42"], "");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    pair.save("sid9", ADA);
    let line = format!("Cookie: {}", signed("sid9"));
    let lines = [line.as_str(), "Accept: application/json"];
    for (which, expected) in [
        ("all of the source", "1"),
        ("of the user", "1"),
        ("by its id", "404"),
        ("one's own", "1"),
        ("by command", "1"),
        ("by command and id", "false"),
    ] {
        pair.save("sid0", ADA);
        let found = match which {
            "all of the source" => pair.listed("source=crm").await.len().to_string(),
            "of the user" => pair.listed("user=crm:42").await.len().to_string(),
            "by its id" => {
                let shown = pair.admin(1, "GET", &format!("/api/sessions/{id}")).await;
                shown.status.to_string()
            }
            "one's own" => {
                let own = pair
                    .client(1)
                    .await
                    .get(HOST, "/.portcullis/sessions", &lines)
                    .await
                    .json();
                own["sessions"].as_array().map_or(0, Vec::len).to_string()
            }
            "by command" => {
                let listed = pair.gateways[1].command(&["session", "list", "--source", "crm", "--json"], "");
                let listed: Value = serde_json::from_slice(&listed.stdout).expect("a list");
                listed["items"].as_array().map_or(0, Vec::len).to_string()
            }
            _ => {
                let shown = pair.gateways[1].command(&["session", "show", &id], "");
                shown.status.success().to_string()
            }
        };
        assert_eq!(found, expected, "{which}");
        assert_eq!(pair.rows("sid0"), "0", "{which}: the row stands");
    }
}

#[tokio::test]
async fn a_page_hears_what_becomes_of_a_session_that_the_application_keeps() {
    let pair = Pair::start(ENDS, |_| Reply::text("hello"));
    pair.save("sid0", ADA);
    let mut page = pair.client(1).await;
    let cookie = signed("sid0");
    let request = format!("GET /.portcullis/events HTTP/1.1\r\nHost: {HOST}\r\nCookie: {cookie}\r\n\r\n");
    page.send(request.as_bytes()).await;
    let head = page.head().await;
    assert_eq!(
        (head.status, head.value("content-type")),
        (200, Some("text/event-stream"))
    );
    let id = pair.id_of("crm:42").await;
    let answer = pair.admin(0, "DELETE", &format!("/api/sessions/{id}")).await;
    assert_eq!(answer.status, 204, "{}", answer.text());
    page.until(b"event: ended\n").await;
    let said = page.until(b"\n\n").await;
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains(&id) && said.contains("\"reason\""), "{said}");
    let mut stranger = pair.client(1).await;
    let other = format!("Cookie: {}", signed("sid1"));
    let lines = [other.as_str(), "Accept: application/json"];
    let refused = stranger.get(HOST, "/.portcullis/events", &lines).await;
    assert_eq!(refused.status, 401, "{}", refused.text());
}
