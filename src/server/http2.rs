//! One HTTP/2 connection: concurrent streams, bounded windows, idle times, its end.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::Executor;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper::{Method, Request, body::Incoming};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::{Instant, Sleep, sleep, timeout};

use crate::http::{Handler, Line, Lines, Peer};

use super::activity::{Exchange, Patience, Shared};
use super::connection::Door;
use super::drain::Seat;
use super::drive::{End, Watch, drive};
use super::socket::{Socket, Transport};
use super::{Settings, Timeouts};

/// Runs the streams of a connection on the worker's own thread, each until its line is cut.
///
/// hyper has a stream run as soon as the service has been called for it, so the line that was handed over
/// last is the stream's own.
#[derive(Clone)]
pub(super) struct LocalExecutor {
    next: Rc<Cell<Option<Run>>>,
    /// How long a stream waits for its client to take some of what it has.
    write: Duration,
}

/// What is run next.
enum Run {
    /// A stream, by its own line.
    Stream(Line),
    /// A stream that may become a tunnel, by its own line.
    Connect(Line),
    /// What sends on a stream that has become a tunnel. Who uses the tunnel drives its line; when they let
    /// go of it, this is woken.
    Tunnel(Line),
}

impl LocalExecutor {
    pub(super) fn new(write: Duration) -> Self {
        Self { next: Rc::default(), write }
    }

    /// The line of the stream that is run next.
    fn hand_over(&self, method: &Method, line: &Line) {
        let line = line.clone();
        let run = if *method == Method::CONNECT { Run::Connect(line) } else { Run::Stream(line) };
        self.next.set(Some(run));
    }
}

impl<F: Future + 'static> Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        let (run, next) = (self.next.take(), Rc::clone(&self.next));
        let mut reader = Reader { silence: None, patience: self.write };
        tokio::task::spawn_local(async move {
            // Dropped unfinished, a stream is reset (RFC 9113 §5.4.2), and what it had to send thrown away.
            let mut stream = pin!(future);
            let end = poll_fn(|cx| {
                let is_cut = match &run {
                    Some(Run::Stream(line) | Run::Connect(line)) => line.is_cut(cx),
                    Some(Run::Tunnel(line)) => line.was_cut(),
                    None => false,
                };
                if is_cut {
                    return Poll::Ready(Ending::GivenUp);
                }
                let line = match &run {
                    Some(Run::Connect(line)) => line,
                    Some(Run::Stream(line)) => {
                        return match stream.as_mut().poll(cx) {
                            Poll::Pending if !reader.is_gone(line, cx) => Poll::Pending,
                            Poll::Pending => Poll::Ready(Ending::GivenUp),
                            Poll::Ready(_) => Poll::Ready(Ending::Answered),
                        };
                    }
                    Some(Run::Tunnel(_)) | None => {
                        return stream.as_mut().poll(cx).map(|_| Ending::Answered);
                    }
                };
                // What it has run meanwhile belongs to it.
                next.set(Some(Run::Tunnel(line.clone())));
                let polled = stream.as_mut().poll(cx).map(|_| Ending::Answered);
                next.set(None);
                polled
            })
            .await;
            if let (Ending::Answered, Some(Run::Stream(line))) = (end, &run)
                && line.has_upload()
            {
                Box::pin(linger(line)).await;
            }
        });
    }
}

/// How a stream has come to its end.
enum Ending {
    Answered,
    GivenUp,
}

/// Waits a moment with the reset of a stream that is answered although its client still sends (RFC 9113 §8.1). What
/// it sends is thrown away. Clients that find the reset together with the answer, curl 7.88 among them, tell of an
/// error of the stream instead of the answer.
async fn linger(line: &Line) {
    let mut over = pin!(sleep(LINGER));
    poll_fn(|cx| if line.is_cut(cx) { Poll::Ready(()) } else { over.as_mut().poll(cx) }).await;
}

/// Whether the client of a stream reads. Its window may be shut while its connection goes on.
struct Reader {
    /// Runs from when the stream was first seen to wait for its client.
    silence: Option<Pin<Box<Sleep>>>,
    patience: Duration,
}

impl Reader {
    /// Whether the client has taken nothing for too long, although something waits for it.
    fn is_gone(&mut self, line: &Line, cx: &mut Context<'_>) -> bool {
        if self.silence.is_none() && !line.is_due() {
            return false;
        }
        let silence = self.silence.get_or_insert_with(|| {
            let _ = line.has_moved();
            Box::pin(sleep(self.patience))
        });
        while silence.as_mut().poll(cx).is_ready() {
            if !line.is_due() {
                self.silence = None;
                return false;
            }
            if !line.has_moved() {
                tracing::debug!("the client does not read, stream reset");
                return true;
            }
            silence.as_mut().reset(Instant::now() + self.patience);
        }
        false
    }
}

/// hyper's settings for HTTP/2.
pub(super) fn builder(settings: &Settings, executor: LocalExecutor) -> Builder<LocalExecutor> {
    let mut builder = Builder::new(executor);
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
    if settings.extended_connect {
        builder.enable_connect_protocol();
    }
    builder
}

/// Serves the connection to its end.
pub(super) async fn serve<H: Handler, T: Transport>(
    door: Rc<Door<H>>,
    socket: Socket<T>,
    peer: Peer,
    mut seat: Seat,
) {
    let lines = Rc::<Lines>::default();
    let shared = Shared::new((&door.handler, door.max_headers), peer, socket.traffic(), &lines);
    let service = {
        let (shared, executor) = (Rc::clone(&shared), door.executor.clone());
        service_fn(move |request: Request<Incoming>| {
            let line = lines.open();
            executor.hand_over(request.method(), &line);
            Exchange::begin(&shared, &request, line).answer(request)
        })
    };
    let Timeouts { idle, write, .. } = door.timeouts;
    let patience = Patience { idle, doze: None, write, head: None };
    let mut until = door.timeouts.end_of_life();
    let mut connection = door.http2.serve_connection(TokioIo::new(socket), service);
    let end = loop {
        let watch = Watch { activity: &shared.activity, patience, until, line: None };
        match drive(&mut connection, &mut seat, watch).await {
            End::Aged => {
                door.ended.age.inc();
                until = None;
                Pin::new(&mut connection).graceful_shutdown();
            }
            end => break end,
        }
    };
    match end {
        End::Closed(Ok(())) => {}
        End::Closed(Err(error)) => tracing::debug!(%error, "connection ended"),
        End::Draining => {
            Pin::new(&mut connection).graceful_shutdown();
            let _ = (&mut connection).await;
        }
        End::Unread => {
            tracing::debug!("the client does not read, connection closed");
            door.ended.unread.inc();
            shared.activity.give_up();
            let _ = Box::pin(timeout(GOODBYE, &mut connection)).await;
        }
        End::Idle | End::Doze | End::SlowHead | End::Cut | End::Aged | End::Unreadable(_) => {
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
/// For an answer to be read before its stream is reset.
const LINGER: Duration = Duration::from_secs(1);
/// For the last frames of an idle connection.
const GOODBYE: Duration = Duration::from_secs(2);
