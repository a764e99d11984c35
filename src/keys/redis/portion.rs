//! Many keys taken in together: their links are made one behind the other, and sent in one go.
//!
//! Each link is right only if the ones before it were taken. Where one was not, because someone else added to
//! the chain or because the key is known and needs no entry, those behind it change nothing, and are made anew.
//!
//! How many go together depends on how fast the server and the way to it are: all are answered, or none is.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::redis::{Pipeline, Script, pipe};

use super::super::audit::{Event, Head};
use super::super::query::PORTION;
use super::super::store::{Admission, Learned, StoreError};
use super::super::{KeyHash, KeyRecord, Revocation};
use super::RedisStore;
use super::chain::{Change, LONGEST_WAIT, Outcome, PAUSE, Reply, Try, kept_out, read_head};
use super::fields::{Fields, read_revocation};
use super::news::{read_position, write_name};
use super::records::{LEARN, learned};

/// Others wait for so many, at most.
const MOST_AT_ONCE: usize = 200;
/// So many go first, before it is known how long they take.
const FIRST_AT_ONCE: usize = 25;

impl RedisStore {
    pub(super) async fn take_in_all(
        &self,
        records: &[(KeyRecord, Event)],
    ) -> Result<Vec<Learned>, StoreError> {
        let (mut all, mut rest, mut at_once) = (Vec::with_capacity(records.len()), records, FIRST_AT_ONCE);
        while !rest.is_empty() {
            let (records, later) = rest.split_at(at_once.min(rest.len()));
            rest = later;
            let mut changes = Vec::with_capacity(records.len());
            for (record, event) in records {
                changes.push(self.taking_in(record, Admission { most: None, event })?);
            }
            let mut held = self.hold_chain().await?;
            let added = self.add_all(&mut held.head, &changes).await;
            let (outcomes, slowest) = self.let_go_of(held, added)?;
            at_once = next_at_once(at_once, slowest, self.link.timeout());
            for ((record, _), outcome) in records.iter().zip(outcomes) {
                all.push(learned(record, outcome)?);
            }
        }
        Ok(all)
    }

    /// What became of each, and how long the slowest answer took.
    async fn add_all(
        &self,
        head: &mut Head,
        changes: &[Change<'_>],
    ) -> Result<(Vec<Outcome>, Duration), StoreError> {
        let chain = self.names.chain();
        let named = |change| Waiting { change, name: write_name(rand::random()), adds: true };
        let mut waiting: Vec<_> = changes.iter().map(named).enumerate().collect();
        let mut outcomes: Vec<_> = changes.iter().map(|_| None).collect();
        let (mut late, mut slowest, mut moved) = (0, Duration::ZERO, Instant::now());
        while moved.elapsed() <= LONGEST_WAIT {
            let this = Try { chain: &chain, head, name: "", late, digest: None };
            let (calls, asked) = (calls(&waiting, &this), Instant::now());
            let replies: Vec<Reply> = self.link.run(&calls).await?;
            slowest = slowest.max(asked.elapsed());
            let (before, count) = (head.clone(), waiting.len());
            let mut left = Vec::new();
            for ((place, waits), (word, list, text, now, end)) in waiting.into_iter().zip(replies) {
                *head = read_head(&now)?;
                match outcomes.get_mut(place) {
                    Some(outcome) if word != "stale" => {
                        *outcome = Some(Outcome { word, list, text, position: read_position(&end)? });
                    }
                    Some(_) | None => left.push((place, waits)),
                }
            }
            if left.is_empty() {
                return Ok((outcomes.into_iter().flatten().collect(), slowest));
            }
            if left.len() == count {
                late += 1;
            } else {
                (late, moved) = (0, Instant::now());
            }
            if late > 0 && before == *head {
                tokio::time::sleep(PAUSE).await;
            }
            self.look_up(&mut left).await?;
            waiting = left;
        }
        Err(kept_out())
    }

    /// Looks which keys are known: those need no entry.
    async fn look_up(&self, waiting: &mut [(usize, Waiting<'_>)]) -> Result<(), StoreError> {
        let mut pipeline = pipe();
        for (_, waits) in &*waiting {
            pipeline.cmd("EXISTS").arg(waits.change.subject());
        }
        let known: Vec<bool> = self.link.run(&pipeline).await?;
        for ((_, waits), known) in waiting.iter_mut().zip(known) {
            waits.adds = !known;
        }
        Ok(())
    }

    /// What taking them in would come to.
    pub(super) async fn foretell(&self, records: &[(KeyRecord, Event)]) -> Result<Vec<Learned>, StoreError> {
        let keys: Vec<_> = records.iter().map(|(record, _)| (&*record.instance, record.hash)).collect();
        let held = self.records(&keys).await?;
        let buried = self.tombstones(records).await?;
        let mut earlier = Earlier::default();
        let foretell = |((record, held), buried)| match held {
            Some(known) => Learned::Known(known),
            None => earlier.take_in(record, buried),
        };
        Ok(records.iter().map(|(record, _)| record).zip(held).zip(buried).map(foretell).collect())
    }

    /// What was left of revocations under the ids of these records.
    async fn tombstones(
        &self,
        records: &[(KeyRecord, Event)],
    ) -> Result<Vec<Option<Revocation>>, StoreError> {
        const FIELDS: [&str; 4] = ["revoked_at", "revoked_by", "revoked_who", "revoked_why"];
        let mut found = Vec::with_capacity(records.len());
        for records in records.chunks(PORTION) {
            let mut pipeline = pipe();
            for (record, _) in records {
                pipeline.cmd("HMGET").arg(self.names.id(&record.instance, &record.id)).arg(&FIELDS);
            }
            let values: Vec<[Option<String>; 4]> = self.link.run(&pipeline).await?;
            for ((record, _), values) in records.iter().zip(values) {
                let fields = FIELDS.map(str::to_owned).into_iter().zip(values);
                let fields: Fields = fields.filter_map(|(field, value)| Some((field, value?))).collect();
                let id = &record.id;
                let unreadable =
                    |what| StoreError::Corrupt(format!("the tombstone of {id}: {what} cannot be read"));
                found.push(read_revocation(&fields).map_err(unreadable)?);
            }
        }
        Ok(found)
    }
}

/// How many go together next, after so many took so long: they are to be done well within the time that an
/// answer may take.
fn next_at_once(at_once: usize, took: Duration, timeout: Duration) -> usize {
    if took > timeout / 4 {
        (at_once / 2).max(1)
    } else if took < timeout / 8 {
        (at_once * 2).min(MOST_AT_ONCE)
    } else {
        at_once
    }
}

/// A change that is not made yet.
struct Waiting<'c> {
    change: &'c Change<'c>,
    name: String,
    /// Whether it is thought to add an entry.
    adds: bool,
}

/// The calls of these changes, each for the head that the ones before it leave.
fn calls(waiting: &[(usize, Waiting<'_>)], first: &Try<'_>) -> Pipeline {
    let digest = Script::new(LEARN);
    let (mut pipeline, mut head) = (pipe(), first.head.clone());
    for (number, (_, Waiting { change, name, adds })) in waiting.iter().enumerate() {
        // The first brings the script, the others call it by its digest.
        let digest = (number > 0).then(|| digest.get_hash());
        let next = change.call(&mut pipeline, &Try { head: &head, name, digest, ..*first });
        if *adds {
            head = next;
        }
    }
    pipeline
}

/// What the records before it in a portion do to the next one.
#[derive(Default)]
struct Earlier {
    records: HashMap<(Arc<str>, KeyHash), KeyRecord>,
    buried: HashMap<(Arc<str>, String), Revocation>,
}

impl Earlier {
    fn take_in(&mut self, record: &KeyRecord, buried: Option<Revocation>) -> Learned {
        let instance = || Arc::clone(&record.instance);
        if let Some(known) = self.records.get(&(instance(), record.hash)) {
            return Learned::Known(known.clone());
        }
        let buried = buried.or_else(|| self.buried.get(&(instance(), record.id.clone())).cloned());
        let learned = if buried.is_some() { Learned::Revoked } else { Learned::Written };
        let revoked = buried.or_else(|| record.revoked.clone());
        if let Some(revoked) = &revoked {
            self.buried.insert((instance(), record.id.clone()), revoked.clone());
        }
        self.records.insert((instance(), record.hash), KeyRecord { revoked, ..record.clone() });
        learned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_go_together_as_are_answered_well_within_the_time() {
        let timeout = Duration::from_millis(250);
        for (each, expected) in [(1, 25..=60), (10, 2..=6), (100, 1..=1), (0, MOST_AT_ONCE..=MOST_AT_ONCE)] {
            let mut at_once = FIRST_AT_ONCE;
            for _ in 0..20 {
                let took = Duration::from_millis(each) * u32::try_from(at_once).expect("a number");
                at_once = next_at_once(at_once, took, timeout);
            }
            assert!(expected.contains(&at_once), "{at_once} of {each} ms each");
        }
    }
}
