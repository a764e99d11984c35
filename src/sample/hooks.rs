//! What the demo and tests may see of a sample, and do to it behind the gateway's back.

use std::time::SystemTime;

use super::options::account;
use super::record::Recorded;
use super::{Counts, KeyLookup, NewKey, Sample, SampleUser, Standing};

impl Sample {
    /// The secret of session tokens. Never log it.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.0.secret
    }

    /// The token under which the first bin is shared.
    #[must_use]
    pub fn share_token(&self) -> &str {
        &self.0.share_token
    }

    /// The ids of all bins.
    #[must_use]
    pub fn bin_ids(&self) -> Vec<String> {
        self.0.state().bins.iter().map(|bin| bin.id.clone()).collect()
    }

    /// Adds an account and returns its id.
    pub fn add_user(&self, user: &SampleUser) -> String {
        let account = account(user, &self.0.signer, SystemTime::now());
        let id = account.id.clone();
        self.0.state().users.push(account);
        id
    }

    /// The id of the account with this e-mail address.
    #[must_use]
    pub fn user_id(&self, email: &str) -> Option<String> {
        self.0.state().user_by_email(email).map(|user| user.id.clone())
    }

    /// Puts an account into another state.
    pub fn set_standing(&self, user_id: &str, standing: Standing) {
        if let Some(user) = self.0.state().user_mut(user_id) {
            user.standing = standing;
        }
    }

    /// Ends all sessions of an account, as a change of its password would.
    pub fn revoke_sessions(&self, user_id: &str) {
        if let Some(user) = self.0.state().user_mut(user_id) {
            user.token_version += 1;
        }
    }

    /// A session token as login would issue it now; `None` for an unknown account.
    #[must_use]
    pub fn session_token(&self, user_id: &str) -> Option<String> {
        let state = self.0.state();
        let user = state.user(user_id)?;
        Some(self.0.signer.issue(&user.id, &user.email, user.token_version, SystemTime::now()))
    }

    /// A token of any header and payload, signed with this sample's secret.
    #[must_use]
    pub fn sign(&self, header: &str, payload: &str) -> String {
        self.0.signer.sign_text(header, payload)
    }

    /// Makes an API key without a request; `None` where the account has ten already.
    #[must_use]
    pub fn create_key(&self, user_id: &str, name: &str) -> Option<NewKey> {
        self.0.state().create_key(user_id, name, SystemTime::now())
    }

    /// Revokes an API key without a request that a gateway could see.
    pub fn revoke_key(&self, id: &str) {
        if let Some(key) = self.0.state().key_mut(id) {
            key.revoked_at = Some(SystemTime::now());
        }
    }

    /// Brings a revoked API key back, as the restore of an older backup does.
    pub fn restore_key(&self, id: &str) {
        if let Some(key) = self.0.state().key_mut(id) {
            key.revoked_at = None;
        }
    }

    /// Whether an API key has ever been used here.
    #[must_use]
    pub fn key_was_used(&self, id: &str) -> bool {
        self.0.state().key_mut(id).is_some_and(|key| key.last_used_at.is_some())
    }

    /// Lets the look-up of API keys fail, or work again.
    pub fn set_key_lookup(&self, lookup: KeyLookup) {
        self.0.state().lookup = lookup;
    }

    /// Goes into maintenance with this message, or comes out of it.
    pub fn set_maintenance(&self, message: Option<&str>) {
        self.0.state().maintenance = message.map(str::to_owned);
    }

    /// The last requests that arrived, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        self.0.ring().all()
    }

    /// Forgets the requests that arrived so far.
    pub fn forget_requests(&self) {
        self.0.ring().forget();
    }

    /// How many streams of events began and how they ended.
    #[must_use]
    pub fn streams(&self) -> Counts {
        self.0.streams.counts()
    }

    /// How many downloads of photos began and how they ended.
    #[must_use]
    pub fn downloads(&self) -> Counts {
        self.0.downloads.counts()
    }

    /// How many uploads of photos began and how they ended.
    #[must_use]
    pub fn uploads(&self) -> Counts {
        self.0.uploads.counts()
    }
}

/// Shows nothing of what is inside.
impl std::fmt::Debug for Sample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sample").finish_non_exhaustive()
    }
}
