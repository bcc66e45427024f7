//! Composition root: settings in, running system out. The only room that knows every other.
//!
//! It joins rooms and decides nothing about requests. `start` builds everything from a configuration once; `snapshot` is
//! what a configuration makes of the rooms, and `reload` exchanges it while the gateway runs; `doorman` hands requests to
//! the newest one on each core.
//!
//! Called by the command line.
//!
//! What must always hold: a configuration takes effect whole or not at all, but for keys that are named as waiting for a
//! restart; a request ends by what it began with; connections, streams and sessions outlive the exchange. A dropped
//! [`start`] runs nothing; a dropped [`Running::wait`] leaves everything running.

mod doorman;
mod files;
mod follow;
mod handover;
mod herald;
mod pending;
mod places;
mod presence;
mod ready;
mod reload;
mod snapshot;

pub use ready::name_store;
pub use reload::Reread;

use crate::account::Accounts;
use crate::admin::Readiness;
use crate::clock::Clock;
use crate::config::Config;
use crate::lifecycle::Lifecycle;
use crate::net;
use crate::net::Bound;
use crate::net::Inherited;
use crate::net::Workers;
use crate::session;
use crate::session::Presence;
use crate::session::Sessions;
use crate::store::Store;
use crate::telemetry::Metrics;
use anyhow::Context;
use doorman::Cores;
use follow::by_newest;
use handover::Program;
use herald::Word;
use places::admin_hosts;
use places::https_port;
use places::local_ca;
use places::log_start;
use places::store_facts;
use places::urls;
use ready::Ready;
use ready::open_store;
use reload::Reloader;
use snapshot::Permanent;
use snapshot::Snapshot;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::sync::watch;

/// The most that writing the last access lines may take.
const LAST_LINES: Duration = Duration::from_secs(2);

/// A gateway that accepts requests.
pub struct Running {
    /// `https://…` or `http://…` of every listener but the admin's, in the order of the configuration.
    pub listeners: Vec<String>,
    /// The admin listener's address.
    pub admin_url: Option<String>,
    /// The local CA's certificate, where there is one.
    pub ca: Option<PathBuf>,
    /// Users of this gateway, for the commands that start it.
    pub accounts: Arc<Accounts>,
    lifecycle: Lifecycle,
    workers: Workers,
    reloader: Arc<Reloader>,
    presence: Arc<Presence>,
}

/// Starts everything on the current (control) runtime. `reread` reads the configuration again, on SIGHUP and when it is
/// asked for; without it nothing can be reloaded.
///
/// # Errors
/// An address that is taken, a certificate that cannot be used, a database that must be there and is not, a schema that
/// is too new. Nothing runs then.
pub async fn start(mut config: Config, reread: Option<Reread>) -> anyhow::Result<Running> {
    let clock = Clock::system();
    let lifecycle = Lifecycle::default();
    let metrics = Arc::new(Metrics::new());
    if config.session.secrets.is_empty() {
        config.session.secrets = vec![session::load_or_make_secret(&config.data_dir)?];
    }
    let mut inherited = Inherited::of_process()?;
    let predecessor = inherited.predecessor();
    if predecessor.is_some() {
        // Somebody serves until this process does: better not at all than without a database.
        config.store.required_at_start = true;
    }
    let bound = net::bind_or_inherit(&config.net, clock.now().into(), inherited)?;
    let ready = Arc::new(Ready {
        prepared: AtomicBool::new(false),
        lifecycle: lifecycle.clone(),
    });
    let store = open_store(&config.store, &clock, &ready)
        .await
        .map_err(|error| name_store(error, &config.store))?;
    let sessions = start_sessions(&config, &store, &clock, &metrics, &lifecycle);
    log_start(&config, &bound, store.as_ref());
    let permanent = Permanent {
        lifecycle: lifecycle.clone(),
        store_facts: store_facts(&config.store),
        admin_hosts: admin_hosts(&bound),
        cores: config.net.workers,
        control: tokio::runtime::Handle::current(),
        id_seed: random()?,
        bell: Arc::default(),
        clock,
        metrics,
        store,
        ready,
    };
    let (started, port) = (config.clone(), https_port(&bound));
    let first = Snapshot::first(&permanent, config, sessions, port)?;
    let running = run(permanent, bound, (started, first), reread)?;
    if let Some(predecessor) = predecessor {
        handover::tell_predecessor(&predecessor);
    }
    let how = match running.reloader.permanent.ready.ready() {
        Ok(()) => herald::SERVING,
        Err(_) => "Serving 503 until the database is reached",
    };
    herald::tell(Word::Ready(how)).await;
    Ok(running)
}

/// Lets the first snapshot serve, and others follow it.
fn run(
    permanent: Permanent,
    bound: Bound,
    (started, first): (Config, Snapshot),
    reread: Option<Reread>,
) -> anyhow::Result<Running> {
    let lifecycle = permanent.lifecycle.clone();
    let first = Arc::new(first);
    let (newest, snapshots) = watch::channel(Arc::clone(&first));
    // Before anybody is told that it is ready: who hears that may stop it at once.
    let life = snapshots.clone();
    lifecycle
        .stop_on_signals(move || life.borrow().config.life.clone())
        .context("cannot wait for signals")?;
    let cores = Cores::new(Arc::clone(&first.shared), permanent.cores);
    let (listeners, admin_url) = (urls(&bound, false), urls(&bound, true).into_iter().next());
    let presence = presence::show(&permanent, &listeners, snapshots.clone());
    let doors = Arc::clone(&cores);
    let join = move |core| doors.join(core);
    let workers = Workers::start(bound, &started.net, &lifecycle, &permanent.metrics, join)?;
    keep_up(&snapshots, &lifecycle);
    let bell = Arc::clone(&permanent.bell);
    let reloader = Arc::new(Reloader {
        network: workers.control(),
        turn: tokio::sync::Mutex::default(),
        contents: Mutex::default(),
        permanent,
        reread,
        started,
        newest,
        cores,
    });
    bell.belongs_to(&reloader);
    if reloader.reread.is_some() {
        reloader.reload_on_signal().context("cannot wait for signals")?;
        let program = Program::of_process();
        reloader
            .hand_over_on_signal(program)
            .context("cannot wait for signals")?;
    }
    let (watching, stop) = (Arc::clone(&reloader).watch_files(), lifecycle.soft.clone());
    lifecycle.spawn("file watch", async move {
        stop.run_until_cancelled(watching).await;
    });
    herald::start(&reloader.cores, &lifecycle);
    Ok(Running {
        listeners,
        admin_url,
        ca: local_ca(&first.config),
        accounts: Arc::clone(&first.accounts),
        lifecycle,
        workers,
        reloader,
        presence,
    })
}

fn random() -> anyhow::Result<u64> {
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).context("the operating system gives no randomness")?;
    Ok(u64::from_ne_bytes(seed))
}

fn start_sessions(
    config: &Config,
    store: &Arc<dyn Store>,
    clock: &Clock,
    metrics: &Arc<Metrics>,
    lifecycle: &Lifecycle,
) -> Arc<Sessions> {
    let sessions = Sessions::with_longest_grace(
        Arc::clone(store),
        config.session.clone(),
        clock.clone(),
        tokio::runtime::Handle::current(),
        Arc::clone(metrics),
        config.proxy.longest_grace(),
    );
    lifecycle.spawn("session watch", Arc::clone(&sessions).watch(lifecycle.hard.clone()));
    sessions
}

/// Work on what is kept: sweeping sessions, forgetting old audit events. By the newest configuration, until the stop.
fn keep_up(snapshots: &watch::Receiver<Arc<Snapshot>>, lifecycle: &Lifecycle) {
    let soft = lifecycle.soft.clone();
    let sweeping = by_newest(snapshots.clone(), |config| config.session.sweep, {
        let soft = soft.clone();
        move |newest| {
            let soft = soft.clone();
            async move { newest.sessions.sweep_regularly(soft).await }
        }
    });
    lifecycle.spawn("sweep", async move {
        soft.run_until_cancelled(sweeping).await;
    });
    let hard = lifecycle.hard.clone();
    let forgetting = by_newest(
        snapshots.clone(),
        |config| config.audit.clone(),
        |newest| Arc::clone(&newest.log).keep(),
    );
    lifecycle
        .tasks
        .spawn(async move { hard.run_until_cancelled(forgetting).await });
}

impl Running {
    /// Waits until a signal has stopped it, everything under way has ended or its time is over, and all tasks are gone.
    ///
    /// # Errors
    /// A task that must not end did: the process should end with a failing code.
    pub async fn wait(self) -> anyhow::Result<()> {
        let Self {
            lifecycle,
            workers,
            reloader,
            presence,
            ..
        } = self;
        let cut = workers.finished().await;
        lifecycle.hard.cancel();
        lifecycle.tasks.close();
        lifecycle.tasks.wait().await;
        let last = Arc::clone(&reloader.newest.borrow());
        last.sessions.flush(reloader.started.store.call_timeout).await;
        presence.leave().await;
        if let Err(error) = reloader.permanent.store.close().await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the database's connections did not close in time"
            );
        }
        if let Some(access) = last.access.clone() {
            // What cannot be written by then is lost, as anything that the disk does not take.
            let _ = tokio::task::spawn_blocking(move || access.flush(LAST_LINES)).await;
        }
        tracing::info!(connections.cut = cut, "portcullis has stopped");
        anyhow::ensure!(
            !lifecycle.failed.is_cancelled(),
            "a part of the gateway ended early; the log says which"
        );
        Ok(())
    }

    /// Begins to stop, as the first signal does.
    #[must_use]
    pub fn lifecycle(&self) -> &Lifecycle {
        &self.lifecycle
    }
}
