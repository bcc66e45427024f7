//! How far a long piece of work has come, on a terminal only.

use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// A line on stderr that counts; nothing where stderr is no terminal. Gone from the screen once dropped.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Counts what is `done`, as in "expired sessions removed".
    pub(super) fn new(done: &'static str) -> Self {
        let bar = ProgressBar::new_spinner().with_message(done);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {human_pos} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }

    /// So many by now.
    pub(super) fn set(&self, count: u64) {
        self.0.set_position(count);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
