//! How a key record looks in Redis: its fields, and its last use beside it. Reads strictly; what it cannot read
//! is an error, never a key that nobody knows.
//!
//! Whose a key is never changes, so that part of a record is sealed: a check value over it and over the key. Where
//! an answer was damaged on its way, or belongs to another key, nobody is taken for somebody else.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use super::super::store::{StoreError, from_millis, millis};
use super::super::{AddressFamily, Issuer, KeyHash, KeyRecord, Policy, Revocation, RevokedBy};

/// The fields of one entry.
pub(super) type Fields = HashMap<String, String>;

/// An entry's fields, as `HSET` takes them.
pub(super) type Written = Vec<(&'static str, String)>;

const REVOKED_AT: &str = "revoked_at";
const REVOKED_BY: &str = "revoked_by";
pub(super) const SEAL: &str = "seal";
/// Enough against accidents; whoever can write to the store could also write a seal.
const SEAL_DIGITS: usize = 16;

/// A record's fields. What is not known has no field.
pub(super) fn write(record: &KeyRecord) -> Result<Written, StoreError> {
    let time = |time: Option<SystemTime>| time.map(|time| millis(time).to_string());
    let over = record.last_used_over.map(|over| over.as_str().to_owned());
    let policy = if record.policy.is_empty() { None } else { Some(policy_text(&record.policy)?) };
    let mut fields: Written = [
        ("id", Some(record.id.clone())),
        ("user_id", Some(record.user_id.clone())),
        ("user_email", record.user_email.clone()),
        ("name", Some(record.name.clone())),
        ("prefix", Some(record.prefix.clone())),
        ("issuer", Some(record.issuer.as_str().to_owned())),
        ("created_at", time(record.created_at)),
        ("last_used_at", time(record.last_used_at)),
        ("last_used_over", over),
        ("policy", policy),
        (SEAL, Some(seal(&record.instance, &record.hash, &whose(record)))),
    ]
    .into_iter()
    .filter_map(|(field, value)| Some((field, value?)))
    .collect();
    fields.extend(record.revoked.as_ref().map(write_revocation).unwrap_or_default());
    Ok(fields)
}

/// The time by which a record is listed, as scripts take it: eight bytes in hexadecimal.
pub(super) fn write_listed(at: i64) -> Written {
    vec![("listed_at", format!("{at:016x}"))]
}

/// The fields of a revocation, in a record and in a tombstone.
pub(super) fn write_revocation(revocation: &Revocation) -> Written {
    let mut fields = vec![
        (REVOKED_AT, millis(revocation.at).to_string()),
        (REVOKED_BY, revocation.by.as_str().to_owned()),
    ];
    fields.extend(revocation.who.clone().map(|who| ("revoked_who", who)));
    fields.extend(revocation.why.clone().map(|why| ("revoked_why", why)));
    fields
}

/// A policy's text. No text is an empty policy, too.
pub(super) fn policy_text(policy: &Policy) -> Result<String, StoreError> {
    serde_json::to_string(policy).map_err(|error| StoreError::Refused(format!("a policy: {error}")))
}

pub(super) fn read_policy(text: &str) -> Option<Policy> {
    serde_json::from_str(text).ok()
}

/// Reads a record, with the last use that was noted since it was written.
pub(super) fn read(
    instance: &str,
    hash: &KeyHash,
    fields: &Fields,
    used: Option<&str>,
) -> Result<KeyRecord, StoreError> {
    let unreadable = |what: &str| {
        StoreError::Corrupt(format!(
            "the record of key {hash} at {instance}: {what} is missing or unreadable"
        ))
    };
    let field = |field: &str| fields.get(field).map(String::as_str);
    let text = |name: &str| field(name).map(str::to_owned).ok_or_else(|| unreadable(name));
    let time = |name: &str| {
        let value = field(name).map(|value| parse_time(value).ok_or_else(|| unreadable(name)));
        value.transpose()
    };
    let revoked = read_revocation(fields).map_err(unreadable)?;
    let family = |text: &str| AddressFamily::from_text(text).ok_or_else(|| unreadable("the address family"));
    let mut last = (time("last_used_at")?, field("last_used_over").map(family).transpose()?);
    if let Some(used) = used {
        let (at, over) = read_use(used).ok_or_else(|| unreadable("its last use"))?;
        if last.0.is_none_or(|last| last < at) {
            last = (Some(at), Some(over));
        }
    }
    let record = KeyRecord {
        hash: *hash,
        id: text("id")?,
        instance: Arc::from(instance),
        user_id: text("user_id")?,
        user_email: field("user_email").map(str::to_owned),
        name: text("name")?,
        prefix: text("prefix")?,
        issuer: Issuer::from_text(&text("issuer")?).ok_or_else(|| unreadable("issuer"))?,
        created_at: time("created_at")?,
        last_used_at: last.0,
        last_used_over: last.1,
        policy: read_policy(field("policy").unwrap_or("{}")).ok_or_else(|| unreadable("policy"))?,
        revoked,
    };
    if field(SEAL) == Some(&seal(instance, hash, &whose(&record))) {
        Ok(record)
    } else {
        Err(unreadable("its seal"))
    }
}

/// What never changes of a record.
fn whose(record: &KeyRecord) -> [&str; 4] {
    let email = record.user_email.as_deref().unwrap_or_default();
    [&record.id, &record.user_id, email, record.issuer.as_str()]
}

pub(super) fn seal(instance: &str, hash: &KeyHash, whose: &[&str]) -> String {
    let mut text = hash.to_string();
    // With their lengths, so that no two records are the same text.
    for part in [instance].iter().chain(whose) {
        text.push_str(&format!(" {} {part}", part.len()));
    }
    let mut seal = KeyHash::of(&text).to_string();
    seal.truncate(SEAL_DIGITS);
    seal
}

/// The revocation among these fields, of a record or a tombstone; an error is what cannot be read.
pub(super) fn read_revocation(fields: &Fields) -> Result<Option<Revocation>, &'static str> {
    let field = |field: &str| fields.get(field).map(String::as_str);
    let (at, by) = match (field(REVOKED_AT), field(REVOKED_BY)) {
        (None, None) => return Ok(None),
        (Some(at), Some(by)) => (at, by),
        (Some(_), None) | (None, Some(_)) => return Err("the revocation"),
    };
    let at = parse_time(at).ok_or(REVOKED_AT)?;
    let by = RevokedBy::from_text(by).ok_or(REVOKED_BY)?;
    let (who, why) = (field("revoked_who"), field("revoked_why"));
    Ok(Some(Revocation { at, by, who: who.map(str::to_owned), why: why.map(str::to_owned) }))
}

/// A last use: its time, a space, and over what it was.
fn read_use(text: &str) -> Option<(SystemTime, AddressFamily)> {
    let (at, over) = text.split_once(' ')?;
    Some((parse_time(at)?, AddressFamily::from_text(over)?))
}

pub(super) fn parse_time(text: &str) -> Option<SystemTime> {
    from_millis(text.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::record::tests::record;

    fn map(record: &KeyRecord) -> Fields {
        let fields = write(record).expect("fields");
        fields.into_iter().map(|(field, value)| (field.to_owned(), value)).collect()
    }

    #[test]
    fn a_record_is_read_back_as_it_was_written() {
        let at = from_millis(1_795_384_639_021);
        let revoked = at.map(|at| Revocation {
            who: Some("ann".to_owned()),
            why: Some(String::new()),
            ..Revocation::new(at, RevokedBy::Mirror)
        });
        let policy = Policy { expires_at: at, read_only: true, ..Policy::default() };
        let sparse = KeyRecord { user_email: None, created_at: None, revoked, policy, ..record("b") };
        let used = KeyRecord { last_used_at: at, last_used_over: Some(AddressFamily::Ipv6), ..record("c") };
        for record in [record("a"), sparse, used] {
            let read = read(&record.instance, &record.hash, &map(&record), None);
            assert_eq!(read.expect("a record"), record);
        }
    }

    #[test]
    fn a_record_that_was_damaged_or_is_that_of_another_key_is_nobodys() {
        let record = record("a");
        let other = KeyHash::of("another");
        assert!(matches!(read("home", &other, &map(&record), None), Err(StoreError::Corrupt(_))));
        assert!(matches!(read("work", &record.hash, &map(&record), None), Err(StoreError::Corrupt(_))));
        for field in ["id", "user_id", "user_email", "seal"] {
            let mut fields = map(&record);
            fields.entry(field.to_owned()).or_default().push('x');
            let error = read("home", &record.hash, &fields, None).expect_err(field);
            assert!(error.to_string().contains("its seal"), "{error}");
        }
        assert_ne!(seal("a", &other, &["b", "c"]), seal("a", &other, &["b 1", "c"]));
    }

    #[test]
    fn the_newer_last_use_counts() {
        let over = Some(AddressFamily::Ipv6);
        let record = KeyRecord { last_used_at: from_millis(5), last_used_over: over, ..record("a") };
        let used = |used| {
            let read = read("home", &record.hash, &map(&record), used).expect("a record");
            (read.last_used_at, read.last_used_over)
        };
        assert_eq!(used(Some("7 ipv4")), (from_millis(7), Some(AddressFamily::Ipv4)));
        assert_eq!(used(Some("5 ipv4")), (from_millis(5), over));
        assert_eq!(used(Some("3 ipv4")), (from_millis(5), over));
        assert_eq!(used(None), (from_millis(5), over));
    }

    #[test]
    fn what_cannot_be_read_is_an_error_that_names_the_field() {
        for (field, value) in [
            ("issuer", Some("nobody")),
            ("issuer", None),
            ("user_id", None),
            ("created_at", Some("yesterday")),
            ("created_at", Some("-1")),
            ("revoked_at", Some("5")),
            ("revoked_by", Some("operator")),
            ("policy", Some("{")),
            ("last_used_over", Some("ipv5")),
        ] {
            let record = record("a");
            let mut fields = map(&record);
            match value {
                Some(value) => fields.insert(field.to_owned(), value.to_owned()),
                None => fields.remove(field),
            };
            let error = read("home", &record.hash, &fields, None).expect_err(field);
            assert!(matches!(error, StoreError::Corrupt(_)), "{error}");
        }
        for used in ["", "7", "7 ipv5", "x ipv4"] {
            let record = record("a");
            let error = read("home", &record.hash, &map(&record), Some(used)).expect_err(used);
            assert!(error.to_string().contains("its last use"), "{error}");
        }
    }
}
