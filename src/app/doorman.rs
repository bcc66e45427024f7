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
            let done = match word {
                Word::Adopt(shared, done) => {
                    let next = self.0.borrow().successor(shared);
                    self.0.replace(next);
                    done
                }
                Word::Answer(done) => done,
            };
            // Whoever asked may have stopped waiting.
            let _ = done.send(());
        }
    }
}

/// What a core is told.
enum Word {
    /// To decide by this from the next request on.
    Adopt(Arc<Shared>, oneshot::Sender<()>),
    /// To say that it still takes its turns.
    Answer(oneshot::Sender<()>),
}

/// The proxies of every core, and what they decide by.
pub(super) struct Cores {
    count: usize,
    state: Mutex<State>,
}

struct State {
    newest: Arc<Shared>,
    ways: Vec<UnboundedSender<Word>>,
}

impl Cores {
    /// Of `count` cores, none has joined yet.
    pub fn new(newest: Arc<Shared>, count: usize) -> Arc<Self> {
        Arc::new(Self {
            count: count.max(1),
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

    /// Whether every core that has not ended takes its turns within `most`.
    pub async fn answer(&self, most: Duration) -> bool {
        let (joined, told) = {
            let state = self.lock();
            (state.ways.len(), tell(&state.ways, Word::Answer))
        };
        joined >= self.count && heard(told, most).await
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_core_that_does_not_take_its_turns_is_noticed_and_one_that_ended_is_not_waited_for() {
        let (way, mut words) = unbounded_channel();
        let answering = tokio::spawn(async move {
            while let Some(Word::Answer(done)) = words.recv().await {
                let _ = done.send(());
            }
        });
        let (ended, gone) = unbounded_channel();
        drop(gone);
        let ask = async |ways: &[UnboundedSender<Word>], most| heard(tell(ways, Word::Answer), most).await;
        assert!(ask(&[way.clone(), ended.clone()], Duration::from_mins(1)).await);
        let (stuck, _unread) = unbounded_channel();
        assert!(!ask(&[way.clone(), stuck], Duration::from_millis(50)).await);
        drop(way);
        answering.await.unwrap();
    }
}
