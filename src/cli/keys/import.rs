//! `keys import`: the keys of an OpenBin's database, or of a CSV file, portion by portion. The source is only read.

use std::collections::HashSet;
use std::time::{Duration, Instant, SystemTime};

use serde::Deserialize;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::cli::door::Door;
use crate::cli::out::{print, print_json, say};
use crate::cli::progress::bar;
use crate::cli::wording::{count, plain};
use crate::cli::{Failure, OfficeArgs};
use crate::keys::{Found, Reader, Source};

/// What `keys import` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER)]
pub(in crate::cli) struct Args {
    /// The source: sqlite:FILE, postgres://USER@HOST/DATABASE or csv:FILE
    #[arg(long, value_name = "SOURCE", env = "OPENBIN_GATEWAY_IMPORT_FROM", hide_env_values = true)]
    from: String,
    /// At which instance the keys are good; may be left out where there is one
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
    /// Only tell what would be taken
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    office: OfficeArgs,
}

const AFTER: &str = "\
Examples:
  openbin-gateway keys import --config gateway.yaml --from sqlite:/data/openbin.db --dry-run
  OPENBIN_GATEWAY_IMPORT_FROM=\"$DATABASE_URL\" openbin-gateway keys import --config gateway.yaml
  openbin-gateway keys import --config gateway.yaml --from csv:keys.csv --instance home

The source is only read, and OpenBin may run meanwhile. An import can be repeated: what is known stays as it is, but
for keys that were revoked at their source meanwhile, and a key that was revoked here stays revoked. An argument can be
seen by everybody on this machine: give a URL that has a password in the environment. A CSV file has a head with key_hash
and user_id, and further columns as it likes.";

/// As many keys as the admin API takes at once.
const PORTION: usize = 1000;
/// As many skipped rows are told one by one.
const MOST_TOLD: usize = 1000;
const MOST_SHOWN: usize = 20;

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let Args { from, instance, dry_run, office } = args;
    let source = Source::parse(&from).map_err(|error| Failure::Usage(error.to_string()))?;
    let json = office.json;
    office.work(async |door: &Door| {
        let instance = door.instance(instance.as_deref())?;
        let mut reader = source.open().await.map_err(anyhow::Error::new)?;
        if let Some(remark) = reader.remark() {
            say(&format!("openbin-gateway: {remark}"));
        }
        let foresight = dry_run.then(Foresight::default);
        let mut import =
            Import { door, instance: &instance, foresight, tally: Tally::default(), everywhere: true };
        let begun = Instant::now();
        let ended = import.all(&mut reader).await;
        let (tally, everywhere) = (import.tally, import.everywhere);
        if json {
            print_json(&tally.to_json(&source, &instance, dry_run, begun.elapsed()))?;
        } else {
            print(&tally.told(&source, &instance, dry_run, begun.elapsed()))?;
        }
        // After what was taken has been told: it stays taken.
        ended?;
        if everywhere {
            return Ok(());
        }
        say("Not every gateway has confirmed yet that it refuses what is revoked now.");
        Err(Failure::Unconfirmed)
    })
}

/// An import in progress.
struct Import<'d> {
    door: &'d Door,
    instance: &'d str,
    /// Of a dry run only.
    foresight: Option<Foresight>,
    tally: Tally,
    /// Whether every gateway has confirmed what ended.
    everywhere: bool,
}

/// What a dry run must remember itself, since nobody has written it down: the ids of keys that would have been
/// taken in as revoked. (No source gives a key twice.)
#[derive(Debug, Default)]
struct Foresight {
    revoked: HashSet<String>,
}

/// What became of the rows so far.
#[derive(Debug, Default)]
struct Tally {
    rows: u64,
    written: u64,
    revoked: u64,
    known: u64,
    ended: u64,
    buried: u64,
    skipped: u64,
    /// Sent, but what became of them was not told.
    unanswered: u64,
    why: Vec<Skipped>,
}

#[derive(Debug)]
struct Skipped {
    place: String,
    why: String,
}

#[derive(Deserialize)]
struct Fates {
    results: Vec<Fate>,
    #[serde(default = "yes")]
    propagated: bool,
}

#[derive(Deserialize)]
struct Fate {
    outcome: String,
    why: Option<String>,
}

fn yes() -> bool {
    true
}

/// A key on its way, and its row.
struct Row {
    number: u64,
    found: Found,
}

impl Import<'_> {
    async fn all(&mut self, reader: &mut Reader) -> Result<(), Failure> {
        let bar = bar(reader.total());
        let mut portion = Vec::with_capacity(PORTION);
        loop {
            let row = match reader.next().await {
                Ok(Some(row)) => row,
                Ok(None) => break,
                Err(error) => {
                    self.send(&mut portion).await?;
                    return Err(anyhow::Error::new(error).into());
                }
            };
            self.tally.rows += 1;
            match row {
                Ok(found) => portion.push(Row { number: self.tally.rows, found }),
                Err(unreadable) => self.tally.skip(unreadable.place, unreadable.why),
            }
            if portion.len() == PORTION {
                self.send(&mut portion).await?;
            }
            bar.set_position(self.tally.rows);
        }
        self.send(&mut portion).await?;
        bar.finish_and_clear();
        Ok(())
    }

    async fn send(&mut self, portion: &mut Vec<Row>) -> Result<(), Failure> {
        if portion.is_empty() {
            return Ok(());
        }
        let keys: Vec<Value> = portion.iter().map(|row| sent(&row.found)).collect();
        let dry_run = self.foresight.is_some();
        let question = json!({ "instance": self.instance, "dry_run": dry_run, "keys": keys });
        let Fates { results, propagated } = match self.ask(&question).await {
            Ok(fates) => fates,
            Err(failure) => {
                // Nothing can have been taken in a dry run.
                self.tally.unanswered += if dry_run { 0 } else { portion.len() as u64 };
                return Err(failure);
            }
        };
        self.everywhere &= propagated;
        let mut ended = Vec::new();
        for (row, mut fate) in portion.drain(..).zip(results) {
            if let Some(foresight) = &mut self.foresight {
                foresight.correct(&row.found, &mut fate);
                ended.extend((fate.outcome == "ended").then(|| id_of(&row.found)));
            }
            self.tally.count(row.number, fate);
        }
        if let Some(foresight) = &mut self.foresight {
            // Only after the portion: its keys are taken in before any of them is revoked.
            foresight.revoked.extend(ended);
        }
        Ok(())
    }

    async fn ask(&self, question: &Value) -> Result<Fates, Failure> {
        self.door.post("/keys/import", question).await?.parsed()
    }
}

impl Foresight {
    /// The store knows what it has, and what is in the same portion; not what the portions before would have left.
    fn correct(&mut self, found: &Found, fate: &mut Fate) {
        if !matches!(fate.outcome.as_str(), "written" | "revoked") {
            return;
        }
        let id = id_of(found);
        if self.revoked.contains(&id) {
            "buried".clone_into(&mut fate.outcome);
        } else if fate.outcome == "revoked" {
            self.revoked.insert(id);
        }
    }
}

/// The id under which a key is kept.
fn id_of(found: &Found) -> String {
    found.id.clone().unwrap_or_else(|| found.hash.to_string())
}

/// A key as the admin API takes it.
fn sent(found: &Found) -> Value {
    let mut key = Map::new();
    key.insert("key_hash".to_owned(), found.hash.to_string().into());
    key.insert("user_id".to_owned(), found.user_id.clone().into());
    key.insert("name".to_owned(), found.name.clone().into());
    let texts = [("id", &found.id), ("user_email", &found.user_email), ("prefix", &found.prefix)];
    for (name, text) in texts.into_iter().filter_map(|(name, text)| Some((name, text.as_ref()?))) {
        key.insert(name.to_owned(), text.clone().into());
    }
    let times = [
        ("created_at", found.created_at),
        ("last_used_at", found.last_used_at),
        ("revoked_at", found.revoked_at),
        ("expires_at", found.expires_at),
    ];
    for (name, time) in times.into_iter().filter_map(|(name, time)| Some((name, time?))) {
        // What cannot be written is refused there, with its name, rather than left out here.
        key.insert(name.to_owned(), instant(time).unwrap_or_else(|| "out of range".to_owned()).into());
    }
    Value::Object(key)
}

fn instant(time: SystemTime) -> Option<String> {
    OffsetDateTime::from(time).format(&Rfc3339).ok()
}

impl Tally {
    fn count(&mut self, row: u64, fate: Fate) {
        match fate.outcome.as_str() {
            "written" => self.written += 1,
            "revoked" => self.revoked += 1,
            "known" => self.known += 1,
            "ended" => self.ended += 1,
            "buried" => self.buried += 1,
            other => {
                let why = fate.why.unwrap_or_else(|| other.to_owned());
                self.skip(format!("row {row}"), why);
            }
        }
    }

    fn skip(&mut self, place: String, why: String) {
        self.skipped += 1;
        if self.why.len() < MOST_TOLD {
            self.why.push(Skipped { place, why });
        }
    }

    fn to_json(&self, source: &Source, instance: &str, dry_run: bool, took: Duration) -> Value {
        let why: Vec<Value> =
            self.why.iter().map(|row| json!({ "place": row.place, "why": row.why })).collect();
        json!({
            "source": source.to_string(),
            "instance": instance,
            "dry_run": dry_run,
            "rows": self.rows,
            "written": self.written,
            "revoked": self.revoked,
            "known": self.known,
            "ended": self.ended,
            "buried": self.buried,
            "skipped": self.skipped,
            "unanswered": self.unanswered,
            "skipped_rows": why,
            "seconds": took.as_secs_f64(),
        })
    }

    fn told(&self, source: &Source, instance: &str, dry_run: bool, took: Duration) -> String {
        let read = if dry_run { "Would take" } else { "Took" };
        let mut text = format!(
            "{read} {} of {} from {source} into {instance} ({:.1} s).\n",
            count(self.written + self.revoked, "key"),
            count(self.rows, "row"),
            took.as_secs_f64()
        );
        for (number, what) in [
            (self.written, "new, and accepted from now on"),
            (self.revoked, "new, and revoked already where they come from"),
            (self.known, "known already, and left as they are"),
            (self.ended, "known already, and revoked now as they are where they come from"),
            (self.buried, "revoked here, and still so"),
            (self.skipped, "skipped"),
        ] {
            text.push_str(&format!("{number:>9}  {what}\n"));
        }
        if self.unanswered > 0 {
            let (number, what) =
                (self.unanswered, "sent, and not answered for: some may be taken, so import them again");
            text.push_str(&format!("{number:>9}  {what}\n"));
        }
        for row in self.why.iter().take(MOST_SHOWN) {
            text.push_str(&format!("           {}: {}\n", plain(&row.place), plain(&row.why)));
        }
        if self.why.len() > MOST_SHOWN {
            text.push_str("           and more; --json tells them\n");
        }
        text
    }
}
