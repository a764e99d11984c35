//! The keys, users and sessions of a round, each made of its number alone.

use serde_json::{Value, json};

use super::journal::Credential;
use crate::support::jwt;

/// The text of a key: good ones differ from strangers after the part that lists show.
pub fn key(number: usize) -> String {
    format!("sk_openbin_{number:07x}{}", "c".repeat(57))
}

fn stranger(number: usize) -> String {
    format!("sk_openbin_{number:07x}{}", "e".repeat(57))
}

pub fn id(number: usize) -> String {
    format!("00000000-0000-4000-8000-{number:012x}")
}

pub fn user(number: usize) -> String {
    format!("user-{number:07}")
}

/// A session that outlasts every round, and is the same text whenever it is made.
pub fn session(number: usize, expires: i64) -> String {
    let claims = json!({ "id": user(number), "email": format!("{}@example.com", user(number)), "tv": 0, "exp": expires });
    jwt::signed(&claims, jwt::SECRET)
}

/// The number of a good key with this text.
pub fn number_of(token: &str) -> Option<usize> {
    let digits = token.strip_prefix("sk_openbin_")?;
    let number = usize::from_str_radix(digits.get(..7)?, 16).ok()?;
    (token == key(number)).then_some(number)
}

/// A portion of keys for the admin API.
pub fn portion(numbers: impl Iterator<Item = usize>) -> Value {
    let keys: Vec<Value> = numbers
        .map(|number| {
            let key = key(number);
            json!({ "key_hash": openbin_gateway::keys::KeyHash::of(&key).to_string(), "id": id(number),
                    "user_id": user(number), "name": "fault", "prefix": &key[..18],
                    "created_at": "2026-01-01T00:00:00Z" })
        })
        .collect();
    json!({ "keys": keys })
}

/// Whose request it is, as the instance must be told, and the token that it is sent with.
pub struct Bearer {
    pub token: String,
    /// The user's id and the key's, or `-`.
    pub owner: String,
}

impl Bearer {
    pub fn of(credential: Credential, expires: i64) -> Self {
        match credential {
            Credential::Key(number) => {
                Self { token: key(number), owner: format!("{} {}", user(number), id(number)) }
            }
            Credential::Session(number) => {
                Self { token: session(number, expires), owner: format!("{} -", user(number)) }
            }
            Credential::Stranger(number) => Self { token: stranger(number), owner: "- -".to_owned() },
        }
    }
}
