//! `keys …`: everything that an operator does with API keys.
//!
//! One file a command. Each asks the admin API through a `Door` and shows what is answered;
//! no rule about keys lives here.

mod create;
mod export;
mod import;
mod limit;
mod list;
mod pages;
mod revoke;
mod rotate;
mod scan;
mod select;
mod show;
mod sweep;

pub(super) use revoke::{confirmed, why};
pub(super) use sweep::{Sweep, run as sweep};

use super::Failure;

/// What can be done with keys.
#[derive(Debug, clap::Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Command {
    /// Make a key, and print it once
    Create(create::Args),
    /// List keys, the newest first
    List(list::Args),
    /// Show one key: its limits, its use, and what was done with it
    Show(show::Args),
    /// Revoke a key, or many; it is refused at once and for ever
    Revoke(revoke::Args),
    /// Refuse a key until it is enabled again
    Disable(limit::SwitchArgs),
    /// Accept a disabled key again
    Enable(limit::SwitchArgs),
    /// Give a key a successor, and let the old one end by itself
    Rotate(rotate::Args),
    /// Set until when, from where and for what a key may be used
    Limit(limit::Args),
    /// Take over the keys of an OpenBin's database, or of a CSV file
    Import(import::Args),
    /// Write all that is known of keys, without the keys, to standard output
    Export(export::Args),
    /// Look for keys in files and git histories, and tell which of them work
    Scan(scan::Args),
}

const EXAMPLES: &str = "\
Examples:
  openbin-gateway keys create --config gateway.yaml --user 0d5d… --name laptop --expires-in 90d
  openbin-gateway keys list --config gateway.yaml --unused-for 90d
  openbin-gateway keys revoke --config gateway.yaml sk_openbin_9f31c2a --reason 'laptop lost'
  pbpaste | openbin-gateway keys show --config gateway.yaml -
  openbin-gateway keys import --config gateway.yaml --from sqlite:/data/openbin.db

A key is named by its id, by its prefix (12 characters of it at least), or by - and itself on standard input.
Where the configuration's gateway runs, it is asked on its admin listener; else the store is opened directly.";

pub(super) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Create(args) => create::run(args),
        Command::List(args) => list::run(args),
        Command::Show(args) => show::run(args),
        Command::Revoke(args) => revoke::run(args),
        Command::Disable(args) => limit::switch(args, true),
        Command::Enable(args) => limit::switch(args, false),
        Command::Rotate(args) => rotate::run(args),
        Command::Limit(args) => limit::run(args),
        Command::Import(args) => import::run(args),
        Command::Export(args) => export::run(args),
        Command::Scan(args) => scan::run(args),
    }
}
