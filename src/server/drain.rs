//! Who is connected to a worker: counted, and told when the worker drains.
//!
//! Does not close anything itself: each connection knows best how its protocol says goodbye.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};

use tokio::sync::Notify;

/// What a drain came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drained {
    /// Connections that ended by themselves in time.
    pub finished: usize,
    /// Connections that were cut because the time was over.
    pub cut: usize,
}

impl std::ops::Add for Drained {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { finished: self.finished + other.finished, cut: self.cut + other.cut }
    }
}

/// How many connections one worker has open.
#[derive(Debug, Default)]
pub(super) struct Occupancy {
    open: AtomicUsize,
    emptied: Notify,
}

impl Occupancy {
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    pub(super) fn enter(&self) {
        self.open.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn leave(&self) {
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.emptied.notify_one();
        }
    }

    /// Resolves once no connection is open.
    pub(super) async fn empty(&self) {
        while self.open() > 0 {
            self.emptied.notified().await;
        }
    }
}

/// One worker's connections, to be told of the drain.
#[derive(Debug, Default)]
pub(super) struct Roster {
    draining: Cell<bool>,
    next: Cell<u64>,
    wakers: RefCell<HashMap<u64, Waker>>,
}

impl Roster {
    /// A connection's place among those that are told.
    pub(super) fn seat(self: &Rc<Self>) -> Seat {
        let id = self.next.get();
        self.next.set(id.wrapping_add(1));
        Seat { roster: Rc::clone(self), id, registered: None }
    }

    /// Tells every connection, those to come included.
    pub(super) fn drain(&self) {
        self.draining.set(true);
        let wakers = std::mem::take(&mut *self.wakers.borrow_mut());
        for waker in wakers.into_values() {
            waker.wake();
        }
    }
}

/// A connection's place in the [`Roster`].
#[derive(Debug)]
pub(super) struct Seat {
    roster: Rc<Roster>,
    id: u64,
    registered: Option<Waker>,
}

impl Seat {
    /// Whether the worker drains; if not yet, the task is woken when it does.
    pub(super) fn draining(&mut self, cx: &Context<'_>) -> bool {
        if self.roster.draining.get() {
            return true;
        }
        if !self.registered.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.registered = Some(cx.waker().clone());
            self.roster.wakers.borrow_mut().insert(self.id, cx.waker().clone());
        }
        false
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.roster.wakers.borrow_mut().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn an_empty_worker_is_seen_when_the_last_connection_ends() {
        let worker = Occupancy::default();
        worker.enter();
        let (_, ()) = tokio::join!(worker.empty(), async { worker.leave() });
        assert_eq!(worker.open(), 0);
    }

    #[test]
    fn a_drain_wakes_seats_and_later_seats_see_it_at_once() {
        let roster = Rc::new(Roster::default());
        let context = Context::from_waker(Waker::noop());
        let mut seat = roster.seat();
        assert!(!seat.draining(&context));
        assert_eq!(roster.wakers.borrow().len(), 1);
        roster.drain();
        assert!(seat.draining(&context));
        assert!(roster.seat().draining(&context));
        drop(seat);
        assert!(roster.wakers.borrow().is_empty());
    }
}
