//! When and how often keys were used. Noting a use never touches a record.

use std::collections::BTreeMap;

use ::redis::{Script, Value, from_redis_value, pipe};

use super::super::KeyRecord;
use super::super::query::KEYS_WITH_DAYS;
use super::super::store::{Day, StoreError, Use, day_of, millis};
use super::{RedisStore, records};

const NOTE_USED: &str = include_str!("scripts/note_used.lua");
/// One pipeline holds so many uses, to be done well within the time that an answer may take.
const USES_AT_ONCE: usize = 1_000;

impl RedisStore {
    /// Totals and times that only grow: written twice, they change nothing.
    pub(super) async fn advance(&self, replica: &str, uses: &[Use]) -> Result<(), StoreError> {
        let digest = Script::new(NOTE_USED);
        for uses in uses.chunks(USES_AT_ONCE) {
            let mut pipeline = pipe();
            for (place, used) in uses.iter().enumerate() {
                // The first brings the script, the others call it by its digest.
                match place {
                    0 => pipeline.cmd("EVAL").arg(NOTE_USED),
                    _ => pipeline.cmd("EVALSHA").arg(digest.get_hash()),
                };
                let (instance, hash) = (&*used.instance, &used.hash);
                pipeline.arg(3).arg(self.names.key(instance, hash));
                pipeline.arg(self.names.usage(instance, hash)).arg(self.names.days(instance, hash));
                pipeline.arg(millis(used.at)).arg(used.over.as_str());
                pipeline.arg(format!("{}:{replica}", day_of(used.at))).arg(used.count).ignore();
            }
            let () = self.link.run(&pipeline).await?;
        }
        Ok(())
    }

    /// In one pipeline, and the days first: a use that is written in between is then in the record, and not yet
    /// among the days.
    pub(super) async fn records_with_days(
        &self,
        keys: &[KeyRecord],
    ) -> Result<Vec<(KeyRecord, Vec<Day>)>, StoreError> {
        let mut all = Vec::with_capacity(keys.len());
        for keys in keys.chunks(KEYS_WITH_DAYS) {
            let mut pipeline = pipe();
            for KeyRecord { instance, hash, .. } in keys {
                pipeline.cmd("HGETALL").arg(self.names.days(instance, hash));
                pipeline.cmd("HGETALL").arg(self.names.key(instance, hash));
                pipeline.cmd("GET").arg(self.names.usage(instance, hash));
            }
            let values: Vec<Value> = self.link.run(&pipeline).await?;
            let mut values = values.into_iter();
            for KeyRecord { instance, hash, .. } in keys {
                let days = read_days(&self.names.days(instance, hash), values.next())?;
                let record = records::read(instance, hash, values.next(), values.next())?;
                all.extend(record.map(|record| (record, days)));
            }
        }
        Ok(all)
    }
}

/// The newest first: the sums over all replicas.
fn read_days(name: &str, counts: Option<Value>) -> Result<Vec<Day>, StoreError> {
    let unexpected = |what: &str| StoreError::Corrupt(format!("{name} has an unexpected {what}"));
    let counts: Vec<(String, u64)> =
        from_redis_value(counts.unwrap_or(Value::Nil)).map_err(|_| unexpected("count"))?;
    let mut days: BTreeMap<u32, u64> = BTreeMap::new();
    for (field, count) in counts {
        let day = field.split_once(':').and_then(|(day, _)| day.parse().ok());
        let sum = days.entry(day.ok_or_else(|| unexpected(&format!("field {field}")))?).or_default();
        *sum = sum.saturating_add(count);
    }
    Ok(days.into_iter().rev().map(|(day, count)| Day { day, count }).collect())
}
