//! Figures of the session store on Postgres, printed and never asserted:
//!
//! ```text
//! cargo bench --bench sessions -- [--sessions 1000000] [--seconds 150] [--log-ins 1000000] [PART...]
//! ```
//!
//! Parts: `size`, `lookup`, `hits`, `sweep`, `touches`, `logins`; all of them when none is named. It starts a Postgres of
//! its own with the settings that Debian ships (changes are forced to the disk), fills it (not for `hits` alone, which reads
//! from memory), and stops it at the end.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::panic,
    reason = "figures for people, and a panic is how a benchmark fails"
)]

mod fill;
mod hits;
mod logins;
mod lookup;
mod memory;
#[allow(dead_code, unused_imports, reason = "the tests use more of it")]
#[path = "../../tests/it/support/postgres.rs"]
mod postgres;
mod relay;
mod sweep;
mod touches;

use portcullis::clock::Clock;
use portcullis::store::Place;
use portcullis::store::Role;
use portcullis::store::Settings;
use portcullis::store::Store;
use portcullis::store::open;
use postgres::Postgres;
use sqlx::Connection;
use sqlx::PgConnection;
use std::sync::Arc;
use std::time::Duration;

/// What a part needs.
struct Bench {
    server: Postgres,
    url: String,
    sessions: u64,
    seconds: u64,
    log_ins: u64,
}

impl Bench {
    fn settings(url: &str) -> Settings {
        Settings {
            place: Place::Postgres {
                url: url.to_owned().into(),
                direct_url: None,
                schema: "portcullis".to_owned(),
            },
            max_connections: 8,
            call_timeout: Duration::from_secs(10),
            migrate: true,
            required_at_start: true,
            prepared_statements: true,
        }
    }

    async fn store(url: &str) -> Arc<dyn Store> {
        let opened = open(&Self::settings(url), Role::Gateway, Clock::system()).await;
        opened.expect("a store")
    }

    /// A connection beside the store's.
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

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let parts = ["size", "lookup", "hits", "sweep", "touches", "logins"];
    let named = |part: &str| arguments.iter().any(|argument| argument == part);
    let all = !parts.iter().any(|part| named(part));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server = Postgres::durable();
    let bench = Bench {
        url: server.database(),
        server,
        sessions: number(&arguments, "--sessions", 1_000_000),
        seconds: number(&arguments, "--seconds", 150),
        log_ins: number(&arguments, "--log-ins", 1_000_000),
    };
    runtime.block_on(async {
        drop(Bench::store(&bench.url).await);
        if all || parts.iter().any(|part| *part != "hits" && named(part)) {
            fill::fill(&bench).await;
        }
        if all || named("size") {
            fill::size(&bench).await;
        }
        if all || named("lookup") {
            lookup::run(&bench).await;
        }
        if all || named("hits") {
            hits::run(&bench).await;
        }
        if all || named("sweep") {
            sweep::run(&bench).await;
        }
        if all || named("touches") {
            touches::run(&bench).await;
        }
        if all || named("logins") {
            logins::run(&bench).await;
        }
    });
}
