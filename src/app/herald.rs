//! What the service manager is told (`sd_notify`): ready, reloading, stopping, alive. Without one, nothing.

use super::doorman::Cores;
use crate::lifecycle::Lifecycle;
use sd_notify::NotifyState;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// How it is when all is well.
pub(super) const SERVING: &str = "Serving";

/// Something to tell.
#[derive(Clone, Debug)]
pub(super) enum Word {
    /// Listeners serve; a sentence on how it is.
    Ready(&'static str),
    /// How it is, after it was ready.
    Status(&'static str),
    /// The configuration is being read.
    Reloading,
    /// The drain begins.
    Stopping,
    /// Control runtime and cores take their turns.
    Alive,
    /// Another process is the service from here on.
    HandedTo(u32),
}

/// Tells it. The socket may have to be waited for, so that is left to a thread for such work.
pub(super) async fn tell(word: Word) {
    let told = tokio::task::spawn_blocking(move || match word {
        Word::Ready(how) => sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(how)]),
        Word::Status(how) => sd_notify::notify(&[NotifyState::Status(how)]),
        Word::Reloading => {
            // Which reload this is the beginning of (`Type=notify-reload`).
            let now = NotifyState::monotonic_usec_now()?;
            sd_notify::notify(&[
                NotifyState::Reloading,
                now,
                NotifyState::Status("Reading the configuration"),
            ])
        }
        Word::Stopping => sd_notify::notify(&[
            NotifyState::Stopping,
            NotifyState::Status("Finishing what is under way"),
        ]),
        Word::Alive => sd_notify::notify(&[NotifyState::Watchdog]),
        Word::HandedTo(process) => sd_notify::notify(&[NotifyState::MainPid(process)]),
    });
    if let Ok(Err(error)) = told.await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the service manager could not be told"
        );
    }
}

/// Tells of the stop when it begins, and of life twice in each period that the service manager waits (`WatchdogSec=`),
/// only while every core takes its turns. Until the process ends or is no longer the service.
pub(super) fn start(cores: &Arc<Cores>, lifecycle: &Lifecycle) {
    let (cores, life) = (Arc::clone(cores), lifecycle.clone());
    let stop = lifecycle.hard.clone();
    let work = async move {
        let is_service = life.handed_over.clone();
        let telling = async {
            tokio::join!(tell_stop(&life), keep_alive(&cores));
        };
        is_service.run_until_cancelled(telling).await;
    };
    lifecycle
        .tasks
        .spawn(async move { stop.run_until_cancelled(work).await });
}

async fn tell_stop(life: &Lifecycle) {
    life.draining.cancelled().await;
    if !life.handed_over.is_cancelled() {
        tell(Word::Stopping).await;
    }
}

async fn keep_alive(cores: &Cores) {
    let Some(period) = sd_notify::watchdog_enabled() else {
        return;
    };
    let half = (period / 2).max(Duration::from_millis(1));
    let mut ticks = tokio::time::interval(half);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if cores.answer(half).await {
            tell(Word::Alive).await;
        } else {
            tracing::error!("a core does not take its turns; the service manager is told nothing");
        }
    }
}
