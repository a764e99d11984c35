//! What became of a search: each key that was found is looked up once, told, and revoked where that is wanted.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::cli::Failure;
use crate::cli::door::Door;
use crate::cli::keys::select::{find, path_of};
use crate::cli::keys::{confirmed, why};
use crate::cli::out::{Out, say};
use crate::cli::record::{Ended, Key};
use crate::cli::wording::{count, plain};
use crate::keys::{KeyHash, Token};

/// Where a key was found.
#[derive(Debug)]
pub(super) struct Place {
    /// In a history: the commit.
    pub(super) commit: Option<String>,
    pub(super) path: String,
    pub(super) line: u64,
}

/// A search in progress.
pub(super) struct Search<'d> {
    door: &'d Door,
    revoke: bool,
    json: bool,
    out: Out,
    /// What is known of the keys that were found.
    known: HashMap<KeyHash, Vec<Fate>>,
    told: u64,
    files: u64,
    objects: u64,
    unread: u64,
    unconfirmed: bool,
}

/// A key as it stands, and whether it was revoked just now.
#[derive(Debug)]
struct Fate {
    key: Key,
    revoked_now: bool,
}

/// What it all came to.
struct Sum {
    keys: u64,
    working: u64,
    revoked_now: u64,
    unknown: u64,
}

impl<'d> Search<'d> {
    pub(super) fn new(door: &'d Door, revoke: bool, json: bool) -> Self {
        let (out, known) = (Out::new(), HashMap::new());
        let (told, files, objects, unread, unconfirmed) = (0, 0, 0, 0, false);
        Self { door, revoke, json, out, known, told, files, objects, unread, unconfirmed }
    }

    pub(super) fn another_file(&mut self) {
        self.files += 1;
    }

    pub(super) fn another_object(&mut self) {
        self.objects += 1;
    }

    /// Something could not be read; whoever asked must know that it was not looked at.
    pub(super) fn passed_over(&mut self, why: &str) {
        self.unread += 1;
        say(&format!("not looked at: {}", plain(why)));
    }

    /// Tells of a key, and revokes it where that is wanted.
    pub(super) async fn report(&mut self, place: &Place, token: &Token) -> Result<(), Failure> {
        let hash = token.hash();
        if !self.known.contains_key(&hash) {
            let fates = self.look_up(place, token).await?;
            self.known.insert(hash, fates);
        }
        let fates = self.known.get(&hash).map(Vec::as_slice).unwrap_or_default();
        let one_each: Vec<Option<&Fate>> =
            if fates.is_empty() { vec![None] } else { fates.iter().map(Some).collect() };
        for fate in one_each {
            if self.json {
                let before = if self.told == 0 { "{\"found\":[\n" } else { ",\n" };
                self.out.text(&format!("{before}{}", document(place, token.prefix(), fate)))?;
            } else {
                self.out.line(&line(place, token.prefix(), fate))?;
            }
            self.told += 1;
        }
        // A long search shows what it has found so far.
        self.out.flush()
    }

    async fn look_up(&mut self, place: &Place, token: &Token) -> Result<Vec<Fate>, Failure> {
        let found = find(self.door, json!({ "key": token.expose() }), None).await?;
        let mut fates = Vec::new();
        for key in found.keys {
            let mut fate = Fate { key, revoked_now: false };
            if self.revoke && fate.works() {
                let reason = why(Some(&format!("found in {}", place.text())));
                let answer = self.door.post(&path_of(&fate.key, &["revoke"]), &reason).await?;
                self.unconfirmed |= !answer.parsed::<Ended>()?.propagated;
                fate.revoked_now = true;
            }
            fates.push(fate);
        }
        Ok(fates)
    }

    /// Sums up, and says whether anything is left to be done.
    pub(super) fn end(mut self) -> Result<(), Failure> {
        let sum = self.sum();
        if self.json {
            let start = if self.told == 0 { "{\"found\":[" } else { "" };
            let (files, objects, unread) = (self.files, self.objects, self.unread);
            let Sum { keys, working, revoked_now, unknown } = sum;
            self.out.line(&format!(
                "{start}\n],\"keys\":{keys},\"working\":{working},\"revoked_now\":{revoked_now},\
                 \"unknown\":{unknown},\"files\":{files},\"objects\":{objects},\"unread\":{unread}}}"
            ))?;
        } else {
            say(&self.summary(&sum));
        }
        self.out.flush()?;
        if sum.working > 0 || self.unread > 0 {
            return Err(Failure::Found);
        }
        confirmed(!self.unconfirmed)
    }

    fn sum(&self) -> Sum {
        let all = || self.known.values().flatten();
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        Sum {
            keys: number(self.known.len()),
            working: number(all().filter(|fate| fate.works() && !fate.revoked_now).count()),
            revoked_now: number(all().filter(|fate| fate.revoked_now).count()),
            unknown: number(self.known.values().filter(|fates| fates.is_empty()).count()),
        }
    }

    fn summary(&self, sum: &Sum) -> String {
        let mut text = format!("Looked through {}", count(self.files, "file"));
        if self.objects > 0 {
            text.push_str(&format!(" and {} of git histories", count(self.objects, "object")));
        }
        text.push_str(&format!(": {}, {} working", count(sum.keys, "key"), sum.working));
        if sum.revoked_now > 0 {
            text.push_str(&format!(", {} revoked now", sum.revoked_now));
        }
        if sum.unknown > 0 {
            text.push_str(&format!(", {} unknown", sum.unknown));
        }
        text.push('.');
        if sum.unknown > 0 {
            text.push_str(" What is unknown here may be good at OpenBin: see `keys import`.");
        }
        text
    }
}

impl Fate {
    /// Whether the key works, or could be made to by enabling it.
    fn works(&self) -> bool {
        matches!(self.key.standing.as_str(), "active" | "disabled")
    }
}

impl Place {
    fn text(&self) -> String {
        match &self.commit {
            Some(commit) => format!("{}:{}", commit.get(..12).unwrap_or(commit), self.path),
            None => format!("{}:{}", self.path, self.line),
        }
    }
}

fn line(place: &Place, prefix: &str, fate: Option<&Fate>) -> String {
    let place = plain(&place.text());
    match fate {
        None => format!("{place}  {prefix}  unknown"),
        Some(Fate { key, revoked_now }) => {
            let now = if *revoked_now { ", revoked now" } else { "" };
            let (standing, owner, at) = (plain(&key.standing), plain(key.owner()), plain(&key.instance));
            format!("{place}  {prefix}  {standing}{now}  ({owner}, at {at})")
        }
    }
}

fn document(place: &Place, prefix: &str, fate: Option<&Fate>) -> Value {
    let key = fate.map(|fate| &fate.key);
    json!({
        "path": place.path,
        "line": place.line,
        "commit": place.commit,
        "prefix": prefix,
        "standing": key.map_or("unknown", |key| key.standing.as_str()),
        "revoked_now": fate.is_some_and(|fate| fate.revoked_now),
        "instance": key.map(|key| key.instance.as_str()),
        "id": key.map(|key| key.id.as_str()),
    })
}
