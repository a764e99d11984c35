//! One instance, as the admin API knows it. What is done there in a user's name is handed in.

use std::pin::Pin;

use crate::keys::{EndedSession, Issuer, Token};

/// What is answered later.
pub type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;
/// Asks the instance for the e-mail address of the user with this id.
pub type FindEmail = Box<dyn Fn(String) -> Later<Result<Option<String>, DeskError>> + Send + Sync>;
/// Has the instance make a key: for whom, with which name.
pub type MakeKey = Box<dyn Fn(Client, String) -> Later<Result<NewKeyThere, DeskError>> + Send + Sync>;
/// Tells what it takes to end the session with this token, if it is one of the instance's.
pub type ReadSession = Box<dyn Fn(&str) -> Option<EndedSession> + Send + Sync>;

/// One instance.
pub struct Desk {
    /// Its name.
    pub name: String,
    /// Who issues its keys.
    pub issuer: Issuer,
    /// The hosts that it answers to; empty: every host.
    pub hosts: Vec<String>,
    /// Where it is: host and port.
    pub upstream: String,
    /// Finds out a user's e-mail address there.
    pub find_email: FindEmail,
    /// Makes a key there.
    pub make_key: MakeKey,
    /// Reads a session token.
    pub read_session: ReadSession,
}

/// For whom something is done.
#[derive(Debug, Clone)]
pub struct Client {
    /// The user's id.
    pub id: String,
    /// Their e-mail address, where it is known.
    pub email: Option<String>,
}

/// A key that an instance made.
#[derive(Debug)]
pub struct NewKeyThere {
    /// The key.
    pub token: Token,
    /// Its id there.
    pub id: String,
    /// Its name there.
    pub name: String,
}

/// Why an instance did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// It refused.
    #[error("{0}")]
    Refused(String),
    /// It did not answer in a way that can be understood.
    #[error("{0}")]
    Unclear(String),
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Desk").field(&self.name).finish()
    }
}
