//! Drives one HTTP connection until it ends, or until one of its limits or the drain asks for its end.
//!
//! Only says what happened: what follows from it is the protocol's matter.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;

use tokio::time::{Instant, sleep_until};

use super::activity::{Activity, Due, Patience};
use super::drain::Seat;

/// Why a connection is no longer driven.
#[derive(Debug)]
pub(super) enum End {
    /// It ended by itself.
    Closed(hyper::Result<()>),
    /// It had no request for a while: it is between two of them, nothing is half read or half written.
    Doze,
    /// It had no request for too long.
    Idle,
    /// A request's head took too long.
    SlowHead,
    /// The worker drains.
    Draining,
}

/// Polls the connection; its one timer is armed anew only when it fires, or when a deadline comes
/// nearer, which for whole requests it never does.
pub(super) async fn drive<C>(
    connection: &mut C,
    activity: &Activity,
    seat: &mut Seat,
    patience: Patience,
) -> End
where
    C: Future<Output = hyper::Result<()>> + Unpin,
{
    let mut timer = pin!(sleep_until(activity.idle_since() + patience.doze.unwrap_or(patience.idle)));
    poll_fn(|cx| {
        // Told before its response is written, a connection can say in it that it will close. An idle
        // one is polled first: a request that has already come in is still answered.
        if activity.busy() && seat.draining(cx) {
            return Poll::Ready(End::Draining);
        }
        if let Poll::Ready(result) = Pin::new(&mut *connection).poll(cx) {
            return Poll::Ready(End::Closed(result));
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
            match activity.due(&patience, Instant::now()) {
                Due::Later(at) => timer.as_mut().reset(at),
                Due::Doze => return Poll::Ready(End::Doze),
                Due::Idle => return Poll::Ready(End::Idle),
                Due::SlowHead => return Poll::Ready(End::SlowHead),
            }
        }
        Poll::Pending
    })
    .await
}
