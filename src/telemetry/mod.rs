//! What is seen from outside: the log, one access line a request, metrics.
//!
//! It decides nothing and knows no room's policy: callers give it words, numbers and the time.
//!
//! Called by every room; `app` sets it up and, at the end, flushes the access log.
//!
//! What must always hold: nothing here waits, fails or ends the gateway because stderr, a disk or a scraper does; what
//! cannot be written is lost and counted. No secret is ever written, and nothing that a client sends starts a line of its
//! own. No futures here.

mod access;
mod chain;
mod feed;
mod json;
mod line;
mod logging;
mod metrics;
mod open;
mod part;
mod quantile;
mod route;

pub use access::AccessLog;
pub use chain::Chain;
pub use feed::FeedGauges;
pub use line::AccessLine;
pub use logging::{Level, LoggingError, init};
pub use metrics::{Metrics, UpstreamFailure};
pub use open::Open;
pub use quantile::Times;
pub use route::RouteMetrics;

use std::path::PathBuf;

/// What is written and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Form of the log on stderr.
    pub format: Format,
    /// Whether each request gets a line.
    pub access: bool,
    /// Where; absent: with the log.
    pub access_file: Option<PathBuf>,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Pretty on a terminal, else JSON.
    Auto,
    /// For people.
    Pretty,
    /// For programs.
    Json,
}
