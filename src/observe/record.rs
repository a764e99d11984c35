//! What is noted of one request: the source of its metrics and of its line in the access log.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::header::HeaderValue;
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Version};

/// What is noted of one request, from its first byte to the end of its response.
#[derive(Debug)]
pub struct Record {
    /// When the request's head had been read.
    pub started: Instant,
    /// 32 lower-case hexadecimal digits.
    pub request_id: [u8; 32],
    /// The client's address, after trusted proxies.
    pub client: IpAddr,
    /// The instance's name; `None` where no instance was chosen.
    pub instance: Option<Arc<str>>,
    /// The protocol version that the client spoke.
    pub version: Version,
    /// The request's method.
    pub method: Method,
    /// Path and query as they came, where there are any. Secrets in it are redacted when the line is written.
    pub target: Option<PathAndQuery>,
    /// The `User-Agent` field, as it came.
    pub user_agent: Option<HeaderValue>,
    /// The credential that the request carried.
    pub credential: Credential,
    /// What became of it.
    pub outcome: Outcome,
    /// The verified user's id, in visible ASCII.
    pub user_id: Option<Bytes>,
    /// The verified key's id, in visible ASCII.
    pub key_id: Option<Bytes>,
    /// The status that was answered; `None` where the exchange broke off before.
    pub status: Option<u16>,
    /// From handing the request to the instance to the head of its response.
    pub upstream: Option<Duration>,
    /// Bytes of request content that passed.
    pub request_bytes: u64,
    /// Bytes of response content that passed.
    pub response_bytes: u64,
    /// Whether the response came to its proper end.
    pub complete: bool,
    /// What ended the exchange before its time, where something did.
    pub cut: Option<Cut>,
}

impl Record {
    /// How the request was authenticated in the end: its credential, if that was good.
    #[must_use]
    pub fn authenticated_by(&self) -> Credential {
        if self.outcome == Outcome::Accepted { self.credential } else { Credential::None }
    }
}

/// What ended, and with it an exchange that was under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cut {
    /// Its API key: revoked, disabled, or over.
    Key,
    /// Its user may not go on: they were blocked.
    User,
    /// Its session.
    Session,
}

impl Cut {
    /// Its metric label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::User => "user",
            Self::Session => "session",
        }
    }
}

/// The kind of credential that a request carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Credential {
    /// None at all.
    None,
    /// A session token.
    Jwt,
    /// An API key.
    ApiKey,
}

impl Credential {
    /// How many there are.
    pub(super) const COUNT: usize = Self::ApiKey as usize + 1;

    /// Its metric label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Jwt => "jwt",
            Self::ApiKey => "api_key",
        }
    }
}

/// What became of a request's credential: exactly one for each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was good.
    Accepted,
    /// None came, and none was needed.
    Anonymous,
    /// It was bad, on a route that needs none.
    Ignored,
    /// None came, where one was needed.
    Missing,
    /// A session token that does not verify, or has expired.
    InvalidToken,
    /// An API key that cannot be one by its shape.
    MalformedKey,
    /// An API key that nobody issued.
    UnknownKey,
    /// An API key that was revoked.
    RevokedKey,
    /// An API key whose time is over.
    ExpiredKey,
    /// An API key that an operator has disabled.
    DisabledKey,
    /// An API key used from an address that is not its own.
    ForeignAddress,
    /// An API key used for what it may not do.
    OutOfScope,
    /// A user whom an operator has blocked.
    BlockedUser,
    /// A session that was ended before its time.
    EndedSession,
    /// The owner was deleted at the instance.
    AccountDeleted,
    /// The owner is suspended at the instance.
    AccountSuspended,
    /// The instance's plan does not include API keys.
    PlanRestricted,
    /// Refused before a credential was looked at: the request, its method, host or size.
    RequestRefused,
    /// Refused since it could not be read as a request.
    Unreadable,
    /// The key store could not answer.
    StoreUnavailable,
    /// The instance could not say whose key it is.
    InstanceUnavailable,
    /// A limit was reached: of its key, of its address, or of bad credentials.
    RateLimited,
}

impl Outcome {
    /// How many there are.
    pub(super) const COUNT: usize = Self::RateLimited as usize + 1;

    /// Its metric label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Anonymous => "anonymous",
            Self::Ignored => "ignored",
            Self::Missing => "missing",
            Self::InvalidToken => "invalid_token",
            Self::MalformedKey => "malformed_key",
            Self::UnknownKey => "unknown_key",
            Self::RevokedKey => "revoked_key",
            Self::ExpiredKey => "expired_key",
            Self::DisabledKey => "disabled_key",
            Self::ForeignAddress => "foreign_address",
            Self::OutOfScope => "out_of_scope",
            Self::BlockedUser => "blocked_user",
            Self::EndedSession => "ended_session",
            Self::AccountDeleted => "account_deleted",
            Self::AccountSuspended => "account_suspended",
            Self::PlanRestricted => "plan_restricted",
            Self::RequestRefused => "request_refused",
            Self::Unreadable => "unreadable",
            Self::StoreUnavailable => "store_unavailable",
            Self::InstanceUnavailable => "instance_unavailable",
            Self::RateLimited => "rate_limited",
        }
    }
}
