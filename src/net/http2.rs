//! One HTTP/2 connection: hyper and h2 with every limit set, a watchdog for clients that take no answer, a polite end.

use super::Handler;
use super::Limits;
use super::coalesce::Coalesce;
use super::head::Bounds;
use super::head::is_http1_target;
use super::socket::Socket;
use super::stop::Stopping;
use super::streams::Advice;
use super::streams::Streams;
use super::watched::Watched;
use super::workers::Core;
use super::workers::Manner;
use super::workers::spawn_contained;
use crate::web::Arrival;
use crate::web::Fault;
use crate::web::Peer;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use std::convert::Infallible;
use std::future::Future;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;
use tokio::time::Instant;
use tokio::time::MissedTickBehavior;
use tokio::time::interval_at;
use tokio_rustls::server::TlsStream;

/// Windows: what one stream and all together may send before we read. Large enough for an upload over a distant line
/// (256 KiB every 50 ms are 5 MiB/s), small enough that a hundred connections cannot fill the memory.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Of an answer, kept for a stream while the client's window is closed.
const SEND_BUFFER: usize = 128 * 1024;
/// Streams that the client made us reset (CVE-2025-8671).
const LOCAL_RESETS: usize = 256;
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// HTTP/2 as every connection speaks it.
pub(super) fn builder(limits: &Limits) -> Builder<StreamSpawner> {
    let mut builder = Builder::new(StreamSpawner);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(limits.resets)
        .max_local_error_reset_streams(LOCAL_RESETS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// Spawns the streams of HTTP/2 on the core of their connection.
#[derive(Clone, Debug)]
pub(super) struct StreamSpawner;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for StreamSpawner {
    fn execute(&self, stream: F) {
        spawn_contained("an HTTP/2 stream was", stream);
    }
}

/// Serves it to its end. Dropping it cuts the connection with all its streams.
pub(super) async fn serve<H: Handler>(
    stream: Box<TlsStream<Socket>>,
    peer: Rc<Peer>,
    core: Rc<Core<H>>,
    manner: &Manner,
) {
    let (streams, tick) = Streams::new(manner.limits.idle, manner.limits.body_idle);
    let handler = Rc::clone(&core.handler);
    let opened = Rc::clone(&streams);
    let bounds = Bounds::from(&manner.limits);
    let service = service_fn(move |request: Request<Incoming>| {
        let stream = opened.open();
        let fault = excess(&request, &bounds);
        let arrival = Arrival {
            peer: Rc::clone(&peer),
            fault,
            hold: None,
        };
        let answer = Rc::clone(&handler).handle(request, arrival);
        async move { Ok::<_, Infallible>(answer.await.map(|body| Watched { body, progress: stream })) }
    });
    let mut connection = pin!(
        manner
            .http2
            .serve_connection(TokioIo::new(Coalesce::new(stream)), service)
    );
    let mut stopping = pin!(Stopping::new(&core.stop));
    let mut ticks = interval_at(Instant::now() + tick, tick);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ended = poll_fn(|cx| {
        if stopping.as_mut().begins(cx) {
            connection.as_mut().graceful_shutdown();
        }
        while ticks.poll_tick(cx).is_ready() {
            match streams.tick() {
                Advice::Keep => {}
                Advice::Goodbye => connection.as_mut().graceful_shutdown(),
                Advice::Cut => return Poll::Ready(Ok(())),
            }
        }
        connection.as_mut().poll(cx)
    });
    if let Err(error) = ended.await {
        tracing::debug!(error = &error as &dyn std::error::Error, "an HTTP/2 connection broke");
    }
}

/// What the guard holds on HTTP/1 and h2 lets pass. Such a request is answered like any fault, and the connection
/// goes on.
fn excess<B>(request: &Request<B>, bounds: &Bounds) -> Option<Fault> {
    let target = request.uri().path_and_query().map_or("", |target| target.as_str());
    if target.len() > bounds.target_bytes {
        Some(Fault::TargetTooLong)
    } else if !is_http1_target(target.as_bytes()) {
        Some(Fault::Malformed("request target"))
    } else if request.headers().len() > bounds.headers {
        Some(Fault::HeadTooLarge)
    } else {
        None
    }
}
