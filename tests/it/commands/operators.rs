//! `audit`, `session stats` and `admin token`.

use super::{Folder, SMALL};
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn with_users() -> Folder {
    let folder = Folder::with(SMALL);
    for user in ["ada", "bob"] {
        folder
            .run(&["user", "add", user, "--password-stdin"], "correct horse battery")
            .ok();
    }
    folder.run(&["user", "disable", "bob"], "").ok();
    folder
}

#[test]
fn the_audit_log_is_a_table_for_people_and_lines_of_json_for_programs() {
    let folder = with_users();
    let table = folder.run(&["audit"], "").ok().out;
    for word in ["user_disabled", "user_added", "ada", "bob", "command"] {
        assert!(table.contains(word), "{table}");
    }
    let lines = |args: &[&str]| -> Vec<Value> {
        let mut all = vec!["audit", "--json"];
        all.extend(args);
        let out = folder.run(&all, "").ok().out;
        out.lines()
            .map(|line| serde_json::from_str(line).expect("a line is JSON"))
            .collect()
    };
    let kinds = |args: &[&str]| -> Vec<String> {
        lines(args)
            .iter()
            .map(|event| event["kind"].as_str().expect("a kind").to_owned())
            .collect()
    };
    assert_eq!(kinds(&[]), ["user_disabled", "user_added", "user_added"]);
    assert_eq!(kinds(&["--user", "ada"]), ["user_added"]);
    assert_eq!(kinds(&["--kind", "user_added", "--limit", "1"]), ["user_added"]);
    assert_eq!(kinds(&["--since", "1h"]).len(), 3);
    assert_eq!(kinds(&["--since", "2100-01-01T00:00:00Z"]), [""; 0]);
    assert_eq!(kinds(&["--until", "1h"]), [""; 0]);
    assert_eq!(lines(&["--user", "ada"])[0]["actor"], "command");
    assert!(
        folder
            .run(&["audit", "--limit", "2"], "")
            .ok()
            .out
            .contains("There is more")
    );
    assert!(
        !folder
            .run(&["audit", "--limit", "3"], "")
            .ok()
            .out
            .contains("There is more")
    );
    assert_eq!(folder.run(&["audit", "--user", "eve"], "").ok().out, "No entries.\n");
    folder
        .run(&["audit", "--since", "yesterday"], "")
        .fails(2, &["yesterday", "24h"]);
    folder.run(&["audit", "--user", "Ada"], "").fails(2, &["user name"]);
    folder.run(&["audit", "--limit", "0"], "").fails(2, &["--limit"]);
}

#[test]
fn statistics_are_told_without_a_gateway() {
    let folder = with_users();
    let stats = folder.run(&["session", "stats", "--json"], "").ok().json();
    assert_eq!(
        (&stats["sessions"]["total"], &stats["sessions"]["users"]),
        (&json!(0), &json!(2))
    );
    assert_eq!(stats["sessions"]["bytes_each"], json!(null));
    assert_eq!(stats["log_ins"]["by_day"].as_array().map(Vec::len), Some(30));
    let told = folder.run(&["session", "stats"], "").ok().out;
    assert!(told.contains("active") && told.contains("Log-ins since"), "{told}");
}

#[test]
fn each_admin_token_is_a_fresh_one_that_the_configuration_takes() {
    let folder = Folder::with(SMALL);
    let made: BTreeSet<String> = (0..3)
        .map(|_| folder.run_bare(&["admin", "token"], "").ok().out)
        .collect();
    assert_eq!(made.len(), 3);
    let token = made.first().expect("a token").trim_end();
    assert!(
        token.len() >= 43
            && token
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)),
        "{token}"
    );
    let json = folder.run_bare(&["admin", "token", "--json"], "").ok().json();
    assert_eq!(json["token"].as_str().map(str::len), Some(43));
    let config = SMALL.replacen(
        "[admin]\n",
        &format!("[admin]\ntoken = \"{token}\"\ngroup = \"admins\"\n"),
        1,
    );
    let folder = Folder::with(&config);
    folder.run(&["check"], "").ok();
    assert!(!folder.run(&["config", "show"], "").ok().out.contains(token));
}
