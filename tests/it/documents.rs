//! The commands, queries and files of the documents under docs/, run from top to bottom as a reader would.
//!
//! Blocks of `sh` and `sql` are run, a block of `toml` whose first line names a file is written there, any other is laid
//! over the last file and checked. What a machine of tests has not (systemd, a certificate authority) stands in blocks of
//! `text`. `portcullis run` goes on in the background, as in another terminal. Ports are replaced by free ones.

use crate::support::client::Client;
use crate::support::gateway::PROGRAM;
use crate::support::postgres::{Postgres, free_port};
use crate::support::stage::{ROUTES, Stage};
use crate::support::upstream::Reply;
use crate::support::upstream::Upstream;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Stands for the program in the reader's shell: what runs until it is stopped is left running once it is ready.
const WRAPPER: &str = r#"#!/bin/bash
case "$1" in
run|demo)
    : > "$HOME/ready"
    setsid "$PROGRAM" "$@" --json > "$HOME/ready" 2>> "$HOME/log" &
    echo $! >> "$HOME/pids"
    for turn in $(seq 600); do
        [ -s "$HOME/ready" ] && exit 0
        kill -0 $! 2> /dev/null || { cat "$HOME/log" >&2; exit 1; }
        sleep 0.1
    done
    echo "not ready in a minute" >&2
    exit 1 ;;
esac
exec "$PROGRAM" "$@"
"#;

struct Block<'a> {
    language: &'a str,
    line: usize,
    text: String,
}

fn blocks(document: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut open: Option<Block<'_>> = None;
    for (number, line) in document.lines().enumerate() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(language), None) => {
                open = Some(Block {
                    language,
                    line: number + 1,
                    text: String::new(),
                });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

/// One script of all that can be run, and how many blocks that is.
fn script(document: &str) -> (String, usize) {
    let mut script = String::from("set -euo pipefail\nexport PATH=\"$PROGRAMS:$PATH\"\n");
    let mut run = 0;
    for Block { language, line, text } in blocks(document) {
        let _ = writeln!(script, "echo '--- line {line}' >&2");
        match language {
            "sh" => script.push_str(&text),
            "sql" => {
                let _ = write!(
                    script,
                    "psql -X -q -v ON_ERROR_STOP=1 \"$DATABASE_URL\" <<'END_OF_SQL'\n{text}END_OF_SQL\n"
                );
            }
            "toml" => match text.lines().next().and_then(|first| first.strip_prefix("# ")) {
                Some(file) if Path::new(file).extension().is_some_and(|end| end == "toml") => {
                    let _ = write!(script, "cat > {file} <<'END_OF_FILE'\n{text}END_OF_FILE\nLAST={file}\n");
                }
                _ => {
                    let _ = write!(
                        script,
                        "cat \"$LAST\" - > fragment.toml <<'END_OF_FILE'\n{text}END_OF_FILE\n\
                         portcullis check --config fragment.toml\n"
                    );
                }
            },
            "text" | "json" | "nginx" | "yaml" => continue,
            other => panic!("line {line}: blocks of {other:?} are neither run nor shown; name another language"),
        }
        run += 1;
    }
    (script, run)
}

/// Runs the document; at least `least` blocks of it.
fn holds(name: &str, least: usize) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    let document = std::fs::read_to_string(&file).expect("the document is there");
    let (mut script, run) = script(&document);
    assert!(
        run >= least,
        "{name} has {run} blocks that can be run; at least {least} were expected"
    );
    let upstream = Upstream::start(|request| Reply::text(&request.text()));
    let application = upstream.address().port().to_string();
    for (port, free) in [
        (":8443", free_port().to_string()),
        (":8080", free_port().to_string()),
        (":9090", free_port().to_string()),
        (":3000", application),
    ] {
        script = script.replace(port, &format!(":{free}"));
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let programs = folder.path().join("programs");
    std::fs::create_dir(&programs).expect("a folder");
    let wrapper = programs.join("portcullis");
    std::fs::write(&wrapper, WRAPPER).expect("the wrapper is written");
    std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).expect("the wrapper may be run");
    let mut shell = Command::new("timeout");
    let output = shell
        .args(["--kill-after=5", "180", "bash", "-c", &script])
        .current_dir(folder.path())
        .env(
            "PROGRAMS",
            format!("{}:{}", programs.display(), Postgres::shared().programs().display()),
        )
        .env("PROGRAM", PROGRAM)
        .env("HOME", folder.path())
        .env("DATABASE_URL", Postgres::shared().database())
        .env("CHECKOUT", env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("a shell");
    let pids = std::fs::read_to_string(folder.path().join("pids")).unwrap_or_default();
    for pid in pids.lines() {
        drop(Command::new("kill").args(["-KILL", pid]).output());
    }
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
    assert!(
        output.status.success(),
        "{name}: {}\n{}\n{}\n--- log of the gateway ---\n{log}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Words of `text` that begin with our prefix, as rules and documents write them.
fn metrics_in(text: &str) -> std::collections::BTreeSet<String> {
    let is_part = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    let words = text.split(|letter| !is_part(letter));
    words
        .filter(|word| word.starts_with("portcullis_") && word.len() > "portcullis_".len())
        .map(|word| word.trim_end_matches("_bucket").to_owned())
        .collect()
}

#[tokio::test]
async fn every_metric_that_a_rule_or_a_document_names_is_there() {
    // Some are there only where there is an application whose sessions are read.
    let source = "[[source]]\nname = \"crm\"\npreset = \"authjs\"\nhosts = [\"app.example.test\"]\n\
                  store_url = \"postgres://reader@127.0.0.1:1/crm\"\n";
    let stage = Stage::with("", &format!("{ROUTES}\n{source}"), |_| Reply::text("hello")).await;
    let answer = Client::plain(stage.gateway.admin())
        .await
        .get("localhost", "/metrics", &[])
        .await;
    let there = metrics_in(&answer.text());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in ["deploy/prometheus/portcullis-alerts.yml", "docs/monitoring.md"] {
        let text = std::fs::read_to_string(folder.join(file)).expect("the file is there");
        let named = metrics_in(&text);
        assert!(named.len() >= 8, "{file} names {named:?}");
        let unknown: Vec<_> = named.difference(&there).collect();
        assert!(unknown.is_empty(), "{file} names {unknown:?}; there are {there:?}");
    }
}

#[test]
fn the_guide_does_what_it_says() {
    holds("guide.md", 12);
}

#[test]
fn a_deployment_goes_as_the_check_list_says_and_back_again() {
    holds("deploy.md", 8);
}

#[test]
fn the_queries_and_commands_of_monitoring_run() {
    holds("monitoring.md", 6);
}

#[test]
fn the_sums_of_scaling_are_those_that_its_script_prints() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/scaling.md");
    let document = std::fs::read_to_string(file).expect("the document is there");
    let blocks = blocks(&document);
    let at = blocks
        .iter()
        .position(|block| block.language == "sh")
        .expect("a script");
    let output = Command::new("bash")
        .args(["-c", &blocks[at].text])
        .output()
        .expect("bash");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), blocks[at + 1].text);
    assert!(blocks[at + 1].text.contains("100000000 sessions"));
}

#[test]
fn the_commands_of_troubleshooting_run() {
    holds("troubleshooting.md", 4);
}

#[test]
fn an_application_moves_over_as_its_steps_say() {
    holds("moving-over.md", 10);
}
