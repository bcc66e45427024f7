//! Bodies on their way through: bounded, under deadlines, never collected.

use super::clean::Firewall;
use super::trip::Trip;
use super::upload::Upload;
use super::upload::UploadEnd;
use super::upstream::Lease;
use crate::web::BoxError;
use bytes::Bytes;
use http_body::Body;
use http_body::Frame;
use http_body::SizeHint;
use hyper::body::Incoming;
use prometheus_client::metrics::gauge::Gauge;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::sync::WaitForCancellationFutureOwned;

/// A request's body on its way to the application.
pub enum Inbound {
    /// There is none.
    Empty,
    /// There is one.
    Streaming(Box<Streaming>),
}

/// A request's body that is being read.
pub struct Streaming {
    body: Incoming,
    left: Option<u64>,
    pause: Pause,
    upload: Rc<Upload>,
    firewall: Arc<Firewall>,
}

impl Inbound {
    /// Wraps `body`: at most `limit` bytes, no pause longer than `idle`. The second part is `None` without a body.
    #[must_use]
    pub fn new(
        body: Incoming,
        limit: Option<u64>,
        idle: Duration,
        firewall: &Arc<Firewall>,
    ) -> (Self, Option<Rc<Upload>>) {
        if body.is_end_stream() {
            return (Self::Empty, None);
        }
        let upload = Upload::new();
        let streaming = Streaming {
            body,
            left: limit,
            pause: Pause::new(Some(idle)),
            upload: Rc::clone(&upload),
            firewall: Arc::clone(firewall),
        };
        (Self::Streaming(Box::new(streaming)), Some(upload))
    }
}

impl Streaming {
    fn fail(&self, end: UploadEnd, why: &'static str) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.upload.ended(end);
        Poll::Ready(Some(Err(why.into())))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.upload.is_abandoned() {
            return self.fail(UploadEnd::Broken, "the application has answered");
        }
        let Poll::Ready(next) = Pin::new(&mut self.body).poll_frame(cx) else {
            self.upload.wait(cx.waker());
            ready!(self.pause.poll_over(cx));
            return self.fail(UploadEnd::Stalled, "the client stopped sending");
        };
        self.pause.moved();
        self.upload.touch();
        match next {
            None => {
                self.upload.ended(UploadEnd::Complete);
                Poll::Ready(None)
            }
            Some(Err(error)) => {
                self.upload.ended(UploadEnd::Broken);
                Poll::Ready(Some(Err(error.into())))
            }
            Some(Ok(frame)) => {
                let frame = clean_frame(frame, &self.firewall);
                if let (Some(left), Some(data)) = (&mut self.left, frame.data_ref()) {
                    let Some(rest) = left.checked_sub(data.len() as u64) else {
                        return self.fail(UploadEnd::TooLarge, "the body is larger than the limit");
                    };
                    *left = rest;
                }
                if self.body.is_end_stream() {
                    self.upload.ended(UploadEnd::Complete);
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }
}

impl Body for Inbound {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Streaming(streaming) => streaming.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streaming(streaming) => streaming.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streaming(streaming) => streaming.body.size_hint(),
        }
    }
}

/// The deadline between two pieces of a body. Costs nothing while pieces are at hand.
struct Pause {
    limit: Option<Duration>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Pause {
    const fn new(limit: Option<Duration>) -> Self {
        Self { limit, timer: None }
    }

    fn moved(&mut self) {
        self.timer = None;
    }

    /// Ready when nothing has moved for longer than the limit.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(limit) = self.limit else { return Poll::Pending };
        self.timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)))
            .as_mut()
            .poll(cx)
    }
}

fn clean_frame(frame: Frame<Bytes>, firewall: &Firewall) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            firewall.clean_trailers(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(data) => data,
    }
}

/// An answer's body on its way to the client, with the trip that ends with it.
pub struct Outgoing {
    content: Content,
    trip: Option<Box<Trip>>,
}

enum Content {
    Whole(Bytes),
    Relay(Box<Relay>),
}

/// An application's answer.
struct Relay {
    body: Incoming,
    pause: Pause,
    lease: Option<Lease>,
    firewall: Arc<Firewall>,
    ending: Option<Ending>,
}

/// What ends a stream of events besides the application.
struct Ending {
    expiry: Option<Pin<Box<Sleep>>>,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    open: Gauge,
}

impl Ending {
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let expired = self
            .expiry
            .as_mut()
            .is_some_and(|expiry| expiry.as_mut().poll(cx).is_ready());
        if expired {
            Poll::Ready(())
        } else {
            self.stop.as_mut().poll(cx)
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.open.dec();
    }
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

    /// An application's answer; `idle` is the most that may pass between two pieces. The connection goes back to its
    /// pool when the body ended.
    #[must_use]
    pub fn relay(body: Incoming, idle: Option<Duration>, mut lease: Lease, firewall: Arc<Firewall>) -> Self {
        if body.is_end_stream() {
            lease.give_back();
            return Self::whole(Bytes::new());
        }
        let relay = Relay {
            body,
            pause: Pause::new(idle),
            lease: Some(lease),
            firewall,
            ending: None,
        };
        Self {
            content: Content::Relay(Box::new(relay)),
            trip: None,
        }
    }

    /// A stream of events: it ends cleanly when the process stops or the session ends, and `open` counts it while it lives.
    #[must_use]
    pub fn ending_with(mut self, stop: CancellationToken, session_ends_in: Option<Duration>, open: Gauge) -> Self {
        if let Content::Relay(relay) = &mut self.content {
            open.inc();
            let expiry = session_ends_in.map(|left| Box::pin(tokio::time::sleep(left)));
            relay.ending = Some(Ending {
                expiry,
                stop: Box::pin(stop.cancelled_owned()),
                open,
            });
        }
        self
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
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Poll::Ready(next) = Pin::new(&mut self.body).poll_frame(cx) else {
            if self
                .ending
                .as_mut()
                .is_some_and(|ending| ending.poll_over(cx).is_ready())
            {
                self.lease = None;
                return Poll::Ready(None);
            }
            ready!(self.pause.poll_over(cx));
            self.lease = None;
            return Poll::Ready(Some(Err("the application stopped sending".into())));
        };
        self.pause.moved();
        let ended = next.is_none() || self.body.is_end_stream();
        let frame = next.map(|frame| {
            frame
                .map(|frame| clean_frame(frame, &self.firewall))
                .map_err(BoxError::from)
        });
        match &frame {
            // A truncated answer must not look complete: the error aborts the client's connection or stream.
            Some(Err(_)) => self.lease = None,
            _ if ended => {
                if let Some(mut lease) = self.lease.take() {
                    lease.give_back();
                }
            }
            _ => {}
        }
        Poll::Ready(frame)
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let frame = match &mut this.content {
            Content::Whole(bytes) if bytes.is_empty() => None,
            Content::Whole(bytes) => Some(Ok(Frame::data(std::mem::take(bytes)))),
            Content::Relay(relay) => ready!(relay.poll(cx)),
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
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Relay(relay) => relay.body.size_hint(),
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
