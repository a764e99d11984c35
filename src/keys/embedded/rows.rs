//! The embedded store's rows: records in, records out, one transaction for each write.

use std::sync::Arc;
use std::time::SystemTime;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Result, Row, TransactionBehavior, params};

use super::super::store::{from_millis, millis};
use super::super::{Issuer, KeyHash, KeyRecord, Learned, Revocation, RevokedBy, Use};

const FIND: &str = "SELECT hash, id, user_id, user_email, name, prefix, issuer, created_at, last_used_at, \
                    revoked_at, revoked_by FROM keys WHERE instance = ?1 AND hash = ?2";
const INSERT: &str = "INSERT INTO keys (instance, hash, id, user_id, user_email, name, prefix, issuer, \
                      created_at, last_used_at, revoked_at, revoked_by) \
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
const BURIED: &str = r#"SELECT at, "by" FROM tombstones WHERE instance = ?1 AND id = ?2"#;
const BURY: &str =
    r#"INSERT INTO tombstones (instance, id, at, "by") VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING"#;
const REVOKE: &str = "UPDATE keys SET revoked_at = ?3, revoked_by = ?4 \
                      WHERE instance = ?1 AND id = ?2 AND revoked_at IS NULL";
const WITH_ID: &str = "SELECT hash FROM keys WHERE instance = ?1 AND id = ?2 LIMIT 1";
const NOTE_USED: &str = "UPDATE keys SET last_used_at = ?3 WHERE instance = ?1 AND hash = ?2 \
                         AND (last_used_at IS NULL OR last_used_at < ?3)";

pub(super) fn find(db: &Connection, instance: &str, hash: &KeyHash) -> Result<Option<KeyRecord>> {
    db.prepare_cached(FIND)?
        .query_row(params![instance, hash.as_bytes()], |row| record(instance, row))
        .optional()
}

pub(super) fn learn(db: &mut Connection, record: &KeyRecord) -> Result<Learned> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if let Some(known) = find(&transaction, &record.instance, &record.hash)? {
        return Ok(Learned::Known(known));
    }
    let buried = transaction
        .prepare_cached(BURIED)?
        .query_row([&*record.instance, &record.id], |row| revocation(row.get(0)?, row.get(1)?, 0))
        .optional()?;
    let learned = if buried.is_some() { Learned::Revoked } else { Learned::Written };
    let revoked = buried.or(record.revoked);
    insert(&transaction, record, revoked)?;
    if let Some(revoked) = revoked {
        bury(&transaction, &record.instance, &record.id, revoked)?;
    }
    transaction.commit()?;
    Ok(learned)
}

pub(super) fn revoke(
    db: &mut Connection,
    instance: &str,
    id: &str,
    revocation: Revocation,
) -> Result<Option<KeyHash>> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    bury(&transaction, instance, id, revocation)?;
    let (at, by) = (millis(revocation.at), revocation.by.as_str());
    transaction.prepare_cached(REVOKE)?.execute(params![instance, id, at, by])?;
    let hash = transaction
        .prepare_cached(WITH_ID)?
        .query_row([instance, id], |row| row.get::<_, [u8; 32]>(0))
        .optional()?;
    transaction.commit()?;
    Ok(hash.map(KeyHash::from))
}

pub(super) fn note_used(db: &mut Connection, uses: &[Use]) -> Result<()> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let mut note = transaction.prepare_cached(NOTE_USED)?;
        for used in uses {
            note.execute(params![&*used.instance, used.hash.as_bytes(), millis(used.at)])?;
        }
    }
    transaction.commit()
}

pub(super) fn ping(db: &Connection) -> Result<()> {
    db.prepare_cached("SELECT count(*) FROM tombstones WHERE instance = ''")?.query_row([], |_| Ok(()))
}

/// Writes a record of its own, reads it, and deletes it, each in a transaction that reaches the disk.
pub(super) fn probe(db: &mut Connection) -> Result<()> {
    // No instance is called that: names have no spaces.
    let (instance, id) = (" probe", std::process::id().to_string());
    let at = Revocation { at: SystemTime::now(), by: RevokedBy::Operator };
    bury(db, instance, &id, at)?;
    db.prepare_cached(BURIED)?.query_row([instance, &id], |_| Ok(()))?;
    db.execute("DELETE FROM tombstones WHERE instance = ?1", [instance])?;
    Ok(())
}

fn insert(db: &Connection, record: &KeyRecord, revoked: Option<Revocation>) -> Result<()> {
    db.prepare_cached(INSERT)?.execute(params![
        &*record.instance,
        record.hash.as_bytes(),
        record.id,
        record.user_id,
        record.user_email,
        record.name,
        record.prefix,
        record.issuer.as_str(),
        record.created_at.map(millis),
        record.last_used_at.map(millis),
        revoked.map(|revoked| millis(revoked.at)),
        revoked.map(|revoked| revoked.by.as_str()),
    ])?;
    Ok(())
}

fn bury(db: &Connection, instance: &str, id: &str, revocation: Revocation) -> Result<()> {
    let (at, by) = (millis(revocation.at), revocation.by.as_str());
    db.prepare_cached(BURY)?.execute(params![instance, id, at, by])?;
    Ok(())
}

fn record(instance: &str, row: &Row<'_>) -> Result<KeyRecord> {
    let issuer: String = row.get(6)?;
    let revoked_at: Option<i64> = row.get(9)?;
    let revoked_by: Option<String> = row.get(10)?;
    Ok(KeyRecord {
        hash: KeyHash::from(row.get::<_, [u8; 32]>(0)?),
        id: row.get(1)?,
        instance: Arc::from(instance),
        user_id: row.get(2)?,
        user_email: row.get(3)?,
        name: row.get(4)?,
        prefix: row.get(5)?,
        issuer: Issuer::from_text(&issuer).ok_or_else(|| unreadable(6, "an issuer"))?,
        created_at: row.get::<_, Option<i64>>(7)?.map(|at| time(at, 7)).transpose()?,
        last_used_at: row.get::<_, Option<i64>>(8)?.map(|at| time(at, 8)).transpose()?,
        revoked: match (revoked_at, revoked_by) {
            (None, None) => None,
            (Some(at), Some(by)) => Some(revocation(at, by, 9)?),
            (Some(_), None) | (None, Some(_)) => return Err(unreadable(9, "a whole revocation")),
        },
    })
}

fn revocation(at: i64, by: String, column: usize) -> Result<Revocation> {
    let by = RevokedBy::from_text(&by).ok_or_else(|| unreadable(column, "a kind of revocation"))?;
    Ok(Revocation { at: time(at, column)?, by })
}

fn time(at: i64, column: usize) -> Result<SystemTime> {
    from_millis(at).ok_or_else(|| unreadable(column, "a time"))
}

fn unreadable(column: usize, wanted: &str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, format!("not {wanted}").into())
}
