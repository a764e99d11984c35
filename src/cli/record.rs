//! What the admin API answers, as far as it is shown to a person.
//!
//! Names are those of the API, and what it adds later is passed over: a newer gateway can be asked, too.

use serde::Deserialize;

/// A key.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Key {
    pub(super) id: String,
    pub(super) instance: String,
    pub(super) user_id: String,
    pub(super) user_email: Option<String>,
    pub(super) name: String,
    pub(super) prefix: String,
    pub(super) issuer: String,
    pub(super) standing: String,
    pub(super) created_at: Option<String>,
    pub(super) last_used_at: Option<String>,
    pub(super) last_used_over: Option<String>,
    pub(super) policy: Policy,
    pub(super) revoked: Option<Revoked>,
}

/// What a key may be used for, and until when.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Policy {
    pub(super) expires_at: Option<String>,
    pub(super) disabled: bool,
    pub(super) read_only: bool,
    pub(super) methods: Vec<String>,
    pub(super) paths: Vec<String>,
    pub(super) addresses: Vec<String>,
    pub(super) rate: Option<String>,
    pub(super) replaced_by: Option<String>,
}

/// When, how and why a key ended.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Revoked {
    pub(super) at: String,
    pub(super) by: String,
    pub(super) who: Option<String>,
    pub(super) why: Option<String>,
}

/// Keys that were looked for.
#[derive(Debug, Deserialize)]
pub(super) struct Keys {
    pub(super) keys: Vec<Key>,
}

/// One key with what was done with it.
#[derive(Debug, Deserialize)]
pub(super) struct Shown {
    pub(super) record: Key,
    #[serde(default)]
    pub(super) days: Vec<Day>,
    #[serde(default)]
    pub(super) errands: Vec<Errand>,
    pub(super) usage_fresh_within: String,
}

/// How often a key was used on one day.
#[derive(Debug, Deserialize)]
pub(super) struct Day {
    pub(super) day: String,
    pub(super) count: u64,
}

/// What is still to be done about a key, or was.
#[derive(Debug, Deserialize)]
pub(super) struct Errand {
    pub(super) task: String,
    pub(super) state: String,
    pub(super) due: String,
    pub(super) tries: u32,
    pub(super) note: Option<String>,
}

/// A key that was just made.
#[derive(Deserialize)]
pub(super) struct Made {
    pub(super) key: zeroize::Zeroizing<String>,
    pub(super) record: Key,
    /// The key whose place it takes.
    pub(super) old: Option<Key>,
}

/// What came of a revocation.
#[derive(Debug, Deserialize)]
pub(super) struct Ended {
    pub(super) revoked: u64,
    #[serde(default = "yes")]
    pub(super) known: bool,
    #[serde(default = "yes")]
    pub(super) propagated: bool,
}

fn yes() -> bool {
    true
}

impl Key {
    /// Whose it is, as people know them.
    pub(super) fn owner(&self) -> &str {
        self.user_email.as_deref().unwrap_or(&self.user_id)
    }
}
