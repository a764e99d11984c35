//! What was done, and when, by one clock: the two logs that are joined afterwards.

use std::time::{Duration, Instant};

/// The one clock of a round. Times are what has passed since it began.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    pub fn start() -> Self {
        Self(Instant::now())
    }

    pub fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// What a request carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Credential {
    /// The key with this number.
    Key(usize),
    /// The session of the user with this number.
    Session(usize),
    /// A key that nobody ever issued.
    Stranger(usize),
}

/// What is ended by a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// This key is revoked.
    Key(usize),
    /// This user is blocked: their key and their session.
    User(usize),
    /// This session is ended.
    Session(usize),
}

impl Subject {
    /// Whether a request with this credential must be refused once the subject is ended.
    pub fn covers(self, credential: Credential) -> bool {
        match (self, credential) {
            (Self::Key(ended), Credential::Key(number))
            | (Self::Session(ended), Credential::Session(number)) => ended == number,
            (Self::User(ended), Credential::Key(number) | Credential::Session(number)) => ended == number,
            _ => false,
        }
    }

    pub fn number(self) -> usize {
        match self {
            Self::Key(number) | Self::User(number) | Self::Session(number) => number,
        }
    }
}

/// One request of a client.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// Told to the instance, so that it can say whether this request came through.
    pub serial: u64,
    pub credential: Credential,
    pub gateway: usize,
    pub sent: Duration,
    pub answered: Duration,
    /// `None`: the connection broke, or no answer came.
    pub status: Option<u16>,
}

/// Through what a call was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Through {
    /// The admin API of this gateway.
    Gateway(usize),
    /// The command line, which finds this gateway.
    Command(usize),
    /// The command line, which finds no gateway and goes to the store itself, by this gateway's way.
    Store(usize),
}

/// What a call said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Refused everywhere from now on.
    Confirmed,
    /// Written, and not known yet to be refused everywhere.
    Unconfirmed,
    /// Not done, as far as is known.
    Failed,
}

/// One call that ends something.
#[derive(Debug, Clone)]
pub struct Ended {
    pub subject: Subject,
    pub through: Through,
    pub called: Duration,
    pub returned: Duration,
    pub outcome: Outcome,
    /// Whether it only asks again for what was called for before.
    pub again: bool,
    /// What was said, where it was not that all is done.
    pub said: String,
}

/// All that happened in a round.
#[derive(Debug, Default)]
pub struct Journal {
    pub asked: Vec<Asked>,
    pub ended: Vec<Ended>,
    /// The serial numbers of the requests that came through to the instance, in order.
    pub arrived: Vec<u64>,
    /// Requests that came through with an identity that is not theirs.
    pub crossed: Vec<String>,
    /// When the fault began and ended.
    pub fault: Option<(Duration, Duration)>,
    /// Gateways that were stopped or killed themselves: nobody expects them to answer meanwhile.
    pub disturbed: Option<usize>,
}
