//! One thread a core, each with a runtime of its own; everything of a connection stays on its core.

use super::Bound;
use super::Handler;
use super::Limits;
use super::NetError;
use super::Settings;
use super::connection;
use super::connection::Accepted;
use super::control::Control;
use super::http1;
use super::http2;
use super::lease::Load;
use super::listener::Acceptor;
use super::listener::Way;
use super::listener::watch_socket;
use super::stop::Stop;
use crate::lifecycle::Lifecycle;
use crate::telemetry::Metrics;
use crate::web::Purpose;
use futures_util::FutureExt;
use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::sync::mpsc::sync_channel;
use tokio::runtime::Builder;
use tokio::runtime::LocalOptions;
use tokio::runtime::LocalRuntime;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::mpsc::unbounded_channel;
use tokio::sync::oneshot;

/// Connections of the admin listeners, apart from all others: visitors who take every connection must not hide the
/// gateway's health.
const ADMIN_CONNECTIONS: usize = 256;

/// What the connections of one core share.
pub(super) struct Core<H> {
    pub handler: Rc<H>,
    manner: RefCell<Rc<Manner>>,
    pub stop: Stop,
}

impl<H> Core<H> {
    /// How a connection that begins here is served, to its end.
    pub fn manner(&self) -> Rc<Manner> {
        Rc::clone(&self.manner.borrow())
    }
}

/// How connections are served.
pub(super) struct Manner {
    pub limits: Limits,
    pub http1: hyper::server::conn::http1::Builder,
    pub http2: hyper::server::conn::http2::Builder<http2::StreamSpawner>,
}

impl Manner {
    fn of(limits: &Limits) -> Rc<Self> {
        Rc::new(Self {
            http1: http1::builder(limits),
            http2: http2::builder(limits),
            limits: limits.clone(),
        })
    }
}

/// What a core is told.
pub(super) enum Order {
    /// To serve a connection.
    Serve(Accepted),
    /// To serve those that come from here on within these limits; whoever waits for it is told.
    Adopt(Arc<Limits>, oneshot::Sender<()>),
}

/// The workers of a running gateway.
pub struct Workers {
    /// Each core's last word: connections that were still open when it ended.
    ended: Vec<oneshot::Receiver<usize>>,
    control: Arc<Control>,
}

impl Workers {
    /// Starts the workers, each with a handler that `make` builds on its own thread and runtime, and accepts on the
    /// current (control) runtime. A worker that ends before the stop counts as a failure of the process.
    ///
    /// # Errors
    /// A thread or its runtime could not be started.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start<H: Handler>(
        bound: Bound,
        settings: &Settings,
        lifecycle: &Lifecycle,
        metrics: &Arc<Metrics>,
        make: impl Fn(usize) -> Rc<H> + Clone + Send + 'static,
    ) -> Result<Self, NetError> {
        let mut cores = Vec::new();
        let mut ended = Vec::new();
        for index in 0..settings.workers.max(1) {
            let (sender, receiver) = unbounded_channel();
            let (last_word, end) = oneshot::channel();
            let load = Arc::new(Load::default());
            let worker = Worker {
                index,
                limits: settings.limits.clone(),
                lifecycle: lifecycle.clone(),
                load: Arc::clone(&load),
                receiver,
            };
            worker.start(make.clone(), last_word)?;
            cores.push(Way { load, sender });
            ended.push(end);
        }
        let control = accept(bound, settings, lifecycle, metrics, &cores)?;
        Ok(Self {
            ended,
            control: Arc::new(control),
        })
    }

    /// What changes them while they run. It does not keep them running.
    #[must_use]
    pub fn control(&self) -> Arc<Control> {
        Arc::clone(&self.control)
    }

    /// Waits until every connection has ended and the threads are gone. Returns how many connections were cut by the
    /// hard stop.
    pub async fn finished(self) -> usize {
        let mut cut = 0;
        for end in self.ended {
            cut += end.await.unwrap_or(0);
        }
        cut
    }
}

fn accept(
    bound: Bound,
    settings: &Settings,
    lifecycle: &Lifecycle,
    metrics: &Arc<Metrics>,
    cores: &[Way],
) -> Result<Control, NetError> {
    let permits = Arc::new(Semaphore::new(settings.limits.connections.min(Semaphore::MAX_PERMITS)));
    let admin_permits = Arc::new(Semaphore::new(ADMIN_CONNECTIONS));
    let Bound {
        listeners,
        sockets,
        tls,
        ..
    } = bound;
    let sockets: Vec<_> = sockets.into_iter().map(Arc::new).collect();
    let gates = listeners.into_iter().zip(&sockets).zip(tls);
    let (control, doors) = Control::new(gates, settings, cores, metrics);
    for (socket, door) in sockets.into_iter().zip(doors) {
        let is_admin = door.borrow().facts.purpose == Purpose::Admin;
        let acceptor = Acceptor {
            listener: watch_socket(socket).map_err(NetError::Accept)?,
            door,
            permits: Arc::clone(if is_admin { &admin_permits } else { &permits }),
            cores: cores.to_vec(),
            stop: lifecycle.soft.clone(),
        };
        lifecycle.spawn("acceptor", acceptor.run());
    }
    Ok(control)
}

struct Worker {
    index: usize,
    limits: Limits,
    lifecycle: Lifecycle,
    load: Arc<Load>,
    receiver: UnboundedReceiver<Order>,
}

impl Worker {
    /// Returns when the thread has a runtime.
    fn start<H: Handler>(
        self,
        make: impl Fn(usize) -> Rc<H> + Send + 'static,
        last_word: oneshot::Sender<usize>,
    ) -> Result<(), NetError> {
        let (ready, started) = sync_channel(1);
        std::thread::Builder::new()
            .name(format!("core-{}", self.index))
            .spawn(move || {
                if let Some(runtime) = runtime(&ready) {
                    let lifecycle = self.lifecycle.clone();
                    let _failing = lifecycle.fails_unless_stopped("a worker");
                    let load = Arc::clone(&self.load);
                    runtime.block_on(self.run(make));
                    let cut = load.count();
                    // Every task of this core, connections that were cut among them, goes with the runtime.
                    drop(runtime);
                    let _ = last_word.send(cut);
                }
            })
            .map_err(NetError::Worker)?;
        started
            .recv()
            .unwrap_or_else(|_| Err(io::Error::other("the thread ended at once")))
            .map_err(NetError::Worker)
    }

    async fn run<H: Handler>(mut self, make: impl Fn(usize) -> Rc<H>) {
        let core = Rc::new(Core {
            handler: make(self.index),
            manner: RefCell::new(Manner::of(&self.limits)),
            stop: Stop::default(),
        });
        let hard = self.lifecycle.hard.clone();
        let (parting, soft) = (self.lifecycle.parting.clone(), self.lifecycle.soft.clone());
        let on_stop = Rc::clone(&core);
        tokio::task::spawn_local(async move {
            let _ = soft.run_until_cancelled(parting.cancelled()).await;
            on_stop.stop.part();
            soft.cancelled().await;
            on_stop.stop.begin();
        });
        let serving = async {
            // The acceptors hold the senders and drop them at the stop.
            while let Some(order) = self.receiver.recv().await {
                match order {
                    Order::Serve(accepted) => {
                        spawn_contained("a connection was", connection::serve(accepted, Rc::clone(&core)));
                    }
                    Order::Adopt(limits, done) => {
                        core.manner.replace(Manner::of(&limits));
                        // Who gave the order may have stopped waiting.
                        let _ = done.send(());
                    }
                }
            }
            while self.load.count() > 0 {
                self.load.emptied.notified().await;
            }
        };
        hard.run_until_cancelled(serving).await;
    }
}

fn runtime(ready: &SyncSender<io::Result<()>>) -> Option<LocalRuntime> {
    let built = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default());
    let (runtime, result) = match built {
        Ok(runtime) => (Some(runtime), Ok(())),
        Err(error) => (None, Err(error)),
    };
    // Whoever started us waits for this word.
    let _ = ready.send(result);
    runtime
}

/// Runs a task on this core; a bug in it ends it and nothing else.
pub(super) fn spawn_contained(what: &'static str, task: impl Future<Output = ()> + 'static) {
    tokio::task::spawn_local(async move {
        if AssertUnwindSafe(task).catch_unwind().await.is_err() {
            tracing::error!("{what} ended by a bug in the gateway");
        }
    });
}
