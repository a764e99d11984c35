//! The embedded store's key records: records in, records out, one transaction for each write.

use std::sync::Arc;
use std::time::SystemTime;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Result, Row, TransactionBehavior, params};

use super::super::audit::Event;
use super::super::query::{listed_at, searched};
use super::super::store::{day_of, from_millis, millis};
use super::super::{
    AddressFamily, Admission, Amended, Amendment, Ending, Issuer, KeyHash, KeyRecord, Learned, Policy,
    Revocation, RevokedBy, Use,
};
use super::{chain, errands};

/// A record's columns in the order in which [`record`] reads them; two are given, since they are written elsewhere
/// than they are read.
macro_rules! fields {
    ($last_used_at:expr, $last_used_over:expr) => {
        concat!(
            "instance, hash, id, user_id, user_email, name, prefix, issuer, created_at, ",
            $last_used_at,
            ", ",
            $last_used_over,
            ", policy, revoked_at, revoked_by, revoked_who, revoked_why"
        )
    };
}

/// What is kept of the last day on which a key was used, where that is later than what its own row says. An `ORDER BY`
/// would make a table of its own for each key, which costs more than all the rest; beside `max` a column is that of the
/// row with the greatest.
macro_rules! latest {
    ($of_day:literal, $of_key:literal) => {
        concat!(
            "ifnull((SELECT last.",
            $of_day,
            " FROM (SELECT max(days.at) AS at, days.family FROM usage_days days ",
            "WHERE days.instance = keys.instance AND days.hash = keys.hash ",
            "AND days.at > ifnull(keys.last_used_at, 0)) AS last), keys.",
            $of_key,
            ")"
        )
    };
}

macro_rules! read_fields {
    () => {
        fields!(latest!("at", "last_used_at"), latest!("family", "last_used_over"))
    };
}

pub(super) const FIELDS: &str = read_fields!();
const FIND: &str = concat!("SELECT ", read_fields!(), " FROM keys WHERE instance = ?1 AND hash = ?2");
const INSERT: &str = concat!(
    "INSERT INTO keys (",
    fields!("last_used_at", "last_used_over"),
    ", listed_at, searched) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)"
);
const COUNT: &str = "SELECT count(*) FROM keys INDEXED BY keys_by_user \
                     WHERE instance = ?1 AND user_id = ?2 AND revoked_at IS NULL";
const BURIED: &str = r#"SELECT at, "by", who, why FROM tombstones WHERE instance = ?1 AND id = ?2"#;
const BURY: &str = r#"INSERT INTO tombstones (instance, id, at, "by", who, why) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                      ON CONFLICT DO NOTHING"#;
const REVOKE: &str = "UPDATE keys INDEXED BY keys_by_id \
                      SET revoked_at = ?3, revoked_by = ?4, revoked_who = ?5, revoked_why = ?6 \
                      WHERE instance = ?1 AND id = ?2 AND revoked_at IS NULL";
const WITH_ID: &str = "SELECT hash FROM keys INDEXED BY keys_by_id WHERE instance = ?1 AND id = ?2";
const POLICY: &str = "SELECT policy FROM keys WHERE instance = ?1 AND hash = ?2";
const AMEND: &str = "UPDATE keys SET policy = ?3 WHERE instance = ?1 AND hash = ?2";
/// A key's total of a day, and its latest use on it; nothing of a key that is not known.
const NOTE_USED: &str = "INSERT INTO usage_days (instance, hash, day, replica, count, at, family) \
                         SELECT instance, hash, ?3, ?4, ?5, ?6, ?7 FROM keys WHERE instance = ?1 AND hash = ?2 \
                         ON CONFLICT DO UPDATE SET count = max(count, excluded.count), \
                         family = iif(ifnull(at, 0) < excluded.at, excluded.family, family), \
                         at = max(ifnull(at, 0), excluded.at)";

pub(super) fn find(db: &Connection, instance: &str, hash: &KeyHash) -> Result<Option<KeyRecord>> {
    db.prepare_cached(FIND)?.query_row(params![instance, hash.as_bytes()], record).optional()
}

pub(super) fn learn(db: &mut Connection, record: &KeyRecord, terms: Admission<'_>) -> Result<Learned> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let learned = take_in(&transaction, record, terms)?;
    transaction.commit()?;
    Ok(learned)
}

/// In one transaction: what costs is reaching the disk.
pub(super) fn learn_all(db: &mut Connection, records: &[(KeyRecord, Event)]) -> Result<Vec<Learned>> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let learned = take_in_all(&transaction, records)?;
    transaction.commit()?;
    Ok(learned)
}

/// Does it, and undoes it.
pub(super) fn foresee(db: &mut Connection, records: &[(KeyRecord, Event)]) -> Result<Vec<Learned>> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let learned = take_in_all(&transaction, records)?;
    transaction.rollback()?;
    Ok(learned)
}

fn take_in_all(db: &Connection, records: &[(KeyRecord, Event)]) -> Result<Vec<Learned>> {
    records.iter().map(|(record, event)| take_in(db, record, Admission { most: None, event })).collect()
}

fn take_in(db: &Connection, record: &KeyRecord, terms: Admission<'_>) -> Result<Learned> {
    if let Some(known) = find(db, &record.instance, &record.hash)? {
        return Ok(Learned::Known(known));
    }
    if let Some(most) = terms.most {
        let count: i64 =
            db.prepare_cached(COUNT)?.query_row([&*record.instance, &record.user_id], |row| row.get(0))?;
        if usize::try_from(count).unwrap_or(usize::MAX) >= most {
            return Ok(Learned::TooMany);
        }
    }
    let buried = db
        .prepare_cached(BURIED)?
        .query_row([&*record.instance, &record.id], |row| revocation(row, 0))
        .optional()?;
    let learned = if buried.is_some() { Learned::Revoked } else { Learned::Written };
    let revoked = buried.as_ref().or(record.revoked.as_ref());
    insert(db, record, revoked, terms.event.at)?;
    if let Some(revoked) = revoked {
        bury(db, &record.instance, &record.id, revoked)?;
    }
    chain::add(db, terms.event)?;
    Ok(learned)
}

pub(super) fn revoke(db: &mut Connection, ending: Ending<'_>) -> Result<Vec<KeyHash>> {
    let Ending { instance, id, revocation, tell, event } = ending;
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let is_first = bury(&transaction, instance, id, revocation)?;
    let (at, by) = (millis(revocation.at), revocation.by.as_str());
    let values = params![instance, id, at, by, revocation.who, revocation.why];
    // A tombstone does not mean that all are revoked: a revoked key that was learned later may have left it.
    let ended = transaction.prepare_cached(REVOKE)?.execute(values)?;
    if is_first || ended > 0 {
        chain::add(&transaction, event)?;
        if tell {
            errands::tell(&transaction, instance, id, revocation.at)?;
        }
    }
    let hashes = transaction
        .prepare_cached(WITH_ID)?
        .query_map([instance, id], |row| row.get::<_, [u8; 32]>(0))?
        .map(|hash| hash.map(KeyHash::from))
        .collect::<Result<_>>()?;
    transaction.commit()?;
    Ok(hashes)
}

pub(super) fn amend(db: &mut Connection, amendment: Amendment<'_>) -> Result<Amended> {
    let Amendment { instance, hash, from, to, event } = amendment;
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let held = transaction
        .prepare_cached(POLICY)?
        .query_row(params![instance, hash.as_bytes()], |row| policy(row, 0))
        .optional()?;
    match held {
        None => return Ok(Amended::Missing),
        Some(held) if held != *from => return Ok(Amended::Otherwise),
        Some(_) => {}
    }
    let text = policy_text(to)?;
    transaction.prepare_cached(AMEND)?.execute(params![instance, hash.as_bytes(), text])?;
    chain::add(&transaction, event)?;
    transaction.commit()?;
    Ok(Amended::Done)
}

pub(super) fn note_used(db: &mut Connection, replica: &str, uses: &[Use]) -> Result<()> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let mut note = transaction.prepare_cached(NOTE_USED)?;
        for used in uses {
            let (instance, hash) = (&*used.instance, used.hash.as_bytes());
            let count = i64::try_from(used.count).unwrap_or(i64::MAX);
            let (day, at, family) = (day_of(used.at), millis(used.at), used.over.as_str());
            note.execute(params![instance, hash, day, replica, count, at, family])?;
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
    bury(db, instance, &id, &Revocation::new(SystemTime::now(), RevokedBy::Operator))?;
    db.prepare_cached(BURIED)?.query_row([instance, &id], |_| Ok(()))?;
    db.execute("DELETE FROM tombstones WHERE instance = ?1", [instance])?;
    Ok(())
}

fn insert(db: &Connection, record: &KeyRecord, revoked: Option<&Revocation>, now: SystemTime) -> Result<()> {
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
        record.last_used_over.map(AddressFamily::as_str),
        policy_text(&record.policy)?,
        revoked.map(|revoked| millis(revoked.at)),
        revoked.map(|revoked| revoked.by.as_str()),
        revoked.and_then(|revoked| revoked.who.as_deref()),
        revoked.and_then(|revoked| revoked.why.as_deref()),
        listed_at(record, now),
        searched(record),
    ])?;
    Ok(())
}

/// Leaves a tombstone; `false`: there was one already, which stays.
fn bury(db: &Connection, instance: &str, id: &str, revocation: &Revocation) -> Result<bool> {
    let (at, by) = (millis(revocation.at), revocation.by.as_str());
    let values = params![instance, id, at, by, revocation.who, revocation.why];
    Ok(db.prepare_cached(BURY)?.execute(values)? > 0)
}

/// Reads the columns that [`FIELDS`] names.
pub(super) fn record(row: &Row<'_>) -> Result<KeyRecord> {
    let (issuer, over): (String, Option<String>) = (row.get(7)?, row.get(10)?);
    let family = |text: &str| AddressFamily::from_text(text).ok_or_else(|| unreadable(10, "a family"));
    let revoked = match (row.get::<_, Option<i64>>(12)?, row.get::<_, Option<String>>(13)?) {
        (None, None) => None,
        (Some(_), Some(_)) => Some(revocation(row, 12)?),
        (Some(_), None) | (None, Some(_)) => return Err(unreadable(12, "a whole revocation")),
    };
    Ok(KeyRecord {
        instance: Arc::from(row.get::<_, String>(0)?),
        hash: KeyHash::from(row.get::<_, [u8; 32]>(1)?),
        id: row.get(2)?,
        user_id: row.get(3)?,
        user_email: row.get(4)?,
        name: row.get(5)?,
        prefix: row.get(6)?,
        issuer: Issuer::from_text(&issuer).ok_or_else(|| unreadable(7, "an issuer"))?,
        created_at: row.get::<_, Option<i64>>(8)?.map(|at| time(at, 8)).transpose()?,
        last_used_at: row.get::<_, Option<i64>>(9)?.map(|at| time(at, 9)).transpose()?,
        last_used_over: over.as_deref().map(family).transpose()?,
        policy: policy(row, 11)?,
        revoked,
    })
}

/// Reads four columns from that one on.
fn revocation(row: &Row<'_>, column: usize) -> Result<Revocation> {
    let by: String = row.get(column + 1)?;
    Ok(Revocation {
        at: time(row.get(column)?, column)?,
        by: RevokedBy::from_text(&by).ok_or_else(|| unreadable(column + 1, "a kind of revocation"))?,
        who: row.get(column + 2)?,
        why: row.get(column + 3)?,
    })
}

fn policy(row: &Row<'_>, column: usize) -> Result<Policy> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|_| unreadable(column, "a policy"))
}

fn policy_text(policy: &Policy) -> Result<String> {
    serde_json::to_string(policy).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

pub(super) fn time(at: i64, column: usize) -> Result<SystemTime> {
    from_millis(at).ok_or_else(|| unreadable(column, "a time"))
}

pub(super) fn unreadable(column: usize, wanted: &str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, format!("not {wanted}").into())
}
