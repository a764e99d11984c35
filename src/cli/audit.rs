//! `audit …`: what was done to keys, users and sessions, and whether that record is whole.

use serde::Deserialize;
use serde_json::Value;

use super::door::{Door, with_query};
use super::out::{Out, print, print_json, say};
use super::table::{Column, table, terminal_width};
use super::wording::{count, moment, plain};
use super::{Failure, OfficeArgs};

/// What can be done with the audit chain.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// The last entries, or those behind a given one
    List(ListArgs),
    /// Check every entry against the one before it
    Verify(VerifyArgs),
    /// Write all entries, one line of JSON each, the oldest first
    Export(ExportArgs),
}

/// What `audit list` is told.
#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Only entries behind the one with this number [default: the last ones]
    #[arg(long, value_name = "NUMBER")]
    after: Option<u64>,
    /// At most so many
    #[arg(long, value_name = "NUMBER", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1000))]
    limit: u64,
    #[command(flatten)]
    office: OfficeArgs,
}

/// What `audit verify` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit status: 0 the chain is whole, 1 it is not, or could not be read.\n\n\
    Whoever can write to the store can also write a whole new chain. Note down the last entry's number and hash \
    elsewhere from time to time: in a chain that is whole and still has them, nothing up to there was changed.")]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    office: OfficeArgs,
}

/// What `audit export` is told.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A line's hash is the SHA-256, in hexadecimal, of the hash before it, a line feed, and the line \
    itself without its hash. Where older entries were removed, the hash before the first line is in the last line \
    whose action is audit_trimmed."
)]
pub(super) struct ExportArgs {
    /// Only entries behind the one with this number
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    after: u64,
    #[command(flatten)]
    office: OfficeArgs,
}

#[derive(Deserialize)]
struct Page {
    entries: Vec<Value>,
    base: Place,
    head: Place,
}

#[derive(Deserialize)]
struct Place {
    seq: u64,
    hash: String,
}

#[derive(Deserialize)]
struct Verdict {
    whole: bool,
    problem: Option<String>,
    entries: u64,
    base: Place,
    head: Place,
}

const AT_ONCE: u64 = 1000;

const COLUMNS: [Column; 7] = [
    Column::whole("NO."),
    Column::whole("TIME"),
    Column::whole("WHAT"),
    Column::short("WHO", 8),
    Column::short("ABOUT", 12),
    Column::short("INSTANCE", 8),
    Column::short("DETAIL", 12),
];

pub(super) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::List(args) => list(args),
        Command::Verify(args) => verify(args),
        Command::Export(args) => export(args),
    }
}

async fn page(door: &Door, after: u64, limit: u64) -> Result<super::door::Answer, Failure> {
    let parameters = [("after", after.to_string()), ("limit", limit.to_string())];
    door.read(&with_query("/audit", &parameters)).await
}

fn list(args: ListArgs) -> Result<(), Failure> {
    let ListArgs { after, limit, office } = args;
    let json = office.json;
    office.work(async |door: &Door| {
        let after = match after {
            Some(after) => after,
            None => page(door, 0, 1).await?.parsed::<Page>()?.head.seq.saturating_sub(limit),
        };
        let answer = page(door, after, limit).await?;
        if json {
            return print_json(answer.json());
        }
        let Page { entries, base, head } = answer.parsed()?;
        let rows: Vec<Vec<String>> = entries.iter().map(row).collect();
        if !rows.is_empty() {
            print(&table(&COLUMNS, &rows, terminal_width()))?;
        }
        let shown = u64::try_from(rows.len()).unwrap_or_default();
        say(&format!("{shown} of {}.", count(head.seq.saturating_sub(base.seq), "entry")));
        Ok(())
    })
}

fn verify(args: VerifyArgs) -> Result<(), Failure> {
    let json = args.office.json;
    args.office.work(async |door: &Door| {
        let answer = door.read("/audit/verify").await?;
        let verdict: Verdict = answer.parsed()?;
        if json {
            print_json(answer.json())?;
        } else {
            print(&verdict.told())?;
        }
        if verdict.whole { Ok(()) } else { Err(Failure::Found) }
    })
}

impl Verdict {
    fn told(&self) -> String {
        let entries = count(self.entries, "entry");
        if self.whole && self.entries == 0 {
            return "The chain is whole: it has no entries yet.\n".to_owned();
        }
        let begin = match self.base.seq {
            0 => String::new(),
            base => format!(
                "It begins with number {}. Older entries were removed, the last of them was number {base} with hash \
                 {}.\n",
                base + 1,
                plain(&self.base.hash)
            ),
        };
        if self.whole {
            return format!(
                "The chain is whole: {entries}, the last is number {} with hash {}.\n{begin}",
                self.head.seq,
                plain(&self.head.hash)
            );
        }
        let problem = self.problem.as_deref().map_or_else(|| "no reason given".to_owned(), plain);
        format!("The chain is broken after {entries}: {problem}.\n{begin}")
    }
}

fn export(args: ExportArgs) -> Result<(), Failure> {
    let ExportArgs { mut after, office } = args;
    office.work(async |door: &Door| {
        let mut out = Out::new();
        loop {
            let Page { entries, .. } = page(door, after, AT_ONCE).await?.parsed()?;
            for entry in &entries {
                out.line(&exported(entry))?;
            }
            let last = entries.last().and_then(|entry| entry["seq"].as_u64());
            match last.filter(|last| *last > after) {
                Some(last) => after = last,
                None if entries.is_empty() => return out.flush(),
                None => {
                    out.flush()?;
                    return Err(anyhow::anyhow!(
                        "entry {} cannot be read; `audit verify` tells more",
                        after + 1
                    )
                    .into());
                }
            }
        }
    })
}

/// An entry as it was hashed, and its hash behind that.
fn exported(entry: &Value) -> String {
    let text = entry["text"].as_str().filter(|text| !text.contains(['\n', '\r']));
    match (text.and_then(|text| text.strip_suffix('}')), entry["hash"].as_str()) {
        (Some(text), Some(hash)) => format!("{text},\"hash\":{}}}", Value::from(hash)),
        // Damaged: as it was given.
        (_, _) => entry.to_string(),
    }
}

fn row(entry: &Value) -> Vec<String> {
    let text = |name: &str| entry[name].as_str().map(plain).unwrap_or_default();
    let who = match (text("role"), text("actor")) {
        (role, actor) if actor.is_empty() => role,
        (role, actor) => format!("{role} {actor}"),
    };
    let address = text("address");
    let about = [text("key_id"), text("user_id")].into_iter().find(|id| !id.is_empty()).unwrap_or_default();
    vec![
        entry["seq"].to_string(),
        entry["at"].as_str().map(moment).unwrap_or_default(),
        match text("action") {
            action if action.is_empty() => "unreadable".to_owned(),
            action => action.replace('_', " "),
        },
        if address.is_empty() { who } else { format!("{who} from {address}") },
        about,
        text("instance"),
        text("detail"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::audit::{self, Action, Actor, Event};
    use serde_json::json;
    use std::time::SystemTime;

    #[test]
    fn an_exported_line_is_what_was_hashed_and_its_hash() {
        let mut event = Event::new(SystemTime::UNIX_EPOCH, &Actor::gateway(), Action::KeyRevoked);
        event.instance = Some("home".to_owned());
        event.detail = Some("a \"quoted\" reason".to_owned());
        let link = event.follow(&audit::Head::start());
        let line = exported(&json!({ "seq": 1, "text": link.text, "hash": link.hash }));
        assert_eq!(line.replace(&format!(",\"hash\":\"{}\"", link.hash), ""), link.text);
        for damaged in ["", "{", "{\"a\":\n1}"] {
            let strange = json!({ "text": damaged, "hash": "00" });
            assert_eq!(serde_json::from_str::<Value>(&exported(&strange)).expect("JSON"), strange);
        }
    }

    #[test]
    fn an_entry_tells_who_did_what_to_what() {
        let entry = json!({
            "seq": 3, "at": "2026-11-22T21:57:19.021Z", "action": "key_revoked", "role": "operator", "actor": "ann",
            "address": "127.0.0.1", "instance": "home", "key_id": "k1", "user_id": "u1", "detail": "lost\n"
        });
        let wanted = [
            "3",
            "2026-11-22 21:57:19 UTC",
            "key revoked",
            "operator ann from 127.0.0.1",
            "k1",
            "home",
            "lost\\u{a}",
        ];
        assert_eq!(row(&entry), wanted);
    }
}
