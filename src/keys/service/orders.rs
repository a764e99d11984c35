//! What is to be done to a key, and what came of it.

use crate::keys::audit::{Action, Actor};
use crate::keys::lease::Position;
use crate::keys::{KeyRecord, Revocation};

/// A key that is to be taken in.
#[derive(Debug)]
pub struct News<'a> {
    /// What is known of it.
    pub record: KeyRecord,
    /// At most so many keys of its owner that are not revoked; `None`: whatever their number.
    pub most: Option<usize>,
    /// How it came to be known.
    pub action: Action,
    /// Through whom.
    pub actor: &'a Actor,
}

/// A key that is to be revoked.
#[derive(Debug, Clone)]
pub struct Revoke<'a> {
    /// Its id.
    pub id: &'a str,
    /// When, how and why.
    pub revocation: Revocation,
    /// Whether the instance that issued it is to be told.
    pub tell: bool,
    /// Who does it.
    pub actor: &'a Actor,
}

/// That a key was revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// How many keys have the id.
    pub keys: usize,
    /// Where in the store's change log that stands.
    pub position: Position,
}
