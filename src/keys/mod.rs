//! The key store and all of its rules: records, cache, last use. Knows no HTTP.
//!
//! A key is kept only as its SHA-256. A revocation *writes a tombstone* through the same cache entry
//! that loads write; it never deletes, so a load in flight cannot bring a revoked key back.

pub mod audit;
pub mod block;
mod cache;
mod embedded;
pub mod errand;
mod import;
mod keyring;
mod network;
mod policy;
mod query;
mod rate;
mod record;
mod redis;
mod service;
mod store;
mod timestamp;
mod token;
mod usage;
mod verdict;

pub use import::{Found, ImportError, Reader, Source, Unreadable};
pub use keyring::{
    EndedSession, Issued, KeyError, Keyring, LONGEST_NAME, MOST_KEYS, NewKey, Reason, Rest, Retention,
    Trimmed, Verified,
};
pub use network::Network;
pub use policy::{Attempt, Breach, Policy, PolicyError};
pub use query::{Cursor, KeyStanding, Page, Query};
pub use rate::{Rate, RateError};
pub use record::{ActiveKey, AddressFamily, Issuer, KeyRecord, Label, Revocation, RevokedBy};
pub use service::{Keys, News, Revoke};
pub use store::{
    Admission, Amended, Amendment, Answer, Counted, Day, Ending, KeyStore, Learned, Ledger, StoreError, Use,
    open,
};
pub use timestamp::{read as read_timestamp, write as write_timestamp};
pub use token::{KeyHash, KeyShape, PREFIX, SHOWN_DIGITS, Token, holds_key};
pub use usage::{Unwritten, Usage, UsageShard};
pub use verdict::{Adoption, LookupError, OwnerRefusal, Verdict};

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
    /// Takes any text; whether it is a usable URL is told when the store is opened.
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
        write_without_secrets(&self.0, f)
    }
}

/// Only what cannot be a secret: the scheme, and what stands between the last `@` and the query.
/// (A socket's URL has its password in the query.)
fn write_without_secrets(url: &str, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, url),
    };
    if let Some(scheme) = scheme.filter(|scheme| scheme.bytes().all(is_scheme_byte)) {
        write!(f, "{scheme}://")?;
    }
    let shown = match rest.rsplit_once('@') {
        Some((_, shown)) => {
            f.write_str("***@")?;
            shown
        }
        None => rest,
    };
    match shown.split_once('?') {
        Some((shown, _)) => write!(f, "{shown}?***"),
        None => f.write_str(shown),
    }
}

fn is_scheme_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

impl std::fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redis_url_is_shown_without_its_password() {
        for (url, shown) in [
            ("redis://ann:s3cret@db.example:6379/2", "redis://***@db.example:6379/2"),
            ("rediss://:s3@cret@db.example", "rediss://***@db.example"),
            ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
            ("redis+unix:///run/redis.sock?db=1&pass=s3cret", "redis+unix:///run/redis.sock?***"),
            ("redis:/ann:s3cret@db.example", "***@db.example"),
            ("ann:s3cret@db://x", "x"),
        ] {
            let url = RedisUrl::new(url.to_owned());
            assert_eq!(url.to_string(), shown);
            assert!(!format!("{url:?}").contains("cret"));
        }
    }
}
