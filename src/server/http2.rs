//! One HTTP/2 connection: concurrent streams, bounded windows, idle times, its end.

use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use hyper::rt::Executor;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper::{Request, body::Incoming};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::timeout;

use crate::http::{Handler, Peer};

use super::Settings;
use super::activity::{Exchange, Patience, Shared};
use super::connection::Door;
use super::drain::Seat;
use super::drive::{End, drive};
use super::socket::{Socket, Transport};

/// Runs the streams of a connection on the worker's own thread.
#[derive(Debug, Clone, Copy)]
pub(super) struct LocalExecutor;

impl<F: Future + 'static> Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

/// hyper's settings for HTTP/2.
pub(super) fn builder(settings: &Settings) -> Builder<LocalExecutor> {
    let mut builder = Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.max_concurrent_streams)
        .max_header_list_size(u32::try_from(settings.max_header_bytes).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(MAX_UNACCEPTED_RESETS)
        .max_local_error_reset_streams(MAX_ERROR_RESETS)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PONG_WITHIN);
    builder
}

/// Serves the connection to its end.
pub(super) async fn serve<H: Handler, T: Transport>(
    door: Rc<Door<H>>,
    socket: Socket<T>,
    peer: Peer,
    mut seat: Seat,
) {
    let shared = Shared::new(&door.handler, peer, socket.traffic());
    let service = {
        let shared = Rc::clone(&shared);
        service_fn(move |request: Request<Incoming>| Exchange::begin(&shared, &request).answer(request))
    };
    let patience = Patience { idle: door.timeouts.idle, doze: None, head: None };
    let mut connection = door.http2.serve_connection(TokioIo::new(socket), service);
    match drive(&mut connection, &shared.activity, &mut seat, patience).await {
        End::Closed(Ok(())) => {}
        End::Closed(Err(error)) => tracing::debug!(%error, "connection ended"),
        End::Draining => {
            Pin::new(&mut connection).graceful_shutdown();
            let _ = (&mut connection).await;
        }
        End::Idle | End::Doze | End::SlowHead => {
            Pin::new(&mut connection).graceful_shutdown();
            let _ = Box::pin(timeout(GOODBYE, &mut connection)).await;
        }
    }
}

/// Of one stream: enough for 20 Mbit/s at 100 ms, and what a slow instance can make us hold of it.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Of all streams together: the most that one client can make us hold.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Of one stream's response on its way out.
const SEND_BUFFER: usize = 128 * 1024;
/// Streams that were reset before we saw them (CVE-2023-44487).
const MAX_UNACCEPTED_RESETS: usize = 20;
/// Streams that we reset for what the client did (CVE-2025-8671).
const MAX_ERROR_RESETS: usize = 256;
/// Finds clients that have gone without saying so.
const PING_EVERY: Duration = Duration::from_secs(60);
const PONG_WITHIN: Duration = Duration::from_secs(20);
/// For the last frames of an idle connection.
const GOODBYE: Duration = Duration::from_secs(2);
