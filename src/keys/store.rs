//! What a key store must do. Two implementers: the embedded SQLite file and Redis.
//!
//! A store is asked only where the cache has no answer, by the mirror and by the usage flusher; nothing
//! that a cache hit touches goes through this trait.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::embedded::Embedded;
use super::redis::RedisStore;
use super::{KeyHash, KeyRecord, Revocation, StoreSettings};
use crate::observe::Metrics;

/// What a store gives back, later.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Where key records are kept.
pub trait KeyStore: Send + Sync + 'static {
    /// The record of the key with this hash at this instance, revoked ones included.
    fn find<'a>(&'a self, instance: &'a str, hash: &'a KeyHash) -> Answer<'a, Option<KeyRecord>>;

    /// Writes the record of a key that was seen created, or adopted, unless the store already knows
    /// better: an existing record stays as it is, and a tombstone left for its id wins (the record is
    /// then written as revoked). One atomic step.
    fn learn<'a>(&'a self, record: &'a KeyRecord) -> Answer<'a, Learned>;

    /// Revokes the key with this id at this instance and returns its hash, where the store knows it.
    /// For an unknown id a tombstone is left, so that the key can never be learned as active.
    /// Repeatable: the first revocation stays. One atomic step.
    fn revoke<'a>(
        &'a self,
        instance: &'a str,
        id: &'a str,
        revocation: Revocation,
    ) -> Answer<'a, Option<KeyHash>>;

    /// Moves the last use of each key forward, never back. Keys that the store does not know are passed over.
    fn note_used<'a>(&'a self, uses: &'a [Use]) -> Answer<'a, ()>;

    /// Shows that the store answers, cheaply.
    fn ping(&self) -> Answer<'_, ()>;

    /// Shows that all that the gateway needs works: signs in, writes, reads and deletes a record of its own.
    fn probe(&self) -> Answer<'_, ()>;
}

/// What became of a record that was to be learned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Learned {
    /// It was written as it was given.
    Written,
    /// The store already had a record for this hash, which stays; here it is.
    Known(KeyRecord),
    /// A tombstone was waiting for this key: it is revoked.
    Revoked,
}

/// That a key was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// The key's instance.
    pub instance: Arc<str>,
    /// The key.
    pub hash: KeyHash,
    /// When it was last used.
    pub at: SystemTime,
}

/// The store could not answer. Never means that a key is bad.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// It cannot be used as it is set up; waiting mends nothing.
    #[error("the key store cannot be used: {0}")]
    Unusable(String),
    /// Another process has it open, and it is for one at a time.
    #[error("the key store is in use: {0}")]
    InUse(String),
    /// It could not be reached.
    #[error("the key store cannot be reached: {0}")]
    Unreachable(String),
    /// It did not answer in time.
    #[error("the key store did not answer in time")]
    Timeout,
    /// It answered with an error.
    #[error("the key store refused: {0}")]
    Refused(String),
    /// It holds something that is not a key record.
    #[error("the key store holds a record that cannot be read: {0}")]
    Corrupt(String),
}

/// Opens the store that the settings name. The embedded store is made where it does not exist. Redis is
/// not asked anything yet: it is connected to when it is first needed, and again whenever that is needed.
///
/// Call it on a runtime that lives as long as the store does and is never blocked: Redis is read there.
///
/// # Errors
/// Where the embedded file or the Redis URL cannot be used.
pub async fn open(settings: &StoreSettings) -> Result<Arc<dyn KeyStore>, StoreError> {
    Ok(match settings {
        StoreSettings::Embedded { path } => Arc::new(Embedded::open(path).await?),
        StoreSettings::Redis { url, namespace, timeout } => {
            Arc::new(RedisStore::new(url, namespace, *timeout)?)
        }
    })
}

/// Passes an answer on, and notes in `store_up` whether the store could give one. A record that cannot
/// be read is an answer.
pub(super) fn watch<T>(metrics: &Metrics, answer: Result<T, StoreError>) -> Result<T, StoreError> {
    let up = matches!(&answer, Ok(_) | Err(StoreError::Corrupt(_)));
    metrics.store_up.set(i64::from(up));
    answer
}

/// A time as stores keep it: whole milliseconds since 1970, which every store and script counts exactly.
pub(super) fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The time that a store kept; `None` where it cannot be one.
pub(super) fn from_millis(millis: i64) -> Option<SystemTime> {
    let since = Duration::from_millis(u64::try_from(millis).ok()?);
    SystemTime::UNIX_EPOCH.checked_add(since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_survives_the_store_to_the_millisecond() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_384_639_021);
        assert_eq!(from_millis(millis(time)), Some(time));
        assert_eq!(from_millis(millis(time + Duration::from_nanos(999_999))), Some(time));
        assert_eq!(from_millis(-1), None);
    }
}
