//! What is seen from outside: logs, access lines, metrics. No room's policy; called by every room.

mod access;
mod metrics;

pub use access::{AccessLine, AccessLog};
pub use metrics::{Metrics, RouteMetrics, UpstreamFailure};

use std::path::PathBuf;

/// What is written and where.
#[derive(Clone, Debug)]
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
