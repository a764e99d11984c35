//! The connection that is in use, and the one beside it while a cluster moves the slot.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::dial::Connection;
use crate::keys::Address;
use crate::keys::lease::Moment;

/// The connection that is in use, if there is one.
#[derive(Default)]
pub(super) struct Current(Mutex<Slot>);

#[derive(Default)]
struct Slot {
    connection: Option<Arc<Connection>>,
    generation: u64,
    made: Option<Instant>,
    since: Option<Moment>,
    looked: Option<Instant>,
    /// To the node to which the slot is moving.
    beside: Option<Arc<Connection>>,
}

/// A connection, for one question.
pub(super) struct Lent {
    pub(super) connection: Arc<Connection>,
    pub(super) generation: u64,
    pub(super) age: Age,
}

/// How long there has been a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    /// Made for this question.
    New,
    /// It may have broken since it was last used.
    Kept,
}

impl Current {
    pub(super) fn lend(&self) -> Option<Lent> {
        let slot = self.lock();
        let connection = slot.connection.clone()?;
        Some(Lent { connection, generation: slot.generation, age: Age::Kept })
    }

    /// Takes a new connection into use.
    pub(super) fn keep(&self, connection: Connection) -> Lent {
        let (connection, now, mut slot) = (Arc::new(connection), Instant::now(), self.lock());
        slot.generation += 1;
        slot.connection = Some(Arc::clone(&connection));
        (slot.made, slot.looked, slot.since) = (Some(now), Some(now), Some(Moment::now()));
        Lent { connection, generation: slot.generation, age: Age::New }
    }

    /// When the connection was made that is in use, or was last.
    pub(super) fn since(&self) -> Option<Moment> {
        self.lock().since
    }

    /// Lets go of a connection, unless another has taken its place.
    pub(super) fn forget(&self, generation: u64) {
        let mut slot = self.lock();
        if slot.generation == generation {
            slot.connection = None;
        }
    }

    /// Lets go of a connection to what may be the wrong server, unless it is younger than this. Whether it did.
    pub(super) fn doubt(&self, generation: u64, youth: Duration) -> bool {
        let mut slot = self.lock();
        let doubted = slot.generation == generation && slot.made.is_some_and(|made| made.elapsed() >= youth);
        if doubted {
            slot.connection = None;
        }
        doubted
    }

    /// Whether it is time again to look whether this is still the right server.
    pub(super) fn is_look_due(&self, every: Duration) -> bool {
        let (now, mut slot) = (Instant::now(), self.lock());
        let due = slot.looked.is_none_or(|looked| now - looked >= every);
        if due {
            slot.looked = Some(now);
        }
        due
    }

    /// The connection to the node to which the slot is moving.
    pub(super) fn beside(&self, address: &Address) -> Option<Arc<Connection>> {
        self.lock().beside.clone().filter(|beside| beside.address == *address)
    }

    pub(super) fn keep_beside(&self, connection: Option<Arc<Connection>>) {
        self.lock().beside = connection;
    }

    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
