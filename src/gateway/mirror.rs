//! Learns from an instance's own answers which keys it makes and revokes.

use std::time::SystemTime;

use bytes::Bytes;
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::header::CONTENT_ENCODING;
use hyper::{Response, StatusCode};
use serde::Deserialize;

use super::plan::Instance;
use crate::auth::Identity;
use crate::http::Body;
use crate::keys::{Issuer, KeyRecord, Label, Revocation, RevokedBy, Token};
use crate::upstream::Exchange;

const MAX_ANSWER_BYTES: u64 = 64 * 1024;

/// A new key, in OpenBin's words: the only time that the key is shown.
#[derive(Deserialize)]
struct Created {
    id: String,
    key: zeroize::Zeroizing<String>,
    #[serde(default)]
    name: String,
}

/// Learns a key that an instance has just made. The answer goes on to the client byte for byte; a key that
/// cannot be learned now is adopted on its first use.
///
/// # Errors
/// Where the instance broke off within its answer.
pub(super) async fn created(
    instance: &Instance,
    owner: &Identity,
    response: Response<Body<Exchange>>,
) -> Result<Response<Body<Exchange>>, Broken> {
    let readable = response.status() == StatusCode::CREATED
        && !response.headers().contains_key(CONTENT_ENCODING)
        && response.body().size_hint().exact().is_some_and(|length| length <= MAX_ANSWER_BYTES);
    if !readable {
        return Ok(response);
    }
    let (head, body) = response.into_parts();
    let answer = body.collect().await.map_err(|_| Broken)?.to_bytes();
    learn(instance, owner, &answer).await;
    Ok(Response::from_parts(head, Body::Own(answer)))
}

/// The instance broke off within an answer that was to be read whole.
#[derive(Debug, Clone, Copy)]
pub(super) struct Broken;

async fn learn(instance: &Instance, owner: &Identity, answer: &Bytes) {
    let name = &*instance.name;
    let created = serde_json::from_slice::<Created>(answer).ok();
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
        revoked: None,
    };
    match instance.keys.learn(record).await {
        Ok(()) => tracing::info!(instance = name, key = token.prefix(), "key learned"),
        Err(error) => tracing::warn!(instance = name, key = token.prefix(), %error, "key not learned yet"),
    }
}

/// Refuses a key from now on that an instance has just revoked. Done before the client hears of it, so
/// that whoever was told that the key is dead finds it dead.
pub(super) async fn revoked(instance: &Instance, id: &str, status: StatusCode) {
    if status != StatusCode::OK {
        return;
    }
    let revocation = Revocation { at: SystemTime::now(), by: RevokedBy::Mirror };
    match instance.keys.revoke(id, revocation).await {
        Ok(()) => tracing::info!(instance = &*instance.name, key_id = id, "key revoked"),
        Err(error) => {
            tracing::error!(instance = &*instance.name, key_id = id, %error, "revocation not stored");
        }
    }
}
