//! What is kept for how long: the audit chain is shortened at its old end, days of use and errands that are over
//! are forgotten. Never more in one run than others can bear to wait for; any gateway may do it, at any time.

use std::time::{Duration, SystemTime};

use super::Keyring;
use crate::keys::audit::{Action, Broken, Head, Trim, Walk};
use crate::keys::store::{day_of, millis, watch};
use crate::keys::{Cursor, StoreError};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// So much older than it must be is the oldest entry before any are removed: that they were is an entry, too,
/// and is not to be written for each.
const AT_LEAST: Duration = DAY;
/// Entries that are read in one go.
const READ: usize = 1_000;
/// Entries that are removed in one go, and how often in one run.
const ENTRIES: u64 = 10_000;
const CUTS: usize = 10;
/// Keys whose days are looked at in one go, and how often in one run.
const KEYS: usize = 25;
const LOOKS: usize = 200;
/// Errands that are forgotten in one go, and how often in one run.
const ERRANDS: usize = 500;
const SWEEPS: usize = 20;

/// How long things are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// Entries of the audit chain; `None`: for ever.
    pub audit: Option<Duration>,
    /// On which days keys were used.
    pub usage: Duration,
    /// What was done about keys, or could not be.
    pub errands: Duration,
}

impl Default for Retention {
    /// A whole year, and time to look back at it; for errands a month.
    fn default() -> Self {
        Self { audit: Some(400 * DAY), usage: 400 * DAY, errands: 30 * DAY }
    }
}

/// What became of an audit chain that was to be shortened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trimmed {
    /// Nothing in it is old enough.
    Nothing,
    /// So many entries were removed, the last of them this one.
    Done {
        /// How many.
        entries: u64,
        /// The last.
        to: Head,
    },
    /// What was to be removed is not whole: it stays for whoever looks into it.
    Broken(Broken),
}

/// What a chain was found to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The last entry that was removed for its age; its number is 0 where none was.
    pub base: Head,
    /// The last entry that was found whole.
    pub reached: Head,
    /// Where the chain ends by what is written down beside it.
    pub head: Head,
    /// What is wrong with it, if anything.
    pub problem: Option<Broken>,
}

/// Where the next run goes on.
#[derive(Debug, Default)]
pub struct Rest {
    days: Option<Cursor>,
}

impl Keyring {
    /// Checks the audit chain from its base to its end.
    ///
    /// # Errors
    /// Where the store could not answer.
    pub async fn verify_audit(&self) -> Result<Verified, StoreError> {
        loop {
            let base = self.store.base().await?;
            let verified = self.walk(base).await?;
            // What was removed meanwhile is not missing.
            if verified.problem.is_none() || self.store.base().await? == verified.base {
                return Ok(verified);
            }
        }
    }

    async fn walk(&self, base: Head) -> Result<Verified, StoreError> {
        // The end first: what is added meanwhile lies behind it.
        let head = self.store.head().await?;
        let mut walk = Walk::behind(base);
        let problem = loop {
            let links = self.store.links(walk.at.seq, READ).await?;
            if links.is_empty() {
                break walk.end(&head).err();
            }
            if let Err(broken) = links.iter().try_for_each(|link| walk.advance(link).map(|_| ())) {
                break Some(broken);
            }
        };
        Ok(Verified { base: walk.base, reached: walk.at, head, problem })
    }

    /// Removes the entries of the audit chain that are older than that, once the oldest is so by a day.
    ///
    /// # Errors
    /// Where the store could not do it.
    pub async fn trim_audit(&self, keep_for: Duration, now: SystemTime) -> Result<Trimmed, StoreError> {
        let (mut removed, mut last) = (0, None);
        for _ in 0..CUTS {
            match self.cut(keep_for, now).await? {
                Trimmed::Done { entries, to } => {
                    removed += entries;
                    last = Some(to);
                }
                Trimmed::Nothing => break,
                Trimmed::Broken(broken) => return Ok(Trimmed::Broken(broken)),
            }
        }
        Ok(last.map_or(Trimmed::Nothing, |to| Trimmed::Done { entries: removed, to }))
    }

    async fn cut(&self, keep_for: Duration, now: SystemTime) -> Result<Trimmed, StoreError> {
        let (Some(end), Some(start)) = (now.checked_sub(keep_for), now.checked_sub(keep_for + AT_LEAST))
        else {
            return Ok(Trimmed::Nothing);
        };
        let from = self.store.base().await?;
        let (mut walk, mut to, mut is_worth_it) = (Walk::behind(from.clone()), from.clone(), false);
        'walk: loop {
            let links = self.store.links(walk.at.seq, READ).await?;
            if links.is_empty() {
                break;
            }
            for link in &links {
                let entry = match walk.advance(link) {
                    Ok(entry) => entry,
                    Err(_) if self.store.base().await? != from => return Ok(Trimmed::Nothing),
                    Err(broken) => return Ok(Trimmed::Broken(broken)),
                };
                let is_old = entry.at < if to == from { millis(start) } else { millis(end) };
                if !is_old || walk.passed() > ENTRIES {
                    break 'walk;
                }
                is_worth_it |= entry.action != Action::AuditTrimmed;
                to.clone_from(&walk.at);
            }
        }
        if !is_worth_it {
            return Ok(Trimmed::Nothing);
        }
        let entries = to.seq - from.seq;
        let trim = Trim::new(from, to.clone(), now);
        let is_done = watch(&self.metrics, self.store.trim(&trim).await)?;
        Ok(if is_done { Trimmed::Done { entries, to } } else { Trimmed::Nothing })
    }

    /// Forgets some of what is older than it is kept; the next run goes on where this one ended.
    ///
    /// # Errors
    /// Where the store could not do it.
    pub async fn forget_old(
        &self,
        retention: &Retention,
        now: SystemTime,
        rest: &mut Rest,
    ) -> Result<(), StoreError> {
        if let Some(before) = now.checked_sub(retention.usage) {
            for _ in 0..LOOKS {
                rest.days = self.store.forget_days(day_of(before), rest.days.as_ref(), KEYS).await?;
                if rest.days.is_none() {
                    break;
                }
            }
        }
        if let Some(before) = now.checked_sub(retention.errands) {
            for _ in 0..SWEEPS {
                if self.store.forget_errands(before, ERRANDS).await? < ERRANDS {
                    break;
                }
            }
        }
        Ok(())
    }
}
