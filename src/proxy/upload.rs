//! How a request's body fares on its way: told to whoever waits for the answer.

use std::cell::Cell;
use std::rc::Rc;
use std::task::Waker;
use std::time::Instant;

/// How a request's body went; kept beside it, because hyper tells the sender only that it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadEnd {
    /// Still being sent.
    Going,
    /// All of it was read.
    Complete,
    /// Larger than the limit.
    TooLarge,
    /// The client stopped sending.
    Stalled,
    /// The client went away, or its framing broke.
    Broken,
}

/// What is known of a request's body from outside, and told to it.
pub struct Upload {
    end: Cell<UploadEnd>,
    moved: Cell<Instant>,
    abandoned: Cell<bool>,
    /// Who waits for the client's next piece.
    waiting: Cell<Option<Waker>>,
}

impl Upload {
    /// A body that nothing was read of.
    #[must_use]
    pub fn new() -> Rc<Self> {
        Rc::new(Self {
            end: Cell::new(UploadEnd::Going),
            moved: Cell::new(Instant::now()),
            abandoned: Cell::new(false),
            waiting: Cell::new(None),
        })
    }

    /// A piece was taken from the client.
    pub fn touch(&self) {
        self.moved.set(Instant::now());
    }

    /// It ended.
    pub fn ended(&self, end: UploadEnd) {
        self.end.set(end);
    }

    /// Whether it goes nowhere.
    pub fn is_abandoned(&self) -> bool {
        self.abandoned.get()
    }

    /// `waker` waits for the client's next piece, and wants to know when nobody else does.
    pub fn wait(&self, waker: &Waker) {
        self.waiting.set(Some(waker.clone()));
    }

    /// How it went so far.
    #[must_use]
    pub fn end(&self) -> UploadEnd {
        self.end.get()
    }

    /// When the last piece was taken from the client.
    #[must_use]
    pub fn moved(&self) -> Instant {
        self.moved.get()
    }

    /// The answer is over: what is left of the body goes nowhere. An application that answered without reading it would
    /// take it for its next request.
    pub fn abandon(&self) {
        self.abandoned.set(true);
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }
}
