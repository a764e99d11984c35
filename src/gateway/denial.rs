//! Why a request stops here, and how that is noted.

use crate::auth::Denied;
use crate::http::Refusal;
use crate::observe::Outcome;

/// A request that is not forwarded, or not answered.
#[derive(Debug)]
pub(super) enum Stop {
    /// It is answered here.
    Refused(Refusal),
    /// Nobody is there to answer, or an answer would be a lie: the connection is broken off.
    BrokenOff,
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// What a client is told of a denied credential, and how the denial is counted.
pub(super) fn told(denied: Denied) -> (Refusal, Outcome) {
    match denied {
        Denied::InvalidToken | Denied::ExpiredToken => (Refusal::InvalidToken, Outcome::InvalidToken),
        Denied::MalformedKey => (Refusal::InvalidApiKey, Outcome::MalformedKey),
        Denied::UnknownKey => (Refusal::InvalidApiKey, Outcome::UnknownKey),
        Denied::RevokedKey => (Refusal::InvalidApiKey, Outcome::RevokedKey),
        Denied::ExpiredKey => (Refusal::ExpiredApiKey, Outcome::ExpiredKey),
        Denied::DisabledKey => (Refusal::DisabledApiKey, Outcome::DisabledKey),
        Denied::ForeignAddress => (Refusal::ForeignAddress, Outcome::ForeignAddress),
        Denied::OutOfScope => (Refusal::InsufficientScope, Outcome::OutOfScope),
        Denied::BlockedUser => (Refusal::AccountSuspended, Outcome::BlockedUser),
        Denied::EndedSession => (Refusal::SessionRevoked, Outcome::EndedSession),
        Denied::AccountDeleted => (Refusal::AccountDeleted, Outcome::AccountDeleted),
        Denied::AccountSuspended => (Refusal::AccountSuspended, Outcome::AccountSuspended),
        Denied::PlanRestricted => (Refusal::PlanRestricted, Outcome::PlanRestricted),
        Denied::StoreUnavailable => (Refusal::StoreUnavailable, Outcome::StoreUnavailable),
        Denied::Throttled(retry_after) => (Refusal::RateLimited { retry_after }, Outcome::RateLimited),
        Denied::InstanceUnavailable => (Refusal::UpstreamUnavailable, Outcome::InstanceUnavailable),
    }
}
