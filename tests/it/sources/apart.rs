//! A source whose database is slow or gone is nobody else's affair.

use super::*;
use crate::support::client::Client;
use crate::support::path::{Mode, Path};

const ADA: &str = r#"{"cookie":{},"passport":{"user":42}}"#;
const OTHER: &str = r#"
[[route]]
name = "erp"
host = "app.example.test"
path = "/erp"
upstream = "app"
access = "optional"
sessions = ["native", "erp"]
"#;

/// Two applications, the one called `crm` behind a path that can fail.
async fn two(call_timeout: &str) -> (Scene, Path) {
    let server = Postgres::shared();
    let (database, other) = (server.database(), server.database());
    for database in [&database, &other] {
        server.sql(database, TABLE);
    }
    let path = Path::to(server.port());
    let port = |port: u16| format!("127.0.0.1:{port}/");
    let reached = database.replace(&port(server.port()), &port(path.port()));
    let more = format!("max_age = \"0s\"\ncall_timeout = \"{call_timeout}\"");
    let erp = source(&other, "max_age = \"0s\"\ncookie = \"erp.sid\"").replace("\"crm\"", "\"erp\"");
    let routes = format!("{ROUTES}{OTHER}\n{}{erp}", source(&reached, &more));
    let stage = Stage::with("", &routes, |_| Reply::text("hello")).await;
    let end = "now() AT TIME ZONE 'UTC' + interval '1 hour'";
    for database in [&database, &other] {
        server.sql(
            database,
            &format!("INSERT INTO session VALUES ('sid0', '{ADA}', {end})"),
        );
    }
    (Scene { stage, database }, path)
}

/// Whoever needs nothing of `crm` is served as ever, whatever cookies of its they carry.
async fn others_are_served(scene: &Scene) {
    let theirs = signed("sid0");
    let erp = theirs.replace("connect.sid", "erp.sid");
    let ours = &scene.stage.cookie;
    let ready = Client::plain(scene.stage.gateway.admin())
        .await
        .get("localhost", "/readyz", &[])
        .await;
    assert_eq!(ready.status, 200, "{}", ready.text());
    for (target, cookies, user) in [
        ("/ours", format!("{ours}; {theirs}"), Some("ada")),
        ("/ours", theirs.clone(), None),
        ("/", ours.clone(), Some("ada")),
        ("/", String::from("a=b"), None),
        ("/erp", format!("{erp}; {theirs}"), Some("erp:42")),
    ] {
        assert_eq!(scene.told(target, &cookies).await.as_deref(), user, "{target} {user:?}");
    }
}

#[tokio::test]
async fn a_database_that_is_gone_is_503_on_its_own_routes_and_comes_back_by_itself() {
    let (scene, path) = two("2s").await;
    for _ in 0..2 {
        path.set(Mode::Closed);
        path.cut();
        let mut client = scene.stage.client().await;
        let cookie = format!("Cookie: {}", signed("sid0"));
        let answer = client.get(HOST, "/", &[&cookie]).await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(answer.value("retry-after").is_some() && answer.values("set-cookie").is_empty());
        others_are_served(&scene).await;
        path.set(Mode::Open);
        let back = std::time::Instant::now();
        while scene.get("/", &[&cookie]).await.0 != 200 {
            assert!(back.elapsed() < SOON);
            crate::support::gateway::pause();
        }
        assert_eq!(scene.told("/", &signed("sid0")).await.as_deref(), Some("crm:42"));
    }
}

#[tokio::test]
async fn a_database_that_was_never_there_keeps_no_gateway_from_starting() {
    let erp = source("postgres://reader@127.0.0.1:1/crm", "call_timeout = \"1s\"");
    let stage = Stage::with("", &format!("{ROUTES}\n{erp}"), |_| Reply::text("hello")).await;
    let scene = Scene {
        stage,
        database: String::new(),
    };
    let ours = scene.stage.cookie.clone();
    assert_eq!(scene.told("/", &ours).await.as_deref(), Some("ada"));
    let (status, _) = scene.get("/", &[&format!("Cookie: {}", signed("sid0"))]).await;
    assert_eq!(status, 503);
}
