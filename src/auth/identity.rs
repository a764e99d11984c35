//! A verified identity: holding one proves that a credential was checked.

use std::sync::Arc;
use std::time::SystemTime;

use crate::keys::{ActiveKey, EndedSession, KeyHash, Label};

/// Who a request comes from. Made only inside `auth`.
#[derive(Debug, Clone)]
pub struct Identity(Who);

#[derive(Debug, Clone)]
enum Who {
    Session(Arc<Session>),
    Key(Arc<ActiveKey>),
}

/// What a verified session token says.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) user_id: Label,
    pub(super) user_email: Option<Label>,
    /// SHA-256 of the token.
    pub(super) digest: [u8; 32],
    /// When the token expires.
    pub(super) until: SystemTime,
}

impl Session {
    /// What it takes to end it.
    pub(super) fn ending(&self) -> EndedSession {
        EndedSession { digest: self.digest, user_id: self.user_id.text(), until: self.until }
    }
}

/// The credential behind an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Proof {
    /// A session token, by its SHA-256.
    Session([u8; 32]),
    /// An API key.
    Key(KeyHash),
}

/// How a request was authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// A session JWT, from the cookie or as Bearer.
    Jwt,
    /// An API key.
    ApiKey,
}

impl Method {
    /// The text of `X-Auth-Method` and of the `auth` metric label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::ApiKey => "api_key",
        }
    }
}

impl Identity {
    pub(super) fn session(session: Arc<Session>) -> Self {
        Self(Who::Session(session))
    }

    pub(super) fn key(key: Arc<ActiveKey>) -> Self {
        Self(Who::Key(key))
    }

    /// How the request was authenticated.
    #[must_use]
    pub fn method(&self) -> Method {
        match &self.0 {
            Who::Session(_) => Method::Jwt,
            Who::Key(_) => Method::ApiKey,
        }
    }

    /// The user's id.
    #[must_use]
    pub fn user_id(&self) -> &Label {
        match &self.0 {
            Who::Session(session) => &session.user_id,
            Who::Key(key) => &key.user_id,
        }
    }

    /// The user's e-mail address, where it is known.
    #[must_use]
    pub fn user_email(&self) -> Option<&Label> {
        match &self.0 {
            Who::Session(session) => session.user_email.as_ref(),
            Who::Key(key) => key.user_email.as_ref(),
        }
    }

    /// The credential that was verified.
    #[must_use]
    pub fn proof(&self) -> Proof {
        match &self.0 {
            Who::Session(session) => Proof::Session(session.digest),
            Who::Key(key) => Proof::Key(key.record.hash),
        }
    }

    /// What it takes to end this session, where it is one.
    #[must_use]
    pub fn ending(&self) -> Option<EndedSession> {
        match &self.0 {
            Who::Session(session) => Some(session.ending()),
            Who::Key(_) => None,
        }
    }

    /// The key that was used, where one was.
    #[must_use]
    pub fn active_key(&self) -> Option<&ActiveKey> {
        match &self.0 {
            Who::Session(_) => None,
            Who::Key(key) => Some(key),
        }
    }

    /// The same, to be kept longer than the identity.
    #[must_use]
    pub fn shared_key(&self) -> Option<Arc<ActiveKey>> {
        match &self.0 {
            Who::Session(_) => None,
            Who::Key(key) => Some(Arc::clone(key)),
        }
    }
}
