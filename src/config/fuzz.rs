//! What must hold of a configuration file, whatever is in it; for fuzzers and for the seeds that they start from.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::read::Context;
use super::{resolve, tree};

/// Reads a configuration: it is taken, or it has problems.
///
/// # Panics
/// Where it is neither, or the problems of the same text differ.
pub fn configuration(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let found = problems(text);
    assert_eq!(found, problems(text));
}

/// `None` where the configuration would be taken.
fn problems(text: &str) -> Option<Vec<String>> {
    let file: Arc<Path> = Path::new("gateway.yaml").into();
    let mut problems = Vec::new();
    let root = tree::parse(text, &file, &mut problems);
    let Some(root) = root else {
        assert!(!problems.is_empty(), "refused without a reason");
        return Some(problems.iter().map(ToString::to_string).collect());
    };
    // A folder that is not there: what a text names is looked for, and never found.
    let context = Context::new(PathBuf::from("/nonexistent"), &[], SystemTime::UNIX_EPOCH, problems);
    let taken = resolve::resolve(&context, &root).is_some();
    let (problems, _) = context.found();
    assert!(taken || !problems.is_empty(), "refused without a reason");
    (!problems.is_empty()).then(|| problems.iter().map(ToString::to_string).collect())
}
