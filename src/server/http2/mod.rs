//! One HTTP/2 connection: its streams, bounded windows, idle times, its end.

mod pulse;
mod stream;

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
pub(super) use h2::server::Builder;
use h2::server::{Connection, Handshake, SendResponse};
use hyper::header::CONTENT_LENGTH;
use hyper::{Method, Request};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::http::{Handler, Line, Lines, Offer, Peer, Received, Stream};

use self::pulse::Pulse;
use self::stream::Reply;
use super::activity::{Exchange, Patience, Shared};
use super::connection::Door;
use super::drain::Seat;
use super::drive::{End, Watch, drive};
use super::socket::Socket;
use super::transport::Transport;
use super::{Settings, Timeouts};

/// h2's settings.
pub(super) fn builder(settings: &Settings) -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(settings.max_concurrent_streams)
        .max_header_list_size(u32::try_from(settings.max_header_bytes).unwrap_or(u32::MAX))
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(MAX_UNACCEPTED_RESETS)
        .max_local_error_reset_streams(Some(MAX_ERROR_RESETS));
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
    let lines = Rc::new(Lines::apart());
    let shared = Shared::new((&door.handler, door.max_headers), peer, socket.traffic(), &lines);
    let Timeouts { idle, write, .. } = door.timeouts;
    let patience = Patience { idle, doze: None, write, head: None };
    let mut until = door.timeouts.end_of_life();
    let streams = Streams { shared: Rc::clone(&shared), lines, write };
    let mut connection =
        Serving { streams, stage: Stage::Greeting(door.http2.handshake(socket)), is_closing: false };
    let end = loop {
        let watch = Watch { activity: &shared.activity, patience, until, line: None };
        match drive(&mut connection, &mut seat, watch).await {
            End::Aged => {
                door.ended.age.inc();
                until = None;
                connection.close();
            }
            end => break end,
        }
    };
    match end {
        End::Closed(Ok(())) => {}
        End::Closed(Err(error)) => tracing::debug!(%error, "connection ended"),
        End::Draining => {
            connection.close();
            let _ = (&mut connection).await;
        }
        End::Unread => {
            tracing::debug!("the client does not read, connection closed");
            door.ended.unread.inc();
            shared.activity.give_up();
            let _ = Box::pin(timeout(GOODBYE, &mut connection)).await;
        }
        End::Idle | End::Doze | End::SlowHead | End::Cut | End::Aged | End::Unreadable(_) => {
            connection.close();
            let _ = Box::pin(timeout(GOODBYE, &mut connection)).await;
        }
    }
}

/// What is served of a connection, until its last stream has ended and it is closed.
struct Serving<H, T> {
    streams: Streams<H>,
    stage: Stage<T>,
    is_closing: bool,
}

enum Stage<T> {
    /// The client has not said yet that it speaks HTTP/2 (RFC 9113 §3.4).
    Greeting(Handshake<Socket<T>, Bytes>),
    Open(Connection<Socket<T>, Bytes>, Pulse),
}

impl<H, T: Transport> Serving<H, T> {
    /// Takes no further streams, and ends with the last.
    fn close(&mut self) {
        self.is_closing = true;
        if let Stage::Open(connection, _) = &mut self.stage {
            connection.graceful_shutdown();
        }
    }
}

impl<H: Handler, T: Transport> Future for Serving<H, T> {
    type Output = Result<(), h2::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        loop {
            match &mut this.stage {
                Stage::Greeting(handshake) => {
                    let mut connection = ready!(Pin::new(handshake).poll(cx))?;
                    if this.is_closing {
                        connection.graceful_shutdown();
                    }
                    let pulse = Pulse::new(connection.ping_pong());
                    this.stage = Stage::Open(connection, pulse);
                }
                Stage::Open(connection, pulse) => {
                    if pulse.is_over(this.streams.shared.activity.reads(), cx) {
                        tracing::debug!("the client does not answer, connection closed");
                        connection.abrupt_shutdown(h2::Reason::NO_ERROR);
                    }
                    match ready!(connection.poll_accept(cx)) {
                        Some(Ok((request, respond))) => this.streams.begin(request, respond),
                        Some(Err(error)) => return Poll::Ready(Err(error)),
                        None => return Poll::Ready(Ok(())),
                    }
                }
            }
        }
    }
}

/// What all streams of one connection have in common.
struct Streams<H> {
    shared: Rc<Shared<H>>,
    lines: Rc<Lines>,
    /// How long a stream waits for its client to take some of what it has.
    write: Duration,
}

impl<H: Handler> Streams<H> {
    /// Has a stream answered by a task of its own, on this very thread.
    fn begin(&self, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
        let line = self.lines.open();
        let (request, tunnel) = received(request, &line);
        let exchange = Exchange::begin(&self.shared, &request, line.clone());
        let reply = Reply { respond, line, tunnel };
        tokio::task::spawn_local(stream::serve(exchange.answer(request), reply, self.write));
    }
}

/// Where the way back to the client of a stream goes that has switched to another protocol.
type WayBack = oneshot::Sender<h2::SendStream<Bytes>>;

/// The request of a stream. Where it is `CONNECT`, what comes is no content (RFC 9113 §8.5).
fn received(request: Request<RecvStream>, line: &Line) -> (Request<Received>, Option<WayBack>) {
    let (mut head, content) = request.into_parts();
    if head.method != Method::CONNECT || head.headers.contains_key(CONTENT_LENGTH) {
        let content = Stream::new(content, &head.headers, line.clone());
        return (Request::from_parts(head, Received::Http2(content)), None);
    }
    let (way_back, to_client) = oneshot::channel();
    let offer = Offer::new(head.extensions.remove(), content, to_client);
    (Request::from_parts(head, Received::Offer(Some(Box::new(offer)))), Some(way_back))
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
/// For the last frames of an idle connection.
const GOODBYE: Duration = Duration::from_secs(2);
