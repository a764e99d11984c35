//! Keys page by page: no more than one page is held, however many there are.

use serde::Deserialize;
use serde_json::Value;

use crate::cli::door::{Door, with_query};
use crate::cli::{Failure, wording};

/// Which keys.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct FilterArgs {
    /// Only this instance's
    #[arg(long, value_name = "NAME")]
    pub(super) instance: Option<String>,
    /// Only this user's: the user's id at the instance
    #[arg(long, value_name = "ID")]
    pub(super) user: Option<String>,
    /// Only those with this text in their name, prefix or id, or in the owner's id or e-mail address
    #[arg(long, value_name = "TEXT")]
    pub(super) search: Option<String>,
    /// Only those that were not used for so long, such as 90d; from their creation where they never were
    #[arg(long, value_name = "DURATION", value_parser = wording::duration)]
    pub(super) unused_for: Option<String>,
}

/// Whether a key may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Standing {
    /// It may be used
    Active,
    /// An operator has disabled it
    Disabled,
    /// Its time is over
    Expired,
    /// It was revoked
    Revoked,
}

/// The keys that a filter leaves.
pub(super) struct Pages<'d> {
    door: &'d Door,
    parameters: Vec<(&'static str, String)>,
    next: Next,
    /// How many are wanted still; `None`: all.
    left: Option<u64>,
}

enum Next {
    Start,
    After(String),
    End,
}

/// A page of keys.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    pub(super) keys: Vec<Value>,
    pub(super) next: Option<String>,
    pub(super) usage_fresh_within: String,
}

/// As many keys as the admin API gives at once.
const AT_ONCE: u64 = 1000;

impl Standing {
    fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

impl<'d> Pages<'d> {
    /// The keys that this filter leaves, at most so many; 0: all.
    pub(super) fn new(
        door: &'d Door,
        filter: &FilterArgs,
        standing: Option<Standing>,
        limit: u64,
    ) -> Result<Self, Failure> {
        let mut parameters = Vec::new();
        if let Some(name) = &filter.instance {
            parameters.push(("instance", door.instance(Some(name))?));
        }
        let others = [("user", &filter.user), ("q", &filter.search), ("unused_for", &filter.unused_for)];
        parameters.extend(others.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
        parameters.extend(standing.map(|standing| ("standing", standing.as_str().to_owned())));
        Ok(Self { door, parameters, next: Next::Start, left: (limit > 0).then_some(limit) })
    }

    /// The next page; `None` after the last.
    pub(super) async fn next(&mut self) -> Result<Option<Page>, Failure> {
        let limit = self.left.map_or(AT_ONCE, |left| left.min(AT_ONCE));
        let mut parameters = self.parameters.clone();
        parameters.push(("limit", limit.to_string()));
        match &self.next {
            Next::Start => {}
            Next::After(cursor) => parameters.push(("cursor", cursor.clone())),
            Next::End => return Ok(None),
        }
        let page: Page = self.door.read(&with_query("/keys", &parameters)).await?.parsed()?;
        let given = u64::try_from(page.keys.len()).unwrap_or(u64::MAX);
        self.left = self.left.map(|left| left.saturating_sub(given));
        self.next = match &page.next {
            Some(cursor) if self.left != Some(0) => Next::After(cursor.clone()),
            Some(_) | None => Next::End,
        };
        Ok(Some(page))
    }
}
