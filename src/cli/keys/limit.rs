//! `keys limit`, `keys disable` and `keys enable`: on what terms a key is accepted.

use serde_json::{Map, Value, json};

use super::select::{KeyArgs, path_of};
use super::show::facts;
use crate::cli::door::Door;
use crate::cli::out::{print, print_json};
use crate::cli::{Failure, OfficeArgs, wording};
use crate::keys::{Network, Rate};

/// Limits of a key that is made.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct PolicyArgs {
    /// Good for so long, such as 30d
    #[arg(long, value_name = "DURATION", value_parser = wording::duration)]
    expires_in: Option<String>,
    /// Good for reading only: GET, HEAD and OPTIONS
    #[arg(long)]
    read_only: bool,
    /// Good for this path and what lies below it only, such as /api/bins; may be repeated
    #[arg(long, value_name = "PATH")]
    path: Vec<String>,
    /// Good for this method only, such as GET; may be repeated
    #[arg(long, value_name = "METHOD")]
    method: Vec<String>,
    /// Good from this address or network only, such as 10.0.0.0/8; may be repeated
    #[arg(long, value_name = "CIDR", value_parser = network)]
    address: Vec<String>,
    /// Good for so many requests in a time only, such as 600/1m
    #[arg(long, value_name = "RATE", value_parser = rate)]
    rate: Option<String>,
}

/// Which limits are to be taken away again.
#[derive(Debug, Clone, Default, clap::Args)]
struct LooseningArgs {
    /// Good until this time, such as 2027-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", conflicts_with = "expires_in")]
    expires_at: Option<String>,
    /// Good for ever
    #[arg(long, conflicts_with_all = ["expires_in", "expires_at"])]
    never_expires: bool,
    /// Good for reading and writing
    #[arg(long, conflicts_with = "read_only")]
    read_write: bool,
    /// Good for every path
    #[arg(long, conflicts_with = "path")]
    any_path: bool,
    /// Good for every method
    #[arg(long, conflicts_with = "method")]
    any_method: bool,
    /// Good from everywhere
    #[arg(long, conflicts_with = "address")]
    anywhere: bool,
    /// Good for as many requests as any key
    #[arg(long, conflicts_with = "rate")]
    no_rate: bool,
}

/// What `keys limit` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "What is not named stays as it is; a list that is named takes the old one's place.")]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    policy: PolicyArgs,
    #[command(flatten)]
    loosening: LooseningArgs,
    #[command(flatten)]
    office: OfficeArgs,
}

/// What `keys disable` and `keys enable` are told.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct SwitchArgs {
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    office: OfficeArgs,
}

impl PolicyArgs {
    /// These limits as the admin API takes them: only those that were given.
    pub(super) fn changes(&self) -> Value {
        let mut changes = Map::new();
        let lists = [("paths", &self.path), ("methods", &self.method), ("addresses", &self.address)];
        for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            changes.insert(name.to_owned(), json!(list));
        }
        for (name, text) in [("expires_in", &self.expires_in), ("rate", &self.rate)] {
            if let Some(text) = text {
                changes.insert(name.to_owned(), json!(text));
            }
        }
        if self.read_only {
            changes.insert("read_only".to_owned(), json!(true));
        }
        Value::Object(changes)
    }
}

impl LooseningArgs {
    fn changes(&self) -> Map<String, Value> {
        let mut changes = Map::new();
        let given = [
            (self.never_expires, "expires_at", Value::Null),
            (self.read_write, "read_only", json!(false)),
            (self.any_path, "paths", json!([])),
            (self.any_method, "methods", json!([])),
            (self.anywhere, "addresses", json!([])),
            (self.no_rate, "rate", Value::Null),
        ];
        for (_, name, value) in given.into_iter().filter(|(given, _, _)| *given) {
            changes.insert(name.to_owned(), value);
        }
        if let Some(end) = &self.expires_at {
            changes.insert("expires_at".to_owned(), json!(end));
        }
        changes
    }
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let Args { key, policy, loosening, office } = args;
    let mut changes = loosening.changes();
    if let Value::Object(limits) = policy.changes() {
        changes.extend(limits);
    }
    if changes.is_empty() {
        return Err(Failure::Usage(
            "name at least one limit, such as --read-only or --expires-in 30d".to_owned(),
        ));
    }
    change(key, changes, office)
}

pub(super) fn switch(args: SwitchArgs, disabled: bool) -> Result<(), Failure> {
    let changes = Map::from_iter([("disabled".to_owned(), json!(disabled))]);
    change(args.key, changes, args.office)
}

fn change(key: KeyArgs, changes: Map<String, Value>, office: OfficeArgs) -> Result<(), Failure> {
    let (changes, json) = (Value::Object(changes), office.json);
    office.work(async |door: &Door| {
        let key = key.find(door).await?;
        let answer = door.patch(&path_of(&key, &[]), &changes).await?;
        if json {
            return print_json(answer.json());
        }
        let Changed { record } = answer.parsed()?;
        print(&facts(&record))
    })
}

#[derive(serde::Deserialize)]
struct Changed {
    record: crate::cli::record::Key,
}

fn network(text: &str) -> Result<String, String> {
    text.parse::<Network>().map(|network| network.to_string()).map_err(|why| format!("this is {why}"))
}

fn rate(text: &str) -> Result<String, String> {
    text.parse::<Rate>().map(|rate| rate.to_string()).map_err(|why| why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_given_is_changed() {
        let policy = PolicyArgs {
            expires_in: Some("30d".to_owned()),
            path: vec!["/api/bins".to_owned()],
            ..PolicyArgs::default()
        };
        assert_eq!(policy.changes(), json!({ "expires_in": "30d", "paths": ["/api/bins"] }));
        let loosening = LooseningArgs { anywhere: true, never_expires: true, ..LooseningArgs::default() };
        let wanted = json!({ "addresses": [], "expires_at": null });
        assert_eq!(Value::Object(loosening.changes()), wanted);
        assert!(LooseningArgs::default().changes().is_empty());
    }

    #[test]
    fn rates_and_networks_are_checked_before_anything_is_asked() {
        assert!(rate("600/1m").is_ok() && rate("5/1s").is_ok());
        for wrong in ["", "600", "0/1m", "600/m", "-1/1m", "600/1 m"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
        assert_eq!(network("10.0.0.0/8").as_deref(), Ok("10.0.0.0/8"));
        assert!(network("10.0.0.0/33").is_err());
    }
}
