//! Commands as people and programs use them: exit codes, what is printed, and that nothing secret is.

mod bans;
mod checking;
mod importing;
mod operators;
mod quick;
mod running;
mod sessions;
mod users;

use crate::support::gateway::portcullis;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Output;
use tempfile::TempDir;

/// A configuration with nothing but what must be given, on free ports.
const SMALL: &str = r#"
[admin]
address = "127.0.0.1:0"
[[listener]]
address = "127.0.0.1:0"
certificates = "local"
[[upstream]]
name = "app"
servers = ["http://127.0.0.1:9"]
[[route]]
name = "app"
upstream = "app"
access = "signed_in"
"#;

/// A folder with a `portcullis.toml`.
struct Folder {
    folder: TempDir,
}

impl Folder {
    fn with(config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("portcullis.toml"), config).expect("the configuration is written");
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Runs `args` and `--config portcullis.toml`.
    fn run(&self, args: &[&str], stdin: &str) -> Said {
        let mut all = args.to_vec();
        all.extend(["--config", "portcullis.toml"]);
        self.run_bare(&all, stdin)
    }

    /// Runs `args` as they are.
    fn run_bare(&self, args: &[&str], stdin: &str) -> Said {
        Said::from(portcullis(self.path(), args, stdin))
    }
}

/// What a command said.
#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let said = Self {
            code: output.status.code().expect("the command ended by itself"),
            out: String::from_utf8(output.stdout).expect("text"),
            err: String::from_utf8(output.stderr).expect("text"),
        };
        assert!(!said.err.contains("panicked"), "{said:?}");
        said
    }
}

impl Said {
    #[track_caller]
    fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// It failed with this code and said each of `words` on stderr, and nothing on stdout.
    #[track_caller]
    fn fails(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "{word:?} is missing: {self:?}");
        }
        assert_eq!(self.out, "", "{self:?}");
        self
    }

    /// Its output is one line of JSON.
    #[track_caller]
    fn json(&self) -> Value {
        assert_eq!(self.out.trim_end().lines().count(), 1, "{self:?}");
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_is_right() {
    let folder = Folder::with(SMALL);
    folder.run_bare(&[], "").fails(2, &["Usage: portcullis"]);
    folder.run_bare(&["source"], "").fails(2, &["Usage: portcullis source"]);
    folder
        .run_bare(&["session", "forget"], "")
        .fails(2, &["unrecognized subcommand"]);
    folder
        .run_bare(&["session", "import"], "")
        .fails(2, &["--source <NAME>"]);
    folder.run_bare(&["run"], "").fails(2, &["--to", "--config"]);
    folder
        .run_bare(&["run", "--to", "http://x", "--config", "f"], "")
        .fails(2, &["cannot be used with"]);
    folder
        .run_bare(&["user", "list"], "")
        .fails(2, &["--config", "--data-dir"]);
    folder
        .run_bare(&["user", "list", "--data-dir", ".", "--config", "f"], "")
        .fails(2, &["cannot be used with"]);
    folder.run(&["session", "end"], "").fails(2, &["--user", "--all"]);
    folder
        .run(&["session", "end", "--all", "--user", "ada"], "")
        .fails(2, &["cannot be used with"]);
}

#[test]
fn every_command_explains_itself() {
    let folder = Folder::with(SMALL);
    let commands: &[&[&str]] = &[
        &[],
        &["demo"],
        &["run"],
        &["check"],
        &["config"],
        &["config", "show"],
        &["migrate"],
        &["user"],
        &["user", "add"],
        &["user", "group", "add"],
        &["session"],
        &["session", "end"],
        &["session", "stats"],
        &["audit"],
        &["admin"],
        &["admin", "token"],
        &["healthcheck"],
        &["completions"],
    ];
    for command in commands {
        let mut args = command.to_vec();
        args.push("--help");
        let said = folder.run_bare(&args, "").ok();
        assert!(said.out.contains("Usage: portcullis"), "{said:?}");
    }
    assert!(folder.run_bare(&["--version"], "").ok().out.starts_with("portcullis "));
}

#[test]
fn completions_are_made_for_each_shell() {
    let folder = Folder::with(SMALL);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(
            folder
                .run_bare(&["completions", shell], "")
                .ok()
                .out
                .contains("healthcheck"),
            "{shell}"
        );
    }
    folder
        .run_bare(&["completions", "tcl"], "")
        .fails(2, &["invalid value"]);
}

#[test]
fn an_output_that_is_closed_early_is_no_failure() {
    let folder = Folder::with(SMALL);
    for args in [&["completions", "bash"][..], &["config", "init"], &["--help"]] {
        let mut child = std::process::Command::new(crate::support::gateway::PROGRAM)
            .args(args)
            .current_dir(folder.path())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("the program starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("the program ends");
        let said = Said::from(output).ok();
        assert_eq!(said.err, "", "{args:?}");
    }
}
