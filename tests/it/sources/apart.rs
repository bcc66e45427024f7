//! A source whose database is slow or gone is nobody else's affair.

use super::*;
use crate::support::client::Client;
use crate::support::path::{Mode, Path};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

const ADA: &str = r#"{"cookie":{},"passport":{"user":42}}"#;
/// More than the connections to the application's database, and more than all workers.
const MANY: usize = 40;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_does_not_answer_holds_up_its_own_routes_only() {
    let (scene, path) = two("1m").await;
    assert_eq!(scene.told("/", &signed("sid0")).await.as_deref(), Some("crm:42"));
    path.set(Mode::Dark);
    let (answered, made) = (Arc::new(AtomicUsize::new(0)), path.made());
    let address = scene.stage.gateway.address(1);
    let held: Vec<_> = (0..MANY)
        .map(|number| {
            let cookie = format!("Cookie: {}", signed(&format!("sid{number}")));
            let answered = Arc::clone(&answered);
            tokio::spawn(async move {
                let answer = Client::plain(address).await.get(HOST, "/", &[&cookie]).await;
                answered.fetch_add(1, SeqCst);
                answer
            })
        })
        .collect();
    // They wait for an answer, or for a connection to ask by: more are made for them.
    let begun = std::time::Instant::now();
    while path.made() == made {
        assert!(begun.elapsed() < crate::support::gateway::PATIENCE, "nobody asked");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    others_are_served(&scene).await;
    assert_eq!(answered.load(SeqCst), 0, "the others did not wait for those who wait");
    path.set(Mode::Open);
    for answer in held {
        let answer = answer.await.expect("it is answered");
        assert!(matches!(answer.status, 200 | 503), "{}", answer.text());
        assert!(answer.values("set-cookie").is_empty(), "nobody is punished");
    }
    assert_eq!(scene.told("/", &signed("sid0")).await.as_deref(), Some("crm:42"));
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
