//! An answer's body with somebody who watches how it goes.

use super::notes::Answering;
use bytes::Bytes;
use http_body::Frame;
use http_body::SizeHint;
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;

/// Told of what happens to an answer's body.
pub(super) trait Progress {
    /// More is wanted.
    fn asked(&self) {}
    /// A piece was given, and the body goes on.
    fn gave(&self) {}
}

impl Progress for Answering {}

pin_project! {
    /// An answer's body that is watched until it is dropped.
    pub(super) struct Watched<B, P> {
        #[pin]
        pub body: B,
        pub progress: P,
    }
}

impl<B: http_body::Body<Data = Bytes>, P: Progress> http_body::Body for Watched<B, P> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        this.progress.asked();
        let frame = this.body.poll_frame(cx);
        if matches!(frame, Poll::Ready(Some(Ok(_)))) {
            this.progress.gave();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
