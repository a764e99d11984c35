//! YAML, environment and flags → one `Settings` per part, every problem at once.
//!
//! ```text
//! file ──▶ tree ──▶ overlay (environment, then flags) ──▶ resolve (read key by key) ──▶ Config
//! ```
//!
//! A configuration is taken whole or refused whole. Reading it touches the files that it names (secrets,
//! certificates), but no socket and no store: whether those answer is told by `openbin-gateway check`.

mod authority;
mod certificate;
mod flags;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod overlay;
mod problem;
mod read;
mod resolve;
mod scalar;
#[cfg(test)]
mod tests;
mod tree;

pub use flags::{Flags, Tls};
pub use problem::{Place, Problem, Problems};

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::{api, gateway, keys, observe, server};
use read::Context;
use tree::Node;

/// What every part is made from.
#[derive(Debug, Clone)]
pub struct Config {
    /// Listeners and workers.
    pub server: server::Settings,
    /// The admin listener.
    pub admin: api::Settings,
    /// The key store.
    pub keys: keys::Settings,
    /// For how long what is no longer needed is kept.
    pub retention: keys::Retention,
    /// Instances and forwarding.
    pub gateway: gateway::Settings,
    /// Logs.
    pub observe: observe::Settings,
    /// What works, but should be known. To be logged at start.
    pub warnings: Vec<Problem>,
}

/// Where a configuration comes from; flags win over the environment, the environment over the file.
///
/// Has no `Debug`: an environment holds secrets.
#[derive(Clone, Default)]
pub struct Sources {
    /// The configuration file, where there is one.
    pub file: Option<PathBuf>,
    /// All environment variables: those that set keys, and those that keys name.
    pub environment: Vec<(String, String)>,
    /// The command line.
    pub flags: Flags,
}

impl Sources {
    /// The process's own environment beside a file and flags.
    #[must_use]
    pub fn with_environment(file: Option<PathBuf>, flags: Flags) -> Self {
        let texts = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self { file, environment: std::env::vars_os().filter_map(texts).collect(), flags }
    }
}

impl Config {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// All that is wrong, each with its place and its mend.
    pub fn load(sources: Sources) -> Result<Self, Problems> {
        Self::load_at(&sources, SystemTime::now())
    }

    /// As [`load`](Self::load), at a time of one's own choice: it decides which certificates expire soon.
    ///
    /// # Errors
    /// All that is wrong, each with its place and its mend.
    pub fn load_at(sources: &Sources, now: SystemTime) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let root = match &sources.file {
            Some(file) => parse_file(file, &mut problems),
            None => Some(Node::empty(Place::Nowhere)),
        };
        let Some(mut root) = root else { return Err(Problems::new(problems)) };
        overlay::apply(&mut root, &sources.environment, &mut problems);
        sources.flags.apply(&mut root, &mut problems);
        let context = Context::new(base(sources.file.as_deref()), &sources.environment, now, problems);
        let config = resolve::resolve(&context, &root);
        let (problems, warnings) = context.found();
        match config {
            Some(config) if problems.is_empty() => {
                Ok(Self { warnings: Problems::new(warnings).all().to_vec(), ..config })
            }
            _ => Err(Problems::new(problems)),
        }
    }
}

/// The folder of the configuration file; without a file, the one that the process runs in.
fn base(file: Option<&Path>) -> PathBuf {
    file.and_then(Path::parent).map(Path::to_path_buf).unwrap_or_default()
}

const MAX_FILE_BYTES: u64 = 2 << 20;

fn parse_file(file: &Path, problems: &mut Vec<Problem>) -> Option<Node> {
    let shared: Arc<Path> = file.into();
    let mut source = String::new();
    let read =
        std::fs::File::open(file).and_then(|file| file.take(MAX_FILE_BYTES).read_to_string(&mut source));
    match read {
        Ok(_) => tree::parse(&source, &shared, problems),
        Err(error) => {
            let what = match error.kind() {
                std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
                std::io::ErrorKind::PermissionDenied => "this user may not read it".to_owned(),
                std::io::ErrorKind::InvalidData => "this is not UTF-8 text".to_owned(),
                _ => error.to_string(),
            };
            let mend = "name a configuration file; gateway.example.yaml shows every key".to_owned();
            problems.push(Problem { place: Place::File(shared), path: String::new(), what, mend });
            None
        }
    }
}
