//! The buckets of everybody, in a table whose size is fixed: strangers can fill it, but not make it grow.
//!
//! A set-associative table, as a processor's cache is one: a name leads to one set, and is looked for among
//! its few slots. Where they are all taken, the bucket that is full soonest gives way, since forgetting it
//! forgives least. To forget a bucket lets somebody do more than allowed, and never less.
//!
//! Name and bucket change together, so each set has a lock of its own, held for a few nanoseconds and over
//! nothing that waits. Nothing is allocated after the start.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::bucket::Bucket;

const SETS: usize = 8_192;
const SLOTS: usize = 8;

/// Up to 65,536 buckets, by names of 64 bits that nobody can choose.
pub(super) struct Table(Box<[Mutex<Set>]>);

type Set = [Slot; SLOTS];

/// An empty slot is a full bucket of the name 0.
#[derive(Clone, Copy, Default)]
struct Slot {
    name: u64,
    bucket: Bucket,
}

impl Table {
    pub(super) fn new() -> Self {
        Self((0..SETS).map(|_| Mutex::default()).collect())
    }

    /// Changes the bucket of this name; a full one, where nothing is remembered of it.
    pub(super) fn change<T>(&self, name: u64, change: impl FnOnce(&mut Bucket) -> T) -> T {
        let mut set = self.set(name);
        let slot = set.as_mut().and_then(|set| {
            if let Some(place) = set.iter().position(|slot| slot.name == name) {
                return set.get_mut(place);
            }
            let place = set.iter_mut().min_by_key(|slot| slot.bucket)?;
            *place = Slot { name, ..Slot::default() };
            Some(place)
        });
        change(slot.map_or(&mut Bucket::default(), |slot| &mut slot.bucket))
    }

    /// The bucket of this name as it is; a full one, where nothing is remembered of it.
    pub(super) fn look(&self, name: u64) -> Bucket {
        let set = self.set(name);
        let slot = set.as_ref().and_then(|set| set.iter().find(|slot| slot.name == name));
        slot.map_or_else(Bucket::default, |slot| slot.bucket)
    }

    fn set(&self, name: u64) -> Option<MutexGuard<'_, Set>> {
        let place = usize::try_from(name % SETS as u64).ok()?;
        Some(self.0.get(place)?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::limit::bucket::Admission;

    const SECOND: u64 = 1_000_000_000;

    fn is_within(table: &Table, name: u64, now: u64) -> bool {
        let rate = "2/1m".parse().expect("a rate");
        matches!(table.change(name, |bucket| bucket.take(rate, now)), Admission::Within(_))
    }

    #[test]
    fn everybody_has_a_bucket_of_their_own() {
        let table = Table::new();
        // All in one set.
        let names: Vec<u64> = (0..8).map(|n| 7 + n * SETS as u64).collect();
        for name in &names {
            assert!(is_within(&table, *name, SECOND) && is_within(&table, *name, SECOND));
        }
        for name in &names {
            assert!(!is_within(&table, *name, SECOND), "{name} has had both");
        }
    }

    #[test]
    fn in_a_full_set_the_bucket_that_is_full_soonest_gives_way() {
        let table = Table::new();
        let name = |n: u64| 7 + n * SETS as u64;
        for n in 0..8 {
            assert!(is_within(&table, name(n), SECOND));
        }
        for n in 1..8 {
            assert!(is_within(&table, name(n), SECOND));
        }
        assert!(is_within(&table, name(8), SECOND), "a ninth finds room");
        for n in 1..8 {
            assert!(!is_within(&table, name(n), SECOND), "{n} is remembered");
        }
        assert!(is_within(&table, name(0), SECOND) && is_within(&table, name(0), SECOND), "0 was forgiven");
    }

    #[test]
    fn a_million_strangers_never_keep_anybody_from_what_is_allowed() {
        let table = Table::new();
        for stranger in 0..1_000_000_u64 {
            let name = stranger.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            assert!(is_within(&table, name, SECOND));
        }
        assert_eq!(table.0.len() * SLOTS, 65_536);
    }

    #[test]
    fn looking_changes_nothing_and_makes_no_entry() {
        let table = Table::new();
        assert_eq!(table.look(7), Bucket::default());
        assert!(is_within(&table, 7, SECOND));
        let before = table.look(7);
        assert!(before > Bucket::default());
        assert_eq!(table.look(7), before);
    }

    #[test]
    fn workers_together_give_out_no_more_than_one_would() {
        let (table, rate) = (Table::new(), "1000/1h".parse().expect("a rate"));
        let admitted: usize = std::thread::scope(|scope| {
            let worker = || {
                let take = |_: &usize| {
                    let admission = table.change(7, |bucket| bucket.take(rate, SECOND));
                    matches!(admission, Admission::Within(_))
                };
                (0..1000).filter(take).count()
            };
            let workers: Vec<_> = (0..4).map(|_| scope.spawn(worker)).collect();
            workers.into_iter().map(|worker| worker.join().expect("a count")).sum()
        });
        assert_eq!(admitted, 1000);
    }
}
