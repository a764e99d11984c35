//! What was done to keys, users and sessions, by whom and from where, in a chain that shows every edit.
//!
//! Each entry's hash covers its content and the hash before it, so nobody can change, take out or insert an
//! entry without every later hash being wrong. Where entries are kept is the store's affair.

use std::net::IpAddr;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

mod walk;

pub use walk::{Trim, Walk};

use super::store::millis;

/// What is to be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When it was done.
    pub at: SystemTime,
    /// Who did it.
    pub actor: Actor,
    /// What was done.
    pub action: Action,
    /// The instance that it concerns, where it concerns one.
    pub instance: Option<String>,
    /// The key that it concerns.
    pub key_id: Option<String>,
    /// The user that it concerns.
    pub user_id: Option<String>,
    /// What else there is to know, in plain words; never a secret.
    pub detail: Option<String>,
}

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// In what part.
    pub role: Role,
    /// A name: an operator's login, a user's id.
    pub name: Option<String>,
    /// From where.
    pub address: Option<IpAddr>,
}

/// In what part someone acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Whoever runs the gateway, through the admin API or the command line.
    Operator,
    /// A user of an instance, through the proxy.
    User,
    /// The gateway of its own accord.
    Gateway,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A key was made here.
    KeyCreated,
    /// A key was seen made at its instance.
    KeyLearned,
    /// A key was first used, and its instance vouched for it.
    KeyAdopted,
    /// A key was taken over from elsewhere.
    KeyImported,
    /// A key was revoked.
    KeyRevoked,
    /// A key was given a successor.
    KeyRotated,
    /// A key's policy was changed.
    PolicyChanged,
    /// An instance was told of a revocation, and took it or refused it.
    InstanceTold,
    /// All keys and sessions of a user are refused.
    UserBlocked,
    /// They are accepted again.
    UserUnblocked,
    /// A session was ended before its time.
    SessionEnded,
    /// An instance gave out the token of an ended session once more: it signed the user in again.
    SessionResumed,
    /// Someone without the admin token tried the admin API.
    AdminRefused,
    /// The oldest entries were removed for their age.
    AuditTrimmed,
}

/// An entry of the chain, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its place, from 1.
    pub seq: u64,
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// What was done.
    pub action: Action,
    /// In what part.
    pub role: Role,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// From where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// The user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// What else there is to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The end of the chain: what the next entry is tied to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The last entry's place; 0: there is none.
    pub seq: u64,
    /// The last entry's hash, in lower-case hexadecimal; empty: there is none.
    pub hash: String,
}

/// An entry as a store keeps it: its text, which is never written anew, and its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The entry, as JSON.
    pub text: String,
    /// SHA-256 over the hash before, a line feed, and the text; lower-case hexadecimal.
    pub hash: String,
}

/// What is wrong with a chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// An entry is not where it should be.
    #[error("entry {wanted} is missing: entry {found} stands in its place")]
    Missing {
        /// The place that was looked at.
        wanted: u64,
        /// What is there.
        found: u64,
    },
    /// An entry was changed, or one before it was.
    #[error("entry {0} was changed, or does not follow the one before it")]
    Changed(u64),
    /// An entry cannot be read.
    #[error("the entry after {0} cannot be read")]
    Unreadable(u64),
    /// The chain ends before the end that was written down.
    #[error("the last entries are missing: the chain ends at {found}, and should end at {wanted}")]
    Cut {
        /// Where it should end.
        wanted: u64,
        /// Where it ends.
        found: u64,
    },
    /// The chain begins later than it was trimmed to.
    #[error(
        "the first entries are missing: the chain begins at {begins}, and no entry in it tells that those before \
         were removed for their age"
    )]
    Untold {
        /// The first entry that is there.
        begins: u64,
    },
}

impl Event {
    /// What one actor did just now.
    #[must_use]
    pub fn new(at: SystemTime, actor: &Actor, action: Action) -> Self {
        let actor = actor.clone();
        Self { at, actor, action, instance: None, key_id: None, user_id: None, detail: None }
    }

    /// The entry of this event behind that head.
    #[must_use]
    pub fn follow(&self, head: &Head) -> Link {
        let entry = Entry {
            seq: head.seq + 1,
            at: millis(self.at),
            action: self.action,
            role: self.actor.role,
            actor: self.actor.name.clone(),
            address: self.actor.address,
            instance: self.instance.clone(),
            key_id: self.key_id.clone(),
            user_id: self.user_id.clone(),
            detail: self.detail.clone(),
        };
        // Texts, numbers and names only: nothing that JSON could refuse.
        let text = serde_json::to_string(&entry).unwrap_or_default();
        Link::tied(&head.hash, text)
    }
}

impl Link {
    /// A text with its hash, behind the entry that has this hash.
    pub(super) fn tied(before: &str, text: String) -> Self {
        let hash = hash(before, &text);
        Self { text, hash }
    }
}

impl Actor {
    /// The gateway itself.
    #[must_use]
    pub fn gateway() -> Self {
        Self { role: Role::Gateway, name: None, address: None }
    }
}

impl Head {
    /// Of a chain without entries.
    #[must_use]
    pub fn start() -> Self {
        Self { seq: 0, hash: String::new() }
    }

    /// Checks that a link follows this head, and moves on to it.
    ///
    /// # Errors
    /// What is wrong with the link.
    pub fn advance(&mut self, link: &Link) -> Result<Entry, Broken> {
        let entry: Entry = serde_json::from_str(&link.text).map_err(|_| Broken::Unreadable(self.seq))?;
        if entry.seq != self.seq + 1 {
            return Err(Broken::Missing { wanted: self.seq + 1, found: entry.seq });
        }
        if hash(&self.hash, &link.text) != link.hash {
            return Err(Broken::Changed(entry.seq));
        }
        self.seq = entry.seq;
        self.hash.clone_from(&link.hash);
        Ok(entry)
    }
}

fn hash(before: &str, text: &str) -> String {
    let mut digest = Sha256::new();
    digest.update(before.as_bytes());
    digest.update(b"\n");
    digest.update(text.as_bytes());
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(length: usize) -> Vec<Link> {
        let mut head = Head::start();
        let mut links = Vec::new();
        for number in 0..length {
            let actor = Actor { role: Role::Operator, name: Some("ann".to_owned()), address: None };
            let mut event = Event::new(SystemTime::UNIX_EPOCH, &actor, Action::KeyRevoked);
            event.key_id = Some(format!("key {number}"));
            let link = event.follow(&head);
            head.advance(&link).expect("it follows");
            links.push(link);
        }
        links
    }

    fn verdict(links: &[Link]) -> Result<(), Broken> {
        let mut head = Head::start();
        links.iter().try_for_each(|link| head.advance(link).map(|_| ()))
    }

    #[test]
    fn an_untouched_chain_is_whole() {
        assert_eq!(verdict(&chain(5)), Ok(()));
    }

    #[test]
    fn an_edit_is_found_even_where_its_own_hash_was_made_anew() {
        let mut links = chain(5);
        links[2].text = links[2].text.replace("key 2", "key 9");
        assert_eq!(verdict(&links), Err(Broken::Changed(3)));
        links[2].hash = hash(&links[1].hash, &links[2].text);
        assert_eq!(verdict(&links), Err(Broken::Changed(4)));
    }

    #[test]
    fn a_missing_a_moved_and_an_unreadable_entry_are_found() {
        let mut links = chain(5);
        links.remove(1);
        assert_eq!(verdict(&links), Err(Broken::Missing { wanted: 2, found: 3 }));
        let mut links = chain(5);
        links.swap(1, 2);
        assert!(verdict(&links).is_err());
        let mut links = chain(2);
        links[1].text = "{".to_owned();
        assert_eq!(verdict(&links), Err(Broken::Unreadable(1)));
    }
}
