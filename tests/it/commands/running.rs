//! `run --config`: what keeps it from starting is one clear message.

use super::{SMALL, Said};
use crate::support::gateway::{Gateway, Stillborn, portcullis};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use std::net::TcpListener;
use std::sync::Arc;

const SECRETS: &str = "[session]\nsecrets = [\"0123456789abcdef0123456789abcdef\"]\n";

fn refused(config: &str) -> Stillborn {
    match Gateway::try_start(config) {
        Ok(_) => panic!("it started"),
        Err(end) => end,
    }
}

/// The lines of an error without those that only tell its cause, and without the log.
fn error_lines(end: &Stillborn) -> Vec<&str> {
    end.stderr.lines().filter(|line| line.starts_with("error")).collect()
}

#[test]
fn every_problem_of_a_configuration_is_listed_and_it_ends_with_2() {
    let end = refused("[sesion]\nx = 1\n[[listener]]\naddress = \"nowhere\"\n[[route]]\naccess = \"maybe\"\n");
    assert_eq!(end.code, Some(2), "{}", end.stderr);
    for word in ["sesion", "nowhere", "maybe", "portcullis.toml"] {
        assert!(end.stderr.contains(word), "{word}: {}", end.stderr);
    }
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    for which in [1, 2] {
        // The first address of the small configuration is the admin listener's.
        let config = if which == 1 {
            SMALL.replacen("127.0.0.1:0", &address, 1)
        } else {
            SMALL.replace("\"127.0.0.1:0\"\ncertificates", &format!("\"{address}\"\ncertificates"))
        };
        let end = refused(&config);
        assert_eq!(end.code, Some(1), "{}", end.stderr);
        let lines = error_lines(&end);
        assert!(lines.len() == 1 && lines[0].contains(&address), "{}", end.stderr);
    }
}

#[test]
fn a_short_secret_is_refused_with_the_command_that_makes_a_good_one() {
    let end = refused(&format!("[session]\nsecrets = [\"hunter2-hunter2\"]\n{SMALL}"));
    assert_eq!(end.code, Some(2), "{}", end.stderr);
    assert!(
        end.stderr.contains("needs 32") && end.stderr.contains("openssl rand"),
        "{}",
        end.stderr
    );
    assert!(!end.stderr.contains("hunter2"), "{}", end.stderr);
}

#[test]
fn a_database_url_without_a_user_is_refused() {
    let end = refused(&format!(
        "[store]\nurl = \"postgres://127.0.0.1:1/portcullis\"\n{SECRETS}{SMALL}"
    ));
    assert_eq!(end.code, Some(2), "{}", end.stderr);
    assert!(end.stderr.contains("user"), "{}", end.stderr);
}

#[test]
fn an_unreachable_database_ends_a_start_that_requires_it() {
    let url = "url = \"postgres://portcullis:hidden-word@127.0.0.1:1/portcullis\"";
    let end = refused(&format!("[store]\n{url}\nrequired_at_start = true\n{SECRETS}{SMALL}"));
    assert_eq!(end.code, Some(1), "{}", end.stderr);
    let lines = error_lines(&end);
    assert!(
        lines.len() == 1 && lines[0].contains("cannot be reached"),
        "{}",
        end.stderr
    );
    assert!(!end.stderr.contains("hidden-word"), "{}", end.stderr);
}

#[tokio::test]
async fn a_newer_schema_is_refused_with_both_versions() {
    let folder = Arc::new(tempfile::tempdir().expect("a temporary folder"));
    let config = folder.path().join("portcullis.toml");
    std::fs::write(&config, SMALL).expect("the configuration is written");
    Said::from(portcullis(
        folder.path(),
        &["migrate", "--config", "portcullis.toml"],
        "",
    ))
    .ok();
    let options = SqliteConnectOptions::new().filename(folder.path().join("data/portcullis.db"));
    let mut database = options.connect().await.expect("the file can be opened");
    let newer =
        "INSERT INTO schema_versions (version, name, oldest_compatible, applied_at) VALUES (1000, 'later', 1000, 0)";
    sqlx::query(newer)
        .execute(&mut database)
        .await
        .expect("a row of a newer version");
    database.close().await.expect("the file is closed");
    let Err(end) = Gateway::try_start_in(&folder, SMALL, &[]) else {
        panic!("it started")
    };
    assert_eq!(end.code, Some(1), "{}", end.stderr);
    let lines = error_lines(&end);
    assert!(
        lines.len() == 1 && end.stderr.contains("newer version of portcullis (1000)"),
        "{}",
        end.stderr
    );
}

#[test]
fn a_second_gateway_on_the_same_file_is_refused_by_name() {
    let first = Gateway::start(SMALL);
    let data = first.folder().join("data");
    let config = format!("data_dir = {:?}\n{SMALL}", data.to_str().expect("text"));
    let end = refused(&config);
    assert_eq!(end.code, Some(1), "{}", end.stderr);
    assert!(
        error_lines(&end)[0].contains("already in use by another gateway"),
        "{}",
        end.stderr
    );
}

#[test]
fn sigterm_ends_it_with_0() {
    let gateway = Gateway::start(SMALL);
    let stopped = gateway.terminate();
    assert_eq!(stopped.status.code(), Some(0), "{}", stopped.stderr);
}
