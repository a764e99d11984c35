//! A connection's stream and what is still to be sent on it, and the line in which requests wait to be sent.
//!
//! First all requests that have come are judged, then all are sent, one behind the other. An instance that has nothing
//! to do sleeps, and to wake it is a fifth of what a request costs: so it is woken once for all of them.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use tokio::net::TcpStream;

use super::outgoing::{Outgoing, Unsent};
use crate::http::RequestBodyError;

/// The wire of a link, which its line may hold for a moment, too.
pub(super) type Shared = Rc<RefCell<Wire>>;

/// A connection's stream, and what is still to be sent on it.
pub(super) struct Wire {
    pub(super) stream: TcpStream,
    pub(super) outgoing: Outgoing,
    /// Why no more of the request could be sent.
    pub(super) unsent: Option<io::Error>,
    /// Whether the request waits to be sent with others.
    is_in_line: bool,
}

impl Wire {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, outgoing: Outgoing::default(), unsent: None, is_in_line: false }
    }

    /// Another request is to be sent.
    pub(super) fn begin(&mut self, outgoing: Outgoing) {
        (self.outgoing, self.unsent, self.is_in_line) = (outgoing, None, false);
    }

    /// Whether nothing came, and the other end has not closed.
    pub(super) fn is_silent(&self) -> bool {
        let nothing_came = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
        self.stream.try_read(&mut [0]).is_err_and(nothing_came)
    }

    /// Whether another request could be sent.
    pub(super) fn is_free(&self) -> bool {
        self.outgoing.is_sent() && self.unsent.is_none()
    }

    /// Whether no byte of the request will be sent: what is said now is no answer to it.
    pub(super) fn is_spoilt(&self) -> bool {
        self.unsent.is_some() && self.outgoing.is_untouched()
    }

    /// Whether the request waits to be sent. Then whoever polls is woken once something comes, or once it is seen that
    /// it was not sent.
    pub(super) fn waits(&self, cx: &mut Context<'_>) -> bool {
        if self.is_in_line {
            let _ = self.stream.poll_read_ready(cx);
        }
        self.is_in_line
    }

    /// Sends as much of the request as can be. Where the connection takes no more of it, there may still be an answer.
    pub(super) fn send(&mut self, cx: &mut Context<'_>) -> Result<(), RequestBodyError> {
        if self.outgoing.is_over() || self.unsent.is_some() {
            return Ok(());
        }
        match self.outgoing.poll(&mut self.stream, cx) {
            Poll::Pending | Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(Unsent::Content(error))) => return Err(error),
            Poll::Ready(Err(Unsent::Connection(error))) => self.unsent = Some(error),
        }
        Ok(())
    }

    /// Sends a request that waited; tells whether all of it is sent.
    fn leave_line(&mut self) -> bool {
        self.is_in_line = false;
        if !self.is_silent() {
            self.unsent = Some(io::ErrorKind::ConnectionAborted.into());
            return false;
        }
        self.outgoing.try_send(&self.stream)
    }
}

/// One worker's requests to one instance that wait to be sent.
#[derive(Default)]
pub(super) struct Line {
    waiting: RefCell<Vec<(Shared, Waker)>>,
    /// Wakes the task that sends them, once there is one.
    sender: RefCell<Option<Waker>>,
}

/// What waits is the clients' affair.
impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Line")
    }
}

impl Line {
    /// Puts a request behind the others, if its head is all of it. Whoever waits for its answer need not be woken to
    /// send it. All are sent when everything that was ready to run before has run.
    pub(super) fn put(self: &Rc<Self>, wire: &Shared, waker: &Waker) {
        if wire.borrow().outgoing.has_content() {
            return;
        }
        wire.borrow_mut().is_in_line = true;
        let mut waiting = self.waiting.borrow_mut();
        waiting.push((Rc::clone(wire), waker.clone()));
        if waiting.len() > 1 {
            return;
        }
        match &*self.sender.borrow() {
            Some(sender) => sender.wake_by_ref(),
            None => drop(tokio::task::spawn_local(send(Rc::downgrade(self)))),
        }
    }

    fn poll_send(&self, cx: &mut Context<'_>) {
        if self.sender.borrow().as_ref().is_none_or(|sender| !sender.will_wake(cx.waker())) {
            self.sender.replace(Some(cx.waker().clone()));
        }
        let mut waiting = self.waiting.borrow_mut();
        let next = waiting.len().min(AT_ONCE);
        for (wire, waker) in waiting.drain(..next) {
            // Nobody waits any more for the answer to one that the line alone still holds.
            if Rc::strong_count(&wire) > 1 && !wire.borrow_mut().leave_line() {
                waker.wake();
            }
        }
        if !waiting.is_empty() {
            cx.waker().wake_by_ref();
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(sender) = self.sender.take() {
            sender.wake();
        }
    }
}

/// Sends what waits in the line, as long as there is one.
fn send(line: Weak<Line>) -> impl Future<Output = ()> {
    poll_fn(move |cx| {
        line.upgrade().map_or(Poll::Ready(()), |line| {
            line.poll_send(cx);
            Poll::Pending
        })
    })
}

/// Requests that are sent before others may run again.
const AT_ONCE: usize = 64;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hyper::Request;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;
    use tokio::task::LocalSet;

    use super::super::outbound::Outbound;
    use super::*;
    use crate::http::RequestBody;

    /// Both ends of a connection, on one of which a request is to be sent.
    async fn wire() -> (Shared, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let address = listener.local_addr().expect("its address");
        let (stream, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let mut wire = Wire::new(stream.expect("a connection"));
        let request = Request::new(RequestBody::own(Bytes::new()));
        wire.begin(Outbound::new(request, |_| ()).outgoing);
        (Rc::new(RefCell::new(wire)), accepted.expect("a connection").0)
    }

    async fn on_a_worker(work: impl Future<Output = ()> + 'static) {
        LocalSet::new().run_until(async { tokio::task::spawn_local(work).await.expect("done") }).await;
    }

    const HEAD: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

    #[tokio::test]
    async fn all_who_are_in_line_are_sent() {
        on_a_worker(async {
            let line = Rc::new(Line::default());
            let mut all = Vec::new();
            for _ in 0..3 * AT_ONCE / 2 {
                let (wire, instance) = wire().await;
                all.push((wire, instance));
            }
            for (wire, _) in &all {
                line.put(wire, Waker::noop());
                assert!(wire.borrow().outgoing.is_untouched());
            }
            for (wire, mut instance) in all {
                let mut came = [0; HEAD.len()];
                instance.read_exact(&mut came).await.expect("a request");
                assert_eq!(came, HEAD);
                assert!(wire.borrow().is_free());
            }
        })
        .await;
    }

    #[tokio::test]
    async fn a_request_is_not_sent_where_something_came_before_it() {
        on_a_worker(async {
            for closes in [false, true] {
                let (wire, mut instance) = wire().await;
                if closes {
                    drop(instance);
                } else {
                    tokio::io::AsyncWriteExt::write_all(&mut instance, b"HTTP/1.1 200 OK\r\n\r\n")
                        .await
                        .expect("written");
                }
                let something_came = poll_fn(|cx| wire.borrow().stream.poll_read_ready(cx));
                something_came.await.expect("it came");
                let line = Rc::new(Line::default());
                line.put(&wire, Waker::noop());
                tokio::task::yield_now().await;
                assert!(wire.borrow().is_spoilt(), "{closes}");
                assert!(wire.borrow().outgoing.may_begin_again(), "{closes}");
            }
        })
        .await;
    }

    #[tokio::test]
    async fn a_request_that_nobody_waits_for_is_not_sent() {
        on_a_worker(async {
            let (wire, mut instance) = wire().await;
            let line = Rc::new(Line::default());
            line.put(&wire, Waker::noop());
            drop(wire);
            let mut came = Vec::new();
            instance.read_to_end(&mut came).await.expect("closed");
            assert_eq!(came, b"");
        })
        .await;
    }

    #[tokio::test]
    async fn whoever_sends_what_is_in_line_ends_with_the_line() {
        let tasks = LocalSet::new();
        let sent = tasks.run_until(async {
            let line = Rc::new(Line::default());
            let (wire, mut instance) = wire().await;
            line.put(&wire, Waker::noop());
            instance.read_exact(&mut [0; HEAD.len()]).await.expect("a request");
        });
        sent.await;
        tokio::time::timeout(std::time::Duration::from_secs(20), tasks).await.expect("no task is left");
    }
}
