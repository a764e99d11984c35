//! How slowly a client may send the content of a request.
//!
//! Only the time in which the gateway waits for the client counts: an upload that the instance takes slowly is not
//! slow itself, since nobody asks its client for more meanwhile.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// The least that a client must send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Floor {
    /// On average.
    pub bytes_per_second: u64,
    /// How far it may fall behind.
    pub patience: Duration,
}

/// How far one client is from its floor.
///
/// It has time to spend, at first all of [`Floor::patience`] and never more: waiting for it costs what it takes,
/// and each byte earns its part of a second.
#[derive(Debug)]
pub(super) struct Pace {
    floor: Floor,
    left: Duration,
    since: Option<Instant>,
    /// Made when the client is first waited for, so that content that is there already costs nothing.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    pub(super) fn new(floor: Floor) -> Self {
        Self { floor, left: floor.patience, since: None, timer: None }
    }

    /// The client is waited for; whether for too long.
    pub(super) fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        if self.since.is_none() {
            let now = Instant::now();
            self.since = Some(now);
            let until = now + self.left;
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(until),
                None => self.timer = Some(Box::pin(sleep_until(until))),
            }
        }
        self.timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx) == Poll::Ready(()))
    }

    /// Something has come.
    pub(super) fn came(&mut self, bytes: usize) {
        let Some(since) = self.since.take() else { return };
        self.spend_and_earn(since.elapsed(), bytes as u64);
    }

    fn spend_and_earn(&mut self, waited: Duration, bytes: u64) {
        let rate = self.floor.bytes_per_second.max(1);
        let earned = Duration::from_micros(bytes.saturating_mul(1_000_000) / rate);
        let left = self.left.saturating_sub(waited).saturating_add(earned);
        self.left = left.min(self.floor.patience);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOR: Floor = Floor { bytes_per_second: 1024, patience: Duration::from_secs(30) };

    /// How many of these waits a client that sends so much after each of them gets.
    fn lasts(waits: Duration, bytes: u64) -> usize {
        let mut pace = Pace::new(FLOOR);
        let mut count = 0;
        while pace.left >= waits && count < 10_000 {
            pace.spend_and_earn(waits, bytes);
            count += 1;
        }
        count
    }

    #[test]
    fn who_sends_at_the_floor_may_go_on_for_ever_and_who_sends_less_may_not() {
        assert_eq!(lasts(Duration::from_secs(1), 1024), 10_000);
        assert_eq!(lasts(Duration::from_secs(20), 20 * 1024), 10_000);
        assert_eq!(lasts(Duration::from_secs(1), 512), 59);
        assert_eq!(lasts(Duration::from_secs(1), 1), 30);
    }

    #[test]
    fn what_was_sent_before_buys_no_more_than_the_patience() {
        let mut pace = Pace::new(FLOOR);
        pace.spend_and_earn(Duration::ZERO, 1 << 30);
        assert_eq!(pace.left, FLOOR.patience);
        pace.spend_and_earn(Duration::from_secs(31), 1024);
        assert_eq!(pace.left, Duration::from_secs(1), "it sent something, and is heard");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn only_waiting_counts() {
        let patience = Duration::from_millis(50);
        let mut pace = Pace::new(Floor { patience, ..FLOOR });
        tokio::time::sleep(patience * 2).await;
        pace.came(1);
        assert_eq!(pace.left, patience, "nobody waited");
        std::future::poll_fn(|cx| if pace.is_over(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
        assert!(pace.since.is_some_and(|since| since.elapsed() >= patience));
        pace.came(1);
        assert!(pace.left < patience / 2);
    }
}
