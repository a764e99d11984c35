//! How entries of the change log look in Redis. Reads what it can, and takes what it cannot for news of
//! anything, so that a newer version's entries are never passed over.

use serde::{Deserialize, Serialize};

use super::super::lease::Position;
use super::super::store::{StoreError, from_millis, millis};
use super::super::{Change, KeyHash, Revocation, RevokedBy};
use super::blocks;
use super::names::read_subject;

/// An entry, as it is written. The hashes of revoked keys are beside it: only the script knows them.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "news", rename_all = "snake_case")]
pub(super) enum News {
    Revoked {
        instance: String,
        id: String,
        /// Milliseconds since 1970.
        at: i64,
        by: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        who: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    Written {
        instance: String,
        hash: String,
    },
    /// Subject and terms are as they stand in the entry of all blocks.
    Blocked {
        subject: String,
        terms: String,
    },
    Lifted {
        subject: String,
    },
}

/// An entry of the stream: its id, and its fields and their values in turn.
pub(super) type Entry = (String, Vec<String>);

impl News {
    pub(super) fn revoked(instance: &str, id: &str, revocation: &Revocation) -> Self {
        Self::Revoked {
            instance: instance.to_owned(),
            id: id.to_owned(),
            at: millis(revocation.at),
            by: revocation.by.as_str().to_owned(),
            who: revocation.who.clone(),
            why: revocation.why.clone(),
        }
    }

    pub(super) fn text(&self) -> Result<String, StoreError> {
        serde_json::to_string(self).map_err(|error| StoreError::Refused(format!("an entry: {error}")))
    }

    fn change(self, keys: &str) -> Option<Change> {
        Some(match self {
            Self::Revoked { instance, id, at, by, who, why } => {
                let hashes = keys.split_ascii_whitespace().map(KeyHash::from_hex).collect::<Option<_>>()?;
                let revocation =
                    Revocation { at: from_millis(at)?, by: RevokedBy::from_text(&by)?, who, why };
                Change::Revoked { instance, id, hashes, revocation }
            }
            Self::Written { instance, hash } => Change::Written { instance, hash: KeyHash::from_hex(&hash)? },
            Self::Blocked { subject, terms } => Change::Blocked(blocks::read(&subject, &terms)?),
            Self::Lifted { subject } => {
                let (instance, subject) = read_subject(&subject)?;
                Change::Lifted { instance, subject }
            }
        })
    }
}

/// Reads an entry of the change log.
pub(super) fn read((id, fields): Entry) -> Result<(Position, Change), StoreError> {
    let field = |name: &str| {
        let mut pairs = fields.chunks_exact(2);
        pairs.find_map(|pair| if pair[0] == name { Some(pair[1].as_str()) } else { None })
    };
    let id = id.parse().map_err(|()| StoreError::Corrupt(format!("the change log has an entry {id}")))?;
    // Without a name it is of another history, if it is anybody's.
    let position = Position { id, call: field("call").and_then(read_name).unwrap_or_default() };
    let news = field("news").and_then(|news| serde_json::from_str::<News>(news).ok());
    let change = news.and_then(|news| news.change(field("keys").unwrap_or_default()));
    Ok((position, change.unwrap_or(Change::Other)))
}

/// Reads a place in the change log: id, space, call.
pub(super) fn read_position(text: &str) -> Result<Position, StoreError> {
    let position = text.split_once(' ').and_then(|(id, call)| {
        let call = if call.is_empty() { 0 } else { read_name(call)? };
        Some(Position { id: id.parse().ok()?, call })
    });
    position.ok_or_else(|| StoreError::Corrupt("the end of the change log cannot be read".to_owned()))
}

/// A name that was made by chance, of a call or of a store: sixteen hexadecimal digits.
pub(super) fn read_name(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok().filter(|name| write_name(*name) == text)
}

pub(super) fn write_name(name: u64) -> String {
    format!("{name:016x}")
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::keys::block::{Block, Subject};

    fn entry(news: &str, keys: &str) -> Entry {
        let fields = ["call", "00000000000000ab", "news", news, "keys", keys].map(str::to_owned);
        ("5-1".to_owned(), fields.to_vec())
    }

    #[test]
    fn an_entry_is_read_back_as_it_was_written() {
        let revocation = Revocation {
            at: SystemTime::UNIX_EPOCH,
            by: RevokedBy::Operator,
            who: Some("ann".to_owned()),
            why: Some("\"lost\"".to_owned()),
        };
        let hashes = vec![KeyHash::of("a"), KeyHash::of("b")];
        let news = News::revoked("home", "k", &revocation).text().expect("text");
        let (position, change) =
            read(entry(&news, &format!("{} {}", hashes[0], hashes[1]))).expect("an entry");
        assert_eq!(position, read_position("5-1 00000000000000ab").expect("a position"));
        assert_eq!(
            change,
            Change::Revoked { instance: "home".to_owned(), id: "k".to_owned(), hashes, revocation }
        );
        let blocked = News::Blocked { subject: "home:user:ann".to_owned(), terms: r#"{"at":7}"#.to_owned() };
        let (_, change) = read(entry(&blocked.text().expect("text"), "")).expect("an entry");
        let subject = Subject::User("ann".to_owned());
        let at = from_millis(7).expect("a time");
        let block = Block { instance: "home".to_owned(), subject, at, until: None, why: None };
        assert_eq!(change, Change::Blocked(block));
    }

    #[test]
    fn what_cannot_be_read_is_news_of_anything() {
        let good = r#"{"news":"revoked","instance":"home","id":"k","at":1,"by":"operator"}"#;
        for (news, keys) in [
            ("", ""),
            ("{", ""),
            (r#"{"news":"moved","instance":"home"}"#, ""),
            (&good.replace("operator", "nobody"), ""),
            (good, "not a hash"),
            (r#"{"news":"blocked","subject":"home","terms":"{}"}"#, ""),
        ] {
            let (_, change) = read(entry(news, keys)).expect("an entry");
            assert_eq!(change, Change::Other, "{news}");
        }
        let (position, change) = read(("7-0".to_owned(), vec!["x".to_owned()])).expect("an entry");
        assert_eq!((position.call, change), (0, Change::Other));
        assert!(read(("7".to_owned(), Vec::new())).is_err());
        for wrong in ["", "5-1", "x ", "5-1 ab", "5-1 00000000000000AB"] {
            assert!(read_position(wrong).is_err(), "{wrong}");
        }
    }
}
