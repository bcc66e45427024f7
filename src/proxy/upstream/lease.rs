use super::super::body::Inbound;
use super::super::upload::Upload;
use super::super::upload::UploadEnd;
use super::Idle;
use super::Server;
use hyper::client::conn::http1::SendRequest;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

/// Most idle connections kept for one server on one core.
const MOST_IDLE: usize = 256;

/// A connection while an answer is on it. Dropped without [`Lease::give_back`], it closes.
pub struct Lease {
    server: Rc<Server>,
    sender: Option<SendRequest<Inbound>>,
    upload: Option<Rc<Upload>>,
    _guard: InFlight,
}

impl Lease {
    pub(super) const fn new(
        server: Rc<Server>,
        sender: SendRequest<Inbound>,
        upload: Option<Rc<Upload>>,
        guard: InFlight,
    ) -> Self {
        Self {
            server,
            sender: Some(sender),
            upload,
            _guard: guard,
        }
    }

    /// `host:port` of the server.
    #[must_use]
    pub fn server_name(&self) -> &str {
        self.server.name()
    }

    /// The answer was read to its end: the connection may be used again, if the request was, too.
    pub fn give_back(&mut self) {
        let sent = self
            .upload
            .as_ref()
            .is_none_or(|upload| upload.end() == UploadEnd::Complete);
        if let Some(sender) = self.sender.take()
            && sent
            && !sender.is_closed()
        {
            let mut idle = self.server.idle.borrow_mut();
            if idle.len() < MOST_IDLE {
                idle.push(Idle {
                    sender,
                    since: Instant::now(),
                });
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(upload) = &self.upload {
            upload.abandon();
        }
    }
}

/// Counts a request while it is under way.
pub(super) struct InFlight(Rc<Cell<usize>>);

impl InFlight {
    pub(super) fn new(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
