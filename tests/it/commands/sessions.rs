//! `session`: who is signed in, and ending it while the gateway runs.

use super::{SMALL, Said};
use crate::support::client::Client;
use crate::support::gateway::{Gateway, PATIENCE, pause};
use crate::support::postgres::Postgres;
use std::time::{Duration, Instant};

const SECRET: &str = "correct horse battery";

async fn status_of(gateway: &Gateway, cookie: &str) -> u16 {
    let mut client = Client::tls(gateway.address(0), "localhost", &gateway.ca()).await;
    let cookie = format!("Cookie: {cookie}");
    client
        .get("localhost", "/.portcullis/me", &[&cookie, "Accept: application/json"])
        .await
        .status
}

async fn sign_in(gateway: &Gateway, user: &str) -> String {
    let mut client = Client::tls(gateway.address(0), "localhost", &gateway.ca()).await;
    client.sign_in("localhost", user, SECRET).await
}

/// Waits until the session of `cookie` is refused.
async fn refused(gateway: &Gateway, cookie: &str) {
    let started = Instant::now();
    while status_of(gateway, cookie).await != 401 {
        assert!(started.elapsed() < PATIENCE, "an ended session is still let in");
        pause();
    }
}

fn said(gateway: &Gateway, args: &[&str]) -> Said {
    Said::from(gateway.command(args, ""))
}

#[tokio::test]
async fn sessions_are_listed_shown_and_ended_while_the_gateway_runs() {
    let gateway = Gateway::start(SMALL);
    for name in ["ada", "bob"] {
        gateway.add_user(name, SECRET, &[]);
    }
    assert_eq!(said(&gateway, &["session", "list"]).ok().out, "No sessions.\n");
    let (first, second) = (sign_in(&gateway, "ada").await, sign_in(&gateway, "ada").await);
    let other = sign_in(&gateway, "bob").await;
    assert_eq!(status_of(&gateway, &first).await, 200);

    let listed = said(&gateway, &["session", "list", "--json"]).ok().json();
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(3));
    assert_eq!(listed["items"][0]["user"], "bob", "the newest comes first");
    let of_ada = said(&gateway, &["session", "list", "--user", "ada", "--json"])
        .ok()
        .json();
    assert_eq!(of_ada["items"].as_array().map(Vec::len), Some(2));
    let newest = of_ada["items"][0].clone();
    let id = newest["public_id"].as_str().expect("a public id");
    assert_eq!(newest["state"], "active");
    assert_eq!(said(&gateway, &["session", "show", id, "--json"]).ok().json(), newest);
    assert!(said(&gateway, &["session", "show", id]).ok().out.contains("ada"));
    assert!(said(&gateway, &["session", "list"]).ok().out.contains(id));

    let ended = said(&gateway, &["session", "end", id, "--json"]).ok().json();
    assert_eq!(ended, serde_json::json!({ "ended": [id] }));
    refused(&gateway, &second).await;
    assert_eq!(
        status_of(&gateway, &first).await,
        200,
        "another session of the same user goes on"
    );
    said(&gateway, &["session", "end", id]).fails(1, &["there is no session"]);
    said(&gateway, &["session", "show", id]).fails(1, &["there is no session"]);

    let ended = said(&gateway, &["session", "end", "--user", "ada"]).ok().out;
    assert_eq!(ended, "1 session ended. A running gateway acts on it at once.\n");
    refused(&gateway, &first).await;
    assert_eq!(status_of(&gateway, &other).await, 200, "another user's session goes on");
    said(&gateway, &["session", "end", "--all"]).ok();
    refused(&gateway, &other).await;
}

#[tokio::test]
async fn a_user_who_is_disabled_or_deleted_or_gets_a_new_password_is_signed_out() {
    let gateway = Gateway::start(SMALL);
    gateway.add_user("ada", SECRET, &[]);
    let cookie = sign_in(&gateway, "ada").await;
    let out = said(&gateway, &["user", "disable", "ada"]).ok().out;
    assert!(out.contains("1 session ended"), "{out}");
    refused(&gateway, &cookie).await;
    said(&gateway, &["user", "enable", "ada"]).ok();
    let cookie = sign_in(&gateway, "ada").await;
    Said::from(gateway.command(&["user", "password", "ada", "--password-stdin"], SECRET)).ok();
    refused(&gateway, &cookie).await;
    let cookie = sign_in(&gateway, "ada").await;
    said(&gateway, &["user", "delete", "ada"]).ok();
    refused(&gateway, &cookie).await;
}

#[tokio::test]
async fn on_postgres_every_instance_refuses_within_the_time_that_the_command_names() {
    let url = Postgres::shared().database();
    let secrets = "[session]\nsecrets = [\"0123456789abcdef0123456789abcdef\"]\n";
    let config = format!("[store]\nurl = \"{url}\"\n{secrets}{SMALL}");
    let (one, two) = (Gateway::start(&config), Gateway::start(&config));
    one.add_user("ada", SECRET, &[]);
    let cookie = sign_in(&one, "ada").await;
    assert_eq!(
        status_of(&two, &cookie).await,
        200,
        "an instance knows the sessions of another"
    );
    let out = said(&one, &["user", "disable", "ada"]).ok().out;
    assert_eq!(
        out,
        "ada may no longer sign in; 1 session ended. Every instance acts on it at once; one that has lost the database's \
         feed, within 5 seconds.\n"
    );
    let started = Instant::now();
    refused(&one, &cookie).await;
    refused(&two, &cookie).await;
    let took = started.elapsed();
    assert!(took < Duration::from_secs(20), "5 seconds and a slow machine: {took:?}");
}

#[tokio::test]
async fn a_public_id_is_the_only_name_of_a_session_that_is_shown() {
    let gateway = Gateway::start(SMALL);
    gateway.add_user("ada", SECRET, &[]);
    let cookie = sign_in(&gateway, "ada").await;
    let (_, token) = cookie.split_once('=').expect("a cookie pair");
    let list = said(&gateway, &["session", "list", "--json"]).ok().out;
    assert!(
        list.contains("ada") && !list.contains(&token[..16]) && !list.contains("digest"),
        "{list}"
    );
    let log = gateway.terminate().stderr;
    assert!(!log.contains(&token[..16]) && !log.contains(SECRET), "{log}");
}
