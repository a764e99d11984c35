//! What a key store must do. Two implementers: the embedded SQLite file and Redis.
//!
//! A store is asked only where the cache has no answer, by operators, by the mirror and by the usage
//! flusher; nothing that a cache hit touches goes through here.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::audit::{Event, Head, Link, Trim};
use super::block::{Block, Subject};
use super::change::Change;
use super::embedded::Embedded;
use super::errand::{Errand, Settled};
use super::lease::{Asked, Moment, Position, Renewed, Whom};
use super::redis::RedisStore;
use super::{
    AddressFamily, Cursor, KeyHash, KeyRecord, Page, Policy, Query, Rate, Revocation, StoreSettings,
};
use crate::observe::Metrics;

/// What a store gives back, later.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// What requests need of a store, and those who note what became of them.
pub trait KeyStore: Send + Sync + 'static {
    /// The record of the key with this hash at this instance, revoked ones included.
    fn find<'a>(&'a self, instance: &'a str, hash: &'a KeyHash) -> Answer<'a, Option<KeyRecord>>;

    /// Writes the record of a key that came to be known, unless the store already knows better: an
    /// existing record stays as it is, and a tombstone left for its id wins (the record is then written as
    /// revoked). One atomic step, together with the event where something was written.
    fn learn<'a>(&'a self, record: &'a KeyRecord, terms: Admission<'a>) -> Answer<'a, Learned>;

    /// Revokes the key with this id at this instance, and returns the hashes of all keys with this id.
    /// For an unknown id a tombstone is left, so that the key can never be learned as active.
    /// Repeatable: the first revocation of each key stays. One atomic step, together with the event and the
    /// errand where anything was revoked that was not before.
    fn revoke<'a>(&'a self, ending: Ending<'a>) -> Answer<'a, Revoked>;

    /// Whether a user or a session is refused, ended blocks included.
    fn is_blocked<'a>(&'a self, instance: &'a str, subject: &'a Subject) -> Answer<'a, bool>;

    /// Moves the last use of each key forward, never back, and its count of the day likewise. Keys that
    /// the store does not know are passed over. Repeatable: counts are totals, not additions.
    fn note_used<'a>(&'a self, replica: &'a str, uses: &'a [Use]) -> Answer<'a, ()>;

    /// Counts one more of this name against a rate, together with everybody who uses this store. A store of this
    /// process alone leaves that to whoever asks.
    fn count<'a>(&'a self, _name: &'a str, _rate: Rate) -> Answer<'a, Counted> {
        Box::pin(std::future::ready(Ok(Counted::Apart)))
    }

    /// Shows that the store answers, cheaply.
    fn ping(&self) -> Answer<'_, ()>;

    /// Shows that all that the gateway needs works: signs in, writes, reads and deletes a record of its own.
    fn probe(&self) -> Answer<'_, ()>;

    /// What should be known of how it is set up.
    fn survey(&self) -> Answer<'_, Vec<Concern>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}

/// What operators need of a store: everything in one place, and what was done to it.
pub trait Ledger: KeyStore {
    /// Takes in many records, each as [`KeyStore::learn`] does, whatever the number of their owners' keys,
    /// and tells what became of each. Where it fails, some may be taken in; it can be repeated.
    fn learn_all<'a>(&'a self, records: &'a [(KeyRecord, Event)]) -> Answer<'a, Vec<Learned>>;

    /// What [`Ledger::learn_all`] would come to, without writing anything.
    fn foresee<'a>(&'a self, records: &'a [(KeyRecord, Event)]) -> Answer<'a, Vec<Learned>>;

    /// The records of all keys with this id at this instance.
    fn with_id<'a>(&'a self, instance: &'a str, id: &'a str) -> Answer<'a, Vec<KeyRecord>>;

    /// A portion of the keys that the query asks for, the newest first.
    fn list<'a>(&'a self, query: &'a Query, now: SystemTime) -> Answer<'a, Page>;

    /// Changes the policy of a key from what it was thought to be. One atomic step with the event.
    fn amend<'a>(&'a self, amendment: Amendment<'a>) -> Answer<'a, Amended>;

    /// These keys as they are now, each with the days on which it was used and how often, the newest first. A
    /// record is never older than its days, so none shows uses without a last one. Keys that are gone are left out.
    fn with_days<'a>(&'a self, keys: &'a [KeyRecord]) -> Answer<'a, Vec<(KeyRecord, Vec<Day>)>>;

    /// Refuses a user or a session, in place of an earlier block of theirs. One atomic step with the event.
    fn block<'a>(&'a self, block: &'a Block, event: &'a Event) -> Answer<'a, Position>;

    /// Lifts a block; `false`: there was none. One atomic step with the event.
    fn unblock<'a>(&'a self, instance: &'a str, subject: &'a Subject, event: &'a Event) -> Answer<'a, bool>;

    /// All blocks that are not over at `now`; those that are over are forgotten.
    fn blocks(&self, now: SystemTime) -> Answer<'_, Vec<Block>>;

    /// Takes on an errand, in place of an earlier one of the same task and key.
    fn schedule<'a>(&'a self, errand: &'a Errand) -> Answer<'a, ()>;

    /// Errands that are pending and due at `now`, at most so many; they are not given out again before
    /// `until`, and count as tried once more.
    fn due(&self, now: SystemTime, until: SystemTime, most: usize) -> Answer<'_, Vec<Errand>>;

    /// Notes what came of an errand.
    fn settle<'a>(&'a self, errand: &'a Errand, settled: &'a Settled) -> Answer<'a, ()>;

    /// The errands of a key, whatever their state.
    fn errands_of<'a>(&'a self, instance: &'a str, key_id: &'a str) -> Answer<'a, Vec<Errand>>;

    /// Adds an event to the audit chain.
    fn record<'a>(&'a self, event: &'a Event) -> Answer<'a, ()>;

    /// Links of the audit chain behind the one with this number, the oldest first, at most so many.
    fn links(&self, after: u64, most: usize) -> Answer<'_, Vec<Link>>;

    /// The end of the audit chain, as it was written down beside it.
    fn head(&self) -> Answer<'_, Head>;

    /// Tells how far a process has come in the change log, and asks what came after that.
    fn renew<'a>(&'a self, replica: &'a str, term: Duration, asked: &'a Asked)
    -> Answer<'a, Renewed<Change>>;

    /// Waits until something is appended to the change log behind this position, or for that long.
    fn changed<'a>(&'a self, after: &'a Position, limit: Duration) -> Answer<'a, ()>;

    /// Follows the change log no more: nobody needs to wait for this process.
    fn leave<'a>(&'a self, replica: &'a str) -> Answer<'a, ()>;

    /// Tells that all that this process refuses is in the store again, which had lost it. Whether the same goes
    /// for all others who may know what it does not.
    fn rewritten<'a>(&'a self, replica: &'a str) -> Answer<'a, bool>;

    /// Waits until a change is felt by all who share the store. `false`: that cannot be known.
    fn confirm<'a>(&'a self, confirmation: Confirmation<'a>) -> Answer<'a, bool>;

    /// The last entry that was taken off the old end of the audit chain, which its first one follows.
    fn base(&self) -> Answer<'_, Head>;

    /// Takes the oldest entries off the audit chain; `false`: someone else has taken some off meanwhile, and
    /// all stays. One atomic step with the base and the event.
    fn trim<'a>(&'a self, trim: &'a Trim) -> Answer<'a, bool>;

    /// Forgets on which days before that one keys were used: looks at so many keys behind this place, and tells
    /// behind which place to go on; `None`: that was the last of them.
    fn forget_days<'a>(
        &'a self,
        before: u32,
        after: Option<&'a Cursor>,
        most: usize,
    ) -> Answer<'a, Option<Cursor>>;

    /// Forgets errands that were done or refused before then, at most so many, and tells how many.
    fn forget_errands(&self, before: SystemTime, most: usize) -> Answer<'_, usize>;
}

/// Something about how the store is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Concern {
    /// It forgets keys and revocations by itself: it must not be used so.
    Forgets(String),
    /// It works, but should be known.
    Note(String),
}

/// On what terms a record is taken in.
#[derive(Debug, Clone, Copy)]
pub struct Admission<'a> {
    /// At most so many keys of one user that are not revoked; `None`: whatever their number.
    pub most: Option<usize>,
    /// What is written to the audit chain.
    pub event: &'a Event,
}

/// How a key is to be revoked.
#[derive(Debug, Clone, Copy)]
pub struct Ending<'a> {
    /// The key's instance.
    pub instance: &'a str,
    /// The key's id.
    pub id: &'a str,
    /// When, how and why.
    pub revocation: &'a Revocation,
    /// Whether the instance, where it issued the key, is to be told.
    pub tell: bool,
    /// What is written to the audit chain.
    pub event: &'a Event,
}

/// That a key is revoked in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// All keys with its id, in order.
    pub hashes: Vec<KeyHash>,
    /// A place in the change log that is not before the revocation.
    pub position: Position,
}

/// A change that is to be known to be felt everywhere.
#[derive(Debug, Clone, Copy)]
pub struct Confirmation<'a> {
    /// Where it stands in the change log.
    pub position: &'a Position,
    /// A moment after it was appended.
    pub appended: Moment,
    /// This process, by the name with which it follows the log.
    pub replica: &'a str,
    /// Since when this process has followed the log without a break; `None`: it does not.
    pub following_since: Option<Moment>,
    /// For how long leases are, of whom the store may not know.
    pub term: Duration,
    /// Whom it concerns.
    pub whom: Whom,
    /// How many servers besides the first must have it, too.
    pub copies: usize,
}

/// How a key's policy is to be changed.
#[derive(Debug, Clone, Copy)]
pub struct Amendment<'a> {
    /// The key's instance.
    pub instance: &'a str,
    /// The key.
    pub hash: &'a KeyHash,
    /// What its policy is thought to be.
    pub from: &'a Policy,
    /// What it is to be.
    pub to: &'a Policy,
    /// What is written to the audit chain.
    pub event: &'a Event,
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
    /// Its owner has as many keys as they may have; nothing was written.
    TooMany,
}

/// What became of a policy that was to be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amended {
    /// It was changed.
    Done,
    /// It was not what it was thought to be, and stays.
    Otherwise,
    /// There is no such key.
    Missing,
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
    /// Over what it was last used.
    pub over: AddressFamily,
    /// How often this replica saw it used on the day of `at` so far.
    pub count: u64,
}

/// How something stands with its rate that was counted once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// It is within it.
    Within {
        /// So many more are now.
        remaining: u32,
        /// Until one more is.
        next_in: Duration,
    },
    /// It is not, and was not counted.
    Over {
        /// Until one is.
        next_in: Duration,
    },
    /// It was not counted: nobody else uses this store.
    Apart,
}

/// How often a key was used on one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day {
    /// The day, counted from 1970-01-01, UTC.
    pub day: u32,
    /// How often.
    pub count: u64,
}

/// The day of this moment, counted from 1970-01-01, UTC.
pub(super) fn day_of(time: SystemTime) -> u32 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs() / 86_400).unwrap_or(u32::MAX)
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
    /// It does not hold what it held.
    #[error("the key store has lost what it held, or is another one")]
    Lost,
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
pub async fn open(settings: &StoreSettings) -> Result<Arc<dyn Ledger>, StoreError> {
    let nobody_reads = Metrics::new().map_err(|error| StoreError::Unusable(error.to_string()))?;
    open_measured(settings, &nobody_reads).await
}

/// The same, with metrics of how the store is reached.
///
/// # Errors
/// As [`open`].
pub async fn open_measured(
    settings: &StoreSettings,
    metrics: &Metrics,
) -> Result<Arc<dyn Ledger>, StoreError> {
    Ok(match settings {
        StoreSettings::Embedded { path } => Arc::new(Embedded::open(path).await?),
        StoreSettings::Redis { servers, namespace, timeout } => {
            Arc::new(RedisStore::new(servers, namespace, *timeout, metrics)?)
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
