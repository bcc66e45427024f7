//! One HTTP/1 connection: the guard for its whole life, hyper only while there is something to do. An idle connection
//! keeps none of hyper's buffers, which are 16 KiB.

use super::Handler;
use super::Limits;
use super::head::Bounds;
use super::head_guard::HeadGuard;
use super::head_guard::Waits;
use super::head_guard::Woken;
use super::notes::Answering;
use super::notes::Notes;
use super::notes::Special;
use super::stop::Stopping;
use super::watched::Watched;
use super::workers::Core;
use super::workers::Manner;
use crate::web::Arrival;
use crate::web::BoxError;
use crate::web::Peer;
use crate::web::UpgradeHold;
use http::HeaderValue;
use http::Request;
use http::Response;
use http::StatusCode;
use http::header::CONNECTION;
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::server::conn::http1::UpgradeableConnection;
use hyper::service::Service;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::cell::Cell;
use std::convert::Infallible;
use std::future::Future;
use std::future::poll_fn;
use std::pin::Pin;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout_at;

/// At a stop, how long after its accept a connection may still bring its first request.
const FRESH: Duration = Duration::from_secs(1);

/// hyper's default and the size below which it does not count.
const HYPER_HEADERS: usize = 100;
const HYPER_BUFFER: usize = 8192;

/// HTTP/1.1 as every connection speaks it. Deadlines and limits are the guard's; hyper's own are only wide enough.
pub(super) fn builder(limits: &Limits) -> Builder {
    let mut builder = Builder::new();
    builder
        .half_close(false)
        .keep_alive(true)
        .max_buf_size(HYPER_BUFFER.saturating_add(limits.header_bytes));
    if limits.headers > HYPER_HEADERS {
        // Costs an allocation a request, so only where it is needed.
        builder.max_headers(limits.headers);
    }
    builder
}

/// Serves it to its end. Dropping it cuts the connection.
pub(super) async fn serve<H, S>(stream: S, peer: Rc<Peer>, core: Rc<Core<H>>, manner: Rc<Manner>)
where
    H: Handler,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let notes = Arc::new(Notes::new());
    let waits = Waits {
        head: manner.limits.head,
        idle: manner.limits.idle,
    };
    let mut guard = HeadGuard::new(stream, Bounds::from(&manner.limits), waits, Arc::clone(&notes));
    let mut service = answering(Rc::clone(&core), peer, Arc::clone(&notes));
    let mut stopping = pin!(Stopping::new(&core.stop));
    loop {
        let (woken, stopped) = silence(&mut guard, stopping.as_mut(), &notes).await;
        if matches!(woken, Woken::Over) {
            // The peer may have gone already.
            let _ = guard.shutdown().await;
            return;
        }
        let mut connection = manner
            .http1
            .serve_connection(TokioIo::new(guard), service)
            .with_upgrades();
        let working = work(&mut connection, stopping.as_mut(), stopped, &notes);
        match working.await {
            Ok(Ended::AtRest) => {}
            Ok(Ended::Closed) => return,
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "an HTTP/1 connection broke");
                return;
            }
        }
        let Some(parts) = connection.into_parts().filter(|parts| parts.read_buf.is_empty()) else {
            tracing::error!("an HTTP/1 connection was taken for idle and was not");
            return;
        };
        guard = parts.io.into_inner();
        service = parts.service;
    }
}

/// Waits for bytes; tells also whether the stop began meanwhile. Then the only thing that is still waited for, shortly,
/// is the first request of a client that has just connected.
async fn silence<S: AsyncRead + Unpin>(
    guard: &mut HeadGuard<S>,
    mut stopping: Pin<&mut Stopping<'_>>,
    notes: &Notes,
) -> (Woken, bool) {
    let mut stopped = false;
    let waiting = poll_fn(|cx| match guard.poll_bytes(cx) {
        Poll::Pending if stopping.as_mut().begins(cx) => {
            stopped = true;
            Poll::Ready(Woken::Over)
        }
        polled => polled,
    });
    let woken = waiting.await;
    if !stopped || !guard.is_fresh() {
        return (woken, stopped);
    }
    let first = poll_fn(|cx| guard.poll_bytes(cx));
    let woken = timeout_at(notes.idle_since() + FRESH, first).await;
    (woken.unwrap_or(Woken::Over), true)
}

enum Ended {
    Closed,
    /// There is nothing to do.
    AtRest,
}

/// Lets hyper work until it is done or has nothing to do.
async fn work<S, V, B>(
    connection: &mut UpgradeableConnection<TokioIo<HeadGuard<S>>, V>,
    mut stopping: Pin<&mut Stopping<'_>>,
    mut stopped: bool,
    notes: &Notes,
) -> hyper::Result<Ended>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    V: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Unpin,
    B: Body<Error = BoxError> + 'static,
{
    poll_fn(|cx| {
        if let Poll::Ready(ended) = Pin::new(&mut *connection).poll(cx) {
            return Poll::Ready(ended.map(|()| Ended::Closed));
        }
        let at_rest = notes.take_rest();
        // After the first turn, in which hyper has seen the bytes that are here: a connection that has had none is closed.
        if std::mem::take(&mut stopped) || stopping.as_mut().begins(cx) {
            Pin::new(&mut *connection).graceful_shutdown();
            return Pin::new(&mut *connection).poll(cx).map_ok(|()| Ended::Closed);
        }
        if at_rest {
            Poll::Ready(Ok(Ended::AtRest))
        } else {
            Poll::Pending
        }
    })
    .await
}

/// What an answer becomes on its way to hyper.
type Answer<H> = Response<Watched<<H as Handler>::Body, Answering>>;

/// How each request of one connection is answered.
fn answering<H: Handler>(
    core: Rc<Core<H>>,
    peer: Rc<Peer>,
    notes: Arc<Notes>,
) -> impl Service<
    Request<Incoming>,
    Response = Answer<H>,
    Error = Infallible,
    Future = impl Future<Output = Result<Answer<H>, Infallible>>,
> {
    let requests = Cell::new(0);
    service_fn(move |request: Request<Incoming>| {
        let index = requests.replace(requests.get() + 1);
        let (fault, upgrading) = match notes.about(index) {
            None => (None, None),
            Some(Special::Fault(fault)) => (Some(fault), None),
            Some(Special::Hold(hold)) => (None, Some(hold)),
        };
        let answering = Answering(Arc::clone(&notes));
        let arrival = Arrival {
            peer: Rc::clone(&peer),
            fault,
            // Only a sign. What hyper does with the connection depends on the status alone, and the guard must agree.
            hold: upgrading.as_ref().map(|_| UpgradeHold::default()),
        };
        let answer = Rc::clone(&core.handler).handle(request, arrival);
        let core = Rc::clone(&core);
        async move {
            let mut answer = answer.await;
            match upgrading {
                Some(hold) if answer.status() == StatusCode::SWITCHING_PROTOCOLS => hold.tunnel(),
                Some(hold) => hold.release(),
                None => {}
            }
            if core.stop.is_parting() && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                // hyper says so only where it was told of the stop before it wrote the head, and of the time before the stop
                // it knows nothing.
                answer
                    .headers_mut()
                    .insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answer.map(|body| Watched {
                body,
                progress: answering,
            }))
        }
    })
}
