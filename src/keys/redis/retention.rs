//! What Redis lets go of: the oldest entries of the audit chain, days of use, errands that are over.

use std::time::SystemTime;

use ::redis::pipe;

use super::super::Cursor;
use super::super::audit::{Head, Trim};
use super::super::store::{StoreError, millis};
use super::RedisStore;
use super::chain::{Change, change, read_head, text};
use super::listing::{read_place, start};

const TRIM: &str = change!("trim.lua");
const OLD_DAYS: &str = include_str!("scripts/old_days.lua");
const OLD_ERRANDS: &str = include_str!("scripts/old_errands.lua");

impl RedisStore {
    /// Where the audit chain begins.
    pub(super) async fn beginning(&self) -> Result<Head, StoreError> {
        let mut pipeline = pipe();
        pipeline.cmd("GET").arg(self.names.trimmed());
        let (held,): (Option<String>,) = self.link.run(&pipeline).await?;
        read_head(&held.unwrap_or_default())
    }

    pub(super) async fn take_off(&self, trim: &Trim) -> Result<bool, StoreError> {
        let Trim { from, to, event } = trim;
        let change = Change::new(event, TRIM, vec![self.names.trimmed()])
            .with(text(from))
            .with(text(to))
            .with(to.seq.saturating_add(1));
        Ok(self.commit(change).await?.word == "done")
    }

    pub(super) async fn drop_days(
        &self,
        before: u32,
        after: Option<&Cursor>,
        most: usize,
    ) -> Result<Option<Cursor>, StoreError> {
        let list = self.names.list();
        let mut pipeline = pipe();
        pipeline.cmd("EVAL").arg(OLD_DAYS).arg(1).arg(&list);
        pipeline.arg(start(after)).arg(most).arg(before).arg(self.names.all_days());
        let (last,): (Vec<u8>,) = self.link.run(&pipeline).await?;
        if last.is_empty() {
            return Ok(None);
        }
        let unreadable = || StoreError::Corrupt(format!("{list} has an unexpected member"));
        read_place(&last).ok_or_else(unreadable).map(Some)
    }

    pub(super) async fn drop_errands(&self, before: SystemTime, most: usize) -> Result<usize, StoreError> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let mut pipeline = pipe();
        pipeline.cmd("EVAL").arg(OLD_ERRANDS).arg(1).arg(self.names.over()).arg(millis(before)).arg(most);
        let (forgotten,): (usize,) = self.link.run(&pipeline).await?;
        Ok(forgotten)
    }
}
