//! The tokens that have verified, found again by their own bytes: to hash a token so that no two could be taken for
//! each other would cost more than the rest of what a remembered one costs.
//!
//! A set-associative table, as a processor's cache is one: a token leads to one set, and is compared whole with the
//! few that are there. Where they are too many, the one that was used longest ago gives way. Only tokens that
//! somebody with the secret has signed come here, and they are wiped from memory when they leave.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use zeroize::Zeroizing;

const SETS: usize = 8_192;
const SLOTS: usize = 8;
/// Longer ones are verified each time.
const MOST_BYTES: usize = 4_096;

/// Up to 65,536 tokens, each with what it says. Each set has a lock of its own, held for moments.
pub(super) struct Remembered<T> {
    sets: Box<[Mutex<Set<T>>]>,
    /// Nobody can tell beforehand which tokens share a set.
    secret: RandomState,
}

struct Set<T> {
    uses: u64,
    slots: Vec<Slot<T>>,
}

struct Slot<T> {
    name: u64,
    token: Zeroizing<Vec<u8>>,
    says: Arc<T>,
    used: u64,
}

impl<T> Remembered<T> {
    pub(super) fn new() -> Self {
        let empty = || Mutex::new(Set { uses: 0, slots: Vec::new() });
        Self { sets: (0..SETS).map(|_| empty()).collect(), secret: RandomState::new() }
    }

    /// What a token says, if it is remembered.
    pub(super) fn look(&self, token: &[u8]) -> Option<Arc<T>> {
        let name = self.secret.hash_one(token);
        let mut set = self.set(name)?;
        let Set { uses, slots } = &mut *set;
        let slot = slots.iter_mut().find(|slot| slot.is_of(name, token))?;
        *uses += 1;
        slot.used = *uses;
        Some(Arc::clone(&slot.says))
    }

    /// Remembers a token that has verified.
    pub(super) fn keep(&self, token: &[u8], says: Arc<T>) {
        if token.len() > MOST_BYTES {
            return;
        }
        let name = self.secret.hash_one(token);
        let Some(mut set) = self.set(name) else { return };
        let Set { uses, slots } = &mut *set;
        *uses += 1;
        let slot = Slot { name, token: Zeroizing::new(token.to_vec()), says, used: *uses };
        let place = match slots.iter().position(|slot| slot.is_of(name, token)) {
            None if slots.len() < SLOTS => None,
            None => slots.iter().enumerate().min_by_key(|(_, slot)| slot.used).map(|(place, _)| place),
            known => known,
        };
        match place.and_then(|place| slots.get_mut(place)) {
            Some(old) => *old = slot,
            None => slots.push(slot),
        }
    }

    /// Forgets a token.
    pub(super) fn forget(&self, token: &[u8]) {
        let name = self.secret.hash_one(token);
        if let Some(mut set) = self.set(name) {
            set.slots.retain(|slot| !slot.is_of(name, token));
        }
    }

    fn set(&self, name: u64) -> Option<MutexGuard<'_, Set<T>>> {
        let place = usize::try_from(name % SETS as u64).ok()?;
        // What is held is whole at every moment, so a panic elsewhere spoils nothing.
        Some(self.sets.get(place)?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<T> Slot<T> {
    /// The name first: who does not know the secret learns nothing from how long the rest takes.
    fn is_of(&self, name: u64, token: &[u8]) -> bool {
        self.name == name && self.token.as_slice() == token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(number: usize) -> Vec<u8> {
        format!("token {number}").into_bytes()
    }

    #[test]
    fn a_token_is_found_by_all_of_its_bytes_and_by_nothing_else() {
        let tokens = Remembered::new();
        tokens.keep(b"one", Arc::new(1));
        assert_eq!(tokens.look(b"one").as_deref(), Some(&1));
        for other in [&b"one "[..], b"on", b"", b"One"] {
            assert_eq!(tokens.look(other), None);
        }
        tokens.keep(b"one", Arc::new(2));
        assert_eq!(tokens.look(b"one").as_deref(), Some(&2));
        tokens.forget(b"one");
        assert_eq!(tokens.look(b"one"), None);
    }

    #[test]
    fn tokens_of_one_name_are_told_apart() {
        let slot = |token: &[u8]| Slot {
            name: 7,
            token: Zeroizing::new(token.to_vec()),
            says: Arc::new(()),
            used: 0,
        };
        assert!(slot(b"a").is_of(7, b"a") && !slot(b"a").is_of(7, b"b") && !slot(b"a").is_of(8, b"a"));
    }

    #[test]
    fn no_number_of_tokens_fills_more_than_the_table_and_the_latest_stay() {
        let tokens = Remembered::new();
        for number in 0..3 * SETS * SLOTS {
            tokens.keep(&text(number), Arc::new(number));
            assert_eq!(tokens.look(&text(number)).as_deref(), Some(&number));
        }
        assert!(tokens.sets.iter().all(|set| set.lock().expect("set").slots.len() <= SLOTS));
    }

    #[test]
    fn the_one_that_was_used_longest_ago_gives_way() {
        let tokens = Remembered::new();
        let place = |number: &usize| tokens.secret.hash_one(text(*number).as_slice()) % SETS as u64;
        let first = place(&0);
        let neighbours: Vec<_> = (0..).filter(|number| place(number) == first).take(SLOTS + 1).collect();
        for number in &neighbours[..SLOTS] {
            tokens.keep(&text(*number), Arc::new(*number));
        }
        assert!(tokens.look(&text(neighbours[0])).is_some());
        tokens.keep(&text(neighbours[SLOTS]), Arc::new(0));
        assert!(tokens.look(&text(neighbours[0])).is_some());
        assert!(tokens.look(&text(neighbours[1])).is_none());
    }

    #[test]
    fn a_token_that_is_very_long_is_not_kept() {
        let tokens = Remembered::new();
        tokens.keep(&[b'a'; MOST_BYTES + 1], Arc::new(()));
        assert!(tokens.look(&[b'a'; MOST_BYTES + 1]).is_none());
    }
}
