//! One instance's judgement of a credential.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::identity::Session;
use super::jwt::Sessions;
use super::{Claimant, Identity, Settings};
use crate::keys::{
    Adoption, Attempt, Breach, EndedSession, KeyHash, KeyShape, Keys, LookupError, OwnerRefusal, Verdict,
};

/// Why a credential is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// A session token that does not verify.
    #[error("invalid session token")]
    InvalidToken,
    /// A session token that was good once.
    #[error("expired session token")]
    ExpiredToken,
    /// Text that begins like an API key, but cannot be one.
    #[error("malformed API key")]
    MalformedKey,
    /// An API key that nobody issued.
    #[error("unknown API key")]
    UnknownKey,
    /// An API key that was revoked.
    #[error("revoked API key")]
    RevokedKey,
    /// An API key whose time is over.
    #[error("expired API key")]
    ExpiredKey,
    /// An API key that an operator has disabled.
    #[error("disabled API key")]
    DisabledKey,
    /// An API key that may not be used from this address.
    #[error("API key used from an address that is not its own")]
    ForeignAddress,
    /// An API key that may not do this.
    #[error("API key used outside of its scope")]
    OutOfScope,
    /// A user whom an operator has blocked.
    #[error("blocked user")]
    BlockedUser,
    /// A session that was ended before its time.
    #[error("ended session")]
    EndedSession,
    /// Its owner does not exist any more.
    #[error("the owner's account is deleted")]
    AccountDeleted,
    /// Its owner is suspended.
    #[error("the owner's account is suspended")]
    AccountSuspended,
    /// Its owner's plan has no API keys.
    #[error("the owner's plan has no API keys")]
    PlanRestricted,
    /// Not known: the key store cannot answer.
    #[error("the key store cannot answer")]
    StoreUnavailable,
    /// Not known: the instance cannot say whose key it is.
    #[error("the instance cannot say whose key it is")]
    InstanceUnavailable,
    /// Not known: too many bad credentials came from the same source, and to look this one up would be one
    /// thing too many. Or known to be bad, as the ones before. Tells when to try again.
    #[error("too many bad credentials from this source")]
    Throttled(Duration),
}

impl From<OwnerRefusal> for Denied {
    fn from(refusal: OwnerRefusal) -> Self {
        match refusal {
            OwnerRefusal::AccountDeleted => Self::AccountDeleted,
            OwnerRefusal::AccountSuspended => Self::AccountSuspended,
            OwnerRefusal::PlanRestricted => Self::PlanRestricted,
        }
    }
}

impl From<Breach> for Denied {
    fn from(breach: Breach) -> Self {
        match breach {
            Breach::Expired => Self::ExpiredKey,
            Breach::Disabled => Self::DisabledKey,
            Breach::Address => Self::ForeignAddress,
            Breach::Scope => Self::OutOfScope,
        }
    }
}

/// A credential's text, told apart as OpenBin does: what begins `sk_openbin_` is a key, all else a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential<'r> {
    /// A session token, not verified yet.
    Token(Redacted<'r>),
    /// An API key by its shape.
    Key(KeyHash),
    /// Begins like an API key, but cannot be one: refused without a look-up.
    MalformedKey,
}

/// A credential's bytes; hidden in `Debug`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Redacted<'r>(&'r [u8]);

impl std::fmt::Debug for Redacted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl<'r> Credential<'r> {
    /// Tells a credential's kind by its text.
    #[must_use]
    pub fn of(text: &'r [u8]) -> Self {
        match KeyShape::of(text) {
            KeyShape::Key => {
                std::str::from_utf8(text).map_or(Self::MalformedKey, |key| Self::Key(KeyHash::of(key)))
            }
            KeyShape::Malformed => Self::MalformedKey,
            KeyShape::Other => Self::Token(Redacted(text)),
        }
    }
}

/// Judges the credentials of one instance.
pub struct Verifier {
    sessions: Sessions,
    keys: Arc<Keys>,
}

impl Verifier {
    /// Judges with these secrets, and these keys.
    #[must_use]
    pub fn new(settings: &Settings, keys: Arc<Keys>) -> Self {
        Self { sessions: Sessions::new(&settings.jwt_secrets), keys }
    }

    /// Judges a credential. A key that neither cache nor store knows is asked for with `adopt`, at most
    /// once at a time.
    ///
    /// # Errors
    /// Why the credential is not accepted, or cannot be judged.
    pub async fn verify<F, Fut>(
        &self,
        credential: Credential<'_>,
        attempt: &Attempt<'_>,
        claimant: &Claimant<'_>,
        adopt: F,
    ) -> Result<Identity, Denied>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Adoption, Denied>>,
    {
        match credential {
            Credential::Token(token) => self.session(token, attempt.at),
            Credential::MalformedKey => Err(Denied::MalformedKey),
            Credential::Key(hash) => self.key(&hash, attempt, claimant, adopt).await,
        }
    }

    /// Judges a key: where its source is penalised and this process has not met it, as long as the source's
    /// rations last.
    async fn key<F, Fut>(
        &self,
        hash: &KeyHash,
        attempt: &Attempt<'_>,
        claimant: &Claimant<'_>,
        adopt: F,
    ) -> Result<Identity, Denied>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Adoption, Denied>>,
    {
        // Boxed, as all that is rare.
        if claimant.is_penalised() && Box::pin(self.keys.is_stranger(hash)).await {
            claimant.look_up()?;
        }
        // Whoever asks for the same key at the same time, from elsewhere, must not get this source's refusal.
        let withheld = Cell::new(None);
        let ask = || async {
            // Looked at again: while the store was asked, a flood's first keys may have turned out bad.
            if claimant.is_penalised()
                && let Err(denied) = claimant.adopt()
            {
                withheld.set(Some(denied));
                return Ok(Adoption::Withheld);
            }
            adopt().await
        };
        let verdict = match self.keys.verdict(hash, ask).await {
            Ok(verdict) => self.judge(verdict, attempt),
            Err(LookupError::Store(_)) => Err(Denied::StoreUnavailable),
            Err(LookupError::Adopt(denied)) => Err(*denied),
        };
        withheld.get().map_or(verdict, Err)
    }

    /// Judges a credential by what is known already: nobody is asked about an unknown key.
    ///
    /// # Errors
    /// Why the credential is not accepted, or cannot be judged.
    pub async fn verify_known(
        &self,
        credential: Credential<'_>,
        attempt: &Attempt<'_>,
        claimant: &Claimant<'_>,
    ) -> Result<Identity, Denied> {
        match credential {
            Credential::Token(token) => self.session(token, attempt.at),
            Credential::MalformedKey => Err(Denied::MalformedKey),
            Credential::Key(hash) => Box::pin(self.known_key(&hash, attempt, claimant)).await,
        }
    }

    async fn known_key(
        &self,
        hash: &KeyHash,
        attempt: &Attempt<'_>,
        claimant: &Claimant<'_>,
    ) -> Result<Identity, Denied> {
        if self.keys.is_stranger(hash).await {
            claimant.look_up_on_open_route()?;
        }
        match self.keys.known(hash).await {
            Ok(verdict) => self.judge(verdict, attempt),
            Err(_) => Err(Denied::StoreUnavailable),
        }
    }

    /// What it takes to end the session with this token. One that was ended can be ended again: whoever has not
    /// heard that it was done, or that it was felt everywhere, must be able to ask once more.
    ///
    /// # Errors
    /// Why it could not be used even if nobody had ended it.
    pub fn session_to_end(&self, token: &str, at: SystemTime) -> Result<EndedSession, Denied> {
        Ok(self.read(Redacted(token.as_bytes()), at)?.ending())
    }

    fn read(&self, token: Redacted<'_>, at: SystemTime) -> Result<Arc<Session>, Denied> {
        // A clock before 1970 makes every token expired rather than eternal.
        let now = at.duration_since(UNIX_EPOCH).map_or(u64::MAX, |time| time.as_secs());
        self.sessions.verify(token.0, now)
    }

    fn session(&self, token: Redacted<'_>, at: SystemTime) -> Result<Identity, Denied> {
        let session = self.read(token, at)?;
        let blocks = self.keys.blocks();
        if blocks.has_session(&session.digest, at) {
            return Err(Denied::EndedSession);
        }
        if blocks.has_user(session.user_id.as_str(), at) {
            return Err(Denied::BlockedUser);
        }
        Ok(Identity::session(session))
    }

    fn judge(&self, verdict: Verdict, attempt: &Attempt<'_>) -> Result<Identity, Denied> {
        let key = match verdict {
            Verdict::Active(key) => key,
            Verdict::Revoked => return Err(Denied::RevokedKey),
            Verdict::Unknown => return Err(Denied::UnknownKey),
            Verdict::Refused(refusal) => return Err(refusal.into()),
        };
        if self.keys.blocks().has_user(key.user_id.as_str(), attempt.at) {
            return Err(Denied::BlockedUser);
        }
        if let Some(policy) = &key.policy {
            policy.permits(attempt)?;
        }
        Ok(Identity::key(key))
    }
}

#[cfg(test)]
mod ration_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_like_a_key_is_judged_as_a_key() {
        let key = format!("sk_openbin_{}", "0a".repeat(32));
        assert_eq!(Credential::of(key.as_bytes()), Credential::Key(KeyHash::of(&key)));
        assert_eq!(Credential::of(b"sk_openbin_junk"), Credential::MalformedKey);
        assert_eq!(Credential::of(b"sk_openbin_\xff"), Credential::MalformedKey);
        assert!(matches!(Credential::of(b"a.b.c"), Credential::Token(_)));
        assert!(matches!(Credential::of(b"\xff"), Credential::Token(_)));
    }

    #[test]
    fn a_token_is_hidden_in_debug() {
        assert_eq!(format!("{:?}", Credential::of(b"a.b.c")), "Token(***)");
    }
}
