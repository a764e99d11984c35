//! When and how often keys were used. Noting a use never touches a record.

use std::collections::BTreeMap;

use ::redis::{Script, pipe};

use super::super::KeyHash;
use super::super::store::{Day, StoreError, Use, day_of, millis};
use super::RedisStore;

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

    /// The days on which a key was used, the newest first: the sums over all replicas.
    pub(super) async fn days(&self, instance: &str, hash: &KeyHash) -> Result<Vec<Day>, StoreError> {
        let name = self.names.days(instance, hash);
        let mut pipeline = pipe();
        pipeline.cmd("HGETALL").arg(&name);
        let (counts,): (Vec<(String, u64)>,) = self.link.run(&pipeline).await?;
        let mut days: BTreeMap<u32, u64> = BTreeMap::new();
        for (field, count) in counts {
            let day = field.split_once(':').and_then(|(day, _)| day.parse().ok());
            let day =
                day.ok_or_else(|| StoreError::Corrupt(format!("{name} has an unexpected field {field}")))?;
            let sum = days.entry(day).or_default();
            *sum = sum.saturating_add(count);
        }
        Ok(days.into_iter().rev().map(|(day, count)| Day { day, count }).collect())
    }
}
