//! What a connection's socket has seen, as far as its timers must know.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};

use super::unreadable::Unreadable;
use crate::http::Foreword;

/// What the socket has seen. Shared with it by `Arc`, since an upgraded socket may leave this thread.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    received: AtomicBool,
    /// How often anything was read.
    reads: AtomicU32,
    ended: AtomicBool,
    unsent: AtomicBool,
    switched: AtomicBool,
    stalled: AtomicBool,
    /// How often it has stalled, so that one stall can be told from the next.
    stalls: AtomicU32,
    given_up: AtomicBool,
    /// A request is being answered.
    open: AtomicBool,
    /// What is written next belongs to a request.
    owed: AtomicBool,
    /// Why what came last is no request, if it is none.
    unreadable: AtomicU8,
    foreword: Arc<Foreword>,
}

impl Traffic {
    /// What is to be said before an answer.
    pub(super) fn foreword(&self) -> &Arc<Foreword> {
        &self.foreword
    }

    /// So many bytes were read; none means that the peer has sent its last.
    pub(super) fn read(&self, length: usize) {
        let seen = if length == 0 { &self.ended } else { &self.received };
        seen.store(true, Ordering::Relaxed);
        // Only the socket writes it.
        self.reads.store(self.reads().wrapping_add(1), Ordering::Relaxed);
    }

    /// How often anything was read; it only matters whether that has changed.
    pub(super) fn reads(&self) -> u32 {
        self.reads.load(Ordering::Relaxed)
    }

    /// Whether anything was read since the last request ended.
    pub(super) fn has_received(&self) -> bool {
        self.received.load(Ordering::Relaxed)
    }

    /// A request has been read.
    pub(super) fn begin(&self) {
        self.open.store(true, Ordering::Relaxed);
        self.owed.store(true, Ordering::Relaxed);
    }

    /// All requests have ended; what is read next is another's.
    pub(super) fn begin_anew(&self) {
        self.received.store(false, Ordering::Relaxed);
        self.open.store(false, Ordering::Relaxed);
    }

    /// Whether what is written belongs to a request.
    pub(super) fn is_owed(&self) -> bool {
        self.owed.load(Ordering::Relaxed)
    }

    /// What came is no request.
    pub(super) fn refuse(&self, why: Unreadable) {
        self.unreadable.store(why as u8, Ordering::Relaxed);
    }

    /// Why what came is no request, if it is none.
    pub(super) fn unreadable(&self) -> Option<Unreadable> {
        Unreadable::from_code(self.unreadable.load(Ordering::Relaxed))
    }

    /// Something is to be written.
    pub(super) fn writing(&self) {
        self.unsent.store(true, Ordering::Relaxed);
    }

    /// All that was to be written has left for the system.
    pub(super) fn flushed(&self) {
        self.unsent.store(false, Ordering::Relaxed);
        if !self.open.load(Ordering::Relaxed) {
            self.owed.store(false, Ordering::Relaxed);
        }
    }

    /// Whether anything waits to be written.
    pub(super) fn is_unsent(&self) -> bool {
        self.unsent.load(Ordering::Relaxed)
    }

    /// The system took what was to be written, or had no room for it.
    pub(super) fn tried(&self, taken: bool) {
        // Nearly always nothing has changed, and nothing is written.
        if self.stalled.load(Ordering::Relaxed) != taken {
            return;
        }
        self.stalled.store(!taken, Ordering::Relaxed);
        if !taken {
            self.stalls.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Which stall the connection is in.
    pub(super) fn stall(&self) -> Option<u32> {
        self.stalled.load(Ordering::Relaxed).then(|| self.stalls.load(Ordering::Relaxed))
    }

    /// Nothing more is written; trying to ends the connection.
    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    /// What comes from now on is another protocol.
    pub(super) fn switch(&self) {
        self.switched.store(true, Ordering::Relaxed);
    }

    /// Whether what comes is another protocol than HTTP.
    pub(super) fn switched(&self) -> bool {
        self.switched.load(Ordering::Relaxed)
    }

    /// Whether the peer has said that nothing more will come.
    pub(super) fn ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}
