//! Drives one HTTP connection until it ends, or until one of its limits or the drain asks for its end.
//!
//! Only says what happened: what follows from it is the protocol's matter.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use tokio::time::{Instant, sleep_until};

use super::activity::{Activity, Due, Patience};
use super::drain::Seat;
use super::unreadable::Unreadable;
use crate::http::Line;

/// Why a connection is no longer driven.
#[derive(Debug)]
pub(super) enum End<E> {
    /// It ended by itself.
    Closed(Result<(), E>),
    /// It had no request for a while: it is between two of them, nothing is half read or half written.
    Doze,
    /// It had no request for too long.
    Idle,
    /// A request's head took too long.
    SlowHead,
    /// The client has not read what waits for it.
    Unread,
    /// It is old enough.
    Aged,
    /// The worker drains.
    Draining,
    /// Its line was cut.
    Cut,
    /// What came is no request, and all before it is answered.
    Unreadable(Unreadable),
}

/// What is looked at beside the connection.
pub(super) struct Watch<'c> {
    pub(super) activity: &'c Activity,
    pub(super) patience: Patience,
    /// When it is old enough to be told so.
    pub(super) until: Option<Instant>,
    /// The line that the whole connection hangs by, where there is one.
    pub(super) line: Option<&'c Line>,
}

impl Watch<'_> {
    fn is_cut(&self, cx: &Context<'_>) -> bool {
        self.line.is_some_and(|line| line.is_cut(cx))
    }
}

/// Polls the connection; its one timer is armed anew only when it fires, or when a deadline comes
/// nearer, which for whole requests it never does.
pub(super) async fn drive<C, E>(connection: &mut C, seat: &mut Seat, watch: Watch<'_>) -> End<E>
where
    C: Future<Output = Result<(), E>> + Unpin,
{
    let Watch { activity, patience, until, .. } = watch;
    let by_then = |at: Instant| until.map_or(at, |until| at.min(until));
    let first_look = activity.idle_since() + patience.doze.unwrap_or(patience.idle);
    let mut timer = pin!(sleep_until(by_then(first_look)));
    poll_fn(|cx| {
        if watch.is_cut(cx) {
            return Poll::Ready(End::Cut);
        }
        // Told before its response is written, a connection can say in it that it will close. An idle
        // one is polled first: a request that has already come in is still answered.
        if activity.busy() && seat.draining(cx) {
            return Poll::Ready(End::Draining);
        }
        if let Poll::Ready(result) = Pin::new(&mut *connection).poll(cx) {
            return Poll::Ready(End::Closed(result));
        }
        if let Some(why) = activity.unreadable() {
            return Poll::Ready(End::Unreadable(why));
        }
        if seat.draining(cx) {
            return Poll::Ready(End::Draining);
        }
        if let Some(deadline) = activity.deadline(&patience)
            && deadline < timer.deadline()
        {
            timer.as_mut().reset(deadline);
        }
        while timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            match activity.due(&patience, now) {
                Due::Later(_) if until.is_some_and(|until| until <= now) => return Poll::Ready(End::Aged),
                Due::Later(at) => timer.as_mut().reset(by_then(at)),
                Due::Doze => return Poll::Ready(End::Doze),
                Due::Idle => return Poll::Ready(End::Idle),
                Due::SlowHead => return Poll::Ready(End::SlowHead),
                Due::Unread => return Poll::Ready(End::Unread),
            }
        }
        Poll::Pending
    })
    .await
}

/// Polls a connection that is to end by itself; says how it did.
pub(super) async fn drive_to_its_end<C, E>(connection: &mut C, activity: &Activity, line: &Line) -> End<E>
where
    C: Future<Output = Result<(), E>> + Unpin,
{
    poll_fn(|cx| {
        if line.is_cut(cx) {
            return Poll::Ready(End::Cut);
        }
        match Pin::new(&mut *connection).poll(cx) {
            Poll::Ready(result) => Poll::Ready(End::Closed(result)),
            Poll::Pending => {
                activity.unreadable().map_or(Poll::Pending, |why| Poll::Ready(End::Unreadable(why)))
            }
        }
    })
    .await
}
