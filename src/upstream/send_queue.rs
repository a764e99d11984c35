//! Requests that wait to be sent, one behind the other.
//!
//! First all requests that have come are judged, then all are sent. An instance that has nothing to do sleeps, and to wake
//! it is a fifth of what a request costs: so it is woken once for all of them.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use super::wire::SharedWire;

/// One worker's requests to one instance that wait to be sent.
#[derive(Default)]
pub(super) struct SendQueue {
    waiting: RefCell<Vec<(SharedWire, Waker)>>,
    /// Wakes the task that sends them, once there is one.
    sender: RefCell<Option<Waker>>,
}

/// What waits is the clients' affair.
impl std::fmt::Debug for SendQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SendQueue")
    }
}

impl SendQueue {
    /// Puts a request behind the others, if its head is all of it. Whoever waits for its answer need not be woken to
    /// send it. All are sent when everything that was ready to run before has run.
    pub(super) fn push(self: &Rc<Self>, wire: &SharedWire, waker: &Waker) {
        if wire.borrow().outgoing.has_content() {
            return;
        }
        wire.borrow_mut().is_queued = true;
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
            // Nobody waits any more for the answer to one that the queue alone still holds.
            if Rc::strong_count(&wire) > 1 && !wire.borrow_mut().send_queued() {
                waker.wake();
            }
        }
        if !waiting.is_empty() {
            cx.waker().wake_by_ref();
        }
    }
}

impl Drop for SendQueue {
    fn drop(&mut self) {
        if let Some(sender) = self.sender.take() {
            sender.wake();
        }
    }
}

/// Sends what waits in the queue, as long as there is one.
fn send(queue: Weak<SendQueue>) -> impl Future<Output = ()> {
    poll_fn(move |cx| {
        queue.upgrade().map_or(Poll::Ready(()), |queue| {
            queue.poll_send(cx);
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
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::task::LocalSet;

    use super::super::outbound::Outbound;
    use super::super::wire::Wire;
    use super::*;
    use crate::http::RequestBody;

    /// Both ends of a connection, on one of which a request is to be sent.
    async fn wire() -> (SharedWire, TcpStream) {
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
    async fn all_who_are_queued_are_sent() {
        on_a_worker(async {
            let queue = Rc::new(SendQueue::default());
            let mut all = Vec::new();
            for _ in 0..3 * AT_ONCE / 2 {
                let (wire, instance) = wire().await;
                all.push((wire, instance));
            }
            for (wire, _) in &all {
                queue.push(wire, Waker::noop());
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
                    instance.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.expect("written");
                }
                let something_came = poll_fn(|cx| wire.borrow().stream.poll_read_ready(cx));
                something_came.await.expect("it came");
                let queue = Rc::new(SendQueue::default());
                queue.push(&wire, Waker::noop());
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
            let queue = Rc::new(SendQueue::default());
            queue.push(&wire, Waker::noop());
            drop(wire);
            let mut came = Vec::new();
            instance.read_to_end(&mut came).await.expect("closed");
            assert_eq!(came, b"");
        })
        .await;
    }

    #[tokio::test]
    async fn whoever_sends_what_is_queued_ends_with_the_queue() {
        let tasks = LocalSet::new();
        let sent = tasks.run_until(async {
            let queue = Rc::new(SendQueue::default());
            let (wire, mut instance) = wire().await;
            queue.push(&wire, Waker::noop());
            instance.read_exact(&mut [0; HEAD.len()]).await.expect("a request");
        });
        sent.await;
        tokio::time::timeout(std::time::Duration::from_secs(20), tasks).await.expect("no task is left");
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_by_the_answer_even_where_something_seemed_to_have_come_before() {
        on_a_worker(async {
            let queue = Rc::new(SendQueue::default());
            let (wire, mut instance) = wire().await;
            instance.write_all(b"a").await.expect("written");
            poll_fn(|cx| wire.borrow().stream.poll_read_ready(cx)).await.expect("it came");
            // All of it is read, but not seen to be all.
            wire.borrow().stream.try_read(&mut [0]).expect("a byte");
            let (waiting, mut is_pushed) = (Rc::clone(&wire), false);
            let answered = tokio::task::spawn_local(poll_fn(move |cx| {
                if !std::mem::replace(&mut is_pushed, true) {
                    queue.push(&waiting, cx.waker());
                }
                if waiting.borrow_mut().waits(cx) { Poll::Pending } else { Poll::Ready(()) }
            }));
            instance.read_exact(&mut [0; HEAD.len()]).await.expect("a request");
            instance.write_all(b"b").await.expect("written");
            let patience = std::time::Duration::from_secs(10);
            tokio::time::timeout(patience, answered).await.expect("woken").expect("done");
        })
        .await;
    }
}
