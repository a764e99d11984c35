//! What the gateway does at an instance in a user's name: makes, lists and revokes their keys.
//!
//! Every question carries a session token minted for it, good for a minute. An answer that is not clear is
//! never taken for a no.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::InstanceSettings;
use super::openbin::{Created, KeyList, Me, Problem};
use crate::auth::Minter;
use crate::http::header::X_AUTH_METHOD;
use crate::keys::Token;
use crate::upstream;

const TOKEN_GOOD_FOR: Duration = Duration::from_secs(60);

/// The gateway's hands at one instance.
#[derive(Debug, Clone)]
pub struct Agent {
    upstream: upstream::Settings,
    minter: Option<Minter>,
}

/// In whose name something is done.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    /// The user's id.
    pub id: &'a str,
    /// Their e-mail address, where it is known; OpenBin writes it into its activity log.
    pub email: Option<&'a str>,
}

/// A key that an instance made.
#[derive(Debug)]
pub struct Made {
    /// The key.
    pub token: Token,
    /// Its id.
    pub id: String,
    /// Its name, as the instance keeps it.
    pub name: String,
}

/// Why an instance did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// No answer came, or none that can be understood: worth another try.
    #[error("the instance did not answer as expected: {0}")]
    Unclear(String),
    /// It refused, in its own words.
    #[error("the instance refused ({status}): {message}")]
    Refused {
        /// The status of its answer.
        status: StatusCode,
        /// The code of its error, such as `ACCOUNT_DELETED`.
        code: String,
        /// Its message.
        message: String,
    },
}

impl Agent {
    /// Acts at this instance.
    #[must_use]
    pub fn new(settings: &InstanceSettings) -> Self {
        let minter = settings.auth.jwt_secrets.first().map(Minter::new);
        Self { upstream: settings.upstream.clone(), minter }
    }

    /// The e-mail address of the user with this id.
    ///
    /// # Errors
    /// Where the instance did not say; it refuses where it has no such user.
    pub async fn email_of(&self, user_id: &str) -> Result<Option<String>, AgentError> {
        let owner = Owner { id: user_id, email: None };
        let answer = self.ask(owner, Method::GET, "/api/auth/me", Bytes::new()).await?;
        let me: Me = expect(&answer, StatusCode::OK)?;
        Ok(me.email)
    }

    /// Has the instance make a key.
    ///
    /// # Errors
    /// Where it did not.
    pub async fn make_key(&self, owner: Owner<'_>, name: &str) -> Result<Made, AgentError> {
        let content = serde_json::json!({ "name": name }).to_string();
        let answer = self.ask(owner, Method::POST, "/api/api-keys", Bytes::from(content)).await?;
        let created: Created = expect(&answer, StatusCode::CREATED)?;
        let token = Token::parse(&created.key)
            .ok_or_else(|| AgentError::Unclear("it made something that is not a key".to_owned()))?;
        Ok(Made { token, id: created.id, name: created.name })
    }

    /// Has the instance revoke a key; one that it does not have is as good as revoked.
    ///
    /// # Errors
    /// Where it did not.
    pub async fn revoke_key(&self, owner: Owner<'_>, id: &str) -> Result<(), AgentError> {
        let path = format!("/api/api-keys/{}", utf8_percent_encode(id, IN_A_SEGMENT));
        let answer = self.ask(owner, Method::DELETE, &path, Bytes::new()).await?;
        match refusal(&answer) {
            None => Ok(()),
            Some(AgentError::Refused { status: StatusCode::NOT_FOUND, code, .. }) if code == "NOT_FOUND" => {
                Ok(())
            }
            Some(error) => Err(error),
        }
    }

    /// Whether the owner has a key with this id there that is not revoked.
    ///
    /// # Errors
    /// Where the instance did not say.
    pub async fn has_key(&self, owner: Owner<'_>, id: &str) -> Result<bool, AgentError> {
        let answer = self.ask(owner, Method::GET, "/api/api-keys", Bytes::new()).await?;
        let listed: KeyList = expect(&answer, StatusCode::OK)?;
        Ok(listed.results.iter().any(|key| key.id == id))
    }

    async fn ask(
        &self,
        owner: Owner<'_>,
        method: Method,
        path: &str,
        content: Bytes,
    ) -> Result<Response<Bytes>, AgentError> {
        let unclear = |why: String| AgentError::Unclear(why);
        let minted = self.minter.as_ref().and_then(|minter| {
            let token = minter.mint(owner.id, owner.email, SystemTime::now(), TOKEN_GOOD_FOR)?;
            HeaderValue::try_from(format!("Bearer {}", *token)).ok()
        });
        let mut bearer = minted.ok_or_else(|| unclear("no session can be made".to_owned()))?;
        bearer.set_sensitive(true);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(AUTHORIZATION, bearer)
            .header(CONTENT_TYPE, "application/json")
            .header(X_AUTH_METHOD, "none")
            .body(Full::new(content))
            .map_err(|error| unclear(error.to_string()))?;
        upstream::ask(&self.upstream, request).await.map_err(|error| unclear(error.to_string()))
    }
}

/// What an answer of this status says; any other is a refusal, or not clear.
fn expect<T: serde::de::DeserializeOwned>(
    answer: &Response<Bytes>,
    status: StatusCode,
) -> Result<T, AgentError> {
    if let Some(error) = refusal(answer) {
        return Err(error);
    }
    if answer.status() != status {
        return Err(AgentError::Unclear(answer.status().to_string()));
    }
    let unreadable = |_| AgentError::Unclear("its answer cannot be read".to_owned());
    serde_json::from_slice(answer.body()).map_err(unreadable)
}

/// What an error is taken for; `None` where there is none. A server that fails or is busy has not refused.
fn refusal(answer: &Response<Bytes>) -> Option<AgentError> {
    let status = answer.status();
    if status.is_success() {
        return None;
    }
    let problem = serde_json::from_slice::<Problem>(answer.body()).ok();
    Some(match problem {
        Some(Problem { error, message }) if status.is_client_error() && status.as_u16() != 429 => {
            AgentError::Refused { status, code: error, message }
        }
        Some(_) | None => AgentError::Unclear(status.to_string()),
    })
}

/// What is encoded so that an id stays one segment of a path (RFC 3986 §2.3); dots, too, which alone would
/// lead elsewhere.
const IN_A_SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~');

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &'static str) -> Response<Bytes> {
        let mut answer = Response::new(Bytes::from_static(body.as_bytes()));
        *answer.status_mut() = StatusCode::from_u16(status).expect("status");
        answer
    }

    #[test]
    fn only_openbins_own_no_is_a_refusal() {
        let refused =
            |status, body| matches!(refusal(&answer(status, body)), Some(AgentError::Refused { .. }));
        assert!(refused(401, r#"{"error":"ACCOUNT_DELETED","message":"x"}"#));
        assert!(refused(404, r#"{"error":"NOT_FOUND","message":"x"}"#));
        assert!(!refused(404, "<html>"));
        assert!(!refused(429, r#"{"error":"RATE_LIMITED","message":"x"}"#));
        assert!(!refused(503, r#"{"error":"MAINTENANCE","message":"x"}"#));
        assert!(refusal(&answer(200, "{}")).is_none());
    }

    #[test]
    fn an_id_stays_one_segment() {
        let encoded = |id| utf8_percent_encode(id, IN_A_SEGMENT).to_string();
        assert_eq!(encoded("a-1"), "a-1");
        assert_eq!(encoded("../x?y"), "%2E%2E%2Fx%3Fy");
    }
}
