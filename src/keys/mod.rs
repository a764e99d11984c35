//! The key store and all of its rules: records, cache, last use. Knows no HTTP.
//!
//! A key is kept only as its SHA-256. A revocation *writes a tombstone* through the same cache entry
//! that loads write; it never deletes, so a load in flight cannot bring a revoked key back.

mod record;
mod store;
mod token;

pub use record::{ActiveKey, Issuer, KeyRecord, Label, Revocation, RevokedBy};
pub use store::{Answer, KeyStore, Learned, StoreError, Use};
pub use token::{KeyHash, KeyShape, Token};

use std::path::PathBuf;
use std::time::Duration;

/// Where keys are kept, and for how long what is known of them is believed.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The store.
    pub store: StoreSettings,
    /// How many keys each instance's cache holds.
    pub cache_entries: u64,
    /// How long a cached verdict may be used before the store is asked again. With the embedded store,
    /// which has only one reader, it matters little; with Redis it bounds how long a revocation made
    /// through another gateway can go unnoticed here.
    pub cache_for: Duration,
    /// How often the last use of keys is written.
    pub usage_interval: Duration,
}

/// Which store is used.
#[derive(Debug, Clone)]
pub enum StoreSettings {
    /// An SQLite file of this process alone.
    Embedded {
        /// The file; made where it does not exist.
        path: PathBuf,
    },
    /// A Redis server, which several gateways can share.
    Redis {
        /// `redis://` or `rediss://`, with user, password and database. A secret.
        url: RedisUrl,
        /// What the names of all of the gateway's entries begin with.
        namespace: String,
        /// For connecting, and for each command.
        timeout: Duration,
    },
}

/// A Redis URL; it may hold a password, so `Debug` and `Display` show it without.
#[derive(Clone)]
pub struct RedisUrl(String);

impl RedisUrl {
    /// Takes any text; whether it is a usable URL is told by `redis::connect`.
    #[must_use]
    pub fn new(url: String) -> Self {
        Self(url)
    }

    /// The URL with its password. Never log it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.0.split_once("://"), self.0.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, rest))) => write!(f, "{scheme}://***@{rest}"),
            _ => f.write_str(&self.0),
        }
    }
}

impl std::fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}
