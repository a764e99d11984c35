//! Users and sessions that are refused, whatever they present. Where blocks are kept is the store's affair.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use super::notice::{Board, Notice};

/// That a user or a session is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The instance.
    pub instance: String,
    /// Whom it concerns.
    pub subject: Subject,
    /// Since when.
    pub at: SystemTime,
    /// Until when; `None`: until it is lifted.
    pub until: Option<SystemTime>,
    /// Why, in an operator's words.
    pub why: Option<String>,
}

/// Who is refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// The user with this id: keys and sessions.
    User(String),
    /// One session token, by its SHA-256.
    Session([u8; 32]),
}

/// The blocks of one instance that a process knows. With none, asking costs one atomic load.
#[derive(Debug, Default)]
pub struct Blocks {
    count: AtomicUsize,
    known: RwLock<Known>,
    board: Arc<Board>,
}

#[derive(Debug, Default)]
struct Known {
    users: HashMap<String, Option<SystemTime>>,
    sessions: HashMap<[u8; 32], Option<SystemTime>>,
}

impl Blocks {
    /// Nobody is refused yet; who is from now on is told of there.
    pub(super) fn telling(board: Arc<Board>) -> Self {
        Self { board, ..Self::default() }
    }

    /// Whether nobody is refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// Whether this user is blocked at `now`.
    #[must_use]
    pub fn has_user(&self, id: &str, now: SystemTime) -> bool {
        self.holds(now, |known| known.users.get(id).copied())
    }

    /// Whether the session with this token is over at `now`, before its own time.
    #[must_use]
    pub fn has_session(&self, digest: &[u8; 32], now: SystemTime) -> bool {
        self.holds(now, |known| known.sessions.get(digest).copied())
    }

    fn holds(&self, now: SystemTime, find: impl FnOnce(&Known) -> Option<Option<SystemTime>>) -> bool {
        if self.is_empty() {
            return false;
        }
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        find(&known).is_some_and(|until| until.is_none_or(|until| now < until))
    }

    /// Refuses from now on.
    pub(super) fn add(&self, subject: Subject, until: Option<SystemTime>) {
        let notice = Notice::of(&subject);
        self.change(|known| known.add(subject, until));
        self.board.tell(notice);
    }

    /// Accepts again.
    pub(super) fn lift(&self, subject: &Subject) {
        self.change(|known| match subject {
            Subject::User(id) => drop(known.users.remove(id)),
            Subject::Session(digest) => drop(known.sessions.remove(digest)),
        });
    }

    /// Takes what the store holds for all that there is.
    pub(super) fn replace(&self, blocks: impl IntoIterator<Item = Block>) {
        let mut all = Known::default();
        blocks.into_iter().for_each(|block| all.add(block.subject, block.until));
        let mut notices = Vec::new();
        self.change(|known| {
            let users = all.users.keys().filter(|id| !known.users.contains_key(*id));
            notices.extend(users.map(|id| Notice::UserBlocked(id.as_str().into())));
            let sessions = all.sessions.keys().filter(|digest| !known.sessions.contains_key(*digest));
            notices.extend(sessions.map(|digest| Notice::SessionEnded(*digest)));
            *known = all;
        });
        notices.into_iter().for_each(|notice| self.board.tell(notice));
    }

    /// All of them, with their ends.
    pub(super) fn all(&self) -> Vec<(Subject, Option<SystemTime>)> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let users = known.users.iter().map(|(id, until)| (Subject::User(id.clone()), *until));
        let sessions = known.sessions.iter().map(|(digest, until)| (Subject::Session(*digest), *until));
        users.chain(sessions).collect()
    }

    /// Forgets those that are over.
    pub(super) fn forget_over(&self, now: SystemTime) {
        let stands = |until: &Option<SystemTime>| until.is_none_or(|until| now < until);
        self.change(|known| {
            known.users.retain(|_, until| stands(until));
            known.sessions.retain(|_, until| stands(until));
        });
    }

    fn change(&self, change: impl FnOnce(&mut Known)) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut known);
        self.count.store(known.users.len() + known.sessions.len(), Ordering::Release);
    }
}

impl Notice {
    fn of(subject: &Subject) -> Self {
        match subject {
            Subject::User(id) => Self::UserBlocked(id.as_str().into()),
            Subject::Session(digest) => Self::SessionEnded(*digest),
        }
    }
}

impl Known {
    fn add(&mut self, subject: Subject, until: Option<SystemTime>) {
        match subject {
            Subject::User(id) => self.users.insert(id, until),
            Subject::Session(digest) => self.sessions.insert(digest, until),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_block_holds_until_its_end_or_until_it_is_lifted() {
        let blocks = Blocks::default();
        let (now, later) = (SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + Duration::from_secs(9));
        assert!(!blocks.has_user("ann", now));
        blocks.add(Subject::User("ann".to_owned()), None);
        blocks.add(Subject::Session([7; 32]), Some(later));
        assert!(blocks.has_user("ann", later) && !blocks.has_user("bob", now));
        assert!(blocks.has_session(&[7; 32], now) && !blocks.has_session(&[7; 32], later));
        blocks.lift(&Subject::User("ann".to_owned()));
        assert!(!blocks.has_user("ann", now) && blocks.has_session(&[7; 32], now));
        blocks.replace([]);
        assert!(!blocks.has_session(&[7; 32], now));
    }

    #[test]
    fn who_is_refused_anew_is_told_of_once() {
        let board = Arc::<Board>::default();
        let (blocks, mut notices) = (Blocks::telling(Arc::clone(&board)), board.listen());
        let block = |subject| {
            let (instance, at) = ("home".to_owned(), SystemTime::UNIX_EPOCH);
            Block { instance, subject, at, until: None, why: None }
        };
        let (ann, bob) = (Subject::User("ann".to_owned()), Subject::User("bob".to_owned()));
        blocks.add(ann.clone(), None);
        let told = notices.next().now_or_never().flatten().expect("news");
        assert!(told.users.contains("ann"));
        blocks.replace([block(ann), block(bob), block(Subject::Session([7; 32]))]);
        let told = notices.next().now_or_never().flatten().expect("news");
        assert_eq!((told.users.len(), told.sessions.len()), (1, 1), "{told:?}");
        assert!(told.users.contains("bob"));
        blocks.replace([]);
        assert!(notices.next().now_or_never().is_none(), "who is accepted again ends nothing");
    }
}
