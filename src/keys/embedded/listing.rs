//! Portions of all keys, in their order, and the days on which a key was used.

use std::sync::Arc;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Result, Row, params, params_from_iter};

use super::super::query::Stretch;
use super::super::{Cursor, Day, KeyHash, KeyRecord, KeyStanding, Query};
use super::rows::{self, FIELDS, unreadable};

/// Rows that are looked at in one go, before others are served.
const LOOKS: usize = 2_000;
const DAYS: &str = "SELECT day, sum(count) FROM usage_days WHERE instance = ?1 AND hash = ?2 \
                    GROUP BY day ORDER BY day DESC";

pub(super) fn with_id(db: &Connection, instance: &str, id: &str) -> Result<Vec<KeyRecord>> {
    let sql = format!(
        "SELECT {FIELDS} FROM keys INDEXED BY keys_by_id WHERE instance = ?1 AND id = ?2 ORDER BY hash"
    );
    db.prepare_cached(&sql)?.query_map([instance, id], rows::record)?.collect()
}

/// Looks through some of the list behind a place.
pub(super) fn stretch(
    db: &Connection,
    query: &Query,
    after: Option<&Cursor>,
    wanted: usize,
) -> Result<Stretch> {
    let is_picky = query.text.is_some() || query.instance.is_some() || query.standing.is_some();
    let end = if is_picky { end(db, query, after)? } else { None };
    let (sql, values) = statement(query, after, end.as_ref(), wanted);
    let read = |row: &Row<'_>| {
        let record = rows::record(row)?;
        let place = Cursor { at: row.get(16)?, instance: record.instance.to_string(), hash: record.hash };
        Ok((place, record))
    };
    let found: Vec<_> =
        db.prepare_cached(&sql)?.query_map(params_from_iter(values), read)?.collect::<Result<_>>()?;
    let rest = if found.len() == wanted { found.last().map(|(place, _)| place.clone()) } else { end };
    Ok(Stretch { found, rest })
}

pub(super) fn with_days(db: &Connection, keys: &[(Arc<str>, KeyHash)]) -> Result<Vec<(KeyRecord, Vec<Day>)>> {
    let mut all = Vec::with_capacity(keys.len());
    for (instance, hash) in keys {
        // In this order: a use that is written in between is then in the record, and not yet among the days.
        let days = days(db, instance, hash)?;
        all.extend(rows::find(db, instance, hash)?.map(|record| (record, days)));
    }
    Ok(all)
}

fn days(db: &Connection, instance: &str, hash: &KeyHash) -> Result<Vec<Day>> {
    let day = |row: &Row<'_>| {
        let count = u64::try_from(row.get::<_, i64>(1)?).map_err(|_| unreadable(1, "a count"))?;
        Ok(Day { day: row.get(0)?, count })
    };
    db.prepare_cached(DAYS)?.query_map(params![instance, hash.as_bytes()], day)?.collect()
}

/// The place behind which the next stretch begins, whatever is found on this one; read off an index alone.
fn end(db: &Connection, query: &Query, after: Option<&Cursor>) -> Result<Option<Cursor>> {
    let mut conditions = Conditions::of_list(query);
    conditions.add_place("<", after);
    let Conditions { list, sql, values } = conditions;
    let sql = format!(
        "SELECT listed_at, hash, instance FROM keys INDEXED BY {list} WHERE true{sql} \
         ORDER BY listed_at DESC, hash DESC, instance DESC LIMIT 1 OFFSET {}",
        LOOKS - 1
    );
    db.prepare_cached(&sql)?.query_row(params_from_iter(values), place).optional()
}

/// Reads time, hash and instance.
pub(super) fn place(row: &Row<'_>) -> Result<Cursor> {
    Ok(Cursor { at: row.get(0)?, hash: KeyHash::from(row.get::<_, [u8; 32]>(1)?), instance: row.get(2)? })
}

/// Only the conditions that are asked for. Which index serves is said, since SQLite would rather sort all
/// keys of an instance than believe that a list is short.
fn statement(
    query: &Query,
    after: Option<&Cursor>,
    end: Option<&Cursor>,
    wanted: usize,
) -> (String, Vec<Value>) {
    let mut conditions = Conditions::of_list(query);
    conditions.add_place("<", after);
    conditions.add_place(">=", end);
    if let Some(instance) = &query.instance {
        conditions.add("instance = ?", [instance.to_string().into()]);
    }
    if let Some(text) = &query.text {
        conditions.add("instr(searched, ?) > 0", [text.clone().into()]);
    }
    match query.standing {
        Some(KeyStanding::Revoked) => conditions.add("revoked_at IS NOT NULL", []),
        Some(KeyStanding::Active) => conditions.add("revoked_at IS NULL", []),
        Some(KeyStanding::Disabled | KeyStanding::Expired) => {
            conditions.add("revoked_at IS NULL AND policy <> '{}'", []);
        }
        None => {}
    }
    let Conditions { list, sql, values } = conditions;
    let sql = format!(
        "SELECT {FIELDS}, listed_at FROM keys INDEXED BY {list} WHERE true{sql} \
         ORDER BY listed_at DESC, hash DESC, instance DESC LIMIT {wanted}"
    );
    (sql, values)
}

/// What is to be true of a row, and the index that has the rows in their order.
pub(super) struct Conditions {
    pub(super) list: &'static str,
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

impl Conditions {
    pub(super) fn of_list(query: &Query) -> Self {
        let mut conditions = Self { list: "keys_by_time", sql: String::new(), values: Vec::new() };
        if let Some(user) = &query.user_id {
            conditions.list = "keys_by_user";
            conditions.add("user_id = ?", [user.clone().into()]);
        }
        conditions
    }

    fn add<const N: usize>(&mut self, condition: &str, values: [Value; N]) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition);
        self.values.extend(values);
    }

    pub(super) fn add_place(&mut self, side: &str, place: Option<&Cursor>) {
        if let Some(Cursor { at, instance, hash }) = place {
            let place = [(*at).into(), hash.as_bytes().to_vec().into(), instance.clone().into()];
            self.add(&format!("(listed_at, hash, instance) {side} (?, ?, ?)"), place);
        }
    }
}
