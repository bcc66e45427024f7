//! Several gateways on one Postgres that know of each other, and say so where one does not understand another's cookies.

use crate::support::client::Client;
use crate::support::gateway::{Gateway, PATIENCE, pause};
use crate::support::postgres::Postgres;
use crate::support::stage::{ROUTES, config};
use serde_json::Value;
use std::time::Instant;

const OLD: &str = "the old secret, 32 bytes or more of it";
const NEW: &str = "the new secret, 32 bytes or more of it";
const TOKEN: &str = "a-token-of-operators-of-32-bytes-or-more";
/// In every warning of this kind.
const WARNING: &str = "signed out";

fn text(url: &str, secrets: &[&str]) -> String {
    let top = format!(
        "[store]\nurl = \"{url}\"\n[session]\nsecrets = {secrets:?}\n[life]\ndrain_delay = \"0s\"\nstream_grace = \"0s\"\n"
    );
    config(&top, ROUTES, "http://127.0.0.1:1").replace("[admin]\n", &format!("[admin]\ntoken = \"{TOKEN}\"\n"))
}

fn start(url: &str, secrets: &[&str]) -> Gateway {
    Gateway::start(&text(url, secrets))
}

async fn told(gateway: &Gateway) -> Vec<Value> {
    let line = format!("Authorization: Bearer {TOKEN}");
    let answer = Client::plain(gateway.admin())
        .await
        .get("127.0.0.1", "/api/stats", &[&line])
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["instances"].as_array().expect("a list").clone()
}

/// Waits until as many instances are written down, and each has beaten after `since`.
fn beaten(url: &str, count: usize, since: &str) {
    let asked = format!("SELECT count(*) FROM portcullis.instances WHERE last_seen > '{since}'");
    let begun = Instant::now();
    while Postgres::shared().sql(url, &asked) != count.to_string() {
        assert!(begun.elapsed() < PATIENCE, "not {count} instances beat");
        pause();
    }
}

fn now(url: &str) -> String {
    Postgres::shared().sql(url, "SELECT clock_timestamp()")
}

fn check(gateway: &Gateway) -> (Option<i32>, String) {
    let output = gateway.command(&["check", "--online"], "");
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[tokio::test]
async fn instances_are_told_of_each_other_until_they_stop() {
    let url = Postgres::shared().database();
    let begun = now(&url);
    let one = start(&url, &[OLD]);
    let other = start(&url, &[OLD]);
    beaten(&url, 2, &begun);
    let seen = told(&one).await;
    let addresses: Vec<_> = seen.iter().map(|one| one["address"].clone()).collect();
    assert_eq!(addresses, [one.url(0), other.url(0)]);
    for each in &seen {
        assert_eq!(each["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(
            (&each["live"], &each["refuses_cookies_of"]),
            (&Value::from(true), &Value::from(Vec::<Value>::new()))
        );
        assert!(each["host"].as_str().is_some_and(|host| !host.is_empty()), "{each}");
    }
    let listed = one.command(&["session", "stats"], "");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains(other.url(0)) && listed.contains("runs"), "{listed}");
    let stopped = other.terminate();
    assert!(stopped.status.success(), "{}", stopped.stderr);
    assert_eq!(
        Postgres::shared().sql(&url, "SELECT count(*) FROM portcullis.instances"),
        "1"
    );
    assert!(!stopped.stderr.contains(WARNING), "{}", stopped.stderr);
}

#[test]
fn a_change_of_secrets_in_two_steps_warns_nobody() {
    let url = Postgres::shared().database();
    let steps: [&[&str]; 4] = [&[OLD], &[OLD, NEW], &[NEW, OLD], &[NEW]];
    let mut running = start(&url, steps[0]);
    for secrets in &steps[1..] {
        let begun = now(&url);
        let next = start(&url, secrets);
        assert_eq!(check(&running), (Some(0), String::new()));
        assert_eq!(check(&next), (Some(0), String::new()));
        // The old one looks around once more while the new one runs.
        beaten(&url, 2, &begun);
        assert!(!next.log().contains(WARNING), "{}", next.log());
        let before = std::mem::replace(&mut running, next).terminate();
        assert!(!before.stderr.contains(WARNING), "{}", before.stderr);
    }
}

#[test]
fn a_change_of_secrets_in_the_wrong_order_is_a_warning_with_the_fix() {
    let url = Postgres::shared().database();
    let one = start(&url, &[OLD]);
    beaten(&url, 1, "-infinity");
    let other = start(&url, &[NEW, OLD]);
    let (code, said) = check(&other);
    assert_eq!(code, Some(0), "{said}");
    for part in ["warning: ", one.url(0), "cannot verify", "a new secret comes second"] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    let said = other.command(&["check", "--online", "--format", "json"], "").stdout;
    let said: Value = serde_json::from_slice(&said).expect("JSON");
    assert_eq!(
        (said["valid"].clone(), said["instances"].as_array().map(Vec::len)),
        (Value::from(true), Some(1))
    );
    let listed = one.command(&["session", "stats"], "");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert_eq!(listed.matches("refuses cookies of others").count(), 1, "{listed}");
    other.wait_for_log("cannot verify the session cookies that this one signs");
    other.wait_for_log(one.url(0));
    one.wait_for_log("that this one cannot verify, so its users are signed out here");
    for log in [one.log(), other.log()] {
        assert!(!log.contains(OLD) && !log.contains(NEW), "{log}");
    }
    let rows = Postgres::shared().sql(&url, "SELECT * FROM portcullis.instances");
    assert!(!rows.contains(OLD) && !rows.contains(NEW), "{rows}");
    // It is told once, however often they look, and that it is over is told too.
    let before = now(&url);
    beaten(&url, 2, &before);
    let warned = one.log().lines().filter(|line| line.contains(WARNING)).count();
    assert_eq!(warned, 1, "{}", one.log());
    drop(other.terminate());
    one.wait_for_log("all live instances verify each other");
}

#[test]
fn secrets_that_a_reload_changed_are_told_too() {
    let url = Postgres::shared().database();
    let (one, other) = (start(&url, &[OLD]), start(&url, &[OLD]));
    let reload = |gateway: &Gateway, secrets: &[&str]| {
        std::fs::write(gateway.folder().join("portcullis.toml"), text(&url, secrets)).expect("a file");
        gateway.signal("HUP");
    };
    reload(&other, &[NEW, OLD]);
    one.wait_for_log("that this one cannot verify, so its users are signed out here");
    reload(&one, &[OLD, NEW]);
    one.wait_for_log("all live instances verify each other");
    other.wait_for_log("all live instances verify each other");
}
