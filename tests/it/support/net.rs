//! The network side alone, in this process, with a handler that tells what reached it.

use bytes::Bytes;
use http::Request;
use http::Response;
use http::StatusCode;
use http_body_util::BodyExt;
use http_body_util::Full;
use http_body_util::StreamBody;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Frame;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use portcullis::lifecycle::Lifecycle;
use portcullis::net::Handler;
use portcullis::net::Limits;
use portcullis::net::ListenerSettings;
use portcullis::net::Settings;
use portcullis::net::TlsSettings;
use portcullis::net::Workers;
use portcullis::telemetry::Metrics;
use portcullis::web::Arrival;
use portcullis::web::BoxError;
use portcullis::web::Fault;
use portcullis::web::Purpose;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

/// A network side that runs; cut when dropped.
pub struct Served {
    /// Of each listener.
    pub addresses: Vec<SocketAddr>,
    /// Stops it.
    pub lifecycle: Lifecycle,
    /// What it counts.
    pub metrics: Arc<Metrics>,
    /// Its workers; taken by tests that wait for their end.
    pub workers: Option<Workers>,
}

impl Served {
    /// One plain listener with everyday limits.
    pub fn plain() -> Self {
        Self::with(|_| {})
    }

    /// One plain listener with settings changed by `change`.
    pub fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = settings();
        change(&mut settings);
        let bound = portcullis::net::bind(&settings, time::OffsetDateTime::now_utc()).expect("the addresses are free");
        let addresses = bound.listeners.iter().map(|(_, address)| *address).collect();
        let (lifecycle, metrics) = (Lifecycle::default(), Arc::new(Metrics::new()));
        let workers = Workers::start(bound, &settings, &lifecycle, &metrics, |_| Rc::new(Echo)).expect("workers");
        Self {
            addresses,
            lifecycle,
            metrics,
            workers: Some(workers),
        }
    }

    /// The first listener's address.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.lifecycle.soft.cancel();
        self.lifecycle.hard.cancel();
    }
}

/// One plain listener on a free port, two workers, everyday limits.
pub fn settings() -> Settings {
    Settings {
        listeners: vec![listener(None)],
        limits: Limits {
            connections: 1000,
            connections_per_address: None,
            headers: 100,
            header_bytes: 16 * 1024,
            target_bytes: 4096,
            streams: 100,
            resets: 20,
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(10),
            idle: Duration::from_mins(1),
            body_idle: Duration::from_mins(1),
        },
        workers: 2,
        proxy_protocol: Vec::new(),
    }
}

/// A listener on a free port.
pub fn listener(tls: Option<TlsSettings>) -> ListenerSettings {
    ListenerSettings {
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        purpose: Purpose::Serve,
        tls,
        hsts: None,
        public_port: None,
    }
}

/// Requests for `/stopping` that have arrived; one test asks for them.
pub static STOPPING: AtomicUsize = AtomicUsize::new(0);

/// Tells what reached it: `METHOD target bytes-of-body`. Some paths behave in ways that tests need.
pub struct Echo;

type Body = UnsyncBoxBody<Bytes, BoxError>;

fn whole(text: impl Into<Bytes>) -> Body {
    Full::new(text.into())
        .map_err(|never: Infallible| match never {})
        .boxed_unsync()
}

impl Handler for Echo {
    type Body = Body;

    async fn handle(self: Rc<Self>, request: Request<Incoming>, arrival: Arrival) -> Response<Body> {
        let mut answer = match arrival.fault {
            Some(fault) => refuse(fault),
            None => answer(request, arrival).await,
        };
        let id = http::HeaderValue::from_static("test");
        answer.headers_mut().insert("x-request-id", id);
        answer
    }
}

fn refuse(fault: Fault) -> Response<Body> {
    let status = match fault {
        Fault::Malformed(_) => StatusCode::BAD_REQUEST,
        Fault::HeadTimeout => StatusCode::REQUEST_TIMEOUT,
        Fault::TargetTooLong => StatusCode::URI_TOO_LONG,
        Fault::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        Fault::UnknownTransferCoding => StatusCode::NOT_IMPLEMENTED,
    };
    let mut answer = Response::new(whole(format!("{fault:?}")));
    *answer.status_mut() = status;
    answer
}

async fn answer(mut request: Request<Incoming>, arrival: Arrival) -> Response<Body> {
    let peer = Rc::clone(&arrival.peer);
    match request.uri().path() {
        "/panic" => panic!("a bug, on purpose"),
        "/peer" => {
            let name = peer.server_name.as_deref().unwrap_or("-");
            Response::new(whole(format!("{} {name}", peer.address)))
        }
        "/slow" => {
            tokio::time::sleep(Duration::from_millis(300)).await;
            Response::new(whole("slow"))
        }
        "/stopping" => {
            STOPPING.fetch_add(1, SeqCst);
            tokio::time::sleep(Duration::from_millis(300)).await;
            Response::new(whole("slow"))
        }
        "/thread" => Response::new(whole(std::thread::current().name().unwrap_or_default().to_owned())),
        "/never" => std::future::pending().await,
        "/unread" => Response::new(whole("answered without reading")),
        "/large" => Response::new(large()),
        "/upgrade" => {
            assert!(
                arrival.hold.is_some(),
                "the guard holds for a request that asks for an upgrade"
            );
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::task::spawn_local(async move {
                if let Ok(upgraded) = upgrade.await {
                    let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                }
            });
            let mut answer = Response::new(whole(""));
            *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            answer
                .headers_mut()
                .insert("connection", http::HeaderValue::from_static("upgrade"));
            answer
                .headers_mut()
                .insert("upgrade", http::HeaderValue::from_static("echo"));
            answer
        }
        _ => echo(request).await,
    }
}

async fn echo(request: Request<Incoming>) -> Response<Body> {
    let (method, target) = (request.method().clone(), request.uri().clone());
    if let Ok(body) = request.into_body().collect().await {
        let length = body.to_bytes().len();
        return Response::new(whole(format!("{method} {target} {length}")));
    }
    let mut answer = Response::new(whole("the body broke"));
    *answer.status_mut() = StatusCode::BAD_REQUEST;
    answer
}

/// 64 MiB, made as they are asked for.
fn large() -> Body {
    let piece = Bytes::from(vec![b'x'; 65_536]);
    let pieces = futures_util::stream::iter((0..1024).map(move |_| Ok(Frame::data(piece.clone()))));
    StreamBody::new(pieces).boxed_unsync()
}
