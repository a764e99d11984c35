//! Refresh tokens: each is good once, and using one again ends its whole family.

use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::cookie::WEEK;

/// All refresh tokens that were ever given out, by family.
#[derive(Debug, Default)]
pub(super) struct Families(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    hash: [u8; 32],
    family: u128,
    user_id: String,
    expires_at: SystemTime,
    spent: bool,
}

/// A new token, and whose it is.
#[derive(Debug)]
pub(super) struct Rotated {
    pub(super) token: String,
    pub(super) user_id: String,
}

impl Families {
    /// Begins a family: a login.
    pub(super) fn begin(&mut self, user_id: &str, now: SystemTime) -> String {
        self.add(rand::random(), user_id, now)
    }

    /// Exchanges a token for the next of its family. A spent one ends the family instead.
    pub(super) fn rotate(&mut self, token: &str, now: SystemTime) -> Option<Rotated> {
        let hash = hash(token);
        let entry = self.0.iter_mut().find(|entry| entry.hash == hash)?;
        let (family, user_id) = (entry.family, entry.user_id.clone());
        if entry.spent {
            self.end(|entry| entry.family == family);
            return None;
        }
        if entry.expires_at <= now {
            return None;
        }
        entry.spent = true;
        Some(Rotated { token: self.add(family, &user_id, now), user_id })
    }

    /// Ends one token: a logout.
    pub(super) fn end_token(&mut self, token: &str) {
        let hash = hash(token);
        self.end(|entry| entry.hash == hash);
    }

    /// Ends all tokens of a user.
    pub(super) fn end_user(&mut self, user_id: &str) {
        self.end(|entry| entry.user_id == user_id);
    }

    fn end(&mut self, which: impl Fn(&Entry) -> bool) {
        self.0.iter_mut().filter(|entry| which(entry)).for_each(|entry| entry.spent = true);
    }

    fn add(&mut self, family: u128, user_id: &str, now: SystemTime) -> String {
        let token = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 48]>());
        self.0.push(Entry {
            hash: hash(&token),
            family,
            user_id: user_id.to_owned(),
            expires_at: now + WEEK,
            spent: false,
        });
        token
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    #[test]
    fn a_token_is_good_once_and_its_second_use_ends_the_family() {
        let mut families = Families::default();
        let first = families.begin("u", NOW);
        let stranger = families.begin("u", NOW);
        assert_eq!(first.len(), 64);
        let second = families.rotate(&first, NOW).expect("rotated");
        assert_eq!(second.user_id, "u");
        assert!(families.rotate(&first, NOW).is_none());
        assert!(families.rotate(&second.token, NOW).is_none(), "the family has ended");
        assert!(families.rotate(&stranger, NOW).is_some(), "another family has not");
    }

    #[test]
    fn a_token_expires_after_seven_days() {
        let mut families = Families::default();
        let token = families.begin("u", NOW);
        assert!(families.rotate(&token, NOW + WEEK).is_none());
        assert!(families.rotate("unknown", NOW).is_none());
    }

    #[test]
    fn logout_ends_a_token_and_logout_everywhere_ends_all() {
        let mut families = Families::default();
        let (one, two) = (families.begin("u", NOW), families.begin("u", NOW));
        families.end_token(&one);
        assert!(families.rotate(&one, NOW).is_none());
        families.end_user("u");
        assert!(families.rotate(&two, NOW).is_none());
    }
}
