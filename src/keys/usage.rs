//! When keys were last used: noted without waiting, merged per key, written in batches.
//!
//! Each worker notes in a shard of its own, whose lock only the flusher ever contends for. A flush that
//! fails loses nothing: what was taken is kept and written with the next. A process that is killed loses
//! at most what came since the last flush. Decides nothing about when to flush.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::store::watch;
use super::{ActiveKey, KeyHash, KeyStore, StoreError, Use};
use crate::observe::Metrics;

/// How many keys a shard, or the flusher between two tries, holds at most. More keys than that in one
/// interval are passed over: their last use is then noted by a later request.
const MOST_KEYS: usize = 100_000;

/// The uses that are not written yet, of all workers.
pub struct Usage {
    metrics: Arc<Metrics>,
    shards: Mutex<Vec<Arc<Shard>>>,
    /// Taken from the shards and not known to be written; held during a flush, so that there is one at a time.
    unwritten: tokio::sync::Mutex<Uses>,
    dropped: AtomicU64,
}

/// One worker's part of [`Usage`].
pub struct UsageShard {
    usage: Arc<Usage>,
    shard: Arc<Shard>,
}

#[derive(Default)]
struct Shard(Mutex<Uses>);

/// The newest use of each key; by instance first, so that a look-up borrows the name.
#[derive(Default)]
struct Uses {
    newest: HashMap<Arc<str>, HashMap<KeyHash, SystemTime>>,
    keys: usize,
}

/// What became of a use.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Noted {
    Added,
    Merged,
    Dropped,
}

impl Usage {
    /// Nothing used yet.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            metrics,
            shards: Mutex::default(),
            unwritten: tokio::sync::Mutex::default(),
            dropped: AtomicU64::new(0),
        })
    }

    /// A shard for one worker.
    #[must_use]
    pub fn shard(self: &Arc<Self>) -> UsageShard {
        let shard = Arc::new(Shard::default());
        lock(&self.shards).push(Arc::clone(&shard));
        UsageShard { usage: Arc::clone(self), shard }
    }

    /// Writes all that was noted, and returns how many keys that were. With nothing to write it asks the
    /// store for a sign of life instead, so that `store_up` is true of idle gateways too.
    ///
    /// # Errors
    /// Where the store could not write it. It is kept for the next flush.
    pub async fn flush(&self, store: &dyn KeyStore) -> Result<usize, StoreError> {
        let mut unwritten = self.unwritten.lock().await;
        self.collect(&mut unwritten);
        if unwritten.keys == 0 {
            // Only the gauge wants to know: there was nothing to lose.
            let _ = watch(&self.metrics, store.ping().await);
            return Ok(0);
        }
        watch(&self.metrics, store.note_used(&unwritten.list()).await)?;
        let written = std::mem::take(&mut *unwritten).keys;
        self.metrics.usage_pending.sub(as_gauge(written));
        Ok(written)
    }

    /// How many uses were passed over because too many keys were waiting.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn collect(&self, unwritten: &mut Uses) {
        let shards = lock(&self.shards).clone();
        for shard in shards {
            let taken = std::mem::take(&mut *lock(&shard.0));
            let waiting = as_gauge(unwritten.keys + taken.keys);
            for (instance, uses) in taken.newest {
                for (hash, at) in uses {
                    if unwritten.note(&instance, hash, at) == Noted::Dropped {
                        self.dropped.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
            self.metrics.usage_pending.sub(waiting - as_gauge(unwritten.keys));
        }
    }
}

impl UsageShard {
    /// Notes that a key was used. Never waits for the store, and fails nobody.
    pub fn note(&self, key: &ActiveKey, at: SystemTime) {
        let noted = lock(&self.shard.0).note(&key.record.instance, key.record.hash, at);
        match noted {
            Noted::Added => self.usage.metrics.usage_pending.inc(),
            Noted::Merged => {}
            Noted::Dropped => {
                self.usage.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Uses {
    fn note(&mut self, instance: &Arc<str>, hash: KeyHash, at: SystemTime) -> Noted {
        if let Some(newest) = self.newest.get_mut(&**instance).and_then(|uses| uses.get_mut(&hash)) {
            *newest = at.max(*newest);
            return Noted::Merged;
        }
        if self.keys >= MOST_KEYS {
            return Noted::Dropped;
        }
        self.newest.entry(Arc::clone(instance)).or_default().insert(hash, at);
        self.keys += 1;
        Noted::Added
    }

    fn list(&self) -> Vec<Use> {
        let of_instance = |(instance, uses): (&Arc<str>, &HashMap<KeyHash, SystemTime>)| {
            let instance = Arc::clone(instance);
            let list: Vec<Use> = uses
                .iter()
                .map(|(hash, at)| Use { instance: Arc::clone(&instance), hash: *hash, at: *at })
                .collect();
            list
        };
        self.newest.iter().flat_map(of_instance).collect()
    }
}

/// A shard's content is whole at every moment, so a panic elsewhere spoils nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn as_gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::time::Duration;

    use super::*;
    use crate::keys::record::tests::record;
    use crate::keys::{Answer, KeyRecord, Learned, Revocation};

    /// Takes notes, or refuses to.
    #[derive(Default)]
    struct Notes {
        down: Mutex<bool>,
        written: Mutex<Vec<Use>>,
    }

    impl Notes {
        fn answer(&self) -> Result<(), StoreError> {
            if *lock(&self.down) { Err(StoreError::Timeout) } else { Ok(()) }
        }

        fn take(&self) -> Vec<(KeyHash, SystemTime)> {
            let mut written: Vec<_> = std::mem::take(&mut *lock(&self.written))
                .into_iter()
                .map(|used| (used.hash, used.at))
                .collect();
            written.sort();
            written
        }
    }

    impl KeyStore for Notes {
        fn find<'a>(&'a self, _: &'a str, _: &'a KeyHash) -> Answer<'a, Option<KeyRecord>> {
            Box::pin(ready(Ok(None)))
        }
        fn learn<'a>(&'a self, _: &'a KeyRecord) -> Answer<'a, Learned> {
            Box::pin(ready(Ok(Learned::Written)))
        }
        fn revoke<'a>(&'a self, _: &'a str, _: &'a str, _: Revocation) -> Answer<'a, Option<KeyHash>> {
            Box::pin(ready(Ok(None)))
        }
        fn note_used<'a>(&'a self, uses: &'a [Use]) -> Answer<'a, ()> {
            let answer = self.answer();
            if answer.is_ok() {
                lock(&self.written).extend(uses.iter().cloned());
            }
            Box::pin(ready(answer))
        }
        fn ping(&self) -> Answer<'_, ()> {
            Box::pin(ready(self.answer()))
        }
        fn probe(&self) -> Answer<'_, ()> {
            self.ping()
        }
    }

    fn key(text: &str) -> ActiveKey {
        ActiveKey::new(record(text)).expect("active")
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn usage() -> Arc<Usage> {
        Usage::new(Arc::new(Metrics::new().expect("metrics")))
    }

    #[tokio::test]
    async fn uses_of_all_workers_merge_to_the_newest_of_each_key() {
        let (usage, store) = (usage(), Notes::default());
        let (one, two) = (usage.shard(), usage.shard());
        one.note(&key("a"), at(7));
        one.note(&key("a"), at(5));
        two.note(&key("a"), at(9));
        two.note(&key("b"), at(1));
        assert_eq!(usage.metrics.usage_pending.get(), 3);
        assert_eq!(usage.flush(&store).await.expect("written"), 2);
        let mut expected = vec![(KeyHash::of("a"), at(9)), (KeyHash::of("b"), at(1))];
        expected.sort();
        assert_eq!(store.take(), expected);
        assert_eq!(usage.metrics.usage_pending.get(), 0);
        assert_eq!(usage.flush(&store).await.expect("nothing to write"), 0);
    }

    #[tokio::test]
    async fn a_flush_that_fails_is_made_up_for_by_the_next() {
        let (usage, store) = (usage(), Notes::default());
        let shard = usage.shard();
        *lock(&store.down) = true;
        shard.note(&key("a"), at(9));
        usage.flush(&store).await.expect_err("the store is down");
        assert_eq!((usage.metrics.usage_pending.get(), usage.metrics.store_up.get()), (1, 0));
        shard.note(&key("a"), at(3));
        *lock(&store.down) = false;
        assert_eq!(usage.flush(&store).await.expect("written"), 1);
        assert_eq!(store.take(), [(KeyHash::of("a"), at(9))]);
        assert_eq!((usage.metrics.usage_pending.get(), usage.metrics.store_up.get()), (0, 1));
    }

    #[tokio::test]
    async fn an_idle_gateway_still_knows_whether_its_store_is_up() {
        let (usage, store) = (usage(), Notes::default());
        usage.flush(&store).await.expect("nothing to write");
        assert_eq!(usage.metrics.store_up.get(), 1);
        *lock(&store.down) = true;
        usage.flush(&store).await.expect("nothing to write");
        assert_eq!(usage.metrics.store_up.get(), 0);
    }

    #[test]
    fn a_full_shard_drops_new_keys_and_counts_them() {
        let mut uses = Uses { keys: MOST_KEYS - 1, ..Uses::default() };
        let home: Arc<str> = "home".into();
        assert!(uses.note(&home, KeyHash::of("a"), at(1)) == Noted::Added);
        assert!(uses.note(&home, KeyHash::of("b"), at(1)) == Noted::Dropped);
        assert!(uses.note(&home, KeyHash::of("a"), at(2)) == Noted::Merged);
    }

    #[test]
    fn the_same_key_at_two_instances_is_two_uses() {
        let mut uses = Uses::default();
        for instance in ["home", "away"] {
            uses.note(&instance.into(), KeyHash::of("a"), at(1));
        }
        assert_eq!(uses.list().len(), 2);
    }
}
