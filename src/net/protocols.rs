//! HTTP/1.1 and HTTP/2 as hyper is told to speak them, and the tasks they run in.

use super::Limits;
use futures_util::FutureExt;
use hyper::server::conn::http1;
use hyper::server::conn::http2;
use hyper_util::rt::TokioTimer;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

/// Runs a task on this core; a bug in it ends it and nothing else.
pub(super) fn spawn_contained(what: &'static str, task: impl Future<Output = ()> + 'static) {
    tokio::task::spawn_local(async move {
        if AssertUnwindSafe(task).catch_unwind().await.is_err() {
            tracing::error!("{what} ended by a bug in the gateway");
        }
    });
}

/// Spawns the streams of HTTP/2 on the core of their connection.
#[derive(Clone, Debug)]
pub(super) struct StreamSpawner;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for StreamSpawner {
    fn execute(&self, stream: F) {
        spawn_contained("an HTTP/2 stream was", stream);
    }
}

/// hyper's default and the size below which it does not count.
const HYPER_HEADERS: usize = 100;
const HYPER_BUFFER: usize = 8192;

/// HTTP/1.1 as every connection speaks it. Deadlines and limits are the guard's; hyper's own are only wide enough.
pub(super) fn http1(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
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

/// Windows: what one stream and all together may send before we read. Large enough for an upload over a distant line
/// (256 KiB every 50 ms are 5 MiB/s), small enough that a hundred connections cannot fill the memory.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Of an answer, kept for a stream while the client's window is closed.
const SEND_BUFFER: usize = 128 * 1024;
/// Streams that the client has reset and nobody has looked at (CVE-2023-44487).
const PENDING_RESETS: usize = 20;
/// Streams that the client made us reset (CVE-2025-8671).
const LOCAL_RESETS: usize = 256;
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// HTTP/2 as every connection speaks it.
pub(super) fn http2(limits: &Limits) -> http2::Builder<StreamSpawner> {
    let mut builder = http2::Builder::new(StreamSpawner);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(LOCAL_RESETS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}
