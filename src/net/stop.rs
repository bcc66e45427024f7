//! The soft stop as one core's connections see it.

use pin_project_lite::pin_project;
use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// Shared by the connections of one core.
#[derive(Default)]
pub(super) struct Stop {
    parting: Cell<bool>,
    on: Cell<bool>,
    signal: Notify,
}

impl Stop {
    /// Whether answers end their connections, because of the stop or shortly before it.
    pub fn is_parting(&self) -> bool {
        self.parting.get()
    }

    /// From here on answers end their connections.
    pub fn part(&self) {
        self.parting.set(true);
    }

    pub fn begin(&self) {
        self.part();
        self.on.set(true);
        self.signal.notify_waiters();
    }
}

pin_project! {
    /// Notices the stop once. The signal is polled only the first time, which leaves the task's waker there: asking it on
    /// every turn of every connection would cost more than the flag.
    pub(super) struct Stopping<'a> {
        stop: &'a Stop,
        #[pin]
        signal: Notified<'a>,
        registered: bool,
        begun: bool,
    }
}

impl<'a> Stopping<'a> {
    pub fn new(stop: &'a Stop) -> Self {
        Self {
            stop,
            signal: stop.signal.notified(),
            registered: false,
            begun: false,
        }
    }

    /// Whether it begins with this call; wakes the task when it does later. Always the same task must ask.
    pub fn begins(self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        let this = self.project();
        if !*this.registered {
            *this.registered = true;
            // Whether it is on is told by the flag.
            let _ = this.signal.poll(cx);
        }
        this.stop.on.get() && !std::mem::replace(this.begun, true)
    }
}
