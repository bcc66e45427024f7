use super::{Office, SECRETS, refused};
use crate::support::postgres::Postgres;
use serde_json::json;

#[tokio::test]
async fn while_the_store_is_down_nothing_is_reported_done() {
    let server = Postgres::private();
    let url = server.database();
    let office = Office::start(&format!(
        "[store]\nurl = \"{url}\"\ncall_timeout = \"500ms\"\n{SECRETS}"
    ));
    let id = office.add("ada", &["admins"]).await;
    let cookie = office.sign_in("ada").await;
    assert!(office.opens(&cookie).await);
    let session = office.json("/api/sessions").await["items"][0]["public_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    server.stop();
    for (method, target, body) in [
        ("DELETE", format!("/api/sessions/{session}"), None),
        ("DELETE", "/api/sessions?user=ada".to_owned(), None),
        ("DELETE", "/api/sessions?all=true".to_owned(), None),
        (
            "PATCH",
            format!("/api/users/{id}"),
            Some(json!({ "state": "disabled" })),
        ),
        ("DELETE", format!("/api/users/{id}"), None),
        ("POST", "/api/users".to_owned(), Some(json!({ "username": "eve" }))),
        ("GET", "/api/users".to_owned(), None),
        ("GET", "/api/sessions".to_owned(), None),
        ("GET", "/api/audit".to_owned(), None),
        ("GET", "/api/stats".to_owned(), None),
    ] {
        let answer = office.ask(method, &target, body).await;
        refused(&answer, 503, "nothing is reported as done");
        assert!(answer.value("retry-after").is_some(), "{method} {target}");
    }
    let mut client = office.client().await;
    let answer = client
        .get(
            super::HOST,
            "/.portcullis/admin/users",
            &[&cookie, "Accept: application/json"],
        )
        .await;
    assert_eq!(answer.status, 503, "whose session it is could not be asked");
    server.start();
    let started = std::time::Instant::now();
    while office.get("/api/users").await.status != 200 {
        assert!(started.elapsed() < crate::support::gateway::PATIENCE);
    }
    assert_eq!(
        office.json(&format!("/api/sessions/{session}")).await["state"],
        "active"
    );
    assert_eq!(
        office
            .ask("DELETE", &format!("/api/sessions/{session}"), None)
            .await
            .status,
        204
    );
}
