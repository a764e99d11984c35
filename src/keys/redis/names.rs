//! What the store's entries are called.
//!
//! All names of one gateway begin with the same hash tag, so that in a Redis Cluster they lie on one node and
//! a script may touch them all.

use super::super::KeyHash;
use super::super::block::Subject;
use super::super::errand::Task;

/// The names of the store's entries.
pub(super) struct Names {
    /// What all of them begin with.
    base: String,
}

impl Names {
    pub(super) fn new(namespace: &str) -> Self {
        Self { base: format!("{{{namespace}}}:") }
    }

    /// Other names for the same things, which nobody else uses.
    pub(super) fn apart(&self, name: &str) -> Self {
        Self { base: format!("{}{name}:", self.base) }
    }

    /// The key record.
    pub(super) fn key(&self, instance: &str, hash: &KeyHash) -> String {
        format!("{}{hash}", self.keys_of(instance))
    }

    /// What the names of an instance's key records begin with.
    pub(super) fn keys_of(&self, instance: &str) -> String {
        format!("{}{}:", self.keys(), part(instance))
    }

    /// What the names of all key records begin with.
    pub(super) fn keys(&self) -> String {
        format!("{}key:", self.base)
    }

    /// Which keys have this id, and whether it is buried.
    pub(super) fn id(&self, instance: &str, id: &str) -> String {
        format!("{}id:{}:{id}", self.base, part(instance))
    }

    /// When, and over what, the key was last used.
    pub(super) fn usage(&self, instance: &str, hash: &KeyHash) -> String {
        format!("{}{}:{hash}", self.usages(), part(instance))
    }

    /// What the names of all last uses begin with.
    pub(super) fn usages(&self) -> String {
        format!("{}usage:", self.base)
    }

    /// How often the key was used, by day and replica.
    pub(super) fn days(&self, instance: &str, hash: &KeyHash) -> String {
        format!("{}{}:{hash}", self.all_days(), part(instance))
    }

    /// What the names of all keys' days begin with.
    pub(super) fn all_days(&self) -> String {
        format!("{}days:", self.base)
    }

    /// All keys in their order, with what is searched.
    pub(super) fn list(&self) -> String {
        format!("{}list", self.base)
    }

    /// The keys of the users with this id, at whatever instance, in their order.
    pub(super) fn list_of(&self, user_id: &str) -> String {
        format!("{}list:{user_id}", self.base)
    }

    /// How many keys each user has that are not revoked.
    pub(super) fn good(&self) -> String {
        format!("{}good", self.base)
    }

    /// What nobody ever writes.
    pub(super) fn pulse(&self) -> String {
        format!("{}pulse", self.base)
    }

    /// All blocks.
    pub(super) fn blocks(&self) -> String {
        format!("{}blocks", self.base)
    }

    /// Something that is to be done about a key.
    pub(super) fn errand(&self, instance: &str, id: &str, task: Task) -> String {
        format!("{}errand:{}:{}:{id}", self.base, part(instance), task.as_str())
    }

    /// The errands that are pending, by the time when they are due.
    pub(super) fn due(&self) -> String {
        format!("{}due", self.base)
    }

    /// The audit chain's end, the chain itself, whose turn it is to add to it, and the change log.
    pub(super) fn chain(&self) -> [String; 4] {
        ["head", "audit", "turn", "changes"].map(|name| format!("{}{name}", self.base))
    }

    /// The change log, how far each process has come in it, and what the store is called.
    pub(super) fn log(&self) -> [String; 3] {
        ["changes", "replicas", "store"].map(|name| format!("{}{name}", self.base))
    }

    /// Which processes have written to the store again what it had lost.
    pub(super) fn rewritten(&self) -> String {
        format!("{}rewritten", self.base)
    }

    /// Written only so that there is something to be copied.
    pub(super) fn copied(&self) -> String {
        format!("{}copied", self.base)
    }

    /// The errands that are over, by the time when they were.
    pub(super) fn over(&self) -> String {
        format!("{}over", self.base)
    }

    /// What is left of a limit that all gateways count together.
    pub(super) fn bucket(&self, name: &str) -> String {
        format!("{}limit:{name}", self.base)
    }

    /// The last entry that was taken off the audit chain's old end.
    pub(super) fn trimmed(&self) -> String {
        format!("{}base", self.base)
    }
}

/// A user, among all instances' users.
pub(super) fn owner(instance: &str, user_id: &str) -> String {
    format!("{}:{user_id}", part(instance))
}

/// Who is blocked, among all that are.
pub(super) fn subject(instance: &str, subject: &Subject) -> String {
    match subject {
        Subject::User(id) => format!("{}:user:{id}", part(instance)),
        Subject::Session(digest) => format!("{}:session:{}", part(instance), KeyHash::from(*digest)),
    }
}

/// Reads back what [`subject`] wrote.
pub(super) fn read_subject(text: &str) -> Option<(String, Subject)> {
    let mut parts = text.splitn(3, ':');
    let (instance, kind, name) = (parts.next()?, parts.next()?, parts.next()?);
    let subject = match kind {
        "user" => Subject::User(name.to_owned()),
        "session" => Subject::Session(*KeyHash::from_hex(name)?.as_bytes()),
        _ => return None,
    };
    Some((instance.replace("%3A", ":").replace("%25", "%"), subject))
}

/// An instance's name without the separator, so that no two of them lead to the same entry.
fn part(instance: &str) -> String {
    instance.replace('%', "%25").replace(':', "%3A")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_keys_share_an_entry() {
        let names = Names::new("ns");
        assert_ne!(names.id("a", "b:c"), names.id("a:b", "c"));
        assert_ne!(names.id("a:b", "c"), names.id("a%3Ab", "c"));
        assert_ne!(names.list(), names.list_of(""));
    }

    #[test]
    fn all_names_lie_in_one_slot_of_a_cluster() {
        let (names, hash) = (Names::new("a:b"), KeyHash::of("k"));
        let apart = names.apart("probe:1");
        for name in [names.key("home", &hash), names.list_of("u{1}"), apart.id("home", "{x}")] {
            assert!(name.starts_with("{a:b}:"), "{name}");
        }
    }

    #[test]
    fn who_is_blocked_is_read_back_from_its_text() {
        for (instance, blocked) in [
            ("home", Subject::User("a:b%3A".to_owned())),
            ("a:b%3A", Subject::User(String::new())),
            ("home", Subject::Session([7; 32])),
        ] {
            let text = subject(instance, &blocked);
            assert_eq!(read_subject(&text), Some((instance.to_owned(), blocked)));
        }
        for wrong in ["", "home", "home:user", "home:host:x", "home:session:x"] {
            assert_eq!(read_subject(wrong), None, "{wrong}");
        }
    }
}
