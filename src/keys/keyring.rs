//! The keys, users and sessions of all instances, and everything that operators and owners do to them.
//!
//! The one place for the rules: how many keys an owner may have, how long a name may be, what becomes of
//! caches when the store changes. The admin API, the command line, the mirror and the gateway's own
//! `/api/api-keys` all come through here, and every change is written down in the audit chain.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::audit::{Action, Actor, Event};
use super::errand::{Errand, State, Task};
use super::lease::{Lease, Moment, Whom};
use super::service::Ended;
use super::{
    Amended, Amendment, Issuer, KeyHash, KeyRecord, Keys, Learned, Ledger, News, Policy, PolicyError, Query,
    Revocation, Revoke, RevokedBy, Settings, StoreError, StoreSettings, Token,
};
use crate::observe::Metrics;

mod following;
mod intake;
mod refusals;
mod retention;

pub use intake::Intake;
pub use retention::{Rest, Retention, Trimmed, Verified};

use following::Following;
pub use refusals::EndedSession;

/// As many keys one user may have that are not revoked: OpenBin's own limit.
pub const MOST_KEYS: usize = 10;
/// As long a key's name may be, in UTF-16 code units: OpenBin's own limit.
pub const LONGEST_NAME: usize = 255;
/// How often a policy is read again that someone else is changing at the same time.
const AMEND_TRIES: usize = 16;
const PORTION: usize = 500;

/// All instances' keys; they outlive a reload, and with them every tombstone.
pub struct Keyring {
    settings: Settings,
    store: Arc<dyn Ledger>,
    metrics: Arc<Metrics>,
    known: Mutex<HashMap<Arc<str>, Arc<Keys>>>,
    /// This process, among those that share the store: a name of its own, and where it runs.
    replica: String,
    lease: Arc<Lease>,
    following: Following,
    /// Held while blocks are written or read, so that an older list never replaces a newer block.
    blocking: tokio::sync::Mutex<()>,
}

/// What became of a change that others must feel, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Felt {
    /// How many keys it concerned.
    pub keys: usize,
    /// Whether no gateway anywhere accepts them any more. Otherwise it is done, and that is not known: ask
    /// again.
    pub everywhere: bool,
}

/// A key that the gateway is to issue.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// The instance.
    pub instance: Arc<str>,
    /// The owner's id at the instance.
    pub user_id: String,
    /// The owner's e-mail address, where it is known.
    pub user_email: Option<String>,
    /// The key's name; may be empty.
    pub name: String,
    /// What the key may be used for.
    pub policy: Policy,
}

/// A key that was just issued: the only time that it is shown.
#[derive(Debug)]
pub struct Issued {
    /// The key.
    pub token: Token,
    /// What is kept of it.
    pub record: KeyRecord,
}

/// Who ends a key, how and why.
#[derive(Debug, Clone)]
pub struct Reason<'a> {
    /// How it comes about.
    pub by: RevokedBy,
    /// Why, in their own words.
    pub why: Option<&'a str>,
    /// Who does it.
    pub actor: &'a Actor,
}

/// Why something cannot be done to a key.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KeyError {
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The owner has as many keys as they may have.
    #[error("the owner already has {MOST_KEYS} keys that are not revoked; revoke one first")]
    TooMany,
    /// The name is too long.
    #[error("the name is longer than {LONGEST_NAME} characters")]
    LongName,
    /// Nobody knows such a key.
    #[error("there is no such key")]
    Missing,
    /// It is revoked, which cannot be undone.
    #[error("the key is revoked, and stays so")]
    Revoked,
    /// The policy cannot be meant.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// Others kept changing the policy meanwhile.
    #[error("the key's policy is being changed by others all the time; try again")]
    Contended,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keyring")
    }
}

impl Keyring {
    /// All keys in that store.
    #[must_use]
    pub fn new(settings: Settings, store: Arc<dyn Ledger>, metrics: Arc<Metrics>) -> Self {
        let lease = Arc::new(match settings.store {
            StoreSettings::Embedded { .. } => Lease::perpetual(),
            StoreSettings::Redis { .. } => Lease::none(),
        });
        metrics.sharing.lease_valid.set(i64::from(lease.holds(Moment::now())));
        let replica = format!("{:016x}@{}", rand::random::<u64>(), settings.site);
        let (known, following) = (Mutex::default(), Following::default());
        let blocking = tokio::sync::Mutex::default();
        Self { settings, store, metrics, known, replica, lease, following, blocking }
    }

    /// The keys of this instance.
    #[must_use]
    pub fn of(&self, instance: &str) -> Arc<Keys> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(keys) = known.get(instance) {
            return Arc::clone(keys);
        }
        let name: Arc<str> = instance.into();
        let (store, metrics) = (Arc::clone(&self.store), Arc::clone(&self.metrics));
        let lease = Arc::clone(&self.lease);
        let keys = Arc::new(Keys::new(Arc::clone(&name), &self.settings, lease, store, metrics));
        known.insert(name, Arc::clone(&keys));
        keys
    }

    /// Where everything is kept; for reading. What is written past the keyring reaches no cache.
    #[must_use]
    pub fn ledger(&self) -> &Arc<dyn Ledger> {
        &self.store
    }

    /// How old a last use may be that is not shown yet.
    #[must_use]
    pub fn usage_interval(&self) -> Duration {
        self.settings.usage_interval
    }

    /// Issues a key.
    ///
    /// # Errors
    /// Where a rule forbids it, or the store could not write it.
    pub async fn issue(&self, new: NewKey, actor: &Actor) -> Result<Issued, KeyError> {
        new.policy.check()?;
        if new.name.encode_utf16().count() > LONGEST_NAME {
            return Err(KeyError::LongName);
        }
        let token = Token::generate();
        let record = KeyRecord {
            hash: token.hash(),
            id: uuid::Uuid::new_v4().to_string(),
            instance: new.instance,
            user_id: new.user_id,
            user_email: new.user_email,
            name: new.name,
            prefix: token.prefix().to_owned(),
            issuer: Issuer::Gateway,
            created_at: Some(SystemTime::now()),
            last_used_at: None,
            last_used_over: None,
            policy: new.policy,
            revoked: None,
        };
        let (action, most) = (Action::KeyCreated, Some(MOST_KEYS));
        let news = News { record: record.clone(), most, action, actor };
        match self.of(&record.instance).learn(news).await? {
            Learned::Written => Ok(Issued { token, record }),
            Learned::TooMany => Err(KeyError::TooMany),
            // Nobody can have had this key or this id before.
            Learned::Known(_) | Learned::Revoked => Err(KeyError::Revoked),
        }
    }

    /// Revokes the key with this id, known or not; see [`Keys::revoke`]. Waits until no gateway that shares the
    /// store accepts it any more, or that cannot be known.
    ///
    /// # Errors
    /// Where the store could not write it.
    pub async fn revoke(&self, instance: &str, id: &str, reason: Reason<'_>) -> Result<Felt, StoreError> {
        let asked_at = Moment::now();
        let ended = self.end(instance, id, reason).await?;
        let everywhere = self.confirm(&ended.position, Whom::Key).await;
        self.metrics.sharing.revocation_seconds.observe(Moment::now().since(asked_at).as_secs_f64());
        Ok(Felt { keys: ended.keys, everywhere })
    }

    async fn end(&self, instance: &str, id: &str, reason: Reason<'_>) -> Result<Ended, StoreError> {
        let Reason { by, why, actor } = reason;
        let (who, why) = (actor.name.clone(), why.map(str::to_owned));
        let revocation = Revocation { at: SystemTime::now(), by, who, why };
        let tell = match by {
            RevokedBy::Operator | RevokedBy::Rotation | RevokedBy::Owner => true,
            RevokedBy::Mirror | RevokedBy::Missing => false,
        };
        self.of(instance).revoke(Revoke { id, revocation, tell, actor }).await
    }

    /// Revokes all of a user's keys, those included that come to be known while it is done.
    ///
    /// # Errors
    /// Where the store could not do it; some may be revoked then.
    pub async fn revoke_all_of(
        &self,
        instance: &str,
        user_id: &str,
        reason: Reason<'_>,
    ) -> Result<Felt, StoreError> {
        let (mut keys, mut last) = (0, None);
        loop {
            let left = self.keys_of(instance, user_id).await?;
            if left.is_empty() {
                break;
            }
            for record in left {
                last = Some(self.end(instance, &record.id, reason.clone()).await?.position);
                keys += 1;
            }
        }
        // The log has an order: who has come to the last of them has passed the others.
        let everywhere = match last {
            Some(position) => self.confirm(&position, Whom::Key).await,
            None => true,
        };
        Ok(Felt { keys, everywhere })
    }

    /// A user's keys that are not revoked, the newest first, whoever issued them.
    ///
    /// # Errors
    /// Where the store could not answer.
    pub async fn keys_of(&self, instance: &str, user_id: &str) -> Result<Vec<KeyRecord>, StoreError> {
        let mut query = Query {
            instance: Some(instance.into()),
            user_id: Some(user_id.to_owned()),
            limit: PORTION,
            ..Query::default()
        };
        let (mut found, now) = (Vec::new(), SystemTime::now());
        loop {
            let page = self.store.list(&query, now).await?;
            found.extend(page.records.into_iter().filter(|record| record.revoked.is_none()));
            query.after = page.next;
            if query.after.is_none() {
                return Ok(found);
            }
        }
    }

    /// Changes a key's policy; `change` is given what it is now, and may be called more than once.
    ///
    /// # Errors
    /// Where there is no such key that could be used, the policy cannot be meant, or the store could not
    /// write it.
    pub async fn amend(
        &self,
        instance: &str,
        hash: &KeyHash,
        actor: &Actor,
        change: impl Fn(&Policy) -> Policy,
    ) -> Result<KeyRecord, KeyError> {
        let keys = self.of(instance);
        for _ in 0..AMEND_TRIES {
            let record = self.store.find(instance, hash).await?.ok_or(KeyError::Missing)?;
            if record.revoked.is_some() {
                return Err(KeyError::Revoked);
            }
            let to = change(&record.policy);
            to.check()?;
            if to == record.policy {
                return Ok(record);
            }
            let mut event = about(actor, Action::PolicyChanged, instance);
            event.key_id = Some(record.id.clone());
            event.user_id = Some(record.user_id.clone());
            event.detail = serde_json::to_string(&to).ok();
            let amendment = Amendment { instance, hash, from: &record.policy, to: &to, event: &event };
            match keys.change(hash, self.store.amend(amendment)).await? {
                Amended::Done => return Ok(KeyRecord { policy: to, ..record }),
                Amended::Otherwise => {}
                Amended::Missing => return Err(KeyError::Missing),
            }
        }
        Err(KeyError::Contended)
    }

    /// Ends a key that has a successor when `overlap` is over: it is refused from then on, and revoked.
    ///
    /// # Errors
    /// As of [`Keyring::amend`].
    pub async fn succeed(
        &self,
        old: &KeyRecord,
        successor: &str,
        overlap: Duration,
        actor: &Actor,
    ) -> Result<SystemTime, KeyError> {
        let now = SystemTime::now();
        let end = old.policy.expires_at.map_or(now + overlap, |end| end.min(now + overlap));
        let errand = Errand {
            instance: old.instance.to_string(),
            key_id: old.id.clone(),
            user_id: old.user_id.clone(),
            user_email: old.user_email.clone(),
            task: Task::End,
            state: State::Pending,
            due: end,
            tries: 0,
            note: None,
        };
        // First: a key that is refused and not revoked yet does less harm than one that lives on.
        self.store.schedule(&errand).await?;
        let successor = Some(successor.to_owned());
        let replace = |policy: &Policy| Policy {
            expires_at: Some(end),
            replaced_by: successor.clone(),
            ..policy.clone()
        };
        self.amend(&old.instance, &old.hash, actor, replace).await?;
        let mut event = about(actor, Action::KeyRotated, &old.instance);
        event.key_id = Some(old.id.clone());
        event.user_id = Some(old.user_id.clone());
        event.detail = successor.map(|id| format!("replaced by {id}"));
        self.store.record(&event).await?;
        Ok(end)
    }
}

fn about(actor: &Actor, action: Action, instance: &str) -> Event {
    let mut event = Event::new(SystemTime::now(), actor, action);
    event.instance = Some(instance.to_owned());
    event
}

#[cfg(test)]
mod tests;
