//! The example in docs/examples/offline, from its very files.

use super::*;
use crate::support::upstream::Upstream;
use std::sync::Arc;

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/examples/offline");
const PAGE: &str = "localhost";

fn file(name: &str) -> String {
    std::fs::read_to_string(format!("{HERE}/{name}")).unwrap()
}

/// The application as server.py serves it.
fn application(request: &Recorded) -> Reply {
    let (name, kind) = match request.target().as_str() {
        "/app/" => ("index.html", "text/html; charset=utf-8"),
        "/app/app.js" => ("app.js", "text/javascript"),
        "/app/worker.js" | "/worker.js" => ("worker.js", "text/javascript"),
        "/app/style.css" => ("style.css", "text/css"),
        _ => return Reply::status(404, "not found"),
    };
    Reply::Fixed {
        status: 200,
        headers: vec![("Content-Type".to_owned(), kind.to_owned())],
        body: file(&format!("app/{name}")).into(),
    }
}

#[tokio::test]
async fn the_example_is_served_and_its_worker_is_let_through() {
    let app = Upstream::start(application);
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let places = [("GATEWAY_ADDRESS", "127.0.0.1:0"), ("NOTES_URL", &app.url())];
    let gateway = Gateway::try_start_in(&folder, &file("portcullis.toml"), &places)
        .unwrap_or_else(|end| panic!("{}", end.stderr));
    let mut client = Client::plain(gateway.address(0)).await;
    let answer = client.get(PAGE, "/app/", &["Accept: text/html"]).await;
    assert_eq!(answer.status, 302);
    gateway.add_user(USER, PASSWORD, &[]);
    let cookie = client.sign_in(PAGE, USER, PASSWORD).await;
    let cookie = format!("Cookie: {cookie}");
    let page = client.get(PAGE, "/app/", &[&cookie]).await.text();
    for id in [
        "user", "status", "banner", "message", "stay", "login", "form", "note", "add", "queue", "sent",
    ] {
        assert!(page.contains(&format!("id=\"{id}\"")), "{id}");
    }
    let script = ["Service-Worker: script", &cookie];
    assert_eq!(client.get(PAGE, "/app/worker.js", &script).await.status, 200);
    assert_eq!(
        client.get(PAGE, "/worker.js", &script).await.status,
        403,
        "it would cover the log-in page"
    );
    let lines = [
        cookie.as_str(),
        "Content-Type: application/json",
        "Sec-Fetch-Site: same-origin",
    ];
    let body = br#"{"device":{"name":"Notes on Linux"}}"#;
    let answer = client.request("POST", PAGE, "/.portcullis/sync", &lines, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn the_script_of_the_example_finds_what_it_names() {
    let (page, script) = (file("app/index.html"), file("app/app.js"));
    let named: Vec<&str> = script
        .split("$(\"")
        .skip(1)
        .filter_map(|rest| rest.split_once('"').map(|(id, _)| id))
        .collect();
    assert!(named.len() > 8);
    for id in named {
        assert!(page.contains(&format!("id=\"{id}\"")), "{id}");
    }
}
