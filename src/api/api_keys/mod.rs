//! `/api/api-keys` as OpenBin answers it, from the gateway's own keys: an owner lists, makes and revokes
//! theirs.
//!
//! Byte for byte OpenBin's, its odd cases included, since its own Settings page reads the answers. Judges
//! no credential and no CSRF token: whoever calls this has done so.

mod content;
mod entity;
mod media;
mod text;

use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::HeaderMap;
use serde::Serialize;

use crate::auth::Identity;
use crate::http::Refusal;
use crate::keys::audit::Actor;
use crate::keys::{
    KeyError, KeyRecord, Keyring, LONGEST_NAME, Label, MOST_KEYS, NewKey, Policy, Reason, RevokedBy,
    StoreError, UsageShard, write_timestamp,
};
use content::Name;

pub use content::MAX_JSON_BYTES;
pub use entity::{Entity, Wearing};

/// What an owner wants of their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// To see them.
    List,
    /// A new one.
    Create,
    /// One gone: the one with this id.
    Revoke(String),
}

/// A request's content, as far as OpenBin's body parsers read it.
#[derive(Debug)]
pub struct Content(Name);

/// Where an owner's wishes are granted: the keys of one instance.
pub struct Counter<'a> {
    /// All keys.
    pub keyring: &'a Keyring,
    /// What is not written yet of their use.
    pub usage: &'a UsageShard,
    /// The instance.
    pub instance: &'a Arc<str>,
}

/// Who wishes.
#[derive(Clone, Copy)]
pub struct Owner<'a> {
    /// Whose keys are meant.
    pub identity: &'a Identity,
    /// The same, as the audit chain names them.
    pub actor: &'a Actor,
}

impl Content {
    /// Reads a request's content; `bytes` is one byte longer than [`MAX_JSON_BYTES`] where there was more.
    ///
    /// # Errors
    /// Where OpenBin could not read it either, or it is compressed.
    pub fn read(headers: &HeaderMap, bytes: &[u8]) -> Result<Self, Refusal> {
        content::name(headers, bytes).map(Self)
    }
}

/// A list, in OpenBin's words.
#[derive(Serialize)]
struct List<'a> {
    results: Vec<Row<'a>>,
    count: usize,
}

#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    key_prefix: &'a str,
    name: &'a str,
    created_at: Option<String>,
    last_used_at: Option<String>,
    revoked_at: Option<String>,
}

impl Counter<'_> {
    /// Grants a wish.
    ///
    /// # Errors
    /// Where OpenBin would refuse it, or the store cannot do it.
    pub async fn grant(&self, wish: Wish, content: Content, owner: Owner<'_>) -> Result<Entity, Refusal> {
        match wish {
            Wish::List => self.list(owner).await,
            Wish::Create => self.create(content.0, owner).await,
            Wish::Revoke(id) => self.revoke(&id, owner).await,
        }
    }

    async fn list(&self, owner: Owner<'_>) -> Result<Entity, Refusal> {
        let unwritten = self.usage.unwritten().await;
        let records = self.keys_of(owner).await?;
        let row = |record: &KeyRecord| {
            let unwritten = unwritten.last_use(self.instance, &record.hash);
            record.last_used_at.max(unwritten).and_then(write_timestamp)
        };
        let used: Vec<_> = records.iter().map(row).collect();
        drop(unwritten);
        let results: Vec<_> = records.iter().zip(used).map(|(record, used)| Row::new(record, used)).collect();
        let list = List { count: results.len(), results };
        serde_json::to_string(&list)
            .map(|text| Entity::new(StatusCode::OK, text))
            .map_err(|_| Refusal::Internal)
    }

    async fn keys_of(&self, owner: Owner<'_>) -> Result<Vec<KeyRecord>, Refusal> {
        let user = owner.identity.user_id().text();
        self.keyring.keys_of(self.instance, &user).await.map_err(of_store)
    }

    async fn create(&self, name: Name, owner: Owner<'_>) -> Result<Entity, Refusal> {
        let name = match name {
            Name::Text(name) => name.trimmed_and_cut(LONGEST_NAME),
            // OpenBin counts the keys before it trips over the name.
            Name::NotText if self.keys_of(owner).await?.len() >= MOST_KEYS => {
                return Err(Refusal::TooManyKeys);
            }
            Name::NotText => return Err(Refusal::Internal),
        };
        let new = NewKey {
            instance: Arc::clone(self.instance),
            user_id: owner.identity.user_id().text(),
            user_email: owner.identity.user_email().map(Label::text),
            name: name.utf8(),
            policy: Policy::default(),
        };
        let issued = self.keyring.issue(new, owner.actor).await.map_err(refusal)?;
        tracing::info!(instance = &**self.instance, key = issued.token.prefix(), "key issued");
        let text = format!(
            r#"{{"id":"{}","key":"{}","keyPrefix":"{}","name":{}}}"#,
            issued.record.id,
            issued.token.expose(),
            issued.token.prefix(),
            name.json()
        );
        Ok(Entity::new(StatusCode::CREATED, text))
    }

    /// What is not the owner's, or not alive, is as unknown to them as what never was. Nothing is written
    /// of it: a tombstone is for keys only.
    async fn revoke(&self, id: &str, owner: Owner<'_>) -> Result<Entity, Refusal> {
        let user = owner.identity.user_id().text();
        let known = self.keyring.ledger().with_id(self.instance, id).await.map_err(of_store)?;
        if !known.iter().any(|record| record.user_id == user && record.revoked.is_none()) {
            return Err(Refusal::NoSuchKey);
        }
        let reason = Reason { by: RevokedBy::Owner, why: None, actor: owner.actor };
        let felt = self.keyring.revoke(self.instance, id, reason).await.map_err(of_store)?;
        Ok(if felt.everywhere {
            Entity::new(StatusCode::OK, r#"{"message":"API key revoked"}"#)
        } else {
            Entity::new(StatusCode::ACCEPTED, r#"{"message":"API key revoked","propagated":false}"#)
        })
    }
}

impl<'a> Row<'a> {
    fn new(record: &'a KeyRecord, last_used_at: Option<String>) -> Self {
        Self {
            id: &record.id,
            key_prefix: &record.prefix,
            name: &record.name,
            created_at: record.created_at.and_then(write_timestamp),
            last_used_at,
            revoked_at: None,
        }
    }
}

fn refusal(error: KeyError) -> Refusal {
    match error {
        KeyError::Store(error) => of_store(error),
        KeyError::TooMany => Refusal::TooManyKeys,
        KeyError::LongName
        | KeyError::Missing
        | KeyError::Revoked
        | KeyError::Policy(_)
        | KeyError::Contended => {
            tracing::error!(%error, "a key was not issued");
            Refusal::Internal
        }
    }
}

fn of_store(error: StoreError) -> Refusal {
    tracing::warn!(%error, "the key store did not do what an owner asked for");
    Refusal::StoreUnavailable
}
