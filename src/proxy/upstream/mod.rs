//! To the application and back: choose a server, take a connection, send, wait for the head.
//!
//! It relays bodies without collecting them and knows nothing of sessions. Called by [`super::Core`], one instance a
//! core. What must always hold: a connection is used again only when answer and request were both read to their end;
//! a request is sent twice only when no byte of it was, or when it is idempotent and without a body. Dropping a future
//! closes the connection it was on.

mod connect;
mod lease;

pub use lease::Lease;

use super::body::Inbound;
use super::body::Upload;
use super::body::UploadEnd;
use super::refusal::Refusal;
use super::settings::ServerAddress;
use super::settings::UpstreamSettings;
use crate::telemetry::UpstreamFailure;
use connect::ConnectFault;
use http::HeaderValue;
use http::Method;
use http::Request;
use http::Response;
use http::header::HOST;
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use lease::InFlight;
use std::cell::Cell;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use std::time::Instant;

/// A connection that lay longer than this may have been closed by the application just now: a request that can be sent
/// twice is kept for that case. Below it the copy would cost more than it saves.
const SURELY_FRESH: Duration = Duration::from_millis(300);
/// How long a connection from the pool may take to be ready: its task has only to notice that the last answer ended.
const SETTLE: Duration = Duration::from_millis(100);

/// A named group of servers, as one core sees it.
pub struct Upstream {
    settings: UpstreamSettings,
    servers: Vec<Rc<Server>>,
    turn: Cell<usize>,
    in_flight: Rc<Cell<usize>>,
    most_in_flight: usize,
    failed: Box<dyn Fn(UpstreamFailure)>,
}

/// One server with its idle connections, the last used first.
pub struct Server {
    name: String,
    host: String,
    port: u16,
    authority: HeaderValue,
    idle: RefCell<Vec<Idle>>,
}

struct Idle {
    sender: SendRequest<Inbound>,
    since: Instant,
}

/// An answer's head, and the connection that its body comes on.
pub struct Answered {
    /// Head and body.
    pub response: Response<Incoming>,
    /// Gives the connection back when the body ended.
    pub lease: Lease,
}

/// What is needed to send one request.
pub struct Sending {
    /// The request, ready for the wire.
    pub request: Request<Inbound>,
    /// Its body's state; absent without one.
    pub upload: Option<Rc<Upload>>,
    /// Whether `Host` is the browser's; else it is the server's own.
    pub preserve_host: bool,
}

enum Failed {
    /// Nothing was sent, or it may be sent again: here it is back.
    Unsent(Box<Request<Inbound>>, UpstreamFailure),
    /// It may have been carried out.
    Sent(Refusal),
}

type Exchanged = (Response<Incoming>, SendRequest<Inbound>);

impl Upstream {
    /// A group of servers with no connections yet; at most `most_in_flight` requests at once on this core.
    #[must_use]
    pub fn new(settings: UpstreamSettings, most_in_flight: usize, failed: Box<dyn Fn(UpstreamFailure)>) -> Self {
        let servers = settings
            .servers
            .iter()
            .map(|address| Rc::new(Server::new(address)))
            .collect();
        Self {
            settings,
            servers,
            turn: Cell::new(0),
            in_flight: Rc::default(),
            most_in_flight,
            failed,
        }
    }

    /// The deadline between two pieces of an answer.
    #[must_use]
    pub const fn idle(&self) -> Duration {
        self.settings.idle
    }

    /// Sends a request and waits for the answer's head. One retry, on the next server if there is one.
    ///
    /// # Errors
    /// What the client is told; each failure was counted.
    pub async fn send(&self, sending: Sending) -> Result<Answered, Refusal> {
        if self.in_flight.get() >= self.most_in_flight {
            return Err(Refusal::Overloaded);
        }
        let guard = InFlight::new(&self.in_flight);
        let first = self.next_server();
        let Sending {
            request,
            upload,
            preserve_host,
        } = sending;
        let outcome = match self
            .attempt(&first, request, upload.as_ref(), preserve_host, true)
            .await
        {
            Ok(exchanged) => Ok((first, exchanged)),
            Err(Failed::Sent(refusal)) => Err(refusal),
            Err(Failed::Unsent(request, _)) => {
                let second = self.next_server();
                match self
                    .attempt(&second, *request, upload.as_ref(), preserve_host, false)
                    .await
                {
                    Ok(exchanged) => Ok((second, exchanged)),
                    Err(Failed::Sent(refusal)) => Err(refusal),
                    Err(Failed::Unsent(_, failure)) => Err(Refusal::Upstream(failure)),
                }
            }
        };
        if let Err(Refusal::Upstream(failure)) = outcome {
            (self.failed)(failure);
        }
        outcome.map(|(server, (response, sender))| Answered {
            response,
            lease: Lease::new(server, sender, upload, guard),
        })
    }

    fn next_server(&self) -> Rc<Server> {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        Rc::clone(&self.servers[turn % self.servers.len()])
    }

    async fn attempt(
        &self,
        server: &Server,
        mut request: Request<Inbound>,
        upload: Option<&Rc<Upload>>,
        preserve_host: bool,
        reuse: bool,
    ) -> Result<Exchanged, Failed> {
        if !preserve_host {
            request.headers_mut().insert(HOST, server.authority.clone());
        }
        let idle = if reuse {
            server.take_idle(self.settings.keep_alive).await
        } else {
            None
        };
        let (mut sender, spare) = match idle {
            Some(idle) => {
                let spare = if idle.since.elapsed() > SURELY_FRESH {
                    copy_of(&request)
                } else {
                    None
                };
                (idle.sender, spare)
            }
            None => match connect::open(&server.host, server.port, self.settings.connect).await {
                Ok(sender) => (sender, None),
                Err(ConnectFault::Exhausted) => return Err(Failed::Sent(Refusal::Overloaded)),
                Err(ConnectFault::Refused) => return Err(Failed::Unsent(Box::new(request), UpstreamFailure::Connect)),
                Err(ConnectFault::TimedOut) => return Err(Failed::Unsent(Box::new(request), UpstreamFailure::Timeout)),
            },
        };
        match (self.exchange(&mut sender, request, upload).await, spare) {
            (Ok(response), _) => Ok((response, sender)),
            (Err(Failed::Sent(Refusal::Upstream(failure @ UpstreamFailure::Invalid))), Some(copy)) => {
                Err(Failed::Unsent(copy, failure))
            }
            (Err(failed), _) => Err(failed),
        }
    }

    /// Sends on one connection. The answer's head must come within `response` of the request's last byte.
    async fn exchange(
        &self,
        sender: &mut SendRequest<Inbound>,
        request: Request<Inbound>,
        upload: Option<&Rc<Upload>>,
    ) -> Result<Response<Incoming>, Failed> {
        let mut deadline = Instant::now() + self.settings.response;
        let mut sending = std::pin::pin!(sender.try_send_request(request));
        let outcome = loop {
            if let Ok(outcome) = tokio::time::timeout_at(deadline.into(), &mut sending).await {
                break outcome;
            }
            // A long upload is not a slow answer: what counts is the time since a piece of it moved.
            let later = upload.map_or(deadline, |upload| upload.moved() + self.settings.response);
            if later <= Instant::now() {
                return Err(Failed::Sent(Refusal::Upstream(UpstreamFailure::Timeout)));
            }
            deadline = later;
        };
        outcome.map_err(|mut error| match error.take_message() {
            Some(request) => Failed::Unsent(Box::new(request), UpstreamFailure::Connect),
            None => Failed::Sent(refusal_of(error.error(), upload)),
        })
    }
}

/// The cause of a failed exchange is the client's where its body failed.
fn refusal_of(error: &hyper::Error, upload: Option<&Rc<Upload>>) -> Refusal {
    match upload.map(|upload| upload.end()) {
        Some(UploadEnd::TooLarge) => Refusal::BodyTooLarge,
        Some(UploadEnd::Stalled) => Refusal::BodyTimeout,
        Some(UploadEnd::Broken) => Refusal::Malformed("body"),
        _ => {
            tracing::debug!(error = %error, "the application's answer failed");
            Refusal::Upstream(UpstreamFailure::Invalid)
        }
    }
}

/// A second copy of a request that may be sent twice: idempotent by RFC 9110, 9.2.2, and without a body.
fn copy_of(request: &Request<Inbound>) -> Option<Box<Request<Inbound>>> {
    let idempotent = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    (idempotent && matches!(request.body(), Inbound::Empty)).then(|| {
        let mut copy = Request::new(Inbound::Empty);
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.headers_mut() = request.headers().clone();
        Box::new(copy)
    })
}

impl Server {
    fn new(address: &ServerAddress) -> Self {
        let host = &address.host;
        let name = if host.contains(':') {
            format!("[{host}]:{}", address.port)
        } else {
            format!("{host}:{}", address.port)
        };
        // Config lets only host names and addresses through, which are header values.
        let authority = HeaderValue::from_str(&name).unwrap_or(HeaderValue::from_static("localhost"));
        Self {
            name,
            host: host.clone(),
            port: address.port,
            authority,
            idle: RefCell::default(),
        }
    }

    /// Its `host:port`, for the log.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    async fn take_idle(&self, keep_alive: Duration) -> Option<Idle> {
        loop {
            let mut newest = self.idle.borrow_mut().pop()?;
            if newest.since.elapsed() >= keep_alive {
                // Whatever lies deeper is older still.
                self.idle.borrow_mut().clear();
                return None;
            }
            if newest.sender.is_ready() {
                return Some(newest);
            }
            if !newest.sender.is_closed()
                && matches!(tokio::time::timeout(SETTLE, newest.sender.ready()).await, Ok(Ok(())))
            {
                return Some(newest);
            }
        }
    }
}
