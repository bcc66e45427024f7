//! Figures of several instances on one Postgres, printed and never asserted:
//!
//! ```text
//! cargo bench --bench instances -- [--revocations 1000] [--rate 500] [--seconds 10] [--sessions 100000] [PART...]
//! ```
//!
//! Parts: `revoke`, `streams`, `feed`, `flood`, `misses`, `told`, `restart`; all of them when none is named. It starts a Postgres of
//! its own with the settings that Debian ships (changes are forced to the disk), three gateways and an application; `told`
//! gives them the application's own sessions to read, and `restart` starts `deploy/local-cluster` instead and needs `HAProxy`. Everything shares the machine, the load included: on two cores
//! the figures are what is left to three gateways there.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::panic,
    reason = "figures for people, and a panic is how a benchmark fails"
)]

mod application;
mod connection;
mod cookie;
mod feed;
#[allow(dead_code, reason = "the other benchmark measures the size too")]
#[path = "../sessions/fill.rs"]
mod fill;
mod flood;
mod instances;
mod load;
mod misses;
mod restart;
mod revoke;
mod streams;
#[allow(unused_imports, clippy::unwrap_used, reason = "the tests use more of it")]
#[path = "../../tests/it/support/mod.rs"]
mod support;
mod told;

use sqlx::Connection;
use sqlx::PgConnection;
use std::time::Duration;
use support::postgres::Postgres;

/// What a part needs.
struct Bench {
    /// Stopped at the end.
    server: Postgres,
    url: String,
    sessions: u64,
    seconds: u64,
    revocations: u64,
    rate: u64,
}

impl Bench {
    /// A connection beside the gateways'.
    async fn psql(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.expect("a connection")
    }
}

/// `--name 7` among `arguments`, or `otherwise`.
fn number(arguments: &[String], name: &str, otherwise: u64) -> u64 {
    let at = arguments.iter().position(|argument| argument == name);
    at.and_then(|at| arguments.get(at + 1)?.parse().ok())
        .unwrap_or(otherwise)
}

/// Median, 99th percentile and the most.
fn spread(mut took: Vec<Duration>) -> String {
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    if took.is_empty() {
        return "nothing was measured".to_owned();
    }
    format!(
        "p50 {:.1?}, p99 {:.1?}, most {:.1?} over {}",
        at(0.5),
        at(0.99),
        at(1.0),
        took.len()
    )
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let parts = ["revoke", "streams", "feed", "flood", "misses", "told", "restart"];
    let named = |part: &str| arguments.iter().any(|argument| argument == part);
    let all = !parts.iter().any(|part| named(part));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server = Postgres::durable();
    let bench = Bench {
        url: server.database(),
        server,
        sessions: number(&arguments, "--sessions", 100_000),
        seconds: number(&arguments, "--seconds", 10),
        revocations: number(&arguments, "--revocations", 1_000),
        rate: number(&arguments, "--rate", 500),
    };
    runtime.block_on(async {
        if all || parts[..5].iter().any(|part| named(part)) {
            let cluster = instances::Instances::start(&bench).await;
            if all || named("revoke") {
                revoke::run(&bench, &cluster).await;
            }
            if all || named("streams") {
                streams::run(&bench, &cluster).await;
            }
            if all || named("feed") {
                feed::run(&bench, &cluster).await;
            }
            if all || named("flood") {
                flood::run(&bench, &cluster).await;
            }
            if all || named("misses") {
                misses::run(&cluster).await;
            }
        }
        if all || named("told") {
            told::run(&bench).await;
        }
        if all || named("restart") {
            restart::run(&bench).await;
        }
    });
}
