//! The application that `demo` puts behind the gateway: it shows what an application sees.

use super::page;
use super::websocket;
use crate::lifecycle::Lifecycle;
use bytes::Bytes;
use http::header;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Interval;

/// Connections at once; only the gateway connects.
const CONNECTIONS: usize = 1024;
/// From the first byte of a head to its last.
const HEAD: Duration = Duration::from_secs(30);
/// A pause after an accept that failed, as when no file descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Between two events.
const EVENT_PERIOD: Duration = Duration::from_secs(1);

type Answer = Response<Either<Full<Bytes>, Events>>;

/// Serves the demo application on a free port of loopback until the soft stop, and returns its address. Connections
/// under way end with the streams.
///
/// # Errors
/// No port could be had.
pub async fn serve(lifecycle: &Lifecycle) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let (stop, life) = (lifecycle.streams.clone(), lifecycle.clone());
    lifecycle.tasks.spawn(async move {
        tokio::select! {
            () = accept(listener, &life) => {}
            () = stop.cancelled() => {}
        }
    });
    Ok(address)
}

async fn accept(listener: TcpListener, lifecycle: &Lifecycle) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let life = lifecycle.clone();
        lifecycle.tasks.spawn(async move {
            let stop = life.streams.clone();
            tokio::select! {
                () = connection(stream, life) => {}
                () = stop.cancelled() => {}
            }
            drop(permit);
        });
    }
}

async fn connection(stream: TcpStream, lifecycle: Lifecycle) {
    let _ = stream.set_nodelay(true);
    let answer = service_fn(move |request| {
        let lifecycle = lifecycle.clone();
        async move { Ok::<_, Infallible>(answer(request, &lifecycle).await) }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD);
    // A connection that breaks concerns nobody but its other end.
    let _ = server
        .serve_connection(TokioIo::new(stream), answer)
        .with_upgrades()
        .await;
}

async fn answer(request: Request<Incoming>, lifecycle: &Lifecycle) -> Answer {
    let reads = request.method() == Method::GET || request.method() == Method::HEAD;
    match request.uri().path() {
        "/" if reads => text("text/html; charset=utf-8", page::home(request.headers())),
        "/echo" => echo(request).await,
        "/events" if reads => events(),
        "/ws" => websocket::accept(request, lifecycle).map(Either::Left),
        _ => {
            let mut answer = text(
                "text/plain; charset=utf-8",
                "The demo application has no such page.\n".into(),
            );
            *answer.status_mut() = StatusCode::NOT_FOUND;
            answer
        }
    }
}

/// The request as this application got it.
async fn echo(request: Request<Incoming>) -> Answer {
    let (head, mut body) = request.into_parts();
    while let Some(frame) = body.frame().await {
        if frame.is_err() {
            break;
        }
    }
    let target = head
        .uri
        .path_and_query()
        .map_or_else(|| head.uri.to_string(), ToString::to_string);
    let told = json!({ "method": head.method.as_str(), "target": target, "headers": lines(&head.headers) });
    text("application/json", format!("{told}\n"))
}

/// Header lines as name and value; bytes that are no text are shown as U+FFFD.
pub(super) fn lines(headers: &HeaderMap) -> Vec<(String, String)> {
    let line = |(name, value): (&header::HeaderName, &HeaderValue)| {
        (
            name.as_str().to_owned(),
            String::from_utf8_lossy(value.as_bytes()).into_owned(),
        )
    };
    headers.iter().map(line).collect()
}

fn text(kind: &'static str, body: String) -> Answer {
    with_type(kind, Either::Left(Full::from(body)))
}

fn events() -> Answer {
    with_type(
        "text/event-stream",
        Either::Right(Events {
            count: 0,
            interval: tokio::time::interval(EVENT_PERIOD),
        }),
    )
}

fn with_type(kind: &'static str, body: Either<Full<Bytes>, Events>) -> Answer {
    let mut answer = Response::new(body);
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// One event a second, the first at once, until the browser goes away.
struct Events {
    count: u64,
    interval: Interval,
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        ready!(self.interval.poll_tick(context));
        self.count += 1;
        let event = format!("id: {0}\ndata: event {0}\n\n", self.count);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(event)))))
    }
}
