//! Why a request could not be forwarded, and whose fault that is.

use std::io;

use crate::http::RequestBodyError;

/// Why no response came from the instance.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// No connection could be opened. Nothing was sent.
    #[error("cannot connect to the instance")]
    Connect(#[source] io::Error),
    /// No connection could be opened in time. Nothing was sent.
    #[error("connecting to the instance took too long")]
    ConnectTimeout,
    /// The instance broke off, or answered with what is not HTTP.
    #[error("the instance broke off before it answered")]
    Broken(#[source] hyper::Error),
    /// The instance's answer can be read in more than one way.
    #[error("the instance's answer cannot be believed: {0}")]
    Ambiguous(&'static str),
    /// The instance did not answer in time.
    #[error("the instance did not answer in time")]
    HeadTimeout,
    /// The client stopped sending its request body, or sent what is not HTTP.
    #[error("the client broke off its request")]
    Client(#[source] hyper::Error),
    /// The client sent content that breaks the rules of its framing.
    #[error("the client's request content is not well-formed")]
    Malformed(#[source] hyper::Error),
    /// The client sent its content more slowly than is allowed.
    #[error("the request content came too slowly")]
    ContentTooSlow,
    /// The client sent more content than is allowed.
    #[error("the request content is longer than the limit")]
    ContentTooLarge,
}

impl ForwardError {
    /// Whether the connection turned out to be closed, rather than something wrong being said on it.
    pub(super) fn is_closed(&self) -> bool {
        let Self::Broken(error) = self else { return false };
        let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
        !error.is_parse() && cause.is_none_or(|cause| cause.kind() != io::ErrorKind::InvalidData)
    }

    /// Finds out who made an exchange fail: the reason is the request body's where it has one.
    pub(super) fn of(error: hyper::Error) -> Self {
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            match cause.downcast_ref::<RequestBodyError>() {
                Some(RequestBodyError::Limit(_)) => return Self::ContentTooLarge,
                Some(RequestBodyError::TooSlow) => return Self::ContentTooSlow,
                Some(cause @ RequestBodyError::Client(_)) if cause.is_malformed() => {
                    return Self::Malformed(error);
                }
                Some(RequestBodyError::Client(_)) => return Self::Client(error),
                None => source = cause.source(),
            }
        }
        Self::Broken(error)
    }
}
