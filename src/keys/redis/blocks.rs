//! Blocked users and sessions: one entry, a field for each.

use std::time::SystemTime;

use ::redis::pipe;
use serde::{Deserialize, Serialize};

use super::super::audit::Event;
use super::super::block::{Block, Subject};
use super::super::lease::Position;
use super::super::store::{StoreError, from_millis, millis};
use super::RedisStore;
use super::chain::{Change, change};
use super::names::{read_subject, subject};
use super::news::News;

const BLOCK: &str = change!("block.lua");
const UNBLOCK: &str = change!("unblock.lua");
const FORGET: &str = include_str!("scripts/forget.lua");
/// Blocks that are forgotten in one go.
const AT_ONCE: usize = 1_000;

/// How someone is blocked, as it is kept; times in milliseconds since 1970.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Terms {
    at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

impl RedisStore {
    pub(super) async fn refuse(&self, block: &Block, event: &Event) -> Result<Position, StoreError> {
        let (field, terms) = (subject(&block.instance, &block.subject), write(block)?);
        let news = News::Blocked { subject: field.clone(), terms: terms.clone() };
        let change =
            Change::new(event, BLOCK, vec![self.names.blocks()]).told(&news)?.with(field).with(terms);
        self.commit(change).await.map(|outcome| outcome.position)
    }

    pub(super) async fn refuses(&self, instance: &str, whom: &Subject) -> Result<bool, StoreError> {
        let mut pipeline = pipe();
        pipeline.cmd("HEXISTS").arg(self.names.blocks()).arg(subject(instance, whom));
        let (is_blocked,): (bool,) = self.link.run(&pipeline).await?;
        Ok(is_blocked)
    }

    pub(super) async fn accept(
        &self,
        instance: &str,
        whom: &Subject,
        event: &Event,
    ) -> Result<bool, StoreError> {
        let field = subject(instance, whom);
        let news = News::Lifted { subject: field.clone() };
        let change = Change::new(event, UNBLOCK, vec![self.names.blocks()]).told(&news)?.with(field);
        Ok(self.commit(change).await?.word == "done")
    }

    pub(super) async fn all_blocks(&self, now: SystemTime) -> Result<Vec<Block>, StoreError> {
        let mut pipeline = pipe();
        pipeline.cmd("HGETALL").arg(self.names.blocks());
        let (held,): (Vec<(String, String)>,) = self.link.run(&pipeline).await?;
        let (mut blocks, mut over) = (Vec::with_capacity(held.len()), Vec::new());
        for (field, terms) in held {
            let block = read(&field, &terms)
                .ok_or_else(|| StoreError::Corrupt(format!("the block of {field} cannot be read")))?;
            if block.until.is_some_and(|until| until <= now) {
                over.extend([field, terms]);
            } else {
                blocks.push(block);
            }
        }
        for over in over.chunks(2 * AT_ONCE) {
            let mut pipeline = pipe();
            pipeline.cmd("EVAL").arg(FORGET).arg(1).arg(self.names.blocks()).arg(over).ignore();
            let () = self.link.run(&pipeline).await?;
        }
        blocks.sort_by_key(|block| std::cmp::Reverse(block.at));
        Ok(blocks)
    }
}

fn write(block: &Block) -> Result<String, StoreError> {
    let terms = Terms { at: millis(block.at), until: block.until.map(millis), why: block.why.clone() };
    serde_json::to_string(&terms).map_err(|error| StoreError::Refused(format!("a block: {error}")))
}

pub(super) fn read(field: &str, terms: &str) -> Option<Block> {
    let (instance, subject) = read_subject(field)?;
    let Terms { at, until, why } = serde_json::from_str(terms).ok()?;
    let until = match until {
        Some(until) => Some(from_millis(until)?),
        None => None,
    };
    Some(Block { instance, subject, at: from_millis(at)?, until, why })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_read_back_as_it_was_written() {
        let block = |until, why| Block {
            instance: "home".to_owned(),
            subject: Subject::Session([7; 32]),
            at: SystemTime::UNIX_EPOCH,
            until,
            why,
        };
        for block in [block(None, None), block(from_millis(7), Some("\"left\"".to_owned()))] {
            let field = subject(&block.instance, &block.subject);
            assert_eq!(read(&field, &write(&block).expect("text")), Some(block));
        }
        let field = subject("home", &Subject::User("ann".to_owned()));
        for wrong in ["", "{}", r#"{"at":-1}"#, r#"{"at":1,"until":-1}"#, r#"{"at":1,"to":2}"#] {
            assert_eq!(read(&field, wrong), None, "{wrong}");
        }
    }
}
