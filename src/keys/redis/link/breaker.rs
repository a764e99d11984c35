//! Whether asking makes sense: after silence, nobody waits for an answer but one who tries it anew from time
//! to time. A state machine; the time is passed in.

use std::time::{Duration, Instant};

/// How long nobody tries after the first failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest that nobody tries, so that a server that is back is found well within a second.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// What is known of whether the server answers.
#[derive(Debug)]
pub(super) struct Breaker {
    state: State,
    /// When the last answer came.
    answered: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It answers.
    Closed,
    /// It did not, and is left in peace until this moment.
    Open { until: Instant, failures: u32 },
    /// One is trying it.
    Trying { failures: u32 },
}

/// In which role somebody may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// Like everybody.
    Open,
    /// As the one who tries it.
    Trial,
}

impl Breaker {
    pub(super) fn new() -> Self {
        Self { state: State::Closed, answered: None }
    }

    /// Whether somebody may ask now; `None`: it would be in vain.
    pub(super) fn enter(&mut self, now: Instant) -> Option<Pass> {
        match self.state {
            State::Closed => Some(Pass::Open),
            State::Open { until, failures } if until <= now => {
                self.state = State::Trying { failures };
                Some(Pass::Trial)
            }
            State::Open { .. } | State::Trying { .. } => None,
        }
    }

    /// An answer came, whatever it says. Whether that ends a time of silence.
    pub(super) fn answered(&mut self, now: Instant) -> bool {
        self.answered = self.answered.max(Some(now));
        let silent = self.state != State::Closed;
        self.state = State::Closed;
        silent
    }

    /// No answer came to what was asked at `asked`. `chance` is from 0 to 1, and spreads those who try again.
    /// Whether that begins a time of silence.
    pub(super) fn failed(&mut self, pass: Pass, asked: Instant, now: Instant, chance: f64) -> bool {
        match (self.state, pass) {
            // Others were answered since: the server is there, and only this one took too long.
            (State::Closed, _) if self.answered.is_some_and(|answered| answered >= asked) => false,
            (State::Closed, _) => {
                self.state = State::Open { until: now + pause(1, chance), failures: 1 };
                true
            }
            (State::Trying { failures }, Pass::Trial) => {
                let failures = failures.saturating_add(1);
                self.state = State::Open { until: now + pause(failures, chance), failures };
                false
            }
            // It was asked before the silence began, and says nothing new.
            (State::Trying { .. }, Pass::Open) | (State::Open { .. }, _) => false,
        }
    }

    /// Whoever tried it went away without waiting for the answer: the next may.
    pub(super) fn abandoned(&mut self, pass: Pass, now: Instant) {
        if let (State::Trying { failures }, Pass::Trial) = (self.state, pass) {
            self.state = State::Open { until: now, failures };
        }
    }
}

/// From half to the whole of what is due after so many failures.
fn pause(failures: u32, chance: f64) -> Duration {
    let doubled =
        FIRST_PAUSE.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
    doubled.min(LONGEST_PAUSE).mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Duration = Duration::from_millis(1);

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::new();
        assert_eq!(breaker.enter(now), Some(Pass::Open));
        assert!(breaker.failed(Pass::Open, now, now, 1.0));
        breaker
    }

    #[test]
    fn silence_turns_everybody_away_but_one_who_tries() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert_eq!(breaker.enter(now + FIRST_PAUSE - MOMENT), None);
        assert_eq!(breaker.enter(now + FIRST_PAUSE), Some(Pass::Trial));
        assert_eq!(breaker.enter(now + FIRST_PAUSE * 100), None, "one at a time");
        assert!(breaker.answered(now + FIRST_PAUSE));
        assert_eq!(breaker.enter(now + FIRST_PAUSE), Some(Pass::Open));
    }

    #[test]
    fn one_slow_answer_among_others_is_no_silence() {
        let now = Instant::now();
        let mut breaker = Breaker::new();
        assert!(!breaker.answered(now + MOMENT));
        assert!(!breaker.failed(Pass::Open, now, now + MOMENT * 250, 0.5));
        assert_eq!(breaker.enter(now + MOMENT * 250), Some(Pass::Open));
        assert!(breaker.failed(Pass::Open, now + MOMENT * 2, now + MOMENT * 250, 0.5));
        assert_eq!(breaker.enter(now + MOMENT * 250), None);
    }

    #[test]
    fn whoever_asked_before_the_silence_neither_ends_nor_prolongs_it() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert!(!breaker.failed(Pass::Open, now, now + FIRST_PAUSE - MOMENT, 1.0));
        assert_eq!(breaker.enter(now + FIRST_PAUSE), Some(Pass::Trial));
        assert!(!breaker.failed(Pass::Open, now, now + FIRST_PAUSE, 1.0));
        assert_eq!(breaker.enter(now + FIRST_PAUSE), None, "somebody is trying it");
        // A late answer to an old question is as good as any.
        breaker.answered(now + FIRST_PAUSE);
        assert_eq!(breaker.enter(now + FIRST_PAUSE), Some(Pass::Open));
    }

    #[test]
    fn one_who_tries_and_goes_away_leaves_it_to_the_next() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let later = now + FIRST_PAUSE;
        assert_eq!(breaker.enter(later), Some(Pass::Trial));
        breaker.abandoned(Pass::Open, later);
        assert_eq!(breaker.enter(later), None);
        breaker.abandoned(Pass::Trial, later);
        assert_eq!(breaker.enter(later), Some(Pass::Trial));
    }

    #[test]
    fn it_is_tried_at_most_twenty_times_a_second_and_found_well_within_one() {
        let now = Instant::now();
        for chance in [0.0, 0.3, 1.0] {
            let (mut breaker, mut trials, mut last) = (opened(now), Vec::new(), now);
            for moment in 0..10_000 {
                let at = now + MOMENT * moment;
                if let Some(pass) = breaker.enter(at) {
                    assert!(at - last <= LONGEST_PAUSE);
                    breaker.failed(pass, at, at, chance);
                    trials.push(at);
                    last = at;
                }
            }
            assert!(trials.len() >= 40, "{}", trials.len());
            assert!(trials.windows(21).all(|few| few[20] - few[0] >= Duration::from_secs(1)), "{trials:?}");
        }
        assert_eq!(pause(u32::MAX, 9.0), LONGEST_PAUSE);
    }
}
