//! One question, as the breaker sees it: let in or turned away, and what came of it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use prometheus::{IntCounterVec, IntGauge};

use super::breaker::{Breaker, Pass};
use super::trouble::Trouble;
use crate::keys::StoreError;
use crate::observe::Metrics;

/// Who may ask, and what those hear who may not.
pub(super) struct Gate {
    state: Mutex<State>,
    /// Counts the links that were met with silence.
    silent: IntGauge,
    failures: IntCounterVec,
}

struct State {
    breaker: Breaker,
    trouble: StoreError,
}

/// Somebody who was let in. Going away without a word is noticed, too.
pub(super) struct Visit<'a> {
    gate: &'a Gate,
    asked: Instant,
    pass: Option<Pass>,
}

impl Gate {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self::with(metrics.store.silent_links.clone(), metrics.store.failures.clone())
    }

    /// The same for another link.
    pub(super) fn another(&self) -> Self {
        Self::with(self.silent.clone(), self.failures.clone())
    }

    fn with(silent: IntGauge, failures: IntCounterVec) -> Self {
        let state = State { breaker: Breaker::new(), trouble: StoreError::Timeout };
        Self { state: Mutex::new(state), silent, failures }
    }

    /// Lets somebody in, or says at once what the last who asked heard.
    pub(super) fn enter(&self, now: Instant) -> Result<Visit<'_>, StoreError> {
        let mut state = self.lock();
        match state.breaker.enter(now) {
            Some(pass) => Ok(Visit { gate: self, asked: now, pass: Some(pass) }),
            None => {
                self.failures.with_label_values(&["turned_away"]).inc();
                Err(state.trouble.clone())
            }
        }
    }

    /// Counts a question without an answer that could be used.
    pub(super) fn count(&self, error: &StoreError) {
        let kind = match error {
            StoreError::Timeout => "timeout",
            StoreError::Unreachable(_) => "unreachable",
            StoreError::Refused(_) | StoreError::Unusable(_) | StoreError::InUse(_) => "refused",
            StoreError::Corrupt(_) | StoreError::Lost => "unreadable",
        };
        self.failures.with_label_values(&[kind]).inc();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if self.lock().breaker.answered(Instant::now()) {
            self.silent.dec();
        }
    }
}

impl Visit<'_> {
    /// Tells what came of it.
    pub(super) fn leave<T>(mut self, outcome: &Result<T, Trouble>) {
        let Some(pass) = self.pass.take() else { return };
        let (now, mut state) = (Instant::now(), self.gate.lock());
        match outcome {
            Ok(_) | Err(Trouble::Answered(_)) => {
                if state.breaker.answered(now) {
                    self.gate.silent.dec();
                }
            }
            Err(Trouble::Silent(error)) => {
                let chance = f64::from(rand::random::<u8>()) / 255.0;
                if state.breaker.failed(pass, self.asked, now, chance) {
                    self.gate.silent.inc();
                }
                state.trouble = error.clone();
            }
        }
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        if let Some(pass) = self.pass.take() {
            self.gate.lock().breaker.abandoned(pass, Instant::now());
        }
    }
}
