//! What gateways that share a store tell each other: the entries of its change log.

use super::block::{Block, Subject};
use super::{KeyHash, Revocation};

/// A change that concerns what others remember.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A key was revoked, whether it was known or not.
    Revoked {
        /// The instance.
        instance: String,
        /// The key's id.
        id: String,
        /// The keys that have this id.
        hashes: Vec<KeyHash>,
        /// When, how and why.
        revocation: Revocation,
    },
    /// A record was written, or its policy changed.
    Written {
        /// The instance.
        instance: String,
        /// The key.
        hash: KeyHash,
    },
    /// A user or a session is refused.
    Blocked(Block),
    /// They are accepted again.
    Lifted {
        /// The instance.
        instance: String,
        /// Who.
        subject: Subject,
    },
    /// Something that this version does not know. It may concern anything.
    Other,
}
