//! Session tokens made here: what the gateway does at an instance in a user's name needs one.
//!
//! As OpenBin issues them (HS256, no `typ`), with a token version that no revocation of sessions reaches:
//! whether the user may still act is for the instance to say, which looks at the user on every request.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use zeroize::Zeroizing;

use super::Secret;

/// OpenBin compares the token's version with the user's; no user's ever comes so far.
const TOKEN_VERSION: u32 = 1_000_000_000;

/// Makes session tokens for one instance.
#[derive(Clone)]
pub struct Minter(EncodingKey);

#[derive(Serialize)]
struct Claims<'a> {
    id: &'a str,
    email: &'a str,
    tv: u32,
    exp: u64,
}

impl Minter {
    /// Signs with this secret: the instance's current one.
    #[must_use]
    pub fn new(secret: &Secret) -> Self {
        Self(EncodingKey::from_secret(secret.expose()))
    }

    /// A token for the user with this id and e-mail address, good from `now` for so long. `None` where it
    /// cannot be signed, which no input causes.
    #[must_use]
    pub fn mint(
        &self,
        user_id: &str,
        email: Option<&str>,
        now: SystemTime,
        good_for: Duration,
    ) -> Option<Zeroizing<String>> {
        let until = now.duration_since(UNIX_EPOCH).unwrap_or_default() + good_for;
        let email = email.unwrap_or_default();
        let claims = Claims { id: user_id, email, tv: TOKEN_VERSION, exp: until.as_secs() };
        let mut header = Header::new(Algorithm::HS256);
        header.typ = None;
        jsonwebtoken::encode(&header, &claims, &self.0).ok().map(Zeroizing::new)
    }
}

impl std::fmt::Debug for Minter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Minter(***)")
    }
}
