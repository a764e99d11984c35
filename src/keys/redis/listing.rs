//! Portions of all keys, in their order.
//!
//! A list is a sorted set whose members carry the order themselves, and in the list of all keys what is
//! searched as well. A script walks down it, some thousand members at a time, so that Redis serves others
//! in between; of what it finds the records are read, and judged here once more.

use std::time::SystemTime;

use ::redis::pipe;

use super::super::query::searched;
use super::super::store::{StoreError, millis};
use super::super::{Cursor, KeyHash, KeyRecord, KeyStanding, Page, Query};
use super::RedisStore;
use super::records::AT_ONCE;

const WALK: &str = include_str!("scripts/walk.lua");
/// Members that a script looks at in one go: a few milliseconds.
const LOOKS: usize = 2_000;
/// Bytes of a place: time, hash.
const TIME: usize = 8;
const FIXED: usize = 40;

/// A list, and what a script is to look for in it.
struct Walk<'a> {
    list: String,
    /// Empty where the list has no texts, or any text will do.
    text: &'a str,
    standing: &'static str,
    query: &'a Query,
}

/// What a script found.
struct Stretch {
    places: Vec<Cursor>,
    /// Where to go on from; `None`: the list is over.
    rest: Option<Vec<u8>>,
}

impl RedisStore {
    pub(super) async fn page(&self, query: &Query, now: SystemTime) -> Result<Page, StoreError> {
        let walk = self.walk(query);
        let mut page = Page::default();
        let mut after = query.after.clone();
        let mut rest = after.as_ref().map(|Cursor { at, instance, hash }| place(*at, hash, instance));
        // One more than is asked for tells whether there is more. Where that was not enough, most of what
        // is found is rejected here.
        let mut wanted = query.limit.saturating_add(1).min(AT_ONCE);
        loop {
            let stretch = self.stretch(&walk, rest.as_deref(), wanted).await?;
            for (place, record) in self.records_at(stretch.places).await? {
                if page.records.len() == query.limit {
                    page.next = after;
                    return Ok(page);
                }
                after = Some(place);
                if query.admits(&record, now) && has_text(&record, query) {
                    page.records.push(record);
                }
            }
            if stretch.rest.is_none() {
                return Ok(page);
            }
            (rest, wanted) = (stretch.rest, AT_ONCE);
        }
    }

    pub(super) async fn with_that_id(&self, instance: &str, id: &str) -> Result<Vec<KeyRecord>, StoreError> {
        let hashes = self.hashes_of(instance, id).await?;
        let keys: Vec<_> = hashes.into_iter().map(|hash| (instance, hash)).collect();
        Ok(self.records(&keys).await?.into_iter().flatten().collect())
    }

    fn walk<'a>(&self, query: &'a Query) -> Walk<'a> {
        let (list, text) = match &query.user_id {
            Some(user) => (self.names.list_of(user), ""),
            None => (self.names.list(), query.text.as_deref().unwrap_or_default()),
        };
        let standing = match query.standing {
            Some(KeyStanding::Revoked) => "revoked",
            Some(KeyStanding::Active) => "open",
            Some(KeyStanding::Disabled | KeyStanding::Expired) => "terms",
            None => "",
        };
        Walk { list, text, standing, query }
    }

    async fn stretch(
        &self,
        walk: &Walk<'_>,
        rest: Option<&[u8]>,
        wanted: usize,
    ) -> Result<Stretch, StoreError> {
        let is_plain = walk.text.is_empty()
            && walk.standing.is_empty()
            && walk.query.instance.is_none()
            && walk.query.unused_since.is_none();
        let looks = if is_plain { wanted } else { LOOKS };
        // No place but the cursor's own begins with the cursor's place, so a text behind it does not matter.
        let start = rest.map_or(b"+".to_vec(), |place| [b"(", place].concat());
        let mut pipeline = pipe();
        pipeline.cmd("EVAL").arg(WALK).arg(1).arg(&walk.list).arg(start).arg(looks).arg(wanted);
        pipeline.arg(walk.query.instance.as_deref().unwrap_or_default()).arg(walk.text).arg(walk.standing);
        pipeline.arg(walk.query.unused_since.map(|since| millis(since).to_string()).unwrap_or_default());
        pipeline.arg(self.names.keys()).arg(self.names.usages());
        let ((places, rest),): ((Vec<Vec<u8>>, Vec<u8>),) = self.link.run(&pipeline).await?;
        let read = |place: &Vec<u8>| {
            read_place(place)
                .ok_or_else(|| StoreError::Corrupt(format!("{} has an unexpected member", walk.list)))
        };
        let places = places.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Stretch { places, rest: (!rest.is_empty()).then_some(rest) })
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

fn read_place(place: &[u8]) -> Option<Cursor> {
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
