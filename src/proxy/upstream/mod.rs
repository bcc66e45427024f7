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
use super::refusal::Refusal;
use super::settings::ServerAddress;
use super::settings::UpstreamSettings;
use super::upload::Upload;
use super::upload::UploadEnd;
use crate::telemetry::UpstreamFailure;
use connect::ConnectFault;
use http::HeaderValue;
use http::Method;
use http::Request;
use http::Response;
use http::header::HOST;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
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

/// Why a request got no answer on a connection.
enum Failed {
    /// Nothing was sent, or it may be sent again: here it is back.
    Unsent(Box<Request<Inbound>>, UpstreamFailure),
    /// It may have been carried out.
    Sent(Refusal),
}

type Sender = SendRequest<Inbound>;
type Sent = Result<Response<Incoming>, TrySendError<Request<Inbound>>>;

impl Upstream {
    /// A group of servers; at most `most_in_flight` requests at once on this core. Of `before`, which it takes the place
    /// of, it keeps the count of requests under way and the connections to servers that it names too.
    #[must_use]
    pub fn new(
        settings: UpstreamSettings,
        most_in_flight: usize,
        failed: Box<dyn Fn(UpstreamFailure)>,
        before: Option<&Self>,
    ) -> Self {
        let known = |address: &ServerAddress| {
            let servers = before.map_or(&[][..], |before| &before.servers);
            servers.iter().find(|server| server.is_at(address)).map(Rc::clone)
        };
        let servers = settings
            .servers
            .iter()
            .map(|address| known(address).unwrap_or_else(|| Rc::new(Server::new(address))))
            .collect();
        Self {
            settings,
            servers,
            turn: Cell::new(0),
            in_flight: before.map_or_else(Rc::default, |before| Rc::clone(&before.in_flight)),
            most_in_flight,
            failed,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// The deadline between two pieces of an answer.
    #[must_use]
    pub const fn idle(&self) -> Duration {
        self.settings.idle
    }

    /// Sends a request and waits for the answer's head. One retry, on the next server if there is one. Whatever is not
    /// needed by a request that finds a connection at hand waits in a box of its own.
    ///
    /// # Errors
    /// What the client is told; each failure was counted.
    pub async fn send(&self, sending: Sending) -> Result<Answered, Refusal> {
        if self.in_flight.get() >= self.most_in_flight {
            return Err(Refusal::Overloaded);
        }
        let guard = InFlight::new(&self.in_flight);
        let Sending {
            mut request,
            upload,
            preserve_host,
        } = sending;
        let mut server = self.next_server();
        let (mut sender, spare) = if let Some(idle) = server.take_ready(self.settings.keep_alive) {
            let may_be_gone = idle.since.elapsed() > SURELY_FRESH;
            (idle.sender, if may_be_gone { copy_of(&request) } else { None })
        } else {
            let connecting = Box::pin(self.connect(server)).await;
            let (connected, sender) = connecting.map_err(|refusal| self.counted(refusal))?;
            server = connected;
            (sender, None)
        };
        if !preserve_host {
            request.headers_mut().insert(HOST, server.authority.clone());
        }
        // Boxed, because it keeps room for the request, which may come back.
        let sent = Box::pin(sender.try_send_request(request));
        let failed = match self.wait_for_head(sent, upload.as_ref()).await {
            Ok(response) => {
                return Ok(Answered {
                    response,
                    lease: Lease::new(server, sender, upload, guard),
                });
            }
            Err(failed) => failed,
        };
        let request = match (failed, spare) {
            (Failed::Unsent(request, _), _) => request,
            (Failed::Sent(Refusal::Upstream(UpstreamFailure::Invalid)), Some(copy)) => copy,
            (Failed::Sent(refusal), _) => return Err(self.counted(refusal)),
        };
        Box::pin(self.send_again(
            Sending {
                request: *request,
                upload,
                preserve_host,
            },
            guard,
        ))
        .await
        .map_err(|refusal| self.counted(refusal))
    }

    /// The second and last attempt, on a new connection.
    async fn send_again(&self, sending: Sending, guard: InFlight) -> Result<Answered, Refusal> {
        let Sending {
            mut request,
            upload,
            preserve_host,
        } = sending;
        let server = self.next_server();
        let mut sender = self.open(&server).await?;
        if !preserve_host {
            request.headers_mut().insert(HOST, server.authority.clone());
        }
        match self
            .wait_for_head(Box::pin(sender.try_send_request(request)), upload.as_ref())
            .await
        {
            Ok(response) => Ok(Answered {
                response,
                lease: Lease::new(server, sender, upload, guard),
            }),
            Err(Failed::Sent(refusal)) => Err(refusal),
            Err(Failed::Unsent(_, failure)) => Err(Refusal::Upstream(failure)),
        }
    }

    fn counted(&self, refusal: Refusal) -> Refusal {
        if let Refusal::Upstream(failure) = refusal {
            (self.failed)(failure);
        }
        refusal
    }

    fn next_server(&self) -> Rc<Server> {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        Rc::clone(&self.servers[turn % self.servers.len()])
    }

    /// A connection to `first`: one that is about to be ready, or a new one; else a new one to the next server.
    async fn connect(&self, first: Rc<Server>) -> Result<(Rc<Server>, Sender), Refusal> {
        if let Some(sender) = first.settle(self.settings.keep_alive).await {
            return Ok((first, sender));
        }
        match self.open(&first).await {
            Ok(sender) => Ok((first, sender)),
            Err(Refusal::Overloaded) => Err(Refusal::Overloaded),
            Err(refusal) if self.servers.len() == 1 => Err(refusal),
            Err(_) => {
                let second = self.next_server();
                let sender = self.open(&second).await?;
                Ok((second, sender))
            }
        }
    }

    async fn open(&self, server: &Server) -> Result<Sender, Refusal> {
        connect::open(&server.host, server.port, self.settings.connect)
            .await
            .map_err(|fault| match fault {
                ConnectFault::Exhausted => Refusal::Overloaded,
                ConnectFault::Refused => Refusal::Upstream(UpstreamFailure::Connect),
                ConnectFault::TimedOut => Refusal::Upstream(UpstreamFailure::Timeout),
            })
    }

    /// The answer's head must come within `response` of the request's last byte.
    async fn wait_for_head(
        &self,
        mut sent: impl Future<Output = Sent> + Unpin,
        upload: Option<&Rc<Upload>>,
    ) -> Result<Response<Incoming>, Failed> {
        let mut deadline = Instant::now() + self.settings.response;
        let outcome = loop {
            if let Ok(outcome) = tokio::time::timeout_at(deadline.into(), &mut sent).await {
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

    fn is_at(&self, address: &ServerAddress) -> bool {
        self.host == address.host && self.port == address.port
    }

    /// Its `host:port`, for the log.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The connection that was used last, if it can take a request at once.
    fn take_ready(&self, keep_alive: Duration) -> Option<Idle> {
        let mut idle = self.idle.borrow_mut();
        let newest = idle.last()?;
        if newest.since.elapsed() >= keep_alive {
            // Whatever lies deeper is older still.
            idle.clear();
            return None;
        }
        if newest.sender.is_ready() { idle.pop() } else { None }
    }

    /// A connection whose last answer has ended, but whose task has not noticed yet.
    async fn settle(&self, keep_alive: Duration) -> Option<Sender> {
        loop {
            let mut newest = self.idle.borrow_mut().pop()?;
            let fresh = newest.since.elapsed() < keep_alive && !newest.sender.is_closed();
            if fresh && matches!(tokio::time::timeout(SETTLE, newest.sender.ready()).await, Ok(Ok(()))) {
                return Some(newest.sender);
            }
        }
    }
}
