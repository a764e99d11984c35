//! Users and sessions that are refused, whatever they present.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use super::{EndedSession, Keyring, about};
use crate::keys::audit::{Action, Actor, Event};
use crate::keys::block::{Block, Subject};
use crate::keys::{Label, StoreError};

impl Keyring {
    /// Refuses all keys and sessions of a user, from now on.
    ///
    /// # Errors
    /// Where the store could not write it; nothing is refused then.
    pub async fn block_user(
        &self,
        instance: &str,
        user_id: &str,
        why: Option<&str>,
        actor: &Actor,
    ) -> Result<(), StoreError> {
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

    /// Refuses one session token from now on, until its own end.
    ///
    /// # Errors
    /// Where the store could not write it.
    pub async fn end_session(
        &self,
        instance: &str,
        session: &EndedSession,
        actor: &Actor,
    ) -> Result<(), StoreError> {
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

    async fn block(&self, block: Block, event: Event) -> Result<(), StoreError> {
        let _blocking = self.blocking.lock().await;
        self.store.block(&block, &event).await?;
        self.of(&block.instance).blocks().add(in_memory(block.subject), block.until);
        Ok(())
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
        let known: Vec<_> = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.iter().map(|(name, keys)| (Arc::clone(name), Arc::clone(keys))).collect()
        };
        for (name, keys) in known {
            keys.blocks().replace(by_instance.remove(&*name).unwrap_or_default());
        }
        Ok(())
    }
}

/// In memory, users go by the label that every request carries anyway.
fn in_memory(subject: Subject) -> Subject {
    match subject {
        Subject::User(id) => Subject::User(Label::new(&id).as_str().to_owned()),
        Subject::Session(digest) => Subject::Session(digest),
    }
}
