//! `users …`: blocking a user, and revoking all of a user's keys.

use serde::Deserialize;
use serde_json::json;

use super::door::{Door, path, with_query};
use super::keys::{Sweep, confirmed, sweep, why};
use super::out::{print, print_json, say};
use super::table::{Column, table, terminal_width};
use super::wording::{count, moment, plain};
use super::{Failure, OfficeArgs};

/// What can be done with users.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List the users who are blocked, the last one first
    List(ListArgs),
    /// Whether a user is blocked, and how many keys they have
    Show(UserArgs),
    /// Refuse all keys and sessions of a user from now on
    Block(ReasonArgs),
    /// Accept a user again
    Unblock(UserArgs),
    /// Revoke all keys of a user, for ever
    RevokeKeys(RevokeArgs),
}

/// Which user.
#[derive(Debug, clap::Args)]
pub(super) struct UserArgs {
    /// The user's id at the instance
    #[arg(value_name = "ID")]
    user: String,
    /// At which instance; may be left out where there is one
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
    #[command(flatten)]
    office: OfficeArgs,
}

/// At which instance.
#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Only at this instance
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
    #[command(flatten)]
    office: OfficeArgs,
}

/// Which user, and why.
#[derive(Debug, clap::Args)]
pub(super) struct ReasonArgs {
    /// Why, for the audit chain
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    user: UserArgs,
}

/// Whose keys, why, and how.
#[derive(Debug, clap::Args)]
pub(super) struct RevokeArgs {
    /// Without asking
    #[arg(long, short)]
    yes: bool,
    /// Only show what would be revoked
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    user: ReasonArgs,
}

#[derive(Deserialize)]
struct AllBlocked {
    blocked: Vec<BlockedUser>,
}

#[derive(Deserialize)]
struct BlockedUser {
    user_id: String,
    instance: String,
    at: String,
    why: Option<String>,
}

const COLUMNS: [Column; 4] =
    [Column::whole("USER"), Column::short("INSTANCE", 4), Column::whole("SINCE"), Column::short("WHY", 8)];

#[derive(Deserialize)]
struct User {
    blocked: Option<Block>,
    active_keys: u64,
}

#[derive(Deserialize)]
struct Block {
    at: String,
    why: Option<String>,
}

#[derive(Deserialize)]
struct Blocked {
    propagated: bool,
}

#[derive(Deserialize)]
struct Unblocked {
    unblocked: bool,
}

pub(super) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::List(args) => list(args),
        Command::Show(args) => show(args),
        Command::Block(args) => block(args),
        Command::Unblock(args) => unblock(args),
        Command::RevokeKeys(args) => revoke_keys(args),
    }
}

fn list(args: ListArgs) -> Result<(), Failure> {
    let ListArgs { instance, office } = args;
    let json = office.json;
    office.work(async |door: &Door| {
        let instance = instance.as_deref().map(|name| door.instance(Some(name))).transpose()?;
        let parameters: Vec<_> = instance.map(|name| ("instance", name)).into_iter().collect();
        let answer = door.read(&with_query("/users/blocked", &parameters)).await?;
        if json {
            return print_json(answer.json());
        }
        let AllBlocked { blocked } = answer.parsed()?;
        if blocked.is_empty() {
            say("Nobody is blocked.");
            return Ok(());
        }
        let row = |BlockedUser { user_id, instance, at, why }: &BlockedUser| {
            vec![plain(user_id), plain(instance), moment(at), why.as_deref().map(plain).unwrap_or_default()]
        };
        let rows: Vec<Vec<String>> = blocked.iter().map(row).collect();
        print(&table(&COLUMNS, &rows, terminal_width()))
    })
}

fn show(args: UserArgs) -> Result<(), Failure> {
    let UserArgs { user, instance, office } = args;
    let json = office.json;
    office.work(async |door: &Door| {
        let instance = door.instance(instance.as_deref())?;
        let answer = door.read(&path(&["users", &instance, &user])).await?;
        if json {
            return print_json(answer.json());
        }
        let User { blocked, active_keys } = answer.parsed()?;
        let standing = match blocked {
            None => "is not blocked".to_owned(),
            Some(Block { at, why: None }) => format!("is blocked since {}", moment(&at)),
            Some(Block { at, why: Some(why) }) => {
                format!("is blocked since {} ({})", moment(&at), plain(&why))
            }
        };
        let keys = count(active_keys, "active key");
        print(&format!("User {} at {instance} {standing}, and has {keys}.\n", plain(&user)))
    })
}

fn block(args: ReasonArgs) -> Result<(), Failure> {
    let ReasonArgs { reason, user: UserArgs { user, instance, office } } = args;
    let json = office.json;
    office.work(async |door: &Door| {
        let instance = door.instance(instance.as_deref())?;
        let answer = door.post(&path(&["users", &instance, &user, "block"]), &why(reason.as_deref())).await?;
        let Blocked { propagated } = answer.parsed()?;
        if json {
            print_json(answer.json())?;
        } else {
            print(&format!(
                "User {} at {instance} is blocked: all keys and sessions are refused.\n",
                plain(&user)
            ))?;
        }
        confirmed(propagated)
    })
}

fn unblock(args: UserArgs) -> Result<(), Failure> {
    let UserArgs { user, instance, office } = args;
    let json = office.json;
    office.work(async |door: &Door| {
        let instance = door.instance(instance.as_deref())?;
        let answer = door.post(&path(&["users", &instance, &user, "unblock"]), &json!({})).await?;
        if json {
            return print_json(answer.json());
        }
        let Unblocked { unblocked } = answer.parsed()?;
        let told = if unblocked { "is accepted again" } else { "was not blocked" };
        print(&format!("User {} at {instance} {told}.\n", plain(&user)))
    })
}

fn revoke_keys(args: RevokeArgs) -> Result<(), Failure> {
    let RevokeArgs { yes, dry_run, user: ReasonArgs { reason, user: UserArgs { user, instance, office } } } =
        args;
    let (user, json) = (Some(user), office.json);
    let order = Sweep { user, unused_for: None, instance, reason, yes, dry_run, json };
    office.work(async |door: &Door| sweep(&order, door).await)
}
