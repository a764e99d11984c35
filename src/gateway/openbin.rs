//! OpenBin's own words: what its answers hold that the gateway reads. Sends and decides nothing.

use serde::Deserialize;
use zeroize::Zeroizing;

/// Whoever asks.
#[derive(Deserialize)]
pub(super) struct Me {
    pub(super) id: String,
    pub(super) email: Option<String>,
}

/// A new key: the only time that the key is shown.
#[derive(Deserialize)]
pub(super) struct Created {
    pub(super) id: String,
    pub(super) key: Zeroizing<String>,
    #[serde(default)]
    pub(super) name: String,
}

/// A user's keys.
#[derive(Deserialize)]
pub(super) struct KeyList {
    pub(super) results: Vec<ListedKey>,
}

/// A key among a user's keys.
#[derive(Deserialize)]
pub(super) struct ListedKey {
    pub(super) id: String,
    pub(super) key_prefix: String,
    #[serde(default)]
    pub(super) name: String,
    pub(super) created_at: Option<String>,
}

/// An error.
#[derive(Deserialize)]
pub(super) struct Problem {
    pub(super) error: String,
    #[serde(default)]
    pub(super) message: String,
}

impl Problem {
    /// Whether a 401 with this says that nobody has the key. OpenBin also answers 401 where its database
    /// fails; only this text says that the key is bad.
    pub(super) fn names_an_unknown_key(&self) -> bool {
        self.error == "UNAUTHORIZED" && self.message == "Invalid API key"
    }
}
