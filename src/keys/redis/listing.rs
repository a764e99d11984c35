//! Portions of all keys, in their order.
//!
//! A list is a sorted set whose members carry the order themselves, and in the list of all keys what is
//! searched as well. A script walks down it, a good thousand members at a time, so that Redis serves others
//! in between; of what it finds the records are read, and judged here once more.

use std::time::SystemTime;

use ::redis::pipe;

use super::super::query::{Gathering, Stretch, searched};
use super::super::store::{StoreError, millis};
use super::super::{Cursor, KeyHash, KeyRecord, KeyStanding, Page, Policy, Query};
use super::RedisStore;

const WALK: &str = include_str!("scripts/walk.lua");
/// Members that a script looks at in one go: a few milliseconds.
const LOOKS: usize = 2_000;
/// The same where the script has to look up last uses, too.
const LOOKS_AT_USES: usize = 250;
/// Bytes of a place: time, hash.
const TIME: usize = 8;
const FIXED: usize = 40;

/// How a key is marked in the list of all keys, so that a script need not look at its record.
#[derive(Clone, Copy)]
pub(super) enum Mark {
    /// It is not revoked, and its policy is empty.
    Open,
    /// It is not revoked, and has a policy. Scripts mark what is revoked.
    Terms,
}

impl Mark {
    /// Of a key that is not revoked, with this policy.
    pub(super) fn of(policy: &Policy) -> Self {
        if policy.is_empty() { Self::Open } else { Self::Terms }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Open => "o",
            Self::Terms => "t",
        }
    }
}

impl RedisStore {
    pub(super) async fn page(&self, query: &Query, now: SystemTime) -> Result<Page, StoreError> {
        let mut gathering = Gathering::new(query, now);
        loop {
            let stretch = self.stretch(query, gathering.rest.as_ref(), gathering.wanted).await?;
            if gathering.take(stretch) {
                return Ok(gathering.page);
            }
        }
    }

    pub(super) async fn with_that_id(&self, instance: &str, id: &str) -> Result<Vec<KeyRecord>, StoreError> {
        let hashes = self.hashes_of(instance, id).await?;
        let keys: Vec<_> = hashes.into_iter().map(|hash| (instance, hash)).collect();
        Ok(self.records(&keys).await?.into_iter().flatten().collect())
    }

    async fn stretch(
        &self,
        query: &Query,
        after: Option<&Cursor>,
        wanted: usize,
    ) -> Result<Stretch, StoreError> {
        // A user's list has neither marks nor texts: few have many keys.
        let (list, text) = match &query.user_id {
            Some(user) => (self.names.list_of(user), ""),
            None => (self.names.list(), query.text.as_deref().unwrap_or_default()),
        };
        let marks = match query.standing {
            Some(KeyStanding::Revoked) => "r",
            Some(KeyStanding::Active) => "ot",
            Some(KeyStanding::Disabled | KeyStanding::Expired) => "t",
            None => "",
        };
        let looks = match query.unused_since {
            Some(_) => LOOKS_AT_USES,
            None if text.is_empty() && marks.is_empty() && query.instance.is_none() => wanted,
            None => LOOKS,
        };
        let start = start(after);
        let mut pipeline = pipe();
        pipeline.cmd("EVAL").arg(WALK).arg(1).arg(&list).arg(start).arg(looks).arg(wanted);
        pipeline.arg(query.instance.as_deref().unwrap_or_default()).arg(text).arg(marks);
        pipeline.arg(query.unused_since.map(|since| millis(since).to_string()).unwrap_or_default());
        pipeline.arg(self.names.usages()).arg(self.names.keys());
        let ((places, rest),): ((Vec<Vec<u8>>, Vec<u8>),) = self.link.run(&pipeline).await?;
        let read = |place: &Vec<u8>| {
            read_place(place).ok_or_else(|| StoreError::Corrupt(format!("{list} has an unexpected member")))
        };
        let places = places.iter().map(read).collect::<Result<_, _>>()?;
        let rest = if rest.is_empty() { None } else { Some(read(&rest)?) };
        let mut found = self.records_at(places).await?;
        found.retain(|(_, record)| has_text(record, query));
        Ok(Stretch { found, rest })
    }

    /// What is listed, but is not there, was taken out by someone else: there is nothing to tell of it.
    async fn records_at(&self, places: Vec<Cursor>) -> Result<Vec<(Cursor, KeyRecord)>, StoreError> {
        let keys: Vec<_> = places.iter().map(|place| (place.instance.as_str(), place.hash)).collect();
        let records = self.records(&keys).await?;
        Ok(places.into_iter().zip(records).filter_map(|(place, record)| Some((place, record?))).collect())
    }
}

fn has_text(record: &KeyRecord, query: &Query) -> bool {
    query.text.as_deref().is_none_or(|text| searched(record).contains(text))
}

/// Where a key stands in lists: bytes that are in the same order.
pub(super) fn place(at: i64, hash: &KeyHash, instance: &str) -> Vec<u8> {
    // Times are never negative, so their bytes are in their order.
    [&at.to_be_bytes()[..], hash.as_bytes(), instance.as_bytes()].concat()
}

/// Where a walk begins that goes on behind this place. What follows a place in a member does not matter: no other
/// place begins with this one and a zero.
pub(super) fn start(after: Option<&Cursor>) -> Vec<u8> {
    after.map_or(b"+".to_vec(), |Cursor { at, instance, hash }| {
        [b"(", &place(*at, hash, instance)[..]].concat()
    })
}

pub(super) fn read_place(place: &[u8]) -> Option<Cursor> {
    let (at, rest) = place.split_at_checked(TIME)?;
    let (hash, instance) = rest.split_at_checked(FIXED - TIME)?;
    let hash: [u8; 32] = hash.try_into().ok()?;
    Some(Cursor {
        at: i64::from_be_bytes(at.try_into().ok()?),
        hash: hash.into(),
        instance: String::from_utf8(instance.to_vec()).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_in_the_order_of_time_then_hash_then_instance() {
        let (low, high) = (KeyHash::from([0; 32]), KeyHash::from([0xff; 32]));
        let places = [
            place(0, &high, "z"),
            place(255, &low, "a"),
            place(256, &low, "a"),
            place(256, &low, "ab"),
            place(256, &high, "a"),
        ];
        assert!(places.is_sorted(), "{places:?}");
    }

    #[test]
    fn a_place_is_read_back_as_it_was_written() {
        let cursor = Cursor { at: 1_795_384_639_021, instance: "höme".to_owned(), hash: KeyHash::of("a") };
        assert_eq!(read_place(&place(cursor.at, &cursor.hash, &cursor.instance)), Some(cursor));
        assert_eq!(read_place(&[0; FIXED - 1]), None);
        assert_eq!(read_place(&[0xff; FIXED + 1]), None);
    }
}
