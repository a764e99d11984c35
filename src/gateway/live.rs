//! The exchanges that one worker has under way at one instance, each with its credential: when that ends,
//! they end. One whose answer has not begun is refused; from any other the connection is taken away.
//!
//! Only this worker's thread comes here, so that a request costs no lock. A place is found by its number,
//! and all are looked through when something has ended, which is seldom.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use crate::auth::{Denied, Identity, Proof, look_again};
use crate::http::Line;
use crate::keys::{Keys, Notices, Tidings};
use crate::observe::{Cut, Metrics};

/// One worker's exchanges under way at one instance.
pub(super) struct LiveExchanges {
    keys: Arc<Keys>,
    metrics: Arc<Metrics>,
    table: RefCell<Table>,
    expiry: Rc<Expiry>,
    follower: Cell<Option<AbortHandle>>,
}

#[derive(Default)]
struct Table {
    all: Vec<Option<Entry>>,
    free: Vec<usize>,
}

struct Entry {
    identity: Identity,
    line: Line,
    stage: Stage,
    exemption: Option<Exemption>,
}

#[derive(Clone, Copy)]
enum Stage {
    /// Its answer has not begun: the client can still be told why there is none.
    Waiting,
    /// Its answer is on its way.
    Answering,
    /// Its credential has ended.
    Cut(Denied),
}

/// Lets an exchange come to its end although it is what ends its own credential: whoever signs out, or has a
/// key revoke itself, must hear that it is done.
#[derive(Clone, Default)]
pub(super) struct Exemption(Rc<Cell<bool>>);

impl Exemption {
    /// From now on.
    pub(super) fn grant(&self) {
        self.0.set(true);
    }
}

impl LiveExchanges {
    /// Follows what ends at an instance from now on. Runs on its worker's thread.
    pub(super) fn new(keys: &Arc<Keys>, metrics: &Arc<Metrics>) -> Rc<Self> {
        let live = Rc::new(Self {
            keys: Arc::clone(keys),
            metrics: Arc::clone(metrics),
            table: RefCell::default(),
            expiry: Rc::default(),
            follower: Cell::default(),
        });
        let follower = Follower {
            live: Rc::downgrade(&live),
            notices: keys.notices(),
            expiry: Rc::clone(&live.expiry),
            doubts: Vec::new(),
        };
        live.follower.set(Some(tokio::task::spawn_local(follower.follow()).abort_handle()));
        live
    }

    /// Whether it is about these keys.
    pub(super) fn is_of(&self, keys: &Arc<Keys>) -> bool {
        Arc::ptr_eq(&self.keys, keys)
    }

    /// Takes up an exchange until its handle is dropped. Whoever has verified it before must look again
    /// afterwards whether something has ended meanwhile.
    pub(super) fn enter(self: &Rc<Self>, identity: &Identity, line: Line) -> Live {
        if let Some(end) = end_of(identity) {
            self.expiry.watch(end);
        }
        let identity = identity.clone();
        let entry = Some(Entry { identity, line, stage: Stage::Waiting, exemption: None });
        let mut table = self.table.borrow_mut();
        let index = table.free.pop().unwrap_or(table.all.len());
        match table.all.get_mut(index) {
            Some(free) => *free = entry,
            None => table.all.push(entry),
        }
        Live { all: Rc::clone(self), index }
    }

    /// Cuts those for which there is a reason.
    fn cut_where(&self, why: impl Fn(&Identity) -> Option<Denied>) {
        for entry in self.table.borrow_mut().all.iter_mut().flatten() {
            if entry.exemption.as_ref().is_some_and(|exemption| exemption.0.get()) {
                continue;
            }
            let act: fn(&Line) = match entry.stage {
                Stage::Waiting => Line::wake,
                Stage::Answering => Line::cut,
                Stage::Cut(_) => continue,
            };
            let Some(denied) = why(&entry.identity) else { continue };
            entry.stage = Stage::Cut(denied);
            self.metrics.exchanges_cut.with_label_values(&[reason(denied).as_str()]).inc();
            act(&entry.line);
        }
    }

    /// Cuts what has ended, and returns whose credential must be looked at again.
    fn hear(&self, tidings: &Tidings) -> Vec<Identity> {
        self.cut_where(|identity| ended(tidings, identity));
        if !tidings.missed && tidings.amended.is_empty() {
            return Vec::new();
        }
        let in_doubt = |identity: &Identity| match identity.proof() {
            Proof::Key(hash) => tidings.missed || tidings.amended.contains(&hash),
            Proof::Session(_) => tidings.missed,
        };
        let table = self.table.borrow();
        let identities = table.all.iter().flatten().map(|entry| &entry.identity);
        identities.filter(|identity| in_doubt(identity)).cloned().collect()
    }

    /// Looks at credentials again; returns those of which the store could not tell.
    async fn settle(&self, mut doubts: Vec<Identity>) -> Vec<Identity> {
        while let Some(identity) = doubts.pop() {
            let proof = identity.proof();
            match look_again(&self.keys, &identity, SystemTime::now()).await {
                Ok(()) => {}
                Err(Denied::StoreUnavailable) => {
                    doubts.push(identity);
                    return doubts;
                }
                Err(denied) => self.cut_where(|other| (other.proof() == proof).then_some(denied)),
            }
            doubts.retain(|other| other.proof() != proof);
        }
        doubts
    }

    /// Cuts those whose key's time is over.
    fn expire(&self, now: SystemTime) {
        self.cut_where(|identity| {
            end_of(identity).is_some_and(|end| end <= now).then_some(Denied::ExpiredKey)
        });
        let table = self.table.borrow();
        let ends = table.all.iter().flatten().filter_map(|entry| end_of(&entry.identity));
        self.expiry.next.set(ends.filter(|end| *end > now).min());
    }
}

impl Drop for LiveExchanges {
    fn drop(&mut self) {
        if let Some(follower) = self.follower.take() {
            follower.abort();
        }
    }
}

/// One exchange under way; dropped when it is over.
pub(super) struct Live {
    all: Rc<LiveExchanges>,
    index: usize,
}

impl Live {
    /// Why it was cut, where it was.
    pub(super) fn cut(&self) -> Option<Denied> {
        match self.with(|entry| entry.stage) {
            Some(Stage::Cut(denied)) => Some(denied),
            Some(Stage::Waiting | Stage::Answering) | None => None,
        }
    }

    /// Does this as long as it is not cut.
    pub(super) async fn unless_cut<T>(
        &self,
        mut work: Pin<&mut impl Future<Output = T>>,
    ) -> Result<T, Denied> {
        poll_fn(|cx| match self.cut() {
            Some(denied) => Poll::Ready(Err(denied)),
            None => work.as_mut().poll(cx).map(Ok),
        })
        .await
    }

    /// Its answer begins.
    pub(super) fn answer(&self) -> Result<(), Denied> {
        if let Some(denied) = self.cut() {
            return Err(denied);
        }
        self.with(|entry| entry.stage = Stage::Answering);
        Ok(())
    }

    /// With what it can be let come to its end.
    pub(super) fn exemption(&self) -> Exemption {
        let made = self.with(|entry| entry.exemption.get_or_insert_default().clone());
        made.unwrap_or_default()
    }

    fn with<T>(&self, act: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        self.all.table.borrow_mut().all.get_mut(self.index)?.as_mut().map(act)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let mut table = self.all.table.borrow_mut();
        if let Some(entry) = table.all.get_mut(self.index).and_then(Option::take) {
            table.free.push(self.index);
            drop(table);
            drop(entry);
        }
    }
}

/// When the first of the keys in use is over.
#[derive(Default)]
struct Expiry {
    next: Cell<Option<SystemTime>>,
    sooner: Notify,
}

/// The clock on the wall may be set: so often it is looked at again.
const LOOK_AT_THE_CLOCK: Duration = Duration::from_secs(10);

impl Expiry {
    fn watch(&self, end: SystemTime) {
        if self.next.get().is_none_or(|next| end < next) {
            self.next.set(Some(end));
            self.sooner.notify_one();
        }
    }

    /// Resolves when it is over.
    async fn reached(&self) {
        loop {
            let Some(next) = self.next.get() else {
                self.sooner.notified().await;
                continue;
            };
            let Ok(left) = next.duration_since(SystemTime::now()) else { return };
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = sleep(left.min(LOOK_AT_THE_CLOCK)) => {}
                () = self.sooner.notified() => {}
            }
        }
    }
}

/// Cuts what is to be cut, as it becomes known.
struct Follower {
    live: Weak<LiveExchanges>,
    notices: Notices,
    expiry: Rc<Expiry>,
    doubts: Vec<Identity>,
}

/// How soon the store is asked again that could not answer.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

impl Follower {
    async fn follow(mut self) {
        loop {
            let tidings = tokio::select! {
                tidings = self.notices.next() => match tidings {
                    Some(tidings) => Some(tidings),
                    None => return,
                },
                () = self.expiry.reached() => None,
                () = sleep(ASK_AGAIN_AFTER), if !self.doubts.is_empty() => Some(Tidings::default()),
            };
            let Some(live) = self.live.upgrade() else { return };
            match tidings {
                Some(tidings) => self.doubts.extend(live.hear(&tidings)),
                None => live.expire(SystemTime::now()),
            }
            self.doubts = live.settle(std::mem::take(&mut self.doubts)).await;
        }
    }
}

/// Why an exchange with this identity has ended, where it has.
fn ended(tidings: &Tidings, identity: &Identity) -> Option<Denied> {
    let own = match identity.proof() {
        Proof::Key(hash) => tidings.keys.contains(&hash).then_some(Denied::RevokedKey),
        Proof::Session(digest) => tidings.sessions.contains(&digest).then_some(Denied::EndedSession),
    };
    let blocked = || tidings.users.contains(identity.user_id().as_str()).then_some(Denied::BlockedUser);
    own.or_else(blocked)
}

/// When the identity's key is over, where that is known.
fn end_of(identity: &Identity) -> Option<SystemTime> {
    identity.active_key()?.policy.as_ref()?.expires_at
}

/// What is noted of an exchange that was cut.
pub(super) fn reason(denied: Denied) -> Cut {
    match denied {
        Denied::InvalidToken | Denied::ExpiredToken | Denied::EndedSession => Cut::Session,
        Denied::BlockedUser | Denied::AccountDeleted | Denied::AccountSuspended | Denied::PlanRestricted => {
            Cut::User
        }
        Denied::MalformedKey
        | Denied::UnknownKey
        | Denied::RevokedKey
        | Denied::ExpiredKey
        | Denied::DisabledKey
        | Denied::ForeignAddress
        | Denied::OutOfScope
        | Denied::StoreUnavailable
        | Denied::InstanceUnavailable
        | Denied::Throttled(_) => Cut::Key,
    }
}

#[cfg(test)]
mod tests;
