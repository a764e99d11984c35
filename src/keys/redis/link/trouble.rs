//! What went wrong, in words without secrets, and whether the server was heard at all.

use ::redis::{ErrorKind, RedisError, ServerErrorKind, Value};

use crate::keys::{Address, Login, StoreError};

/// Why there is no answer that can be used.
#[derive(Debug, Clone)]
pub(super) enum Trouble {
    /// The server answered, and this is what came of it.
    Answered(StoreError),
    /// There is no connection, or no answer came over it.
    Silent(StoreError),
}

impl Trouble {
    pub(super) fn into_error(self) -> StoreError {
        match self {
            Self::Answered(error) | Self::Silent(error) => error,
        }
    }
}

/// What this error of the client library means.
pub(super) fn explain(error: &RedisError, address: &Address) -> StoreError {
    if error.is_timeout() {
        return StoreError::Timeout;
    }
    let text = format!("{address}: {error}");
    match error.kind() {
        ErrorKind::Io => StoreError::Unreachable(text),
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => StoreError::Corrupt(text),
        _ if text.contains("WRONGTYPE") => StoreError::Corrupt(text),
        _ => StoreError::Refused(text),
    }
}

/// Some servers repeat a command in their error, and it may have been the one with the password.
pub(super) fn hide(text: &str, login: &Login) -> String {
    match &login.password {
        Some(password) if !password.is_empty() => text.replace(password.as_str(), "***"),
        Some(_) | None => text.to_owned(),
    }
}

/// The first error among these answers.
pub(super) fn first_error(values: &[Value]) -> Option<RedisError> {
    values.iter().find_map(|value| match value {
        Value::ServerError(error) => Some(error.clone().into()),
        _ => None,
    })
}

/// The connection is broken, or what came over it cannot be understood.
pub(super) fn is_broken(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Io | ErrorKind::Parse)
}

/// The server is not the right one any more, or does not know us any more: what leads to it may lead elsewhere.
pub(super) fn is_elsewhere(error: &RedisError) -> bool {
    use ServerErrorKind::{ClusterDown, MasterDown, ReadOnly};
    match error.kind() {
        ErrorKind::Server(kind) => matches!(kind, ReadOnly | MasterDown | ClusterDown),
        _ => error.code() == Some("NOAUTH"),
    }
}
