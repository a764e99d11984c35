//! What is still to be done about a key: kept in the store, so that a restart forgets nothing.
//!
//! Decides when a thing is tried again, and knows no instances: doing it is the affair of whoever asks.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// Something that is still to be done, or was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errand {
    /// The key's instance.
    pub instance: String,
    /// The key's id.
    pub key_id: String,
    /// The key's owner.
    pub user_id: String,
    /// The owner's e-mail address, where it is known.
    pub user_email: Option<String>,
    /// What is to be done.
    pub task: Task,
    /// How far it is.
    pub state: State,
    /// When it is to be tried next.
    pub due: SystemTime,
    /// How often it was tried.
    pub tries: u32,
    /// What came of the last try, in plain words.
    pub note: Option<String>,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Tell the instance that the key is revoked.
    Tell,
    /// Revoke the key.
    End,
}

/// How far an errand is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is tried until it succeeds or is refused.
    Pending,
    /// It is done.
    Done,
    /// It cannot be done; the note says why.
    Refused,
}

/// What came of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// How far it is now.
    pub state: State,
    /// When it is to be tried next, if it is still pending.
    pub due: SystemTime,
    /// What came of it, in plain words.
    pub note: Option<String>,
}

/// The first pause after a failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// No pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

impl Errand {
    /// It is done.
    #[must_use]
    pub fn done(&self, now: SystemTime) -> Settled {
        Settled { state: State::Done, due: now, note: None }
    }

    /// It never can be done.
    #[must_use]
    pub fn refused(&self, now: SystemTime, why: &str) -> Settled {
        Settled { state: State::Refused, due: now, note: Some(why.to_owned()) }
    }

    /// It is to be tried again, each time after twice the pause, up to five minutes.
    #[must_use]
    pub fn again(&self, now: SystemTime, why: &str) -> Settled {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.tries.min(16)).min(LONGEST_PAUSE);
        Settled { state: State::Pending, due: now + pause, note: Some(why.to_owned()) }
    }
}

impl Task {
    /// Its text in stores and messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tell => "tell",
            Self::End => "end",
        }
    }

    /// The task with this text.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        [Self::Tell, Self::End].into_iter().find(|task| task.as_str() == text)
    }
}

impl State {
    /// Its text in stores and messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Done => "done",
            Self::Refused => "refused",
        }
    }

    /// The state with this text.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        [Self::Pending, Self::Done, Self::Refused].into_iter().find(|state| state.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_with_each_try_up_to_five_minutes() {
        let now = SystemTime::UNIX_EPOCH;
        let pause = |tries| {
            let errand = Errand {
                instance: "home".to_owned(),
                key_id: "k".to_owned(),
                user_id: "u".to_owned(),
                user_email: None,
                task: Task::Tell,
                state: State::Pending,
                due: now,
                tries,
                note: None,
            };
            errand.again(now, "down").due.duration_since(now).expect("later").as_secs()
        };
        assert_eq!([0, 1, 2, 8, 9, 40].map(pause), [1, 2, 4, 256, 300, 300]);
    }

    #[test]
    fn tasks_and_states_are_read_back_from_their_text() {
        for task in [Task::Tell, Task::End] {
            assert_eq!(Task::from_text(task.as_str()), Some(task));
        }
        for state in [State::Pending, State::Done, State::Refused] {
            assert_eq!(State::from_text(state.as_str()), Some(state));
        }
    }
}
