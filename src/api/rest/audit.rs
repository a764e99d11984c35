//! The audit chain: read, and checked from its base to its end.

use std::time::SystemTime;

use hyper::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::problem::Problem;
use super::view::instant;
use super::{Answer, Call, Rest};
use crate::keys::Verified;
use crate::keys::audit::{Action, Entry, Head, Link, Role};

const DEFAULT_LIMIT: usize = 100;
const MOST_LISTED: usize = 1_000;

/// An entry of the chain. One that cannot be read has text and hash only.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct EntryView {
    #[serde(flatten)]
    known: Option<Known>,
    /// What was hashed, behind the hash before it and a line feed: the entry as it stands in the chain.
    text: String,
    /// SHA-256, in hexadecimal.
    hash: String,
}

/// What an entry tells.
#[derive(Debug, Serialize, JsonSchema)]
struct Known {
    /// Its place, from 1.
    seq: u64,
    at: String,
    #[schemars(with = "String")]
    action: Action,
    #[schemars(with = "String")]
    role: Role,
    actor: Option<String>,
    address: Option<String>,
    instance: Option<String>,
    key_id: Option<String>,
    user_id: Option<String>,
    detail: Option<String>,
}

/// A place in the chain: number and hash of an entry; 0 and no hash where there is none.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Place {
    seq: u64,
    hash: String,
}

impl Rest {
    pub(super) async fn list_audit(&self, call: &Call<'_>) -> Answer {
        let (mut after, mut limit) = (0, DEFAULT_LIMIT);
        for (name, value) in call.parameters(&["after", "limit"])? {
            if name == "after" {
                after = value.parse().map_err(|_| Problem::bad("after is the number of an entry"))?;
            } else {
                let given = value.parse().ok().filter(|limit| (1..=MOST_LISTED).contains(limit));
                limit = given.ok_or_else(|| Problem::bad(format!("limit is between 1 and {MOST_LISTED}")))?;
            }
        }
        let ledger = self.keyring.ledger();
        let entries: Vec<_> = ledger.links(after, limit).await?.into_iter().map(EntryView::of).collect();
        let (base, head) = (Place::of(ledger.base().await?), Place::of(ledger.head().await?));
        Ok((StatusCode::OK, json!({ "entries": entries, "base": base, "head": head })))
    }

    pub(super) async fn verify_audit(&self) -> Answer {
        let Verified { base, reached, head, problem } = self.keyring.verify_audit().await?;
        let answer = json!({
            "whole": problem.is_none(),
            "problem": problem.map(|problem| problem.to_string()),
            "entries": reached.seq - base.seq,
            "base": Place::of(base),
            "head": Place::of(head),
        });
        Ok((StatusCode::OK, answer))
    }
}

impl EntryView {
    fn of(link: Link) -> Self {
        let Link { text, hash } = link;
        Self { known: serde_json::from_str(&text).ok().and_then(Known::of), text, hash }
    }
}

impl Known {
    fn of(entry: Entry) -> Option<Self> {
        let since = std::time::Duration::from_millis(u64::try_from(entry.at).ok()?);
        Some(Self {
            seq: entry.seq,
            at: instant(SystemTime::UNIX_EPOCH.checked_add(since)?),
            action: entry.action,
            role: entry.role,
            actor: entry.actor,
            address: entry.address.map(|address| address.to_string()),
            instance: entry.instance,
            key_id: entry.key_id,
            user_id: entry.user_id,
            detail: entry.detail,
        })
    }
}

impl Place {
    fn of(head: Head) -> Self {
        Self { seq: head.seq, hash: head.hash }
    }
}
