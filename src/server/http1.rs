//! One HTTP/1.1 connection: its requests one after the other, its idle times, its end.
//!
//! hyper's own header timer stays off: it allocates and arms a timer for every request. A connection
//! that has been idle for a moment gives hyper's buffers back and waits as a bare socket.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::Version;
use hyper::server::conn::http1::{Builder, UpgradeableConnection};
use hyper::service::{HttpService, service_fn};
use hyper::{Request, body::Incoming};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, sleep_until, timeout};

use crate::http::{Handler, Line, Lines, Peer, Received};

use super::activity::{Activity, Exchange, Patience, Shared};
use super::connection::Door;
use super::drain::Seat;
use super::drive::{End, Watch, drive, drive_to_its_end};
use super::socket::Socket;
use super::transport::Transport;
use super::unreadable::refuse;
use super::{Settings, Timeouts};

/// hyper's settings for HTTP/1.1.
pub(super) fn builder(settings: &Settings) -> Builder {
    let mut builder = Builder::new();
    builder
        .header_read_timeout(None)
        .half_close(false)
        .keep_alive(true)
        .pipeline_flush(false)
        .max_header_size(settings.max_header_bytes)
        .max_buf_size(settings.max_header_bytes.max(BUFFER_BYTES));
    // With any other number hyper may allocate room for the fields of every request.
    if settings.max_headers != HYPER_MAX_HEADERS {
        builder.max_headers(settings.max_headers);
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
    let shared = Shared::new((&door.handler, door.max_headers), peer, socket.traffic(), &Rc::default());
    let until = door.timeouts.end_of_life();
    let mut awake = Some(socket);
    while let Some(socket) = awake.take() {
        if let Some(quiet) = answer_requests(&door, &shared, socket, (&mut seat, until)).await {
            let idle = shared.activity.idle_since() + door.timeouts.idle;
            awake = doze(quiet, &mut seat, until.map_or(idle, |until| until.min(idle))).await;
        }
    }
}

/// Answers requests; gives the socket back when none has come for a moment.
async fn answer_requests<H: Handler, T: Transport>(
    door: &Door<H>,
    shared: &Rc<Shared<H>>,
    socket: Socket<T>,
    (seat, mut until): (&mut Seat, Option<Instant>),
) -> Option<Socket<T>> {
    let line = line(&socket);
    let service = {
        let (shared, line) = (Rc::clone(shared), line.clone());
        service_fn(move |request: Request<Incoming>| {
            let request = request.map(Received::Http1);
            Exchange::begin(&shared, &request, next(&line, request.version())).answer(request)
        })
    };
    let Timeouts { idle, write, header, .. } = door.timeouts;
    let patience = Patience { idle, doze: Some(DOZE_AFTER), write, head: Some(header) };
    // Boxed, so that it takes no room while the connection dozes.
    let mut connection = Box::new(door.http1.serve_connection(TokioIo::new(socket), service).with_upgrades());
    let end = loop {
        let watch = Watch { activity: &shared.activity, patience, until, line: Some(&line) };
        match drive(&mut *connection, seat, watch).await {
            End::Aged => {
                door.ended.age.inc();
                until = None;
                Pin::new(&mut *connection).graceful_shutdown();
            }
            End::Draining => {
                let was_busy = shared.activity.busy();
                Pin::new(&mut *connection).graceful_shutdown();
                match drive_to_its_end(&mut *connection, &shared.activity, &line).await {
                    End::Closed(_) if !was_busy => return None,
                    end => break end,
                }
            }
            end => break end,
        }
    };
    match end {
        End::Doze => return take_socket(*connection),
        End::SlowHead => {
            tracing::debug!("request head took too long, connection closed");
            door.ended.head.inc();
        }
        End::Unread => {
            tracing::debug!("the client does not read, connection closed");
            door.ended.unread.inc();
            sever(*connection);
        }
        End::Idle => {
            Pin::new(&mut *connection).graceful_shutdown();
            let _ = Box::pin(timeout(GOODBYE, &mut *connection)).await;
        }
        End::Closed(result) => Box::pin(part(connection, result, &shared.activity)).await,
        End::Unreadable(why) => {
            Box::pin(refuse(door, &shared.peer, take_socket(*connection), why)).await;
        }
        End::Cut | End::Aged | End::Draining => sever(*connection),
    }
    None
}

/// One for all of a connection's requests: they come one after the other, and what is cut ends the connection.
pub(super) fn line<T: Transport>(socket: &Socket<T>) -> Line {
    Rc::new(Lines::in_turn(Arc::clone(socket.traffic().foreword()))).open()
}

/// The line of the next request; HTTP/1.0 has no interim responses (RFC 9110 §15.2).
pub(super) fn next(line: &Line, version: Version) -> Line {
    if version == Version::HTTP_11 { line.for_next() } else { line.clone() }
}

/// Waits for the next request with nothing but the socket; `None` when the connection ended instead.
async fn doze<T: Transport>(socket: Socket<T>, seat: &mut Seat, until: Instant) -> Option<Socket<T>> {
    let mut timer = pin!(sleep_until(until));
    let woken = poll_fn(|cx| {
        if socket.poll_readable(cx).is_ready() {
            return Poll::Ready(Woken::ByClient);
        }
        if seat.draining(cx) {
            return Poll::Ready(Woken::ToClose);
        }
        timer.as_mut().poll(cx).map(|()| Woken::ToClose)
    })
    .await;
    match woken {
        Woken::ByClient => Some(socket),
        Woken::ToClose => {
            Box::pin(socket.close()).await;
            None
        }
    }
}

enum Woken {
    ByClient,
    ToClose,
}

/// Ends a connection that hyper has done with.
async fn part<T, S>(
    connection: Box<UpgradeableConnection<TokioIo<Socket<T>>, S>>,
    result: hyper::Result<()>,
    activity: &Activity,
) where
    T: Transport,
    S: HttpService<Incoming>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::ResBody: 'static,
    <S::ResBody as hyper::body::Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    // Upgraded connections have no socket left here.
    let Some(socket) = take_socket(*connection) else {
        return;
    };
    match result {
        Ok(()) => socket.linger().await,
        Err(error) => {
            tracing::debug!(%error, "connection ended");
            if error.is_parse() {
                socket.linger().await;
            } else if activity.version() == Version::HTTP_10 {
                // A response without a length ends with its connection: an orderly end would pass a
                // broken-off response for a whole one.
                socket.reset();
            }
        }
    }
}

/// Ends a connection whose exchange was cut: at once, and so that the client cannot take what it has for a
/// whole response. What waits to be sent is thrown away, however slowly the client reads.
fn sever<T, S>(connection: UpgradeableConnection<TokioIo<Socket<T>>, S>)
where
    T: Transport,
    S: HttpService<Incoming>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::ResBody: 'static,
    <S::ResBody as hyper::body::Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if let Some(socket) = take_socket(connection) {
        socket.reset();
    }
}

fn take_socket<T, S>(connection: UpgradeableConnection<TokioIo<Socket<T>>, S>) -> Option<Socket<T>>
where
    T: Transport,
    S: HttpService<Incoming>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::ResBody: 'static,
    <S::ResBody as hyper::body::Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let parts = connection.into_parts()?;
    let mut socket = parts.io.into_inner();
    socket.put_back(parts.read_buf);
    Some(socket)
}

/// Most that hyper buffers of one connection in each direction: a few TLS records.
const BUFFER_BYTES: usize = 64 * 1024;
/// Long enough that a busy keep-alive connection never dozes.
const DOZE_AFTER: Duration = Duration::from_millis(500);
/// For the end of an idle connection to leave.
const GOODBYE: Duration = Duration::from_secs(2);
/// What hyper takes unless told otherwise.
const HYPER_MAX_HEADERS: usize = 100;
