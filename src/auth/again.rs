//! Looks at a credential again that was good before.

use std::time::SystemTime;

use super::identity::Proof;
use super::{Denied, Identity};
use crate::keys::{Keys, Verdict};

/// Whether what was verified has not ended since. Asks only whether the credential may be used at all, not
/// for what; and a session's own time is not looked at, since its page renews it without breaking off what
/// it has under way.
///
/// # Errors
/// Why it is over, or that the store cannot say whether it is.
pub async fn look_again(keys: &Keys, identity: &Identity, now: SystemTime) -> Result<(), Denied> {
    match identity.proof() {
        Proof::Session(digest) if keys.blocks().has_session(&digest, now) => {
            return Err(Denied::EndedSession);
        }
        Proof::Session(_) => {}
        Proof::Key(hash) => match keys.known(&hash).await.map_err(|_| Denied::StoreUnavailable)? {
            Verdict::Active(key) => key.policy.as_ref().map_or(Ok(()), |policy| policy.holds_at(now))?,
            Verdict::Revoked => return Err(Denied::RevokedKey),
            Verdict::Refused(refusal) => return Err(refusal.into()),
            // A store that has lost a key ends nothing.
            Verdict::Unknown => {}
        },
    }
    if keys.blocks().has_user(identity.user_id().as_str(), now) {
        return Err(Denied::BlockedUser);
    }
    Ok(())
}
