//! The text of an API key, and the only form in which one is kept.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// What every OpenBin API key begins with.
pub const PREFIX: &str = "sk_openbin_";
const HEX_DIGITS: usize = 64;
/// So many digits of a key are in what lists show of it.
pub const SHOWN_DIGITS: usize = 7;
const SHOWN: usize = PREFIX.len() + SHOWN_DIGITS;

/// The SHA-256 of a whole key, its prefix included: the only form in which a key is kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// Hashes a key's text.
    #[must_use]
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    /// The hash's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Takes 64 lower- or upper-case hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let text = text.as_bytes();
        if text.len() != 64 {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            let high = char::from(pair[0]).to_digit(16)?;
            let low = char::from(pair[1]).to_digit(16)?;
            *byte = u8::try_from(high << 4 | low).ok()?;
        }
        Some(Self(bytes))
    }
}

/// Something of keys that somebody issued. Their hashes are as good as any: nobody could choose one.
pub(super) type ByHash<T> = HashMap<KeyHash, T, BuildHasherDefault<Beginning>>;

/// Takes a SHA-256's first bytes for its hash.
#[derive(Default)]
pub(super) struct Beginning(u64);

impl Hasher for Beginning {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(beginning) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*beginning);
        }
    }

    /// The length, which is always the same.
    fn write_usize(&mut self, _: usize) {}
}

impl From<[u8; 32]> for KeyHash {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// Lower-case hexadecimal, as OpenBin's `key_hash` column has it.
impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyHash({self})")
    }
}

/// How a credential's text looks, before anything is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyShape {
    /// `sk_openbin_` and 64 lower-case hexadecimal digits.
    Key,
    /// Begins like a key, but cannot be one.
    Malformed,
    /// Not a key at all.
    Other,
}

impl KeyShape {
    /// Judges a credential's text.
    #[must_use]
    pub fn of(text: &[u8]) -> Self {
        let Some(rest) = text.strip_prefix(PREFIX.as_bytes()) else {
            return Self::Other;
        };
        let hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if rest.len() == HEX_DIGITS && rest.iter().all(hex) { Self::Key } else { Self::Malformed }
    }
}

/// Whether a text shows more of a key than lists do: then it is a secret, wherever it stands.
#[must_use]
pub fn holds_key(text: &[u8]) -> bool {
    let starts = text.windows(PREFIX.len()).enumerate().filter(|(_, part)| *part == PREFIX.as_bytes());
    starts
        .map(|(start, _)| text.get(start + PREFIX.len()..).unwrap_or_default())
        .any(|rest| rest.iter().take_while(|byte| byte.is_ascii_hexdigit()).count() > SHOWN_DIGITS)
}

/// A key's text, wiped from memory when dropped; shows only its 18-character prefix.
#[derive(Clone)]
pub struct Token(Zeroizing<String>);

impl Token {
    /// Takes a key's text; `None` where it has not the shape of a key.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (KeyShape::of(text.as_bytes()) == KeyShape::Key).then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// A new key: 32 bytes that nobody can guess, as OpenBin makes them.
    #[must_use]
    pub fn generate() -> Self {
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + HEX_DIGITS));
        text.push_str(PREFIX);
        for byte in Zeroizing::new(rand::random::<[u8; 32]>()).iter() {
            for digit in [byte >> 4, byte & 0xf] {
                text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
            }
        }
        Self(text)
    }

    /// The first 18 characters: what lists show.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.0[..SHOWN]
    }

    /// The hash under which the key is kept.
    #[must_use]
    pub fn hash(&self) -> KeyHash {
        KeyHash::of(&self.0)
    }

    /// The key itself. Never log or store it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}…)", self.prefix())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "sk_openbin_00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    #[test]
    fn only_the_exact_shape_is_a_key() {
        assert_eq!(KeyShape::of(KEY.as_bytes()), KeyShape::Key);
        assert_eq!(KeyShape::of(KEY.replace('a', "A").as_bytes()), KeyShape::Malformed);
        assert_eq!(KeyShape::of(&KEY.as_bytes()[..74]), KeyShape::Malformed);
        assert_eq!(KeyShape::of(format!("{KEY}0").as_bytes()), KeyShape::Malformed);
        assert_eq!(KeyShape::of(b"sk_openbin_"), KeyShape::Malformed);
        assert_eq!(KeyShape::of(b"sk_openbi"), KeyShape::Other);
        assert_eq!(KeyShape::of(format!(" {KEY}").as_bytes()), KeyShape::Other);
    }

    #[test]
    fn the_hash_is_the_sha256_of_the_whole_text() {
        assert_eq!(
            KeyHash::of("abc").to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        let hash = KeyHash::of(KEY);
        assert_eq!(KeyHash::from_hex(&hash.to_string()), Some(hash));
        assert_eq!(KeyHash::from_hex("zz"), None);
        assert_eq!(KeyHash::from_hex(&"g".repeat(64)), None);
    }

    #[test]
    fn a_new_key_has_the_shape_of_a_key_and_no_two_are_alike() {
        let (one, two) = (Token::generate(), Token::generate());
        assert_eq!(KeyShape::of(one.expose().as_bytes()), KeyShape::Key);
        assert_ne!(one.expose(), two.expose());
    }

    #[test]
    fn a_token_never_shows_more_than_its_prefix() {
        let token = Token::parse(KEY).expect("a key");
        assert_eq!(token.prefix(), "sk_openbin_0011223");
        assert_eq!(format!("{token:?}"), "Token(sk_openbin_0011223…)");
    }
}
