//! The audit chain in Redis, and the way in which every change comes with its entry.
//!
//! A script can compare and write, but not compute SHA-256. So the link is made here, for the head that is
//! expected, and the script changes nothing where it finds another; then the link is made anew. Within a
//! process changes queue up, so that they do not make each other's links stale; a process that came too late
//! several times is given the turn, so that no other can keep it out.
//!
//! A script that is sent again, because its answer was lost, finds its own entry by the name of its call, and
//! answers as it did before: nothing is changed or written down twice.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ::redis::{Pipeline, ToRedisArgs, pipe};
use tokio::sync::MutexGuard;

use super::super::StoreError;
use super::super::audit::{Event, Head, Link};
use super::super::lease::Position;
use super::RedisStore;
use super::news::{News, read_position, write_name};

/// A script that changes something.
macro_rules! change {
    ($($script:literal),+) => {
        concat!(include_str!("scripts/change.lua"), $(include_str!(concat!("scripts/", $script))),+)
    };
}
pub(super) use change;

const RECORD: &str = change!("record.lua");
/// For how long a link is made anew, at most: many times as long as all others together may keep their turns.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// For that long someone else's turn is waited for before asking again.
pub(super) const PAUSE: Duration = Duration::from_millis(5);

/// What this process knows of the chain.
pub(super) struct Chain {
    held: tokio::sync::Mutex<Held>,
    /// How often the server gave no answer to a change.
    troubles: AtomicU64,
}

pub(super) struct Held {
    /// Where the chain ended when it was last looked at.
    pub(super) head: Head,
    trouble: Option<StoreError>,
}

/// Something that is to be changed, with the event that tells of it.
pub(super) struct Change<'a> {
    event: &'a Event,
    code: &'static str,
    /// What those who remember keys are told; empty: it does not concern them.
    news: String,
    names: Vec<String>,
    arguments: Vec<Vec<u8>>,
}

/// One try to make a change.
pub(super) struct Try<'a> {
    /// The names of the chain's entries.
    pub(super) chain: &'a [String; 4],
    /// Where the chain is thought to end.
    pub(super) head: &'a Head,
    /// The change's own name.
    pub(super) name: &'a str,
    /// How often it came too late.
    pub(super) late: u32,
    /// By what the server knows the script; `None`: it is sent.
    pub(super) digest: Option<&'a str>,
}

/// What a script of a change answers: what became of it, a list, a text, and where the chain ends now, and
/// where the change log does.
pub(super) type Reply = (String, Vec<String>, Option<String>, String, String);

/// What became of a change.
pub(super) struct Outcome {
    /// In the script's word.
    pub(super) word: String,
    /// Whatever list belongs to that.
    pub(super) list: Vec<String>,
    /// Whatever text belongs to that.
    pub(super) text: Option<String>,
    /// A place in the change log that is not before the change.
    pub(super) position: Position,
}

impl Chain {
    pub(super) fn new() -> Self {
        let held = Held { head: Head::start(), trouble: None };
        Self { held: tokio::sync::Mutex::new(held), troubles: AtomicU64::new(0) }
    }
}

impl<'a> Change<'a> {
    /// Of the entries with these names.
    pub(super) fn new(event: &'a Event, code: &'static str, names: Vec<String>) -> Self {
        Self { event, code, news: String::new(), names, arguments: Vec::new() }
    }

    /// Of which others are told.
    pub(super) fn told(mut self, news: &News) -> Result<Self, StoreError> {
        self.news = news.text()?;
        Ok(self)
    }

    /// With one more argument.
    pub(super) fn with(mut self, argument: impl ToRedisArgs) -> Self {
        self.arguments.extend(argument.to_redis_args());
        self
    }

    /// Adds the call of its script to a pipeline; returns where the chain ends when it has succeeded.
    pub(super) fn call(&self, pipeline: &mut Pipeline, this: &Try<'_>) -> Head {
        let Try { chain, head, name, late, digest } = this;
        let link = self.event.follow(head);
        match digest {
            None => pipeline.cmd("EVAL").arg(self.code),
            Some(digest) => pipeline.cmd("EVALSHA").arg(digest),
        };
        pipeline.arg(chain.len() + self.names.len()).arg(*chain).arg(&self.names);
        pipeline.arg(text(head)).arg(head.seq + 1).arg(link.text).arg(&link.hash).arg(name).arg(late);
        pipeline.arg(&self.news);
        pipeline.arg(&self.arguments);
        Head { seq: head.seq + 1, hash: link.hash }
    }

    /// The entry that it is about first.
    pub(super) fn subject(&self) -> Option<&String> {
        self.names.first()
    }
}

impl RedisStore {
    /// Changes something, together with its entry in the chain.
    pub(super) async fn commit(&self, change: Change<'_>) -> Result<Outcome, StoreError> {
        let mut held = self.hold_chain().await?;
        let outcome = self.add(&mut held.head, &change).await;
        self.let_go_of(held, outcome)
    }

    /// Waits until no other change of this process is being made.
    pub(super) async fn hold_chain(&self) -> Result<MutexGuard<'_, Held>, StoreError> {
        let troubles = self.chain.troubles.load(Ordering::Acquire);
        let held = self.chain.held.lock().await;
        if self.chain.troubles.load(Ordering::Acquire) != troubles {
            // The server was silent while this one waited: it would be so again, and all who wait hear it now.
            return Err(held.trouble.clone().unwrap_or(StoreError::Timeout));
        }
        Ok(held)
    }

    /// Lets the next change be made, unless this one has shown that the server does not answer.
    pub(super) fn let_go_of<T>(
        &self,
        mut held: MutexGuard<'_, Held>,
        outcome: Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if let Err(error @ (StoreError::Timeout | StoreError::Unreachable(_))) = &outcome {
            held.trouble = Some(error.clone());
            self.chain.troubles.fetch_add(1, Ordering::Release);
        }
        outcome
    }

    async fn add(&self, head: &mut Head, change: &Change<'_>) -> Result<Outcome, StoreError> {
        let (chain, name) = (self.names.chain(), write_name(rand::random()));
        let begun = Instant::now();
        for late in 0.. {
            let mut call = pipe();
            change.call(&mut call, &Try { chain: &chain, head, name: &name, late, digest: None });
            let ((word, list, text, now, place),): (Reply,) = self.link.run(&call).await?;
            let before = std::mem::replace(head, read_head(&now)?);
            if word != "stale" {
                return Ok(Outcome { word, list, text, position: read_position(&place)? });
            }
            if begun.elapsed() > LONGEST_WAIT {
                break;
            }
            if before == *head {
                tokio::time::sleep(PAUSE).await;
            }
        }
        Err(kept_out())
    }

    /// Adds an entry that comes with no change.
    pub(super) async fn add_event(&self, event: &Event) -> Result<(), StoreError> {
        self.commit(Change::new(event, RECORD, Vec::new())).await.map(|_| ())
    }

    /// Links behind the one with this number.
    pub(super) async fn links_after(&self, after: u64, most: usize) -> Result<Vec<Link>, StoreError> {
        let ([_, chain, _, _], most) = (self.names.chain(), i64::try_from(most).unwrap_or(i64::MAX));
        let mut pipeline = pipe();
        pipeline.cmd("XRANGE").arg(&chain).arg(after.saturating_add(1)).arg("+").arg("COUNT").arg(most);
        let (entries,): (Vec<(String, Vec<String>)>,) = self.link.run(&pipeline).await?;
        let read = |(id, fields): (String, Vec<String>)| match <[String; 6]>::try_from(fields) {
            Ok([_, text, _, hash, _, _]) => Ok(Link { text, hash }),
            Err(_) => Err(StoreError::Corrupt(format!("{chain} has an unexpected entry {id}"))),
        };
        entries.into_iter().map(read).collect()
    }

    /// Where the chain ends.
    pub(super) async fn end(&self) -> Result<Head, StoreError> {
        let [head, _, _, _] = self.names.chain();
        let mut pipeline = pipe();
        pipeline.cmd("GET").arg(head);
        let (held,): (Option<String>,) = self.link.run(&pipeline).await?;
        read_head(&held.unwrap_or_default())
    }
}

pub(super) fn kept_out() -> StoreError {
    StoreError::Refused("others are adding to the audit chain all the time".to_owned())
}

/// A head as it is kept: number, space, hash; nothing where there is no entry yet.
pub(super) fn text(head: &Head) -> String {
    if head.seq == 0 { String::new() } else { format!("{} {}", head.seq, head.hash) }
}

pub(super) fn read_head(text: &str) -> Result<Head, StoreError> {
    if text.is_empty() {
        return Ok(Head::start());
    }
    let head = text.split_once(' ').and_then(|(number, hash)| {
        let seq = number.parse().ok().filter(|seq| (1..u64::MAX).contains(seq))?;
        Some(Head { seq, hash: hash.to_owned() })
    });
    head.ok_or_else(|| StoreError::Corrupt("the end of the audit chain cannot be read".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_back_from_its_text() {
        for head in [Head::start(), Head { seq: 7, hash: "ab".to_owned() }] {
            assert_eq!(read_head(&text(&head)).expect("a head"), head);
        }
        for wrong in ["7", "x ab", "-1 ab", "0 ab", "18446744073709551615 ab"] {
            assert!(matches!(read_head(wrong), Err(StoreError::Corrupt(_))), "{wrong}");
        }
    }
}
