//! What ends the body of an application's answer besides the application: the session it belongs to, and for streams of
//! events the stop of the process.

use super::core::Core;
use super::events::Boundary;
use super::owner::Owner;
use crate::telemetry::Open;
use bytes::Bytes;
use http_body::Frame;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;
use std::time::Instant;
use tokio::time::Sleep;

/// A body that takes longer is watched with its session.
pub const SHORT: Duration = Duration::from_secs(1);
/// How long an event under way may take to end before the stream is cut within it.
const LAST_EVENT: Duration = Duration::from_millis(200);
/// Pieces in a row without a wait after which the clock is looked at.
const PIECES: u8 = 32;

/// How a body hangs on a session.
pub enum Bond {
    /// On none.
    Free,
    /// On one, and it will probably be over before that matters.
    Short(Short),
    /// It ends with its session.
    Watched(Ending),
}

/// A body that has not taken long yet. Until it waits for the first time, it costs no look at the clock.
pub struct Short {
    owner: Owner,
    since: Option<Instant>,
    pieces: u8,
}

impl Short {
    /// A body that begins.
    #[must_use]
    pub const fn new(owner: Owner) -> Self {
        Self {
            owner,
            since: None,
            pieces: 0,
        }
    }

    /// It waits for its next piece.
    pub fn waits(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    /// A piece came. Whether it is no longer short.
    pub fn moved(&mut self) -> bool {
        if let Some(since) = self.since {
            return since.elapsed() >= SHORT;
        }
        self.pieces += 1;
        if self.pieces == PIECES {
            self.since = Some(Instant::now());
        }
        false
    }

    /// Watches it from here on.
    #[must_use]
    pub fn watch(self) -> Ending {
        let open = Open::new(&self.owner.core.shared().bodies);
        let watched = self.owner.watch();
        Ending {
            over: false,
            end: Box::pin(async move {
                watched.ends().await;
            }),
            manner: Manner::Abort,
            _open: open,
        }
    }
}

/// What ends a body.
pub struct Ending {
    end: Pin<Box<dyn Future<Output = ()>>>,
    over: bool,
    manner: Manner,
    _open: Open,
}

enum Manner {
    /// A stream of events: between two of them, and it looks whole.
    Cleanly(Boundary, Option<Pin<Box<Sleep>>>),
    /// Anything else: it must not look whole.
    Abort,
}

/// What becomes of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It goes on.
    GoOn,
    /// It is over, and looks whole.
    End,
    /// It is over, and must not look whole.
    Abort,
}

impl Ending {
    /// A stream of events, of somebody or of nobody.
    #[must_use]
    pub fn of_events(core: &Rc<Core>, owner: Option<Owner>) -> Self {
        let shared = core.shared();
        let stop = shared.stop_streams.clone();
        let watched = owner.map(Owner::watch);
        let end = async move {
            let session = async {
                match &watched {
                    Some(watched) => watched.ends().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = session => {}
                () = stop.cancelled() => {}
            }
        };
        Self {
            end: Box::pin(end),
            over: false,
            manner: Manner::Cleanly(Boundary::default(), None),
            _open: Open::new(&shared.events),
        }
    }

    /// What is to be done now; wakes the task when it may have changed.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Step {
        self.over = self.over || self.end.as_mut().poll(cx).is_ready();
        match &mut self.manner {
            _ if !self.over => Step::GoOn,
            Manner::Abort => Step::Abort,
            Manner::Cleanly(boundary, _) if boundary.is_here() => Step::End,
            Manner::Cleanly(_, last) => {
                let last = last.get_or_insert_with(|| Box::pin(tokio::time::sleep(LAST_EVENT)));
                match last.as_mut().poll(cx) {
                    Poll::Ready(()) => Step::End,
                    Poll::Pending => Step::GoOn,
                }
            }
        }
    }

    /// What of a piece is passed on: once it is over, only the rest of the event under way.
    #[must_use]
    pub fn pass(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        let Manner::Cleanly(boundary, _) = &mut self.manner else {
            return frame;
        };
        frame.map_data(|mut data| {
            if !self.over {
                boundary.follow(&data);
            } else if let Some(rest) = boundary.follow_to_end(&data) {
                data.truncate(rest);
            }
            data
        })
    }
}
