//! Users and sessions that are refused, whatever they present.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use super::{Keyring, about};
use crate::keys::audit::{Action, Actor, Event};
use crate::keys::block::{Block, Subject};
use crate::keys::lease::Whom;
use crate::keys::{Keys, Label, StoreError};

/// A session that is over before its own time.
#[derive(Debug, Clone)]
pub struct EndedSession {
    /// SHA-256 of its token.
    pub digest: [u8; 32],
    /// Whose it was.
    pub user_id: String,
    /// When its token expires.
    pub until: SystemTime,
}

impl Keyring {
    /// Refuses all keys and sessions of a user, from now on. `false`: whether every gateway does is not known.
    ///
    /// # Errors
    /// Where the store could not write it; nothing is refused then.
    pub async fn block_user(
        &self,
        instance: &str,
        user_id: &str,
        why: Option<&str>,
        actor: &Actor,
    ) -> Result<bool, StoreError> {
        let mut event = about(actor, Action::UserBlocked, instance);
        event.user_id = Some(user_id.to_owned());
        event.detail = why.map(str::to_owned);
        let (subject, why) = (Subject::User(user_id.to_owned()), why.map(str::to_owned));
        let block = Block { instance: instance.to_owned(), subject, at: event.at, until: None, why };
        self.block(block, event).await
    }

    /// Accepts a user again; `false`: they were not blocked.
    ///
    /// # Errors
    /// Where the store could not write it.
    pub async fn unblock_user(
        &self,
        instance: &str,
        user_id: &str,
        actor: &Actor,
    ) -> Result<bool, StoreError> {
        let mut event = about(actor, Action::UserUnblocked, instance);
        event.user_id = Some(user_id.to_owned());
        let subject = Subject::User(user_id.to_owned());
        let _blocking = self.blocking.lock().await;
        let lifted = self.store.unblock(instance, &subject, &event).await?;
        self.of(instance).blocks().lift(&in_memory(subject));
        Ok(lifted)
    }

    /// Refuses one session token from now on, until its own end. `false`: whether every gateway does is not
    /// known.
    ///
    /// # Errors
    /// Where the store could not write it.
    pub async fn end_session(
        &self,
        instance: &str,
        session: &EndedSession,
        actor: &Actor,
    ) -> Result<bool, StoreError> {
        let mut event = about(actor, Action::SessionEnded, instance);
        event.user_id = Some(session.user_id.clone());
        let (subject, until) = (Subject::Session(session.digest), Some(session.until));
        let block = Block { instance: instance.to_owned(), subject, at: event.at, until, why: None };
        self.block(block, event).await
    }

    /// Accepts an ended session's token again, since its instance has just given it out anew. Tokens have no
    /// number of their own: who signs out and in within one second is given the same one.
    ///
    /// # Errors
    /// Where the store could not write it.
    pub async fn resume_session(&self, instance: &str, digest: [u8; 32]) -> Result<(), StoreError> {
        let keys = self.of(instance);
        if !keys.blocks().has_session(&digest, SystemTime::now()) {
            return Ok(());
        }
        let event = about(&Actor::gateway(), Action::SessionResumed, instance);
        let subject = Subject::Session(digest);
        let _blocking = self.blocking.lock().await;
        self.store.unblock(instance, &subject, &event).await?;
        keys.blocks().lift(&subject);
        Ok(())
    }

    async fn block(&self, block: Block, event: Event) -> Result<bool, StoreError> {
        let position = {
            let _blocking = self.blocking.lock().await;
            let position = self.store.block(&block, &event).await?;
            self.of(&block.instance).blocks().add(in_memory(block.subject), block.until);
            position
        };
        Ok(self.confirm(&position, Whom::Session).await)
    }

    /// Takes over what the store holds of blocked users and sessions.
    ///
    /// # Errors
    /// Where the store could not answer; what was known stays.
    pub async fn refresh_blocks(&self) -> Result<(), StoreError> {
        let _blocking = self.blocking.lock().await;
        let mut by_instance: HashMap<String, Vec<Block>> = HashMap::new();
        for block in self.store.blocks(SystemTime::now()).await? {
            let subject = in_memory(block.subject);
            by_instance.entry(block.instance.clone()).or_default().push(Block { subject, ..block });
        }
        for (name, keys) in self.all() {
            keys.blocks().replace(by_instance.remove(&*name).unwrap_or_default());
        }
        Ok(())
    }

    /// Forgets blocks that are over, here and in the store.
    ///
    /// # Errors
    /// Where the store could not do it.
    pub async fn forget_over(&self) -> Result<(), StoreError> {
        let now = SystemTime::now();
        for (_, keys) in self.all() {
            keys.blocks().forget_over(now);
        }
        self.store.blocks(now).await.map(|_| ())
    }

    /// The instances whose keys were asked for so far.
    pub(super) fn all(&self) -> Vec<(Arc<str>, Arc<Keys>)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().map(|(name, keys)| (Arc::clone(name), Arc::clone(keys))).collect()
    }
}

/// In memory, users go by the label that every request carries anyway.
pub(super) fn in_memory(subject: Subject) -> Subject {
    match subject {
        Subject::User(id) => Subject::User(Label::new(&id).as_str().to_owned()),
        Subject::Session(digest) => Subject::Session(digest),
    }
}
