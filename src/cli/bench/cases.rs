//! The credentials that are measured, each with a request.

use std::time::SystemTime;

use zeroize::Zeroizing;

use crate::selftest::{Persona, Presented, Repeated, session};

/// One credential.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) request: Repeated,
}

/// All that there are credentials for.
pub(super) struct Cases {
    all: Vec<Case>,
    missing: Vec<&'static str>,
}

const NO_SESSION: &str = "No session is measured: name a user with --user, or give a key or a token.";
const NO_KEY: &str = "No known key is measured: give one with --stdin or --key-env.";

impl Cases {
    /// Those that are wanted.
    pub(super) fn of(persona: &Persona, path: &str, wanted: impl Fn(&Case) -> bool) -> Self {
        let mut cases = Self { all: Vec::new(), missing: Vec::new() };
        let mut add = |name, presented, expected| {
            cases.all.push(Case { name, request: Repeated { path: path.to_owned(), presented, expected } });
        };
        match session(persona, SystemTime::now()) {
            Some(token) => add("session", Presented::Session(token), 200),
            None => cases.missing.push(NO_SESSION),
        }
        match &persona.key {
            Some(key) => add("known key", Presented::Key(Zeroizing::new(key.clone())), 200),
            None => cases.missing.push(NO_KEY),
        }
        add("unknown key, always another", Presented::MadeUp, 401);
        let bad = format!("sk_openbin_{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>());
        add("bad key, always the same", Presented::Key(Zeroizing::new(bad)), 401);
        cases.all.retain(wanted);
        cases
    }

    pub(super) fn all(&self) -> &[Case] {
        &self.all
    }

    /// What is not measured, and how it could be.
    pub(super) fn missing(&self) -> &[&'static str] {
        &self.missing
    }
}
