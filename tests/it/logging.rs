//! What a process writes to its standard error, seen from another process.

use portcullis::telemetry::{AccessLine, AccessLog, Format, Settings, init};
use prometheus_client::metrics::counter::Counter;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
#[error("the table refused")]
struct Full(#[source] std::io::Error);

/// The name of no test: whoever is started with it is the process that the tests here watch.
const LOG_NOW: &str = "log-now";

/// Not a test of its own: the process that the tests here watch. It logs when its standard input ends.
#[test]
fn process_that_logs() {
    if !std::env::args().any(|argument| argument == LOG_NOW) {
        return;
    }
    let settings = Settings {
        format: Format::Json,
        access: true,
        access_file: None,
    };
    init(&settings, "info").expect("a log");
    let log = AccessLog::new(&settings, || 0, Counter::default());
    let log = log.expect("an access log").expect("that is wanted");
    std::io::stdin().read_to_end(&mut Vec::new()).expect("a standard input");
    tracing::info!(user.name = "anna\n{\"level\":\"ERROR\"}", session.id = 7, "signed in");
    let refused = std::io::Error::other(Full(std::io::ErrorKind::StorageFull.into()));
    tracing::warn!(error = &refused as &dyn std::error::Error, "not stored");
    tracing::debug!("too fine");
    log.write(&AccessLine {
        request_id: 1,
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        method: "GET",
        host: "h",
        path: "/",
        status: 200,
        bytes: 0,
        duration: Duration::ZERO,
        complete: true,
        route: None,
        user: None,
        session: None,
        refusal: None,
        detail: None,
        server: None,
    });
    assert!(log.flush(Duration::from_secs(20)));
    tracing::info!("still here");
}

fn start() -> Child {
    let program = std::env::current_exe().expect("this program");
    Command::new(program)
        .args(["--exact", "--nocapture", "logging::process_that_logs", LOG_NOW])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a process")
}

#[test]
fn each_line_is_one_json_object_with_dotted_fields() {
    let mut child = start();
    child.stdin.take().expect("its input").flush().expect("and its end");
    let output = child.wait_with_output().expect("an end");
    assert!(output.status.success());
    let text = String::from_utf8(output.stderr).expect("text");
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert_eq!(lines[0]["message"], "signed in");
    assert_eq!(lines[0]["user.name"], "anna\n{\"level\":\"ERROR\"}");
    assert_eq!(lines[0]["session.id"], 7);
    assert_eq!(
        lines[1]["error"], "the table refused: no storage space",
        "every cause is told"
    );
    assert_eq!(lines[1]["level"], "WARN");
    assert_eq!(lines[2]["message"], "request");
    for line in lines.iter().filter(|line| line["message"] != "not stored") {
        assert_eq!(line["level"], "INFO");
        assert!(line["timestamp"].is_string());
    }
}

#[test]
fn a_closed_standard_error_ends_nothing() {
    let mut child = start();
    drop(child.stderr.take());
    drop(child.stdin.take());
    let output = child.wait_with_output().expect("an end");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
