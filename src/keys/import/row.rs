//! From the texts of a row to a key, or to what is wrong with them. The same for every source.

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::SystemTime;

use super::{Found, KeyHash, Unreadable};

/// What a row comes to.
pub(super) type Row = Result<Found, Unreadable>;

/// The texts of a row. An absent one is `None`.
#[derive(Debug, Default)]
pub(super) struct Fields<'a> {
    pub(super) key_hash: Option<&'a str>,
    pub(super) id: Option<&'a str>,
    pub(super) user_id: Option<&'a str>,
    pub(super) user_email: Option<&'a str>,
    pub(super) name: Option<Cow<'a, str>>,
    pub(super) prefix: Option<&'a str>,
    pub(super) created_at: Option<&'a str>,
    pub(super) last_used_at: Option<&'a str>,
    pub(super) revoked_at: Option<&'a str>,
    pub(super) expires_at: Option<&'a str>,
}

impl Fields<'_> {
    /// The key, or what is wrong.
    pub(super) fn key(self) -> Result<Found, String> {
        let hash = self.key_hash.ok_or("it has no key_hash")?;
        let hash = KeyHash::from_hex(hash).ok_or("key_hash is not a SHA-256 of 64 hexadecimal digits")?;
        let user_id = self.user_id.filter(|id| !id.is_empty()).ok_or("it has no user_id")?;
        let text = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
        Ok(Found {
            hash,
            id: text(self.id),
            user_id: user_id.to_owned(),
            user_email: text(self.user_email),
            name: self.name.unwrap_or_default().into_owned(),
            prefix: text(self.prefix),
            created_at: time("created_at", self.created_at)?,
            last_used_at: time("last_used_at", self.last_used_at)?,
            revoked_at: time("revoked_at", self.revoked_at)?,
            expires_at: time("expires_at", self.expires_at)?,
        })
    }
}

fn time(column: &str, text: Option<&str>) -> Result<Option<SystemTime>, String> {
    let Some(text) = text else { return Ok(None) };
    let time = crate::keys::read_timestamp(text)
        .ok_or_else(|| format!("{column} is not a time. Write it like 2026-11-22T21:23:59Z"))?;
    Ok(Some(time))
}

/// Which hashes stand in the source more than once. Only those that might are kept in memory, so that a
/// million keys, all of them different, cost nothing.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    suspects: HashSet<u64>,
    seen: HashSet<KeyHash>,
}

impl Repeats {
    /// Of the [marks](mark) of all hashes that might come again.
    pub(super) fn new(suspects: impl IntoIterator<Item = u64>) -> Self {
        Self { suspects: suspects.into_iter().collect(), seen: HashSet::new() }
    }

    /// Passes a row on, unless its key has come before.
    pub(super) fn judge(&mut self, key: Result<Found, String>, place: impl FnOnce() -> String) -> Row {
        match key {
            Ok(found) if !self.again(found.hash) => Ok(found),
            Ok(_) => {
                let why = "its key_hash has come before; only the first row with it counts";
                Err(Unreadable { place: place(), why: why.to_owned() })
            }
            Err(why) => Err(Unreadable { place: place(), why }),
        }
    }

    fn again(&mut self, hash: KeyHash) -> bool {
        self.suspects.contains(&mark(hash)) && !self.seen.insert(hash)
    }
}

/// A short stand-in for a hash: equal hashes have equal marks.
pub(super) fn mark(hash: KeyHash) -> u64 {
    hash.as_bytes().iter().take(8).fold(0, |mark, &byte| mark << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HASH: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn fields() -> Fields<'static> {
        Fields { key_hash: Some(HASH), user_id: Some("u1"), ..Fields::default() }
    }

    #[test]
    fn a_hash_and_a_user_are_enough_for_a_key() {
        let found = fields().key().expect("a key");
        assert_eq!((found.hash, found.user_id.as_str()), (KeyHash::of("abc"), "u1"));
        assert_eq!((found.name.as_str(), found.id, found.prefix, found.user_email), ("", None, None, None));
        assert_eq!((found.created_at, found.revoked_at, found.expires_at), (None, None, None));
    }

    #[test]
    fn a_hash_is_the_same_in_either_case() {
        let upper = HASH.to_uppercase();
        let found = Fields { key_hash: Some(&upper), ..fields() }.key().expect("a key");
        assert_eq!(found.hash, KeyHash::of("abc"));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_text_that_is_wrong() {
        for (row, why) in [
            (Fields { key_hash: None, ..fields() }, "no key_hash"),
            (Fields { key_hash: Some("s3cret"), ..fields() }, "64 hexadecimal digits"),
            (Fields { user_id: Some(""), ..fields() }, "no user_id"),
            (Fields { user_id: None, ..fields() }, "no user_id"),
            (Fields { created_at: Some("s3cret"), ..fields() }, "created_at is not a time"),
            (Fields { last_used_at: Some(""), ..fields() }, "last_used_at is not a time"),
            (Fields { expires_at: Some("tomorrow"), ..fields() }, "expires_at is not a time"),
        ] {
            let told = row.key().expect_err("no key");
            assert!(told.contains(why) && !told.contains("s3cret"), "{told}");
        }
    }

    #[test]
    fn a_key_whose_end_cannot_be_read_is_not_taken_for_one_without_end() {
        let row = Fields { revoked_at: Some("yes"), ..fields() };
        assert!(row.key().is_err_and(|why| why.contains("revoked_at")));
    }

    #[test]
    fn times_are_read() {
        let row = Fields { revoked_at: Some("1970-01-01 00:00:09"), ..fields() };
        let ended = row.key().expect("a key").revoked_at;
        assert_eq!(ended, Some(SystemTime::UNIX_EPOCH + Duration::from_secs(9)));
    }

    #[test]
    fn only_the_first_of_equal_hashes_counts() {
        let mut repeats = Repeats::new([mark(KeyHash::of("abc"))]);
        assert!(repeats.judge(fields().key(), || "1".to_owned()).is_ok());
        let again = repeats.judge(fields().key(), || "2".to_owned()).expect_err("a repetition");
        assert_eq!(again.place, "2");
        assert!(again.why.contains("has come before"));
    }

    #[test]
    fn hashes_that_only_begin_alike_are_two_keys() {
        let mut other = *KeyHash::of("abc").as_bytes();
        other[31] ^= 1;
        let other = KeyHash::from(other);
        let mut repeats = Repeats::new([mark(other)]);
        assert!(repeats.judge(fields().key(), String::new).is_ok());
        let text = other.to_string();
        let near = Fields { key_hash: Some(&text), ..fields() };
        assert!(repeats.judge(near.key(), String::new).is_ok());
    }
}
