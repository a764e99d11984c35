//! The loads that are under way, so that news of a key reaches what a load is about to find.
//!
//! A load reads the store first and is remembered later. News that comes in between must not wait for the
//! load, which may be waiting for an instance; so it leaves word here, and what the load finds is spoiled
//! from the start. Either the news finds the load here, or the load has been remembered, and the news finds
//! it there: a load leaves only after that.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::{ActiveKey, KeyHash};

/// The loads of one cache.
#[derive(Default)]
pub(super) struct Loads(Mutex<Running>);

#[derive(Default)]
struct Running {
    begun: u64,
    loads: HashMap<u64, Load>,
}

struct Load {
    hash: KeyHash,
    spoiled: bool,
    found: Option<Arc<ActiveKey>>,
}

/// A load that is under way until this is dropped.
pub(super) struct Loading<'l> {
    loads: &'l Loads,
    number: u64,
}

impl Loads {
    /// Begins a load; before the store is asked.
    pub(super) fn begin(&self, hash: &KeyHash) -> Loading<'_> {
        let mut running = self.lock();
        running.begun += 1;
        let number = running.begun;
        running.loads.insert(number, Load { hash: *hash, spoiled: false, found: None });
        Loading { loads: self, number }
    }

    /// Spoils what the loads of this key find, or of all keys.
    pub(super) fn spoil(&self, hash: Option<&KeyHash>) {
        let mut running = self.lock();
        let concerned = running.loads.values_mut().filter(|load| hash.is_none_or(|hash| load.hash == *hash));
        for load in concerned {
            load.spoiled = true;
            if let Some(found) = &load.found {
                found.spoil();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Loading<'_> {
    /// Tells what was found; before it is remembered.
    pub(super) fn found(&self, key: &Arc<ActiveKey>) {
        if let Some(load) = self.loads.lock().loads.get_mut(&self.number) {
            load.found = Some(Arc::clone(key));
            if load.spoiled {
                key.spoil();
            }
        }
    }
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        self.loads.lock().loads.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::record::tests::record;

    fn key() -> Arc<ActiveKey> {
        Arc::new(ActiveKey::new(record("a")).expect("a good key"))
    }

    #[test]
    fn news_spoils_what_a_load_has_found_and_what_it_will_find() {
        let (loads, hash) = (Loads::default(), KeyHash::of("a"));
        for before in [true, false] {
            let (loading, key) = (loads.begin(&hash), key());
            if before {
                loads.spoil(Some(&hash));
            }
            loading.found(&key);
            if !before {
                loads.spoil(Some(&hash));
            }
            assert!(key.is_spoiled(), "before: {before}");
        }
    }

    #[test]
    fn news_of_one_key_spoils_no_other_and_no_later_load() {
        let (loads, a, b) = (Loads::default(), KeyHash::of("a"), KeyHash::of("b"));
        let (first, second) = (loads.begin(&a), loads.begin(&b));
        loads.spoil(Some(&a));
        drop(first);
        let (third, keys) = (loads.begin(&a), [key(), key()]);
        second.found(&keys[0]);
        third.found(&keys[1]);
        assert!(!keys[0].is_spoiled() && !keys[1].is_spoiled());
        loads.spoil(None);
        assert!(keys[0].is_spoiled() && keys[1].is_spoiled());
        drop((second, third));
        assert!(loads.lock().loads.is_empty());
    }
}
