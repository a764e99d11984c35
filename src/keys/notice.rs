//! Tells whoever holds something open for a credential that the credential has ended.
//!
//! Told where this process applies it, whoever asked for it, and only after it is applied: a tombstone lies
//! in the cache, a block is known. Whoever judges a credential and only then takes its place among those
//! that listen could miss the notice in between. So they note the [`Epoch`] before they judge, take their
//! place, and judge once more where the epoch has passed.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use super::KeyHash;

/// So many notices may wait for a listener; one that falls behind further must look at everything again.
const MOST_WAITING: usize = 4_096;

/// Something that may end what is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Notice {
    /// This key was revoked.
    KeyEnded(KeyHash),
    /// The terms of this key were changed.
    KeyAmended(KeyHash),
    /// The user with this label was blocked.
    UserBlocked(Arc<str>),
    /// The session with this digest was ended.
    SessionEnded([u8; 32]),
}

/// Where the notices about one instance's credentials are put up.
#[derive(Debug)]
pub(super) struct Board {
    epoch: AtomicU64,
    sender: broadcast::Sender<Notice>,
}

/// A time between two notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch(u64);

impl Default for Board {
    fn default() -> Self {
        Self { epoch: AtomicU64::new(0), sender: broadcast::Sender::new(MOST_WAITING) }
    }
}

impl Board {
    /// Tells of what has been applied. The epoch passes first: who has taken their place when the notice is
    /// read hears of it, and who has not yet sees that it has passed.
    pub(super) fn tell(&self, notice: Notice) {
        self.advance();
        self.send(notice);
    }

    fn advance(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    fn send(&self, notice: Notice) {
        // Without listeners there is nothing under way.
        let _ = self.sender.send(notice);
    }

    pub(super) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Acquire))
    }

    /// Hears everything from now on.
    pub(super) fn listen(&self) -> Notices {
        Notices(self.sender.subscribe())
    }
}

/// The notices about one instance's credentials, from when they were asked for.
#[derive(Debug)]
pub struct Notices(broadcast::Receiver<Notice>);

/// What has been told since the last time.
#[derive(Debug, Default)]
pub struct Tidings {
    /// Keys that were revoked.
    pub keys: HashSet<KeyHash>,
    /// Keys whose terms were changed.
    pub amended: HashSet<KeyHash>,
    /// Labels of users who were blocked.
    pub users: HashSet<Arc<str>>,
    /// Sessions that were ended.
    pub sessions: HashSet<[u8; 32]>,
    /// Whether there was more than could be kept: everything must be looked at again.
    pub missed: bool,
}

impl Notices {
    /// Waits for news, and takes all that there is; `None` once there can be no more.
    pub async fn next(&mut self) -> Option<Tidings> {
        let mut tidings = Tidings::default();
        match self.0.recv().await {
            Ok(notice) => tidings.add(notice),
            Err(RecvError::Lagged(_)) => tidings.missed = true,
            Err(RecvError::Closed) => return None,
        }
        // No more than fits: those who tell must not be able to keep the listener here.
        for _ in 0..MOST_WAITING {
            match self.0.try_recv() {
                Ok(notice) => tidings.add(notice),
                Err(TryRecvError::Lagged(_)) => tidings.missed = true,
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        Some(tidings)
    }
}

impl Tidings {
    fn add(&mut self, notice: Notice) {
        match notice {
            Notice::KeyEnded(hash) => self.keys.insert(hash),
            Notice::KeyAmended(hash) => self.amended.insert(hash),
            Notice::UserBlocked(label) => self.users.insert(label),
            Notice::SessionEnded(digest) => self.sessions.insert(digest),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn all_that_was_told_is_taken_at_once() {
        let board = Board::default();
        board.tell(Notice::SessionEnded([1; 32]));
        let mut notices = board.listen();
        board.tell(Notice::KeyEnded(KeyHash::of("a")));
        board.tell(Notice::UserBlocked("ann".into()));
        let tidings = notices.next().now_or_never().flatten().expect("news");
        assert!(tidings.keys.contains(&KeyHash::of("a")) && tidings.users.contains("ann"));
        assert!(tidings.sessions.is_empty() && !tidings.missed, "told before anyone listened");
        assert!(notices.next().now_or_never().is_none(), "there is no more");
        drop(board);
        assert!(notices.next().now_or_never().expect("an end").is_none());
    }

    #[test]
    fn who_falls_behind_knows_that_something_was_missed() {
        let board = Board::default();
        let mut notices = board.listen();
        for _ in 0..=MOST_WAITING {
            board.tell(Notice::KeyAmended(KeyHash::of("a")));
        }
        assert!(notices.next().now_or_never().flatten().expect("news").missed);
    }

    /// How the listening side goes about it; the first is the right way.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Way {
        JudgesAgainWhereTheEpochHasPassed,
        JudgesOnce,
        NotesTheEpochTooLate,
    }

    /// One exchange, one revocation and one listener, taken apart into the steps that can come between each other.
    struct World {
        way: Way,
        board: Board,
        notices: RefCell<Notices>,
        buried: Cell<bool>,
        epoch: Cell<Option<Epoch>>,
        refused: Cell<bool>,
        has_place: Cell<bool>,
        cut: Cell<bool>,
    }

    impl World {
        fn new(way: Way) -> Self {
            let board = Board::default();
            let notices = RefCell::new(board.listen());
            Self {
                way,
                board,
                notices,
                buried: Cell::default(),
                epoch: Cell::default(),
                refused: Cell::default(),
                has_place: Cell::default(),
                cut: Cell::default(),
            }
        }

        fn exchange(&self, step: usize) {
            match step {
                0 if self.way != Way::NotesTheEpochTooLate => self.epoch.set(Some(self.board.epoch())),
                0 => {}
                1 => self.refused.set(self.buried.get()),
                2 => {
                    self.has_place.set(true);
                    if self.way == Way::NotesTheEpochTooLate {
                        self.epoch.set(Some(self.board.epoch()));
                    }
                }
                _ if self.way == Way::JudgesOnce || self.epoch.get() == Some(self.board.epoch()) => {}
                _ => self.refused.set(self.refused.get() || self.buried.get()),
            }
        }

        fn revocation(&self, step: usize) {
            match step {
                0 => self.buried.set(true),
                1 => self.board.advance(),
                _ => self.board.send(Notice::SessionEnded([1; 32])),
            }
        }

        fn listener(&self) {
            let told = self.notices.borrow_mut().next().now_or_never().flatten();
            if told.is_some_and(|tidings| tidings.sessions.contains(&[1; 32])) && self.has_place.get() {
                self.cut.set(true);
            }
        }
    }

    /// How many of all orders of these steps let the exchange live on.
    fn escapes(way: Way) -> (usize, usize) {
        const EXCHANGE: usize = 4;
        const REVOCATION: usize = 3;
        const LOOKS: usize = 3;
        let (mut orders, mut escaped) = (0, 0);
        let mut order = Vec::new();
        each_order([EXCHANGE, REVOCATION, LOOKS], &mut order, &mut |order| {
            let world = World::new(way);
            let mut done = [0; 3];
            for &who in order {
                match who {
                    0 => world.exchange(done[0]),
                    1 => world.revocation(done[1]),
                    _ => world.listener(),
                }
                done[who] += 1;
            }
            // The listener always comes to look once more in the end.
            world.listener();
            orders += 1;
            escaped += usize::from(!world.refused.get() && !world.cut.get());
        });
        (orders, escaped)
    }

    fn each_order(left: [usize; 3], order: &mut Vec<usize>, then: &mut impl FnMut(&[usize])) {
        if left == [0; 3] {
            then(order);
        }
        for who in 0..3 {
            let mut less = left;
            if less[who] > 0 {
                less[who] -= 1;
                order.push(who);
                each_order(less, order, then);
                order.pop();
            }
        }
    }

    #[test]
    fn in_no_order_of_steps_does_an_exchange_outlive_its_credential() {
        let (orders, escaped) = escapes(Way::JudgesAgainWhereTheEpochHasPassed);
        assert_eq!((orders, escaped), (4_200, 0));
        // What the others get wrong shows that the orders that matter are among them.
        assert!(escapes(Way::JudgesOnce).1 > 0);
        assert!(escapes(Way::NotesTheEpochTooLate).1 > 0);
    }
}
