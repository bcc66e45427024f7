//! Composition root: settings in, running system out. The only file that knows every room.

mod places;

use crate::account::Accounts;
use crate::admin;
use crate::admin::Admin;
use crate::admin::Readiness;
use crate::audit::Log;
use crate::clock::Clock;
use crate::config::Config;
use crate::lifecycle::Lifecycle;
use crate::net;
use crate::net::Bound;
use crate::net::Handler;
use crate::net::Workers;
use crate::portal;
use crate::portal::Portal;
use crate::proxy;
use crate::proxy::Core;
use crate::proxy::Outgoing;
use crate::proxy::Shared;
use crate::proxy::Surroundings;
use crate::session;
use crate::session::Sessions;
use crate::store;
use crate::store::Role;
use crate::store::Store;
use crate::store::StoreError;
use crate::telemetry::AccessLog;
use crate::telemetry::Metrics;
use crate::web::Arrival;
use crate::web::Desk;
use anyhow::Context;
use http::Request;
use http::Response;
use hyper::body::Incoming;
use places::admin_hosts;
use places::https_port;
use places::local_ca;
use places::log_start;
use places::store_facts;
use places::urls;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often a database that was not there at start is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

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
    sessions: Arc<Sessions>,
    store: Arc<dyn Store>,
    /// The most that writing the last activity may take at the end.
    last_words: Duration,
}

/// Ready once the store was reached and migrated, until the drain begins. A database that fails later does not make an
/// instance unready: cached sessions go on, and taking every instance away at once would help nobody.
struct Ready {
    prepared: AtomicBool,
    lifecycle: Lifecycle,
}

impl Readiness for Ready {
    fn ready(&self) -> Result<(), &'static str> {
        if self.lifecycle.draining.is_cancelled() {
            return Err("draining");
        }
        if self.prepared.load(Ordering::Acquire) {
            Ok(())
        } else {
            Err("the database has not been reached yet")
        }
    }
}

/// Joins [`net`] and [`proxy`], which do not know each other.
struct Doorman(Rc<Core>);

impl Handler for Doorman {
    type Body = Outgoing;

    fn handle(
        self: Rc<Self>,
        request: Request<Incoming>,
        arrival: Arrival,
    ) -> impl Future<Output = Response<Outgoing>> + 'static {
        // On the heap at once: between here and its last poll, hyper and the runtime move a request's future up to six times.
        Box::pin(proxy::handle(Rc::clone(&self.0), request, arrival))
    }
}

/// Starts everything on the current (control) runtime.
///
/// # Errors
/// An address that is taken, a certificate that cannot be used, a database that must be there and is not, a schema that
/// is too new. Nothing runs then.
pub async fn start(mut config: Config) -> anyhow::Result<Running> {
    let clock = Clock::system();
    let lifecycle = Lifecycle::default();
    let metrics = Arc::new(Metrics::new());
    if config.session.secrets.is_empty() {
        config.session.secrets = vec![session::load_or_make_secret(&config.data_dir)?];
    }
    let bound = net::bind(&config.net, clock.now().into())?;
    let ready = Arc::new(Ready {
        prepared: AtomicBool::new(false),
        lifecycle: lifecycle.clone(),
    });
    let store = open_store(&config.store, &clock, &ready)
        .await
        .map_err(|error| name_store(error, &config.store))?;
    let sessions = start_sessions(&config, &store, &clock, &metrics, &lifecycle);
    let (keys, time) = (sessions.derived_keys("throttle"), Arc::clone(&sessions));
    let now = Arc::new(move || time.now());
    let accounts = Accounts::keyed(Arc::clone(&store), config.account.clone(), clock.clone(), &keys, now);
    let log = Log::new(Arc::clone(&store), config.audit.clone());
    keep_log(&log, &lifecycle);
    // Before anybody is told that it is ready: who hears that may stop it at once.
    lifecycle
        .stop_on_signals(config.life.clone())
        .context("cannot wait for signals")?;
    log_start(&config, &bound, store.as_ref());
    let running = Running {
        listeners: urls(&bound, false),
        admin_url: urls(&bound, true).into_iter().next(),
        ca: local_ca(&config),
        accounts: Arc::clone(&accounts),
        sessions: Arc::clone(&sessions),
        last_words: config.store.call_timeout,
        workers: start_workers(
            config,
            bound,
            &lifecycle,
            &metrics,
            Rooms {
                sessions,
                accounts,
                log,
                ready,
                clock,
            },
        )?,
        lifecycle,
        store,
    };
    Ok(running)
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
    let (sweeping, stop) = (Arc::clone(&sessions), lifecycle.soft.clone());
    lifecycle.spawn("sweep", async move { sweeping.sweep_regularly(stop).await });
    sessions
}

/// What the workers' handlers are built from.
struct Rooms {
    sessions: Arc<Sessions>,
    accounts: Arc<Accounts>,
    log: Arc<Log>,
    ready: Arc<Ready>,
    clock: Clock,
}

/// Cookies of ours besides the session's.
fn own_cookies() -> Vec<String> {
    let names = portal::cookie_names().into_iter().chain(admin::COOKIES);
    names.map(str::to_owned).collect()
}

/// Forgets old audit events until the process stops.
fn keep_log(log: &Arc<Log>, lifecycle: &Lifecycle) {
    let (log, stop) = (Arc::clone(log), lifecycle.hard.clone());
    lifecycle
        .tasks
        .spawn(async move { stop.run_until_cancelled(log.keep()).await });
}

fn start_workers(
    config: Config,
    bound: Bound,
    lifecycle: &Lifecycle,
    metrics: &Arc<Metrics>,
    rooms: Rooms,
) -> anyhow::Result<Workers> {
    let Rooms {
        sessions,
        accounts,
        log,
        ready,
        clock,
    } = rooms;
    let portal = Portal::new(
        config.portal.clone(),
        Arc::clone(&sessions),
        Arc::clone(&accounts),
        Arc::clone(metrics),
    );
    let admin = Admin::new(admin::Parts {
        settings: config.admin,
        metrics: Arc::clone(metrics),
        readiness: ready,
        hosts: admin_hosts(&bound),
        sessions: Arc::clone(&sessions),
        accounts,
        log,
        store: store_facts(&config.store),
        prefix: config.portal.prefix.clone(),
    });
    let access = AccessLog::new(
        &config.telemetry,
        move || clock.now().as_micros(),
        metrics.access_lines_lost.clone(),
    )
    .context("cannot open the access log")?;
    let around = Surroundings {
        sessions,
        portal: Arc::new(portal),
        portal_settings: config.portal,
        members: admin.members().map(|members| members as Arc<dyn Desk>),
        admin,
        metrics: Arc::clone(metrics),
        access,
        control: tokio::runtime::Handle::current(),
        stop_streams: lifecycle.streams.clone(),
        https_port: https_port(&bound),
        own_cookies: own_cookies(),
        cores: config.net.workers,
    };
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).context("the operating system gives no randomness")?;
    let shared = Shared::new(config.proxy, config.session.cookie, around, u64::from_ne_bytes(seed));
    let make = move |core: usize| Rc::new(Doorman(Core::new(Arc::clone(&shared), core)));
    Ok(Workers::start(bound, &config.net, lifecycle, metrics, make)?)
}

/// Says of which database `error` is, where its own words do not.
#[must_use]
pub fn name_store(error: StoreError, settings: &store::Settings) -> anyhow::Error {
    let nameless = !matches!(
        error,
        StoreError::Url(_) | StoreError::InUse(_) | StoreError::File { .. } | StoreError::Taken(_)
    );
    match store::describe(settings).filter(|_| nameless) {
        Some(place) => {
            let told = format!("{error} ({place})");
            anyhow::Error::new(error).context(told)
        }
        None => error.into(),
    }
}

async fn open_store(
    settings: &store::Settings,
    clock: &Clock,
    ready: &Arc<Ready>,
) -> Result<Arc<dyn Store>, StoreError> {
    let store = store::open(settings, Role::Gateway, clock.clone()).await?;
    prepare(&store, ready).await?;
    Ok(store)
}

/// Waits for a database that could not be reached at start; requests are answered 503 until it is.
async fn prepare(store: &Arc<dyn Store>, ready: &Arc<Ready>) -> Result<(), StoreError> {
    match store.prepare().await {
        Ok(()) => {
            ready.prepared.store(true, Ordering::Release);
            return Ok(());
        }
        Err(error @ (StoreError::Unreachable(_) | StoreError::TimedOut)) => tracing::warn!(
            store.place = store.description(),
            error = &error as &dyn std::error::Error,
            "the database cannot be reached; not ready until it can"
        ),
        Err(error) => return Err(error),
    }
    let (store, ready) = (Arc::clone(store), Arc::clone(ready));
    let lifecycle = ready.lifecycle.clone();
    lifecycle.tasks.clone().spawn(async move {
        loop {
            tokio::select! {
                () = tokio::time::sleep(TRY_AGAIN) => {}
                () = lifecycle.soft.cancelled() => return,
            }
            match store.prepare().await {
                Ok(()) => break,
                Err(StoreError::Unreachable(_) | StoreError::TimedOut) => {}
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the database was reached but cannot be used"
                    );
                    lifecycle.fail();
                    return;
                }
            }
        }
        ready.prepared.store(true, Ordering::Release);
        tracing::info!("the database was reached; ready");
    });
    Ok(())
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
            sessions,
            store,
            last_words,
            ..
        } = self;
        let cut = workers.finished().await;
        lifecycle.hard.cancel();
        lifecycle.tasks.close();
        lifecycle.tasks.wait().await;
        sessions.flush(last_words).await;
        if let Err(error) = store.close().await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the database's connections did not close in time"
            );
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
