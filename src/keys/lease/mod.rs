//! For how long what is remembered may be believed: a lease over the store's change log.
//!
//! Several gateways share a store, and each remembers verdicts. What changes is appended to one log, in
//! order. A gateway may use what it remembers only under a lease, and it renews its lease by reading the
//! log: what is new is applied first, then the lease is extended. So who revokes a key knows that it is
//! refused everywhere once every gateway has said that it read so far, or the leases that were running have
//! run out. (The construction: Gray and Cheriton, "Leases", 1989.)
//!
//! The parts here are pure: time and answers are passed in. Neither sockets nor Redis are known here, and
//! `tests/model.rs` puts the same parts through every order of events.

mod clock;
mod follower;
mod spread;

pub use clock::Moment;
pub use follower::{Asked, Due, Follower, Heard, Order, Renewed};
pub use spread::{Judgement, Replica, Waited, Whom, judge};

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Until when what is remembered may be used. One for a process; read on every hit, for one load.
#[derive(Debug)]
pub struct Lease {
    until: AtomicU64,
}

impl Lease {
    /// Of a process that has the store for itself: it never ends.
    #[must_use]
    pub fn perpetual() -> Self {
        Self { until: AtomicU64::new(u64::MAX) }
    }

    /// Not granted yet.
    #[must_use]
    pub fn none() -> Self {
        Self { until: AtomicU64::new(0) }
    }

    /// Whether it runs at `now`.
    ///
    /// To be asked before what is remembered is looked at: what was applied before an extension was spoiled before
    /// it, and is seen by whoever has seen the extension. An older value only ends the lease sooner.
    #[must_use]
    pub fn holds(&self, now: Moment) -> bool {
        now.nanos() < self.until.load(Ordering::Acquire)
    }

    /// Whether it ended no longer ago than that.
    #[must_use]
    pub fn held_within(&self, grace: Duration, now: Moment) -> bool {
        let until = self.until.load(Ordering::Relaxed);
        until != 0 && now < Moment::from_nanos(until) + grace
    }

    /// Has it run until then. Only what [`Follower::applied`] gives may be passed.
    pub fn extend(&self, until: Moment) {
        self.until.fetch_max(until.nanos(), Ordering::Release);
    }

    /// Ends it now: nothing remembered is used until it is granted again.
    pub fn end(&self) {
        self.until.store(0, Ordering::Release);
    }
}

/// The id of an entry in the change log, in the order of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EntryId {
    /// The store's milliseconds, when it was appended.
    pub millis: u64,
    /// Its number among those of the same millisecond.
    pub number: u64,
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.millis, self.number)
    }
}

impl FromStr for EntryId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (millis, number) = text.split_once('-').ok_or(())?;
        Ok(Self { millis: millis.parse().map_err(drop)?, number: number.parse().map_err(drop)? })
    }
}

/// A place in the change log. Ids alone do not tell entries of two histories apart: a server that took over
/// without the last entries gives their ids out anew. So the name of the call that wrote an entry belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Position {
    /// The entry's id; 0-0: before the first.
    pub id: EntryId,
    /// The name of the call that wrote it.
    pub call: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_ends_by_itself_and_is_never_shortened_by_a_late_renewal() {
        let (lease, second) = (Lease::none(), Duration::from_secs(1));
        let start = Moment::from_nanos(1_000_000_000);
        assert!(!lease.holds(start));
        lease.extend(start + second);
        lease.extend(start);
        assert!(lease.holds(start) && !lease.holds(start + second));
        assert!(lease.held_within(second, start + second) && !lease.held_within(second, start + 2 * second));
        lease.end();
        assert!(!lease.holds(start) && !lease.held_within(second, start));
        assert!(Lease::perpetual().holds(start + 1_000_000 * second));
    }

    #[test]
    fn ids_are_read_back_and_in_the_order_of_the_log() {
        let ids = ["0-0", "5-0", "5-7", "5-10", "40-1"].map(|text| text.parse::<EntryId>().expect(text));
        assert!(ids.is_sorted());
        assert_eq!(ids[3].to_string(), "5-10");
        for wrong in ["", "5", "5-", "-5", "5-x", "5-1-1", "99999999999999999999-0"] {
            assert!(wrong.parse::<EntryId>().is_err(), "{wrong}");
        }
    }
}
