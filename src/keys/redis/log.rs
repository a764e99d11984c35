//! The change log in Redis: a stream that every change appends to, in the script that makes it.
//!
//! Each process tells how far it has come in one script that also gives it what came after, so that nobody
//! is listed without having been told. What is to be concluded is decided in [`lease`](super::super::lease).

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use ::redis::pipe;

use super::super::Change;
use super::super::lease::{Asked, Judgement, Moment, Position, Renewed, Replica, Waited, Whom, judge};
use super::super::store::{Confirmation, StoreError};
use super::RedisStore;
use super::link::{Link, Proof};
use super::news::{Entry, read, read_name, read_position, write_name};

const RENEW: &str = include_str!("scripts/renew.lua");
const SPREAD: &str = include_str!("scripts/spread.lua");
const AWAY: &str = include_str!("scripts/away.lua");
/// Entries that are given out in one go.
const ENTRIES: usize = 500;
/// A first few looks at how far the others have come follow at once: they take about as long as they need.
const QUICK_LOOKS: u32 = 12;
/// Then it is less and less urgent.
const LONGEST_PAUSE: Duration = Duration::from_millis(10);

/// This process's own connections to the log, so that nothing else that is asked holds up a lease.
pub(super) struct Log {
    renewals: Link,
    /// Waits in Redis until something is appended.
    feed: Link,
    /// Waits in Redis for copies.
    copies: Link,
    count: AtomicU64,
    /// The name of the store that was followed at first.
    store: OnceLock<String>,
    others: Mutex<Others>,
}

/// The other processes that follow the log.
#[derive(Default)]
struct Others {
    /// The store that they were met in.
    store: String,
    now: Vec<String>,
    /// Those that were met in stores that are lost.
    before: BTreeSet<String>,
    /// Whether the store has lost the place up to where it was followed, and with it maybe who follows it.
    are_lost: bool,
}

/// What a renewal is answered: in what way, the store's name, the log's last entry, entries, and who follows it.
/// Last comes the number of the call, which shows that this is its own answer.
type Answered = (String, String, String, Vec<Entry>, Vec<String>, String);

/// How far one process had come, and the text in which it said so.
struct Listed {
    replica: String,
    text: String,
    /// `None`: its leases are over, since it did not renew them.
    come: Option<Replica>,
}

impl Log {
    pub(super) fn new(link: &Link, timeout: Duration) -> Self {
        Self {
            renewals: link.sibling(timeout),
            feed: link.sibling(FEED_AT_MOST + timeout),
            copies: link.sibling(COPIES_AT_MOST + timeout),
            count: AtomicU64::new(rand::random::<u64>() >> 1),
            store: OnceLock::new(),
            others: Mutex::default(),
        }
    }

    /// Takes note of who follows the log of this store; without a name, of the same as before.
    fn meet(&self, replica: &str, store: Option<&str>, mut listed: Vec<String>) {
        listed.retain(|other| other != replica);
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = store.filter(|store| *store != others.store) {
            let met = std::mem::take(&mut others.now);
            others.before.extend(met);
            store.clone_into(&mut others.store);
        }
        others.now = listed;
        others.are_lost &= store.is_none();
    }

    /// Of whom a store is to be told that this process begins to follow: all others, behind the name of the one
    /// that knows them.
    fn known(&self) -> Vec<String> {
        let others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let store = if others.are_lost { String::new() } else { others.store.clone() };
        std::iter::once(store).chain(others.now.iter().chain(&others.before).cloned()).collect()
    }

    fn lose(&self) {
        self.others.lock().unwrap_or_else(PoisonError::into_inner).are_lost = true;
    }

    /// Whether a store with this name is not the one that was followed at first.
    pub(super) fn is_another(&self, store: Option<&str>) -> bool {
        self.store.get().is_some_and(|first| Some(first.as_str()) != store)
    }
}

/// Redis is asked to wait no longer than this for something to be appended.
const FEED_AT_MOST: Duration = Duration::from_secs(1);
/// Nor than this for copies.
const COPIES_AT_MOST: Duration = Duration::from_secs(1);

impl RedisStore {
    pub(super) async fn renewed(
        &self,
        replica: &str,
        term: Duration,
        asked: &Asked,
    ) -> Result<Renewed<Change>, StoreError> {
        let id = asked.position.map(|position| position.id.to_string()).unwrap_or_default();
        let call = asked.position.map(|position| write_name(position.call)).unwrap_or_default();
        let mut pipeline = pipe();
        pipeline.cmd("EVAL").arg(RENEW).arg(3).arg(&self.names.log());
        pipeline.arg(replica).arg(u64::try_from(term.as_millis()).unwrap_or(u64::MAX));
        let number = self.log.count.fetch_add(1, Ordering::Relaxed).to_string();
        pipeline.arg(&number);
        pipeline.arg(id).arg(call).arg(asked.store.map(write_name).unwrap_or_default());
        pipeline.arg(write_name(rand::random())).arg(ENTRIES);
        if asked.position.is_none() {
            pipeline.arg(self.log.known());
        }
        let ((word, store, last, entries, listed, _),): (Answered,) =
            self.log.renewals.run_with(&pipeline, Proof::Text(&number)).await?;
        let more = word == "more";
        match word.as_str() {
            "joined" => {
                self.log.meet(replica, Some(&store), listed);
                self.log.store.get_or_init(|| store.clone());
                let unreadable = || StoreError::Corrupt("the store's name cannot be read".to_owned());
                let store = read_name(&store).ok_or_else(unreadable)?;
                Ok(Renewed::Joined { store, last: read_position(&last)? })
            }
            "follows" | "more" => {
                self.log.meet(replica, None, listed);
                let entries = entries.into_iter().map(read).collect::<Result<_, _>>()?;
                Ok(Renewed::Follows { entries, more })
            }
            "trimmed" => Ok(Renewed::Lost { trimmed: true }),
            "lost" => {
                self.log.lose();
                Ok(Renewed::Lost { trimmed: false })
            }
            _ => Err(StoreError::Corrupt("a renewal was answered in words that nobody knows".to_owned())),
        }
    }

    pub(super) async fn wait_for_change(&self, after: &Position, limit: Duration) -> Result<(), StoreError> {
        let [log, _, _] = self.names.log();
        let millis = limit.min(FEED_AT_MOST).as_millis().max(1);
        let mut pipeline = pipe();
        pipeline.cmd("XREAD").arg("COUNT").arg(1).arg("BLOCK").arg(u64::try_from(millis).unwrap_or(1));
        pipeline.arg("STREAMS").arg(log).arg(after.id.to_string()).ignore();
        self.log.feed.run_with(&pipeline, Proof::Needless).await
    }

    /// Tells that all that this process refuses is in the store again. Whether the same goes for everyone whom
    /// this process has met in a store that is lost; those in whose place another runs now have nothing to write.
    pub(super) async fn is_rewritten(&self, replica: &str) -> Result<bool, StoreError> {
        let [_, replicas, _] = self.names.log();
        let rewritten = self.names.rewritten();
        let mut pipeline = pipe();
        pipeline.cmd("HSET").arg(&rewritten).arg(replica).arg(1).ignore();
        pipeline.cmd("HKEYS").arg(rewritten).cmd("HKEYS").arg(replicas);
        let (done, listed): (Vec<String>, Vec<String>) = self.link.run(&pipeline).await?;
        let others = self.log.others.lock().unwrap_or_else(PoisonError::into_inner);
        let place = |replica: &str| replica.split_once('@').map(|(_, place)| place.to_owned());
        let is_replaced = |other: &String| {
            !listed.contains(other) && listed.iter().any(|listed| place(listed) == place(other))
        };
        Ok(others.before.iter().all(|other| done.contains(other) || is_replaced(other)))
    }

    pub(super) async fn gone(&self, replica: &str) -> Result<(), StoreError> {
        let [_, replicas, _] = self.names.log();
        let mut pipeline = pipe();
        pipeline.cmd("HDEL").arg(replicas).arg(replica).ignore();
        self.log.renewals.run(&pipeline).await
    }

    /// Waits until every process has come to that place, or its leases are over; `false`: that is not known.
    pub(super) async fn has_spread(&self, confirmation: Confirmation<'_>) -> Result<bool, StoreError> {
        let Confirmation { position, appended, replica, following_since, term, whom, copies } = confirmation;
        if copies > 0 && !self.is_copied(copies).await? {
            return Ok(false);
        }
        let (mut first, mut looks): (Option<Vec<Listed>>, u32) = (None, 0);
        let first_looked = Moment::now();
        loop {
            let (is_there, listed) = self.spread(position).await?;
            if !is_there {
                return Ok(false);
            }
            // Only after the answer: the connection may have been made for this question.
            let now = Moment::now();
            let since = following_since.into_iter().chain([self.link.since()]).max().unwrap_or(now);
            // A store that was emptied a moment ago does not know this process either.
            let is_known = following_since.is_some() && listed.iter().any(|listed| listed.replica == replica);
            let steady = if is_known { now.since(since) } else { Duration::ZERO };
            let waited = Waited { appended: now.since(appended), steady, term };
            let replicas: Vec<_> = listed.iter().filter_map(|listed| listed.come.clone()).collect();
            let someone_is_away = replicas.len() < listed.len();
            match judge(position.id, &replicas, waited, whom) {
                Judgement::Wait => {}
                judgement => {
                    let behind = |listed: &Listed| {
                        listed.come.as_ref().is_some_and(|come| come.applied < position.id)
                            && first.iter().flatten().any(|before: &Listed| before.text == listed.text)
                    };
                    let late: Vec<_> = listed.into_iter().filter(behind).collect();
                    if someone_is_away || !late.is_empty() {
                        self.give_up_on(late, first_looked).await?;
                    }
                    let unsure = whom == Whom::Session && someone_is_away;
                    return Ok(judgement == Judgement::Everywhere && !unsure);
                }
            }
            first.get_or_insert(listed);
            looks += 1;
            if looks > QUICK_LOOKS {
                tokio::time::sleep(Duration::from_millis((looks - QUICK_LOOKS).into()).min(LONGEST_PAUSE))
                    .await;
            }
        }
    }

    async fn spread(&self, position: &Position) -> Result<(bool, Vec<Listed>), StoreError> {
        let [log, replicas, _] = self.names.log();
        let mut pipeline = pipe();
        pipeline.cmd("EVAL").arg(SPREAD).arg(2).arg(log).arg(replicas);
        pipeline.arg(position.id.to_string()).arg(write_name(position.call));
        let ((is_there, held),): ((bool, HashMap<String, String>),) = self.link.run(&pipeline).await?;
        let read =
            |(replica, text): (String, String)| Ok(Listed { come: read_replica(&text)?, replica, text });
        Ok((is_there, held.into_iter().map(read).collect::<Result<_, StoreError>>()?))
    }

    /// Has nobody wait again for processes that have not renewed for a whole term since they were first looked
    /// at. Those that are away for long are forgotten.
    async fn give_up_on(&self, late: Vec<Listed>, first_looked: Moment) -> Result<(), StoreError> {
        let longest = late.iter().filter_map(|late| late.come.as_ref()).map(|come| come.term).max();
        // Whoever renewed just before that look has a lease that began then.
        let left = longest.unwrap_or_default().saturating_sub(Moment::now().since(first_looked));
        tokio::time::sleep(left).await;
        let late: Vec<_> = late.into_iter().flat_map(|late| [late.replica, late.text]).collect();
        let [_, replicas, _] = self.names.log();
        let mut pipeline = pipe();
        pipeline.cmd("EVAL").arg(AWAY).arg(1).arg(replicas).arg(late).ignore();
        self.link.run(&pipeline).await
    }

    /// Whether so many replicas of the server have everything that was written so far: what is written here
    /// comes to them after all that was written before.
    async fn is_copied(&self, copies: usize) -> Result<bool, StoreError> {
        let millis = u64::try_from(COPIES_AT_MOST.as_millis()).unwrap_or_default();
        let mut pipeline = pipe();
        pipeline.cmd("SET").arg(self.names.copied()).arg(1).ignore();
        pipeline.cmd("WAIT").arg(copies).arg(millis);
        let (have,): (usize,) = self.log.copies.run(&pipeline).await?;
        Ok(have >= copies)
    }
}

/// How far a process has come: id, term in milliseconds, and the number of its last renewal; or that it is away.
fn read_replica(text: &str) -> Result<Option<Replica>, StoreError> {
    let mut parts = text.split(' ');
    let (first, second) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if first == "away" {
        return Ok(None);
    }
    let read = || Some((first.parse().ok()?, second.parse().ok()?));
    let (applied, term) =
        read().ok_or_else(|| StoreError::Corrupt("the list of gateways cannot be read".to_owned()))?;
    Ok(Some(Replica { applied, term: Duration::from_millis(term) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::lease::EntryId;

    #[test]
    fn how_far_a_process_has_come_is_read_back() {
        let come = Replica { applied: EntryId { millis: 5, number: 2 }, term: Duration::from_secs(1) };
        assert_eq!(read_replica("5-2 1000 77").expect("a replica"), Some(come));
        assert_eq!(read_replica("away 1795384639").expect("a replica"), None);
        for wrong in ["", "5 1000 7", "5-2", "5-2 x 7"] {
            assert!(read_replica(wrong).is_err(), "{wrong}");
        }
    }
}
