//! The change log in Redis: a stream that every change appends to, in the script that makes it.
//!
//! Each process tells how far it has come in one script that also gives it what came after, so that nobody
//! is listed without having been told. What is to be concluded is decided in [`lease`](super::super::lease).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::redis::pipe;

use super::super::Change;
use super::super::lease::{Asked, Judgement, Moment, Position, Renewed, Replica, Waited, Whom, judge};
use super::super::store::{Confirmation, StoreError};
use super::RedisStore;
use super::link::Link;
use super::news::{Entry, read, read_position};

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
}

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
        }
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
        let id = asked.position.as_ref().map(|position| position.id.to_string()).unwrap_or_default();
        let call = asked.position.as_ref().map(|position| position.call.as_str()).unwrap_or_default();
        let mut pipeline = pipe();
        pipeline.cmd("EVAL").arg(RENEW).arg(3).arg(&self.names.log());
        pipeline.arg(replica).arg(u64::try_from(term.as_millis()).unwrap_or(u64::MAX));
        pipeline.arg(self.log.count.fetch_add(1, Ordering::Relaxed));
        pipeline.arg(id).arg(call).arg(asked.store.as_deref().unwrap_or_default());
        pipeline.arg(format!("{:016x}", rand::random::<u64>())).arg(ENTRIES);
        let ((word, store, last, entries),): ((String, String, String, Vec<Entry>),) =
            self.log.renewals.run(&pipeline).await?;
        let more = word == "more";
        match word.as_str() {
            "joined" => Ok(Renewed::Joined { store, last: read_position(&last)? }),
            "follows" | "more" => {
                let entries = entries.into_iter().map(read).collect::<Result<_, _>>()?;
                Ok(Renewed::Follows { entries, more })
            }
            "trimmed" => Ok(Renewed::Lost { trimmed: true }),
            "lost" => Ok(Renewed::Lost { trimmed: false }),
            _ => Err(StoreError::Corrupt("a renewal was answered in words that nobody knows".to_owned())),
        }
    }

    pub(super) async fn wait_for_change(&self, after: &Position, limit: Duration) -> Result<(), StoreError> {
        let [log, _, _] = self.names.log();
        let millis = limit.min(FEED_AT_MOST).as_millis().max(1);
        let mut pipeline = pipe();
        pipeline.cmd("XREAD").arg("COUNT").arg(1).arg("BLOCK").arg(u64::try_from(millis).unwrap_or(1));
        pipeline.arg("STREAMS").arg(log).arg(after.id.to_string()).ignore();
        self.log.feed.run(&pipeline).await
    }

    pub(super) async fn gone(&self, replica: &str) -> Result<(), StoreError> {
        let [_, replicas, _] = self.names.log();
        let mut pipeline = pipe();
        pipeline.cmd("HDEL").arg(replicas).arg(replica).ignore();
        self.log.renewals.run(&pipeline).await
    }

    /// Waits until every process has come to that place, or its leases are over; `false`: that is not known.
    pub(super) async fn has_spread(&self, confirmation: Confirmation<'_>) -> Result<bool, StoreError> {
        let Confirmation { position, appended, following_since, term, whom, copies } = confirmation;
        if copies > 0 && !self.is_copied(copies).await? {
            return Ok(false);
        }
        let (mut first, mut looks) = (None, 0);
        let first_looked = Moment::now();
        loop {
            let (is_there, listed) = self.spread(position).await?;
            if !is_there {
                return Ok(false);
            }
            // Only after the answer: the connection may have been made for this question.
            let now = Moment::now();
            let since = following_since.into_iter().chain([self.link.since()]).max().unwrap_or(now);
            let steady = if following_since.is_some() { now.since(since) } else { Duration::ZERO };
            let waited = Waited { appended: now.since(appended), steady, term };
            let replicas: Vec<_> = listed.iter().filter_map(|listed| listed.come.clone()).collect();
            let someone_is_away = replicas.len() < listed.len();
            match judge(position.id, &replicas, waited, whom) {
                Judgement::Wait => {}
                judgement => {
                    let first = first.as_deref().unwrap_or_default();
                    self.give_up_on(position, first, first_looked).await?;
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
        pipeline.arg(position.id.to_string()).arg(&position.call);
        let ((is_there, held),): ((bool, HashMap<String, String>),) = self.link.run(&pipeline).await?;
        let read =
            |(replica, text): (String, String)| Ok(Listed { come: read_replica(&text)?, replica, text });
        Ok((is_there, held.into_iter().map(read).collect::<Result<_, StoreError>>()?))
    }

    /// Has nobody wait again for processes that have neither come to that place nor renewed for a whole term
    /// since they were first looked at.
    async fn give_up_on(
        &self,
        position: &Position,
        first: &[Listed],
        first_looked: Moment,
    ) -> Result<(), StoreError> {
        let late = |listed: &Listed| listed.come.clone().filter(|come| come.applied < position.id);
        let Some(longest) = first.iter().filter_map(late).map(|come| come.term).max() else {
            return Ok(());
        };
        // Whoever renewed just before that look has a lease that began then.
        tokio::time::sleep(longest.saturating_sub(Moment::now().since(first_looked))).await;
        let late: Vec<_> = first.iter().filter(|listed| late(listed).is_some()).collect();
        let late: Vec<_> = late.into_iter().flat_map(|late| [&late.replica, &late.text]).collect();
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
