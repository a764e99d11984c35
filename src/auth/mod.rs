//! Credential → [`Identity`], or the reason why not.
//!
//! Knows no sockets and no routes. Time is passed in.

mod again;
mod identity;
mod jwt;
mod limit;
mod mint;
mod verifier;

#[cfg(any(test, fuzzing))]
pub use self::jwt::fuzz;
pub use again::look_again;
pub use identity::{Identity, Method, Proof};
pub use limit::{Admission, Claimant, LimitSettings, LimitState, Limits, Quota};
pub use mint::Minter;
pub use verifier::{Credential, Denied, Verifier};

use zeroize::Zeroizing;

/// What an instance's credentials are checked with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The secrets of session tokens, the current one first. Never empty.
    pub jwt_secrets: Vec<Secret>,
}

/// A secret text, wiped from memory when dropped and hidden in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a secret as OpenBin does: trimmed. `None` where nothing is left.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// The secret's UTF-8 bytes. Never log them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(***)")
    }
}
