//! What the service manager is told (`sd_notify`): ready, reloading, stopping, alive. Without one, nothing.

use super::doorman::Cores;
use crate::lifecycle::Lifecycle;
use sd_notify::NotifyState;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::oneshot;
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

/// How long a service manager may take to be told.
const HEARS_WITHIN: Duration = Duration::from_secs(1);
/// Threads that wait for one that does not listen; more words than these are not told.
const MOST_WAITING: usize = 8;
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// Tells it. Who does not listen (its socket's queue is full) keeps a thread of its own waiting and nothing else: not the
/// start, no reload, and not the end of the process, which waits for the runtime's threads.
pub(super) async fn tell(word: Word) {
    if let Err(error) = say(word).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the service manager could not be told"
        );
    }
}

async fn say(word: Word) -> io::Result<()> {
    let late = || io::Error::from(io::ErrorKind::TimedOut);
    if WAITING.fetch_add(1, Ordering::Relaxed) >= MOST_WAITING {
        WAITING.fetch_sub(1, Ordering::Relaxed);
        return Err(late());
    }
    let (said, heard) = oneshot::channel();
    let thread = move || {
        let outcome = notify(&word);
        WAITING.fetch_sub(1, Ordering::Relaxed);
        // Whoever asked may have stopped waiting.
        let _ = said.send(outcome);
    };
    if let Err(error) = std::thread::Builder::new().name("notify".to_owned()).spawn(thread) {
        WAITING.fetch_sub(1, Ordering::Relaxed);
        return Err(error);
    }
    let heard = tokio::time::timeout(HEARS_WITHIN, heard).await;
    heard.map_err(|_| late())?.map_err(|_| late())?
}

fn notify(word: &Word) -> io::Result<()> {
    match *word {
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
