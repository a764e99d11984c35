//! One connection to an instance, and the future that drives it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use pin_project_lite::pin_project;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use super::bell::Bell;
use super::interim;
use super::spare::Spare;
use super::watch::{Asked, Watched};
use super::{ForwardError, Settings, framing};
use crate::http::{Line, Progress, RequestBody};

/// Most that is read ahead of a client that reads slowly, and the longest head of a response.
const READ_BYTES: usize = 64 * 1024;
/// Most that the system takes ahead of what is read; `net.core.rmem_max` holds, too. Left to itself it would grow to
/// megabytes for each download, and what all connections of a machine hold together is bounded: a few hundred slow
/// readers would bring the others to a standstill.
const RECEIVED_BYTES: usize = 256 * 1024;

/// An open connection. Nothing happens on it unless it is polled.
#[derive(Debug)]
pub(super) struct Link {
    sender: SendRequest<RequestBody>,
    driver: Pin<Box<Driver>>,
    asked: Asked,
    bell: Bell,
    over: bool,
    spare: Spare,
    /// Where the latest request's client is told what comes before its answer.
    line: Option<Line>,
    /// Armed for the longest that a response's head may take. It goes on from one request to the next, and is
    /// armed anew only when it fires.
    timer: Pin<Box<Sleep>>,
}

type Driver = Connection<TokioIo<Watched>, RequestBody>;

/// Why a request got no response on a link.
pub(super) enum Failure {
    /// No byte of the request was sent; here it is.
    Unsent(Box<Request<RequestBody>>),
    /// It may have been sent.
    Sent(ForwardError),
}

impl Link {
    /// Opens a connection. Boxed, since it is handed from one future to the next.
    pub(super) async fn open(settings: &Settings) -> Result<Box<Self>, ForwardError> {
        let stream = tokio::time::timeout(settings.connect_timeout, connect(settings))
            .await
            .map_err(|_| ForwardError::ConnectTimeout)?
            .map_err(ForwardError::Connect)?;
        let stream = Watched::new(stream);
        let asked = stream.asked();
        // As many fields as hyper takes by itself, 100: with any other number it allocates room for the fields of
        // every response.
        let handshake = http1::Builder::new().max_buf_size(READ_BYTES).handshake(TokioIo::new(stream));
        let (sender, driver) = handshake.await.map_err(ForwardError::Broken)?;
        let timer = Box::pin(sleep(settings.response_timeout));
        let (driver, bell, spare) = (Box::pin(driver), Bell::new(), Spare::default());
        Ok(Box::new(Self { sender, driver, asked, bell, over: false, spare, line: None, timer }))
    }

    /// Whether a request can be sent now. Also notices that the other end has closed.
    pub(super) fn is_usable(&mut self) -> bool {
        let cx = Context::from_waker(Waker::noop());
        let attended = self.bell.attend(&cx);
        drive(&mut self.driver, &mut self.over, &mut attended.context());
        let _ = attended.leave(Poll::Ready(()), &cx);
        self.seems_usable()
    }

    /// Nobody waits for it.
    pub(super) fn rest(&mut self) {
        self.bell.rest();
        self.line = None;
    }

    /// Whether a request could be sent when it was last driven.
    pub(super) fn seems_usable(&self) -> bool {
        !self.over && self.sender.is_ready()
    }

    /// Whether no byte has come since a request was sent.
    pub(super) fn is_unanswered(&self) -> bool {
        self.asked.is_unanswered()
    }

    /// Keeps what it takes to send a request once more, where it may be.
    pub(super) fn keep(&mut self, request: &Request<RequestBody>) {
        self.spare.keep(request);
    }

    /// What was kept of the latest request.
    pub(super) fn take_kept(&mut self) -> Option<Request<RequestBody>> {
        self.spare.take(self.line.take())
    }

    /// What comes next of the body that comes on it; where that is not there yet, moves bytes in both directions,
    /// as far as they go.
    pub(super) fn poll_body(
        &mut self,
        body: &mut Incoming,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let attended = self.bell.attend(cx);
        let inner = &mut attended.context();
        let mut polled = Pin::new(&mut *body).poll_frame(inner);
        if polled.is_pending() {
            attended.looked();
            drive(&mut self.driver, &mut self.over, inner);
            polled = Pin::new(body).poll_frame(inner);
        }
        attended.leave(polled, cx)
    }

    /// Sends a request and waits for the head of its response. What the instance says before it is told at once, unless
    /// hyper refuses what came with it.
    pub(super) fn send(
        &mut self,
        mut request: Request<RequestBody>,
        head_timeout: Duration,
    ) -> impl Future<Output = Result<Response<Incoming>, Failure>> {
        let progress = request.body().progress();
        self.line = request.body_mut().take_line();
        self.asked.note();
        let response = self.sender.try_send_request(request);
        Sending { response, link: self, progress, since: Instant::now(), head_timeout }
    }
}

pin_project! {
    /// A request on its way and the wait for the head of its response. Written out, since an `async` block would have
    /// room for the response twice: where it is captured and where it is pinned.
    struct Sending<'l, F> {
        #[pin]
        response: F,
        link: &'l mut Link,
        progress: Progress,
        since: Instant,
        head_timeout: Duration,
    }
}

impl<F> Future for Sending<'_, F>
where
    F: Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>>,
{
    type Output = Result<Response<Incoming>, Failure>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Link { driver, over, timer, bell, asked, line, .. } = &mut **this.link;
        let attended = bell.attend(cx);
        drive(driver, over, &mut attended.context());
        let answered = this.response.poll(&mut attended.context());
        if let Some((heads, line)) = asked.interim().zip(line.as_ref())
            && !matches!(&answered, Poll::Ready(Err(why)) if !why.error().is_incomplete_message())
        {
            interim::pass_on(&heads, line);
        }
        if let Poll::Ready(result) = attended.leave(answered, cx) {
            return Poll::Ready(judged(result));
        }
        while timer.as_mut().poll(cx).is_ready() {
            // An upload that still moves is not an instance that hangs.
            let due = this.progress.latest().unwrap_or(*this.since) + *this.head_timeout;
            if Instant::now() >= due {
                return Poll::Ready(Err(Failure::Sent(ForwardError::HeadTimeout)));
            }
            timer.as_mut().reset(due);
        }
        Poll::Pending
    }
}

/// What came of a request, if it can be passed on.
fn judged(
    result: Result<Response<Incoming>, TrySendError<Request<RequestBody>>>,
) -> Result<Response<Incoming>, Failure> {
    let response = result.map_err(|mut error| match error.take_message() {
        Some(request) => Failure::Unsent(Box::new(request)),
        None => Failure::Sent(ForwardError::of(error.into_error())),
    })?;
    match framing::fault(&response) {
        None => Ok(response),
        Some(why) => Err(Failure::Sent(ForwardError::Ambiguous(why))),
    }
}

impl Link {
    /// The connection itself, once it has switched protocols, and what has come on it since.
    pub(super) fn into_stream(self) -> (TcpStream, Bytes) {
        let parts = Pin::into_inner(self.driver).into_parts();
        (parts.io.into_inner().into_stream(), parts.read_buf)
    }
}

/// Moves bytes in both directions, as far as they go. An error of the connection reaches whoever waits for the response
/// or its body.
fn drive(driver: &mut Pin<Box<Driver>>, over: &mut bool, cx: &mut Context<'_>) {
    if !*over && driver.as_mut().poll(cx).is_ready() {
        *over = true;
    }
}

async fn connect(settings: &Settings) -> io::Result<TcpStream> {
    let authority = &settings.authority;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let port = authority.port_u16().unwrap_or(80);
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    SockRef::from(&stream).set_recv_buffer_size(RECEIVED_BYTES)?;
    Ok(stream)
}

/// Shows that a connection to the instance can be opened.
///
/// # Errors
/// Where none can be opened in time.
pub async fn reach(settings: &Settings) -> Result<(), ForwardError> {
    Link::open(settings).await.map(drop)
}
