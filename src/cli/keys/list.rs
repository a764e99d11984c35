//! `keys list`: keys as a table, or as the JSON that the admin API answers.

use serde::Deserialize;
use serde_json::json;

use super::pages::{FilterArgs, Page, Pages, Standing};
use crate::cli::door::Door;
use crate::cli::out::Out;
use crate::cli::record::Key;
use crate::cli::table::{Column, Layout, table, terminal_width};
use crate::cli::wording::{count, duration_words, last_use, moment, plain};
use crate::cli::{Failure, OfficeArgs, out};

/// What `keys list` is told.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    filter: FilterArgs,
    /// Only those in this standing
    #[arg(long, value_name = "STANDING", default_value = "active", conflicts_with = "all")]
    standing: Standing,
    /// Those in any standing, revoked ones too
    #[arg(long)]
    all: bool,
    /// At most so many; 0: all
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    limit: u64,
    #[command(flatten)]
    office: OfficeArgs,
}

const COLUMNS: [Column; 8] = [
    Column::whole("PREFIX"),
    Column::short("NAME", 8),
    Column::short("OWNER", 8),
    Column::whole("STANDING"),
    Column::whole("LAST USED"),
    Column::short("INSTANCE", 8),
    Column::whole("CREATED"),
    Column::whole("ID"),
];

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let Args { filter, standing, all, limit, office } = args;
    let standing = (!all).then_some(standing);
    let json = office.json;
    office.work(async |door: &Door| {
        let pages = Pages::new(door, &filter, standing, limit)?;
        if json { as_json(pages).await } else { as_table(pages, standing).await }
    })
}

/// One document, written page by page, one key a line.
pub(super) async fn as_json(mut pages: Pages<'_>) -> Result<(), Failure> {
    let mut out = Out::new();
    let mut end = (None, String::new());
    let mut before = "\n";
    out.text("{\"keys\":[")?;
    while let Some(Page { keys, next, usage_fresh_within }) = pages.next().await? {
        for key in keys {
            out.text(&format!("{before}{key}"))?;
            before = ",\n";
        }
        end = (next, usage_fresh_within);
    }
    let (next, fresh) = end;
    out.line(&format!("\n],\"next\":{},\"usage_fresh_within\":{}}}", json!(next), json!(fresh)))?;
    out.flush()
}

async fn as_table(mut pages: Pages<'_>, standing: Option<Standing>) -> Result<(), Failure> {
    let mut out = Out::new();
    let (mut layout, mut shown, mut last) = (None, 0_u64, None);
    while let Some(page) = pages.next().await? {
        let keys: Vec<Key> = page.keys.iter().filter_map(|key| Key::deserialize(key).ok()).collect();
        let rows: Vec<Vec<String>> = keys.iter().map(row).collect();
        if layout.is_none() && !rows.is_empty() {
            // The first page decides the widths: all pages at once may not fit into memory.
            let first = Layout::fit(&COLUMNS, &rows, terminal_width());
            out.line(&first.head())?;
            layout = Some(first);
        }
        for row in &rows {
            out.line(&layout.as_ref().map(|layout| layout.row(row)).unwrap_or_default())?;
        }
        shown += u64::try_from(rows.len()).unwrap_or_default();
        last = Some((page.next, page.usage_fresh_within));
    }
    out.flush()?;
    let Some((next, fresh)) = last else { return Ok(()) };
    let mut remarks = vec![match (shown, standing) {
        (0, Some(Standing::Active)) => "No active key; --all shows those in any standing, too.".to_owned(),
        (0, Some(_) | None) => "No key.".to_owned(),
        (shown, _) => {
            format!("{}; last use is up to {} behind.", count(shown, "key"), duration_words(&fresh))
        }
    }];
    if next.is_some() {
        remarks.push("There are more: --limit 0 shows all.".to_owned());
    }
    if layout.is_some_and(|layout| !layout.has_all(COLUMNS.len())) {
        remarks.push("Some columns found no place here: --json has everything.".to_owned());
    }
    out::say(&remarks.join(" "));
    Ok(())
}

/// A whole table of these keys.
pub(super) fn table_of(keys: &[Key]) -> String {
    let rows: Vec<Vec<String>> = keys.iter().map(row).collect();
    table(&COLUMNS, &rows, terminal_width())
}

fn row(key: &Key) -> Vec<String> {
    vec![
        plain(&key.prefix),
        plain(&key.name),
        plain(key.owner()),
        plain(&key.standing),
        last_use(key.last_used_at.as_deref()),
        plain(&key.instance),
        key.created_at.as_deref().map_or_else(|| "unknown".to_owned(), moment),
        plain(&key.id),
    ]
}
