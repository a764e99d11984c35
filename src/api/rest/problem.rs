//! Why a call of the admin API is not answered as asked, and how that is said.

use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};

use super::desk::DeskError;
use crate::keys::{KeyError, PolicyError, StoreError};

/// A call that cannot be answered as asked.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Problem {
    /// The call cannot be understood (400).
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: "BAD_REQUEST", message: message.into() }
    }

    /// The call is understood, and a rule forbids it (422).
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, code: "VALIDATION_ERROR", message: message.into() }
    }

    /// A whole key stands where it would be kept, or repeated (400).
    pub(super) fn misplaced_key() -> Self {
        Self::bad(
            "a whole API key stands where none belongs, and nothing was done; only POST /keys/find takes one, \
             as its key",
        )
    }

    /// There is no such thing (404).
    pub(super) fn missing(message: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, code: "NOT_FOUND", message: message.into() }
    }

    /// It is in a state in which that cannot be done (409).
    pub(super) fn conflict(message: impl Into<String>) -> Self {
        Self { status: StatusCode::CONFLICT, code: "CONFLICT", message: message.into() }
    }

    /// This path has other methods (405).
    pub(super) fn method() -> Self {
        let message = "This method is not supported here".to_owned();
        Self { status: StatusCode::METHOD_NOT_ALLOWED, code: "METHOD_NOT_ALLOWED", message }
    }

    pub(super) fn response(&self) -> Response<Bytes> {
        let content = serde_json::json!({ "error": self.code, "message": self.message }).to_string();
        let mut response = json(self.status, content);
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// An answer of JSON that nobody may store.
pub(super) fn json(status: StatusCode, content: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(content));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let (status, code) = match error {
            StoreError::Corrupt(_) => (StatusCode::INTERNAL_SERVER_ERROR, "STORE_CORRUPT"),
            StoreError::Unusable(_)
            | StoreError::InUse(_)
            | StoreError::Unreachable(_)
            | StoreError::Timeout
            | StoreError::Lost
            | StoreError::Refused(_) => (StatusCode::SERVICE_UNAVAILABLE, "STORE_UNAVAILABLE"),
        };
        Self { status, code, message: error.to_string() }
    }
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Store(error) => error.into(),
            KeyError::Policy(error) => error.into(),
            error @ (KeyError::TooMany | KeyError::LongName) => Self::invalid(error.to_string()),
            error @ KeyError::Missing => Self::missing(error.to_string()),
            error @ (KeyError::Revoked | KeyError::Contended) => Self::conflict(error.to_string()),
        }
    }
}

impl From<PolicyError> for Problem {
    fn from(error: PolicyError) -> Self {
        Self::invalid(error.to_string())
    }
}

impl From<DeskError> for Problem {
    fn from(error: DeskError) -> Self {
        let code = match error {
            DeskError::Refused(_) => "INSTANCE_REFUSED",
            DeskError::Unclear(_) => "UPSTREAM_UNAVAILABLE",
        };
        Self { status: StatusCode::BAD_GATEWAY, code, message: error.to_string() }
    }
}
