//! Environment variables over the file: `OPENBIN_GATEWAY__STORE__URL` is `store.url`.
//!
//! Two underscores go one level down, a number is a list's index (`…__INSTANCES__0__UPSTREAM`; the next free
//! one adds an entry). A value is taken as it is, without YAML quoting; an empty one counts as not given,
//! which is what compose files make of a variable that is not set. One underscore after `GATEWAY` is
//! somebody else's: Kubernetes adds `OPENBIN_GATEWAY_SERVICE_HOST` for a service of that name.

use super::problem::{Place, Problem};
use super::tree::{Entry, Node, Value};

/// What the names of all variables that set a key begin with.
pub(super) const PREFIX: &str = "OPENBIN_GATEWAY__";

/// Lays every variable with the prefix over the tree.
pub(super) fn apply(root: &mut Node, environment: &[(String, String)], problems: &mut Vec<Problem>) {
    let mut settings: Vec<(Vec<Segment>, &str, &str)> = environment
        .iter()
        .filter(|(_, value)| !value.trim().is_empty())
        .filter_map(|(name, value)| Some((path(name.strip_prefix(PREFIX)?), name.as_str(), value.as_str())))
        .collect();
    settings.sort();
    for (path, name, value) in settings {
        let place = Place::Variable(name.to_owned());
        if let Err((what, mend)) = put(root, &path, Node::text(place.clone(), value)) {
            problems.push(Problem { place, path: String::new(), what, mend });
        }
    }
}

/// One level of a path: a list's index or a map's key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Segment {
    Index(usize),
    Key(String),
}

impl From<&str> for Segment {
    fn from(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Key(text.to_ascii_lowercase()), Self::Index)
    }
}

/// Puts a node at a path, making the levels above it. The error is what is wrong, and the mend.
pub(super) fn put(root: &mut Node, path: &[Segment], node: Node) -> Result<(), (String, String)> {
    if path.is_empty() || path.len() > MAX_LEVELS || path.iter().any(|s| *s == Segment::Key(String::new())) {
        let mend = format!("write it like {PREFIX}STORE__URL");
        return Err(("this does not name a setting".into(), mend));
    }
    let mut at = root;
    for (level, segment) in path.iter().enumerate() {
        make_room(at, segment, &node.place)?;
        at = match (segment, &mut at.value) {
            (Segment::Index(index), Value::List(items)) => enter_list(items, *index, &node.place)?,
            (segment, Value::Map(entries)) => {
                let entry = match segment {
                    Segment::Index(index) => enter_map(entries, &index.to_string(), &node.place),
                    Segment::Key(key) => enter_map(entries, key, &node.place),
                };
                if level + 1 == path.len() {
                    // Whoever wrote the key before, the value is from here.
                    entry.place = node.place.clone();
                }
                &mut entry.node
            }
            (Segment::Key(_), Value::List(_)) => {
                return Err(("this setting is a list".into(), "name the entry by its number, from 0".into()));
            }
            (_, Value::Empty | Value::Text(_)) => return Err(conflict()),
        };
    }
    match (&at.value, &at.place) {
        (Value::List(_) | Value::Map(_), Place::Variable(_)) => Err(conflict()),
        _ => {
            *at = node;
            Ok(())
        }
    }
}

const MAX_LEVELS: usize = 8;

fn path(name: &str) -> Vec<Segment> {
    name.split("__").map(Segment::from).collect()
}

/// Turns what holds no levels into something that does, unless another variable set it.
fn make_room(at: &mut Node, segment: &Segment, place: &Place) -> Result<(), (String, String)> {
    match (&at.value, &at.place) {
        (Value::List(_) | Value::Map(_), _) => return Ok(()),
        (Value::Text(_), Place::Variable(_)) => return Err(conflict()),
        (Value::Text(_) | Value::Empty, _) => {}
    }
    at.place = place.clone();
    at.value = match segment {
        Segment::Index(_) => Value::List(Vec::new()),
        Segment::Key(_) => Value::Map(Vec::new()),
    };
    Ok(())
}

fn enter_list<'a>(
    items: &'a mut Vec<Node>,
    index: usize,
    place: &Place,
) -> Result<&'a mut Node, (String, String)> {
    let length = items.len();
    if index == length {
        items.push(Node::empty(place.clone()));
    }
    items.get_mut(index).ok_or_else(|| {
        (format!("there is no entry {index} in this list"), format!("the next free number is {length}"))
    })
}

fn enter_map<'a>(entries: &'a mut Vec<Entry>, key: &str, place: &Place) -> &'a mut Entry {
    let index = entries.iter().position(|entry| entry.name == key).unwrap_or_else(|| {
        let node = Node::empty(place.clone());
        entries.push(Entry { name: key.to_owned(), place: place.clone(), node });
        entries.len() - 1
    });
    // The index was just found or made.
    &mut entries[index]
}

fn conflict() -> (String, String) {
    ("another variable sets this as a whole".into(), "keep one of the two".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn overlaid(yaml: &str, variables: &[(&str, &str)]) -> (Node, Vec<String>) {
        let mut problems = Vec::new();
        let file = Path::new("gateway.yaml").into();
        let mut root = super::super::tree::parse(yaml, &file, &mut problems).expect("YAML");
        let variables: Vec<(String, String)> =
            variables.iter().map(|(name, value)| (format!("{PREFIX}{name}"), (*value).to_owned())).collect();
        apply(&mut root, &variables, &mut problems);
        (root, problems.iter().map(ToString::to_string).collect())
    }

    fn at<'a>(node: &'a Node, path: &[&str]) -> Option<&'a str> {
        let Some((first, rest)) = path.split_first() else {
            return match &node.value {
                Value::Text(text) => Some(text),
                _ => None,
            };
        };
        match &node.value {
            Value::Map(entries) => at(&entries.iter().find(|entry| entry.name == *first)?.node, rest),
            Value::List(items) => at(items.get(first.parse::<usize>().ok()?)?, rest),
            _ => None,
        }
    }

    #[test]
    fn a_variable_replaces_what_the_file_says_and_leaves_the_rest() {
        let (root, problems) = overlaid(
            "store: { kind: redis, url: a }\nlisten: [ { address: b, tls: self_signed } ]",
            &[("STORE__URL", "redis://x"), ("LISTEN__0__TLS__CERTIFICATE", "c.pem"), ("WORKERS", " ")],
        );
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(at(&root, &["store", "url"]), Some("redis://x"));
        assert_eq!(at(&root, &["store", "kind"]), Some("redis"));
        assert_eq!(at(&root, &["listen", "0", "tls", "certificate"]), Some("c.pem"));
        assert_eq!(at(&root, &["workers"]), None);
    }

    #[test]
    fn a_value_is_told_with_the_place_that_it_is_from() {
        let (root, _) = overlaid("store: { url: a }", &[("STORE__URL", "b")]);
        let Value::Map(entries) = &root.value else { panic!("a map") };
        let Value::Map(below) = &entries[0].node.value else { panic!("a map") };
        assert_eq!(below[0].place, Place::Variable(format!("{PREFIX}STORE__URL")));
        assert!(matches!(entries[0].place, Place::Line(..)), "the section itself stands in the file");
    }

    #[test]
    fn lists_grow_by_their_next_number_in_numeric_order() {
        let names: Vec<(String, String)> =
            (0..12).rev().map(|i| (format!("INSTANCES__{i}__NAME"), format!("n{i}"))).collect();
        let names: Vec<(&str, &str)> = names.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let (root, problems) = overlaid("", &names);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(at(&root, &["instances", "11", "name"]), Some("n11"));
    }

    #[test]
    fn a_variable_that_fits_nowhere_is_a_problem() {
        let cases = [
            (
                "A__9999999",
                "x",
                "OPENBIN_GATEWAY__A__9999999: there is no entry 9999999 in this list; the next free number is 0",
            ),
            (
                "",
                "x",
                "OPENBIN_GATEWAY__: this does not name a setting; write it like OPENBIN_GATEWAY__STORE__URL",
            ),
            (
                "A____B",
                "x",
                "OPENBIN_GATEWAY__A____B: this does not name a setting; write it like OPENBIN_GATEWAY__STORE__URL",
            ),
            (
                "L__KEY",
                "x",
                "OPENBIN_GATEWAY__L__KEY: this setting is a list; name the entry by its number, from 0",
            ),
        ];
        for (name, value, expected) in cases {
            let (_, problems) = overlaid("l: [1]", &[(name, value)]);
            assert_eq!(problems, [expected]);
        }
        let (_, problems) = overlaid("", &[("A", "x"), ("A__B", "y")]);
        assert_eq!(
            problems,
            ["OPENBIN_GATEWAY__A__B: another variable sets this as a whole; keep one of the two"]
        );
    }
}
