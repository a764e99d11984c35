//! The audit chain's rows.

use rusqlite::{Connection, Result, Row, params};

use super::super::audit::{Event, Head, Link};
use super::rows::unreadable;

const HEAD: &str = "SELECT seq, hash FROM audit_head";
const BASE: &str = "SELECT seq, hash FROM audit_base";
const ADD: &str = "INSERT INTO audit (seq, text, hash) VALUES (?1, ?2, ?3)";
const ADVANCE: &str = "UPDATE audit_head SET seq = ?1, hash = ?2";
const LINKS: &str = "SELECT text, hash FROM audit WHERE seq > ?1 ORDER BY seq LIMIT ?2";

/// Adds an event; call it within the transaction of what it tells of.
pub(super) fn add(db: &Connection, event: &Event) -> Result<()> {
    let before = head(db)?;
    let link = event.follow(&before);
    let seq = number(before.seq + 1);
    db.prepare_cached(ADD)?.execute(params![seq, link.text, link.hash])?;
    db.prepare_cached(ADVANCE)?.execute(params![seq, link.hash])?;
    Ok(())
}

pub(super) fn head(db: &Connection) -> Result<Head> {
    place(db, HEAD)
}

pub(super) fn base(db: &Connection) -> Result<Head> {
    place(db, BASE)
}

fn place(db: &Connection, sql: &str) -> Result<Head> {
    db.prepare_cached(sql)?.query_row([], |row| {
        let seq = u64::try_from(row.get::<_, i64>(0)?).map_err(|_| unreadable(0, "a place in the chain"))?;
        Ok(Head { seq, hash: row.get(1)? })
    })
}

pub(super) fn links(db: &Connection, after: u64, most: usize) -> Result<Vec<Link>> {
    let link = |row: &Row<'_>| Ok(Link { text: row.get(0)?, hash: row.get(1)? });
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    db.prepare_cached(LINKS)?.query_map(params![number(after), most], link)?.collect()
}

pub(super) fn number(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}
