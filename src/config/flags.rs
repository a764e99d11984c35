//! The command line's own settings, for running without a file. Knows nothing of argument parsing.

use std::path::PathBuf;

use super::overlay::{Segment, put};
use super::problem::{Place, Problem};
use super::tree::{Entry, Node, Value};

/// What the command line sets; everything else has its default or comes from the environment.
#[derive(Clone, Default)]
pub struct Flags {
    /// `--upstream`: where the only instance is.
    pub upstream: Option<String>,
    /// `--host`: the hosts that it answers to; none: every host.
    pub hosts: Vec<String>,
    /// `--jwt-secret-file`.
    pub jwt_secret_file: Option<PathBuf>,
    /// `--jwt-secret-env`.
    pub jwt_secret_env: Option<String>,
    /// `--listen`: addresses to listen on.
    pub listen: Vec<String>,
    /// How those addresses are protected.
    pub tls: Option<Tls>,
    /// `--store`: an SQLite file's path or a Redis URL.
    pub store: Option<String>,
    /// `--admin`: where the admin listener is.
    pub admin: Option<String>,
}

/// How listeners from the command line are protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// `--tls-certificate` and `--tls-key`.
    Files {
        /// The certificate chain.
        certificate: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
    /// `--self-signed`.
    SelfSigned,
    /// `--plain`: not at all.
    Plain,
}

/// Where to listen when nobody says so.
pub(super) const DEFAULT_LISTEN: &str = "0.0.0.0:8443";
const DEFAULT_PLAIN_LISTEN: &str = "127.0.0.1:8080";

impl Flags {
    /// Lays what was given over the tree.
    pub(super) fn apply(&self, root: &mut Node, problems: &mut Vec<Problem>) {
        for (path, flag, node) in self.nodes() {
            let path: Vec<Segment> = path.iter().map(|segment| Segment::from(*segment)).collect();
            if let Err((what, mend)) = put(root, &path, node) {
                problems.push(Problem { place: Place::Flag(flag), path: String::new(), what, mend });
            }
        }
    }

    fn nodes(&self) -> Vec<(&'static [&'static str], &'static str, Node)> {
        let mut nodes = Vec::new();
        let mut add =
            |path, flag, value: Value| nodes.push((path, flag, Node { place: Place::Flag(flag), value }));
        if let Some(upstream) = &self.upstream {
            add(&["instances", "0", "upstream"] as &[_], "--upstream", Value::Text(upstream.clone()));
        }
        if !self.hosts.is_empty() {
            let hosts = self.hosts.iter().map(|host| Node::text(Place::Flag("--host"), host)).collect();
            add(&["instances", "0", "hosts"], "--host", Value::List(hosts));
        }
        if let Some(file) = &self.jwt_secret_file {
            add(&["instances", "0", "jwt_secret_file"], "--jwt-secret-file", path_text(file));
        }
        if let Some(name) = &self.jwt_secret_env {
            add(&["instances", "0", "jwt_secret_env"], "--jwt-secret-env", Value::Text(name.clone()));
        }
        match self.store.as_deref() {
            Some(store) if store.contains("://") => {
                add(&["store", "kind"], "--store", Value::Text("redis".into()));
                add(&["store", "url"], "--store", Value::Text(store.to_owned()));
            }
            Some(store) => {
                add(&["store", "kind"], "--store", Value::Text("embedded".into()));
                add(&["store", "path"], "--store", Value::Text(store.to_owned()));
            }
            None => {}
        }
        if let Some(address) = &self.admin {
            add(&["admin", "address"], "--admin", Value::Text(address.clone()));
        }
        if !self.listen.is_empty() || self.tls.is_some() {
            add(&["listen"], "--listen", Value::List(self.listeners()));
        }
        nodes
    }

    fn listeners(&self) -> Vec<Node> {
        let default = match &self.tls {
            Some(Tls::Plain) => DEFAULT_PLAIN_LISTEN,
            Some(Tls::Files { .. } | Tls::SelfSigned) | None => DEFAULT_LISTEN,
        };
        let addresses = if self.listen.is_empty() { vec![default.to_owned()] } else { self.listen.clone() };
        let listener = |address: String| {
            let place = Place::Flag("--listen");
            let mut entries = vec![entry("address", place.clone(), Value::Text(address))];
            entries.extend(self.tls_entry());
            Node { place, value: Value::Map(entries) }
        };
        addresses.into_iter().map(listener).collect()
    }

    fn tls_entry(&self) -> Option<Entry> {
        match &self.tls {
            Some(Tls::Plain) => None,
            Some(Tls::SelfSigned) | None => {
                Some(entry("tls", Place::Flag("--self-signed"), Value::Text("self_signed".into())))
            }
            Some(Tls::Files { certificate, key }) => {
                let files = vec![
                    entry("certificate", Place::Flag("--tls-certificate"), path_text(certificate)),
                    entry("key", Place::Flag("--tls-key"), path_text(key)),
                ];
                Some(entry("tls", Place::Flag("--tls-certificate"), Value::Map(files)))
            }
        }
    }
}

fn entry(name: &str, place: Place, value: Value) -> Entry {
    Entry { name: name.to_owned(), place: place.clone(), node: Node { place, value } }
}

fn path_text(path: &std::path::Path) -> Value {
    Value::Text(path.to_string_lossy().into_owned())
}
