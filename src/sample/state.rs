//! What the sample remembers: accounts, API keys and bins. Rules only; no HTTP.
//!
//! Unlike OpenBin there is no cache of account states: every change acts on the next request.

use std::time::SystemTime;

use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use super::body::hex;
use super::refresh::Families;

/// The most keys that one user may have un-revoked.
pub(super) const MAX_KEYS: usize = 10;
const SHOWN: usize = 18;

/// Everything that changes while the sample runs.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) users: Vec<User>,
    pub(super) bins: Vec<Bin>,
    pub(super) families: Families,
    pub(super) maintenance: Option<String>,
    pub(super) lookup: KeyLookup,
    keys: Vec<Key>,
}

/// One account.
#[derive(Debug, Clone)]
pub(super) struct User {
    pub(super) id: String,
    /// Lower-case.
    pub(super) email: String,
    pub(super) display_name: String,
    pub(super) password_digest: Vec<u8>,
    pub(super) role: Role,
    pub(super) standing: Standing,
    pub(super) token_version: u64,
    pub(super) created_at: SystemTime,
}

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// What everybody may.
    #[default]
    Member,
    /// `/api/admin` as well.
    Admin,
}

/// The state of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Standing {
    /// As usual.
    #[default]
    Good,
    /// Suspended by an administrator.
    Suspended,
    /// Deleted, softly.
    Deleted,
    /// On a plan without API keys (cloud edition); sessions work.
    WithoutKeys,
}

/// Whether API keys can be looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyLookup {
    /// As usual.
    #[default]
    Works,
    /// The database fails: OpenBin answers 401 `Authentication failed`.
    Fails,
}

/// One API key, without its text.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) id: String,
    pub(super) user_id: String,
    pub(super) prefix: String,
    pub(super) name: String,
    pub(super) created_at: SystemTime,
    pub(super) last_used_at: Option<SystemTime>,
    pub(super) revoked_at: Option<SystemTime>,
    hash: [u8; 32],
}

/// A key at the only moment when its text is known.
#[derive(Clone, PartialEq, Eq)]
pub struct NewKey {
    /// Its id.
    pub id: String,
    /// Its text.
    pub key: String,
    /// Its first 18 characters.
    pub prefix: String,
    /// Its name after trimming and cutting.
    pub name: String,
}

impl std::fmt::Debug for NewKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewKey").field("id", &self.id).field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// One bin of the inventory.
#[derive(Debug, Clone)]
pub(super) struct Bin {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) notes: String,
    pub(super) created_at: SystemTime,
}

impl State {
    pub(super) fn new(users: Vec<User>, bins: Vec<Bin>) -> Self {
        Self { users, bins, ..Self::default() }
    }

    pub(super) fn user(&self, id: &str) -> Option<&User> {
        self.users.iter().find(|user| user.id == id)
    }

    pub(super) fn user_mut(&mut self, id: &str) -> Option<&mut User> {
        self.users.iter_mut().find(|user| user.id == id)
    }

    pub(super) fn user_by_email(&self, email: &str) -> Option<&User> {
        let email = email.trim().to_lowercase();
        self.users.iter().find(|user| user.email == email)
    }

    /// Makes a key; `None` where the user has as many as allowed.
    pub(super) fn create_key(&mut self, user_id: &str, name: &str, now: SystemTime) -> Option<NewKey> {
        if self.active_keys(user_id).count() >= MAX_KEYS {
            return None;
        }
        let key = format!("sk_openbin_{}", random_hex::<32>());
        let made =
            NewKey { id: uuid(), prefix: key.chars().take(SHOWN).collect(), name: cut(name.trim()), key };
        self.keys.push(Key {
            id: made.id.clone(),
            user_id: user_id.to_owned(),
            prefix: made.prefix.clone(),
            name: made.name.clone(),
            created_at: now,
            last_used_at: None,
            revoked_at: None,
            hash: hash(&made.key),
        });
        Some(made)
    }

    /// A user's un-revoked keys, the newest first.
    pub(super) fn active_keys(&self, user_id: &str) -> impl Iterator<Item = &Key> {
        self.keys.iter().rev().filter(move |key| key.user_id == user_id && key.revoked_at.is_none())
    }

    /// The un-revoked key with this text.
    pub(super) fn active_key(&mut self, text: &str) -> Option<&mut Key> {
        let hash = hash(text);
        self.keys.iter_mut().find(|key| key.hash == hash && key.revoked_at.is_none())
    }

    /// Revokes one of a user's keys; `false` where there is no such un-revoked key.
    pub(super) fn revoke_key(&mut self, user_id: &str, id: &str, now: SystemTime) -> bool {
        let active = |key: &&mut Key| key.user_id == user_id && key.id == id && key.revoked_at.is_none();
        let key = self.keys.iter_mut().find(active);
        key.map(|key| key.revoked_at = Some(now)).is_some()
    }

    /// Revokes all keys of a user and says how many there were.
    pub(super) fn revoke_keys(&mut self, user_id: &str, now: SystemTime) -> usize {
        let active = self.keys.iter_mut().filter(|key| key.user_id == user_id && key.revoked_at.is_none());
        active.map(|key| key.revoked_at = Some(now)).count()
    }

    /// Any key, revoked ones included.
    pub(super) fn key_mut(&mut self, id: &str) -> Option<&mut Key> {
        self.keys.iter_mut().find(|key| key.id == id)
    }
}

fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// Cuts a name to 255 UTF-16 units, which is what JavaScript counts.
fn cut(name: &str) -> String {
    let mut units = 0;
    name.chars()
        .take_while(|c| {
            units += c.len_utf16();
            units <= 255
        })
        .collect()
}

/// Random bytes in hexadecimal.
pub(super) fn random_hex<const N: usize>() -> String {
    hex(&rand::random::<[u8; N]>())
}

/// A random id: a lower-case UUID of version 4 (RFC 9562 §5.4).
pub(super) fn uuid() -> String {
    let bits = (rand::random::<u128>() & !(0xf << 76) & !(0x3 << 62)) | (4 << 76) | (2 << 62);
    let digits = format!("{bits:032x}");
    let mut out = String::with_capacity(36);
    for (at, digit) in digits.chars().enumerate() {
        if matches!(at, 8 | 12 | 16 | 20) {
            out.push('-');
        }
        out.push(digit);
    }
    out
}

/// A time as SQLite writes it: UTC, whole seconds, no zone.
pub(super) fn timestamp(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    let (date, time) = (at.date(), at.time());
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    #[test]
    fn a_key_has_openbins_shape_and_is_found_by_its_whole_text() {
        let mut state = State::default();
        let made = state.create_key("u", "  laptop ", NOW).expect("a key");
        assert_eq!(made.key.len(), 75);
        assert!(made.key.starts_with(&made.prefix) && made.prefix.len() == 18);
        assert_eq!(made.name, "laptop");
        assert!(state.active_key(&made.key).is_some());
        assert!(state.active_key(&made.key.to_uppercase()).is_none());
        assert!(!format!("{made:?}").contains(&made.key));
    }

    #[test]
    fn the_eleventh_key_is_refused_until_one_is_revoked() {
        let mut state = State::default();
        let keys: Vec<_> = (0..10).filter_map(|_| state.create_key("u", "", NOW)).collect();
        assert_eq!(keys.len(), 10);
        assert_eq!(state.create_key("u", "", NOW), None);
        assert!(state.create_key("other", "", NOW).is_some());
        assert!(state.revoke_key("u", &keys[3].id, NOW));
        assert!(!state.revoke_key("u", &keys[3].id, NOW));
        assert!(!state.revoke_key("other", &keys[4].id, NOW));
        assert!(state.create_key("u", "", NOW).is_some());
    }

    #[test]
    fn names_are_cut_to_255_utf16_units() {
        assert_eq!(cut(&"a".repeat(300)).len(), 255);
        assert_eq!(cut(&"😀".repeat(300)).chars().count(), 127);
    }

    #[test]
    fn ids_are_version_4_uuids_and_times_look_like_sqlite() {
        let id = uuid();
        assert_eq!(id.len(), 36);
        assert_eq!(id.chars().nth(14), Some('4'));
        assert!(matches!(id.chars().nth(19), Some('8' | '9' | 'a' | 'b')));
        assert_eq!(timestamp(NOW + Duration::from_secs(1_795_392_417)), "2026-11-23 00:06:57");
    }
}
