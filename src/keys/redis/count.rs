//! What is counted together by all gateways: a bucket an entry, gone when it is full again.

use std::time::Duration;

use ::redis::pipe;

use super::super::Rate;
use super::super::store::{Counted, StoreError};
use super::RedisStore;

const COUNT: &str = include_str!("scripts/count.lua");

impl RedisStore {
    /// Where the answer is lost, it may be counted twice: that errs on the side of the limit.
    pub(super) async fn count_one(&self, name: &str, rate: Rate) -> Result<Counted, StoreError> {
        // More than one in a microsecond is more than a server could count.
        let per = u64::try_from(rate.per().as_micros()).unwrap_or(u64::MAX);
        let interval = (per / u64::from(rate.requests())).max(1);
        let whole = interval.saturating_mul(u64::from(rate.requests()));
        let mut pipeline = pipe();
        pipeline.cmd("EVAL").arg(COUNT).arg(1).arg(self.names.bucket(name)).arg(interval).arg(whole);
        let ((is_within, amount),): ((bool, u64),) = self.link.run(&pipeline).await?;
        Ok(if is_within {
            let remaining = u32::try_from(amount / interval).unwrap_or(u32::MAX);
            Counted::Within { remaining, next_in: Duration::from_micros(interval - amount % interval) }
        } else {
            Counted::Over { next_in: Duration::from_micros(amount) }
        })
    }
}
