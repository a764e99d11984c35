//! What is concluded of a key, and why it sometimes cannot be. Decides nothing itself.

use std::sync::Arc;

use super::{ActiveKey, KeyRecord, StoreError};

/// What is concluded of a key. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// It may be used.
    Active(Arc<ActiveKey>),
    /// It was revoked: a tombstone, never to be undone.
    Revoked,
    /// Nobody knows it.
    Unknown,
    /// It is known, but its owner may not use it now.
    Refused(OwnerRefusal),
}

impl Verdict {
    /// What a record says of its key.
    pub(super) fn of(record: KeyRecord) -> Self {
        match ActiveKey::new(record) {
            Some(key) => Self::Active(Arc::new(key)),
            None => Self::Revoked,
        }
    }
}

/// Why an owner may not use a key that is theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OwnerRefusal {
    /// The owner was deleted.
    AccountDeleted,
    /// The owner is suspended.
    AccountSuspended,
    /// The instance's plan does not include API keys.
    PlanRestricted,
}

/// What the instance said of a key that the store does not know.
#[derive(Debug, Clone)]
pub enum Adoption {
    /// The key is good, and this is what the instance knows of it.
    Owned(KeyRecord),
    /// The instance does not know it either.
    Unknown,
    /// The instance knows it, and refuses its owner.
    Refused(OwnerRefusal),
    /// The instance was not asked on behalf of this caller: unknown for now, and not remembered.
    Withheld,
}

/// Nothing could be concluded. Never means that a key is bad.
#[derive(Debug, thiserror::Error)]
pub enum LookupError<E> {
    /// The store could not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The instance could not be asked. Shared, since everyone who waited for the same answer gets it.
    #[error("the instance could not say whose key it is")]
    Adopt(Arc<E>),
}
