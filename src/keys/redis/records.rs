//! Key records: found, learned, revoked, amended. What must be one step is one script.

use ::redis::{Value, from_redis_value, pipe};

use super::super::errand::Task;
use super::super::query::{PORTION, listed_at, searched};
use super::super::store::{Admission, Amended, Amendment, Ending, Learned, Revoked, StoreError, millis};
use super::super::{KeyHash, KeyRecord};
use super::RedisStore;
use super::chain::{Change, Outcome, change};
use super::fields::{self, Fields};
use super::listing::{Mark, place};
use super::names::owner;
use super::news::News;

pub(super) const LEARN: &str = change!("learn.lua");
const REVOKE: &str = change!("mark.lua", "revoke.lua");
const AMEND: &str = change!("mark.lua", "amend.lua");
/// A text that another version wrote is compared once more, as it stands.
const AMEND_TRIES: usize = 2;

impl RedisStore {
    /// The record of a key, and whether there is one. In a store that is not the one that this process has
    /// followed, a key that is not there may be one that was refused in the other.
    pub(super) async fn record_of(
        &self,
        instance: &str,
        hash: &KeyHash,
    ) -> Result<Option<KeyRecord>, StoreError> {
        let [_, _, store] = self.names.log();
        let mut pipeline = pipe();
        pipeline.cmd("HGETALL").arg(self.names.key(instance, hash));
        pipeline.cmd("GET").arg(self.names.usage(instance, hash)).cmd("GET").arg(store);
        let (record, used, store): (Value, Value, Option<String>) = self.link.run(&pipeline).await?;
        let record = read(instance, hash, Some(record), Some(used))?;
        if record.is_none() && self.log.is_another(store.as_deref()) {
            return Err(StoreError::Lost);
        }
        Ok(record)
    }

    /// The records of these keys, each in its place; `None`: there is none.
    pub(super) async fn records(
        &self,
        keys: &[(&str, KeyHash)],
    ) -> Result<Vec<Option<KeyRecord>>, StoreError> {
        let mut records = Vec::with_capacity(keys.len());
        for keys in keys.chunks(PORTION) {
            let mut pipeline = pipe();
            for (instance, hash) in keys {
                pipeline.cmd("HGETALL").arg(self.names.key(instance, hash));
                pipeline.cmd("GET").arg(self.names.usage(instance, hash));
            }
            let values: Vec<Value> = self.link.run(&pipeline).await?;
            let mut values = values.into_iter();
            for (instance, hash) in keys {
                records.push(read(instance, hash, values.next(), values.next())?);
            }
        }
        Ok(records)
    }

    pub(super) async fn take_in(
        &self,
        record: &KeyRecord,
        terms: Admission<'_>,
    ) -> Result<Learned, StoreError> {
        let outcome = self.commit(self.taking_in(record, terms)?).await?;
        learned(record, outcome)
    }

    pub(super) fn taking_in<'a>(
        &self,
        record: &KeyRecord,
        terms: Admission<'a>,
    ) -> Result<Change<'a>, StoreError> {
        let (instance, hash) = (&*record.instance, &record.hash);
        let names = vec![
            self.names.key(instance, hash),
            self.names.id(instance, &record.id),
            self.names.usage(instance, hash),
            self.names.list(),
            self.names.list_of(&record.user_id),
            self.names.good(),
        ];
        let at = listed_at(record, terms.event.at);
        let news = News::Written { instance: instance.to_owned(), hash: hash.to_string() };
        Ok(Change::new(terms.event, LEARN, names)
            .told(&news)?
            .with(hash.to_string())
            .with(owner(instance, &record.user_id))
            .with(terms.most.map(|most| most.to_string()).unwrap_or_default())
            .with(place(at, hash, instance))
            .with(Mark::of(&record.policy).as_str())
            .with(searched(record))
            .with(fields::write(record)?)
            .with(fields::write_listed(at)))
    }

    pub(super) async fn bury(&self, ending: Ending<'_>) -> Result<Revoked, StoreError> {
        let Ending { instance, id, revocation, tell, event } = ending;
        let index = self.names.id(instance, id);
        let names = vec![
            index.clone(),
            self.names.good(),
            self.names.list(),
            self.names.errand(instance, id, Task::Tell),
            self.names.due(),
        ];
        let due = if tell { millis(revocation.at).to_string() } else { String::new() };
        let change = Change::new(event, REVOKE, names)
            .told(&News::revoked(instance, id, revocation))?
            .with(self.names.keys_of(instance))
            .with(owner(instance, ""))
            .with(due)
            .with(instance)
            .with(id)
            .with(fields::write_revocation(revocation));
        let Outcome { list, position, .. } = self.commit(change).await?;
        Ok(Revoked { hashes: read_hashes(&index, &list)?, position })
    }

    /// A policy is compared by its meaning, and then set by its text, so that nobody can have changed it since.
    pub(super) async fn amend_policy(&self, amendment: Amendment<'_>) -> Result<Amended, StoreError> {
        let Amendment { instance, hash, from, to, event } = amendment;
        let (mut expected, text, mark) = (fields::policy_text(from)?, fields::policy_text(to)?, Mark::of(to));
        for _ in 0..AMEND_TRIES {
            let names = vec![self.names.key(instance, hash), self.names.list()];
            let news = News::Written { instance: instance.to_owned(), hash: hash.to_string() };
            let change = Change::new(event, AMEND, names)
                .told(&news)?
                .with(&expected)
                .with(&text)
                .with(hash.to_string())
                .with(instance)
                .with(mark.as_str());
            let Outcome { word, text, .. } = self.commit(change).await?;
            let held = match word.as_str() {
                "done" => return Ok(Amended::Done),
                "missing" => return Ok(Amended::Missing),
                _ => text.unwrap_or_default(),
            };
            let policy = fields::read_policy(&held).ok_or_else(|| {
                StoreError::Corrupt(format!("the policy of key {hash} at {instance} cannot be read"))
            })?;
            if policy != *from {
                return Ok(Amended::Otherwise);
            }
            expected = held;
        }
        Ok(Amended::Otherwise)
    }

    /// The hashes of all keys with this id.
    pub(super) async fn hashes_of(&self, instance: &str, id: &str) -> Result<Vec<KeyHash>, StoreError> {
        let index = self.names.id(instance, id);
        let mut pipeline = pipe();
        pipeline.cmd("HKEYS").arg(&index);
        let (mut hashes,): (Vec<String>,) = self.link.run(&pipeline).await?;
        // Beside the hashes there is the tombstone.
        hashes.retain(|field| !field.starts_with("revoked_"));
        hashes.sort();
        read_hashes(&index, &hashes)
    }
}

/// What became of a record that was to be taken in.
pub(super) fn learned(record: &KeyRecord, outcome: Outcome) -> Result<Learned, StoreError> {
    let Outcome { word, list, text, .. } = outcome;
    match word.as_str() {
        "written" => Ok(Learned::Written),
        "revoked" => Ok(Learned::Revoked),
        "too many" => Ok(Learned::TooMany),
        _ => {
            fields::read(&record.instance, &record.hash, &in_pairs(list), text.as_deref()).map(Learned::Known)
        }
    }
}

/// Reads the answers to `HGETALL` of a record and `GET` of its last use.
pub(super) fn read(
    instance: &str,
    hash: &KeyHash,
    record: Option<Value>,
    used: Option<Value>,
) -> Result<Option<KeyRecord>, StoreError> {
    let unreadable =
        |_| StoreError::Corrupt(format!("the record of key {hash} at {instance} is not text throughout"));
    let record: Fields = from_redis_value(record.unwrap_or(Value::Nil)).map_err(unreadable)?;
    let used: Option<String> = from_redis_value(used.unwrap_or(Value::Nil)).map_err(unreadable)?;
    if record.is_empty() {
        return Ok(None);
    }
    fields::read(instance, hash, &record, used.as_deref()).map(Some)
}

fn read_hashes(index: &str, hashes: &[String]) -> Result<Vec<KeyHash>, StoreError> {
    let read = |hash: &String| {
        KeyHash::from_hex(hash).ok_or_else(|| StoreError::Corrupt(format!("{index} has an unexpected field")))
    };
    hashes.iter().map(read).collect()
}

/// The fields that a script returned: names and values in turn.
pub(super) fn in_pairs(list: Vec<String>) -> Fields {
    let mut fields = Fields::new();
    let mut list = list.into_iter();
    while let (Some(field), Some(value)) = (list.next(), list.next()) {
        fields.insert(field, value);
    }
    fields
}
