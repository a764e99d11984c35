//! What the embedded store lets go of: the oldest entries of the audit chain, days of use, errands that are over.

use std::time::SystemTime;

use rusqlite::{Connection, Result, TransactionBehavior, params, params_from_iter};

use super::super::audit::Trim;
use super::super::errand::State;
use super::super::store::millis;
use super::super::{Cursor, Query};
use super::chain;
use super::listing::{Conditions, place};

const REMOVE: &str = "DELETE FROM audit WHERE seq <= ?1";
const REBASE: &str = "UPDATE audit_base SET seq = ?1, hash = ?2";
/// What the days that are forgotten say of the last use goes to the key's own row.
const KEEP_LAST_USE: &str = "UPDATE keys SET last_used_at = gone.at, last_used_over = gone.family \
                             FROM (SELECT at, family FROM usage_days WHERE instance = ?1 AND hash = ?2 AND day < ?3 \
                             ORDER BY at DESC LIMIT 1) gone \
                             WHERE instance = ?1 AND hash = ?2 AND gone.at > ifnull(last_used_at, 0)";
const FORGET_DAYS: &str = "DELETE FROM usage_days WHERE instance = ?1 AND hash = ?2 AND day < ?3";
const FORGET_ERRANDS: &str = "DELETE FROM errands WHERE (instance, key_id, task) IN \
                              (SELECT instance, key_id, task FROM errands INDEXED BY errands_by_due \
                              WHERE state = ?1 AND due < ?2 ORDER BY due LIMIT ?3)";

pub(super) fn trim(db: &mut Connection, trim: &Trim) -> Result<bool> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if chain::base(&transaction)? != trim.from {
        return Ok(false);
    }
    let last = chain::number(trim.to.seq);
    transaction.prepare_cached(REMOVE)?.execute([last])?;
    transaction.prepare_cached(REBASE)?.execute(params![last, trim.to.hash])?;
    chain::add(&transaction, &trim.event)?;
    transaction.commit()?;
    Ok(true)
}

/// Where nothing is old enough, nothing is written.
pub(super) fn forget_days(
    db: &mut Connection,
    before: u32,
    after: Option<&Cursor>,
    most: usize,
) -> Result<Option<Cursor>> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let keys = places(&transaction, after, most)?;
    {
        let mut keep = transaction.prepare_cached(KEEP_LAST_USE)?;
        let mut forget = transaction.prepare_cached(FORGET_DAYS)?;
        for Cursor { instance, hash, .. } in &keys {
            keep.execute(params![instance, hash.as_bytes(), before])?;
            forget.execute(params![instance, hash.as_bytes(), before])?;
        }
    }
    transaction.commit()?;
    Ok(if keys.len() == most { keys.into_iter().next_back() } else { None })
}

fn places(db: &Connection, after: Option<&Cursor>, most: usize) -> Result<Vec<Cursor>> {
    let mut conditions = Conditions::of_list(&Query::default());
    conditions.add_place("<", after);
    let Conditions { list, sql, values } = conditions;
    let sql = format!(
        "SELECT listed_at, hash, instance FROM keys INDEXED BY {list} WHERE true{sql} \
         ORDER BY listed_at DESC, hash DESC, instance DESC LIMIT {most}"
    );
    db.prepare_cached(&sql)?.query_map(params_from_iter(values), place)?.collect()
}

pub(super) fn forget_errands(db: &mut Connection, before: SystemTime, most: usize) -> Result<usize> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut forgotten = 0;
    for state in [State::Done, State::Refused] {
        let left = i64::try_from(most - forgotten).unwrap_or(i64::MAX);
        let values = params![state.as_str(), millis(before), left];
        forgotten += transaction.prepare_cached(FORGET_ERRANDS)?.execute(values)?;
    }
    transaction.commit()?;
    Ok(forgotten)
}
