//! The revocations that this process knows of, for as long as it lives.
//!
//! What a cache forgets, and a store may have lost, stays refused here. From here it is written to the store
//! again where that has lost it.

use std::collections::{HashMap, HashSet};
use std::sync::{PoisonError, RwLock};

use super::{KeyHash, Revocation};

/// Beyond this many revoked ids of one instance, the store alone keeps the others: some 200 bytes each.
const MOST: usize = 1_000_000;

/// The revocations of one instance.
#[derive(Default)]
pub(super) struct Graves(RwLock<Known>);

#[derive(Default)]
struct Known {
    hashes: HashSet<KeyHash>,
    ids: HashMap<String, Revocation>,
}

impl Graves {
    /// Takes note of a revocation, and of the keys that have this id. The first revocation of an id stays.
    pub(super) fn dig(&self, id: &str, hashes: &[KeyHash], revocation: &Revocation) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.ids.len() >= MOST && !known.ids.contains_key(id) {
            return;
        }
        known.hashes.extend(hashes);
        if !known.ids.contains_key(id) {
            known.ids.insert(id.to_owned(), revocation.clone());
        }
    }

    /// Whether the key with this hash is revoked.
    pub(super) fn hold(&self, hash: &KeyHash) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).hashes.contains(hash)
    }

    /// Whether the key with this id is revoked.
    pub(super) fn hold_id(&self, id: &str) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).ids.contains_key(id)
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<(String, Revocation)> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.ids.iter().map(|(id, revocation)| (id.clone(), revocation.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::keys::RevokedBy;

    #[test]
    fn the_first_revocation_of_an_id_stays_and_every_key_of_it_is_refused() {
        let graves = Graves::default();
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        graves.dig("k", &[], &Revocation::new(at(1), RevokedBy::Owner));
        graves.dig("k", &[KeyHash::of("a")], &Revocation::new(at(2), RevokedBy::Operator));
        assert!(graves.hold(&KeyHash::of("a")) && graves.hold_id("k"));
        assert!(!graves.hold(&KeyHash::of("b")) && !graves.hold_id("l"));
        assert_eq!(graves.all(), [("k".to_owned(), Revocation::new(at(1), RevokedBy::Owner))]);
    }
}
