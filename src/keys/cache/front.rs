//! The good keys that were recalled lately, at hand for less than it takes to look into the whole cache.
//!
//! A copy of what the cache holds, never more: it is given up by the same news. That is safe for two reasons.
//! **What was looked for and not found here may be kept only if no news has come to its set meanwhile**, so nothing
//! that was read before some news is put here after it. **News is told here after it has been told to the cache**,
//! so nothing that is read after that is from before it.
//!
//! A set-associative table, as a processor's cache is one; each set has a lock of its own, held for moments.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::{ActiveKey, KeyHash, Verdict};
use super::Remembered;

const SETS: usize = 4_096;
const SLOTS: usize = 8;
/// Then the cache is asked again, since it keeps what is asked for often.
const USES: u32 = 64;

/// Up to 32,768 keys.
pub(super) struct Front(Box<[Mutex<Set>]>);

#[derive(Default)]
struct Set {
    /// Counts the news that came to this set.
    news: u64,
    held: Vec<Held>,
}

struct Held {
    hash: KeyHash,
    remembered: Remembered,
    uses_left: u32,
}

/// The right to keep what the cache is found to hold, as long as there is no news of it.
#[derive(Clone, Copy)]
pub(super) struct Ticket(u64);

impl Front {
    pub(super) fn new() -> Self {
        Self((0..SETS).map(|_| Mutex::default()).collect())
    }

    /// The key, if it is at hand and may be used.
    pub(super) fn look(
        &self,
        hash: &KeyHash,
        may_be_used: impl FnOnce(&Remembered) -> bool,
    ) -> Result<Verdict, Ticket> {
        let Some(mut set) = self.set(hash) else { return Err(Ticket(0)) };
        let Set { news, held } = &mut *set;
        let Some(place) = held.iter().position(|held| held.hash == *hash) else { return Err(Ticket(*news)) };
        match held.get_mut(place) {
            Some(held) if held.uses_left > 0 && may_be_used(&held.remembered) => {
                held.uses_left -= 1;
                Ok(held.remembered.verdict.clone())
            }
            Some(_) | None => {
                held.swap_remove(place);
                Err(Ticket(*news))
            }
        }
    }

    /// Keeps a good key that was found in the cache after the ticket was given out.
    pub(super) fn keep(&self, hash: &KeyHash, remembered: &Remembered, ticket: Ticket) {
        let Verdict::Active(_) = &remembered.verdict else { return };
        let Some(mut set) = self.set(hash) else { return };
        if set.news != ticket.0 || set.held.iter().any(|held| held.hash == *hash) {
            return;
        }
        let new = Held { hash: *hash, remembered: remembered.clone(), uses_left: USES };
        if set.held.len() < SLOTS {
            set.held.push(new);
        } else if let Some(worn) = set.held.iter_mut().min_by_key(|held| held.uses_left) {
            *worn = new;
        }
    }

    /// There is news of a key, and the cache has it already.
    pub(super) fn forget(&self, hash: &KeyHash) {
        let Some(mut set) = self.set(hash) else { return };
        set.news += 1;
        set.held.retain(|held| held.hash != *hash);
    }

    /// There may be news of every key, and the cache has it already.
    pub(super) fn forget_all(&self) {
        for set in &self.0 {
            let mut set = lock(set);
            set.news += 1;
            set.held.clear();
        }
    }

    fn set(&self, hash: &KeyHash) -> Option<MutexGuard<'_, Set>> {
        let [a, b, ..] = *hash.as_bytes();
        self.0.get(usize::from(u16::from_le_bytes([a, b])) % SETS).map(lock)
    }

    /// The keys at hand.
    pub(super) fn good(&self) -> Vec<Arc<ActiveKey>> {
        let mut good = Vec::new();
        for set in &self.0 {
            good.extend(lock(set).held.iter().filter_map(|held| match &held.remembered.verdict {
                Verdict::Active(key) => Some(Arc::clone(key)),
                Verdict::Revoked | Verdict::Unknown | Verdict::Refused(_) => None,
            }));
        }
        good
    }
}

/// A set is whole at every moment, so a panic elsewhere spoils nothing.
fn lock(set: &Mutex<Set>) -> MutexGuard<'_, Set> {
    set.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::lease::Moment;
    use crate::keys::record::tests::record;

    fn remembered(key: &str) -> Remembered {
        Remembered { verdict: Verdict::of(record(key)), loaded_at: Moment::now() }
    }

    fn ticket(front: &Front, hash: &KeyHash) -> Ticket {
        let Err(ticket) = front.look(hash, |_| true) else { panic!("it is at hand") };
        ticket
    }

    fn is_at_hand(front: &Front, hash: &KeyHash) -> bool {
        front.look(hash, |_| true).is_ok()
    }

    #[test]
    fn what_was_read_before_some_news_is_not_kept_after_it() {
        let (front, hash) = (Front::new(), KeyHash::of("a"));
        for all in [false, true] {
            let early = ticket(&front, &hash);
            if all {
                front.forget_all();
            } else {
                front.forget(&hash);
            }
            front.keep(&hash, &remembered("a"), early);
            assert!(!is_at_hand(&front, &hash), "all: {all}");
            front.keep(&hash, &remembered("a"), ticket(&front, &hash));
            assert!(is_at_hand(&front, &hash), "all: {all}");
            front.forget(&hash);
        }
    }

    #[test]
    fn news_takes_a_key_away_and_no_other() {
        let front = Front::new();
        let hashes: Vec<_> = (0..100).map(|number| KeyHash::of(&format!("{number}"))).collect();
        for hash in &hashes {
            front.keep(hash, &remembered("a"), ticket(&front, hash));
        }
        front.forget(&hashes[7]);
        let left = hashes.iter().filter(|hash| is_at_hand(&front, hash)).count();
        assert_eq!((left, is_at_hand(&front, &hashes[7])), (99, false));
        assert_eq!(front.good().len(), 99);
        front.forget_all();
        assert!(front.good().is_empty() && !hashes.iter().any(|hash| is_at_hand(&front, hash)));
    }

    #[test]
    fn what_may_not_be_used_is_given_up() {
        let (front, hash) = (Front::new(), KeyHash::of("a"));
        front.keep(&hash, &remembered("a"), ticket(&front, &hash));
        assert!(front.look(&hash, |_| false).is_err());
        assert!(!is_at_hand(&front, &hash));
    }

    #[test]
    fn after_some_uses_the_cache_is_asked_again() {
        let (front, hash) = (Front::new(), KeyHash::of("a"));
        front.keep(&hash, &remembered("a"), ticket(&front, &hash));
        let uses = (0..2 * USES).take_while(|_| is_at_hand(&front, &hash)).count();
        assert_eq!(uses, USES as usize);
    }

    #[test]
    fn only_good_keys_are_kept_and_no_more_than_there_is_room_for() {
        let front = Front::new();
        for verdict in [Verdict::Revoked, Verdict::Unknown] {
            let (hash, loaded_at) = (KeyHash::of("a"), Moment::now());
            front.keep(&hash, &Remembered { verdict, loaded_at }, ticket(&front, &hash));
            assert!(!is_at_hand(&front, &hash));
        }
        for number in 0..2 * SETS * SLOTS {
            let hash = KeyHash::of(&number.to_string());
            front.keep(&hash, &remembered("a"), ticket(&front, &hash));
            assert!(is_at_hand(&front, &hash));
        }
        assert!(front.0.iter().all(|set| lock(set).held.len() <= SLOTS));
    }
}
