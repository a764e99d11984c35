//! Typed reading of the tree that collects every problem instead of stopping at the first.
//!
//! A reader that finds something wrong notes it and goes on with the default; whether the result may be used
//! is decided at the end, by whether any problem was noted. Knows no key by name.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::problem::{Place, Problem};
use super::scalar::{duration, duration_text, shown, size, size_text};
use super::tree::{Entry, Node, Value};

/// What every reader needs besides the tree.
pub(super) struct Context<'a> {
    /// The folder that relative paths start from.
    pub(super) base: PathBuf,
    pub(super) environment: &'a [(String, String)],
    pub(super) now: SystemTime,
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
    /// Every key that was asked for, with `[]` for any index.
    known: RefCell<BTreeSet<String>>,
}

impl<'a> Context<'a> {
    pub(super) fn new(
        base: PathBuf,
        environment: &'a [(String, String)],
        now: SystemTime,
        problems: Vec<Problem>,
    ) -> Self {
        let known = RefCell::default();
        Self { base, environment, now, problems: problems.into(), warnings: RefCell::default(), known }
    }

    /// What was found: problems, then warnings.
    pub(super) fn found(self) -> (Vec<Problem>, Vec<Problem>) {
        (self.problems.into_inner(), self.warnings.into_inner())
    }

    #[cfg(test)]
    pub(super) fn known(&self) -> BTreeSet<String> {
        self.known.borrow().clone()
    }
}

/// A group of settings that is being read.
#[must_use = "call finish, which reports the keys that nobody knows"]
pub(super) struct Section<'a> {
    context: &'a Context<'a>,
    path: String,
    place: Place,
    entries: &'a [Entry],
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    /// The whole configuration.
    pub(super) fn root(context: &'a Context<'a>, node: &'a Node) -> Self {
        Field { context, path: String::new(), place: node.place.clone(), node: Some(node) }.section()
    }

    /// The setting of this name, given or not.
    pub(super) fn field(&self, name: &'static str) -> Field<'a> {
        self.asked.borrow_mut().push(name);
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        self.context.known.borrow_mut().insert(without_indices(&path));
        let entry = self.entries.iter().find(|entry| entry.name == name);
        let place = entry.map_or(&self.place, |entry| &entry.place).clone();
        Field { context: self.context, path, place, node: entry.map(|entry| &entry.node) }
    }

    /// This group as a whole, for problems that concern more than one of its settings.
    pub(super) fn whole(&self) -> Field<'a> {
        Field { context: self.context, path: self.path.clone(), place: self.place.clone(), node: None }
    }

    /// Reports every key that nobody asked for.
    pub(super) fn finish(self) {
        let asked = self.asked.borrow();
        for entry in self.entries.iter().filter(|entry| !asked.contains(&entry.name.as_str())) {
            let name = shown(&entry.name);
            let path = if self.path.is_empty() { name } else { format!("{}.{name}", self.path) };
            let field = Field { context: self.context, path, place: entry.place.clone(), node: None };
            field.wrong("there is no such setting", suggestion(&entry.name, &asked));
        }
    }
}

/// One setting.
#[derive(Clone)]
pub(super) struct Field<'a> {
    pub(super) context: &'a Context<'a>,
    path: String,
    place: Place,
    node: Option<&'a Node>,
}

impl<'a> Field<'a> {
    /// Whether anything was written for it.
    pub(super) fn given(&self) -> bool {
        self.node.is_some_and(|node| !matches!(node.value, Value::Empty))
    }

    /// Where it was written.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Notes that this setting is wrong.
    pub(super) fn wrong(&self, what: impl Into<String>, mend: impl Into<String>) {
        self.context.problems.borrow_mut().push(self.problem(what.into(), mend.into()));
    }

    /// Notes something that works, but should be known.
    pub(super) fn warn(&self, what: impl Into<String>, mend: impl Into<String>) {
        self.context.warnings.borrow_mut().push(self.problem(what.into(), mend.into()));
    }

    fn problem(&self, what: String, mend: String) -> Problem {
        Problem { place: self.place.clone(), path: self.path.clone(), what, mend }
    }

    /// Its text, where it has one.
    pub(super) fn text(&self) -> Option<&'a str> {
        match &self.node?.value {
            Value::Empty => None,
            Value::Text(text) => Some(text),
            Value::List(_) => self.not_a_value("a list"),
            Value::Map(_) => self.not_a_value("a group of settings"),
        }
    }

    fn not_a_value(&self, found: &str) -> Option<&'a str> {
        self.wrong(format!("one value belongs here, not {found}"), "");
        None
    }

    /// Its text, parsed. A text that cannot be parsed is shown as what it is not.
    pub(super) fn parsed<T>(&self, expected: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let text = self.text()?;
        let value = parse(text);
        if value.is_none() {
            self.wrong(format!("\"{}\" is not {expected}", shown(text)), "");
        }
        value
    }

    /// A whole number.
    pub(super) fn count(&self, range: RangeInclusive<u64>, default: u64) -> u64 {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        let parse = |text: &str| text.parse().ok().filter(|number| range.contains(number));
        self.parsed(&expected, parse).unwrap_or(default)
    }

    /// A duration with its unit.
    pub(super) fn duration(&self, range: RangeInclusive<Duration>, default: Duration) -> Duration {
        let (least, most) = (duration_text(*range.start()), duration_text(*range.end()));
        let expected =
            format!("a duration from {least} to {most} with its unit, such as {}", duration_text(default));
        self.parsed(&expected, |text| duration(text).filter(|value| range.contains(value))).unwrap_or(default)
    }

    /// A number of bytes.
    pub(super) fn size(&self, range: RangeInclusive<u64>, default: u64) -> u64 {
        let (least, most) = (size_text(*range.start()), size_text(*range.end()));
        let expected = format!("a size from {least} to {most}, such as {}", size_text(default));
        self.parsed(&expected, |text| size(text).filter(|value| range.contains(value))).unwrap_or(default)
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, words: &[(&'static str, T)], default: T) -> T {
        let Some(text) = self.text() else { return default };
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return *value;
        }
        let words: Vec<&'static str> = words.iter().map(|(word, _)| *word).collect();
        self.wrong(format!("\"{}\" is not known here", shown(text)), suggestion(text, &words));
        default
    }

    /// A path; a relative one starts from the configuration file's folder.
    pub(super) fn path(&self) -> Option<PathBuf> {
        self.text().map(|text| self.context.base.join(text))
    }

    /// Its entries as texts; from a variable, commas separate them.
    pub(super) fn texts(&self) -> Vec<(Field<'a>, &'a str)> {
        let texts = |field: Field<'a>| {
            let text = field.text().unwrap_or_default();
            let split = matches!(field.place, Place::Variable(_));
            let parts: Vec<&'a str> =
                if split { text.split(',').map(str::trim).collect() } else { vec![text] };
            parts
                .into_iter()
                .filter(|part| !part.is_empty())
                .map(move |part| (field.clone(), part))
                .collect::<Vec<_>>()
        };
        self.list().into_iter().flat_map(texts).collect()
    }

    /// Its entries. One value counts as a list of one.
    pub(super) fn list(&self) -> Vec<Field<'a>> {
        let Some(node) = self.node else { return Vec::new() };
        let nodes: Vec<&'a Node> = match &node.value {
            Value::Empty => Vec::new(),
            Value::List(items) => items.iter().collect(),
            Value::Text(_) | Value::Map(_) => return vec![self.clone()],
        };
        let entry = |(index, node): (usize, &'a Node)| Field {
            context: self.context,
            path: format!("{}[{index}]", self.path),
            place: node.place.clone(),
            node: Some(node),
        };
        nodes.into_iter().enumerate().map(entry).collect()
    }

    /// Its settings, where it is a group.
    pub(super) fn section(&self) -> Section<'a> {
        let entries: &[Entry] = match self.node.map(|node| &node.value) {
            Some(Value::Map(entries)) => entries,
            Some(Value::Empty) | None => &[],
            Some(Value::Text(_) | Value::List(_)) => {
                self.wrong("a group of settings belongs here", "write `key: value` lines below it");
                &[]
            }
        };
        Section {
            context: self.context,
            path: self.path.clone(),
            place: self.place.clone(),
            entries,
            asked: RefCell::default(),
        }
    }

    /// Whether a group of settings was written.
    pub(super) fn is_section(&self) -> bool {
        matches!(self.node.map(|node| &node.value), Some(Value::Map(_)))
    }
}

/// What could have been meant, or what there is.
fn suggestion(written: &str, known: &[&'static str]) -> String {
    let likeness =
        |word: &&'static str| (strsim::jaro_winkler(&written.to_ascii_lowercase(), word) * 1000.0) as u32;
    match known.iter().map(|word| (likeness(word), *word)).max() {
        Some((likeness, word)) if likeness >= 820 => format!("did you mean {word}?"),
        Some(_) => format!("there are: {}", known.join(", ")),
        None => String::new(),
    }
}

fn without_indices(path: &str) -> String {
    path.chars().filter(|c| !c.is_ascii_digit()).collect()
}
