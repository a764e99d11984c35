//! What a process remembers of the keys of one instance, so that a known key costs no store round trip.
//!
//! Two rules carry all the others. **Every answer that becomes an entry is fetched while its entry is held**,
//! so loads and learning of one key never overlap. **News of a key spoils what was remembered of it, and what
//! a load that is under way will find**, at once and without waiting; what is spoiled is never used again.
//! And nothing good is used without a lease, since news may not have come.
//!
//! In front of it all is a small copy of what was recalled lately ([`Front`]), which the same news reaches.
//!
//! Negative answers live in a cache of their own. Anyone can make up keys that nobody knows; in a cache
//! with the good ones, weighed or not, a flood of them would take room, and admission would be a contest
//! between made-up keys and good ones. Here the flood can only push out itself.
//!
//! Does not know stores or instances: what to load is passed in.

mod front;
mod loads;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use moka::Entry;
use moka::ops::compute::Op;
use moka::policy::EvictionPolicy;

use self::front::{Front, Ticket};
use self::loads::{Loading, Loads};
use super::lease::{Lease, Moment};
use super::{KeyHash, LookupError, StoreError, Verdict};

/// How long a key that nobody knows stays unknown without asking again.
const UNKNOWN_FOR: Duration = Duration::from_secs(60);
/// How long an owner's refusal stands; short, since reactivating an account should be felt at once.
const REFUSED_FOR: Duration = Duration::from_secs(5);
const NEGATIVE_ENTRIES: u64 = 16_384;
const FAILURE_ENTRIES: u64 = 1_024;

/// The verdicts of one instance's keys.
pub(super) struct Cache {
    front: Front,
    keys: moka::future::Cache<KeyHash, Remembered>,
    negatives: moka::future::Cache<KeyHash, Remembered>,
    /// Failed loads, for those who waited for them: without it each waiter would try, and fail, in turn.
    failures: moka::future::Cache<KeyHash, Failed>,
    loads: Loads,
    lease: Arc<Lease>,
    keep_for: Duration,
}

#[derive(Clone)]
struct Remembered {
    verdict: Verdict,
    /// When it was asked for: the store may have changed since then, not only since it answered.
    loaded_at: Moment,
}

#[derive(Clone)]
struct Failed {
    at: Moment,
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
    Answer { asked_at: Moment },
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
    pub(super) fn new(entries: u64, keep_for: Duration, lease: Arc<Lease>) -> Self {
        Self {
            front: Front::new(),
            keys: moka::future::Cache::new(entries),
            negatives: moka::future::Cache::new(NEGATIVE_ENTRIES),
            failures: moka::future::Cache::builder()
                .max_capacity(FAILURE_ENTRIES)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
            loads: Loads::default(),
            lease,
            keep_for,
        }
    }

    /// The remembered verdict, where there is one that may still be used.
    pub(super) async fn recall(&self, hash: &KeyHash, now: Moment) -> Option<Verdict> {
        // Before anything else: what was applied before the lease was granted is seen by whoever looks after this.
        let leased = self.lease.holds(now);
        let ticket = match self.front.look(hash, |held| self.usable(held, leased, now)) {
            Ok(verdict) => return Some(verdict),
            Err(ticket) => ticket,
        };
        // It hardly ever waits. Every request's future would have room for it, so it is run to its end at once, or else
        // begun anew in a box.
        match self.recall_from_behind(hash, (leased, now), ticket).now_or_never() {
            Some(verdict) => verdict,
            None => Box::pin(self.recall_from_behind(hash, (leased, now), ticket)).await,
        }
    }

    async fn recall_from_behind(
        &self,
        hash: &KeyHash,
        (leased, now): (bool, Moment),
        ticket: Ticket,
    ) -> Option<Verdict> {
        let remembered = match self.keys.get(hash).await {
            Some(remembered) => remembered,
            None => self.negatives.get(hash).await?,
        };
        if !self.usable(&remembered, leased, now) {
            return None;
        }
        self.front.keep(hash, &remembered, ticket);
        Some(remembered.verdict)
    }

    /// The remembered verdict of a good key of which there is no bad news, however old it is, and without a
    /// lease.
    pub(super) async fn recall_without_lease(&self, hash: &KeyHash) -> Option<Verdict> {
        match self.keys.get(hash).await?.verdict {
            Verdict::Active(key) if !key.is_spoiled() => Some(Verdict::Active(key)),
            Verdict::Active(_) | Verdict::Revoked | Verdict::Unknown | Verdict::Refused(_) => None,
        }
    }

    /// Whether neither a good verdict of any age nor one that may still be used is remembered.
    pub(super) async fn is_stranger(&self, hash: &KeyHash, now: Moment) -> bool {
        if self.keys.contains_key(hash) {
            return false;
        }
        let leased = self.lease.holds(now);
        let negative = self.negatives.get(hash).await;
        negative.is_none_or(|negative| !self.usable(&negative, leased, now))
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
        // Dropped only when what was found is remembered, or nothing will be.
        let _news = News { front: &self.front, hash };
        let loading = self.loads.begin(hash);
        let under_way = &loading;
        self.keys
            .entry_by_ref(hash)
            .and_try_compute_with(|entry| async move {
                let present = entry.map(Entry::into_value);
                let (op, verdict) = self.fill(hash, present, (purpose, under_way), load).await?;
                *concluded = verdict;
                Ok::<_, LookupError<E>>(op)
            })
            .await?;
        Ok(verdict)
    }

    /// Spoils what is remembered of a key, and what is being loaded. Waits for nothing.
    pub(super) async fn spoil(&self, hash: &KeyHash) {
        let _news = News { front: &self.front, hash };
        self.loads.spoil(Some(hash));
        if let Some(Remembered { verdict: Verdict::Active(key), .. }) = self.keys.get(hash).await {
            key.spoil();
        }
        self.negatives.invalidate(hash).await;
    }

    /// Spoils everything that is remembered or being loaded. Looks at every entry.
    pub(super) fn spoil_all(&self) {
        self.loads.spoil(None);
        for (_, remembered) in &self.keys {
            if let Verdict::Active(key) = &remembered.verdict {
                key.spoil();
            }
        }
        self.negatives.invalidate_all();
        self.front.forget_all();
    }

    /// The records of the good keys that are remembered. Looks at every entry.
    pub(super) fn good(&self) -> Vec<Arc<super::ActiveKey>> {
        let good = |remembered: Remembered| match remembered.verdict {
            Verdict::Active(key) => Some(key),
            Verdict::Revoked | Verdict::Unknown | Verdict::Refused(_) => None,
        };
        let mut all: Vec<_> = self.keys.iter().filter_map(|(_, remembered)| good(remembered)).collect();
        let at_hand = self.front.good().into_iter();
        all.extend(at_hand.filter(|key| !self.keys.contains_key(&key.record.hash)));
        all
    }

    async fn fill<F, Fut, E>(
        &self,
        hash: &KeyHash,
        present: Option<Remembered>,
        (purpose, loading): (Purpose, &Loading<'_>),
        load: F,
    ) -> Result<(Op<Remembered>, Verdict), LookupError<E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Finding, LookupError<E>>>,
        E: Send + Sync + 'static,
    {
        let now = Moment::now();
        let present = present.filter(|present| self.answers(present, purpose, now));
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
            if let Some(negative) = negative.filter(|negative| self.answers(negative, purpose, now)) {
                return Ok((Op::Remove, negative.verdict));
            }
            if let Some(error) = self.failed_since(hash, asked_at).await {
                return Err(error);
            }
        }
        match load().await {
            Ok(_) if is_buried => Ok((Op::Nop, Verdict::Revoked)),
            Ok(finding) => {
                if let Finding::Settled(Verdict::Active(key)) = &finding {
                    loading.found(key);
                }
                Ok(self.remember(hash, finding, now).await)
            }
            Err(error) => {
                let cause = Cause::of(&error);
                self.failures.insert(*hash, Failed { at: Moment::now(), cause }).await;
                Err(error)
            }
        }
    }

    async fn remember(
        &self,
        hash: &KeyHash,
        finding: Finding,
        loaded_at: Moment,
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

    /// `leased`: whether the lease was seen to run, before `remembered` was looked for.
    fn usable(&self, remembered: &Remembered, leased: bool, now: Moment) -> bool {
        (leased || matches!(remembered.verdict, Verdict::Revoked)) && self.is_young(remembered, now)
    }

    /// The same, or it was asked for after the request came: then it needs no lease.
    fn answers(&self, remembered: &Remembered, purpose: Purpose, now: Moment) -> bool {
        let asked_since = match purpose {
            Purpose::Answer { asked_at } => remembered.loaded_at >= asked_at,
            Purpose::Learn | Purpose::Change => false,
        };
        // What the entry holds while it is held is spoiled by news, so the lease comes first here, too.
        let leased = self.lease.holds(now);
        self.usable(remembered, leased, now) || (asked_since && self.is_young(remembered, now))
    }

    fn is_young(&self, remembered: &Remembered, now: Moment) -> bool {
        let age = now.since(remembered.loaded_at);
        match &remembered.verdict {
            Verdict::Active(key) => age < self.keep_for && !key.is_spoiled(),
            Verdict::Revoked => true,
            Verdict::Unknown => age < UNKNOWN_FOR,
            Verdict::Refused(_) => age < REFUSED_FOR,
        }
    }

    /// The error of a load that failed after `asked_at`: the one that the asker waited for.
    async fn failed_since<E>(&self, hash: &KeyHash, asked_at: Moment) -> Option<LookupError<E>>
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

/// Tells the front, when it is dropped, that there is news of a key: by then the cache has it, or whoever brought it
/// has given up.
struct News<'c> {
    front: &'c Front,
    hash: &'c KeyHash,
}

impl Drop for News<'_> {
    fn drop(&mut self) {
        self.front.forget(self.hash);
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
mod tests;
