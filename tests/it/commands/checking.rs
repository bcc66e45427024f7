//! `check`, `config`, `migrate`, `healthcheck`.

use super::{Folder, SMALL, Said};
use crate::support::gateway::{Gateway, PROGRAM};
use std::process::{Command, Stdio};

const THREE_MISTAKES: &str = r#"
[sesion]
idle_timeout = "12h"
[[listener]]
address = "nowhere"
[[upstream]]
name = "app"
servers = ["http://127.0.0.1:9"]
[[route]]
upstream = "ap"
access = "signed_in"
"#;

#[test]
fn a_valid_file_ends_with_0_an_invalid_one_with_2_and_an_unreadable_one_with_1() {
    let said = Folder::with(SMALL).run(&["check"], "").ok();
    assert!(said.out.contains("valid"), "{said:?}");
    Folder::with(THREE_MISTAKES)
        .run(&["check"], "")
        .fails(2, &["sesion", "session", "nowhere", "portcullis.toml"]);
    Folder::with(SMALL)
        .run_bare(&["check", "--config", "nothing.toml"], "")
        .fails(1, &["nothing.toml"]);
}

#[test]
fn the_environment_may_name_the_file() {
    let folder = Folder::with(SMALL);
    let run = |args: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command
            .args(args)
            .current_dir(folder.path())
            .env("PORTCULLIS_CONFIG", "portcullis.toml");
        Said::from(command.stdin(Stdio::null()).output().expect("the program runs"))
    };
    run(&["check"]).ok();
    assert_eq!(run(&["user", "list"]).ok().out, "No users.\n");
    run(&["check", "--config", "other.toml"]).fails(1, &["other.toml"]);
}

#[test]
fn problems_are_given_as_json_to_programs() {
    let valid = Folder::with(SMALL).run(&["check", "--format", "json"], "").ok().json();
    assert_eq!(valid["valid"], true);
    let folder = Folder::with(THREE_MISTAKES);
    let said = folder.run(&["check", "--format", "json"], "");
    assert_eq!(said.code, 2, "{said:?}");
    let answer = said.json();
    assert_eq!(answer["valid"], false);
    let problems = answer["problems"].as_array().expect("a list");
    assert!(problems.len() >= 3, "{answer}");
    assert_eq!(problems[0]["line"], 2, "{answer}");
    assert!(problems.iter().all(|one| one["message"].is_string()), "{answer}");
}

#[test]
fn online_also_asks_the_database_and_looks_up_the_applications() {
    let folder = Folder::with(SMALL);
    let said = folder.run(&["check", "--online"], "").ok();
    assert!(said.out.contains("valid"), "{said:?}");
    let config = SMALL.replace("127.0.0.1:9", "no-such-host.invalid:80");
    let said = Folder::with(&config).run(&["check", "--online"], "");
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("no-such-host.invalid"), "{said:?}");
    let config = format!("[store]\nurl = \"postgres://portcullis:hidden-word@127.0.0.1:1/x\"\n{SMALL}");
    let secrets = "[session]\nsecrets = [\"0123456789abcdef0123456789abcdef\"]\n";
    let said = Folder::with(&format!("{secrets}{config}")).run(&["check", "--online"], "");
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.err.contains("cannot be reached") && !said.err.contains("hidden-word"),
        "{said:?}"
    );
}

#[test]
fn the_files_to_start_from_are_valid_and_the_schema_is_json() {
    let folder = Folder::with(SMALL);
    let init = folder.run_bare(&["config", "init"], "").ok().out;
    let full = folder.run_bare(&["config", "init", "--full"], "").ok().out;
    for file in [&init, &full] {
        Folder::with(file).run(&["check"], "").ok();
    }
    assert!(full.len() > init.len());
    let schema = folder.run_bare(&["config", "schema"], "").ok();
    let schema: serde_json::Value = serde_json::from_str(&schema.out).expect("JSON");
    assert!(schema["properties"]["route"].is_object(), "{schema}");
}

#[test]
fn the_example_in_the_readme_is_valid() {
    let readme = include_str!("../../../README.md");
    let (_, rest) = readme.split_once("```toml\n").expect("an example");
    let (example, _) = rest.split_once("```").expect("its end");
    Folder::with(example).run(&["check"], "").ok();
}

#[test]
fn what_takes_effect_is_shown_with_its_origin_and_without_secrets() {
    let secret = "0123456789abcdef-hidden-0123456789abcdef";
    let folder = Folder::with(&format!("[session]\nsecrets = [\"{secret}\"]\n{SMALL}"));
    let plain = folder.run(&["config", "show"], "").ok().out;
    let origin = folder.run(&["config", "show", "--origin"], "").ok().out;
    for shown in [&plain, &origin] {
        assert!(shown.contains("idle_timeout") && !shown.contains("hidden"), "{shown}");
    }
    assert!(
        origin.contains("default") && origin.contains("portcullis.toml"),
        "{origin}"
    );
}

#[test]
fn migrations_are_shown_before_and_applied_once() {
    let folder = Folder::with(SMALL);
    let dry = folder.run(&["migrate", "--dry-run", "--json"], "").ok().json();
    let pending = dry["migrations"].as_array().expect("a list").clone();
    assert!(dry["dry_run"] == true && !pending.is_empty(), "{dry}");
    let again = folder.run(&["migrate", "--dry-run"], "").ok().out;
    assert!(again.contains("nothing was changed"), "{again}");
    let done = folder.run(&["migrate", "--json"], "").ok().json();
    assert_eq!(done["migrations"].as_array(), Some(&pending));
    assert_eq!(folder.run(&["migrate"], "").ok().out, "The database is up to date.\n");
}

#[test]
fn a_running_gateway_is_healthy_and_a_stopped_one_is_not() {
    let gateway = Gateway::start(SMALL);
    let config = SMALL.replacen("127.0.0.1:0", &gateway.admin().to_string(), 1);
    let folder = Folder::with(&config);
    assert_eq!(folder.run(&["healthcheck"], "").ok().out, "ready\n");
    assert!(gateway.terminate().status.success());
    folder
        .run(&["healthcheck"], "")
        .fails(1, &["nothing answers", "is the gateway running?"]);
    Folder::with("").run_bare(&["healthcheck"], "").fails(2, &["--config"]);
    Folder::with(SMALL)
        .run(&["healthcheck"], "")
        .fails(2, &["[admin] is 0"]);
}
