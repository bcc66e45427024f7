//! The gateway's log-in page signs people into express, which is unchanged and takes row and cookie for its own.

use super::express::{app, noted, resaved, rolling, touched};
use super::*;
use serde_json::json;

const PASSWORD: &str = "correct horse battery staple";
const LOGIN: &str = "/.portcullis/login";

impl Data {
    /// Whoever reads may add rows, and delete them at a log-out, too.
    fn may_open(&self) {
        let role = self.reader.trim_start_matches("postgres://");
        let role = role.split('@').next().expect("a role");
        self.sql(&format!(
            "ALTER DEFAULT PRIVILEGES GRANT INSERT, DELETE ON TABLES TO {role}"
        ));
    }
}

/// `open` is what the source says of the cookie.
fn scene(zone: &str, (mut settings, source): (Value, String), open: &str) -> (Scene, String) {
    let data = Data::in_zone(zone);
    data.may_open();
    settings["database"] = data.url.as_str().into();
    let app = Program::node("express.mjs", &settings);
    // The first signs: it must be the application's own.
    let source = source.replace("\"a newer one\", ", "");
    let lines = format!("{source}\nopen = true\nopen_cookie = {open}");
    (Scene::new(data, app, &lines), lines)
}

impl Scene {
    fn ada_is(&self, value: &str) {
        self.gateway.add_user("ada", PASSWORD, &[]);
        let said = self.gateway.command(&["user", "app-user", "ada", "crm", value], "");
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    }

    /// The cookie's part of a row's document, without its end.
    fn document(&self, table: &str, sid: &str) -> Value {
        let text = self
            .data
            .sql(&format!("SELECT sess -> 'cookie' FROM {table} WHERE sid = '{sid}'"));
        let mut cookie: Value = serde_json::from_str(text.trim()).unwrap_or_else(|_| panic!("a document: {text}"));
        let members = cookie.as_object_mut().expect("an object");
        members.remove("expires");
        // Express takes the difference of two moments for it, and may be a moment late.
        if let Some(millis) = members["originalMaxAge"].as_f64() {
            members.insert("originalMaxAge".to_owned(), json!((millis / 1000.0).round()));
        }
        // Express writes one that is false only where the application says so.
        members.retain(|name, value| name != "secure" || *value != json!(false));
        cookie
    }
}

impl Visitor<'_> {
    /// Signs in by the page, as a browser does; the `Set-Cookie` of the application's session.
    async fn signs_in_here(&mut self, cookie: &str) -> String {
        let mut client = Client::tls(self.gateway.address(0), HOST, &self.gateway.ca()).await;
        let kept = format!("Cookie: {}", self.cookie());
        let mut lines = vec!["Accept: text/html", "Sec-Fetch-Mode: navigate"];
        if kept.len() > "Cookie: ".len() {
            lines.push(&kept);
        }
        let page = client.get(HOST, &format!("{LOGIN}?next=/"), &lines).await;
        assert_eq!(page.status, 200);
        self.keep(&page);
        let text = page.text();
        let token = text.split("name=\"csrf\" value=\"").nth(1).expect("a form");
        let token = token.split('"').next().expect("a token");
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("username", "ada"),
                ("password", PASSWORD),
                ("csrf", token),
                ("next", "/"),
            ])
            .finish();
        let kept = format!("Cookie: {}", self.cookie());
        let origin = format!("Origin: https://{HOST}");
        let lines = [
            "Content-Type: application/x-www-form-urlencoded",
            "Accept: text/html",
            "Sec-Fetch-Site: same-origin",
            &origin,
            &kept,
        ];
        let answer = client.request("POST", HOST, LOGIN, &lines, body.as_bytes()).await;
        assert_eq!(
            (answer.status, answer.value("location")),
            (303, Some("/")),
            "{}",
            answer.text()
        );
        self.keep(&answer);
        set(&answer, cookie).expect("the application's cookie")
    }
}

/// The line that sets this cookie.
fn set(answer: &Response, name: &str) -> Option<String> {
    let lines = answer.values("set-cookie");
    let found = lines.iter().find(|line| line.starts_with(&format!("{name}=")))?;
    Some((*found).to_owned())
}

/// What a browser makes of a cookie besides its value and its end.
fn attributes(line: &str) -> Vec<String> {
    let mut parts: Vec<String> = line.split("; ").skip(1).map(str::to_ascii_lowercase).collect();
    parts.retain(|part| !part.starts_with("expires") && !part.starts_with("max-age"));
    parts.sort();
    parts
}

fn sid(line: &str) -> String {
    let value = line.split(['=', ';']).nth(1).expect("a value");
    let value = value.strip_prefix("s%3A").expect("a signed value");
    value.rsplit_once('.').expect("a signature").0.to_owned()
}

/// What holds for each: the application itself says who is signed in, saves its session as ever, and both log-outs end it.
async fn signs_people_in(scene: &Scene, lines: &str, cookie: &str, table: &str, (user, value): (&str, &str)) {
    let mut own = scene.visitor();
    let own_login = own.ask("POST", "/login?user=43").await;
    let theirs = set(&own_login, cookie).expect("the application's own cookie");
    scene.ada_is(value);
    let mut ada = scene.visitor();
    let ours = ada.signs_in_here(cookie).await;
    assert_eq!(attributes(&ours), attributes(&theirs));
    assert_eq!(scene.document(table, &sid(&ours)), scene.document(table, &sid(&theirs)));
    let told = async |visitor: &mut Visitor<'_>| visitor.told().await;
    let both = (Some(user.to_owned()), Some("ada".to_owned()));
    assert_eq!(told(&mut ada).await, both, "the application knows her");
    // It changes her session and saves the whole row; she is who she was.
    assert_eq!(ada.ask("POST", "/note?text=hello").await.status, 204);
    assert_eq!(told(&mut ada).await, both);
    let noted = scene.data.sql(&format!(
        "SELECT sess ->> 'note' FROM {table} WHERE sid = '{}'",
        sid(&ours)
    ));
    assert_eq!(noted.trim(), "hello", "saved under the key that it came with");
    let (works, said) = scene.check(lines, Some(&format!("{cookie}={}", ada.cookies[cookie])));
    assert!(works && said.contains("agree with the zone"), "{said}");
    assert!(said.contains(&format!("the cookie is that of crm:{user}")), "{said}");
    // A second log-in replaces the first, in the application as well.
    let again = ada.signs_in_here(cookie).await;
    assert_ne!(sid(&again), sid(&ours));
    let left = scene
        .data
        .sql(&format!("SELECT count(*) FROM {table} WHERE sid = '{}'", sid(&ours)));
    assert_eq!(left.trim(), "0");
    // Its own log-out.
    assert_eq!(ada.ask("POST", "/logout").await.status, 204);
    let left = scene
        .data
        .sql(&format!("SELECT count(*) FROM {table} WHERE sid = '{}'", sid(&again)));
    assert_eq!(left.trim(), "0");
    let signed_out = Instant::now();
    while ada.told().await != (None, Some("ada".to_owned())) {
        assert!(signed_out.elapsed() < BOUND);
        pause();
    }
    // Ours.
    drop(ada.signs_in_here(cookie).await);
    assert_eq!(told(&mut ada).await, both);
    let answer = ada.ask("POST", "/.portcullis/logout").await;
    assert_eq!(answer.status, 204, "{}", answer.text());
    assert!(set(&answer, cookie).expect("it is taken").contains("Max-Age=0"));
    // A browser that keeps both cookies all the same.
    assert_eq!(ada.told().await, (None, None));
    // Whom nobody spoke of is left alone.
    assert_eq!(own.known().await, "43");
}

#[tokio::test]
async fn an_application_with_passport_takes_people_whom_the_gateway_signed_in() {
    let (scene, lines) = scene(
        "America/New_York",
        touched(),
        r#"{ max_age = "7d", same_site = "lax", secure = false }"#,
    );
    signs_people_in(&scene, &lines, "connect.sid", "session", ("42", "42")).await;
}

#[tokio::test]
async fn an_application_with_rolling_cookies_for_https_takes_people_whom_the_gateway_signed_in() {
    let (scene, lines) = scene(
        "Asia/Kolkata",
        rolling(),
        r#"{ max_age = "12h", same_site = "strict", secure = true }"#,
    );
    signs_people_in(&scene, &lines, "nestmap.sid", "session", ("42", "\"42\"")).await;
}

#[tokio::test]
async fn an_application_that_saves_each_session_takes_people_whom_the_gateway_signed_in() {
    let (scene, lines) = scene(
        "Etc/UTC",
        resaved(),
        r#"{ max_age = "24h", same_site = "lax", secure = false }"#,
    );
    let object = r#"{"userId":"42","role":"clerk"}"#;
    signs_people_in(&scene, &lines, "connect.sid", "schema_system.session", ("42", object)).await;
}

#[tokio::test]
async fn an_application_with_ids_of_its_own_takes_people_whom_the_gateway_signed_in() {
    let (scene, lines) = scene(
        "Asia/Kolkata",
        noted(),
        r#"{ max_age = "72h", same_site = "strict", secure = false }"#,
    );
    signs_people_in(&scene, &lines, "connect.sid", "sessions", ("42", "\"42\"")).await;
}

/// A cookie without an end, and a table that nobody has made.
#[tokio::test]
async fn a_table_that_the_gateway_made_and_cookies_without_an_end_are_the_librarys_own() {
    let mut data = Data::in_zone("America/New_York");
    data.reader.clone_from(&data.url);
    let cookie = json!({ "sameSite": "lax" });
    let mut settings = app(json!({ "resave": false, "schema": "schema_system", "table": "logins", "cookie": cookie }));
    settings["database"] = data.url.as_str().into();
    let app = Program::node("express.mjs", &settings);
    let lines = "preset = \"express\"\nsecrets = [\"keyboard cat\"]\nuser = \"/userId\"\ntable = \"schema_system.logins\"\n\
        open = true\nopen_cookie = { secure = false }\ncreate_table = true";
    let scene = Scene::new(data, app, lines);
    scene
        .gateway
        .wait_for_log("made the table of an application's sessions");
    scene.ada_is("\"42\"");
    let mut ada = scene.visitor();
    let ours = ada.signs_in_here("connect.sid").await;
    assert!(!ours.contains("Max-Age") && !ours.contains("Expires"), "{ours}");
    assert_eq!(ada.told().await, (Some("42".to_owned()), Some("ada".to_owned())));
    let mut own = scene.visitor();
    let theirs = own.ask("POST", "/login?user=43").await;
    let theirs = set(&theirs, "connect.sid").expect("the application's own cookie");
    assert_eq!(attributes(&ours), attributes(&theirs));
    let table = "schema_system.logins";
    assert_eq!(scene.document(table, &sid(&ours)), scene.document(table, &sid(&theirs)));
    let apart = "SELECT count(*) FROM schema_system.logins a, schema_system.logins b \
        WHERE abs(extract(epoch FROM a.expire - b.expire)) > 60";
    assert_eq!(scene.data.sql(apart).trim(), "0", "both end in a day");
    // As the library itself makes it, beside it in another schema.
    scene.data.sql("CREATE SCHEMA other");
    settings["schema"] = "other".into();
    let other = Program::node("express.mjs", &settings);
    let mut client = Client::plain(other.address()).await;
    let answer = client.request("POST", HOST, "/login?user=1", &[], b"").await;
    assert_eq!(answer.status, 204);
    let described = |schema: &str| {
        let sql = format!(
            "SELECT string_agg(column_name || data_type || is_nullable || coalesce(datetime_precision, 0), ',' ORDER BY \
             ordinal_position) || (SELECT string_agg(replace(indexdef, '{schema}.', ''), ',' ORDER BY indexname) \
             FROM pg_indexes WHERE schemaname = '{schema}') FROM information_schema.columns WHERE table_schema = '{schema}'"
        );
        scene.data.sql(&sql)
    };
    assert_eq!(described("schema_system"), described("other"));
}
