//! The keys of one instance: which may be used, which came to be known, which were revoked.
//!
//! Knows no HTTP: whoever asks an instance about a key passes that in. A verdict comes from the cache,
//! else from the store, else from the instance, and what the instance says is written to the store
//! before it is believed, because a tombstone may be waiting there.

mod orders;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use prometheus::IntCounter;

use super::audit::{Action, Actor, Event};
use super::block::{Blocks, Subject};
use super::cache::{Cache, Finding, Purpose};
use super::graves::Graves;
use super::lease::{Lease, Moment};
use super::notice::{Board, Epoch, Notice, Notices};
use super::store::watch;
use super::{ActiveKey, Admission, Adoption, Ending, KeyHash, KeyRecord, KeyStore, Learned, LookupError};
use super::{Revocation, Settings, StoreError, Verdict};
use crate::observe::Metrics;

pub use orders::{Ended, News, Revoke};

/// The keys of one instance; shared by all workers.
pub struct Keys {
    shared: Arc<Shared>,
    hits: IntCounter,
    misses: IntCounter,
}

struct Shared {
    instance: Arc<str>,
    cache: Cache,
    graves: Graves,
    blocks: Blocks,
    board: Arc<Board>,
    lease: Arc<Lease>,
    serve_stale_for: Duration,
    store: Arc<dyn KeyStore>,
    metrics: Arc<Metrics>,
}

impl Keys {
    /// The keys of this instance in that store. What is remembered of them is used under this lease.
    #[must_use]
    pub fn new(
        instance: Arc<str>,
        settings: &Settings,
        lease: Arc<Lease>,
        store: Arc<dyn KeyStore>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let outcomes = &metrics.key_cache;
        let (hits, misses) = (outcomes.with_label_values(&["hit"]), outcomes.with_label_values(&["miss"]));
        let cache = Cache::new(settings.cache_entries, settings.cache_for, Arc::clone(&lease));
        let (graves, board) = (Graves::default(), Arc::<Board>::default());
        let blocks = Blocks::telling(Arc::clone(&board));
        let serve_stale_for = settings.serve_stale_for;
        let shared =
            Shared { instance, cache, graves, blocks, board, lease, serve_stale_for, store, metrics };
        Self { shared: Arc::new(shared), hits, misses }
    }

    /// Everything that ends from now on.
    #[must_use]
    pub fn notices(&self) -> Notices {
        self.shared.board.listen()
    }

    /// What a credential was judged in; where it has passed since, something has ended meanwhile.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.shared.board.epoch()
    }

    /// The users and sessions that are refused.
    #[must_use]
    pub fn blocks(&self) -> &Blocks {
        &self.shared.blocks
    }

    /// What is to be thought of a key. `adopt` asks the instance; it is called only where neither the
    /// cache nor the store knows the key, and by one of all those who ask at the same time.
    ///
    /// # Errors
    /// Where the store or the instance could not answer. An old verdict is used instead only where the
    /// operator has chosen so, and for as long.
    pub async fn verdict<F, Fut, E>(&self, hash: &KeyHash, adopt: F) -> Result<Verdict, LookupError<E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Adoption, E>>,
        E: Send + Sync + 'static,
    {
        let asked_at = Moment::now();
        if let Some(verdict) = self.recall(hash, asked_at).await {
            return Ok(verdict);
        }
        let load = || async move { self.shared.find_or_adopt(hash, adopt).await };
        // Boxed, so that the future of a hit stays small.
        let verdict = Box::pin(self.shared.cache.load(hash, Purpose::Answer { asked_at }, load)).await;
        match verdict {
            Err(LookupError::Store(_)) => Box::pin(self.shared.stale(hash)).await.map_or(verdict, Ok),
            Ok(_) | Err(LookupError::Adopt(_)) => verdict,
        }
    }

    /// The same without the instance: a key that the store does not know is unknown, and that is not
    /// remembered, since the instance might know it.
    ///
    /// # Errors
    /// Where the store could not answer.
    pub async fn known(&self, hash: &KeyHash) -> Result<Verdict, StoreError> {
        let asked_at = Moment::now();
        if let Some(verdict) = self.recall(hash, asked_at).await {
            return Ok(verdict);
        }
        let load = || async move {
            let found = self.shared.find(hash).await?;
            Ok(found.map_or(Finding::Unsettled, Finding::Settled))
        };
        let verdict = Box::pin(self.shared.cache.load(hash, Purpose::Answer { asked_at }, load)).await;
        match verdict {
            Ok(verdict) => Ok(verdict),
            Err(error) => Box::pin(self.shared.stale(hash)).await.ok_or_else(|| of_store(error)),
        }
    }

    /// Whether this process has not met the key, so that judging it takes a look-up which no earlier good
    /// use speaks for. A key that was good here is none, however long ago it was looked up.
    pub async fn is_stranger(&self, hash: &KeyHash) -> bool {
        self.shared.cache.is_stranger(hash, Moment::now()).await
    }

    /// Takes in a key. What the store knows already stays, and a tombstone wins.
    ///
    /// # Errors
    /// Where the store could not write it.
    pub async fn learn(&self, news: News<'_>) -> Result<Learned, StoreError> {
        let hash = news.record.hash;
        let mut learned = Learned::Revoked;
        let outcome = &mut learned;
        let record = news.record.clone();
        let load = || async move {
            *outcome = self.shared.write(news).await?;
            if self.shared.graves.hold_id(&record.id) {
                *outcome = Learned::Revoked;
            }
            Ok(match outcome {
                Learned::Written => Finding::Settled(Verdict::of(record)),
                Learned::Known(_) | Learned::Revoked | Learned::TooMany => Finding::Changed,
            })
        };
        if self.shared.graves.hold(&hash) {
            return Ok(Learned::Revoked);
        }
        Box::pin(self.shared.cache.load(&hash, Purpose::Learn, load)).await.map_err(of_store)?;
        Ok(learned)
    }

    /// Changes what the store holds of a key, and forgets what was remembered of it.
    ///
    /// # Errors
    /// What `change` fails with.
    pub(super) async fn change<T, Fut>(&self, hash: &KeyHash, change: Fut) -> Result<T, StoreError>
    where
        Fut: Future<Output = Result<T, StoreError>>,
    {
        let mut changed = None;
        let outcome = &mut changed;
        let load = || async move {
            // Also where it failed: whether the store has done it is not known then.
            *outcome = Some(watch(&self.shared.metrics, change.await));
            Ok(Finding::Changed)
        };
        Box::pin(self.shared.cache.load(hash, Purpose::Change, load)).await.map_err(of_store)?;
        self.shared.board.tell(Notice::KeyAmended(*hash));
        changed.unwrap_or_else(|| Err(stopping()))
    }

    /// Forgets what is remembered of a key: there is news of it. A revocation stays.
    pub(super) async fn forget(&self, hash: &KeyHash) {
        self.shared.cache.spoil(hash).await;
    }

    /// The same, where others have changed its policy: what it has under way is judged again.
    pub(super) async fn amended(&self, hash: &KeyHash) {
        self.forget(hash).await;
        self.shared.board.tell(Notice::KeyAmended(*hash));
    }

    /// Forgets all that is remembered. Revocations stay.
    pub(super) async fn forget_all(&self) {
        let shared = Arc::clone(&self.shared);
        // Every entry is looked at. It can only fail where the process ends.
        let _ = tokio::task::spawn_blocking(move || shared.cache.spoil_all()).await;
    }

    /// Revokes the key with this id, whether it is known or not. When this has returned `Ok`, no request to
    /// this process that asks for its verdict from then on is told that it may be used. Runs to its end even
    /// where the caller stops waiting.
    ///
    /// # Errors
    /// Where the store could not write it. This process then refuses the key all the same, if it had it
    /// in its cache, until it is restarted; revoke again to make it last.
    pub async fn revoke(&self, revoke: Revoke<'_>) -> Result<Ended, StoreError> {
        let (shared, id) = (Arc::clone(&self.shared), revoke.id.to_owned());
        let (revocation, tell, actor) = (revoke.revocation, revoke.tell, revoke.actor.clone());
        let revoking = tokio::spawn(async move {
            let revoke = Revoke { id: &id, revocation, tell, actor: &actor };
            shared.revoke(revoke).await
        });
        revoking.await.unwrap_or_else(|_| Err(stopping()))
    }

    /// Refuses a key from now on that was revoked in the store. Waits for no load.
    pub(super) async fn bury(&self, id: &str, hashes: &[KeyHash], revocation: &Revocation) {
        self.shared.bury(id, hashes, revocation).await;
    }

    /// The revocations that this process knows of, by the keys' ids.
    pub(super) fn graves(&self) -> Vec<(String, Revocation)> {
        self.shared.graves.all()
    }

    /// The records of the good keys that are remembered.
    pub(super) async fn remembered(&self) -> Vec<Arc<ActiveKey>> {
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || shared.cache.good()).await.unwrap_or_default()
    }

    async fn recall(&self, hash: &KeyHash, now: Moment) -> Option<Verdict> {
        let verdict = self.shared.cache.recall(hash, now).await;
        if verdict.is_some() {
            self.hits.inc()
        } else {
            self.misses.inc()
        }
        verdict
    }
}

impl Shared {
    /// What the store says of a key. Without a lease, news of blocked users may not have come either.
    async fn find(&self, hash: &KeyHash) -> Result<Option<Verdict>, StoreError> {
        if self.graves.hold(hash) {
            return Ok(Some(Verdict::Revoked));
        }
        let found = watch(&self.metrics, self.store.find(&self.instance, hash).await)?;
        let Some(verdict) = found.map(Verdict::of) else { return Ok(None) };
        if let Verdict::Active(key) = &verdict {
            if self.graves.hold(hash) || self.graves.hold_id(&key.record.id) {
                return Ok(Some(Verdict::Revoked));
            }
            let subject = Subject::User(key.record.user_id.clone());
            if !self.lease.holds(Moment::now()) && self.store.is_blocked(&self.instance, &subject).await? {
                self.blocks.add(Subject::User(key.user_id.as_str().to_owned()), None);
            }
        }
        Ok(Some(verdict))
    }

    async fn find_or_adopt<F, Fut, E>(&self, hash: &KeyHash, adopt: F) -> Result<Finding, LookupError<E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Adoption, E>>,
    {
        if let Some(verdict) = self.find(hash).await? {
            return Ok(Finding::Settled(verdict));
        }
        let verdict = match adopt().await.map_err(|error| LookupError::Adopt(Arc::new(error)))? {
            Adoption::Owned(record) => {
                // What was asked about decides the name, whatever the answer says.
                let record = KeyRecord { hash: *hash, ..record };
                let (action, actor) = (Action::KeyAdopted, Actor::gateway());
                let news = News { record: record.clone(), most: None, action, actor: &actor };
                match self.write(news).await? {
                    _ if self.graves.hold(hash) || self.graves.hold_id(&record.id) => Verdict::Revoked,
                    Learned::Written => Verdict::of(record),
                    Learned::Known(known) => Verdict::of(known),
                    Learned::Revoked | Learned::TooMany => Verdict::Revoked,
                }
            }
            Adoption::Unknown => Verdict::Unknown,
            Adoption::Refused(refusal) => Verdict::Refused(refusal),
            Adoption::Withheld => return Ok(Finding::Unsettled),
        };
        Ok(Finding::Settled(verdict))
    }

    /// An old verdict in place of one that the store could not give, where the operator allows it.
    async fn stale(&self, hash: &KeyHash) -> Option<Verdict> {
        if self.serve_stale_for.is_zero() || !self.lease.held_within(self.serve_stale_for, Moment::now()) {
            return None;
        }
        let verdict = self.cache.recall_without_lease(hash).await?;
        self.metrics.sharing.stale_verdicts.inc();
        Some(verdict)
    }

    async fn write(&self, news: News<'_>) -> Result<Learned, StoreError> {
        let News { record, most, action, actor } = news;
        let record = KeyRecord { instance: Arc::clone(&self.instance), ..record };
        let mut event = Event::new(SystemTime::now(), actor, action);
        event.instance = Some(self.instance.to_string());
        event.key_id = Some(record.id.clone());
        event.user_id = Some(record.user_id.clone());
        let terms = Admission { most, event: &event };
        watch(&self.metrics, self.store.learn(&record, terms).await)
    }

    /// The store first: a load that starts after the tombstone must already find the revocation there.
    async fn revoke(self: Arc<Self>, revoke: Revoke<'_>) -> Result<Ended, StoreError> {
        let Revoke { id, revocation, tell, actor } = revoke;
        let mut event = Event::new(revocation.at, actor, Action::KeyRevoked);
        event.instance = Some(self.instance.to_string());
        event.key_id = Some(id.to_owned());
        event.detail = Some(match &revocation.why {
            Some(why) => format!("{}: {why}", revocation.by.as_str()),
            None => revocation.by.as_str().to_owned(),
        });
        let ending = Ending { instance: &self.instance, id, revocation: &revocation, tell, event: &event };
        let written = watch(&self.metrics, self.store.revoke(ending).await);
        let hashes = written.as_ref().map(|written| written.hashes.as_slice()).unwrap_or_default();
        self.bury(id, hashes, &revocation).await;
        let written = written?;
        self.metrics.revocations.inc();
        Ok(Ended { keys: written.hashes.len(), position: written.position })
    }

    /// The grave first: a load that starts after it finds it, and one that runs already is spoiled.
    async fn bury(self: &Arc<Self>, id: &str, hashes: &[KeyHash], revocation: &Revocation) {
        self.graves.dig(id, hashes, revocation);
        for hash in hashes {
            self.end(hash).await;
        }
        if !hashes.is_empty() {
            return;
        }
        // The store could not name it: it failed, or it has lost the record since. Every entry is looked at,
        // so that happens off the workers.
        let (shared, wanted) = (Arc::clone(self), id.to_owned());
        let search = move || shared.cache.good().into_iter().filter(|key| key.record.id == wanted).collect();
        let remembered: Vec<Arc<ActiveKey>> = tokio::task::spawn_blocking(search).await.unwrap_or_default();
        for key in remembered {
            self.graves.dig(id, &[key.record.hash], revocation);
            self.end(&key.record.hash).await;
        }
    }

    /// Refuses a key from now on, and ends what it has under way.
    async fn end(&self, hash: &KeyHash) {
        self.cache.spoil(hash).await;
        self.board.tell(Notice::KeyEnded(*hash));
    }
}

fn stopping() -> StoreError {
    StoreError::Unreachable("the gateway is stopping".to_owned())
}

fn of_store(error: LookupError<Infallible>) -> StoreError {
    match error {
        LookupError::Store(error) => error,
        LookupError::Adopt(never) => match *never {},
    }
}

#[cfg(test)]
mod tests;
