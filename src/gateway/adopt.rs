//! Asks an instance whose key an unknown key is, with the key itself.
//!
//! Two questions: who its owner is, and which of the owner's keys begins like it. What cannot be answered
//! is never taken for a no.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::header::{AUTHORIZATION, HOST, HeaderValue, USER_AGENT};
use hyper::{Request, StatusCode};
use serde::de::DeserializeOwned;

use super::openbin::{KeyList, Me, Problem};
use super::plan::Instance;
use crate::auth::Denied;
use crate::http::RequestBody;
use crate::http::header::X_AUTH_METHOD;
use crate::keys::{Adoption, Issuer, KeyRecord, OwnerRefusal, Policy, Token, read_timestamp};
use crate::upstream::{Outbound, Upstream};

const PATIENCE: Duration = Duration::from_secs(5);
const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// Asks the instance about a key.
///
/// # Errors
/// [`Denied::InstanceUnavailable`] where the instance does not answer in a way that can be understood.
pub(super) async fn ask(
    upstream: &Rc<Upstream>,
    instance: &Instance,
    key: &Token,
) -> Result<Adoption, Denied> {
    match tokio::time::timeout(PATIENCE, questions(upstream, instance, key)).await {
        Ok(answer) => answer,
        Err(_) => Err(unclear(instance, key, "no answer in time")),
    }
}

async fn questions(upstream: &Rc<Upstream>, instance: &Instance, key: &Token) -> Result<Adoption, Denied> {
    let question = Question { upstream, instance, key };
    let me: Me = match question.put("/api/auth/me").await? {
        Said::Yes(me) => me,
        Said::No(adoption) => return Ok(adoption),
    };
    let list: KeyList = match question.put("/api/api-keys").await? {
        Said::Yes(list) => list,
        Said::No(adoption) => return Ok(adoption),
    };
    let mut alike = list.results.into_iter().filter(|listed| listed.key_prefix == key.prefix());
    let (Some(listed), None) = (alike.next(), alike.next()) else {
        return Err(unclear(
            instance,
            key,
            "the owner's list does not have exactly one key with this prefix",
        ));
    };
    tracing::info!(instance = &*instance.name, key = key.prefix(), "key adopted");
    Ok(Adoption::Owned(KeyRecord {
        hash: key.hash(),
        id: listed.id,
        instance: instance.name.clone(),
        user_id: me.id,
        user_email: me.email,
        name: listed.name,
        prefix: key.prefix().to_owned(),
        issuer: Issuer::Openbin,
        created_at: listed.created_at.as_deref().and_then(read_timestamp),
        last_used_at: None,
        last_used_over: None,
        policy: Policy::default(),
        revoked: None,
    }))
}

fn unclear(instance: &Instance, key: &Token, why: &str) -> Denied {
    tracing::warn!(instance = &*instance.name, key = key.prefix(), why, "cannot tell whose key this is");
    Denied::InstanceUnavailable
}

/// A question to an instance, asked with the key that it is about.
struct Question<'q> {
    upstream: &'q Rc<Upstream>,
    instance: &'q Instance,
    key: &'q Token,
}

/// What the instance said to a question.
enum Said<T> {
    Yes(T),
    No(Adoption),
}

impl Question<'_> {
    async fn put<T: DeserializeOwned>(&self, path: &'static str) -> Result<Said<T>, Denied> {
        let unclear = |why: &str| unclear(self.instance, self.key, why);
        let request = self.request(path).ok_or_else(|| unclear("the question cannot be written"))?;
        let response =
            self.upstream.send(&mut Some(request)).await.map_err(|error| unclear(&error.to_string()))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES);
        let body = body.collect().await.map_err(|_| unclear("the answer broke off or was too long"))?;
        let body = body.to_bytes();
        if status == StatusCode::OK {
            let answer =
                serde_json::from_slice(&body).map_err(|_| unclear("the answer is not as expected"))?;
            return Ok(Said::Yes(answer));
        }
        refusal(status, &body).map(Said::No).ok_or_else(|| unclear(status.as_str()))
    }

    fn request(&self, path: &'static str) -> Option<Outbound> {
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", self.key.expose())).ok()?;
        bearer.set_sensitive(true);
        let request = Request::get(path)
            .header(HOST, self.upstream.settings().authority.as_str())
            .header(USER_AGENT, concat!("openbin-gateway/", env!("CARGO_PKG_VERSION")))
            .header(X_AUTH_METHOD, "none")
            .header(AUTHORIZATION, bearer)
            .body(RequestBody::own(Bytes::new()))
            .ok()?;
        Some(Outbound::new(request, |_| ()))
    }
}

/// What a status and an error body of OpenBin's mean for the key; `None` where they tell nothing of it.
fn refusal(status: StatusCode, body: &[u8]) -> Option<Adoption> {
    let problem = serde_json::from_slice::<Problem>(body).ok()?;
    match (status.as_u16(), problem.error.as_str()) {
        (401, _) if problem.names_an_unknown_key() => Some(Adoption::Unknown),
        (401, "ACCOUNT_DELETED") => Some(Adoption::Refused(OwnerRefusal::AccountDeleted)),
        (403, "ACCOUNT_SUSPENDED") => Some(Adoption::Refused(OwnerRefusal::AccountSuspended)),
        (403, "PLAN_RESTRICTED") => Some(Adoption::Refused(OwnerRefusal::PlanRestricted)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_no_is_taken_for_a_no() {
        let said =
            |status, body: &str| refusal(StatusCode::from_u16(status).expect("status"), body.as_bytes());
        let invalid = r#"{"error":"UNAUTHORIZED","message":"Invalid API key"}"#;
        assert!(matches!(said(401, invalid), Some(Adoption::Unknown)));
        let database = r#"{"error":"UNAUTHORIZED","message":"Authentication failed"}"#;
        assert!(said(401, database).is_none());
        let suspended = r#"{"error":"ACCOUNT_SUSPENDED","message":"x"}"#;
        assert!(matches!(said(403, suspended), Some(Adoption::Refused(OwnerRefusal::AccountSuspended))));
        assert!(said(503, r#"{"error":"MAINTENANCE","message":"x"}"#).is_none());
        assert!(said(401, "<html>").is_none());
        assert!(said(404, invalid).is_none());
    }
}
