//! `events`: what becomes of a session, told to a page that listens (server-sent events; WHATWG HTML, 9.2).

use super::Portal;
use super::desk::{plain, problem};
use super::error_page::ErrorPage;
use crate::model::PublicId;
use crate::model::Timestamp;
use crate::model::User;
use crate::session::Changes;
use crate::session::Entry;
use crate::session::Identified;
use crate::session::OpenStream;
use crate::session::Sessions;
use crate::session::StreamEnd;
use crate::telemetry::Open;
use crate::web::Answer;
use crate::web::Exchange;
use crate::web::Flow;
use bytes::Bytes;
use futures_util::stream;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use std::sync::Arc;
use std::time::Duration;

/// Most listeners of one session: a browser has one for each tab.
const MOST: usize = 32;
/// After so much silence a comment is sent, so that nothing in between takes the connection for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// The first words: answers pass buffers with their first bytes only, and a browser comes back after so long.
const HELLO: &[u8] = b"retry: 3000\n: listening\n\n";
const BEAT: &[u8] = b":\n\n";
/// An end is told this long before, or a tenth of the time before it where that is less.
const WARNING: Duration = Duration::from_mins(1);
/// How long to wait for the store before an end is told that it may have moved.
const ASKING: Duration = Duration::from_secs(2);

impl Portal {
    /// `GET events`. Listening is no activity.
    pub(super) async fn events(&self, exchange: &Exchange) -> Answer {
        let live = match self.identify_anyone(exchange).await {
            Identified::Live(live) => live,
            known => return self.unauthenticated(exchange, &known, "/me"),
        };
        let Some(stream) = self.sessions.open_listener(&live.entry, MOST) else {
            let page = ErrorPage {
                sentence: "This session has too many open streams of events; close some of its tabs.",
                retry_after: Some(15),
                ..self.error(exchange, StatusCode::TOO_MANY_REQUESTS)
            };
            return problem(exchange, "too-many-streams", &page);
        };
        let listener = Listener {
            changes: stream.changes(),
            sessions: Arc::clone(&self.sessions),
            user: live.entry.user.clone(),
            warned: None,
            confirmed: None,
            stage: Stage::Beginning,
            stream,
            _open: Open::new(&self.metrics.stream("portal")),
        };
        let mut answer = plain(exchange, StatusCode::OK);
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        Flow::new(stream::unfold(listener, Listener::next)).attach(&mut answer);
        answer
    }
}

/// What an event says.
#[derive(serde::Serialize)]
struct Told<'a> {
    public_id: PublicId,
    at: Timestamp,
    reason: &'a str,
}

enum Stage {
    Beginning,
    Listening,
    Ended,
}

/// A page that listens.
struct Listener {
    sessions: Arc<Sessions>,
    stream: OpenStream,
    changes: Changes,
    /// The user as the page knows them.
    user: User,
    /// The end that the page was told of.
    warned: Option<Timestamp>,
    /// The end that the store was asked about, shortly before.
    confirmed: Option<Timestamp>,
    stage: Stage,
    _open: Open,
}

impl Listener {
    /// The next piece; `None` after the last.
    async fn next(mut self) -> Option<(Bytes, Self)> {
        let piece = match self.stage {
            Stage::Beginning => {
                self.stage = Stage::Listening;
                Bytes::from_static(HELLO)
            }
            Stage::Listening => self.listen().await?,
            Stage::Ended => return None,
        };
        Some((piece, self))
    }

    async fn listen(&mut self) -> Option<Bytes> {
        loop {
            if !self.stream.is_over()
                && let Some(piece) = self.news().await
            {
                return Some(piece);
            }
            let wait = HEARTBEAT.min(self.until_warning());
            // Nothing of an application's passes here, so an outage need not end it: there is no end to tell.
            let ends = self.stream.ends(Sessions::LONGEST_GRACE, |_| true);
            tokio::select! {
                biased;
                why = ends => return self.farewell(why),
                () = self.changes.next() => {}
                () = tokio::time::sleep(wait) => {
                    if wait == HEARTBEAT {
                        return Some(Bytes::from_static(BEAT));
                    }
                }
            }
        }
    }

    /// What the page does not know yet.
    async fn news(&mut self) -> Option<Bytes> {
        let entry = self.stream.entry();
        if entry.user != self.user {
            self.user = entry.user.clone();
            return Some(self.event("changed", self.sessions.now(), "user"));
        }
        let end = entry.ends();
        if self.warned.is_some_and(|warned| warned < end) {
            self.warned = None;
            return Some(self.event("changed", end, "extended"));
        }
        if self.warned.is_some() || self.sessions.now() < warning_of(&entry) {
            return None;
        }
        if self.confirmed != Some(end) {
            // Activity anywhere may have moved it, and nobody is told of that.
            let _ = tokio::time::timeout(ASKING, self.stream.ask_again()).await;
            let entry = self.stream.entry();
            self.confirmed = Some(entry.ends());
            if self.stream.is_over() || self.sessions.now() < warning_of(&entry) {
                return None;
            }
        }
        let entry = self.stream.entry();
        self.warned = Some(entry.ends());
        Some(self.event("expiring", entry.ends(), kind_of_end(&entry)))
    }

    fn until_warning(&self) -> Duration {
        match self.warned {
            Some(_) => HEARTBEAT,
            None => warning_of(&self.stream.entry()).since(self.sessions.now()),
        }
    }

    fn farewell(&mut self, why: StreamEnd) -> Option<Bytes> {
        self.stage = Stage::Ended;
        let at = match why {
            // Nobody knows that it ended; who comes back hears 503, and then how it stands.
            StreamEnd::Unavailable => return None,
            StreamEnd::Expired => self.stream.entry().ends(),
            _ => self.sessions.now(),
        };
        Some(self.event("ended", at, why.as_str()))
    }

    fn event(&self, name: &str, at: Timestamp, reason: &str) -> Bytes {
        let told = Told {
            public_id: self.stream.entry().session.public_id,
            at,
            reason,
        };
        // Plain facts always serialize, and JSON on one line has no line break in it.
        let data = serde_json::to_string(&told).unwrap_or_default();
        let id = self.sessions.now().as_micros();
        Bytes::from(format!("event: {name}\nid: {id}\ndata: {data}\n\n"))
    }
}

/// Which of its two ends a session comes to first.
fn kind_of_end(entry: &Entry) -> &'static str {
    if entry.ends() == entry.session.ends_at {
        "absolute"
    } else {
        "idle"
    }
}

/// When the end is to be told.
fn warning_of(entry: &Entry) -> Timestamp {
    let session = &entry.session;
    let (end, begin) = match entry.ends() {
        end if end == session.ends_at => (end, session.created_at),
        end => (end, session.last_seen_at),
    };
    end.minus(WARNING.min(end.since(begin) / 10))
}
