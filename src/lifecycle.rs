//! Start and stop: the two stages of a stop, tracked tasks, signals.

use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How a stop goes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long listeners go on after `readyz` turned 503.
    pub drain_delay: Duration,
    /// How long answers under way may take after that.
    pub drain_timeout: Duration,
    /// How long streams and tunnels may go on.
    pub stream_grace: Duration,
}

/// Shared by everything that runs.
#[derive(Clone, Debug, Default)]
pub struct Lifecycle {
    /// `readyz` says 503 from here on.
    pub draining: CancellationToken,
    /// Stop accepting, finish what is under way.
    pub soft: CancellationToken,
    /// Streams and tunnels end.
    pub streams: CancellationToken,
    /// End now.
    pub hard: CancellationToken,
    /// Every task on the control runtime.
    pub tasks: TaskTracker,
}
