//! Plays the scenarios of `tests/browser`.

use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A scenario gives up by itself after 90 seconds.
const PATIENCE: Duration = Duration::from_mins(2);

/// Plays a scenario on a stage that is described by `facts` and fails with what it says.
pub(super) fn play(scenario: &str, mut facts: Value, ca: Option<&str>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = |name: &str| folder.path().join(name);
    if let Some(ca) = ca {
        std::fs::write(file("ca.pem"), ca).expect("the certificate is written");
        facts["ca"] = file("ca.pem").to_str().into();
    }
    facts["shots"] = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("screenshots")
        .to_str()
        .into();
    std::fs::write(file("facts.json"), facts.to_string()).expect("the facts are written");
    let input = File::open(file("facts.json")).expect("the facts can be read");
    let status = node(&[scenario], input.into(), &file("said"));
    let said = std::fs::read_to_string(file("said")).unwrap_or_default();
    assert!(status.success(), "{scenario}:\n{said}");
    print!("{said}");
}

/// The names of all scenarios, in order.
pub(super) fn scenarios() -> Vec<String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let said = folder.path().join("said");
    let status = node(&["--list"], Stdio::null(), &said);
    let said = std::fs::read_to_string(said).expect("it said something");
    assert!(status.success(), "{said}");
    said.lines().map(str::to_owned).collect()
}

/// Runs `tests/browser/run.mjs`; what it prints goes into the file `said`.
fn node(arguments: &[&str], input: Stdio, said: &Path) -> ExitStatus {
    let output = File::create(said).expect("a file for what it says");
    let errors = output.try_clone().expect("the same file again");
    let mut child = Command::new("node")
        .arg(runner())
        .args(arguments)
        .stdin(input)
        .stdout(output)
        .stderr(errors)
        .spawn()
        .expect("Node runs: ./test --full installs it");
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("the process can be asked") {
            return status;
        }
        if started.elapsed() > PATIENCE {
            let _ = child.kill();
            let _ = child.wait();
            let said = std::fs::read_to_string(said).unwrap_or_default();
            panic!("{arguments:?} did not end in {PATIENCE:?}:\n{said}");
        }
        crate::support::gateway::pause();
    }
}

fn runner() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    assert!(
        tests.join(".cache/browser/node_modules/playwright-core").exists(),
        "there is nothing that drives a browser under tests/.cache: run ./test --full, which installs it"
    );
    tests.join("browser/run.mjs")
}
