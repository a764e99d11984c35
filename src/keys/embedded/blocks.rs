//! The rows of blocked users and sessions.

use std::time::SystemTime;

use rusqlite::{Connection, Result, Row, TransactionBehavior, params};

use super::super::KeyHash;
use super::super::audit::Event;
use super::super::block::{Block, Subject};
use super::super::store::millis;
use super::chain;
use super::rows::{time, unreadable};

const BLOCK: &str = "INSERT INTO blocks (instance, kind, subject, at, until, why) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
                     ON CONFLICT DO UPDATE SET at = excluded.at, until = excluded.until, why = excluded.why";
const UNBLOCK: &str = "DELETE FROM blocks WHERE instance = ?1 AND kind = ?2 AND subject = ?3";
const HAS: &str = "SELECT EXISTS (SELECT 1 FROM blocks WHERE instance = ?1 AND kind = ?2 AND subject = ?3)";
const FORGET: &str = "DELETE FROM blocks WHERE until <= ?1";
const ALL: &str = "SELECT instance, kind, subject, at, until, why FROM blocks ORDER BY at DESC";

pub(super) fn block(db: &mut Connection, block: &Block, event: &Event) -> Result<()> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let (kind, subject) = name(&block.subject);
    let (at, until) = (millis(block.at), block.until.map(millis));
    transaction.prepare_cached(BLOCK)?.execute(params![
        block.instance,
        kind,
        subject,
        at,
        until,
        block.why
    ])?;
    chain::add(&transaction, event)?;
    transaction.commit()
}

pub(super) fn unblock(db: &mut Connection, instance: &str, subject: &Subject, event: &Event) -> Result<bool> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let (kind, subject) = name(subject);
    let lifted = transaction.prepare_cached(UNBLOCK)?.execute(params![instance, kind, subject])? > 0;
    if lifted {
        chain::add(&transaction, event)?;
    }
    transaction.commit()?;
    Ok(lifted)
}

pub(super) fn has(db: &Connection, instance: &str, subject: &Subject) -> Result<bool> {
    let (kind, subject) = name(subject);
    db.prepare_cached(HAS)?.query_row(params![instance, kind, subject], |row| row.get(0))
}

pub(super) fn all(db: &mut Connection, now: SystemTime) -> Result<Vec<Block>> {
    db.prepare_cached(FORGET)?.execute([millis(now)])?;
    db.prepare_cached(ALL)?.query_map([], read)?.collect()
}

fn name(subject: &Subject) -> (&'static str, String) {
    match subject {
        Subject::User(id) => ("user", id.clone()),
        Subject::Session(digest) => ("session", KeyHash::from(*digest).to_string()),
    }
}

fn read(row: &Row<'_>) -> Result<Block> {
    let (kind, subject): (String, String) = (row.get(1)?, row.get(2)?);
    let subject = match kind.as_str() {
        "user" => Subject::User(subject),
        "session" => {
            let digest = KeyHash::from_hex(&subject).ok_or_else(|| unreadable(2, "a digest"))?;
            Subject::Session(*digest.as_bytes())
        }
        _ => return Err(unreadable(1, "a kind of block")),
    };
    Ok(Block {
        instance: row.get(0)?,
        subject,
        at: time(row.get(3)?, 3)?,
        until: row.get::<_, Option<i64>>(4)?.map(|at| time(at, 4)).transpose()?,
        why: row.get(5)?,
    })
}
