//! When, over what and how often keys were used: noted without waiting, merged per key, written in batches.
//!
//! Counts are written as this process's totals of the day, so a write that is repeated changes nothing.
//! Each worker notes in a shard of its own, whose lock only the flusher ever contends for. A flush that
//! fails loses nothing: what was taken is kept and written with the next. A process that is killed loses
//! at most what came since the last flush. Decides nothing about when to flush.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::store::{day_of, watch};
use super::token::ByHash;
use super::{ActiveKey, AddressFamily, KeyHash, KeyStore, StoreError, Use};
use crate::observe::Metrics;

/// How many keys a shard, or the flusher between two tries, holds at most. More keys than that in one
/// interval are passed over: their last use is then noted by a later request.
const MOST_KEYS: usize = 100_000;

/// The uses that are not written yet, of all workers.
pub struct Usage {
    metrics: Arc<Metrics>,
    /// This process, among all that ever wrote to the store.
    replica: String,
    shards: Mutex<Vec<Arc<Shard>>>,
    /// Held during a flush, so that there is one at a time.
    flush: tokio::sync::Mutex<Flush>,
    dropped: AtomicU64,
}

#[derive(Default)]
struct Flush {
    /// Taken from the shards and not known to be written.
    unwritten: Uses,
    totals: Totals,
}

/// How often each key was used on the day that it was last used.
#[derive(Default)]
struct Totals(PerKey<(u32, u64)>);

/// One worker's part of [`Usage`].
pub struct UsageShard {
    usage: Arc<Usage>,
    shard: Arc<Shard>,
}

#[derive(Default)]
struct Shard(Mutex<Uses>);

/// The uses that are not written yet, which stay so while this is held: what is read from the store
/// meanwhile lacks exactly these.
pub struct Unwritten<'u> {
    usage: &'u Usage,
    flush: tokio::sync::MutexGuard<'u, Flush>,
}

/// The newest use of each key.
#[derive(Default)]
struct Uses {
    newest: PerKey<Newest>,
    keys: usize,
}

/// Something of each key. Instances are few, so that to compare their names is less than to hash one.
type PerKey<T> = BTreeMap<Arc<str>, ByHash<T>>;

/// The newest of some uses of a key, and how many they are.
#[derive(Clone, Copy)]
struct Newest {
    at: SystemTime,
    over: AddressFamily,
    count: u64,
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
            replica: format!("{:016x}", rand::random::<u64>()),
            shards: Mutex::default(),
            flush: tokio::sync::Mutex::default(),
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
        let mut flush = self.flush.lock().await;
        let Flush { unwritten, totals } = &mut *flush;
        self.collect(unwritten, totals);
        if unwritten.keys == 0 {
            // Only the gauge wants to know: there was nothing to lose.
            let _ = watch(&self.metrics, store.ping().await);
            return Ok(0);
        }
        watch(&self.metrics, store.note_used(&self.replica, &unwritten.list(totals)).await)?;
        let written = std::mem::take(unwritten).keys;
        totals.forget_before(SystemTime::now());
        self.metrics.usage_pending.sub(as_gauge(written));
        Ok(written)
    }

    /// How many uses were passed over because too many keys were waiting.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn collect(&self, unwritten: &mut Uses, totals: &mut Totals) {
        let shards = lock(&self.shards).clone();
        for shard in shards {
            let taken = std::mem::take(&mut *lock(&shard.0));
            let waiting = as_gauge(unwritten.keys + taken.keys);
            for (instance, uses) in taken.newest {
                for (hash, newest) in uses {
                    if unwritten.note(&instance, hash, newest) == Noted::Dropped {
                        self.dropped.fetch_add(1, Ordering::Relaxed);
                    } else {
                        totals.add(&instance, hash, newest);
                    }
                }
            }
            self.metrics.usage_pending.sub(waiting - as_gauge(unwritten.keys));
        }
    }
}

impl Totals {
    /// Uses around midnight count for the day of the newest of them.
    fn add(&mut self, instance: &Arc<str>, hash: KeyHash, newest: Newest) {
        let today = day_of(newest.at);
        let (day, count) = self.0.entry(Arc::clone(instance)).or_default().entry(hash).or_insert((today, 0));
        if today > *day {
            (*day, *count) = (today, 0);
        }
        *count += newest.count;
    }

    fn of(&self, instance: &Arc<str>, hash: KeyHash) -> u64 {
        self.0.get(instance).and_then(|days| days.get(&hash)).map_or(0, |(_, count)| *count)
    }

    /// What is written of yesterday grows no more.
    fn forget_before(&mut self, now: SystemTime) {
        let today = day_of(now);
        for days in self.0.values_mut() {
            days.retain(|_, (day, _)| *day >= today);
        }
    }
}

impl UsageShard {
    /// Notes that a key was used. Never waits for the store, and fails nobody.
    pub fn note(&self, key: &ActiveKey, at: SystemTime, over: AddressFamily) {
        let newest = Newest { at, over, count: 1 };
        let noted = lock(&self.shard.0).note(&key.record.instance, key.record.hash, newest);
        match noted {
            Noted::Added => self.usage.metrics.usage_pending.inc(),
            Noted::Merged => {}
            Noted::Dropped => {
                self.usage.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl UsageShard {
    /// Waits for a flush that is under way, and holds up the next.
    pub async fn unwritten(&self) -> Unwritten<'_> {
        Unwritten { usage: &self.usage, flush: self.usage.flush.lock().await }
    }
}

impl Unwritten<'_> {
    /// When any worker last saw this key used.
    #[must_use]
    pub fn last_use(&self, instance: &str, hash: &KeyHash) -> Option<SystemTime> {
        let waiting = self.flush.unwritten.last_use(instance, hash);
        let shards = lock(&self.usage.shards).clone();
        shards.iter().filter_map(|shard| lock(&shard.0).last_use(instance, hash)).chain(waiting).max()
    }
}

impl Uses {
    fn last_use(&self, instance: &str, hash: &KeyHash) -> Option<SystemTime> {
        self.newest.get(instance)?.get(hash).map(|newest| newest.at)
    }

    fn note(&mut self, instance: &Arc<str>, hash: KeyHash, newer: Newest) -> Noted {
        if let Some(newest) = self.newest.get_mut(&**instance).and_then(|uses| uses.get_mut(&hash)) {
            newest.count += newer.count;
            if newer.at > newest.at {
                (newest.at, newest.over) = (newer.at, newer.over);
            }
            return Noted::Merged;
        }
        if self.keys >= MOST_KEYS {
            return Noted::Dropped;
        }
        self.newest.entry(Arc::clone(instance)).or_default().insert(hash, newer);
        self.keys += 1;
        Noted::Added
    }

    fn list(&self, totals: &Totals) -> Vec<Use> {
        let mut list = Vec::with_capacity(self.keys);
        for (instance, uses) in &self.newest {
            list.extend(uses.iter().map(|(hash, newest)| Use {
                instance: Arc::clone(instance),
                hash: *hash,
                at: newest.at,
                over: newest.over,
                count: totals.of(instance, *hash),
            }));
        }
        // In the order in which stores keep keys, so that each of their pages is written once.
        list.sort_unstable_by(|one, other| (&one.instance, &one.hash).cmp(&(&other.instance, &other.hash)));
        list
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
mod tests;
