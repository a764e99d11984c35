//! `keys scan`: keys that lie around in files and git histories, and which of them work.
//!
//! A key is never shown: it is told by its prefix and its place.

mod finder;
mod history;
mod search;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use self::finder::Finder;
use self::history::{History, repository};
use self::search::{Place, Search};
use crate::cli::door::Door;
use crate::cli::{Failure, OfficeArgs};

/// What `keys scan` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER)]
pub(in crate::cli) struct Args {
    /// Files, and folders with everything in them; links are not followed
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Look through the whole history of the git repositories that these belong to, too
    #[arg(long)]
    git: bool,
    /// Revoke the keys that work
    #[arg(long)]
    revoke: bool,
    #[command(flatten)]
    office: OfficeArgs,
}

const AFTER: &str = "\
Ignored files are looked at, too: that is where keys lie. A key that the gateway does not know is `unknown`, and may
be good at OpenBin all the same: `keys import` makes the gateway know all of them.

Exit status: 0 no key that works was found, or all were revoked; 1 one works still (a disabled one could be enabled),
or something could not be read; 2 wrong usage; 3 revoked but not yet confirmed by every gateway.";

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let Args { paths, git, revoke, office } = args;
    let json = office.json;
    office.work(async |door: &Door| {
        let mut search = Search::new(door, revoke, json);
        for path in &paths {
            files(&mut search, path).await?;
        }
        if git {
            histories(&mut search, &paths).await?;
        }
        search.end()
    })
}

async fn files(search: &mut Search<'_>, path: &Path) -> Result<(), Failure> {
    for entry in WalkDir::new(path).sort_by_file_name() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                search.passed_over(&error.to_string());
                continue;
            }
        };
        // What is named itself may be a pipe; what only lies around is not waited for.
        let is_named = entry.depth() == 0 && !entry.file_type().is_dir();
        if is_named || entry.file_type().is_file() {
            file(search, entry.path()).await?;
        }
    }
    Ok(())
}

async fn file(search: &mut Search<'_>, path: &Path) -> Result<(), Failure> {
    let cannot = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut finder = match File::open(path) {
        Ok(file) => Finder::new(file),
        Err(error) => {
            search.passed_over(&cannot(error));
            return Ok(());
        }
    };
    search.another_file();
    loop {
        match finder.next() {
            Ok(Some(found)) => {
                let path = path.to_string_lossy().into_owned();
                search.report(&Place { commit: None, path, line: found.line }, &found.token).await?;
            }
            Ok(None) => return Ok(()),
            Err(error) => {
                search.passed_over(&cannot(error));
                return Ok(());
            }
        }
    }
}

async fn histories(search: &mut Search<'_>, paths: &[PathBuf]) -> Result<(), Failure> {
    let repositories: BTreeSet<PathBuf> =
        paths.iter().map(|path| repository(path)).collect::<anyhow::Result<_>>()?;
    for repository in repositories {
        let mut history = History::open(&repository)?;
        // A file's every version that has a key is one finding: the newest.
        let mut seen = BTreeSet::new();
        while let Some(spot) = history.next()? {
            search.another_object();
            let mut finder = Finder::new(history.content());
            while let Some(found) = finder.next()? {
                if seen.insert((found.token.hash(), spot.path.clone())) {
                    let (commit, path) = (Some(spot.commit.clone()), spot.path.clone());
                    search.report(&Place { commit, path, line: found.line }, &found.token).await?;
                }
            }
        }
    }
    Ok(())
}
