use super::Answer;
use bytes::Bytes;
use futures_util::Stream;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::task::Context;
use std::task::Poll;

type Pieces = Pin<Box<dyn Stream<Item = Bytes> + Send>>;

/// A body of the gateway's own that is not whole yet. It is polled on the core that sends it, and dropped when the client
/// goes away.
pub struct Flow(Pieces);

/// Extensions of an answer are cloned and shared; a flow is neither.
#[derive(Clone)]
struct Packed(Arc<Mutex<Option<Flow>>>);

impl Flow {
    /// Of `pieces`, each sent at once.
    #[must_use]
    pub fn new(pieces: impl Stream<Item = Bytes> + Send + 'static) -> Self {
        Self(Box::pin(pieces))
    }

    /// Makes this the body of `answer`, instead of the whole one.
    pub fn attach(self, answer: &mut Answer) {
        let packed = Packed(Arc::new(Mutex::new(Some(self))));
        answer.extensions_mut().insert(packed);
    }

    /// What was attached to `answer`.
    #[must_use]
    pub fn detach(answer: &mut Answer) -> Option<Self> {
        let Packed(packed) = answer.extensions_mut().remove()?;
        packed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Stream for Flow {
    type Item = Bytes;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.get_mut().0.as_mut().poll_next(cx)
    }
}
