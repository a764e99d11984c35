//! How a process keeps up with the others that share its store, and knows that they keep up with it.
//!
//! What is to be done, and in which order, is decided in [`lease`](crate::keys::lease); here it is done.

mod losses;

use std::sync::{Arc, Mutex, PoisonError};

use super::Keyring;
use super::refusals::in_memory;
use crate::keys::lease::{Due, Follower, Moment, Order, Position, Whom};
use crate::keys::{Change, Confirmation, StoreError};
use losses::Losses;

/// How far this process has come.
#[derive(Default)]
pub(super) struct Following {
    /// Since when the log has been followed without a break.
    since: Mutex<Option<Moment>>,
}

impl Keyring {
    /// Follows what others change, until it is dropped, or at once where nobody else can change anything.
    pub async fn follow(self: Arc<Self>) {
        let mut follower = Follower::new(self.settings.lease_for);
        let mut losses = None;
        loop {
            let due = match self.renew(&mut follower, &mut losses).await {
                Ok(Due::Never) => return,
                Ok(Due::Now) => continue,
                Ok(Due::Later) => follower.ask(Moment::now()).position,
                Err(error) => {
                    tracing::debug!(%error, "the key store's changes are not read");
                    None
                }
            };
            self.metrics.sharing.lease_valid.set(i64::from(self.lease.holds(Moment::now())));
            self.pause(due).await;
        }
    }

    /// Tells the others that this process follows no more, so that none waits for it.
    pub async fn leave(&self) {
        self.lease.end();
        if let Err(error) = self.store.leave(&self.replica).await {
            tracing::debug!(%error, "the key store was not told of the end");
        }
    }

    /// Whether this change is felt by all who share the store.
    pub(super) async fn confirm(&self, position: &Position, whom: Whom) -> bool {
        let appended = Moment::now();
        let (term, copies, replica) = (self.settings.lease_for, self.settings.copies, &*self.replica);
        let confirmed = loop {
            let following_since = self.following_since();
            let confirmation =
                Confirmation { position, appended, replica, following_since, term, whom, copies };
            match self.store.confirm(confirmation).await {
                // This process had to begin anew meanwhile: who was asked was not who it took it for.
                Ok(true) if self.following_since() != following_since => {}
                Ok(confirmed) => break confirmed,
                Err(error) => {
                    tracing::warn!(%error, "a change is done, and not known to be felt by every gateway");
                    break false;
                }
            }
        };
        let outcome = if confirmed { "confirmed" } else { "unconfirmed" };
        self.metrics.sharing.confirmations.with_label_values(&[outcome]).inc();
        confirmed
    }

    async fn renew(
        self: &Arc<Self>,
        follower: &mut Follower<Change>,
        losses: &mut Option<Losses>,
    ) -> Result<Due, StoreError> {
        let asked = follower.ask(Moment::now());
        let renewed = self.store.renew(&self.replica, follower.term(), &asked).await?;
        let heard = follower.hear(asked, renewed);
        self.carry_out(&heard.order, losses).await?;
        let (until, due) = follower.applied(heard);
        if let Some(until) = until {
            self.lease.extend(until);
        }
        Ok(due)
    }

    async fn carry_out(
        self: &Arc<Self>,
        order: &Order<Change>,
        losses: &mut Option<Losses>,
    ) -> Result<(), StoreError> {
        match order {
            Order::Nothing => {}
            Order::Apply { changes, .. } => {
                for change in changes {
                    self.apply(change).await?;
                }
            }
            Order::Forget { write_again } => {
                tracing::warn!(
                    lost = write_again,
                    "the key store's log does not go on where this gateway left it"
                );
                self.lease.end();
                self.set_since(None);
                if *write_again && losses.is_none() {
                    *losses = Some(self.losses().await);
                }
            }
            Order::Begin { another } => {
                if *another && losses.is_none() {
                    *losses = Some(self.losses().await);
                }
                for (_, keys) in self.all() {
                    keys.forget_all().await;
                }
                if *another {
                    tracing::error!(
                        "the key store has lost everything, or is another one: keys that neither it nor this \
                         gateway knows are answered 503. Restore it from a backup; or restart the gateways to \
                         take it as it is"
                    );
                }
                self.refresh_blocks().await?;
                if let Some(losses) = losses {
                    losses.refuse(self);
                }
                self.set_since(Some(Moment::now()));
                if let Some(losses) = losses.take() {
                    tokio::spawn(losses.write_again(Arc::clone(self), *another));
                }
            }
        }
        Ok(())
    }

    async fn apply(&self, change: &Change) -> Result<(), StoreError> {
        match change {
            Change::Revoked { instance, id, hashes, revocation } => {
                self.of(instance).bury(id, hashes, revocation).await;
            }
            Change::Written { instance, hash } => self.of(instance).amended(hash).await,
            Change::Blocked(block) => {
                let subject = in_memory(block.subject.clone());
                self.of(&block.instance).blocks().add(subject, block.until);
            }
            Change::Lifted { instance, subject } => {
                self.of(instance).blocks().lift(&in_memory(subject.clone()));
            }
            Change::Other => {
                for (_, keys) in self.all() {
                    keys.forget_all().await;
                }
                self.refresh_blocks().await?;
            }
        }
        Ok(())
    }

    /// Until it is time to renew: a quarter of the term, or as soon as something is appended.
    async fn pause(&self, after: Option<Position>) {
        let (quarter, started) = (self.settings.lease_for / 4, tokio::time::Instant::now());
        let changed = match after {
            Some(after) => self.store.changed(&after, quarter).await.is_ok(),
            None => false,
        };
        if !changed {
            tokio::time::sleep_until(started + quarter).await;
        }
    }

    fn following_since(&self) -> Option<Moment> {
        *self.following.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_since(&self, since: Option<Moment>) {
        *self.following.since.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }
}
