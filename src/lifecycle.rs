//! Start and stop: the stages of a stop, tracked background tasks, signals.
//!
//! It knows nothing of what runs; every room that runs something takes a [`Lifecycle`]. `app` starts the sequence with
//! [`Lifecycle::stop_on_signals`] and ends it by cancelling `hard` when nothing is left to wait for. A stage never goes
//! back; dropping a `Lifecycle` stops nothing.

use futures_util::FutureExt;
use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use tokio::signal::unix::Signal;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// `timeout`, shells and some supervisors signal a process and then its whole group: the echo is no second wish.
const ECHO: Duration = Duration::from_millis(250);

/// How long clients of a process that another takes over from are told to connect anew, at least.
const LEAVE: Duration = Duration::from_secs(1);

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
    /// `readyz` says 503 from here on. Cancelling it begins the stop, as a signal does.
    pub draining: CancellationToken,
    /// Answers tell their connections good-bye: whoever comes again comes on a new one.
    pub parting: CancellationToken,
    /// Stop accepting, finish what is under way.
    pub soft: CancellationToken,
    /// Streams and tunnels end.
    pub streams: CancellationToken,
    /// End now.
    pub hard: CancellationToken,
    /// Another process serves the same sockets: nobody but connected clients has to notice that this one goes away.
    pub handed_over: CancellationToken,
    /// Something broke that the process cannot go on without: its exit code must tell.
    pub failed: CancellationToken,
    /// Every task on the control runtime.
    pub tasks: TaskTracker,
}

impl Lifecycle {
    /// Stops in stages on SIGTERM or SIGINT, on a failure, or when `draining` is cancelled; a second signal, a quarter of
    /// a second later or more, ends at once.
    /// The stages end early when `hard` is cancelled. `settings` are asked for as the stop begins.
    ///
    /// # Errors
    /// The signals cannot be caught.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn stop_on_signals(&self, settings: impl Fn() -> Settings + Send + 'static) -> io::Result<()> {
        let mut signals = Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        };
        let this = self.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = signals.next() => tracing::info!("stopping"),
                () = this.draining.cancelled() => {}
                () = this.hard.cancelled() => {}
            }
            let settings = settings();
            tokio::select! {
                () = this.stop_in_stages(&settings) => {}
                () = signals.again() => {
                    tracing::warn!("a second signal: ending at once");
                    this.end();
                }
                () = this.hard.cancelled() => this.end(),
            }
        });
        Ok(())
    }

    async fn stop_in_stages(&self, settings: &Settings) {
        self.draining.cancel();
        // Balancers look at `readyz` in the first half. Whoever still comes on an old connection in the second is told that
        // it ends: one that is closed without a word may meet a request that is under way. Where another process serves
        // the same addresses, balancers have nothing to see.
        let (unseen, told) = if self.handed_over.is_cancelled() {
            (Duration::ZERO, settings.drain_delay.max(LEAVE))
        } else {
            let half = settings.drain_delay / 2;
            (half, settings.drain_delay.saturating_sub(half))
        };
        self.unless_failed(unseen).await;
        self.parting.cancel();
        self.unless_failed(told).await;
        self.soft.cancel();
        let grace = settings.stream_grace.min(settings.drain_timeout);
        tokio::time::sleep(grace).await;
        self.streams.cancel();
        tokio::time::sleep(settings.drain_timeout.saturating_sub(grace)).await;
        self.hard.cancel();
    }

    async fn unless_failed(&self, wait: Duration) {
        // What has failed waits for nobody.
        let _ = self.failed.run_until_cancelled(tokio::time::sleep(wait)).await;
    }

    fn end(&self) {
        self.draining.cancel();
        self.parting.cancel();
        self.soft.cancel();
        self.streams.cancel();
        self.hard.cancel();
    }

    /// Runs a background task that must not end before the soft stop; when it does, or panics, the process stops with a
    /// failing code.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let this = self.clone();
        self.tasks.spawn(async move {
            let failing = this.fails_unless_stopped(name);
            // The guard tells what happened; the panic itself has been printed by its hook.
            let _ = AssertUnwindSafe(task).catch_unwind().await;
            drop(failing);
        });
    }

    /// A guard for a thread or task of the name `what`: dropped before the soft stop, it reports a failure.
    #[must_use]
    pub fn fails_unless_stopped(&self, what: &'static str) -> FailureGuard {
        FailureGuard {
            lifecycle: self.clone(),
            what,
        }
    }

    /// Something broke that the process cannot go on without: begins the stop without a delay.
    pub fn fail(&self) {
        self.failed.cancel();
        self.draining.cancel();
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Waits for one that is not the echo of what began the stop.
    async fn again(&mut self) {
        let echoes = tokio::time::Instant::now() + ECHO;
        while tokio::time::timeout_at(echoes, self.next()).await.is_ok() {}
        self.next().await;
    }
}

/// See [`Lifecycle::fails_unless_stopped`].
pub struct FailureGuard {
    lifecycle: Lifecycle,
    what: &'static str,
}

impl Drop for FailureGuard {
    fn drop(&mut self) {
        if !self.lifecycle.soft.is_cancelled() && !self.lifecycle.hard.is_cancelled() {
            tracing::error!("{} ended too early: stopping", self.what);
            self.lifecycle.fail();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Lifecycle;
    use super::Settings;
    use std::time::Duration;
    use tokio::time::Instant;

    fn settings() -> Settings {
        Settings {
            drain_delay: Duration::from_millis(100),
            drain_timeout: Duration::from_millis(400),
            stream_grace: Duration::from_millis(200),
        }
    }

    #[tokio::test]
    async fn a_stop_goes_through_its_stages_in_order() {
        let lifecycle = Lifecycle::default();
        lifecycle.stop_on_signals(settings).unwrap();
        let begun = Instant::now();
        lifecycle.draining.cancel();
        lifecycle.parting.cancelled().await;
        assert!(begun.elapsed() >= Duration::from_millis(50));
        assert!(!lifecycle.soft.is_cancelled());
        lifecycle.soft.cancelled().await;
        assert!(begun.elapsed() >= Duration::from_millis(100));
        assert!(!lifecycle.streams.is_cancelled());
        lifecycle.streams.cancelled().await;
        assert!(begun.elapsed() >= Duration::from_millis(300));
        assert!(!lifecycle.hard.is_cancelled());
        lifecycle.hard.cancelled().await;
        assert!(begun.elapsed() >= Duration::from_millis(500));
        assert!(!lifecycle.failed.is_cancelled());
    }

    #[tokio::test]
    async fn a_background_task_that_ends_early_or_panics_stops_the_process_as_failed() {
        for panics in [false, true] {
            let lifecycle = Lifecycle::default();
            let patient = Settings {
                drain_delay: Duration::from_hours(1),
                ..settings()
            };
            lifecycle.stop_on_signals(move || patient.clone()).unwrap();
            lifecycle.spawn("a task", async move {
                tokio::task::yield_now().await;
                assert!(!panics, "this task must panic");
            });
            // A failure does not wait for balancers.
            lifecycle.soft.cancelled().await;
            assert!(lifecycle.failed.is_cancelled());
        }
    }

    #[tokio::test]
    async fn nothing_is_waited_for_once_the_end_is_declared() {
        let lifecycle = Lifecycle::default();
        let patient = Settings {
            drain_delay: Duration::from_hours(1),
            ..settings()
        };
        lifecycle.stop_on_signals(move || patient.clone()).unwrap();
        let soft = lifecycle.soft.clone();
        lifecycle.spawn("a task", async move { soft.cancelled().await });
        lifecycle.tasks.close();
        lifecycle.hard.cancel();
        lifecycle.tasks.wait().await;
        assert!(lifecycle.soft.is_cancelled() && !lifecycle.failed.is_cancelled());
    }
}
