//! What stands between [`crate::net`] and [`crate::proxy`], which do not know each other, on every core.

use crate::net::Handler;
use crate::proxy;
use crate::proxy::Core;
use crate::proxy::Outgoing;
use crate::proxy::Shared;
use crate::web::Arrival;
use http::Request;
use http::Response;
use hyper::body::Incoming;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::mpsc::unbounded_channel;
use tokio::sync::oneshot;

/// Hands each request to the newest proxy of its core: it is exchanged between two requests, by a message, so that no
/// request pays for it with a lock or a count that cores share.
pub(super) struct Doorman(RefCell<Rc<Core>>);

impl Handler for Doorman {
    type Body = Outgoing;

    fn handle(
        self: Rc<Self>,
        request: Request<Incoming>,
        arrival: Arrival,
    ) -> impl Future<Output = Response<Outgoing>> + 'static {
        let core = Rc::clone(&self.0.borrow());
        // On the heap at once: between here and its last poll, hyper and the runtime move a request's future up to six times.
        Box::pin(proxy::handle(core, request, arrival))
    }
}

impl Doorman {
    async fn obey(self: Rc<Self>, mut words: UnboundedReceiver<Word>) {
        while let Some(word) = words.recv().await {
            let Word::Adopt(shared, done) = word;
            let next = self.0.borrow().successor(shared);
            self.0.replace(next);
            // Whoever asked may have stopped waiting.
            let _ = done.send(());
        }
    }
}

/// What a core is told.
enum Word {
    /// To decide by this from the next request on.
    Adopt(Arc<Shared>, oneshot::Sender<()>),
}

/// The proxies of every core, and what they decide by.
pub(super) struct Cores {
    state: Mutex<State>,
}

struct State {
    newest: Arc<Shared>,
    ways: Vec<UnboundedSender<Word>>,
}

impl Cores {
    /// None has joined yet.
    pub fn new(newest: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                newest,
                ways: Vec::new(),
            }),
        })
    }

    /// A doorman for the core `index`, on whose thread this is called.
    pub fn join(&self, index: usize) -> Rc<Doorman> {
        let (way, words) = unbounded_channel();
        let newest = {
            let mut state = self.lock();
            state.ways.push(way);
            Arc::clone(&state.newest)
        };
        let doorman = Rc::new(Doorman(RefCell::new(Core::new(newest, index))));
        tokio::task::spawn_local(Rc::clone(&doorman).obey(words));
        doorman
    }

    /// Has every core decide by `shared`; whether all do so within `most`. Those that do not will.
    pub async fn adopt(&self, shared: &Arc<Shared>, most: Duration) -> bool {
        let told = {
            let mut state = self.lock();
            state.newest = Arc::clone(shared);
            tell(&state.ways, |done| Word::Adopt(Arc::clone(shared), done))
        };
        heard(told, most).await
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell(ways: &[UnboundedSender<Word>], word: impl Fn(oneshot::Sender<()>) -> Word) -> Vec<oneshot::Receiver<()>> {
    let one = |way: &UnboundedSender<Word>| {
        let (done, heard) = oneshot::channel();
        // A core that ended decides nothing any more.
        way.send(word(done)).ok().map(|()| heard)
    };
    ways.iter().filter_map(one).collect()
}

/// Whether all were done within `most`.
async fn heard(told: Vec<oneshot::Receiver<()>>, most: Duration) -> bool {
    let all = futures_util::future::join_all(told);
    tokio::time::timeout(most, all).await.is_ok()
}
