//! `keys create`: a new key, shown once. Behind an OpenBin that issues its own keys, OpenBin makes it.

use serde_json::{Map, Value};

use super::limit::PolicyArgs;
use super::show::facts;
use crate::cli::door::{Answer, Door};
use crate::cli::out::{print, print_json, say};
use crate::cli::record::Made;
use crate::cli::wording::moment;
use crate::cli::{Failure, OfficeArgs};

/// What `keys create` is told.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The key alone goes to standard output, so that it can be piped; what else there is to say \
    goes to standard error. With --json both are one document."
)]
pub(in crate::cli) struct Args {
    /// Whose key: the user's id at the instance
    #[arg(long, value_name = "ID")]
    user: String,
    /// The user's e-mail address, for lists and logs [default: as OpenBin has it]
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// A name to know the key by
    #[arg(long, default_value = "")]
    name: String,
    /// At which instance; may be left out where there is one
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
    #[command(flatten)]
    policy: PolicyArgs,
    #[command(flatten)]
    office: OfficeArgs,
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let Args { user, email, name, instance, policy, office } = args;
    let json = office.json;
    office.work(async |door: &Door| {
        let mut question = Map::new();
        question.insert("instance".to_owned(), door.instance(instance.as_deref())?.into());
        question.insert("user_id".to_owned(), user.as_str().into());
        if let Some(email) = &email {
            question.insert("user_email".to_owned(), email.as_str().into());
        }
        question.insert("name".to_owned(), name.as_str().into());
        question.insert("policy".to_owned(), policy.changes());
        hand_over(door.post("/keys", &Value::Object(question)).await?, json)
    })
}

/// Prints a key that was just made: the only time that anybody sees it.
pub(super) fn hand_over(answer: Answer, json: bool) -> Result<(), Failure> {
    let made: Made = answer.parsed()?;
    let printed = if json { print_json(answer.json()) } else { print(&format!("{}\n", made.key.as_str())) };
    if let Err(failure) = printed {
        say(&format!(
            "openbin-gateway: the key {} was made, but nobody could be shown it; revoke it",
            made.record.id
        ));
        return Err(match failure {
            Failure::Closed => Failure::Failed(anyhow::anyhow!("standard output is closed")),
            other => other,
        });
    }
    if json {
        return Ok(());
    }
    say(&format!("\n{}", facts(&made.record).trim_end()));
    say("\nKeep the key now: it is not kept here, and cannot be shown again.");
    if let Some(old) = &made.old {
        say(&match (&old.revoked, &old.policy.expires_at) {
            (None, Some(end)) => format!("The old key {} is good until {}.", old.prefix, moment(end)),
            (Some(_), _) | (None, None) => format!("The old key {} is refused from now on.", old.prefix),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_key_without_terms_is_asked_for_without_terms() {
        assert_eq!(PolicyArgs::default().changes(), json!({}));
    }
}
