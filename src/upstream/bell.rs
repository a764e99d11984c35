//! Whom a connection to an instance wakes: the task that waits for it, unless that is the one that rings.
//!
//! hyper's connection, its response and its body wake each other, as if they were driven by different tasks. Here one
//! task drives all of them, and looks at each of them when any has moved; woken by itself, it would run once more for
//! each exchange, for nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// A connection's waker, which stays the same whoever waits.
#[derive(Debug)]
pub(super) struct Bell {
    line: Arc<Line>,
    waker: Waker,
}

#[derive(Debug)]
struct Line {
    waits: Mutex<Waker>,
    attended: AtomicBool,
    rung: AtomicBool,
}

/// The task is at the door: nobody has to wake it.
pub(super) struct Attended<'b> {
    line: &'b Line,
    waker: &'b Waker,
}

impl Bell {
    pub(super) fn new() -> Self {
        let (attended, rung) = (AtomicBool::new(false), AtomicBool::new(false));
        let line = Arc::new(Line { waits: Mutex::new(Waker::noop().clone()), attended, rung });
        let waker = Waker::from(Arc::clone(&line));
        Self { line, waker }
    }

    /// This task waits from now on, and looks after everything itself until [`Attended::leave`].
    pub(super) fn attend(&self, cx: &Context<'_>) -> Attended<'_> {
        self.line.wait(cx.waker());
        self.line.attended.store(true, Ordering::SeqCst);
        self.line.rung.store(false, Ordering::SeqCst);
        Attended { line: &self.line, waker: &self.waker }
    }

    /// Nobody waits.
    pub(super) fn rest(&self) {
        self.line.wait(Waker::noop());
    }
}

impl Attended<'_> {
    /// With what everything is polled that is looked after.
    pub(super) fn context(&self) -> Context<'_> {
        Context::from_waker(self.waker)
    }

    /// Everything that has rung until now is looked at next.
    pub(super) fn looked(&self) {
        self.line.rung.store(false, Ordering::SeqCst);
    }

    /// The task leaves with this. Where it goes on waiting although somebody has rung, it is woken: what rang may have
    /// put off something that it has to do.
    pub(super) fn leave<T>(self, polled: Poll<T>, cx: &Context<'_>) -> Poll<T> {
        self.line.attended.store(false, Ordering::SeqCst);
        // Only now: who rings from elsewhere is seen here, or sees that nobody attends any more.
        if self.line.rung.swap(false, Ordering::SeqCst) && polled.is_pending() {
            cx.waker().wake_by_ref();
        }
        polled
    }
}

impl Line {
    fn wait(&self, waker: &Waker) {
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        if !waits.will_wake(waker) {
            waits.clone_from(waker);
        }
    }
}

impl Wake for Line {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::SeqCst);
        if !self.attended.load(Ordering::SeqCst) {
            self.waits.lock().unwrap_or_else(PoisonError::into_inner).wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn task() -> (Arc<Count>, Waker) {
        let count = Arc::<Count>::default();
        (Arc::clone(&count), Waker::from(count))
    }

    #[test]
    fn who_rings_while_nobody_attends_wakes_the_one_that_waits() {
        let (bell, (count, waker)) = (Bell::new(), task());
        bell.waker.wake_by_ref();
        let cx = Context::from_waker(&waker);
        assert!(bell.attend(&cx).leave(Poll::<()>::Pending, &cx).is_pending());
        assert_eq!(count.0.load(Ordering::SeqCst), 0, "what rang before is looked at now");
        bell.waker.wake_by_ref();
        Waker::from(Arc::clone(&bell.line)).wake();
        assert_eq!(count.0.load(Ordering::SeqCst), 2);
        bell.rest();
        bell.waker.wake_by_ref();
        assert_eq!(count.0.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_task_is_not_woken_by_what_it_looks_at_itself() {
        let (bell, (count, waker)) = (Bell::new(), task());
        let cx = Context::from_waker(&waker);
        let attended = bell.attend(&cx);
        attended.context().waker().wake_by_ref();
        assert!(attended.leave(Poll::Ready(()), &cx).is_ready());
        let attended = bell.attend(&cx);
        attended.context().waker().wake_by_ref();
        attended.looked();
        assert!(attended.leave(Poll::<()>::Pending, &cx).is_pending());
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_task_that_goes_on_waiting_hears_what_rang_last() {
        let (bell, (count, waker)) = (Bell::new(), task());
        let cx = Context::from_waker(&waker);
        let attended = bell.attend(&cx);
        attended.looked();
        attended.context().waker().wake_by_ref();
        assert!(attended.leave(Poll::<()>::Pending, &cx).is_pending());
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }
}
