//! An application that keeps the raw bytes that it was sent and answers as the test says.

mod answer;
#[cfg(test)]
mod tests;
mod wire;

use answer::answer;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use wire::Wire;

const PATIENCE: Duration = Duration::from_mins(1);

/// A request as it came over the wire.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The head, from the method to the empty line, byte for byte.
    pub head: Vec<u8>,
    /// The body without its transfer coding, at most 1 MiB of it.
    pub body: Vec<u8>,
    /// Length of the whole body.
    pub body_length: u64,
    /// Lines after the last chunk.
    pub trailers: Vec<String>,
    /// Whether the body came to its end.
    pub complete: bool,
    /// Which connection it came on, counted from 0.
    pub connection: usize,
}

impl Recorded {
    /// The head as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.head).into_owned()
    }

    /// The first line.
    pub fn request_line(&self) -> String {
        self.text().lines().next().unwrap_or_default().to_owned()
    }

    /// The target as it was written.
    pub fn target(&self) -> String {
        self.request_line().split(' ').nth(1).unwrap_or_default().to_owned()
    }

    /// Header lines as name (spelled as received) and value.
    pub fn headers(&self) -> Vec<(String, String)> {
        let text = self.text();
        let lines = text.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        lines
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect()
    }

    /// Every value of a header, by name in any case.
    pub fn values(&self, name: &str) -> Vec<String> {
        let headers = self.headers().into_iter();
        headers
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }
}

/// What the application answers.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A whole answer with `Content-Length`.
    Fixed {
        /// Status.
        status: u16,
        /// Header lines besides `Content-Length`.
        headers: Vec<(String, String)>,
        /// Body.
        body: Vec<u8>,
    },
    /// A chunked answer: each piece a chunk of its own, then trailer lines.
    Chunked {
        /// Header lines.
        headers: Vec<(String, String)>,
        /// Pieces and the wait before each.
        pieces: Vec<(Duration, Vec<u8>)>,
        /// Trailers.
        trailers: Vec<(String, String)>,
    },
    /// A body of this many bytes, made as it is sent.
    Large {
        /// Length.
        bytes: u64,
    },
    /// An event stream: one event a period until the client goes away.
    Events {
        /// Between events.
        every: Duration,
    },
    /// Accepts the WebSocket and sends every byte after the handshake back, frames unread but for the mask.
    WebSocketEcho,
    /// Accepts the WebSocket, says each piece after its wait, and keeps what it hears until the other side closes.
    WebSocket {
        /// Pieces of frames, and the wait before each.
        say: Vec<(Duration, Vec<u8>)>,
        /// What it heard.
        heard: Heard,
    },
    /// Exactly the first bytes, and the others once the gate is open; then the connection is held.
    Gated {
        /// Before.
        first: Vec<u8>,
        /// What the test opens.
        gate: Arc<tokio::sync::Notify>,
        /// After.
        then: Vec<u8>,
    },
    /// Waits, then answers.
    After(Duration, Box<Reply>),
    /// Answers without waiting for the request's body.
    Early(Box<Reply>),
    /// Exactly these bytes; then the connection is closed.
    Raw(Vec<u8>),
    /// Exactly these bytes; the connection stays open.
    RawOpen(Vec<u8>),
    /// Closes without a word.
    Close,
    /// Never answers; holds the connection until the other side closes it.
    Silence,
}

/// Bytes that came over WebSockets after their handshakes.
#[derive(Clone, Debug, Default)]
pub struct Heard(Arc<Mutex<(Vec<u8>, usize)>>);

impl Heard {
    /// All bytes so far.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().expect("no test panicked with it").0.clone()
    }

    /// How many WebSockets are over.
    pub fn ended(&self) -> usize {
        self.0.lock().expect("no test panicked with it").1
    }

    fn more(&self, bytes: &[u8]) {
        self.0
            .lock()
            .expect("no test panicked with it")
            .0
            .extend_from_slice(bytes);
    }

    fn over(&self) {
        self.0.lock().expect("no test panicked with it").1 += 1;
    }
}

impl Reply {
    /// 200 with a text.
    pub fn text(body: &str) -> Self {
        Self::status(200, body)
    }

    /// A status with a text.
    pub fn status(status: u16, body: &str) -> Self {
        Self::Fixed {
            status,
            headers: vec![("Content-Type".into(), "text/plain".into())],
            body: body.into(),
        }
    }

    /// The same with one more header line; for [`Reply::Fixed`] and [`Reply::Chunked`].
    pub fn with(mut self, name: &str, value: &str) -> Self {
        if let Self::Fixed { headers, .. } | Self::Chunked { headers, .. } = &mut self {
            headers.push((name.into(), value.into()));
        }
        self
    }
}

type Script = Arc<dyn Fn(&Recorded) -> Reply + Send + Sync>;

/// The application. It runs on a thread of its own, so that tests may block.
pub struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    _stop: tokio_util::sync::DropGuard,
}

#[derive(Default)]
struct Shared {
    requests: Mutex<Vec<Recorded>>,
    connections: AtomicUsize,
    open: AtomicUsize,
}

impl Upstream {
    /// An application that answers every request with `hello`.
    pub fn hello() -> Self {
        Self::start(|_| Reply::text("hello"))
    }

    /// An application that answers as `script` says of each head.
    pub fn start(script: impl Fn(&Recorded) -> Reply + Send + Sync + 'static) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared::default());
        let stop = tokio_util::sync::CancellationToken::new();
        let (script, state, stopped): (Script, _, _) = (Arc::new(script), Arc::clone(&shared), stop.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                tokio::select! {
                    () = accept(listener, script, state) => {}
                    () = stopped.cancelled() => {}
                }
            });
        });
        Self {
            address,
            shared,
            _stop: stop.drop_guard(),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as a URL without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Requests so far, in the order of their heads.
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.requests.lock().expect("no recorder panicked").clone()
    }

    /// The last request; it must be complete.
    pub fn last(&self) -> Recorded {
        self.requests().pop().expect("a request reached the application")
    }

    /// Forgets what was recorded.
    pub fn forget(&self) {
        self.shared.requests.lock().expect("no recorder panicked").clear();
    }

    /// Connections made so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Connections open at this moment.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Waits until `count` whole requests have come.
    pub fn wait_for(&self, count: usize) -> Vec<Recorded> {
        let started = Instant::now();
        loop {
            let requests = self.requests();
            if requests.iter().filter(|request| request.complete).count() >= count {
                return requests;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "{count} requests were expected, {} came",
                requests.len()
            );
            super::gateway::pause();
        }
    }
}

async fn accept(listener: tokio::net::TcpListener, script: Script, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let number = shared.connections.fetch_add(1, Ordering::SeqCst);
        let (script, shared) = (Arc::clone(&script), Arc::clone(&shared));
        tokio::spawn(async move {
            shared.open.fetch_add(1, Ordering::SeqCst);
            let _ = stream.set_nodelay(true);
            let mut wire = Wire::new(stream);
            while converse(&mut wire, &script, &shared, number).await.unwrap_or(false) {}
            shared.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// One request and its answer; `true` when another may follow.
async fn converse(wire: &mut Wire, script: &Script, shared: &Shared, connection: usize) -> std::io::Result<bool> {
    let Some(head) = wire.head().await? else {
        return Ok(false);
    };
    let request = Recorded {
        head,
        body: Vec::new(),
        body_length: 0,
        trailers: Vec::new(),
        complete: false,
        connection,
    };
    let slot = {
        let mut requests = shared.requests.lock().expect("no recorder panicked");
        requests.push(request.clone());
        requests.len() - 1
    };
    let reply = script(&request);
    if let Reply::Early(reply) = reply {
        return answer(wire, &request, *reply).await;
    }
    if request
        .values("expect")
        .iter()
        .any(|value| value.eq_ignore_ascii_case("100-continue"))
    {
        wire.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    let mut whole = request;
    let outcome = wire.body(&mut whole).await;
    whole.complete = outcome.is_ok();
    if let Some(kept) = shared.requests.lock().expect("no recorder panicked").get_mut(slot) {
        *kept = whole.clone();
    }
    outcome?;
    answer(wire, &whole, reply).await
}
