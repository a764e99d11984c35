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
mod servers;
mod service;
mod store;
mod timestamp;
mod token;
mod usage;
mod verdict;

pub use import::{Found, ImportError, Reader, Source, Unreadable};
pub use keyring::{EndedSession, Issued, KeyError, Keyring, LONGEST_NAME, MOST_KEYS, NewKey, Reason};
pub use network::Network;
pub use policy::{Attempt, Breach, Policy, PolicyError};
pub use query::{Cursor, KeyStanding, Page, Query};
pub use rate::{Rate, RateError};
pub use record::{ActiveKey, AddressFamily, Issuer, KeyRecord, Label, Revocation, RevokedBy};
pub use servers::{Address, Login, Place, RedisTls, RedisUrl, Servers, TlsProblem};
pub use service::{Keys, News, Revoke};
pub use store::{
    Admission, Amended, Amendment, Answer, Concern, Day, Ending, KeyStore, Learned, Ledger, StoreError, Use,
    open, open_measured,
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
