//! `user import`: users of other programs.

use super::{Folder, SMALL};
use serde_json::json;
use std::fmt::Write as _;

const BCRYPT: &str = "$2b$12$CMQDxgiyBNTzICCbEbcH6.K3zJjt0D8itb1eBpMU2Z2tmxyETWO1m";

fn import(folder: &Folder, args: &[&str], text: &str) -> super::Said {
    let mut all = vec!["user", "import", "-"];
    all.extend(args);
    folder.run(&all, text)
}

#[test]
fn a_csv_file_is_imported_with_its_hashes() {
    let folder = Folder::with(SMALL);
    let text = format!(
        "username,email,name,groups,password_hash,state,created_at\n\
         ada,Ada@Example.com,Ada Lovelace,staff;math,{BCRYPT},,2019-05-04T03:02:01Z\n\
         bob,,,,,disabled,\n"
    );
    std::fs::write(folder.file("users.csv"), text).unwrap();
    let said = folder.run(&["user", "import", "users.csv"], "").ok();
    assert_eq!(
        said.out,
        "2 users were added, 0 skipped because they are there, 0 refused.\n"
    );
    let ada = folder.run(&["user", "show", "ada", "--json"], "").ok().json();
    assert_eq!(
        (
            &ada["email"],
            &ada["email_verified"],
            &ada["name"],
            &ada["groups"],
            &ada["created_at"]
        ),
        (
            &json!("ada@example.com"),
            &json!(true),
            &json!("Ada Lovelace"),
            &json!(["math", "staff"]),
            &json!("2019-05-04T03:02:01Z")
        )
    );
    let bob = folder.run(&["user", "show", "bob", "--json"], "").ok().json();
    assert_eq!((&bob["state"], &bob["email"]), (&json!("disabled"), &json!(null)));
}

#[test]
fn json_lines_are_imported_from_standard_input() {
    let folder = Folder::with(SMALL);
    let text = format!(
        "{{\"username\":\"ada\",\"groups\":[\"staff\"],\"password_hash\":\"{BCRYPT}\"}}\n\n{{\"username\":\"bob\"}}\n"
    );
    let said = import(&folder, &["--json"], &text).ok().json();
    assert_eq!(
        said,
        json!({"dry_run": false, "added": 2, "skipped": 0, "refused": 0, "problems": []})
    );
}

#[test]
fn every_line_that_is_refused_is_told_and_stops_nothing() {
    let folder = Folder::with(SMALL);
    let dear = "$2b$31$CMQDxgiyBNTzICCbEbcH6.K3zJjt0D8itb1eBpMU2Z2tmxyETWO1m";
    let text = format!(
        "username,email,password_hash\n\
         ada,ada@example.com,{BCRYPT}\n\
         Bob,,\n\
         cyd,nobody,\n\
         dan,,5f4dcc3b5aa765d61d8327deb882cf99\n\
         eve,,{dear}\n\
         fay,ada@example.com,\n\
         system,,\n\
         gus\n\
         ada,,\n\
         hal,hal@example.com,\n"
    );
    let said = import(&folder, &["--json"], &text);
    assert_eq!(said.code, 1, "{said:?}");
    let told = said.json();
    assert_eq!(
        (&told["added"], &told["skipped"], &told["refused"]),
        (&json!(2), &json!(1), &json!(7))
    );
    let expected = [
        (3, "a-z, 0-9"),
        (4, "one @"),
        (5, "form that is not known"),
        (6, "cost of more than 15"),
        (8, "audit log"),
        (9, "1 values"),
        (7, "e-mail address is another user's"),
    ];
    for ((line, word), problem) in expected.iter().zip(told["problems"].as_array().unwrap()) {
        assert_eq!(problem["line"], *line, "{problem}");
        assert!(problem["reason"].as_str().unwrap().contains(word), "{problem}");
        assert!(said.err.contains(&format!("line {line}: ")), "{said:?}");
    }
    assert!(said.err.contains("7 lines refused"), "{said:?}");
    for secret in ["5f4dcc3b5aa765", &BCRYPT[7..]] {
        assert!(!said.out.contains(secret) && !said.err.contains(secret), "{said:?}");
    }
    assert_eq!(
        folder.run(&["user", "list", "--json"], "").ok().json()["items"]
            .as_array()
            .map(Vec::len),
        Some(2)
    );
}

#[test]
fn the_same_file_can_be_imported_again() {
    let folder = Folder::with(SMALL);
    let text = "username,name\nada,Ada\nbob,Bob\n";
    import(&folder, &[], text).ok();
    folder.run(&["user", "disable", "bob"], "").ok();
    let said = import(&folder, &["--json"], "username,name\nada,Other\nbob,Bob\ncyd,Cyd\n")
        .ok()
        .json();
    assert_eq!(
        (&said["added"], &said["skipped"], &said["refused"]),
        (&json!(1), &json!(2), &json!(0))
    );
    let show = |name: &str| folder.run(&["user", "show", name, "--json"], "").ok().json();
    assert_eq!(
        (&show("ada")["name"], &show("bob")["state"]),
        (&json!("Ada"), &json!("disabled"))
    );
}

#[test]
fn a_dry_run_tells_the_same_and_adds_nobody() {
    let folder = Folder::with(SMALL);
    let text = "username,email\nada,ada@example.com\nBob,\nada,\ncyd,ada@example.com\n";
    let said = import(&folder, &["--json", "--dry-run"], text);
    let told = said.json();
    assert_eq!(
        (said.code, &told["added"], &told["dry_run"]),
        (1, &json!(1), &json!(true))
    );
    let lines: Vec<_> = told["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["line"].clone())
        .collect();
    assert_eq!(lines, [3, 4, 5], "{told}");
    assert_eq!(folder.run(&["user", "list"], "").ok().out, "No users.\n");
    let said = import(&folder, &["--dry-run"], "username\nada\n").ok();
    assert_eq!(
        said.out,
        "1 user would be added, 0 skipped because they are there, 0 refused.\n"
    );
}

#[test]
fn what_is_no_file_of_users_is_wrong_usage() {
    let folder = Folder::with(SMALL);
    import(&folder, &[], "username,role\nada,x\n").fails(2, &["no column \"role\"", "password_hash"]);
    import(&folder, &[], "").fails(2, &["names the columns"]);
    folder
        .run(&["user", "import", "nowhere.csv"], "")
        .fails(1, &["cannot read nowhere.csv"]);
    folder.run(&["user", "import"], "").fails(2, &["<FILE>"]);
    let help = folder.run_bare(&["user", "import", "--help"], "").ok().out;
    for word in ["password_hash", "groups", "Django", "--dry-run", "exit code is 1"] {
        assert!(help.contains(word), "{word}: {help}");
    }
}

#[test]
fn a_batch_ends_where_it_may() {
    let folder = Folder::with(SMALL);
    for count in [99, 100, 101, 250] {
        let mut text = String::from("username,password_hash\n");
        for number in 0..count {
            let _ = writeln!(text, "user{count}.{number},{BCRYPT}");
        }
        let said = import(&folder, &["--json"], &text).ok().json();
        assert_eq!(said["added"], count);
    }
}
