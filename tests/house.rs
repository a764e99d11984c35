//! The house rules, read off the source: who may know whom, where a crate may be named, how long a file may be.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Which room may import what. A path of two parts allows only what lies below it.
const EDGES: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    (
        "app",
        &[
            "api", "auth", "cli", "config", "gateway", "http", "keys", "observe", "sample", "server",
            "upstream",
        ],
    ),
    ("cli", &["api", "app", "config", "gateway", "keys", "sample", "selftest", "server", "upstream"]),
    ("config", &["api", "auth", "gateway", "http", "keys", "observe", "server", "upstream"]),
    ("server", &["http", "observe"]),
    ("gateway", &["api::api_keys", "auth", "keys", "upstream", "http", "observe"]),
    ("api", &["keys", "auth::Identity", "http", "observe"]),
    ("auth", &["keys", "observe"]),
    ("upstream", &["http", "observe"]),
    ("keys", &["observe"]),
    ("sample", &["http"]),
    ("selftest", &[]),
    ("http", &[]),
    ("observe", &[]),
];

/// Edges of single files beyond [`EDGES`]. Each must be in use.
const EXCEPTIONS: &[(&str, &str)] = &[];

/// Crates, and the places under `src` that may name them. A room with a module of the same name may name that.
const CRATES: &[(&str, &[&str])] = &[
    ("redis", &["keys/redis/", "keys/mod.rs"]),
    ("rusqlite", &["keys/embedded/", "keys/import/sqlite"]),
    ("tokio_postgres", &["keys/import/postgres", "keys/import/url", "keys/import/tls"]),
    ("jsonwebtoken", &["auth/jwt", "auth/mint"]),
    ("hyper::client", &["upstream/", "selftest/"]),
    ("httparse", &["upstream/head"]),
    ("h2", &["http/", "server/http2"]),
    ("anyhow", &["cli/", "app"]),
];

const LONGEST_FILE: usize = 400;
const LONGEST_FUNCTION: usize = 60;

struct File {
    /// Below `src` or `tests`, with `/`.
    path: String,
    text: String,
    /// Without comments and the content of literals.
    code: String,
}

impl File {
    fn room(&self) -> &str {
        self.path.split(['/', '.']).next().unwrap_or_default()
    }

    /// The code outside of unit tests.
    fn product_code(&self) -> &str {
        if self.path.ends_with("_tests.rs") || self.path.ends_with("/tests.rs") {
            return "";
        }
        self.code.find("#[cfg(test)]\nmod ").map_or(&self.code, |start| &self.code[..start])
    }
}

fn files(folder: &str) -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of source") {
            let path: PathBuf = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("source text");
                let code = bare(&text);
                let below = path.strip_prefix(&root).expect("below the root");
                found.push(File { path: below.to_string_lossy().replace('\\', "/"), text, code });
            }
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

/// Source without comments, and with empty literals.
fn bare(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = raw_string(rest) {
            out.push_str("\"\"");
            length
        } else if first == '"' {
            out.push_str("\"\"");
            quoted(rest, '"')
        } else if first == '\'' && is_character(rest) {
            out.push_str("' '");
            quoted(rest, '\'')
        } else {
            out.push(first);
            first.len_utf8()
        };
        rest = &rest[skipped..];
    }
    out
}

fn raw_string(rest: &str) -> Option<usize> {
    let hashes = rest.strip_prefix('r')?.chars().take_while(|&c| c == '#').count();
    let body = rest[1 + hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(1 + hashes + 1 + body.find(&end)? + end.len())
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (position, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return position + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Whether a `'` begins a character rather than a lifetime.
fn is_character(rest: &str) -> bool {
    let mut characters = rest.chars().skip(1);
    characters.next() == Some('\\') || characters.next() == Some('\'')
}

/// The first two parts of every path that begins with `root::`, groups included.
fn paths(code: &str, root: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let start = format!("{root}::");
    for (position, _) in code.match_indices(&start) {
        let before = code[..position].chars().next_back();
        if before.is_some_and(|character| character.is_alphanumeric() || character == '_' || character == '$')
        {
            continue;
        }
        branches(&code[position + start.len()..], "", &mut found);
    }
    found
}

/// Reads one tree of a `use`; returns what follows it.
fn branches<'c>(code: &'c str, above: &str, found: &mut BTreeSet<String>) -> &'c str {
    let code = code.trim_start();
    if let Some(mut rest) = code.strip_prefix('{') {
        loop {
            rest = rest.trim_start();
            if let Some(after) = rest.strip_prefix('}') {
                return after;
            }
            let before = rest.len();
            rest = branches(rest, above, found).trim_start();
            rest = rest.strip_prefix(',').unwrap_or(rest);
            if rest.len() == before {
                return rest;
            }
        }
    }
    let end =
        code.find(|character: char| !(character.is_alphanumeric() || character == '_')).unwrap_or(code.len());
    let (name, rest) = code.split_at(end);
    if let (true, Some(below)) = (above.is_empty(), rest.strip_prefix("::")) {
        return branches(below, name, found);
    }
    found.insert(if above.is_empty() { name.to_owned() } else { format!("{above}::{name}") });
    skip_tree(rest)
}

/// Passes over what belongs to a tree whose first two parts are known.
fn skip_tree(rest: &str) -> &str {
    let mut depth = 0_usize;
    for (position, character) in rest.char_indices() {
        match character {
            '{' => depth += 1,
            '}' | ',' | ';' if depth == 0 => return &rest[position..],
            '}' => depth -= 1,
            _ => {}
        }
    }
    ""
}

fn allowed(room: &str, path: &str) -> bool {
    let rooms = EDGES.iter().find(|(own, _)| *own == room).map_or(&[][..], |(_, rooms)| rooms);
    let first = path.split("::").next().unwrap_or_default();
    rooms.iter().any(|rule| *rule == first || *rule == path)
}

#[test]
fn every_room_imports_only_what_it_may_know() {
    let mut wrong = Vec::new();
    let mut used: BTreeSet<&(&str, &str)> = BTreeSet::new();
    for file in files("src").iter().filter(|file| file.path != "lib.rs") {
        let room = file.room();
        let mut imports = paths(&file.code, "crate");
        imports.extend(paths(&file.code, "openbin_gateway"));
        for path in imports {
            let own = path.split("::").next() == Some(room);
            let exception =
                EXCEPTIONS.iter().find(|(place, edge)| *place == file.path && path.starts_with(edge));
            used.extend(exception);
            if !own && exception.is_none() && !allowed(room, &path) {
                wrong.push(format!("src/{} imports {path}", file.path));
            }
        }
    }
    assert!(wrong.is_empty(), "edges that the house does not have:\n{}", wrong.join("\n"));
    let unused: Vec<_> = EXCEPTIONS.iter().filter(|exception| !used.contains(exception)).collect();
    assert!(unused.is_empty(), "exceptions that nobody needs: {unused:?}");
}

#[test]
fn nobody_leaves_a_room_through_the_roof() {
    let mut wrong = Vec::new();
    for file in files("src").iter().filter(|file| !matches!(&*file.path, "lib.rs" | "main.rs")) {
        let parts = file.path.trim_end_matches(".rs").split('/').filter(|part| *part != "mod").count();
        let climb = "super::".repeat(parts);
        if file.product_code().contains(&climb) {
            wrong.push(format!("src/{} reaches the crate's root by {climb}", file.path));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_room_has_its_edges_written_down() {
    let rooms: BTreeSet<String> =
        files("src").iter().map(|file| file.room().to_owned()).filter(|room| room != "lib").collect();
    let written: BTreeSet<String> = EDGES.iter().map(|(room, _)| (*room).to_owned()).collect();
    assert_eq!(rooms, written);
}

#[test]
fn crates_are_named_only_where_they_belong() {
    let mut wrong = Vec::new();
    for file in files("src") {
        for (name, places) in CRATES {
            let named = mentions(file.product_code(), name);
            if named && !places.iter().any(|place| file.path.starts_with(place)) {
                wrong.push(format!("src/{} names {name}, which belongs to {}", file.path, places.join(", ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether a path of this crate is named: `name::…`, not as a part of another path.
fn mentions(code: &str, name: &str) -> bool {
    code.match_indices(&format!("{name}::")).any(|(position, _)| {
        let before = &code[..position];
        let inner = before.chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_');
        !inner && !before.ends_with("::")
    })
}

#[test]
fn files_and_functions_fit_on_their_screens() {
    let mut wrong = Vec::new();
    for (folder, functions) in [("src", true), ("tests", false)] {
        for file in files(folder) {
            let lines = file.text.lines().count();
            if lines > LONGEST_FILE {
                wrong.push(format!("{folder}/{} has {lines} lines", file.path));
            }
            let code = if functions { file.product_code() } else { "" };
            for (name, lines) in long_functions(code) {
                wrong.push(format!("{folder}/{}: {name} has {lines} lines", file.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Functions that are too long; relies on the formatter's indentation.
fn long_functions(code: &str) -> Vec<(String, usize)> {
    let mut long = Vec::new();
    let mut open: Option<(String, String, usize)> = None;
    for (number, line) in code.lines().enumerate() {
        let indent: String = line.chars().take_while(|c| *c == ' ').collect();
        match &open {
            None => {
                let head = line.trim_start();
                let is_function = head.starts_with("fn ") || head.contains(" fn ");
                if is_function && !head.ends_with(';') && !head.ends_with('}') {
                    open = Some((indent, head.to_owned(), number));
                }
            }
            Some((own, head, start)) => {
                let closed =
                    line == format!("{own}}}") || (line == format!("{own});") || line == format!("{own};"));
                if closed {
                    let lines = number - start + 1;
                    if lines > LONGEST_FUNCTION {
                        long.push((head.clone(), lines));
                    }
                    open = None;
                }
            }
        }
    }
    long
}

#[test]
fn every_file_says_first_what_it_is_for() {
    let mut wrong = Vec::new();
    for folder in ["src", "tests"] {
        for file in files(folder).iter().filter(|file| !file.text.starts_with("//! ")) {
            wrong.push(format!("{folder}/{} does not begin with a module doc", file.path));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_is_a_drawer_for_everything() {
    let drawers = ["util", "utils", "helper", "helpers", "misc", "common", "manager"];
    for file in files("src") {
        let parts: Vec<_> = file.path.trim_end_matches(".rs").split('/').collect();
        assert!(!parts.iter().any(|part| drawers.contains(part)), "src/{}", file.path);
    }
}

#[test]
fn nothing_that_input_can_reach_panics_by_design() {
    let mut wrong = Vec::new();
    for file in files("src") {
        for word in [".unwrap()", "panic!(", "todo!(", "unimplemented!(", "unreachable!(", "dbg!(", "unsafe "]
        {
            for (position, _) in file.product_code().match_indices(word) {
                let line = file.product_code()[..position].lines().count();
                wrong.push(format!("src/{}:{line}: {word}", file.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Versions below which a crate is known to let something through that this program must stop.
const FLOORS: &[(&str, [u64; 3])] =
    &[("jsonwebtoken", [10, 3, 0]), ("hyper", [1, 11, 0]), ("h2", [0, 4, 16]), ("moka", [0, 12, 14])];

#[test]
fn no_crate_is_older_than_its_last_known_hole() {
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock");
    let lock = std::fs::read_to_string(lock).expect("Cargo.lock");
    for (name, floor) in FLOORS {
        let entry = format!("name = \"{name}\"\nversion = \"");
        let versions: Vec<_> = lock.split(&entry).skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(!versions.is_empty(), "{name} is not in Cargo.lock");
        for version in versions {
            let numbers: Vec<u64> =
                version.split(['.', '-', '+']).map_while(|part| part.parse().ok()).collect();
            assert!(numbers >= floor.to_vec(), "{name} {version} is older than {floor:?}");
        }
    }
}

#[test]
fn the_rule_reader_sees_what_it_should() {
    let code = "use crate::{auth::{self, Denied}, keys, http::header::X};\nfn f() { crate::api::Admin::new(); mycrate::x(); }";
    let found: Vec<_> = paths(code, "crate").into_iter().collect();
    assert_eq!(found, ["api::Admin", "auth::Denied", "auth::self", "http::header", "keys"]);
    assert_eq!(
        bare("a // crate::x\n\"crate::y\" r#\"crate::\"z\"# 'c' '\\'' &'a"),
        "a \n\"\" \"\" ' ' ' ' &'a"
    );
    assert!(
        allowed("gateway", "api::api_keys") && !allowed("gateway", "api::Admin") && !allowed("http", "keys")
    );
    assert!(mentions("use redis::Client;", "redis") && !mentions("use super::redis::connect;", "redis"));
}
