//! Machines whose clock is wrong: the database's clock decides.

use super::{SCRIPT, config, get, hello};
use crate::support::client::Client;
use crate::support::gateway::{Gateway, PROGRAM, pause};
use crate::support::postgres::Postgres;
use crate::support::stage::HOST;
use crate::support::usher::Usher;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Stands before the C library and tells another time of day.
const WRONG_CLOCK: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t which, struct timespec *told) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int outcome = real(which, told);
    const char *ahead = getenv("CLOCK_AHEAD");
    if (!outcome && ahead && which == CLOCK_REALTIME)
        told->tv_sec += atol(ahead);
    return outcome;
}
"#;

/// A gateway on a machine whose clock is so many seconds ahead.
fn start(library: &TempDir, config: &str, ahead: i64) -> Gateway {
    let folder = Arc::new(tempfile::tempdir().expect("a folder"));
    std::fs::write(folder.path().join("portcullis.toml"), config).expect("the configuration is written");
    let mut command = Command::new(PROGRAM);
    command.args(["run", "--json", "--config", "portcullis.toml"]);
    command.env("LD_PRELOAD", library.path().join("clock.so"));
    command.env("CLOCK_AHEAD", ahead.to_string());
    Gateway::spawn(command, &folder).unwrap_or_else(|end| panic!("it ended:\n{}", end.stderr))
}

fn make_clock() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("clock.c"), WRONG_CLOCK).expect("a file");
    let made = Command::new("cc")
        .current_dir(folder.path())
        .args(["-shared", "-fPIC", "-o", "clock.so", "clock.c", "-ldl"])
        .output()
        .expect("the compiler that Rust links with");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    folder
}

/// The time by which a log line was written, in seconds since 1970.
fn time_of_first_line(gateway: &Gateway) -> i64 {
    let log = gateway.log();
    let line: serde_json::Value = serde_json::from_str(log.lines().next().expect("a line")).expect("JSON");
    let text = line["timestamp"].as_str().expect("a time").to_owned();
    let format = &time::format_description::well_known::Rfc3339;
    time::OffsetDateTime::parse(&text, format)
        .expect("a time")
        .unix_timestamp()
}

#[tokio::test]
async fn a_clock_that_is_five_minutes_off_ends_no_session_early_and_none_late() {
    const LEFT: Duration = Duration::from_secs(6);
    /// What the way to the database and a busy machine add.
    const ROOM: Duration = Duration::from_secs(1);
    let url = Postgres::shared().database();
    let app = hello();
    let usher = Usher::on(&url).await;
    let config = config(&url, "5s", "100ms", &app.url());
    let library = make_clock();
    let here = time::OffsetDateTime::now_utc().unix_timestamp();
    let gateways = [0, 300, -300].map(|ahead| (ahead, start(&library, &config, ahead)));
    for (ahead, gateway) in &gateways {
        let off = time_of_first_line(gateway) - here;
        assert!(
            (off - ahead).abs() < 60,
            "its clock is {off} seconds ahead, not {ahead}"
        );
    }
    let cookie = usher.sign_in().await;
    let end = format!(
        "UPDATE portcullis.sessions SET expires_at = clock_timestamp() + interval '{} seconds'",
        LEFT.as_secs()
    );
    let before = Instant::now();
    Postgres::shared().sql(&url, &end);
    let after = Instant::now();
    let mut seen = [0, 0];
    while before.elapsed() < LEFT + 2 * ROOM {
        for (ahead, gateway) in &gateways {
            let asked = Instant::now();
            let status = get(gateway, "/", &[&cookie, SCRIPT]).await.status;
            if before.elapsed() + ROOM < LEFT {
                assert_eq!(status, 200, "{ahead} seconds ahead: ended early");
                seen[0] += 1;
            } else if asked.duration_since(after) > LEFT + ROOM {
                assert_eq!(status, 401, "{ahead} seconds ahead: let in late");
                seen[1] += 1;
            }
        }
        pause();
    }
    assert!(seen.iter().all(|count| *count > 0), "too busy to tell: {seen:?}");
    // What begins on such a machine begins by the same clock.
    for (ahead, gateway) in &gateways {
        sign_in(gateway, &format!("user{}", ahead + 300)).await;
    }
    let off = "SELECT count(*) FROM portcullis.sessions
               WHERE abs(extract(epoch FROM clock_timestamp() - created_at)) > 60";
    assert_eq!(
        Postgres::shared().sql(&url, off),
        "0",
        "a session began in the past or the future"
    );
}

async fn sign_in(gateway: &Gateway, name: &str) {
    const PASSWORD: &str = "a long walk by the sea";
    gateway.add_user(name, PASSWORD, &[]);
    let mut client = Client::plain(gateway.address(1)).await;
    client.sign_in(HOST, name, PASSWORD).await;
}
