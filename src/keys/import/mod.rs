//! Reading the API keys that stand elsewhere: in an OpenBin's database, SQLite or PostgreSQL, or in a CSV file.
//!
//! A source is only ever read. It gives one [`Found`] for each key, and one [`Unreadable`] for each row that
//! has none; what becomes of them is for whoever asked. No row is judged: keys that are revoked, and keys of
//! users who are suspended, deleted or gone, are given as they stand.

mod csv;
mod postgres;
mod reader;
mod row;
mod schema;
mod source;
mod sqlite;
mod tls;
mod url;

use std::time::SystemTime;

pub use reader::Reader;
pub use source::Source;

use super::KeyHash;

/// A key that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The key's SHA-256.
    pub hash: KeyHash,
    /// The key's id at its issuer, where the source has one.
    pub id: Option<String>,
    /// The owner's id; of a user that the source need not know.
    pub user_id: String,
    /// The owner's e-mail address, where the source knows the owner.
    pub user_email: Option<String>,
    /// The name that the owner gave the key; may be empty.
    pub name: String,
    /// The beginning of the key that lists show, where the source has it.
    pub prefix: Option<String>,
    /// When the key was created.
    pub created_at: Option<SystemTime>,
    /// When the key was last used.
    pub last_used_at: Option<SystemTime>,
    /// When the key was revoked.
    pub revoked_at: Option<SystemTime>,
    /// When the key ends by itself. OpenBin's keys do not.
    pub expires_at: Option<SystemTime>,
}

/// A row that was passed over. Neither text repeats what the row holds, save its id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {why}")]
pub struct Unreadable {
    /// Which row: its line in a file, its id in a database.
    pub place: String,
    /// What is wrong with it.
    pub why: String,
}

/// Why a source cannot be read. No text holds a password, a key or what a row holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// The text names no source.
    #[error("{0}")]
    NoSource(String),
    /// The source is not there, or cannot be opened or understood.
    #[error("{0}")]
    Unusable(String),
    /// The source is sound, but is something else than it must be; says which table or column is missing.
    #[error("{0}")]
    Foreign(String),
    /// The file holds keys in plain text, where only their hashes belong.
    #[error("{0}")]
    PlainKey(String),
    /// The server could not be reached, or did not answer in time.
    #[error("{0}")]
    Unreachable(String),
    /// The server refused the user, the database or a question.
    #[error("{0}")]
    Refused(String),
    /// The source failed while it was being read: what was read so far is not all of it.
    #[error("{0}")]
    BrokeOff(String),
}
