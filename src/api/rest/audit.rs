//! The audit chain: read, and checked from end to end.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::problem::Problem;
use super::{Answer, Call, Rest};
use crate::keys::audit::{Broken, Head, Link};

const DEFAULT_LIMIT: usize = 100;
const MOST_LISTED: usize = 1_000;

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
        let links = self.keyring.ledger().links(after, limit).await?;
        let entries: Vec<Value> = links.iter().map(shown).collect();
        let head = self.keyring.ledger().head().await?;
        Ok((StatusCode::OK, json!({ "entries": entries, "head": head_json(&head) })))
    }

    pub(super) async fn verify_audit(&self) -> Answer {
        // The end first: what is added meanwhile lies behind it.
        let written = self.keyring.ledger().head().await?;
        let mut walked = Head::start();
        let problem = loop {
            let links = self.keyring.ledger().links(walked.seq, MOST_LISTED).await?;
            if links.is_empty() {
                break None;
            }
            if let Err(broken) = links.iter().try_for_each(|link| walked.advance(link).map(|_| ())) {
                break Some(broken);
            }
        };
        let cut = Broken::Cut { wanted: written.seq, found: walked.seq };
        let problem = problem.or((walked.seq < written.seq).then_some(cut));
        let problem = problem.map(|problem| problem.to_string());
        let head = head_json(&written);
        let answer =
            json!({ "whole": problem.is_none(), "problem": problem, "entries": walked.seq, "head": head });
        Ok((StatusCode::OK, answer))
    }
}

/// An entry with its hash; one that cannot be read is shown as it is.
fn shown(link: &Link) -> Value {
    match serde_json::from_str::<Value>(&link.text) {
        Ok(Value::Object(mut entry)) => {
            entry.insert("hash".to_owned(), link.hash.clone().into());
            Value::Object(entry)
        }
        Ok(_) | Err(_) => json!({ "unreadable": link.text, "hash": link.hash }),
    }
}

fn head_json(head: &Head) -> Value {
    json!({ "seq": head.seq, "hash": head.hash })
}
