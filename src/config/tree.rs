//! YAML text → a small tree that remembers the line of everything.
//!
//! Scalars stay text: what a text means is decided by whoever reads the setting, so `name: 007` keeps its
//! noughts. Every bound is on the reader's side of the parser: size, depth and the number of nodes,
//! those that an alias repeats included. A key that appears twice is a problem, never an override.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::problem::{Place, Problem};
use super::scalar::shown;

/// One value and where it was written.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// What a node holds.
#[derive(Clone)]
pub(super) enum Value {
    /// Nothing, `~` or `null`: as if the key were not there.
    Empty,
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One key of a map with its value.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) node: Node,
}

impl Node {
    pub(super) fn empty(place: Place) -> Self {
        Self { place, value: Value::Empty }
    }

    pub(super) fn text(place: Place, text: impl Into<String>) -> Self {
        Self { place, value: Value::Text(text.into()) }
    }

    fn count(&self) -> usize {
        1 + match &self.value {
            Value::Empty | Value::Text(_) => 0,
            Value::List(items) => items.iter().map(Node::count).sum(),
            Value::Map(entries) => entries.iter().map(|entry| entry.node.count()).sum(),
        }
    }
}

/// Reads one YAML document. What is wrong is added to `problems`; without a result nothing could be read.
pub(super) fn parse(source: &str, file: &Arc<Path>, problems: &mut Vec<Problem>) -> Option<Node> {
    let mut builder = Builder {
        file,
        problems,
        open: Vec::new(),
        anchors: HashMap::new(),
        nodes: 0,
        documents: 0,
        root: None,
    };
    match builder.read(source) {
        Ok(()) => Some(builder.root.take().unwrap_or_else(|| Node::empty(Place::File(Arc::clone(file))))),
        Err(stop) => {
            let problem = Problem {
                place: Place::Line(Arc::clone(file), stop.line.max(1)),
                path: builder.path(),
                what: stop.what,
                mend: stop.mend.to_owned(),
            };
            builder.problems.push(problem);
            None
        }
    }
}

const MAX_SOURCE_BYTES: usize = 1 << 20;
const MAX_DEPTH: usize = 16;
const MAX_NODES: usize = 20_000;

/// Why reading cannot go on.
struct Stop {
    line: usize,
    what: String,
    mend: &'static str,
}

impl Stop {
    fn new(line: usize, what: impl Into<String>, mend: &'static str) -> Self {
        Self { line, what: what.into(), mend }
    }
}

/// A list or map whose end has not come yet.
struct Open {
    place: Place,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, key: Option<(String, Place)> },
}

struct Builder<'a> {
    file: &'a Arc<Path>,
    problems: &'a mut Vec<Problem>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    documents: usize,
    root: Option<Node>,
}

impl Builder<'_> {
    fn read(&mut self, source: &str) -> Result<(), Stop> {
        if source.len() > MAX_SOURCE_BYTES {
            return Err(Stop::new(1, "the file is larger than 1 MiB", "is it the right file?"));
        }
        let mut parser = Parser::new_from_str(source);
        while let Some(next) = parser.next_event() {
            let (event, span) = next.map_err(|error| {
                Stop::new(
                    error.marker().line(),
                    format!("not YAML: {}", error.info()),
                    "check the indentation",
                )
            })?;
            self.take(event, span)?;
        }
        Ok(())
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Stop> {
        let line = span.start.line();
        let place = Place::Line(Arc::clone(self.file), line);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(Stop::new(
                        line,
                        "a second YAML document begins here",
                        "keep one, without `---`",
                    ));
                }
                Ok(())
            }
            Event::SequenceStart(_, Some(_))
            | Event::MappingStart(_, Some(_))
            | Event::Scalar(_, _, _, Some(_)) => {
                Err(Stop::new(line, "YAML tags such as !!str are not read here", "quote the value instead"))
            }
            Event::SequenceStart(anchor, None) => self.begin(line, place, anchor, Content::List(Vec::new())),
            Event::MappingStart(anchor, None) => {
                self.begin(line, place, anchor, Content::Map { entries: Vec::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(line),
            Event::Scalar(text, style, anchor, None) => {
                let plain = style == ScalarStyle::Plain;
                let value = match text.as_ref() {
                    "" | "~" | "null" | "Null" | "NULL" if plain => Value::Empty,
                    text => Value::Text(text.to_owned()),
                };
                self.place(line, Node { place, value }, anchor)
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some(node) => {
                    self.nodes += node.count();
                    let node = if self.nodes > MAX_NODES { Node::empty(place) } else { node.clone() };
                    self.place(line, node, 0)
                }
                None => {
                    Err(Stop::new(line, "this alias stands inside its own anchor", "write the value out"))
                }
            },
        }
    }

    fn begin(&mut self, line: usize, place: Place, anchor: usize, content: Content) -> Result<(), Stop> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Stop::new(line, "nested too deeply", "check the indentation"));
        }
        if let Some(Open { content: Content::Map { key: None, .. }, .. }) = self.open.last() {
            return Err(Stop::new(
                line,
                "a list or group stands where a key should be",
                "quote the key or value",
            ));
        }
        self.open.push(Open { place, anchor, content });
        Ok(())
    }

    fn end(&mut self, line: usize) -> Result<(), Stop> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let value = match open.content {
            Content::List(items) => Value::List(items),
            Content::Map { entries, .. } => Value::Map(entries),
        };
        self.place(line, Node { place: open.place, value }, open.anchor)
    }

    /// Puts a finished node where it belongs.
    fn place(&mut self, line: usize, node: Node, anchor: usize) -> Result<(), Stop> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(Stop::new(line, "too many values", "use fewer aliases or a smaller file"));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map { entries, key }) => match key.take() {
                Some((name, place)) => match entries.iter().find(|entry| entry.name == name) {
                    Some(first) => {
                        let first = first.place.clone();
                        self.twice(&name, place, &first);
                    }
                    None => entries.push(Entry { name, place, node }),
                },
                None => match node.value {
                    Value::Text(name) => *key = Some((name, node.place)),
                    Value::Empty => *key = Some((String::new(), node.place)),
                    Value::List(_) | Value::Map(_) => {
                        return Err(Stop::new(line, "a key must be a text", "quote the key"));
                    }
                },
            },
        }
        Ok(())
    }

    fn twice(&mut self, name: &str, place: Place, first: &Place) {
        let group = self.path();
        let path = if group.is_empty() { shown(name) } else { format!("{group}.{}", shown(name)) };
        let what = match first {
            Place::Line(_, line) => format!("written twice; the first is on line {line}"),
            _ => "written twice".to_owned(),
        };
        self.problems.push(Problem { place, path, what, mend: "keep one".into() });
    }

    /// The path of what is being read.
    fn path(&self) -> String {
        let mut path = String::new();
        for open in &self.open {
            match &open.content {
                Content::List(items) => path.push_str(&format!("[{}]", items.len())),
                Content::Map { key: Some((name, _)), .. } => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(&shown(name));
                }
                Content::Map { key: None, .. } => {}
            }
        }
        path
    }
}
