//! The calls that end keys, users and sessions, by every way that an operator has.

use std::process::Command;

use serde_json::{Value, json};

use super::fleet::Doors;
use super::journal::{Clock, Ended, Outcome, Subject, Through};
use super::stock;

/// A call that is to be made.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    pub subject: Subject,
    pub through: Through,
    /// Whether it only asks again.
    pub again: bool,
    /// When the sessions of this round expire.
    pub expires: i64,
}

impl Call {
    /// Makes it, and says what came of it.
    pub async fn make(self, doors: &Doors, clock: Clock) -> Ended {
        let Self { subject, through, again, .. } = self;
        let called = clock.now();
        let (outcome, said) = match through {
            Through::Gateway(gateway) => {
                let (path, content) = self.words();
                let answer = doors.call(gateway, &path, &content).await;
                let said = format!("{answer:?}");
                (read(answer), said)
            }
            Through::Command(gateway) => {
                self.command(doors, gateway, &doors.of(gateway).admin.to_string()).await
            }
            // Nobody listens there.
            Through::Store(gateway) => self.command(doors, gateway, "127.0.0.1:1").await,
        };
        Ended { subject, through, called, returned: clock.now(), outcome, again, said }
    }

    /// Its path in the admin API, and what is sent.
    pub fn words(self) -> (String, String) {
        match self.subject {
            Subject::Key(number) => {
                (format!("/keys/home/{}/revoke", stock::id(number)), r#"{"reason":"fault"}"#.to_owned())
            }
            Subject::User(number) => (format!("/users/home/{}/block", stock::user(number)), "{}".to_owned()),
            Subject::Session(number) => {
                let token = stock::session(number, self.expires);
                ("/sessions/home/end".to_owned(), json!({ "token": token }).to_string())
            }
        }
    }

    async fn command(self, doors: &Doors, gateway: usize, admin: &str) -> (Outcome, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_openbin-gateway"));
        command.args(["keys", "revoke", "--config", "gateway.yaml", "--ahead"]);
        command.arg(stock::id(self.subject.number())).current_dir(doors.setup(gateway).directory());
        command.env("OPENBIN_GATEWAY__ADMIN__ADDRESS", admin);
        let ran = tokio::task::spawn_blocking(move || command.output()).await;
        let output = ran.expect("a command").expect("the program");
        let outcome = match output.status.code() {
            Some(0) => Outcome::Confirmed,
            Some(3) => Outcome::Unconfirmed,
            _ => Outcome::Failed,
        };
        (outcome, String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// What an answer of the admin API means.
pub fn read(answer: Option<(u16, Value)>) -> Outcome {
    match answer {
        Some((200, body)) if body["propagated"] != false => Outcome::Confirmed,
        Some((200 | 202, _)) => Outcome::Unconfirmed,
        _ => Outcome::Failed,
    }
}
