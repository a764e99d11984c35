//! Names and fields: how key records look in Redis. Reads strictly; what it cannot read is an error,
//! never a key that nobody knows.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::super::store::{StoreError, from_millis, millis};
use super::super::{Issuer, KeyHash, KeyRecord, Revocation, RevokedBy};

/// The fields of one record.
pub(super) type Fields = HashMap<String, String>;

const REVOKED_AT: &str = "revoked_at";
const REVOKED_BY: &str = "revoked_by";
/// In an index by id, fields that begin so name the keys with that id.
const INDEXED: &str = "key:";

/// The names of the store's entries.
pub(super) struct Names {
    namespace: String,
}

impl Names {
    pub(super) fn new(namespace: &str) -> Self {
        Self { namespace: namespace.to_owned() }
    }

    /// The key record.
    pub(super) fn key(&self, instance: &str, hash: &KeyHash) -> String {
        format!("{}:key:{}:{hash}", self.namespace, part(instance))
    }

    /// Which keys have this id, and whether it is buried.
    pub(super) fn id(&self, instance: &str, id: &str) -> String {
        format!("{}:id:{}:{id}", self.namespace, part(instance))
    }

    /// When the key was last used.
    pub(super) fn usage(&self, instance: &str, hash: &KeyHash) -> String {
        format!("{}:usage:{}:{hash}", self.namespace, part(instance))
    }
}

/// An instance's name without the separator, so that no two of them lead to the same entry.
fn part(instance: &str) -> String {
    instance.replace('%', "%25").replace(':', "%3A")
}

/// The field that an index has for this key.
pub(super) fn indexed(hash: &KeyHash) -> String {
    format!("{INDEXED}{hash}")
}

/// The keys that an index names.
pub(super) fn hashes(index: &str, fields: &[String]) -> Result<Vec<KeyHash>, StoreError> {
    let is_key = |field: &&String| *field != REVOKED_AT && *field != REVOKED_BY;
    let read = |field: &String| {
        let hash = field.strip_prefix(INDEXED).and_then(KeyHash::from_hex);
        hash.ok_or_else(|| StoreError::Corrupt(format!("{index} has an unexpected field")))
    };
    fields.iter().filter(is_key).map(read).collect()
}

/// A record's fields, as `HSET` takes them. What is not known has no field.
pub(super) fn fields(record: &KeyRecord) -> Vec<(&'static str, String)> {
    let time = |time: Option<SystemTime>| time.map(|time| millis(time).to_string());
    [
        ("id", Some(record.id.clone())),
        ("user_id", Some(record.user_id.clone())),
        ("user_email", record.user_email.clone()),
        ("name", Some(record.name.clone())),
        ("prefix", Some(record.prefix.clone())),
        ("issuer", Some(record.issuer.as_str().to_owned())),
        ("created_at", time(record.created_at)),
        ("last_used_at", time(record.last_used_at)),
        (REVOKED_AT, time(record.revoked.as_ref().map(|revoked| revoked.at))),
        (REVOKED_BY, record.revoked.as_ref().map(|revoked| revoked.by.as_str().to_owned())),
    ]
    .into_iter()
    .filter_map(|(field, value)| Some((field, value?)))
    .collect()
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
    let text = |field: &str| fields.get(field).cloned().ok_or_else(|| unreadable(field));
    let time = |field: &str, value: Option<&str>| {
        value.map(|value| parse_time(value).ok_or_else(|| unreadable(field))).transpose()
    };
    let field_time = |field: &str| time(field, fields.get(field).map(String::as_str));
    let revoked = match (field_time(REVOKED_AT)?, fields.get(REVOKED_BY)) {
        (None, None) => None,
        (Some(at), Some(by)) => {
            let by = RevokedBy::from_text(by).ok_or_else(|| unreadable(REVOKED_BY))?;
            Some(Revocation { at, by, who: None, why: None })
        }
        (Some(_), None) | (None, Some(_)) => return Err(unreadable("the revocation")),
    };
    Ok(KeyRecord {
        hash: *hash,
        id: text("id")?,
        instance: Arc::from(instance),
        user_id: text("user_id")?,
        user_email: fields.get("user_email").cloned(),
        name: text("name")?,
        prefix: text("prefix")?,
        issuer: Issuer::from_text(&text("issuer")?).ok_or_else(|| unreadable("issuer"))?,
        created_at: field_time("created_at")?,
        last_used_at: field_time("last_used_at")?.max(time("its last use", used)?),
        last_used_over: None,
        policy: super::super::Policy::default(),
        revoked,
    })
}

/// A duration as `PEXPIRE` takes it.
pub(super) fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn parse_time(text: &str) -> Option<SystemTime> {
    from_millis(text.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::record::tests::record;

    fn map(record: &KeyRecord) -> Fields {
        fields(record).into_iter().map(|(field, value)| (field.to_owned(), value)).collect()
    }

    #[test]
    fn a_record_is_read_back_as_it_was_written() {
        let at = from_millis(1_795_384_639_021);
        let revoked = at.map(|at| Revocation::new(at, RevokedBy::Mirror));
        for record in [
            record("a"),
            KeyRecord { user_email: None, created_at: None, last_used_at: at, revoked, ..record("b") },
        ] {
            let read = read(&record.instance, &record.hash, &map(&record), None);
            assert_eq!(read.expect("a record"), record);
        }
    }

    #[test]
    fn the_newer_last_use_counts() {
        let record = KeyRecord { last_used_at: from_millis(5), ..record("a") };
        let used = |used| read("home", &record.hash, &map(&record), used).expect("a record").last_used_at;
        assert_eq!(used(Some("7")), from_millis(7));
        assert_eq!(used(Some("3")), from_millis(5));
        assert_eq!(used(None), from_millis(5));
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
    }

    #[test]
    fn no_two_keys_share_an_entry() {
        let names = Names::new("ns");
        assert_ne!(names.id("a", "b:c"), names.id("a:b", "c"));
        assert_ne!(names.id("a:b", "c"), names.id("a%3Ab", "c"));
    }
}
