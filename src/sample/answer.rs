//! How the sample answers: JSON, the fixed error bodies, and the header fields that OpenBin puts on everything.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_REQUEST_HEADERS, CACHE_CONTROL, CONTENT_LENGTH,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH,
    REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, VARY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::{Method, Response, StatusCode};
use serde::Serialize;

use super::body::SampleBody;

pub(super) type Answer = Response<SampleBody>;

/// The error bodies of OpenBin that a gateway's client may meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    NoToken,
    InvalidToken,
    InvalidApiKey,
    /// Keys cannot be looked up: a 401, although it is the server's fault.
    LookupFailed,
    SessionRevoked,
    AccountDeleted,
    AccountSuspended,
    PlanRestricted,
    Csrf,
    /// 401 with another text.
    Unauthorized(&'static str),
    /// 403 with another text.
    Forbidden(&'static str),
    Conflict(&'static str),
    Invalid(&'static str),
    TooLarge,
    NotFound(&'static str),
    Maintenance(String),
    Internal,
}

impl Fault {
    fn parts(&self) -> (u16, &'static str, &str) {
        match self {
            Self::NoToken => (401, "UNAUTHORIZED", "No token provided"),
            Self::InvalidToken => (401, "UNAUTHORIZED", "Invalid token"),
            Self::InvalidApiKey => (401, "UNAUTHORIZED", "Invalid API key"),
            Self::LookupFailed => (401, "UNAUTHORIZED", "Authentication failed"),
            Self::SessionRevoked => {
                (401, "SESSION_REVOKED", "Session has been revoked. Please log in again.")
            }
            Self::AccountDeleted => (401, "ACCOUNT_DELETED", "This account has been deleted"),
            Self::AccountSuspended => (403, "ACCOUNT_SUSPENDED", "This account has been suspended"),
            Self::PlanRestricted => (403, "PLAN_RESTRICTED", "API key access requires a Pro plan"),
            Self::Csrf => (403, "CSRF_INVALID", "Invalid or missing CSRF token"),
            Self::Unauthorized(message) => (401, "UNAUTHORIZED", message),
            Self::Forbidden(message) => (403, "FORBIDDEN", message),
            Self::Conflict(message) => (409, "CONFLICT", message),
            Self::Invalid(message) => (422, "VALIDATION_ERROR", message),
            Self::TooLarge => (413, "PAYLOAD_TOO_LARGE", "File is too large"),
            Self::NotFound(message) => (404, "NOT_FOUND", message),
            Self::Maintenance(message) => (503, "MAINTENANCE", message),
            Self::Internal => (500, "INTERNAL_ERROR", "Internal server error"),
        }
    }
}

impl From<Fault> for Answer {
    fn from(fault: Fault) -> Self {
        #[derive(Serialize)]
        struct Envelope<'a> {
            error: &'a str,
            message: &'a str,
        }
        let (status, error, message) = fault.parts();
        json(status, &Envelope { error, message })
    }
}

/// A JSON answer.
pub(super) fn json(status: u16, value: &impl Serialize) -> Answer {
    let text = serde_json::to_string(value).unwrap_or_default();
    bytes(status, "application/json; charset=utf-8", text)
}

/// `{"message": …}`.
pub(super) fn message(text: &str) -> Answer {
    #[derive(Serialize)]
    struct Message<'a> {
        message: &'a str,
    }
    json(200, &Message { message: text })
}

/// An answer whose bytes are all there.
pub(super) fn bytes(status: u16, content_type: &'static str, text: impl Into<bytes::Bytes>) -> Answer {
    let mut answer = streamed(content_type, SampleBody::bytes(text));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer
}

/// A 200 whose body streams.
pub(super) fn streamed(content_type: &'static str, body: SampleBody) -> Answer {
    let mut answer = Response::new(body);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// The answer to `OPTIONS` on any path: the CORS middleware never looks further.
pub(super) fn preflight(request: &HeaderMap) -> Answer {
    let mut answer = Response::new(SampleBody::bytes(""));
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let headers = answer.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET,POST,PUT,DELETE,PATCH"));
    if let Some(wanted) = request.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    answer
}

/// Fields that OpenBin puts on every response.
#[derive(Debug)]
pub(super) struct Dress {
    pub(super) origin: HeaderValue,
    /// Behind a trusted proxy OpenBin asks for HTTPS for ever.
    pub(super) trust_proxy: bool,
}

impl Dress {
    /// Adds the fields that are on everything, the entity tag, and turns the answer into what `HEAD` and
    /// `If-None-Match` make of it.
    pub(super) fn put_on(&self, answer: Answer, method: &Method, request: &HeaderMap) -> Answer {
        let (mut parts, body) = answer.into_parts();
        let mut headers = self.common();
        headers.extend(std::mem::take(&mut parts.headers));
        parts.headers = headers;
        let Some(content) = body.as_bytes() else {
            let body = if method == Method::HEAD { SampleBody::bytes("") } else { body };
            return Response::from_parts(parts, body);
        };
        if content.is_empty() {
            return Response::from_parts(parts, body);
        }
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(content.len()));
        let tag = entity_tag(content);
        let fresh = parts.status == StatusCode::OK && is_safe(method) && matches(request, &tag);
        parts.headers.insert(ETAG, HeaderValue::from_str(&tag).unwrap_or(HeaderValue::from_static("")));
        if fresh {
            parts.status = StatusCode::NOT_MODIFIED;
            parts.headers.remove(CONTENT_TYPE);
            parts.headers.remove(CONTENT_LENGTH);
        }
        let empty = fresh || method == Method::HEAD;
        Response::from_parts(parts, if empty { SampleBody::bytes("") } else { body })
    }

    fn common(&self) -> HeaderMap {
        const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
        let mut headers = HeaderMap::new();
        let mut put = |name, value| headers.insert(name, HeaderValue::from_static(value));
        put(X_CONTENT_TYPE_OPTIONS, "nosniff");
        put(REFERRER_POLICY, "strict-origin-when-cross-origin");
        put(PERMISSIONS_POLICY, "camera=(self), microphone=(self)");
        put(X_FRAME_OPTIONS, "DENY");
        if self.trust_proxy {
            put(STRICT_TRANSPORT_SECURITY, "max-age=63072000; includeSubDomains");
        }
        put(
            CONTENT_SECURITY_POLICY,
            "default-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'",
        );
        put(VARY, "Origin, Accept-Encoding");
        put(ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, self.origin.clone());
        headers
    }
}

fn is_safe(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

/// The weak tag that Express gives: the length in hexadecimal and a SHA-1 in base64.
fn entity_tag(content: &[u8]) -> String {
    let sha1 = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, content);
    format!("W/\"{:x}-{}\"", content.len(), STANDARD_NO_PAD.encode(sha1))
}

fn matches(request: &HeaderMap, tag: &str) -> bool {
    let no_cache = request.get(CACHE_CONTROL).is_some_and(|value| value.as_bytes().starts_with(b"no-cache"));
    let Some(wanted) = request.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()) else { return false };
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    !no_cache && wanted.split(',').any(|one| one.trim() == "*" || opaque(one) == opaque(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dress() -> Dress {
        Dress { origin: HeaderValue::from_static("http://localhost:5173"), trust_proxy: true }
    }

    fn health(request: &HeaderMap, method: &Method) -> Answer {
        dress().put_on(bytes(200, "application/json; charset=utf-8", r#"{"status":"ok"}"#), method, request)
    }

    #[test]
    fn json_has_the_weak_tag_that_express_gives() {
        let answer = health(&HeaderMap::new(), &Method::GET);
        assert_eq!(answer.headers()[ETAG], "W/\"f-VaSQ4oDUiZblZNAEkkN+sX+q3Sg\"");
        assert_eq!(answer.headers()[CONTENT_LENGTH], "15");
        assert_eq!(answer.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "http://localhost:5173");
        assert!(answer.headers().contains_key(STRICT_TRANSPORT_SECURITY));
    }

    #[test]
    fn a_known_tag_is_answered_304_without_content() {
        let mut request = HeaderMap::new();
        request.insert(IF_NONE_MATCH, HeaderValue::from_static("\"x\", \"f-VaSQ4oDUiZblZNAEkkN+sX+q3Sg\""));
        let answer = health(&request, &Method::GET);
        assert_eq!(answer.status(), StatusCode::NOT_MODIFIED);
        assert!(answer.body().as_bytes().is_some_and(bytes::Bytes::is_empty));
        request.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        assert_eq!(health(&request, &Method::GET).status(), StatusCode::OK);
    }

    #[test]
    fn head_keeps_the_length_and_drops_the_content() {
        let answer = health(&HeaderMap::new(), &Method::HEAD);
        assert_eq!(answer.headers()[CONTENT_LENGTH], "15");
        assert!(answer.body().as_bytes().is_some_and(bytes::Bytes::is_empty));
    }

    #[test]
    fn faults_have_openbins_envelope_in_its_order_and_no_challenge() {
        let answer = Answer::from(Fault::SessionRevoked);
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        assert!(!answer.headers().contains_key("www-authenticate"));
        assert_eq!(
            answer.body().as_bytes().expect("bytes"),
            r#"{"error":"SESSION_REVOKED","message":"Session has been revoked. Please log in again."}"#
        );
    }
}
