//! What is known of one API key.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{KeyHash, Policy};

/// What is kept of one API key. Never the key itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// The key's SHA-256.
    pub hash: KeyHash,
    /// The key's id at its issuer: a UUID.
    pub id: String,
    /// The instance that the key belongs to.
    pub instance: Arc<str>,
    /// The owner's id.
    pub user_id: String,
    /// The owner's e-mail address, where it is known.
    pub user_email: Option<String>,
    /// The name that the owner gave the key; not unique, may be empty.
    pub name: String,
    /// The key's first 18 characters.
    pub prefix: String,
    /// Who issued the key.
    pub issuer: Issuer,
    /// When the key was created, where it is known.
    pub created_at: Option<SystemTime>,
    /// When a request last used the key; `None`: never.
    pub last_used_at: Option<SystemTime>,
    /// Over which kind of address it was last used, where that is known.
    pub last_used_over: Option<AddressFamily>,
    /// What the key may be used for, and until when.
    pub policy: Policy,
    /// Set once, and never cleared.
    pub revoked: Option<Revocation>,
}

/// The kind of an IP address: all that is kept of where a key was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AddressFamily {
    /// IPv4, also where it is mapped into IPv6.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl AddressFamily {
    /// The family of this address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        if address.to_canonical().is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }

    /// Its text in stores and messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }

    /// The family with this text.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        [Self::Ipv4, Self::Ipv6].into_iter().find(|family| family.as_str() == text)
    }
}

/// Who issued a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Issuer {
    /// The instance itself; the gateway mirrors the key.
    Openbin,
    /// The gateway; no instance knows the key.
    Gateway,
}

impl Issuer {
    /// Its text in stores, configuration and messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Openbin => "openbin",
            Self::Gateway => "gateway",
        }
    }

    /// The issuer with this text.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        [Self::Openbin, Self::Gateway].into_iter().find(|issuer| issuer.as_str() == text)
    }
}

/// When, how and why a key ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// When it was revoked.
    pub at: SystemTime,
    /// How it came about.
    pub by: RevokedBy,
    /// Who did it, where that is known: an operator's name, a user's id.
    pub who: Option<String>,
    /// Why, in their own words.
    pub why: Option<String>,
}

impl Revocation {
    /// By nobody in particular, and for no reason given.
    #[must_use]
    pub fn new(at: SystemTime, by: RevokedBy) -> Self {
        Self { at, by, who: None, why: None }
    }
}

/// How a revocation came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RevokedBy {
    /// The instance revoked the key, and the gateway saw it.
    Mirror,
    /// An operator revoked it at the gateway.
    Operator,
    /// Its owner revoked it at the gateway, which answers for the instance.
    Owner,
    /// The instance was found not to have the key any more.
    Missing,
    /// It was rotated, and the time that both keys were good is over.
    Rotation,
}

impl RevokedBy {
    /// Its text in stores and messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mirror => "mirror",
            Self::Operator => "operator",
            Self::Owner => "owner",
            Self::Missing => "missing",
            Self::Rotation => "rotation",
        }
    }

    /// The kind of revocation with this text.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|by| by.as_str() == text)
    }

    const ALL: [Self; 5] = [Self::Mirror, Self::Operator, Self::Owner, Self::Missing, Self::Rotation];
}

/// A record of a key that may be used, with the texts that every request needs made ready.
#[derive(Debug)]
pub struct ActiveKey {
    /// The record itself.
    pub record: KeyRecord,
    /// The key's id.
    pub id: Label,
    /// The owner's id.
    pub user_id: Label,
    /// The owner's e-mail address, where it is known.
    pub user_email: Option<Label>,
    /// What is to be checked on every use; `None`: nothing.
    pub policy: Option<Policy>,
    /// Whether there was news of the key since its record was read.
    spoiled: AtomicBool,
}

impl ActiveKey {
    /// `None` where the record is of a revoked key.
    #[must_use]
    pub fn new(record: KeyRecord) -> Option<Self> {
        if record.revoked.is_some() {
            return None;
        }
        Some(Self {
            id: Label::new(&record.id),
            user_id: Label::new(&record.user_id),
            user_email: record.user_email.as_deref().map(Label::new),
            policy: (!record.policy.is_empty()).then(|| record.policy.clone()),
            spoiled: AtomicBool::new(false),
            record,
        })
    }

    /// Has nobody use this again: there is news of the key.
    pub(super) fn spoil(&self) {
        self.spoiled.store(true, Ordering::Release);
    }

    /// Whether there was news of the key since its record was read: it may be revoked, or have another policy.
    #[must_use]
    pub fn is_spoiled(&self) -> bool {
        self.spoiled.load(Ordering::Acquire)
    }
}

/// Text that is safe in a header, a log line and a metric: visible ASCII. Every other byte of its UTF-8,
/// and `%` itself, is percent-encoded (RFC 3986 §2.1), so two different texts never become the same label.
/// Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Label(Bytes);

impl Label {
    /// Makes a label of any text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'%';
        if text.bytes().all(plain) {
            return Self(Bytes::copy_from_slice(text.as_bytes()));
        }
        let mut out = String::with_capacity(text.len() + 16);
        for byte in text.bytes() {
            if plain(byte) {
                out.push(char::from(byte));
            } else {
                out.push_str(&format!("%{byte:02X}"));
            }
        }
        Self(Bytes::from(out))
    }

    /// The text: visible ASCII only.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The bytes of that text.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text that the label was made of.
    #[must_use]
    pub fn text(&self) -> String {
        Self::text_of(self.as_str())
    }

    /// The text that a label with this text was made of.
    pub(super) fn text_of(label: &str) -> String {
        let mut bytes = Vec::with_capacity(label.len());
        let mut rest = label.as_bytes().iter();
        while let Some(&byte) = rest.next() {
            if byte == b'%' {
                let mut digit = || rest.next().and_then(|digit| char::from(*digit).to_digit(16)).unwrap_or(0);
                let value = digit() << 4 | digit();
                bytes.push(u8::try_from(value).unwrap_or_default());
            } else {
                bytes.push(byte);
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The text's bytes, shared rather than copied.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        self.0.clone()
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A record of a key that may be used.
    pub(in crate::keys) fn record(key: &str) -> KeyRecord {
        KeyRecord {
            hash: KeyHash::of(key),
            id: format!("id of {key}"),
            instance: Arc::from("home"),
            user_id: "u1".to_owned(),
            user_email: Some("ann@example.com".to_owned()),
            name: "laptop".to_owned(),
            prefix: "sk_openbin_0011223".to_owned(),
            issuer: Issuer::Openbin,
            created_at: Some(SystemTime::UNIX_EPOCH),
            last_used_at: None,
            last_used_over: None,
            policy: Policy::default(),
            revoked: None,
        }
    }

    #[test]
    fn issuers_and_revocations_are_read_back_from_their_text() {
        for issuer in [Issuer::Openbin, Issuer::Gateway] {
            assert_eq!(Issuer::from_text(issuer.as_str()), Some(issuer));
        }
        for by in RevokedBy::ALL {
            assert_eq!(RevokedBy::from_text(by.as_str()), Some(by));
        }
        assert_eq!(Issuer::from_text("Openbin"), None);
    }

    #[test]
    fn a_label_is_visible_ascii_whatever_the_text() {
        assert_eq!(Label::new("ann@example.com").as_str(), "ann@example.com");
        assert_eq!(Label::new("a b\r\nx: y").as_str(), "a%20b%0D%0Ax:%20y");
        assert_eq!(Label::new("jörg").as_str(), "j%C3%B6rg");
    }

    #[test]
    fn a_label_gives_its_text_back() {
        for text in ["", "plain", "a b%20\r\n", "jörg@例え.jp"] {
            assert_eq!(Label::new(text).text(), text);
        }
    }

    #[test]
    fn different_texts_have_different_labels() {
        assert_ne!(Label::new("a b"), Label::new("a%20b"));
    }
}
