use super::*;
use crate::support::gateway::{Gateway, pause};
use std::time::Instant;

const ADA: &str = r#"{"cookie":{},"passport":{"user":42}}"#;

#[tokio::test]
async fn whoever_the_application_does_not_know_is_nobody() {
    let scene = Scene::new().await;
    scene.row("anonymous", r#"{"cookie":{}}"#);
    scene.row("object", r#"{"cookie":{},"passport":{"user":{"id":42}}}"#);
    scene.row("live", ADA);
    scene.sql(&format!(
        "INSERT INTO session VALUES ('over', '{ADA}', now() AT TIME ZONE 'UTC' - interval '1 second')"
    ));
    assert_eq!(scene.told("/", &signed("live")).await.as_deref(), Some("crm:42"));
    for sid in ["anonymous", "object", "over", "absent"] {
        assert_eq!(scene.told("/", &signed(sid)).await, None, "{sid}");
    }
    let forged = signed("live").replace("s%3Alive", "s%3Aover");
    assert_eq!(scene.told("/", &forged).await, None);
    assert_eq!(scene.told("/", "connect.sid=s%3Alive.AAAA").await, None);
    // Nobody is signed out by it: the cookie is the application's.
    let (status, _) = scene.get("/members", &[&format!("Cookie: {}", signed("over"))]).await;
    assert!([302, 401].contains(&status), "{status}");
}

#[tokio::test]
async fn the_first_of_two_cookies_counts_as_the_application_takes_it() {
    let scene = Scene::new().await;
    scene.row("live", ADA);
    let (live, dead) = (signed("live"), signed("dead"));
    assert_eq!(
        scene.told("/", &format!("{live}; {dead}")).await.as_deref(),
        Some("crm:42")
    );
    assert_eq!(scene.told("/", &format!("{dead}; {live}")).await, None);
}

#[tokio::test]
async fn who_is_signed_in_twice_as_two_users_is_told_so_and_nobody_is_forwarded() {
    let scene = Scene::new().await;
    scene.row("sid0", ADA);
    let both = format!("Cookie: {}; {}", scene.stage.cookie, signed("sid0"));
    let mut client = scene.stage.client().await;
    let script = client.get(HOST, "/", &[&both, "Accept: application/json"]).await;
    assert_eq!(script.status, 401);
    assert_eq!(script.json()["type"], "urn:portcullis:signed-in-twice");
    let page = ["Accept: text/html", "Sec-Fetch-Mode: navigate", &both];
    let page = client.get(HOST, "/", &page).await;
    assert_eq!(page.status, 401);
    assert!(page.text().contains("signed in twice"));
    assert!(page.values("set-cookie").is_empty());
    assert!(scene.stage.app.requests().is_empty());
    // Where the application's sessions are not accepted, there is no contradiction.
    assert_eq!(
        scene.told("/ours", &both["Cookie: ".len()..]).await.as_deref(),
        Some("ada")
    );
}

#[tokio::test]
async fn who_is_signed_in_twice_is_told_how_to_mend_it_and_can() {
    let scene = Scene::with("logout_paths = [\"/logout\"]", |_| Reply::text("bye")).await;
    scene.row("sid0", ADA);
    let both = format!("Cookie: {}; {}", scene.stage.cookie, signed("sid0"));
    let mut client = scene.stage.client().await;
    let script = client.get(HOST, "/members", &[&both, "Accept: application/json"]).await;
    let told = script.json();
    assert_eq!(
        (script.status, told["error"].as_str()),
        (401, Some("Two users are signed in at once"))
    );
    assert_eq!(
        told["logout_urls"],
        serde_json::json!(["/.portcullis/logout", "/logout"])
    );
    let lines = ["Accept: text/html", "Sec-Fetch-Mode: navigate", &both];
    let page = client.get(HOST, "/members", &lines).await.text();
    for link in [
        "href=\"/.portcullis/logout\">Sign out here</a>",
        "href=\"/logout\">Sign out of crm</a>",
    ] {
        assert!(page.contains(link), "{page}");
    }
    // The second link leads to the application, which is told of its own user and of nobody else.
    assert!(scene.stage.app.requests().is_empty());
    let (status, told) = scene.get("/logout", &[&both]).await;
    assert_eq!(status, 200);
    assert_eq!(told.expect("it was forwarded").values("x-forwarded-user"), ["crm:42"]);
    assert_eq!(
        scene.get("/logout/all", &[&both]).await.0,
        401,
        "that path and no other"
    );
    // What the application would have done.
    scene.sql("DELETE FROM session");
    scene.get("/logout", &[&both]).await;
    assert_eq!(scene.told("/", &both["Cookie: ".len()..]).await.as_deref(), Some("ada"));
}

#[tokio::test]
async fn who_is_signed_in_twice_is_audited_once_a_minute_by_name_and_without_a_secret() {
    let scene = Scene::new().await;
    scene.row("sid0", ADA);
    let both = format!("Cookie: {}; {}", scene.stage.cookie, signed("sid0"));
    for _ in 0..20 {
        assert_eq!(scene.get("/", &[&both]).await.0, 401);
    }
    let conflicts = || {
        let output = scene.stage.gateway.command(&["audit", "--json"], "");
        let said = String::from_utf8(output.stdout).expect("JSON is text");
        let lines = said.lines().map(|line| serde_json::from_str(line).expect("JSON"));
        let conflicts = lines.filter(|event: &serde_json::Value| event["kind"] == "session_conflict");
        conflicts.collect::<Vec<_>>()
    };
    let started = Instant::now();
    while conflicts().len() < 2 {
        assert!(started.elapsed() < SOON);
        pause();
    }
    let events = conflicts();
    let mut names: Vec<_> = events.iter().map(|event| event["username"].as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, [Some("ada"), Some("crm:42")], "{events:?}");
    for event in &events {
        assert_eq!(event["reason"], "two_users");
        let text = event.to_string();
        assert!(!text.contains("sid0") && !text.contains(SECRET), "{text}");
    }
}

#[tokio::test]
async fn where_an_operator_says_so_the_first_of_two_users_counts() {
    let scene = Scene::with("on_conflict = \"first\"", |_| Reply::text("hello")).await;
    scene.row("sid0", ADA);
    let both = format!("{}; {}", scene.stage.cookie, signed("sid0"));
    assert_eq!(scene.told("/", &both).await.as_deref(), Some("ada"));
    assert_eq!(scene.told("/", &signed("sid0")).await.as_deref(), Some("crm:42"));
}

#[tokio::test]
async fn its_users_are_nobody_on_other_hosts_and_on_routes_that_do_not_name_it() {
    let scene = Scene::new().await;
    scene.row("sid0", ADA);
    let line = format!("Cookie: {}", signed("sid0"));
    let (status, told) = scene.get("/ours", &[&line]).await;
    assert_eq!((status, told.unwrap().values("x-forwarded-user").len()), (200, 0));
    let mut client = crate::support::client::Client::plain(scene.stage.gateway.address(1)).await;
    scene.stage.app.forget();
    let answer = client.get("other.example.test", "/", &[&line]).await;
    assert_eq!(answer.status, 200);
    assert!(scene.stage.app.last().values("x-forwarded-user").is_empty());
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_nobodys_and_the_log_says_so_once() {
    let scene = Scene::with("max_age = \"0s\"", |_| Reply::text("hello")).await;
    scene.sql("ALTER TABLE session ALTER COLUMN sess TYPE text");
    scene.row("broken", "{");
    let large = format!(r#"{{"passport":{{"user":42}},"x":"{}"}}"#, "x".repeat(70_000));
    scene.row("large", &large);
    for _ in 0..3 {
        assert_eq!(scene.told("/", &signed("broken")).await, None);
        assert_eq!(scene.told("/", &signed("large")).await, None);
    }
    let log = scene.stage.gateway.log();
    assert_eq!(
        log.matches("sessions of an application cannot be read").count(),
        1,
        "{log}"
    );
    // Each look-up is counted, the log's one line or not; 64 KiB and a little is too large, 64 KiB less a little is not.
    let counted = |fault: &str| format!("portcullis_source_faults_total{{source=\"crm\",fault=\"{fault}\"}}");
    let mut client = crate::support::client::Client::plain(scene.stage.gateway.admin()).await;
    let metrics = client.get("127.0.0.1", "/metrics", &[]).await.text();
    assert!(metrics.contains(&format!("{} 6\n", counted("row"))), "{metrics}");
    assert!(metrics.contains(&format!("{} 0\n", counted("group"))), "{metrics}");
    let fits = format!(r#"{{"passport":{{"user":42}},"x":"{}"}}"#, "x".repeat(65_000));
    scene.row("fits", &fits);
    assert_eq!(scene.told("/", &signed("fits")).await.as_deref(), Some("crm:42"));
}

#[tokio::test]
async fn a_group_with_the_delimiter_is_dropped_and_counted() {
    let scene = Scene::with("max_age = \"5m\"", |_| Reply::text("hello")).await;
    let roles = r#"["staff","a,b","c,d",7]"#;
    scene.row("sid0", &format!(r#"{{"passport":{{"user":42}},"roles":{roles}}}"#));
    let (_, told) = scene.get("/", &[&format!("Cookie: {}", signed("sid0"))]).await;
    assert_eq!(
        told.expect("it was forwarded").values("x-forwarded-groups"),
        ["crm:staff"]
    );
    let mut client = crate::support::client::Client::plain(scene.stage.gateway.admin()).await;
    let metrics = client.get("127.0.0.1", "/metrics", &[]).await.text();
    let counted = "portcullis_source_faults_total{source=\"crm\",fault=\"group\"} 3\n";
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test]
async fn a_group_with_a_delimiter_of_one_route_is_dropped_and_counted_there() {
    let route = "[[route]]\nname = \"bars\"\nhost = \"app.example.test\"\npath = \"/bars\"\nupstream = \"app\"\n\
                 access = \"optional\"\nsessions = [\"crm\"]\n\
                 identity = { preset = \"oauth2-proxy\", delimiter = \"|\" }\n";
    let scene = Scene::with(&format!("max_age = \"5m\"\n{route}"), |_| Reply::text("hello")).await;
    scene.row("sid0", r#"{"passport":{"user":42},"roles":["a|b","staff"]}"#);
    let line = format!("Cookie: {}", signed("sid0"));
    let counted = async |times: u32| {
        let mut client = crate::support::client::Client::plain(scene.stage.gateway.admin()).await;
        let metrics = client.get("127.0.0.1", "/metrics", &[]).await.text();
        let line = format!("portcullis_source_faults_total{{source=\"crm\",fault=\"group\"}} {times}\n");
        assert!(metrics.contains(&line), "{metrics}");
    };
    for (path, groups, times) in [
        ("/", "crm:a|b,crm:staff", 0),
        ("/bars", "crm:staff", 1),
        ("/bars", "crm:staff", 1),
    ] {
        let (_, told) = scene.get(path, &[&line]).await;
        let told = told.expect("it was forwarded");
        assert_eq!(told.values("x-forwarded-groups"), [groups], "{path}");
        counted(times).await;
    }
}

#[tokio::test]
async fn a_table_that_cannot_be_asked_is_503_on_its_own_routes_only() {
    let scene = Scene::with("max_age = \"0s\"", |_| Reply::text("hello")).await;
    scene.row("sid0", ADA);
    assert!(scene.told("/", &signed("sid0")).await.is_some());
    scene.sql("ALTER TABLE session RENAME TO away");
    let line = format!("Cookie: {}", signed("sid0"));
    let mut client = scene.stage.client().await;
    let answer = client.get(HOST, "/", &[&line]).await;
    assert_eq!(answer.status, 503);
    assert!(answer.value("retry-after").is_some() && answer.values("set-cookie").is_empty());
    let (status, _) = scene.get("/ours", &[&line, &scene.stage.cookie_line()]).await;
    assert_eq!(status, 200);
    // Without a cookie of the application's there is nothing to ask.
    assert_eq!(
        scene.told("/", &scene.stage.cookie.clone()).await.as_deref(),
        Some("ada")
    );
    scene.sql("ALTER TABLE away RENAME TO session");
    let back = Instant::now();
    while scene.get("/", &[&line]).await.0 != 200 {
        assert!(back.elapsed() < SOON);
        pause();
    }
}

#[test]
fn a_source_that_cannot_be_right_is_refused_with_the_fix() {
    let whole = |source: &str| format!("{ROUTES}\n{source}");
    let good = source("postgres://reader@127.0.0.1:1/crm", "");
    let text = |source: &str| crate::support::stage::config("", &whole(source), "http://127.0.0.1:1");
    let without_user = good.replace("user = \"/passport/user\"\n", "");
    let without_secret = good.replace(&format!("secrets = [\"new secret\", \"{SECRET}\"]\n"), "");
    let twin = format!("{good}{}", good.replace("name = \"crm\"", "name = \"crm2\""));
    let column = format!("{good}email = \"a.b\"\n").replace("email = \"/email\"\n", "");
    for (wrong, says) in [
        (without_user, "user = \"/passport/user\" for Passport"),
        (without_secret, "secrets = [\"env:SESSION_SECRET\"]"),
        (twin, "one cookie name belongs to one source on a host"),
        (column, "is no place"),
        (good.replace("\"crm\"", "\"native\""), "is no name for a source"),
        (
            format!("{good}require = {{ \"/mfa\" = [1] }}\n"),
            "a text, a number, true or false",
        ),
    ] {
        let refused = Gateway::try_start(&text(&wrong)).err().expect("it is refused");
        assert_eq!(refused.code, Some(2), "{}", refused.stderr);
        assert!(refused.stderr.contains(says), "{says}: {}", refused.stderr);
    }
}
