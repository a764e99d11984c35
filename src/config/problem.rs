//! What is wrong with a configuration: where, what, and how to mend it.
//!
//! Texts made here are printed and logged, so they never hold a secret.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Where a setting came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A line of the configuration file, counted from 1.
    Line(Arc<Path>, usize),
    /// The configuration file as a whole.
    File(Arc<Path>),
    /// An environment variable.
    Variable(String),
    /// A command-line flag.
    Flag(&'static str),
    /// Nobody gave it.
    Nowhere,
}

impl Place {
    /// File lines in their order first, then variables, flags and what was not given at all.
    fn rank(&self) -> (u8, usize) {
        match self {
            Self::File(_) => (0, 0),
            Self::Line(_, line) => (1, *line),
            Self::Variable(_) => (2, 0),
            Self::Flag(_) => (3, 0),
            Self::Nowhere => (4, 0),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(file, line) => write!(f, "{}:{line}: ", file.display()),
            Self::File(file) => write!(f, "{}: ", file.display()),
            Self::Variable(name) => write!(f, "{name}: "),
            Self::Flag(name) => write!(f, "{name}: "),
            Self::Nowhere => Ok(()),
        }
    }
}

/// One thing that is wrong, or worth a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where the setting came from.
    pub place: Place,
    /// The setting, such as `instances[0].upstream`; empty where it is about the whole configuration.
    pub path: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it; empty where `what` already says so.
    pub mend: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.place)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.what)?;
        if !self.mend.is_empty() {
            write!(f, "; {}", self.mend)?;
        }
        Ok(())
    }
}

/// Everything that is wrong with a configuration, in the order of its lines.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Takes what was found and puts it in the order in which a reader meets it.
    #[must_use]
    pub fn new(mut found: Vec<Problem>) -> Self {
        found.sort_by_key(|problem| problem.place.rank());
        Self(found)
    }

    /// Each problem.
    #[must_use]
    pub fn all(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(place: Place) -> Problem {
        Problem { place, path: "store.url".into(), what: "is wrong".into(), mend: "mend it".into() }
    }

    #[test]
    fn problems_are_told_in_the_order_of_the_lines() {
        let file: Arc<Path> = Path::new("gateway.yaml").into();
        let problems = Problems::new(vec![
            problem(Place::Flag("--store")),
            problem(Place::Variable("OPENBIN_GATEWAY__STORE__URL".into())),
            problem(Place::Line(file.clone(), 12)),
            problem(Place::Line(file, 3)),
        ]);
        assert_eq!(
            problems.to_string(),
            "gateway.yaml:3: store.url: is wrong; mend it\n\
             gateway.yaml:12: store.url: is wrong; mend it\n\
             OPENBIN_GATEWAY__STORE__URL: store.url: is wrong; mend it\n\
             --store: store.url: is wrong; mend it"
        );
    }
}
