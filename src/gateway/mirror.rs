//! Learns from an instance's own answers what becomes of its keys and sessions.
//!
//! What can be undone at the instance is left to it, since it judges every request itself: suspension, and
//! deletion with a period of grace. What cannot be undone is kept here, so that a restored backup of the
//! instance brings nothing back.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::header::{CONTENT_ENCODING, SET_COOKIE};
use hyper::{Response, StatusCode};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::agent::Owner;
use super::openbin::{Created, Problem};
use super::plan::Instance;
use super::route::Route;
use crate::auth::Identity;
use crate::http::Body;
use crate::keys::audit::{Action, Actor};
use crate::keys::{
    ActiveKey, EndedSession, Issuer, KeyRecord, Label, News, Policy, Reason, RevokedBy, StoreError, Token,
};
use crate::upstream::Exchange;

type Answer = Response<Body<Exchange>>;

const MAX_ANSWER_BYTES: u64 = 64 * 1024;

/// What a request does to keys or sessions, if the instance grants it.
pub(super) enum Effect {
    /// Makes a key.
    Creates,
    /// Revokes the key with this id.
    Revokes(String),
    /// Revokes all keys of this user.
    RevokesAllOf(String),
    /// Deletes this user, at once or later.
    Deletes(String),
    /// Signs the session out.
    SignsOut(EndedSession),
}

/// The instance broke off within an answer that was to be read whole.
#[derive(Debug, Clone, Copy)]
pub(super) struct Broken;

/// An account's end, in OpenBin's words.
#[derive(Deserialize)]
struct Deleted {
    message: String,
}

impl Effect {
    /// What a request on this route does; `None`: nothing that matters here.
    pub(super) fn of(route: &Route, identity: Option<&Identity>, instance: &Instance) -> Option<Self> {
        let identity = identity?;
        match route {
            Route::CreateKey => Some(Self::Creates),
            Route::RevokeKey(id) => Some(Self::Revokes(id.clone())),
            Route::RevokeAllKeys(user) => Some(Self::RevokesAllOf(user.clone())),
            Route::DeleteUser(user) => Some(Self::Deletes(user.clone())),
            Route::DeleteAccount => Some(Self::Deletes(identity.user_id().text())),
            Route::SignOut if instance.end_sessions => identity.ending().map(Self::SignsOut),
            Route::SignOut | Route::Open | Route::Protected | Route::ListKeys => None,
        }
    }

    /// Takes note of what the instance has done. Done before the client hears of it, so that whoever is
    /// told that a key is dead finds it dead.
    ///
    /// # Errors
    /// Where the instance broke off within its answer.
    pub(super) async fn take(
        self,
        instance: &Instance,
        identity: &Identity,
        actor: &Actor,
        answer: Answer,
    ) -> Result<Answer, Broken> {
        let (reason, keyring) = (Reason { by: RevokedBy::Mirror, why: None, actor }, &instance.keyring);
        let done = match self {
            Self::Creates => return created(instance, identity, actor, answer).await,
            Self::Deletes(user) => return deleted(instance, &user, reason, answer).await,
            _ if answer.status() != StatusCode::OK => return Ok(answer),
            Self::Revokes(id) => keyring.revoke(&instance.name, &id, reason).await.map(|_| ()),
            Self::RevokesAllOf(user) => {
                keyring.revoke_all_of(&instance.name, &user, reason).await.map(|_| ())
            }
            Self::SignsOut(session) => keyring.end_session(&instance.name, &session, actor).await.map(|_| ()),
        };
        report(instance, done);
        Ok(answer)
    }
}

/// The answer goes on to the client byte for byte; a key that cannot be learned now is adopted on its first use.
async fn created(
    instance: &Instance,
    owner: &Identity,
    actor: &Actor,
    answer: Answer,
) -> Result<Answer, Broken> {
    let (answer, content) = read(answer, StatusCode::CREATED).await?;
    if let Some(content) = content {
        learn(instance, owner, actor, &content).await;
    }
    Ok(answer)
}

async fn learn(instance: &Instance, owner: &Identity, actor: &Actor, content: &Bytes) {
    let name = &*instance.name;
    let created = serde_json::from_slice::<Created>(content).ok();
    let Some((created, token)) =
        created.and_then(|created| Token::parse(&created.key).map(|token| (created, token)))
    else {
        tracing::warn!(instance = name, "a new key was seen, but could not be read");
        return;
    };
    let record = KeyRecord {
        hash: token.hash(),
        id: created.id,
        instance: instance.name.clone(),
        user_id: owner.user_id().text(),
        user_email: owner.user_email().map(Label::text),
        name: created.name,
        prefix: token.prefix().to_owned(),
        issuer: Issuer::Openbin,
        created_at: Some(SystemTime::now()),
        last_used_at: None,
        last_used_over: None,
        policy: Policy::default(),
        revoked: None,
    };
    let news = News { record, most: None, action: Action::KeyLearned, actor };
    match instance.keys.learn(news).await {
        Ok(_) => tracing::info!(instance = name, key = token.prefix(), "key learned"),
        Err(error) => tracing::warn!(instance = name, key = token.prefix(), %error, "key not learned yet"),
    }
}

/// An account that is only to be deleted later can come back, and its keys with it.
async fn deleted(
    instance: &Instance,
    user: &str,
    reason: Reason<'_>,
    answer: Answer,
) -> Result<Answer, Broken> {
    let (answer, content) = read(answer, StatusCode::OK).await?;
    let deleted = content.and_then(|content| serde_json::from_slice::<Deleted>(&content).ok());
    let is_final = deleted.is_some_and(|deleted| deleted.message.ends_with(" deleted"));
    if is_final {
        let done = instance.keyring.revoke_all_of(&instance.name, user, reason).await;
        report(instance, done.map(|_| ()));
    }
    Ok(answer)
}

/// Looks whether an instance refuses a key that is good here because it does not have it any more. If so the
/// key is revoked here, too; that is found out beside the request, whose answer goes on as it is.
///
/// # Errors
/// Where the instance broke off within its answer.
pub(super) async fn refused(
    instance: &Arc<Instance>,
    identity: &Identity,
    answer: Answer,
) -> Result<Answer, Broken> {
    let (answer, content) = read(answer, StatusCode::UNAUTHORIZED).await?;
    let Some(key) = identity.shared_key() else { return Ok(answer) };
    let problem = content.and_then(|content| serde_json::from_slice::<Problem>(&content).ok());
    let is_unknown = problem.is_some_and(|problem| problem.names_an_unknown_key());
    if is_unknown && instance.may_look_into(&key.record.hash) {
        let instance = Arc::clone(instance);
        tokio::task::spawn_local(async move { confirm(&instance, &key).await });
    }
    Ok(answer)
}

/// Its owner's own list must say so: an instance that was started with an empty or another database knows
/// neither, and that is no reason to revoke anything for ever.
async fn confirm(instance: &Instance, key: &Arc<ActiveKey>) {
    let record = &key.record;
    let owner = Owner { id: &record.user_id, email: record.user_email.as_deref() };
    match instance.agent.has_key(owner, &record.id).await {
        Ok(true) => {}
        Ok(false) => {
            let why = Some("the instance does not have it any more");
            let reason = Reason { by: RevokedBy::Missing, why, actor: &Actor::gateway() };
            report(instance, instance.keyring.revoke(&instance.name, &record.id, reason).await.map(|_| ()));
        }
        Err(error) => {
            tracing::warn!(instance = &*instance.name, key_id = record.id, %error, "the instance refuses a key, and cannot say why");
        }
    }
}

/// Whether an instance may give out a session token with this, and it matters that it does.
pub(super) fn may_issue(instance: &Instance, answer: &Answer) -> bool {
    !instance.keys.blocks().is_empty() && answer.headers().contains_key(SET_COOKIE)
}

/// Takes note of a session token that an instance gives out.
pub(super) async fn issued(instance: &Instance, answer: &Answer) {
    for cookie in answer.headers().get_all(SET_COOKIE) {
        let Some(token) = cookie.as_bytes().strip_prefix(b"openbin-access=") else { continue };
        let token = token.split(|byte| *byte == b';').next().unwrap_or_default();
        let digest = Sha256::digest(token).into();
        report(instance, instance.keyring.resume_session(&instance.name, digest).await);
    }
}

/// Reads an answer of this status whole, if it can be read; it goes on as it came.
async fn read(answer: Answer, status: StatusCode) -> Result<(Answer, Option<Bytes>), Broken> {
    let is_readable = answer.status() == status
        && !answer.headers().contains_key(CONTENT_ENCODING)
        && answer.body().size_hint().exact().is_some_and(|length| length <= MAX_ANSWER_BYTES);
    if !is_readable {
        return Ok((answer, None));
    }
    let (head, body) = answer.into_parts();
    let content = body.collect().await.map_err(|_| Broken)?.to_bytes();
    Ok((Response::from_parts(head, Body::Own(content.clone())), Some(content)))
}

fn report(instance: &Instance, done: Result<(), StoreError>) {
    if let Err(error) = done {
        tracing::error!(instance = &*instance.name, %error, "what the instance has done is not stored");
    }
}
