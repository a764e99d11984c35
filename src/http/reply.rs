//! The only place where a status and an error body of the gateway's own are chosen.
//!
//! Bodies have OpenBin's envelope `{"error": CODE, "message": …}` and, where OpenBin has one, its text:
//! its web page shows `message` to the user, and over HTTP/2 has nothing else to show.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CACHE_CONTROL, CONTENT_TYPE,
    HeaderMap, HeaderValue, ORIGIN, RETRY_AFTER, VARY, WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};

use super::Body;

/// Everything that the gateway answers itself instead of forwarding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A protected route without a credential.
    NoToken,
    /// A session token that does not verify, or has expired.
    InvalidToken,
    /// An API key that is malformed, unknown or revoked.
    InvalidApiKey,
    /// An API key whose time is over.
    ExpiredApiKey,
    /// An API key that an operator has disabled.
    DisabledApiKey,
    /// An API key that may not be used from the client's address.
    ForeignAddress,
    /// An API key that may not do this (RFC 6750 §3.1).
    InsufficientScope,
    /// A session that was ended before its time.
    SessionRevoked,
    /// The credential's owner no longer exists at the instance.
    AccountDeleted,
    /// The credential's owner is suspended at the instance.
    AccountSuspended,
    /// The instance's plan does not include API keys.
    PlanRestricted,
    /// A request with a session cookie does not repeat the CSRF cookie in `X-CSRF-Token`.
    InvalidCsrf,
    /// The owner has as many API keys as OpenBin allows.
    TooManyKeys,
    /// The owner has no such API key.
    NoSuchKey,
    /// The content is compressed, where the gateway itself must read it.
    CompressedContent,
    /// The request cannot be understood in only one way; the text says why.
    Ambiguous(&'static str),
    /// `CONNECT` or `TRACE`.
    MethodNotAllowed,
    /// No instance is configured for this authority (RFC 9110 §15.5.20).
    Misdirected,
    /// The content is longer than the configured limit.
    ContentTooLarge,
    /// The content came too slowly.
    ContentTooSlow,
    /// The request target is longer than the configured limit.
    TargetTooLong,
    /// The head of the request is longer than the configured limit, or has more fields.
    HeadTooLarge,
    /// The content has a transfer coding that is not understood here (RFC 9112 §6.1).
    UnknownCoding,
    /// A limit was reached.
    RateLimited {
        /// When to try again; told in whole seconds, rounded up, at least one.
        retry_after: Duration,
    },
    /// The key store cannot answer.
    StoreUnavailable,
    /// The instance could not be reached, or broke off before it answered.
    UpstreamUnavailable,
    /// The instance did not answer in time.
    UpstreamTimeout,
    /// Nothing is here (admin listener).
    NotFound,
    /// The admin listener's own credential is missing or wrong.
    AdminUnauthorized,
    /// The admin API has no token, so nobody may use it.
    AdminClosed,
    /// The gateway itself is at fault.
    Internal,
}

/// What a refusal looks like to the client.
struct Shape {
    status: StatusCode,
    code: &'static str,
    message: &'static str,
    challenge: Option<&'static str>,
    retry_after: Option<Duration>,
}

impl Refusal {
    /// The status that this refusal is answered with.
    #[must_use]
    pub fn status(self) -> StatusCode {
        self.shape().status
    }

    fn shape(self) -> Shape {
        let (status, code, message) = self.words();
        Shape {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            code,
            message,
            challenge: self.challenge(),
            retry_after: self.retry_after(),
        }
    }

    fn words(self) -> (u16, &'static str, &'static str) {
        const UNREACHABLE: &str = "OpenBin cannot be reached right now, please try again";
        const UNCHECKED: &str = "API keys cannot be checked right now, please try again";
        const COMPRESSED: &str = "Compressed content is not supported here";
        const REVOKED: &str = "Session has been revoked. Please log in again.";
        match self {
            Self::NoToken => (401, "UNAUTHORIZED", "No token provided"),
            Self::InvalidToken => (401, "UNAUTHORIZED", "Invalid token"),
            Self::InvalidApiKey => (401, "UNAUTHORIZED", "Invalid API key"),
            Self::ExpiredApiKey => (401, "UNAUTHORIZED", "API key has expired"),
            Self::DisabledApiKey => (403, "FORBIDDEN", "API key is disabled"),
            Self::ForeignAddress => (403, "FORBIDDEN", "API key may not be used from this address"),
            Self::InsufficientScope => (403, "FORBIDDEN", "API key may not be used for this"),
            Self::SessionRevoked => (401, "SESSION_REVOKED", REVOKED),
            Self::AccountDeleted => (401, "ACCOUNT_DELETED", "This account has been deleted"),
            Self::AccountSuspended => (403, "ACCOUNT_SUSPENDED", "This account has been suspended"),
            Self::PlanRestricted => (403, "PLAN_RESTRICTED", "API key access requires a Pro plan"),
            Self::InvalidCsrf => (403, "CSRF_INVALID", "Invalid or missing CSRF token"),
            Self::TooManyKeys => (422, "VALIDATION_ERROR", "Maximum 10 active API keys allowed"),
            Self::NoSuchKey => (404, "NOT_FOUND", "API key not found"),
            Self::CompressedContent => (415, "UNSUPPORTED_MEDIA_TYPE", COMPRESSED),
            Self::Ambiguous(why) => (400, "BAD_REQUEST", why),
            Self::MethodNotAllowed => (405, "METHOD_NOT_ALLOWED", "This method is not supported"),
            Self::Misdirected => (421, "MISDIRECTED_REQUEST", "No instance is configured for this host"),
            Self::ContentTooLarge => (413, "PAYLOAD_TOO_LARGE", "The request is too large"),
            Self::ContentTooSlow => (408, "REQUEST_TIMEOUT", "The request was sent too slowly"),
            Self::TargetTooLong => (414, "URI_TOO_LONG", "The request address is too long"),
            Self::HeadTooLarge => (431, "HEADERS_TOO_LARGE", "The request headers are too large"),
            Self::UnknownCoding => (501, "NOT_IMPLEMENTED", "This transfer coding is not supported"),
            Self::RateLimited { .. } => (429, "RATE_LIMITED", "Too many requests, please try again later"),
            Self::StoreUnavailable => (503, "STORE_UNAVAILABLE", UNCHECKED),
            Self::UpstreamUnavailable => (502, "UPSTREAM_UNAVAILABLE", UNREACHABLE),
            Self::UpstreamTimeout => (504, "UPSTREAM_TIMEOUT", "OpenBin did not answer in time"),
            Self::NotFound => (404, "NOT_FOUND", "Endpoint not found"),
            Self::AdminUnauthorized => (401, "UNAUTHORIZED", "Admin token missing or wrong"),
            Self::AdminClosed => (403, "FORBIDDEN", "The admin API needs a token: set admin.token_file"),
            Self::Internal => (500, "INTERNAL_ERROR", "Internal server error"),
        }
    }

    /// RFC 6750 §3.
    fn challenge(self) -> Option<&'static str> {
        if self == Self::NoToken || self == Self::AdminUnauthorized {
            return Some(r#"Bearer realm="openbin""#);
        }
        if self == Self::InsufficientScope {
            return Some(r#"Bearer realm="openbin", error="insufficient_scope""#);
        }
        (self.words().0 == 401).then_some(r#"Bearer realm="openbin", error="invalid_token""#)
    }

    fn retry_after(self) -> Option<Duration> {
        if let Self::RateLimited { retry_after } = self {
            return Some(retry_after);
        }
        (self == Self::StoreUnavailable).then_some(Duration::from_secs(1))
    }
}

/// The origin whose pages may read the gateway's own replies, as OpenBin's `CORS_ORIGIN` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors(HeaderValue);

impl Cors {
    /// Takes an origin such as `https://bins.example.com`; `None` where it cannot be a header value.
    #[must_use]
    pub fn new(origin: &str) -> Option<Self> {
        HeaderValue::from_str(origin).ok().map(Self)
    }

    fn write(&self, headers: &mut HeaderMap) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, self.0.clone());
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(VARY, HeaderValue::from(ORIGIN));
    }
}

/// Builds the response to a refused request.
pub fn reply<U>(refusal: Refusal, cors: Option<&Cors>) -> Response<Body<U>> {
    let shape = refusal.shape();
    let body = format!(r#"{{"error":"{}","message":"{}"}}"#, shape.code, shape.message);
    let mut response = Response::new(Body::Own(Bytes::from(body)));
    *response.status_mut() = shape.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(challenge) = shape.challenge {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    if let Some(after) = shape.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(after)));
    }
    if refusal == Refusal::MethodNotAllowed {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    }
    if let Some(cors) = cors {
        cors.write(headers);
    }
    response
}

/// A time to wait as `Retry-After` and `RateLimit` tell it (RFC 9110 §10.2.3): never too short, never none.
#[must_use]
pub fn whole_seconds(time: Duration) -> u64 {
    let begun = u64::from(time.subsec_nanos() > 0);
    time.as_secs().saturating_add(begun).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body_text(response: Response<Body<Body<hyper::body::Incoming>>>) -> String {
        match response.into_body() {
            Body::Own(bytes) => String::from_utf8(bytes.to_vec()).expect("UTF-8"),
            Body::Upstream(_) => panic!("a refusal is the gateway's own"),
        }
    }

    #[test]
    fn refusals_have_openbins_envelope_and_texts() {
        let response = reply(Refusal::NoToken, None);
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(body_text(response), r#"{"error":"UNAUTHORIZED","message":"No token provided"}"#);
    }

    #[test]
    fn every_401_carries_a_bearer_challenge() {
        for refusal in [Refusal::NoToken, Refusal::InvalidToken, Refusal::InvalidApiKey] {
            let response: Response<Body<Body<hyper::body::Incoming>>> = reply(refusal, None);
            let challenge = response.headers().get(WWW_AUTHENTICATE).expect("challenge");
            assert!(challenge.to_str().expect("text").starts_with("Bearer "));
        }
    }

    #[test]
    fn store_trouble_is_503_with_retry_after_and_never_401() {
        let response: Response<Body<Body<hyper::body::Incoming>>> = reply(Refusal::StoreUnavailable, None);
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(response.headers().contains_key(RETRY_AFTER));
        assert!(!response.headers().contains_key(WWW_AUTHENTICATE));
    }

    #[test]
    fn a_reached_limit_is_429_and_says_when_to_come_back() {
        for (time, told) in [(0, "1"), (1, "1"), (1_000, "1"), (1_001, "2"), (60_000, "60")] {
            let refusal = Refusal::RateLimited { retry_after: Duration::from_millis(time) };
            let response: Response<Body<Body<hyper::body::Incoming>>> = reply(refusal, None);
            assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
            assert_eq!(response.headers()[RETRY_AFTER], told);
            assert!(!response.headers().contains_key(WWW_AUTHENTICATE));
            let body = r#"{"error":"RATE_LIMITED","message":"Too many requests, please try again later"}"#;
            assert_eq!(body_text(response), body);
        }
    }

    #[test]
    fn the_configured_origin_can_read_a_refusal() {
        let cors = Cors::new("https://bins.example.com").expect("origin");
        let response: Response<Body<Body<hyper::body::Incoming>>> = reply(Refusal::InvalidToken, Some(&cors));
        assert_eq!(response.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "https://bins.example.com");
        assert_eq!(response.headers()[VARY], "origin");
    }
}
