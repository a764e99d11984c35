//! Which keys are asked for, and in what portions they are given.

use std::sync::Arc;
use std::time::SystemTime;

use super::store::millis;
use super::{KeyHash, KeyRecord};

/// Which keys are asked for: those that meet every condition, the newest first.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Only this instance's.
    pub instance: Option<Arc<str>>,
    /// Only this user's.
    pub user_id: Option<String>,
    /// Only those that have this text in their name, prefix, id or owner's e-mail address; in lower case.
    pub text: Option<String>,
    /// Only those in this standing.
    pub standing: Option<KeyStanding>,
    /// Only those that were not used since then.
    pub unused_since: Option<SystemTime>,
    /// Only what comes behind this place.
    pub after: Option<Cursor>,
    /// At most so many.
    pub limit: usize,
}

/// Whether a key may be used, as lists tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyStanding {
    /// It may be used.
    Active,
    /// An operator has disabled it.
    Disabled,
    /// Its time is over.
    Expired,
    /// It was revoked.
    Revoked,
}

/// A portion of the keys that were asked for.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The keys.
    pub records: Vec<KeyRecord>,
    /// Where the next portion begins; `None`: there is none.
    pub next: Option<Cursor>,
}

/// A place in the list of all keys: behind this key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The key's time in the order of the list, in milliseconds since 1970.
    pub at: i64,
    /// Its instance.
    pub instance: String,
    /// Its hash.
    pub hash: KeyHash,
}

impl KeyStanding {
    /// The standing of this key at `now`.
    #[must_use]
    pub fn of(record: &KeyRecord, now: SystemTime) -> Self {
        if record.revoked.is_some() {
            Self::Revoked
        } else if record.policy.expires_at.is_some_and(|end| end <= now) {
            Self::Expired
        } else if record.policy.disabled {
            Self::Disabled
        } else {
            Self::Active
        }
    }

    /// Its text in queries and messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }

    /// The standing with this text.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let all = [Self::Active, Self::Disabled, Self::Expired, Self::Revoked];
        all.into_iter().find(|standing| standing.as_str() == text)
    }
}

impl Query {
    /// Whether a key is in the standing, and as long unused, as is asked for. The other conditions are the
    /// store's to meet.
    #[must_use]
    pub fn admits(&self, record: &KeyRecord, now: SystemTime) -> bool {
        let standing = self.standing.is_none_or(|standing| standing == KeyStanding::of(record, now));
        let last = record.last_used_at.or(record.created_at);
        let unused = self.unused_since.is_none_or(|since| last.is_none_or(|last| last < since));
        standing && unused
    }
}

/// So many keys go in one question about their days, of which each has hundreds.
pub(super) const KEYS_WITH_DAYS: usize = 50;
/// Keys that a store reads in one go.
pub(super) const PORTION: usize = 500;

/// What a store found on a stretch of its list.
pub(super) struct Stretch {
    /// Keys that may be what is asked for, each with its place.
    pub(super) found: Vec<(Cursor, KeyRecord)>,
    /// Behind which place to go on; `None`: the list is over.
    pub(super) rest: Option<Cursor>,
}

/// A page in the making. Stores look through their lists stretch by stretch, and serve others in between.
pub(super) struct Gathering<'q> {
    query: &'q Query,
    now: SystemTime,
    /// What is gathered so far.
    pub(super) page: Page,
    /// The last key that was looked at.
    last: Option<Cursor>,
    /// Behind which place the next stretch begins.
    pub(super) rest: Option<Cursor>,
    /// So many keys are of use, at most.
    pub(super) wanted: usize,
}

impl<'q> Gathering<'q> {
    /// Nothing gathered yet. One more than is asked for tells whether there is a next page.
    pub(super) fn new(query: &'q Query, now: SystemTime) -> Self {
        let (last, rest) = (query.after.clone(), query.after.clone());
        let wanted = query.limit.saturating_add(1).min(PORTION);
        Self { query, now, page: Page::default(), last, rest, wanted }
    }

    /// Takes what was found; `true`: the page is complete.
    pub(super) fn take(&mut self, stretch: Stretch) -> bool {
        for (place, record) in stretch.found {
            if self.page.records.len() == self.query.limit {
                self.page.next = self.last.take();
                return true;
            }
            self.last = Some(place);
            if self.query.admits(&record, self.now) {
                self.page.records.push(record);
            }
        }
        // Where the first stretch was not enough, most keys are not what is asked for.
        self.wanted = PORTION;
        if stretch.rest.is_some() {
            self.last.clone_from(&stretch.rest);
        }
        self.rest = stretch.rest;
        self.rest.is_none()
    }
}

/// What a query's text is looked for in: lower case.
pub(super) fn searched(record: &KeyRecord) -> String {
    let email = record.user_email.as_deref().unwrap_or_default();
    [&record.name, &record.prefix, &record.id, &record.user_id, email].map(str::to_lowercase).join("\n")
}

/// The milliseconds by which a record is put in order: when it was created, else when it came to be known.
pub(super) fn listed_at(record: &KeyRecord, now: SystemTime) -> i64 {
    millis(record.created_at.unwrap_or(now))
}

/// As clients hand it back: the parts, separated by dots.
impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.at, self.hash, self.instance)
    }
}

impl std::str::FromStr for Cursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "not a cursor; take it as it was given with the page before";
        let mut parts = text.splitn(3, '.');
        let mut part = || parts.next().ok_or(WRONG);
        let at = part()?.parse().map_err(|_| WRONG)?;
        let hash = KeyHash::from_hex(part()?).ok_or(WRONG)?;
        Ok(Self { at, instance: part()?.to_owned(), hash })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::keys::record::tests::record;
    use crate::keys::{Policy, Revocation, RevokedBy};

    #[test]
    fn a_cursor_is_read_back_from_its_text() {
        let cursor = Cursor { at: 1_795_384_639_021, instance: "my.home".to_owned(), hash: KeyHash::of("a") };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for wrong in ["", "1.2", "x.y.z", "1..home"] {
            assert!(wrong.parse::<Cursor>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_revoked_key_is_revoked_whatever_its_policy_says() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        let policy = Policy { expires_at: Some(now), disabled: true, ..Policy::default() };
        let expired = KeyRecord { policy, ..record("a") };
        assert_eq!(KeyStanding::of(&expired, now), KeyStanding::Expired);
        assert_eq!(KeyStanding::of(&expired, now - Duration::from_secs(1)), KeyStanding::Disabled);
        let revoked = Some(Revocation::new(now, RevokedBy::Operator));
        assert_eq!(KeyStanding::of(&KeyRecord { revoked, ..expired }, now), KeyStanding::Revoked);
    }

    #[test]
    fn a_key_that_was_never_used_counts_from_its_creation() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let query = Query { unused_since: Some(at(50)), ..Query::default() };
        let with = |created, used| {
            let record = KeyRecord { created_at: Some(at(created)), last_used_at: used, ..record("a") };
            query.admits(&record, at(100))
        };
        assert!(with(1, None) && with(1, Some(at(49))));
        assert!(!with(1, Some(at(50))) && !with(60, None));
    }
}
