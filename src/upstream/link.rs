//! One connection to an instance: a request on its way, the head of its answer, and the answer's content.
//!
//! HTTP/1.1 is spoken here, and not by hyper's client: that one drives a connection in a task of its own, and asks and
//! answers through channels, which cost more than what they carry where one task waits for all of it anyway.

use std::cell::RefCell;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use hyper::Response;
use hyper::header::HeaderMap;
use socket2::SockRef;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use super::content::Content;
use super::error::ConnectionError;
use super::exchange::BrokenBody;
use super::head::{Heads, is_interim};
use super::interim::Interims;
use super::outbound::Outbound;
use super::send_queue::SendQueue;
use super::wire::{SharedWire, Wire};
use super::{ForwardError, Settings, framing};
use crate::http::{Line, Progress, RequestBodyError};

/// Read at once where nothing is known of what comes.
const SHORT_READ: usize = 8 * 1024;
/// Most that is read at once, and so ahead of a client that reads slowly. Each read also tells the instance of the room
/// that it makes, so many small ones cost more.
const LONG_READ: usize = 128 * 1024;
/// The same of a long answer, which its client may take its time to read.
const BOUNDED_READ: usize = 64 * 1024;
/// Most that the system takes of a long answer ahead of what is read; `net.core.rmem_max` holds, too. Left to itself it
/// would grow to megabytes for each download, and what all connections of a machine hold together is bounded: a few
/// hundred slow readers would bring the others to a standstill.
const RECEIVED_BYTES: usize = 256 * 1024;
/// Of an answer that is no longer, the system may take all. One that comes in a few large pieces costs a fifth less.
const SHORT_ANSWER: u64 = 2 * 1024 * 1024;

/// An open connection. Nothing happens on it unless it is polled.
pub(super) struct Link {
    wire: SharedWire,
    /// Came, and belongs to what comes next.
    read: BytesMut,
    /// How much is read at once.
    at_once: usize,
    /// Bytes of the latest answer so far.
    came: u64,
    /// Whether the system has been told how much it may take ahead.
    is_bounded: bool,
    heads: Heads,
    content: Content,
    /// Whether another request may follow, as far as the instance has said.
    persists: bool,
    is_answered: bool,
    asks_head: bool,
    /// For the fields of the next answer.
    fields: HeaderMap,
    /// Where the latest request's client is told what comes before its answer.
    line: Option<Line>,
    interims: Interims,
    progress: Progress,
    /// Armed for the longest that a response's head may take. It goes on from one request to the next, and is
    /// armed anew only when it fires.
    timer: Pin<Box<Sleep>>,
}

/// What is on it is the client's affair.
impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("content", &self.content).finish_non_exhaustive()
    }
}

impl Link {
    /// Opens a connection. Boxed, since it is handed from one future to the next.
    pub(super) async fn open(settings: &Settings) -> Result<Box<Self>, ForwardError> {
        let stream = tokio::time::timeout(settings.connect_timeout, connect(settings))
            .await
            .map_err(|_| ForwardError::ConnectTimeout)?
            .map_err(ForwardError::Connect)?;
        Ok(Box::new(Self {
            wire: Rc::new(RefCell::new(Wire::new(stream))),
            read: BytesMut::new(),
            at_once: SHORT_READ,
            came: 0,
            is_bounded: false,
            heads: Heads::default(),
            content: Content::Over,
            persists: true,
            is_answered: false,
            asks_head: false,
            fields: HeaderMap::new(),
            line: None,
            interims: Interims::default(),
            progress: Progress::default(),
            timer: Box::pin(sleep(settings.response_timeout)),
        }))
    }

    /// Whether a request can be sent now: nothing is left of the latest one, and the other end has neither closed nor
    /// said anything unasked.
    pub(super) fn is_usable(&mut self) -> bool {
        self.seems_usable() && self.wire.borrow().is_silent()
    }

    /// Whether a request could be sent when it was last looked at.
    pub(super) fn seems_usable(&self) -> bool {
        self.persists && self.content.is_over() && self.read.is_empty() && self.wire.borrow().is_free()
    }

    /// Nobody waits for it.
    pub(super) fn rest(&mut self) {
        self.line = None;
        self.progress = Progress::default();
        if self.at_once > SHORT_READ {
            (self.read, self.at_once) = (BytesMut::new(), SHORT_READ);
        }
    }

    /// Puts a request on its way.
    pub(super) fn ask(&mut self, request: Outbound) {
        let Outbound { outgoing, fields, asks_head, progress, line } = request;
        self.wire.borrow_mut().begin(outgoing);
        (self.fields, self.asks_head) = (fields, asks_head);
        (self.progress, self.line) = (progress, line);
        self.expect_answer();
    }

    /// Whether its request may be put on its way once more.
    pub(super) fn may_be_asked_again(&self) -> bool {
        !self.is_answered && self.wire.borrow().outgoing.may_begin_again()
    }

    /// Puts the request on its way that another connection has got no answer to.
    pub(super) fn ask_again(&mut self, other: &mut Self) {
        (self.line, self.progress) = (other.line.take(), other.progress.clone());
        self.asks_head = other.asks_head;
        self.expect_answer();
        self.wire.borrow_mut().outgoing.begin_again(&mut other.wire.borrow_mut().outgoing);
    }

    fn expect_answer(&mut self) {
        (self.is_answered, self.came) = (false, 0);
        (self.heads, self.interims) = (Heads::default(), Interims::default());
    }

    /// Sends the request and waits for the head of its answer. What the instance says before it is told at once.
    pub(super) fn answer<'l>(
        &'l mut self,
        queue: &'l Rc<SendQueue>,
        head_timeout: Duration,
    ) -> impl Future<Output = Result<Response<()>, ForwardError>> {
        Answer { link: self, queue: Some(queue), since: Instant::now(), head_timeout }
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<()>, ForwardError>> {
        if self.wire.borrow_mut().waits(cx) {
            return Poll::Pending;
        }
        self.send(cx).map_err(ForwardError::of)?;
        if self.wire.borrow().is_spoilt() {
            return Poll::Ready(Err(ForwardError::Broken(self.closed())));
        }
        loop {
            let malformed = |why| ForwardError::Broken(ConnectionError::Malformed(why));
            while let Some((head, length)) =
                self.heads.next(&mut self.read, &mut self.fields).map_err(malformed)?
            {
                if !is_interim(head.status()) {
                    return Poll::Ready(self.begin_content(head));
                }
                if let Some(line) = &self.line {
                    self.interims.pass_on(head, length, line);
                }
            }
            match ready!(self.poll_read(cx)) {
                Ok(0) => return Poll::Ready(Err(ForwardError::Broken(self.closed()))),
                Ok(_) => self.is_answered = true,
                Err(error) => return Poll::Ready(Err(ForwardError::Broken(error.into()))),
            }
        }
    }

    fn send(&mut self, cx: &mut Context<'_>) -> Result<(), RequestBodyError> {
        self.wire.borrow_mut().send(cx)
    }

    /// Why nothing more comes, although the instance has closed in good order.
    fn closed(&mut self) -> ConnectionError {
        self.wire.borrow_mut().unsent.take().map_or(ConnectionError::Closed, ConnectionError::Io)
    }

    fn begin_content(&mut self, head: Response<()>) -> Result<Response<()>, ForwardError> {
        self.content = framing::content(&head, self.asks_head).map_err(ForwardError::Ambiguous)?;
        self.persists = framing::persists(&head);
        if self.content.size_hint().lower() > SHORT_READ as u64 {
            self.at_once = LONG_READ;
        }
        if self.content.size_hint().lower() > SHORT_ANSWER {
            self.bound();
        }
        Ok(head)
    }

    /// What comes next of the content. Sends meanwhile what is left of the request.
    pub(super) fn poll_content(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenBody>>> {
        if let Err(error) = self.send(cx) {
            return Poll::Ready(Some(Err(BrokenBody::Upload(error))));
        }
        loop {
            match self.content.next(&mut self.read) {
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(None) if self.content.is_over() => return Poll::Ready(None),
                Ok(None) => {}
                Err(why) => return Poll::Ready(Some(Err(ConnectionError::Malformed(why).into()))),
            }
            match ready!(self.poll_read(cx)) {
                // A write that was refused may have had the only sign that the instance broke off.
                Ok(0) if self.wire.borrow().unsent.is_some() || !self.content.close() => {
                    return Poll::Ready(Some(Err(self.closed().into())));
                }
                Ok(0) => self.persists = false,
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(ConnectionError::Io(error).into()))),
            }
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.content.is_over()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }

    /// Reads once. More is read at once where much comes, and less again where little does.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.read.capacity() - self.read.len() < SHORT_READ {
            self.read.reserve(self.at_once);
        }
        let room = self.at_once.min(self.read.capacity() - self.read.len());
        let mut limited = (&mut self.read).limit(room);
        let length = ready!(pin!(self.wire.borrow_mut().stream.read_buf(&mut limited)).poll(cx))?;
        if length == room {
            self.at_once = (self.at_once * 2).min(if self.is_bounded { BOUNDED_READ } else { LONG_READ });
        } else if length < self.at_once / 4 {
            self.at_once = (self.at_once / 2).max(SHORT_READ);
        }
        self.came += length as u64;
        if self.came > SHORT_ANSWER {
            self.bound();
        }
        Poll::Ready(Ok(length))
    }

    /// Bounds what is read and what the system takes ahead, the latter once and for all. Where it cannot be told so, it
    /// takes as much as it likes.
    fn bound(&mut self) {
        self.at_once = self.at_once.min(BOUNDED_READ);
        if !std::mem::replace(&mut self.is_bounded, true) {
            let _ = SockRef::from(&self.wire.borrow().stream).set_recv_buffer_size(RECEIVED_BYTES);
        }
    }

    /// The connection itself, once it has switched protocols, and what has come on it since. `None` while the
    /// request still waits to be sent: nothing can have been answered then.
    pub(super) fn into_stream(self) -> Option<(TcpStream, Bytes)> {
        // What is empty would keep its room.
        let ahead = if self.read.is_empty() { Bytes::new() } else { self.read.freeze() };
        Some((Rc::into_inner(self.wire)?.into_inner().stream, ahead))
    }
}

/// The wait for the head of an answer. Written out, since an `async` block would have room for the answer twice.
struct Answer<'l> {
    link: &'l mut Link,
    /// The one to get into.
    queue: Option<&'l Rc<SendQueue>>,
    since: Instant,
    head_timeout: Duration,
}

impl Future for Answer<'_> {
    type Output = Result<Response<()>, ForwardError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { link, queue, since, head_timeout } = self.get_mut();
        if let Some(queue) = queue.take() {
            queue.push(&link.wire, cx.waker());
        }
        if let Poll::Ready(answer) = link.poll_answer(cx) {
            return Poll::Ready(answer);
        }
        while link.timer.as_mut().poll(cx).is_ready() {
            // An upload that still moves is not an instance that hangs.
            let due = link.progress.latest().unwrap_or(*since) + *head_timeout;
            if Instant::now() >= due {
                return Poll::Ready(Err(ForwardError::HeadTimeout));
            }
            link.timer.as_mut().reset(due);
        }
        Poll::Pending
    }
}

async fn connect(settings: &Settings) -> io::Result<TcpStream> {
    let authority = &settings.authority;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let port = authority.port_u16().unwrap_or(80);
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Shows that a connection to the instance can be opened.
///
/// # Errors
/// Where none can be opened in time.
pub async fn reach(settings: &Settings) -> Result<(), ForwardError> {
    Link::open(settings).await.map(drop)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::{Read as _, Write as _};

    use hyper::Request;
    use tokio::task::LocalSet;

    use super::*;
    use crate::http::RequestBody;

    /// How much the system takes ahead, at most, once an answer of this length has come; `None`: as much as it likes.
    async fn taken_ahead(head: &'static str, length: u64) -> Option<usize> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("its address");
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let (mut read, mut buffer) = (Vec::new(), [0; 1024]);
            while !read.ends_with(b"\r\n\r\n") {
                let length = stream.read(&mut buffer).expect("a request");
                read.extend_from_slice(&buffer[..length]);
            }
            stream.write_all(head.as_bytes()).expect("a head");
            let _ = io::copy(&mut io::repeat(b'a').take(length), &mut stream);
        });
        let settings = Settings::patient(address);
        let mut link = Link::open(&settings).await.expect("a connection");
        link.ask(Outbound::new(Request::new(RequestBody::own(Bytes::new())), |_| ()));
        let queue = Rc::default();
        let answer = link.answer(&queue, settings.response_timeout);
        LocalSet::new().run_until(answer).await.expect("an answer");
        let mut came = 0;
        while let Some(frame) = poll_fn(|cx| link.poll_content(cx)).await {
            came += frame.expect("content").data_ref().map_or(0, Bytes::len) as u64;
        }
        assert_eq!(came, length);
        let size = SockRef::from(&link.wire.borrow().stream).recv_buffer_size().expect("its size");
        link.is_bounded.then_some(size)
    }

    #[tokio::test]
    async fn the_system_takes_less_of_a_long_answer_ahead() {
        let unsized_head = "HTTP/1.1 200 OK\r\n\r\n";
        let short = "HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n";
        let long = "HTTP/1.1 200 OK\r\nContent-Length: 20971520\r\n\r\n";
        assert_eq!(taken_ahead(short, SHORT_ANSWER / 2).await, None);
        for head in [long, unsized_head] {
            let bounded = taken_ahead(head, 10 * SHORT_ANSWER).await;
            // The system doubles what it is told, for its own needs.
            assert!(bounded.is_some_and(|bounded| bounded <= 2 * RECEIVED_BYTES), "{bounded:?}");
        }
    }
}
