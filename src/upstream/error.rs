//! Why a request could not be forwarded, and whose fault that is.

use std::io;

use crate::http::RequestBodyError;

/// What went wrong on a connection to an instance.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// It was closed where more had to come.
    #[error("the connection was closed")]
    Closed,
    /// It broke off.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What came on it is not HTTP/1.1.
    #[error("{0}")]
    Malformed(&'static str),
}

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
    Broken(#[source] ConnectionError),
    /// The instance's answer can be read in more than one way.
    #[error("the instance's answer cannot be believed: {0}")]
    Ambiguous(&'static str),
    /// The instance did not answer in time.
    #[error("the instance did not answer in time")]
    HeadTimeout,
    /// The client stopped sending its request body, or sent what is not HTTP.
    #[error("the client broke off its request")]
    Client(#[source] RequestBodyError),
    /// The client sent content that breaks the rules of its framing.
    #[error("the client's request content is not well-formed")]
    Malformed(#[source] RequestBodyError),
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
        matches!(self, Self::Broken(ConnectionError::Closed | ConnectionError::Io(_)))
    }

    /// Where the request's content made an exchange fail.
    pub(super) fn of(error: RequestBodyError) -> Self {
        match error {
            RequestBodyError::Limit(_) => Self::ContentTooLarge,
            RequestBodyError::TooSlow => Self::ContentTooSlow,
            error if error.is_malformed() => Self::Malformed(error),
            error @ RequestBodyError::Client(_) => Self::Client(error),
        }
    }
}
