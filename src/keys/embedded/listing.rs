//! Portions of all keys, in their order, and the days on which a key was used.

use std::fmt::Write as _;
use std::time::SystemTime;

use rusqlite::types::Value;
use rusqlite::{Connection, Result, Row, params, params_from_iter};

use super::super::{Cursor, Day, KeyHash, KeyRecord, KeyStanding, Page, Query};
use super::rows::{self, FIELDS, unreadable};

/// Rows that are read to be judged here, at most, for each portion asked of SQLite.
const BATCH: usize = 1_000;
const DAYS: &str = "SELECT day, sum(count) FROM usage_days WHERE instance = ?1 AND hash = ?2 \
                    GROUP BY day ORDER BY day DESC";

pub(super) fn with_id(db: &Connection, instance: &str, id: &str) -> Result<Vec<KeyRecord>> {
    let sql = format!("SELECT {FIELDS} FROM keys WHERE instance = ?1 AND id = ?2");
    db.prepare_cached(&sql)?.query_map([instance, id], rows::record)?.collect()
}

pub(super) fn list(db: &Connection, query: &Query, now: SystemTime) -> Result<Page> {
    let mut page = Page::default();
    let mut after = query.after.clone();
    loop {
        let batch = batch(db, query, after.as_ref())?;
        let is_last = batch.len() < BATCH;
        for (record, place) in batch {
            if page.records.len() == query.limit {
                page.next = after;
                return Ok(page);
            }
            after = Some(place);
            if query.admits(&record, now) {
                page.records.push(record);
            }
        }
        if is_last {
            return Ok(page);
        }
    }
}

pub(super) fn days(db: &Connection, instance: &str, hash: &KeyHash) -> Result<Vec<Day>> {
    let day = |row: &Row<'_>| {
        let count = u64::try_from(row.get::<_, i64>(1)?).map_err(|_| unreadable(1, "a count"))?;
        Ok(Day { day: row.get(0)?, count })
    };
    db.prepare_cached(DAYS)?.query_map(params![instance, hash.as_bytes()], day)?.collect()
}

fn batch(db: &Connection, query: &Query, after: Option<&Cursor>) -> Result<Vec<(KeyRecord, Cursor)>> {
    let (sql, values) = statement(query, after);
    let read = |row: &Row<'_>| {
        let record = rows::record(row)?;
        let place = Cursor { at: row.get(16)?, instance: record.instance.to_string(), hash: record.hash };
        Ok((record, place))
    };
    db.prepare_cached(&sql)?.query_map(params_from_iter(values), read)?.collect()
}

/// Only the conditions that are asked for, so that SQLite can choose the index that serves them.
fn statement(query: &Query, after: Option<&Cursor>) -> (String, Vec<Value>) {
    let mut sql = format!("SELECT {FIELDS}, listed_at FROM keys WHERE true");
    let mut values: Vec<Value> = Vec::new();
    let mut condition = |text: &str, given: Vec<Value>| {
        sql.push_str(" AND ");
        sql.push_str(text);
        values.extend(given);
    };
    if let Some(instance) = &query.instance {
        condition("instance = ?", vec![instance.to_string().into()]);
    }
    if let Some(user) = &query.user_id {
        condition("user_id = ?", vec![user.clone().into()]);
    }
    if let Some(text) = &query.text {
        condition("instr(searched, ?) > 0", vec![text.clone().into()]);
    }
    match query.standing {
        Some(KeyStanding::Revoked) => condition("revoked_at IS NOT NULL", Vec::new()),
        Some(KeyStanding::Active | KeyStanding::Disabled | KeyStanding::Expired) => {
            condition("revoked_at IS NULL", Vec::new());
        }
        None => {}
    }
    if let Some(Cursor { at, instance, hash }) = after {
        let place = vec![(*at).into(), hash.as_bytes().to_vec().into(), instance.clone().into()];
        condition("(listed_at, hash, instance) < (?, ?, ?)", place);
    }
    let _ = write!(sql, " ORDER BY listed_at DESC, hash DESC, instance DESC LIMIT {BATCH}");
    (sql, values)
}
