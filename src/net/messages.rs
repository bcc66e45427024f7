//! The sequence of requests on one HTTP/1 connection: head, body, head … Pure; the guard feeds it raw bytes and passes on
//! only what it vouches for.

use super::framing::Chunks;
use super::framing::Step;
use super::head::Bounds;
use super::head::Framing;
use super::head::Scan;
use super::head::Verdict;
use crate::web::Fault;

/// Why following stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// More bytes are needed; what is not vouched for is the beginning of a head.
    Starved,
    /// A message that asked for an upgrade ended here: the next byte may be no HTTP.
    Upgrade,
    /// The head that begins here must not pass, and nothing after it may.
    Refused(Fault),
    /// The body's framing broke here.
    Broken(&'static str),
}

/// Follows one connection.
#[derive(Debug)]
pub(super) struct Messages {
    place: Place,
    bounds: Bounds,
    heads: u64,
    upgrade: bool,
}

#[derive(Debug)]
enum Place {
    Head(Scan),
    Length(u64),
    Chunked(Chunks),
    Stopped,
}

impl Messages {
    pub fn new(bounds: Bounds) -> Self {
        Self {
            place: Place::Head(Scan::default()),
            bounds,
            heads: 0,
            upgrade: false,
        }
    }

    /// Heads that passed; a refused head has this number as its index.
    pub const fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether the message under way asks for an upgrade.
    pub const fn upgrade_asked(&self) -> bool {
        self.upgrade
    }

    /// Whether the next byte belongs to a head.
    pub const fn in_head(&self) -> bool {
        matches!(self.place, Place::Head(_))
    }

    /// Follows `bytes` and tells how many of them may pass. While a head is unfinished, the next call must begin with
    /// the same bytes that did not pass.
    pub fn follow(&mut self, bytes: &[u8]) -> (usize, Stop) {
        let mut done = 0;
        loop {
            let rest = &bytes[done..];
            let ended = match &mut self.place {
                Place::Head(scan) => match scan.scan(rest, &self.bounds) {
                    Verdict::Unfinished => return (done, Stop::Starved),
                    Verdict::Refused(fault) => return (done, self.stop(Stop::Refused(fault))),
                    Verdict::Whole(head) => {
                        done += head.len;
                        self.heads += 1;
                        self.upgrade = head.upgrade;
                        self.place = match head.body {
                            Framing::Length(length) => Place::Length(length),
                            Framing::Chunked => Place::Chunked(Chunks::new()),
                        };
                        head.body == Framing::Length(0)
                    }
                },
                Place::Length(left) => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    done += here;
                    *left -= here as u64;
                    if *left > 0 {
                        return (done, Stop::Starved);
                    }
                    true
                }
                Place::Chunked(chunks) => match chunks.follow(rest, &self.bounds) {
                    Step::More => return (bytes.len(), Stop::Starved),
                    Step::Done(len) => {
                        done += len;
                        true
                    }
                    Step::Broken(len, why) => return (done + len, self.stop(Stop::Broken(why))),
                },
                Place::Stopped => return (done, Stop::Broken("bytes after a refusal")),
            };
            if ended {
                self.place = Place::Head(Scan::default());
                if std::mem::take(&mut self.upgrade) {
                    return (done, Stop::Upgrade);
                }
            }
        }
    }

    fn stop(&mut self, why: Stop) -> Stop {
        self.place = Place::Stopped;
        why
    }
}
