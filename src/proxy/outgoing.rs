//! Bodies of answers on their way to the client, each with the trip that ends with it.

use super::body::Pause;
use super::body::Waited;
use super::body::clean_frame;
use super::clean::Firewall;
use super::ending::Bond;
use super::ending::SHORT;
use super::ending::Step;
use super::trip::Trip;
use super::upstream::Lease;
use crate::web::BoxError;
use crate::web::Flow;
use bytes::Bytes;
use futures_util::Stream;
use http_body::Body;
use http_body::Frame;
use http_body::SizeHint;
use hyper::body::Incoming;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::sync::WaitForCancellationFutureOwned;

type Next = Option<Result<Frame<Bytes>, BoxError>>;

/// An answer's body, with the trip that ends with it.
pub struct Outgoing {
    content: Content,
    trip: Option<Box<Trip>>,
}

enum Content {
    Whole(Bytes),
    Relay(Box<Relay>),
    Flow(Box<Own>),
}

/// A stream of our own.
struct Own {
    flow: Flow,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// An application's answer.
struct Relay {
    body: Incoming,
    pause: Pause,
    lease: Option<Lease>,
    firewall: Arc<Firewall>,
    bond: Bond,
}

impl Outgoing {
    /// An answer of our own.
    #[must_use]
    pub const fn whole(bytes: Bytes) -> Self {
        Self {
            content: Content::Whole(bytes),
            trip: None,
        }
    }

    /// A stream of our own, which `stop` ends cleanly.
    #[must_use]
    pub fn flow(flow: Flow, stop: CancellationToken) -> Self {
        let own = Own {
            flow,
            stop: Box::pin(stop.cancelled_owned()),
        };
        Self {
            content: Content::Flow(Box::new(own)),
            trip: None,
        }
    }

    /// An application's answer; `idle` is the most that may pass between two pieces, and `bond` ends it with its session.
    /// The connection goes back to its pool when the body ended.
    #[must_use]
    pub fn relay(
        body: Incoming,
        idle: Option<Duration>,
        mut lease: Lease,
        firewall: Arc<Firewall>,
        bond: impl FnOnce() -> Bond,
    ) -> Self {
        if body.is_end_stream() {
            lease.give_back();
            return Self::whole(Bytes::new());
        }
        let relay = Relay {
            body,
            pause: Pause::new(idle),
            lease: Some(lease),
            firewall,
            bond: bond(),
        };
        Self {
            content: Content::Relay(Box::new(relay)),
            trip: None,
        }
    }

    /// The trip ends when this body does.
    #[must_use]
    pub fn followed_by(mut self, trip: Box<Trip>) -> Self {
        self.trip = Some(trip);
        self
    }

    fn finish(&mut self) {
        if let Some(mut trip) = self.trip.take() {
            trip.complete();
        }
    }
}

impl Relay {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        loop {
            if let Bond::Watched(ending) = &mut self.bond {
                match ending.poll(cx) {
                    Step::GoOn => {}
                    Step::End => return self.end(None),
                    Step::Abort => return self.end(Some("the session is over")),
                }
            }
            if let Poll::Ready(next) = Pin::new(&mut self.body).poll_frame(cx) {
                return Poll::Ready(self.pass(next));
            }
            let asked = match &mut self.bond {
                Bond::Short(short) => {
                    short.waits();
                    Some(SHORT)
                }
                Bond::Free | Bond::Watched(_) => None,
            };
            match ready!(self.pause.poll_over(asked, cx)) {
                Waited::TooLong => return self.end(Some("the application stopped sending")),
                Waited::Asked => self.watch(),
            }
        }
    }

    /// Ends it before the application did; its connection closes.
    fn end(&mut self, fault: Option<&'static str>) -> Poll<Next> {
        self.lease = None;
        Poll::Ready(fault.map(|fault| Err(fault.into())))
    }

    fn watch(&mut self) {
        self.bond = match std::mem::replace(&mut self.bond, Bond::Free) {
            Bond::Short(short) => Bond::Watched(short.watch()),
            other => other,
        };
    }

    fn pass(&mut self, next: Option<Result<Frame<Bytes>, hyper::Error>>) -> Next {
        self.pause.moved();
        let ended = next.is_none() || self.body.is_end_stream();
        let frame = next.map(|frame| {
            let frame = clean_frame(frame?, &self.firewall);
            Ok(match &mut self.bond {
                Bond::Watched(ending) => ending.pass(frame),
                Bond::Free | Bond::Short(_) => frame,
            })
        });
        match &frame {
            // A truncated answer must not look complete: the error aborts the client's connection or stream.
            Some(Err(_)) => self.lease = None,
            _ if ended => {
                if let Some(mut lease) = self.lease.take() {
                    lease.give_back();
                }
            }
            _ => {
                if let Bond::Short(short) = &mut self.bond
                    && short.moved()
                {
                    self.watch();
                }
            }
        }
        frame
    }
}

impl Own {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        if self.stop.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        let next = ready!(Pin::new(&mut self.flow).poll_next(cx));
        Poll::Ready(next.map(|bytes| Ok(Frame::data(bytes))))
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Next> {
        let this = self.get_mut();
        let frame = match &mut this.content {
            Content::Whole(bytes) if bytes.is_empty() => None,
            Content::Whole(bytes) => Some(Ok(Frame::data(std::mem::take(bytes)))),
            Content::Relay(relay) => ready!(relay.poll(cx)),
            Content::Flow(own) => ready!(own.poll(cx)),
        };
        if let (Some(trip), Some(Ok(frame))) = (&mut this.trip, &frame) {
            trip.sent(frame.data_ref().map_or(0, Bytes::len));
        }
        if frame.is_none() || this.is_end_stream() {
            this.finish();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Whole(bytes) => bytes.is_empty(),
            Content::Relay(relay) => relay.body.is_end_stream(),
            Content::Flow(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Relay(relay) => relay.body.size_hint(),
            Content::Flow(_) => SizeHint::default(),
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        // hyper never polls a body that says at once that it is over.
        if self.is_end_stream() {
            self.finish();
        }
    }
}
