//! The rows of what is still to be done about keys.

use std::time::SystemTime;

use rusqlite::{Connection, Result, Row, TransactionBehavior, params};

use super::super::errand::{Errand, Settled, State, Task};
use super::super::store::millis;
use super::rows::{time, unreadable};

const FIELDS: &str = "instance, key_id, task, user_id, user_email, state, due, tries, note";
const PUT: &str = "INSERT OR REPLACE INTO errands \
                   (instance, key_id, task, user_id, user_email, state, due, tries, note) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
const CLAIM: &str = "UPDATE errands SET due = ?4, tries = tries + 1 \
                     WHERE instance = ?1 AND key_id = ?2 AND task = ?3";
const SETTLE: &str = "UPDATE errands SET state = ?4, due = ?5, note = ?6 \
                      WHERE instance = ?1 AND key_id = ?2 AND task = ?3";
/// Whoever issued a key, if an instance did, is told that it ended. What was told once stays told.
const TELL: &str = "INSERT INTO errands \
                    (instance, key_id, task, user_id, user_email, state, due, tries, note) \
                    SELECT instance, id, 'tell', user_id, user_email, 'pending', ?3, 0, NULL \
                    FROM keys INDEXED BY keys_by_id \
                    WHERE instance = ?1 AND id = ?2 AND issuer = 'openbin' LIMIT 1 \
                    ON CONFLICT DO NOTHING";

pub(super) fn put(db: &Connection, errand: &Errand) -> Result<()> {
    db.prepare_cached(PUT)?.execute(params![
        errand.instance,
        errand.key_id,
        errand.task.as_str(),
        errand.user_id,
        errand.user_email,
        errand.state.as_str(),
        millis(errand.due),
        errand.tries,
        errand.note,
    ])?;
    Ok(())
}

pub(super) fn tell(db: &Connection, instance: &str, id: &str, due: SystemTime) -> Result<()> {
    db.prepare_cached(TELL)?.execute(params![instance, id, millis(due)])?;
    Ok(())
}

/// Each errand is as it was before it was given out.
pub(super) fn due(
    db: &mut Connection,
    now: SystemTime,
    until: SystemTime,
    most: usize,
) -> Result<Vec<Errand>> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let sql =
        format!("SELECT {FIELDS} FROM errands WHERE state = 'pending' AND due <= ?1 ORDER BY due LIMIT ?2");
    let errands: Vec<Errand> = transaction
        .prepare_cached(&sql)?
        .query_map(params![millis(now), most], read)?
        .collect::<Result<_>>()?;
    for errand in &errands {
        let (task, until) = (errand.task.as_str(), millis(until));
        transaction.prepare_cached(CLAIM)?.execute(params![errand.instance, errand.key_id, task, until])?;
    }
    transaction.commit()?;
    Ok(errands)
}

pub(super) fn settle(db: &Connection, errand: &Errand, settled: &Settled) -> Result<()> {
    db.prepare_cached(SETTLE)?.execute(params![
        errand.instance,
        errand.key_id,
        errand.task.as_str(),
        settled.state.as_str(),
        millis(settled.due),
        settled.note,
    ])?;
    Ok(())
}

pub(super) fn of_key(db: &Connection, instance: &str, key_id: &str) -> Result<Vec<Errand>> {
    let sql = format!("SELECT {FIELDS} FROM errands WHERE instance = ?1 AND key_id = ?2 ORDER BY task");
    db.prepare_cached(&sql)?.query_map([instance, key_id], read)?.collect()
}

fn read(row: &Row<'_>) -> Result<Errand> {
    let (task, state): (String, String) = (row.get(2)?, row.get(5)?);
    Ok(Errand {
        instance: row.get(0)?,
        key_id: row.get(1)?,
        task: Task::from_text(&task).ok_or_else(|| unreadable(2, "a task"))?,
        user_id: row.get(3)?,
        user_email: row.get(4)?,
        state: State::from_text(&state).ok_or_else(|| unreadable(5, "a state"))?,
        due: time(row.get(6)?, 6)?,
        tries: row.get(7)?,
        note: row.get(8)?,
    })
}
