//! `ban`: whose attempts are refused, and lifting that while the gateway runs.

use super::{SMALL, Said};
use crate::support::client::{Client, Response};
use crate::support::gateway::{Gateway, PATIENCE, pause};
use std::time::Instant;

const SECRET: &str = "correct horse battery";

async fn attempt(gateway: &Gateway, user: &str, password: &str) -> Response {
    let mut client = Client::tls(gateway.address(0), "localhost", &gateway.ca()).await;
    let body = serde_json::json!({ "username": user, "password": password }).to_string();
    let lines = ["Content-Type: application/json", "Accept: application/json"];
    let target = "/.portcullis/login";
    client
        .request("POST", "localhost", target, &lines, body.as_bytes())
        .await
}

/// Tries wrong passwords until they are refused.
async fn banned(gateway: &Gateway, user: &str) {
    for _ in 0..3 {
        assert_eq!(attempt(gateway, user, "wrong").await.status, 401, "{user}");
    }
    assert_eq!(attempt(gateway, user, SECRET).await.status, 429, "{user}");
}

fn said(gateway: &Gateway, args: &[&str]) -> Said {
    Said::from(gateway.command(args, ""))
}

/// Waits until `user` may sign in, which is not long.
async fn signs_in(gateway: &Gateway, user: &str) {
    let started = Instant::now();
    while attempt(gateway, user, SECRET).await.status != 200 {
        assert!(started.elapsed() < PATIENCE, "{user} is refused still");
        pause();
    }
}

#[tokio::test]
async fn bans_are_listed_and_lifted_while_the_gateway_runs() {
    let gateway = Gateway::start(&format!(
        "{SMALL}[throttle]\naccount = \"3/30m\"\naddress = \"9/90m\"\n"
    ));
    for name in ["ada", "bob"] {
        gateway.add_user(name, SECRET, &[]);
    }
    assert_eq!(said(&gateway, &["ban", "list"]).ok().out, "Nobody is refused.\n");
    banned(&gateway, "ada").await;
    banned(&gateway, "ghost").await;
    let listed = said(&gateway, &["ban", "list", "--json"]).ok().json();
    let items = listed["items"].as_array().expect("a list").clone();
    let kinds: Vec<_> = items.iter().map(|item| item["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["account", "name"], "{listed}");
    assert_eq!((&items[0]["who"], &items[0]["user"]), (&"ada".into(), &"ada".into()));
    assert!(items[0]["since"].is_string() && items[0]["until"].is_string() && listed["next"].is_null());
    let table = said(&gateway, &["ban", "list"]).ok().out;
    assert!(
        table.contains("ada") && table.contains("a name that is nobody's"),
        "{table}"
    );
    assert!(!table.contains("ghost") && !listed.to_string().contains("ghost"));
    let page = said(&gateway, &["ban", "list", "--limit", "1", "--json"]).ok().json();
    let next = page["next"].as_str().expect("there is more");
    let rest = said(&gateway, &["ban", "list", "--after", next, "--json"]).ok().json();
    assert_eq!(rest["items"][0]["kind"], "name");

    let done = said(&gateway, &["ban", "lift", "ada"]).ok().out;
    assert!(done.contains("1 count of attempts forgotten"), "{done}");
    signs_in(&gateway, "ada").await;
    let ghost = items[1]["id"].as_str().expect("an id");
    assert_eq!(
        said(&gateway, &["ban", "lift", ghost, "--json"]).ok().json()["lifted"][0],
        items[1]["id"]
    );
    said(&gateway, &["ban", "lift", "ghost"]).fails(1, &["nothing was counted", "ban list"]);

    // The address had nine attempts and six wrong ones were made.
    banned(&gateway, "bob").await;
    assert_eq!(
        attempt(&gateway, "ada", SECRET).await.status,
        429,
        "a stranger to this browser"
    );
    said(&gateway, &["ban", "lift", "127.0.0.1"]).ok();
    signs_in(&gateway, "ada").await;
    assert_eq!(attempt(&gateway, "bob", SECRET).await.status, 429);
    said(&gateway, &["ban", "lift", "--all"]).ok();
    signs_in(&gateway, "bob").await;
    said(&gateway, &["ban", "lift"]).fails(2, &["--all"]);
}
