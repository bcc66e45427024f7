//! The streams of one HTTP/2 connection: how many are in flight, and whether the client has stopped taking an answer.
//!
//! Time is counted in ticks of the connection's watchdog, so that a request costs no look at the clock.

use super::watched::Progress;
use std::cell::Cell;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// What the watchdog should do after a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Advice {
    Keep,
    /// Say GOAWAY.
    Goodbye,
    /// Drop it.
    Cut,
}

/// Ticks that make up one deadline.
const TICKS: u32 = 4;
const LONGEST_TICK: Duration = Duration::from_secs(15);
const SHORTEST_TICK: Duration = Duration::from_millis(20);

/// Shared by the connection and its streams.
pub(super) struct Streams {
    /// Requests so far.
    pub requests: Cell<u64>,
    in_flight: Cell<usize>,
    now: Cell<u32>,
    /// For each answer body: the tick at which it gave a piece that nobody has asked to follow, or 0.
    given_at: RefCell<Vec<u32>>,
    free: RefCell<Vec<usize>>,
    /// Requests at the last tick, and ticks without any since.
    seen: Cell<u64>,
    quiet: Cell<u32>,
    idle_ticks: u32,
    stall_ticks: u32,
}

impl Streams {
    /// With the deadlines, and the length of a tick.
    pub fn new(idle: Duration, stall: Duration) -> (Rc<Self>, Duration) {
        let tick = (idle.min(stall) / TICKS).clamp(SHORTEST_TICK, LONGEST_TICK);
        let ticks = |wait: Duration| u32::try_from(wait.as_nanos().div_ceil(tick.as_nanos())).unwrap_or(u32::MAX / 2);
        let streams = Self {
            requests: Cell::new(0),
            in_flight: Cell::new(0),
            now: Cell::new(1),
            given_at: RefCell::default(),
            free: RefCell::default(),
            seen: Cell::new(0),
            quiet: Cell::new(0),
            idle_ticks: ticks(idle),
            stall_ticks: ticks(stall),
        };
        (Rc::new(streams), tick)
    }

    /// A request has come.
    pub fn open(self: &Rc<Self>) -> Stream {
        self.requests.set(self.requests.get() + 1);
        self.in_flight.set(self.in_flight.get() + 1);
        let slot = self.free.borrow_mut().pop().unwrap_or_else(|| {
            let mut given_at = self.given_at.borrow_mut();
            given_at.push(0);
            given_at.len() - 1
        });
        Stream {
            streams: Rc::clone(self),
            slot,
        }
    }

    /// One tick has passed.
    pub fn tick(&self) -> Advice {
        let now = self.now.get() + 1;
        self.now.set(now);
        let given_at = self.given_at.borrow();
        if given_at.iter().any(|&at| at != 0 && now - at > self.stall_ticks) {
            return Advice::Cut;
        }
        if self.in_flight.get() > 0 || self.seen.replace(self.requests.get()) != self.requests.get() {
            self.quiet.set(0);
            return Advice::Keep;
        }
        self.quiet.set(self.quiet.get() + 1);
        // Answers may wait in h2 for the client's window after their bodies ended: GOAWAY lets them out, for a while.
        match self.quiet.get() {
            quiet if quiet >= self.idle_ticks + self.stall_ticks => Advice::Cut,
            quiet if quiet == self.idle_ticks => Advice::Goodbye,
            _ => Advice::Keep,
        }
    }
}

/// One request in flight; dropped with its answer's body.
pub(super) struct Stream {
    streams: Rc<Streams>,
    slot: usize,
}

impl Progress for Stream {
    fn asked(&self) {
        self.streams.given_at.borrow_mut()[self.slot] = 0;
    }

    fn gave(&self) {
        self.streams.given_at.borrow_mut()[self.slot] = self.streams.now.get();
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.asked();
        self.streams.in_flight.set(self.streams.in_flight.get() - 1);
        self.streams.free.borrow_mut().push(self.slot);
    }
}

#[cfg(test)]
mod tests {
    use super::Advice;
    use super::Progress;
    use super::Streams;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_answer_that_the_client_does_not_take_cuts_the_connection() {
        let (streams, tick) = Streams::new(4 * SECOND, 4 * SECOND);
        assert_eq!(tick, SECOND);
        let stream = streams.open();
        for _ in 0..20 {
            assert_eq!(streams.tick(), Advice::Keep, "the application takes its time");
        }
        stream.gave();
        for _ in 0..4 {
            assert_eq!(streams.tick(), Advice::Keep);
        }
        assert_eq!(streams.tick(), Advice::Cut);
        stream.asked();
        assert_eq!(streams.tick(), Advice::Keep);
    }

    #[test]
    fn a_connection_without_streams_is_told_goodbye_and_then_cut() {
        let (streams, _) = Streams::new(4 * SECOND, 8 * SECOND);
        drop(streams.open());
        let advice: Vec<Advice> = (0..13).map(|_| streams.tick()).collect();
        let mut expected = vec![Advice::Keep; 13];
        expected[4] = Advice::Goodbye;
        expected[12] = Advice::Cut;
        assert_eq!(advice, expected);
    }
}
