//! What a process remembers of the keys of one instance, so that a known key costs no store round trip.
//!
//! One rule carries all the others: **every answer that becomes an entry is fetched while its entry is
//! held**. Loads, learning and revocations of one key therefore never overlap, a load that read "active"
//! before a revocation has put it away before the tombstone is written, and nothing replaces a tombstone.
//! That also makes it safe to evict one: whoever loads the key next asks the store after the revocation.
//!
//! Negative answers live in a cache of their own. Anyone can make up keys that nobody knows; in a cache
//! with the good ones, weighed or not, a flood of them would take room, and admission would be a contest
//! between made-up keys and good ones. Here the flood can only push out itself.
//!
//! Does not know stores or instances: what to load is passed in.

use std::any::Any;
use std::future::ready;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Entry;
use moka::ops::compute::Op;
use moka::policy::EvictionPolicy;

use super::{KeyHash, LookupError, StoreError, Verdict};

/// How long a key that nobody knows stays unknown without asking again.
const UNKNOWN_FOR: Duration = Duration::from_secs(60);
/// How long an owner's refusal stands; short, since reactivating an account should be felt at once.
const REFUSED_FOR: Duration = Duration::from_secs(5);
const NEGATIVE_ENTRIES: u64 = 16_384;
const FAILURE_ENTRIES: u64 = 1_024;

/// The verdicts of one instance's keys.
pub(super) struct Cache {
    keys: moka::future::Cache<KeyHash, Remembered>,
    negatives: moka::future::Cache<KeyHash, Remembered>,
    /// Failed loads, for those who waited for them: without it each waiter would try, and fail, in turn.
    failures: moka::future::Cache<KeyHash, Failed>,
    keep_for: Duration,
}

#[derive(Clone)]
struct Remembered {
    verdict: Verdict,
    /// When it was asked for: the store may have changed since then, not only since it answered.
    loaded_at: Instant,
}

#[derive(Clone)]
struct Failed {
    at: Instant,
    cause: Cause,
}

#[derive(Clone)]
enum Cause {
    Store(StoreError),
    Adopt(Arc<dyn Any + Send + Sync>),
}

/// Why something is loaded.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    /// A request needs the verdict, since then.
    Answer { asked_at: Instant },
    /// There is news of the key: of what is remembered, only a tombstone still counts.
    Learn,
    /// The store is changed, whatever is remembered.
    Change,
}

/// What a load found.
pub(super) enum Finding {
    /// The verdict, for everyone.
    Settled(Verdict),
    /// Not in the store, and nobody else was asked: unknown for now, and not remembered.
    Unsettled,
    /// What the store holds was changed: what was remembered counts no more.
    Changed,
}

impl Cache {
    pub(super) fn new(entries: u64, keep_for: Duration) -> Self {
        Self {
            keys: moka::future::Cache::new(entries),
            negatives: moka::future::Cache::new(NEGATIVE_ENTRIES),
            failures: moka::future::Cache::builder()
                .max_capacity(FAILURE_ENTRIES)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
            keep_for,
        }
    }

    /// The remembered verdict, where there is one that may still be used.
    pub(super) async fn recall(&self, hash: &KeyHash, now: Instant) -> Option<Verdict> {
        let remembered = match self.keys.get(hash).await {
            Some(remembered) => remembered,
            None => self.negatives.get(hash).await?,
        };
        self.usable(&remembered, now).then_some(remembered.verdict)
    }

    /// Whether neither a good verdict of any age nor one that may still be used is remembered.
    pub(super) async fn is_stranger(&self, hash: &KeyHash, now: Instant) -> bool {
        if self.keys.contains_key(hash) {
            return false;
        }
        let negative = self.negatives.get(hash).await;
        negative.is_none_or(|negative| !self.usable(&negative, now))
    }

    /// The remembered verdict, or else what `load` finds, which is then remembered. One load at a time
    /// for each key; who waited for a load that failed gets its error.
    pub(super) async fn load<F, Fut, E>(
        &self,
        hash: &KeyHash,
        purpose: Purpose,
        load: F,
    ) -> Result<Verdict, LookupError<E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Finding, LookupError<E>>>,
        E: Send + Sync + 'static,
    {
        let mut verdict = Verdict::Unknown;
        let concluded = &mut verdict;
        self.keys
            .entry_by_ref(hash)
            .and_try_compute_with(|entry| async move {
                let present = entry.map(Entry::into_value);
                let (op, verdict) = self.fill(hash, present, purpose, load).await?;
                *concluded = verdict;
                Ok::<_, LookupError<E>>(op)
            })
            .await?;
        Ok(verdict)
    }

    /// Writes a tombstone, behind any load of the same key.
    pub(super) async fn bury(&self, hash: &KeyHash) {
        let tombstone = Remembered { verdict: Verdict::Revoked, loaded_at: Instant::now() };
        self.keys.entry_by_ref(hash).and_compute_with(|_| ready(Op::Put(tombstone))).await;
    }

    /// The remembered keys with this id. Looks at every entry.
    pub(super) fn with_id(&self, id: &str) -> Vec<KeyHash> {
        let has_id = |remembered: &Remembered| match &remembered.verdict {
            Verdict::Active(key) => key.record.id == id,
            Verdict::Revoked | Verdict::Unknown | Verdict::Refused(_) => false,
        };
        self.keys.iter().filter(|(_, remembered)| has_id(remembered)).map(|(hash, _)| *hash).collect()
    }

    async fn fill<F, Fut, E>(
        &self,
        hash: &KeyHash,
        present: Option<Remembered>,
        purpose: Purpose,
        load: F,
    ) -> Result<(Op<Remembered>, Verdict), LookupError<E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Finding, LookupError<E>>>,
        E: Send + Sync + 'static,
    {
        let now = Instant::now();
        let present = present.filter(|present| self.usable(present, now));
        let is_buried = present.as_ref().is_some_and(|present| matches!(present.verdict, Verdict::Revoked));
        if let Some(present) = present {
            let stands = match purpose {
                Purpose::Answer { .. } => true,
                Purpose::Learn => is_buried,
                Purpose::Change => false,
            };
            if stands {
                return Ok((Op::Nop, present.verdict));
            }
        }
        if let Purpose::Answer { asked_at } = purpose {
            let negative = self.negatives.get(hash).await;
            if let Some(negative) = negative.filter(|negative| self.usable(negative, now)) {
                return Ok((Op::Remove, negative.verdict));
            }
            if let Some(error) = self.failed_since(hash, asked_at).await {
                return Err(error);
            }
        }
        match load().await {
            Ok(_) if is_buried => Ok((Op::Nop, Verdict::Revoked)),
            Ok(finding) => Ok(self.remember(hash, finding, now).await),
            Err(error) => {
                let cause = Cause::of(&error);
                self.failures.insert(*hash, Failed { at: Instant::now(), cause }).await;
                Err(error)
            }
        }
    }

    async fn remember(
        &self,
        hash: &KeyHash,
        finding: Finding,
        loaded_at: Instant,
    ) -> (Op<Remembered>, Verdict) {
        let verdict = match finding {
            Finding::Settled(verdict) => verdict,
            Finding::Unsettled => return (Op::Remove, Verdict::Unknown),
            Finding::Changed => {
                self.negatives.invalidate(hash).await;
                return (Op::Remove, Verdict::Unknown);
            }
        };
        let remembered = Remembered { verdict: verdict.clone(), loaded_at };
        match verdict {
            Verdict::Active(_) | Verdict::Revoked => {
                self.negatives.invalidate(hash).await;
                (Op::Put(remembered), verdict)
            }
            Verdict::Unknown | Verdict::Refused(_) => {
                self.negatives.insert(*hash, remembered).await;
                (Op::Remove, verdict)
            }
        }
    }

    fn usable(&self, remembered: &Remembered, now: Instant) -> bool {
        let age = now.saturating_duration_since(remembered.loaded_at);
        match remembered.verdict {
            Verdict::Active(_) => age < self.keep_for,
            Verdict::Revoked => true,
            Verdict::Unknown => age < UNKNOWN_FOR,
            Verdict::Refused(_) => age < REFUSED_FOR,
        }
    }

    /// The error of a load that failed after `asked_at`: the one that the asker waited for.
    async fn failed_since<E>(&self, hash: &KeyHash, asked_at: Instant) -> Option<LookupError<E>>
    where
        E: Send + Sync + 'static,
    {
        let failed = self.failures.get(hash).await.filter(|failed| failed.at >= asked_at)?;
        match failed.cause {
            Cause::Store(error) => Some(LookupError::Store(error)),
            Cause::Adopt(error) => error.downcast().ok().map(LookupError::Adopt),
        }
    }
}

impl Cause {
    fn of<E: Send + Sync + 'static>(error: &LookupError<E>) -> Self {
        match error {
            LookupError::Store(error) => Self::Store(error.clone()),
            LookupError::Adopt(error) => Self::Adopt(Arc::clone(error) as Arc<dyn Any + Send + Sync>),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::keys::record::tests::record;
    use crate::keys::{OwnerRefusal, Revocation, RevokedBy};

    const LONG: Duration = Duration::from_secs(3600);

    fn active(key: &str) -> Verdict {
        Verdict::of(record(key))
    }

    async fn put(cache: &Cache, hash: &KeyHash, verdict: Verdict) -> Verdict {
        let load = || ready(Ok::<_, LookupError<Infallible>>(Finding::Settled(verdict)));
        cache.load(hash, Purpose::Learn, load).await.expect("a verdict")
    }

    #[tokio::test]
    async fn a_fill_never_replaces_a_tombstone() {
        let cache = Cache::new(10, Duration::ZERO);
        let hash = KeyHash::of("a");
        put(&cache, &hash, active("a")).await;
        cache.bury(&hash).await;
        assert!(matches!(put(&cache, &hash, active("a")).await, Verdict::Revoked));
        let much_later = Instant::now() + 1000 * LONG;
        assert!(matches!(cache.recall(&hash, much_later).await, Some(Verdict::Revoked)));
    }

    #[tokio::test]
    async fn verdicts_are_used_only_as_long_as_they_are_believed() {
        let cache = Cache::new(10, Duration::from_secs(10));
        let revoked = Revocation::new(std::time::SystemTime::now(), RevokedBy::Operator);
        let buried = Verdict::of(crate::keys::KeyRecord { revoked: Some(revoked), ..record("d") });
        for (key, verdict, believed) in [
            ("a", active("a"), Duration::from_secs(10)),
            ("b", Verdict::Unknown, UNKNOWN_FOR),
            ("c", Verdict::Refused(OwnerRefusal::AccountSuspended), REFUSED_FOR),
            ("d", buried, 1000 * LONG),
        ] {
            let hash = KeyHash::of(key);
            put(&cache, &hash, verdict).await;
            let now = Instant::now();
            assert!(cache.recall(&hash, now).await.is_some(), "{key}");
            let just_before = now + believed - Duration::from_secs(1);
            assert!(cache.recall(&hash, just_before).await.is_some(), "{key}");
            let after = cache.recall(&hash, now + believed).await;
            assert_eq!(after.is_none(), key != "d", "{key}");
        }
    }

    #[tokio::test]
    async fn a_flood_of_unknown_keys_evicts_no_good_key() {
        let cache = Cache::new(100, LONG);
        for n in 0..100 {
            let key = n.to_string();
            put(&cache, &KeyHash::of(&key), active(&key)).await;
        }
        for n in 0..2 * NEGATIVE_ENTRIES {
            put(&cache, &KeyHash::of(&format!("made up {n}")), Verdict::Unknown).await;
        }
        cache.keys.run_pending_tasks().await;
        cache.negatives.run_pending_tasks().await;
        assert!(cache.negatives.entry_count() <= NEGATIVE_ENTRIES);
        for n in 0..100 {
            let hash = KeyHash::of(&n.to_string());
            assert!(matches!(cache.recall(&hash, Instant::now()).await, Some(Verdict::Active(_))));
        }
    }

    #[tokio::test]
    async fn a_key_that_is_learned_is_no_longer_unknown() {
        let cache = Cache::new(10, LONG);
        let hash = KeyHash::of("a");
        put(&cache, &hash, Verdict::Unknown).await;
        assert!(matches!(cache.recall(&hash, Instant::now()).await, Some(Verdict::Unknown)));
        put(&cache, &hash, active("a")).await;
        assert!(matches!(cache.recall(&hash, Instant::now()).await, Some(Verdict::Active(_))));
    }

    #[tokio::test]
    async fn who_waited_for_a_failed_load_shares_its_error_and_a_later_one_tries_again() {
        let cache = Cache::new(10, LONG);
        let hash = KeyHash::of("a");
        let before = Instant::now();
        let fail = || ready(Err(LookupError::Adopt(Arc::new("upstream down"))));
        let first = cache.load(&hash, Purpose::Answer { asked_at: before }, fail).await;
        assert!(matches!(first, Err(LookupError::Adopt(_))));
        let load = || ready(Ok::<_, LookupError<&'static str>>(Finding::Settled(active("a"))));
        let waited = cache.load(&hash, Purpose::Answer { asked_at: before }, load).await;
        let Err(LookupError::Adopt(shared)) = waited else { panic!("the shared error") };
        assert_eq!(*shared, "upstream down");
        let after = Instant::now() + Duration::from_nanos(1);
        let retried = cache.load(&hash, Purpose::Answer { asked_at: after }, load).await;
        assert!(matches!(retried, Ok(Verdict::Active(_))));
    }
}
