//! The keys of one instance: which may be used, which came to be known, which were revoked.
//!
//! Knows no HTTP: whoever asks an instance about a key passes that in. A verdict comes from the cache,
//! else from the store, else from the instance, and what the instance says is written to the store
//! before it is believed, because a tombstone may be waiting there.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use prometheus::IntCounter;

use super::cache::{Cache, Finding, Purpose};
use super::store::watch;
use super::{Adoption, KeyHash, KeyRecord, KeyStore, Learned, LookupError, Revocation, Settings};
use super::{StoreError, Verdict};
use crate::observe::Metrics;

/// The keys of one instance; shared by all workers.
pub struct Keys {
    shared: Arc<Shared>,
    hits: IntCounter,
    misses: IntCounter,
}

struct Shared {
    instance: Arc<str>,
    cache: Cache,
    store: Arc<dyn KeyStore>,
    metrics: Arc<Metrics>,
}

impl Keys {
    /// The keys of this instance in that store.
    #[must_use]
    pub fn new(
        instance: Arc<str>,
        settings: &Settings,
        store: Arc<dyn KeyStore>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let outcomes = &metrics.key_cache;
        let (hits, misses) = (outcomes.with_label_values(&["hit"]), outcomes.with_label_values(&["miss"]));
        let cache = Cache::new(settings.cache_entries, settings.cache_for);
        Self { shared: Arc::new(Shared { instance, cache, store, metrics }), hits, misses }
    }

    /// What is to be thought of a key. `adopt` asks the instance; it is called only where neither the
    /// cache nor the store knows the key, and by one of all those who ask at the same time.
    ///
    /// # Errors
    /// Where the store or the instance could not answer. An old verdict is never used instead.
    pub async fn verdict<F, Fut, E>(&self, hash: &KeyHash, adopt: F) -> Result<Verdict, LookupError<E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Adoption, E>>,
        E: Send + Sync + 'static,
    {
        let asked_at = Instant::now();
        if let Some(verdict) = self.recall(hash, asked_at).await {
            return Ok(verdict);
        }
        let load = || async move { self.shared.find_or_adopt(hash, adopt).await };
        // Boxed, so that the future of a hit stays small.
        Box::pin(self.shared.cache.load(hash, Purpose::Answer { asked_at }, load)).await
    }

    /// The same without the instance: a key that the store does not know is unknown, and that is not
    /// remembered, since the instance might know it.
    ///
    /// # Errors
    /// Where the store could not answer.
    pub async fn known(&self, hash: &KeyHash) -> Result<Verdict, StoreError> {
        let asked_at = Instant::now();
        if let Some(verdict) = self.recall(hash, asked_at).await {
            return Ok(verdict);
        }
        let load = || async move {
            let record = self.shared.find(hash).await?;
            Ok(record.map_or(Finding::Unsettled, |record| Finding::Settled(Verdict::of(record))))
        };
        Box::pin(self.shared.cache.load(hash, Purpose::Answer { asked_at }, load)).await.map_err(of_store)
    }

    /// Whether this process has not met the key, so that judging it takes a look-up which no earlier good
    /// use speaks for. A key that was good here is none, however long ago it was looked up.
    pub async fn is_stranger(&self, hash: &KeyHash) -> bool {
        self.shared.cache.is_stranger(hash, Instant::now()).await
    }

    /// Takes note of a key that was seen created.
    ///
    /// # Errors
    /// Where the store could not write it.
    pub async fn learn(&self, record: KeyRecord) -> Result<(), StoreError> {
        let hash = record.hash;
        let load = || async move { Ok(Finding::Settled(self.shared.write(record).await?)) };
        Box::pin(self.shared.cache.load(&hash, Purpose::Learn, load)).await.map_err(of_store)?;
        Ok(())
    }

    /// Revokes the key with this id, whether it is known or not. When this has returned `Ok`, no request
    /// that asks for its verdict from then on is told that it may be used. Runs to its end even where
    /// the caller stops waiting.
    ///
    /// # Errors
    /// Where the store could not write it. This process then refuses the key all the same, if it had it
    /// in its cache, until it is restarted; revoke again to make it last.
    pub async fn revoke(&self, id: &str, revocation: Revocation) -> Result<(), StoreError> {
        let (shared, id) = (Arc::clone(&self.shared), id.to_owned());
        let revoking = tokio::spawn(async move { shared.revoke(id, revocation).await });
        revoking.await.unwrap_or_else(|_| Err(StoreError::Unreachable("the gateway is stopping".to_owned())))
    }

    async fn recall(&self, hash: &KeyHash, now: Instant) -> Option<Verdict> {
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
    async fn find(&self, hash: &KeyHash) -> Result<Option<KeyRecord>, StoreError> {
        watch(&self.metrics, self.store.find(&self.instance, hash).await)
    }

    async fn find_or_adopt<F, Fut, E>(&self, hash: &KeyHash, adopt: F) -> Result<Finding, LookupError<E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Adoption, E>>,
    {
        if let Some(record) = self.find(hash).await? {
            return Ok(Finding::Settled(Verdict::of(record)));
        }
        let verdict = match adopt().await.map_err(|error| LookupError::Adopt(Arc::new(error)))? {
            // What was asked about decides the name, whatever the answer says.
            Adoption::Owned(record) => self.write(KeyRecord { hash: *hash, ..record }).await?,
            Adoption::Unknown => Verdict::Unknown,
            Adoption::Refused(refusal) => Verdict::Refused(refusal),
            Adoption::Withheld => return Ok(Finding::Unsettled),
        };
        Ok(Finding::Settled(verdict))
    }

    async fn write(&self, record: KeyRecord) -> Result<Verdict, StoreError> {
        let record = KeyRecord { instance: Arc::clone(&self.instance), ..record };
        let learned = watch(&self.metrics, self.store.learn(&record).await)?;
        Ok(match learned {
            Learned::Written => Verdict::of(record),
            Learned::Known(record) => Verdict::of(record),
            Learned::Revoked => Verdict::Revoked,
        })
    }

    /// The store first: a load that starts after the tombstone must already find the revocation there.
    async fn revoke(self: Arc<Self>, id: String, revocation: Revocation) -> Result<(), StoreError> {
        let asked_at = Instant::now();
        let written = watch(&self.metrics, self.store.revoke(&self.instance, &id, revocation).await);
        if let Ok(Some(hash)) = &written {
            self.cache.bury(hash).await;
        }
        self.bury_remembered(id).await?;
        written?;
        self.metrics.revocations.inc();
        self.metrics.revocation_seconds.observe(asked_at.elapsed().as_secs_f64());
        Ok(())
    }

    /// Buries what the cache has under this id, because the store cannot always name it: it failed, or
    /// it lost the record since, or two keys came to share an id. Every entry is looked at, so that
    /// happens off the workers.
    async fn bury_remembered(self: &Arc<Self>, id: String) -> Result<(), StoreError> {
        let shared = Arc::clone(self);
        let search = tokio::task::spawn_blocking(move || shared.cache.with_id(&id));
        let remembered =
            search.await.map_err(|_| StoreError::Unreachable("the gateway is stopping".to_owned()))?;
        for hash in remembered {
            self.cache.bury(&hash).await;
        }
        Ok(())
    }
}

fn of_store(error: LookupError<Infallible>) -> StoreError {
    match error {
        LookupError::Store(error) => error,
        LookupError::Adopt(never) => match *never {},
    }
}

#[cfg(test)]
mod tests;
