//! Bodies of requests on their way through, and what bodies in both directions share: bounded, under deadlines, never
//! collected.

use super::clean::Firewall;
use super::upload::Upload;
use super::upload::UploadEnd;
use crate::web::BoxError;
use bytes::Bytes;
use http_body::Body;
use http_body::Frame;
use http_body::SizeHint;
use hyper::body::Incoming;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;
use tokio::time::Sleep;

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
            ready!(self.pause.poll_over(None, cx));
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
pub(super) struct Pause {
    limit: Option<Duration>,
    /// How much of the limit was waited for with an earlier timer.
    waited: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

/// Why a wait for the next piece was interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// Nothing has moved for longer than the limit.
    TooLong,
    /// Nothing has moved for as long as was asked.
    Asked,
}

impl Pause {
    pub(super) const fn new(limit: Option<Duration>) -> Self {
        Self {
            limit,
            waited: Duration::ZERO,
            timer: None,
        }
    }

    pub(super) fn moved(&mut self) {
        self.timer = None;
        self.waited = Duration::ZERO;
    }

    /// Ready when nothing has moved for longer than the limit, or once for `asked`, where that is sooner.
    pub(super) fn poll_over(&mut self, asked: Option<Duration>, cx: &mut Context<'_>) -> Poll<Waited> {
        let left = self.limit.map(|limit| limit.saturating_sub(self.waited));
        let sooner = asked.filter(|asked| left.is_none_or(|left| *asked < left));
        let Some(wait) = sooner.or(left) else {
            return Poll::Pending;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(wait)));
        ready!(timer.as_mut().poll(cx));
        if sooner.is_some() {
            self.timer = None;
            self.waited = wait;
            return Poll::Ready(Waited::Asked);
        }
        Poll::Ready(Waited::TooLong)
    }
}

pub(super) fn clean_frame(frame: Frame<Bytes>, firewall: &Firewall) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            firewall.clean_trailers(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(data) => data,
    }
}
