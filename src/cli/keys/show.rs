//! `keys show`: everything that is known of one key.

use std::fmt::Write as _;

use super::select::{KeyArgs, path_of};
use crate::cli::door::Door;
use crate::cli::out::{print, print_json};
use crate::cli::record::{Errand, Key, Policy, Revoked, Shown};
use crate::cli::wording::{count, duration_words, last_use, moment, plain};
use crate::cli::{Failure, OfficeArgs};

/// What `keys show` is told.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    office: OfficeArgs,
}

/// As many of the days on which a key was used are shown.
const DAYS: usize = 14;

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let Args { key, office } = args;
    let json = office.json;
    office.work(async |door: &Door| {
        let key = key.find(door).await?;
        let answer = door.read(&path_of(&key, &[])).await?;
        if json { print_json(answer.json()) } else { print(&text(&answer.parsed()?)) }
    })
}

fn text(shown: &Shown) -> String {
    let mut text = facts(&shown.record);
    for (index, day) in shown.days.iter().take(DAYS).enumerate() {
        let head = if index == 0 { "used on" } else { "" };
        line(&mut text, head, &format!("{}  {}", plain(&day.day), count(day.count, "request")));
    }
    if shown.days.len() > DAYS {
        line(&mut text, "", "and on earlier days; --json has all");
    }
    for errand in &shown.errands {
        let head = if errand.task == "tell" { "instance" } else { "ends" };
        line(&mut text, head, &errand_words(errand));
    }
    let _ = writeln!(text, "\nLast use is up to {} behind.", duration_words(&shown.usage_fresh_within));
    text
}

/// What is known of a key, one fact a line.
pub(super) fn facts(key: &Key) -> String {
    let mut text = String::new();
    let owner = match &key.user_email {
        Some(email) => format!("{} ({})", plain(email), plain(&key.user_id)),
        None => plain(&key.user_id),
    };
    let used = match &key.last_used_over {
        Some(family) => {
            format!("{} over {}", last_use(key.last_used_at.as_deref()), plain(family).replace("ipv", "IPv"))
        }
        None => last_use(key.last_used_at.as_deref()),
    };
    line(&mut text, "id", &plain(&key.id));
    line(&mut text, "name", &plain(&key.name));
    line(&mut text, "owner", &owner);
    line(&mut text, "at", &plain(&key.instance));
    line(&mut text, "prefix", &plain(&key.prefix));
    line(&mut text, "issued by", if key.issuer == "openbin" { "OpenBin" } else { "the gateway" });
    line(&mut text, "standing", &plain(&key.standing));
    line(&mut text, "created", &key.created_at.as_deref().map_or_else(|| "unknown".to_owned(), moment));
    line(&mut text, "last used", &used);
    line(&mut text, "expires", &key.policy.expires_at.as_deref().map_or_else(|| "Never".to_owned(), moment));
    line(&mut text, "good for", &terms(&key.policy));
    if let Some(successor) = &key.policy.replaced_by {
        line(&mut text, "replaced by", &plain(successor));
    }
    if let Some(revoked) = &key.revoked {
        line(&mut text, "revoked", &revocation(revoked));
    }
    text
}

fn line(text: &mut String, head: &str, rest: &str) {
    let _ = writeln!(text, "{}", format!("{head:<12} {rest}").trim_end());
}

/// What a key may be used for, in words.
fn terms(policy: &Policy) -> String {
    let list = |entries: &[String]| plain(&entries.join(", "));
    let mut terms = Vec::new();
    if policy.read_only {
        terms.push("reading only".to_owned());
    }
    if !policy.methods.is_empty() {
        terms.push(format!("methods {}", list(&policy.methods)));
    }
    if !policy.paths.is_empty() {
        terms.push(format!("paths below {}", list(&policy.paths)));
    }
    if !policy.addresses.is_empty() {
        terms.push(format!("from {}", list(&policy.addresses)));
    }
    if let Some(rate) = &policy.rate {
        terms.push(format!("at most {}", plain(rate)));
    }
    if terms.is_empty() { "everything, from everywhere".to_owned() } else { terms.join("; ") }
}

fn revocation(revoked: &Revoked) -> String {
    let how = match revoked.by.as_str() {
        "mirror" => "at its instance",
        "operator" => "by an operator",
        "owner" => "by its owner",
        "missing" => "since its instance does not know it any more",
        "rotation" => "since its successor has taken over",
        other => other,
    };
    let mut text = format!("{}, {}", moment(&revoked.at), plain(how));
    if let Some(who) = &revoked.who {
        let _ = write!(text, " ({})", plain(who));
    }
    if let Some(why) = &revoked.why {
        let _ = write!(text, ": {}", plain(why));
    }
    text
}

fn errand_words(errand: &Errand) -> String {
    let is_tell = errand.task == "tell";
    let mut text = match (errand.state.as_str(), is_tell) {
        ("pending", true) => {
            let tries = count(errand.tries.into(), "try");
            format!("is to be told of the revocation at {} ({tries} so far)", moment(&errand.due))
        }
        ("done", true) => "has revoked it, too".to_owned(),
        ("refused", true) => "did not revoke it; it is refused here all the same".to_owned(),
        ("pending", false) => format!("at {}, when its successor takes over", moment(&errand.due)),
        ("done", false) => "has ended".to_owned(),
        (other, _) => plain(other),
    };
    if let Some(note) = &errand.note {
        let _ = write!(text, ": {}", plain(note));
    }
    text
}
