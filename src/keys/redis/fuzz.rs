//! What must hold of what a store answers, whatever it is; for fuzzers and for the seeds that they start from.

use super::super::KeyHash;
use super::super::audit::{Head, Link, Walk};
use super::fields::{Fields, SEAL, read, read_revocation, seal, write};
use super::news;

const INSTANCE: &str = "home";

/// Reads a record from lines of `field=value`, with a seal that fits where it is written as `seal=!`.
///
/// # Panics
/// Where a record is not the same once it was written and read again.
pub fn record(text: &[u8]) {
    let hash = KeyHash::of("sk_openbin_");
    let mut fields = fields(text);
    let used = fields.remove("used");
    if fields.get(SEAL).is_some_and(|text| text == "!") {
        let part = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
        let whose = [part("id"), part("user_id"), part("user_email"), part("issuer")];
        let fitting = seal(INSTANCE, &hash, &whose);
        fields.insert(SEAL.to_owned(), fitting);
    }
    let _ = read_revocation(&fields);
    let Ok(record) = read(INSTANCE, &hash, &fields, used.as_deref()) else { return };
    let written = write(&record).expect("what was read can be written");
    let written: Fields = written.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    assert_eq!(read(INSTANCE, &hash, &written, None).ok(), Some(record));
}

/// Reads an entry of the change log from lines of `field=value`.
///
/// # Panics
/// Where an entry with a proper id is passed over.
pub fn change(text: &[u8]) {
    let pairs = fields(text);
    let id = pairs.get("entry").cloned().unwrap_or_else(|| "1-0".to_owned());
    let is_proper = id == "1-0";
    let mut words: Vec<String> = pairs.into_iter().flat_map(|(name, value)| [name, value]).collect();
    if text.len() % 2 == 1 {
        words.pop();
    }
    let read = news::read((id, words));
    assert!(read.is_ok() || !is_proper, "an entry was passed over");
}

/// Walks along a chain of as many links as there are lines; each is tied to the one before.
///
/// # Panics
/// Where a walk goes anywhere but one entry on, or takes a link that was changed.
pub fn audit(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let mut walk = Walk::behind(Head::start());
    for line in text.lines() {
        let link = Link::tied(&walk.at.hash, line.to_owned());
        let before = walk.at.seq;
        let changed = Link { text: format!("{} ", link.text), hash: link.hash.clone() };
        assert!(walk.clone().advance(&changed).is_err(), "a changed link was taken");
        match walk.advance(&link) {
            Ok(entry) => assert_eq!((entry.seq, walk.at.seq), (before + 1, before + 1)),
            Err(_) => assert_eq!(walk.at.seq, before),
        }
    }
    assert!(walk.end(&walk.at).is_ok());
}

fn fields(text: &[u8]) -> Fields {
    let text = String::from_utf8_lossy(text);
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
