//! The key store and all of its rules: records, cache, last use. Knows no HTTP.
//!
//! A key is kept only as its SHA-256. A revocation *writes a tombstone* through the same cache entry
//! that loads write; it never deletes, so a load in flight cannot bring a revoked key back.

pub mod audit;
pub mod block;
mod cache;
mod change;
mod embedded;
pub mod errand;
mod graves;
mod import;
mod keyring;
pub mod lease;
mod network;
mod notice;
mod policy;
mod query;
mod rate;
mod record;
mod redis;
mod servers;
mod service;
mod store;
mod timestamp;
mod token;
mod usage;
mod verdict;

#[cfg(any(test, fuzzing))]
pub use self::redis::fuzz;
pub use change::Change;
pub use import::{Found, ImportError, Reader, Source, Unreadable};
pub use keyring::{
    EndedSession, Felt, Intake, Issued, KeyError, Keyring, LONGEST_NAME, MOST_KEYS, NewKey, Reason, Rest,
    Retention, Trimmed, Verified,
};
pub use network::Network;
pub use notice::{Epoch, Notices, Tidings};
pub use policy::{Attempt, Breach, Policy, PolicyError};
pub use query::{Cursor, KeyStanding, Page, Query};
pub use rate::{Rate, RateError};
pub use record::{ActiveKey, AddressFamily, Issuer, KeyRecord, Label, Revocation, RevokedBy};
pub use servers::{Address, Login, Place, RedisTls, RedisUrl, Servers, TlsProblem};
pub use service::{Ended, Keys, News, Revoke};
pub use store::{
    Admission, Amended, Amendment, Answer, Concern, Confirmation, Counted, Day, Ending, KeyStore, Learned,
    Ledger, Revoked, StoreError, Use, open, open_measured,
};
pub use timestamp::{read as read_timestamp, write as write_timestamp};
pub use token::{KeyHash, KeyShape, PREFIX, SHOWN_DIGITS, Token, holds_key};
pub use usage::{Unwritten, Usage, UsageShard};
pub use verdict::{Adoption, LookupError, OwnerRefusal, Verdict};

use std::path::PathBuf;
use std::time::Duration;

/// Where a gateway runs, as others that share its store know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site(String);

impl Site {
    /// Of anything that tells places apart: the machine's name, addresses.
    #[must_use]
    pub fn of(parts: &[&str]) -> Self {
        let digest = KeyHash::of(&parts.join("\n")).to_string();
        Self(digest.chars().take(16).collect())
    }
}

impl std::fmt::Display for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where keys are kept, and for how long what is known of them is believed.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The store.
    pub store: StoreSettings,
    /// How many keys each instance's cache holds.
    pub cache_entries: u64,
    /// How long a cached verdict may be used before the store is asked again. What changes is told at once;
    /// this bounds only how long a record that somebody changed by hand can go unnoticed.
    pub cache_for: Duration,
    /// For how long a gateway may use what it remembers without hearing from the shared store; and so how long
    /// a revocation takes at most, where a gateway hangs.
    pub lease_for: Duration,
    /// For how much longer it may where the store cannot be asked: certainty given up for availability.
    pub serve_stale_for: Duration,
    /// Where this process runs, such that no two run in the same place at once: the one that runs there now
    /// takes the place of the one that did. Of this only a digest is kept.
    pub site: Site,
    /// How many replicas of the shared store must have a revocation before it counts as done.
    pub copies: usize,
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
    /// Redis, which several gateways can share.
    Redis {
        /// Where it is.
        servers: Servers,
        /// What the names of all of the gateway's entries begin with.
        namespace: String,
        /// For connecting, and for each command.
        timeout: Duration,
    },
}
