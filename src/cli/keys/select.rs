//! Which key is meant: by its id, its prefix, or itself on standard input.

use std::io::{self, Read};

use anyhow::anyhow;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::list;
use crate::cli::door::{Door, path};
use crate::cli::record::{Key, Keys};
use crate::cli::{Failure, out};
use crate::keys::{PREFIX, Token};

/// Which key.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct KeyArgs {
    /// The key: its id, at least 12 characters of its prefix, or - for the key itself on standard input
    #[arg(value_name = "KEY")]
    pub(super) key: String,
    /// Only at this instance
    #[arg(long, value_name = "NAME")]
    pub(super) instance: Option<String>,
}

/// What was said of a key.
enum Said {
    Id(String),
    Prefix(String),
    Whole(Token),
}

const SHORTEST_PREFIX: usize = 12;
const PREFIX_LENGTH: usize = 18;
const MOST_READ: u64 = 4096;

impl KeyArgs {
    /// The one key that is meant.
    pub(super) async fn find(&self, door: &Door) -> Result<Key, Failure> {
        self.only(self.look_up(door).await?)
    }

    /// The one key of these.
    pub(super) fn only(&self, mut keys: Vec<Key>) -> Result<Key, Failure> {
        // Keys that share an instance and an id are one to the admin API.
        keys.dedup_by(|one, other| one.instance == other.instance && one.id == other.id);
        only(keys)
    }

    /// All keys that could be meant.
    pub(super) async fn look_up(&self, door: &Door) -> Result<Vec<Key>, Failure> {
        let instance = self.instance.as_deref().map(|name| door.instance(Some(name))).transpose()?;
        let question = match said(&self.key)? {
            Said::Id(id) => json!({ "id": id }),
            Said::Prefix(prefix) => json!({ "prefix": prefix }),
            Said::Whole(token) => json!({ "key": token.expose() }),
        };
        Ok(find(door, question, instance).await?.keys)
    }

    /// The id, where that is what was given.
    pub(super) fn id(&self) -> Option<&str> {
        (self.key != "-" && !self.key.starts_with(PREFIX)).then_some(self.key.as_str())
    }
}

/// Asks for keys, at one instance or at all.
pub(super) async fn find(
    door: &Door,
    mut question: Value,
    instance: Option<String>,
) -> Result<Keys, Failure> {
    if let (Some(instance), Value::Object(fields)) = (instance, &mut question) {
        fields.insert("instance".to_owned(), instance.into());
    }
    door.find(&question).await?.parsed()
}

/// The path of a key in the admin API, and what lies below it.
pub(super) fn path_of(key: &Key, below: &[&str]) -> String {
    let mut segments = vec!["keys", key.instance.as_str(), key.id.as_str()];
    segments.extend(below);
    path(&segments)
}

fn said(text: &str) -> Result<Said, Failure> {
    let usage = |text: &str| Err(Failure::Usage(text.to_owned()));
    if text == "-" {
        return read_key(io::stdin().lock()).map(Said::Whole);
    }
    if !text.starts_with(PREFIX) {
        let is_empty = text.trim().is_empty();
        return if is_empty { usage("the key's id is empty") } else { Ok(Said::Id(text.to_owned())) };
    }
    match text.len() {
        SHORTEST_PREFIX..=PREFIX_LENGTH => Ok(Said::Prefix(text.to_owned())),
        0..SHORTEST_PREFIX => usage("a prefix needs at least 12 of its 18 characters, such as sk_openbin_9"),
        _ => usage(
            "a prefix has 18 characters at most. If this is a whole key: write - in its place, and give the key \
             on standard input",
        ),
    }
}

/// Reads a key and nothing else.
fn read_key(input: impl Read) -> Result<Token, Failure> {
    let mut text = Zeroizing::new(String::new());
    let read = input.take(MOST_READ).read_to_string(&mut text);
    let token = read.ok().and_then(|_| Token::parse(text.trim()));
    token.ok_or_else(|| {
        Failure::Usage(
            "standard input holds no key: sk_openbin_ and 64 hexadecimal digits, and nothing else".to_owned(),
        )
    })
}

fn only(mut keys: Vec<Key>) -> Result<Key, Failure> {
    match (keys.pop(), keys.len()) {
        (Some(key), 0) => Ok(key),
        (Some(key), _) => {
            keys.push(key);
            out::say(list::table_of(&keys).trim_end());
            Err(anyhow!(
                "{} keys match; give more of the prefix, the id, or the --instance (nothing was done)",
                keys.len()
            )
            .into())
        }
        (None, _) => Err(anyhow!("there is no such key").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_named_by_id_or_by_enough_of_its_prefix() {
        assert!(matches!(said("0d5d-1"), Ok(Said::Id(_))));
        for prefix in ["sk_openbin_9", "sk_openbin_9f31c2a"] {
            assert!(matches!(said(prefix), Ok(Said::Prefix(_))), "{prefix}");
        }
        for wrong in ["", " ", "sk_openbin_", "sk_openbin_9f31c2ab"] {
            assert!(matches!(said(wrong), Err(Failure::Usage(_))), "{wrong}");
        }
    }

    #[test]
    fn a_key_is_read_from_standard_input_and_nothing_else_is() {
        let key = format!("{PREFIX}{}", "0123456789abcdef".repeat(4));
        assert_eq!(
            read_key(format!("{key}\n").as_bytes()).ok().map(|t| t.hash()),
            Token::parse(&key).map(|t| t.hash())
        );
        for wrong in [String::new(), format!("{key} {key}"), "sk_openbin_1".to_owned(), "x".repeat(10_000)] {
            let Err(Failure::Usage(told)) = read_key(wrong.as_bytes()) else { panic!("refused") };
            assert!(wrong.is_empty() || !told.contains(&wrong), "{told}");
        }
    }
}
