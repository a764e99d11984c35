//! `keys revoke`: one key, all of a user's, or all that nobody has used for long.

use anyhow::anyhow;
use serde_json::{Value, json};

use super::select::{KeyArgs, path_of};
use super::sweep::{self, Sweep};
use crate::cli::door::{Door, path};
use crate::cli::out::{print, print_json, say};
use crate::cli::record::{Ended, Key};
use crate::cli::wording::plain;
use crate::cli::{Failure, OfficeArgs, wording};

/// What `keys revoke` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// The key: its id, at least 12 characters of its prefix, or - for the key itself on standard input
    #[arg(
        value_name = "KEY",
        required_unless_present_any = ["all_of_user", "unused_for"],
        conflicts_with_all = ["all_of_user", "unused_for"],
    )]
    key: Option<String>,
    /// All keys of this user: the user's id at the instance
    #[arg(long, value_name = "ID")]
    all_of_user: Option<String>,
    /// All keys that were not used for so long, such as 90d
    #[arg(long, value_name = "DURATION", value_parser = wording::duration)]
    unused_for: Option<String>,
    /// Only at this instance
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
    /// Why, for lists and for the audit chain
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Also where no key with this id is known yet: it will never be accepted
    #[arg(long, requires = "key")]
    ahead: bool,
    /// Revoke many keys without asking
    #[arg(long, short)]
    yes: bool,
    /// Only show what would be revoked
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    office: OfficeArgs,
}

const EXAMPLES: &str = "\
Examples:
  openbin-gateway keys revoke --config gateway.yaml sk_openbin_9f31c2a --reason 'laptop lost'
  openbin-gateway keys revoke --config gateway.yaml --all-of-user 0d5d… --yes
  openbin-gateway keys revoke --config gateway.yaml --unused-for 90d --dry-run

Exit status: 0 revoked, 1 failed, 2 wrong usage, 3 revoked but not yet confirmed by every gateway.";

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let Args { key, all_of_user, unused_for, instance, reason, ahead, yes, dry_run, office } = args;
    let json = office.json;
    match key {
        Some(key) => {
            let one = One { key: KeyArgs { key, instance }, reason, ahead, dry_run, json };
            office.work(async |door: &Door| one.revoke(door).await)
        }
        None => {
            let sweep = Sweep { user: all_of_user, unused_for, instance, reason, yes, dry_run, json };
            office.work(async |door: &Door| sweep::run(&sweep, door).await)
        }
    }
}

/// One key that is to be revoked.
struct One {
    key: KeyArgs,
    reason: Option<String>,
    ahead: bool,
    dry_run: bool,
    json: bool,
}

impl One {
    async fn revoke(&self, door: &Door) -> Result<(), Failure> {
        let known = self.key.look_up(door).await?;
        let place = match (known.first(), self.key.id()) {
            (Some(_), _) => path_of(&self.key.only(known.clone())?, &["revoke"]),
            (None, Some(id)) if self.ahead => {
                let instance = door.instance(self.key.instance.as_deref())?;
                path(&["keys", &instance, id, "revoke"])
            }
            (None, Some(_)) => {
                return Err(anyhow!(
                    "there is no such key; --ahead revokes an id that is not known here yet"
                )
                .into());
            }
            (None, None) => return Err(anyhow!("there is no such key").into()),
        };
        if self.dry_run {
            return self.show(&known);
        }
        let answer = door.post(&place, &why(self.reason.as_deref())).await?;
        let ended: Ended = answer.parsed()?;
        if self.json {
            print_json(answer.json())?;
        } else {
            print(&self.told(known.first(), &ended))?;
        }
        confirmed(ended.propagated)
    }

    fn show(&self, known: &[Key]) -> Result<(), Failure> {
        let name = |key: &Key| format!("Would revoke {}.\n", described(key));
        match known.first() {
            _ if self.json => print_json(&json!({
                "would_revoke": known.iter().map(|key| json!({ "instance": key.instance, "id": key.id })).collect::<Vec<_>>()
            })),
            Some(key) => print(&name(key)),
            None => print("Would revoke an id that is not known here yet.\n"),
        }
    }

    fn told(&self, known: Option<&Key>, ended: &Ended) -> String {
        match known {
            Some(key) if key.revoked.is_some() => {
                format!("{} was revoked before, and stays so.\n", described(key))
            }
            Some(key) if ended.known => {
                let told = if key.issuer == "openbin" { " OpenBin is told to revoke it, too." } else { "" };
                format!("Revoked {}.{told}\n", described(key))
            }
            Some(_) | None => {
                "No key with this id is known here; it is refused for ever all the same.\n".to_owned()
            }
        }
    }
}

/// A key in a sentence.
pub(super) fn described(key: &Key) -> String {
    let name = if key.name.is_empty() { String::new() } else { format!("{:?}, ", plain(&key.name)) };
    format!("{} ({name}{}, at {})", plain(&key.prefix), plain(key.owner()), plain(&key.instance))
}

/// What is sent along with a revocation.
pub(in crate::cli) fn why(reason: Option<&str>) -> Value {
    reason.map_or_else(|| json!({}), |reason| json!({ "reason": reason }))
}

/// How the command ends after a revocation.
pub(in crate::cli) fn confirmed(propagated: bool) -> Result<(), Failure> {
    if propagated {
        return Ok(());
    }
    say("Not every gateway has confirmed it yet. Repeat the command to see whether they have.");
    Err(Failure::Unconfirmed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revocation_that_not_everybody_has_confirmed_is_an_outcome_of_its_own() {
        let ended = |text: &str| serde_json::from_str::<Ended>(text).expect("an answer").propagated;
        assert!(confirmed(ended(r#"{"revoked":1,"known":true,"propagated":true}"#)).is_ok());
        let open = confirmed(ended(r#"{"revoked":1,"known":true,"propagated":false}"#));
        assert!(matches!(open, Err(Failure::Unconfirmed)));
    }
}
