//! How a gateway follows the change log, and when that gives it a lease. Pure: it is told the time and the
//! store's answers, and says what is to be done.
//!
//! A renewal has three parts that cannot be done in another order: [`Follower::ask`] notes the time *before*
//! the store is asked, [`Follower::hear`] says what is to be applied, and only [`Follower::applied`], which
//! takes what was heard, tells until when the lease runs.

use std::time::Duration;

use super::{Moment, Position};

/// Follows the log, for one process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Follower<C> {
    term: Duration,
    margin: Duration,
    /// Up to where everything is applied; `None`: nothing that is remembered may be believed.
    position: Option<Position>,
    /// Which store was followed at first.
    store: Option<u64>,
    change: std::marker::PhantomData<C>,
}

/// A renewal that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Asked {
    at: Moment,
    /// Up to where everything is applied; `None`: this process begins to follow.
    pub position: Option<Position>,
    /// The name of the store that is followed, where that is known.
    pub store: Option<u64>,
}

/// What the store answered to a renewal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Renewed<C> {
    /// Nobody else uses the store.
    Alone,
    /// The process follows from here on.
    Joined {
        /// The store's own name, made when it was first used.
        store: u64,
        /// The log's last entry.
        last: Position,
    },
    /// What came after the position, in order.
    Follows {
        /// The entries.
        entries: Vec<(Position, C)>,
        /// Whether these are only the first of them.
        more: bool,
    },
    /// The position is not in the log.
    Lost {
        /// Whether it was just too old to be kept. Otherwise the log is another one, or has lost its end.
        trimmed: bool,
    },
}

/// What is to be done with what is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Order<C> {
    /// Nothing: there is nobody whose changes could be missed.
    Nothing,
    /// Apply these changes, in order.
    Apply {
        /// The changes.
        changes: Vec<C>,
        /// Whether there are more, without which no lease is granted.
        more: bool,
    },
    /// Believe nothing that is remembered but what is refused, and ask to follow anew.
    Forget {
        /// Whether the store has lost what it once held, so that refusals are to be written again.
        write_again: bool,
    },
    /// The process follows from here on: nothing that was remembered before may be believed, and what is
    /// refused is read anew.
    Begin {
        /// Whether this is another store than the one that was followed at first.
        another: bool,
    },
}

/// An answer that is not applied yet.
#[must_use = "nothing is extended before what was heard is applied"]
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Heard<C> {
    /// What is to be done first.
    pub order: Order<C>,
    at: Moment,
    next: Option<Position>,
    store: Option<u64>,
}

/// When to renew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Due {
    /// At once: there may be more, and others wait to hear how far this process has come.
    Now,
    /// A quarter of the term later.
    Later,
    /// Never: nobody else uses the store.
    Never,
}

impl<C> Follower<C> {
    /// Leases are for so long, counted from before they were asked for, less a tenth for the drift of clocks.
    #[must_use]
    pub fn new(term: Duration) -> Self {
        Self { term, margin: term / 10, position: None, store: None, change: std::marker::PhantomData }
    }

    /// How long a lease is, as the store is told.
    #[must_use]
    pub fn term(&self) -> Duration {
        self.term
    }

    /// Begins a renewal.
    #[must_use]
    pub fn ask(&self, now: Moment) -> Asked {
        Asked { at: now, position: self.position, store: self.store }
    }

    /// Hears the answer to that.
    pub fn hear(&self, asked: Asked, renewed: Renewed<C>) -> Heard<C> {
        let (at, kept) = (asked.at, self.store);
        match renewed {
            Renewed::Alone => Heard { order: Order::Nothing, at, next: None, store: None },
            Renewed::Joined { store, last } => {
                let another = self.store.is_some_and(|known| known != store);
                let first = kept.or(Some(store));
                Heard { order: Order::Begin { another }, at, next: Some(last), store: first }
            }
            Renewed::Follows { entries, more } => {
                let last = entries.last().map(|(position, _)| *position);
                let changes = entries.into_iter().map(|(_, change)| change).collect();
                let next = last.or(asked.position);
                Heard { order: Order::Apply { changes, more }, at, next, store: kept }
            }
            Renewed::Lost { trimmed } => {
                Heard { order: Order::Forget { write_again: !trimmed }, at, next: None, store: kept }
            }
        }
    }

    /// Takes note that what was heard is applied. Returns until when the lease runs, if it was granted, and
    /// when to renew it.
    pub fn applied(&mut self, heard: Heard<C>) -> (Option<Moment>, Due) {
        let Heard { order, at, next, store } = heard;
        let until = at + self.term.saturating_sub(self.margin);
        self.position = next;
        match order {
            Order::Nothing => (Some(Moment::from_nanos(u64::MAX)), Due::Never),
            Order::Apply { more: true, .. } => (None, Due::Now),
            Order::Apply { changes, more: false } => {
                (Some(until), if changes.is_empty() { Due::Later } else { Due::Now })
            }
            Order::Begin { .. } => {
                self.store = store;
                (Some(until), Due::Now)
            }
            Order::Forget { .. } => (None, Due::Now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::lease::EntryId;

    const TERM: Duration = Duration::from_secs(1);

    fn at(millis: u64) -> Moment {
        Moment::from_nanos(millis * 1_000_000)
    }

    fn place(millis: u64) -> Position {
        Position { id: EntryId { millis, number: 0 }, call: millis }
    }

    fn joined(now: Moment) -> Follower<&'static str> {
        let mut follower = Follower::new(TERM);
        let heard = follower.hear(follower.ask(now), Renewed::Joined { store: 1, last: place(1) });
        assert_eq!(heard.order, Order::Begin { another: false });
        assert_eq!(follower.applied(heard), (Some(now + (TERM - TERM / 10)), Due::Now));
        follower
    }

    #[test]
    fn a_lease_is_counted_from_before_it_was_asked_for() {
        let mut follower = joined(at(0));
        let asked = follower.ask(at(100));
        let heard = follower.hear(asked, Renewed::Follows { entries: Vec::new(), more: false });
        assert_eq!(follower.applied(heard), (Some(at(1000)), Due::Later));
    }

    #[test]
    fn changes_are_told_in_order_and_acknowledged_at_once() {
        let mut follower = joined(at(0));
        let entries = vec![(place(2), "a"), (place(3), "b")];
        let renewed = Renewed::Follows { entries, more: false };
        let heard = follower.hear(follower.ask(at(100)), renewed);
        assert_eq!(heard.order, Order::Apply { changes: vec!["a", "b"], more: false });
        assert_eq!(follower.applied(heard), (Some(at(1000)), Due::Now));
        assert_eq!(follower.ask(at(101)).position, Some(place(3)));
    }

    #[test]
    fn the_first_of_many_changes_grant_nothing() {
        let mut follower = joined(at(0));
        let renewed = Renewed::Follows { entries: vec![(place(2), "a")], more: true };
        let heard = follower.hear(follower.ask(at(100)), renewed);
        assert_eq!(follower.applied(heard), (None, Due::Now));
        assert_eq!(follower.ask(at(101)).position, Some(place(2)));
    }

    #[test]
    fn a_log_without_the_position_grants_nothing_until_all_is_read_anew() {
        for trimmed in [true, false] {
            let mut follower = joined(at(0));
            let heard = follower.hear(follower.ask(at(100)), Renewed::Lost { trimmed });
            assert_eq!(heard.order, Order::Forget { write_again: !trimmed });
            assert_eq!(follower.applied(heard), (None, Due::Now));
            assert_eq!(follower.ask(at(101)).position, None);
        }
    }

    #[test]
    fn another_store_in_the_place_of_the_one_that_was_followed_is_noticed() {
        let mut follower = joined(at(0));
        let lost = follower.hear(follower.ask(at(100)), Renewed::Lost { trimmed: false });
        let _ = follower.applied(lost);
        for (store, another) in [(1, false), (2, true)] {
            let renewed = Renewed::Joined { store, last: Position::default() };
            assert_eq!(follower.hear(follower.ask(at(101)), renewed).order, Order::Begin { another });
        }
    }
}
