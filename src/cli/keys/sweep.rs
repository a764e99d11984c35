//! Many keys revoked at once: listed first, asked about, and then revoked.

use serde::Deserialize;
use serde_json::json;

use super::list::table_of;
use super::pages::{FilterArgs, Pages};
use super::revoke::{confirmed, described, why};
use super::select::path_of;
use crate::cli::Failure;
use crate::cli::door::{Door, path};
use crate::cli::out::{affirms, can_ask, print, print_json, say};
use crate::cli::progress::bar;
use crate::cli::record::{Ended, Key};
use crate::cli::wording::{count, plain};

/// Which keys are to be revoked, and how.
#[derive(Debug)]
pub(in crate::cli) struct Sweep {
    /// All of this user's.
    pub(in crate::cli) user: Option<String>,
    /// Only those that were not used for so long.
    pub(in crate::cli) unused_for: Option<String>,
    /// Only at this instance.
    pub(in crate::cli) instance: Option<String>,
    /// Why.
    pub(in crate::cli) reason: Option<String>,
    /// Without asking.
    pub(in crate::cli) yes: bool,
    /// Only show what would be revoked.
    pub(in crate::cli) dry_run: bool,
    /// As one JSON document.
    pub(in crate::cli) json: bool,
}

pub(in crate::cli) async fn run(sweep: &Sweep, door: &Door) -> Result<(), Failure> {
    let instance = match &sweep.user {
        // A user's id says nothing at another instance.
        Some(_) => Some(door.instance(sweep.instance.as_deref())?),
        None => sweep.instance.clone(),
    };
    let keys = living(sweep, instance.clone(), door).await?;
    if sweep.dry_run {
        return show(sweep, &keys);
    }
    let number = u64::try_from(keys.len()).unwrap_or(u64::MAX);
    if number > 0 && !sweep.yes {
        ask(sweep, &keys, number)?;
    }
    match (&sweep.user, &sweep.unused_for, instance) {
        (Some(user), None, Some(instance)) => all_of_user(sweep, &instance, user, door).await,
        (Some(_), _, _) | (None, _, _) => each(sweep, &keys, door).await,
    }
}

/// The keys that are meant and not revoked yet.
async fn living(sweep: &Sweep, instance: Option<String>, door: &Door) -> Result<Vec<Key>, Failure> {
    let Sweep { user, unused_for, .. } = sweep;
    let filter =
        FilterArgs { instance, user: user.clone(), unused_for: unused_for.clone(), ..FilterArgs::default() };
    let mut pages = Pages::new(door, &filter, None, 0)?;
    let mut living = Vec::new();
    while let Some(page) = pages.next().await? {
        for key in &page.keys {
            let key = Key::deserialize(key).map_err(anyhow::Error::new)?;
            living.extend(key.revoked.is_none().then_some(key));
        }
    }
    Ok(living)
}

fn show(sweep: &Sweep, keys: &[Key]) -> Result<(), Failure> {
    if sweep.json {
        let keys: Vec<_> = keys.iter().map(|key| json!({ "instance": key.instance, "id": key.id })).collect();
        return print_json(&json!({ "would_revoke": keys }));
    }
    if !keys.is_empty() {
        print(&table_of(keys))?;
    }
    say(&format!("Would revoke {}.", count(u64::try_from(keys.len()).unwrap_or(u64::MAX), "key")));
    Ok(())
}

fn ask(sweep: &Sweep, keys: &[Key], number: u64) -> Result<(), Failure> {
    if !can_ask() {
        let told = format!(
            "this would revoke {}; say --yes to do it without being asked, or --dry-run to see which",
            count(number, "key")
        );
        return Err(Failure::Usage(told));
    }
    say(table_of(keys).trim_end());
    let whose = sweep.user.as_ref().map(|user| format!(" of user {}", plain(user))).unwrap_or_default();
    if affirms(&format!("Revoke {}{whose} for ever?", count(number, "key")))? {
        Ok(())
    } else {
        Err(anyhow::anyhow!("nothing was revoked").into())
    }
}

/// In one call, so that a key is caught, too, that the user makes meanwhile.
async fn all_of_user(sweep: &Sweep, instance: &str, user: &str, door: &Door) -> Result<(), Failure> {
    let place = path(&["users", instance, user, "revoke-keys"]);
    let answer = door.post(&place, &why(sweep.reason.as_deref())).await?;
    let ended: Ended = answer.parsed()?;
    if sweep.json {
        print_json(answer.json())?;
    } else {
        print(&format!("Revoked {} of user {} at {instance}.\n", count(ended.revoked, "key"), plain(user)))?;
    }
    confirmed(ended.propagated)
}

async fn each(sweep: &Sweep, keys: &[Key], door: &Door) -> Result<(), Failure> {
    let (mut revoked, mut propagated, mut failures) = (0_u64, true, Vec::new());
    let bar = bar(u64::try_from(keys.len()).ok());
    for key in keys {
        match door.post(&path_of(key, &["revoke"]), &why(sweep.reason.as_deref())).await {
            Ok(answer) => {
                propagated &= answer.parsed::<Ended>()?.propagated;
                revoked += 1;
            }
            Err(Failure::Failed(error)) => failures.push(format!("{}: {error:#}", described(key))),
            Err(failure) => return Err(failure),
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    if sweep.json {
        print_json(&json!({ "revoked": revoked, "propagated": propagated, "failed": failures }))?;
    } else {
        print(&format!("Revoked {}.\n", count(revoked, "key")))?;
    }
    if failures.is_empty() {
        return confirmed(propagated);
    }
    failures.iter().for_each(|failure| say(&format!("not revoked: {failure}")));
    Err(Failure::Found)
}
