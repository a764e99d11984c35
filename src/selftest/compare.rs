//! What two answers to one request have to agree on.

use std::fmt;

use serde_json::Value;

use super::stricter::STRICTER;
use super::trial::Trial;
use super::wire::Answer;

/// What is compared of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its status.
    pub status: u16,
    /// The error's code, where it tells one.
    pub error: Option<String>,
    /// Its message.
    pub message: Option<String>,
    /// The user whom it speaks of, where somebody asked who they are.
    pub user: Option<String>,
}

/// Two answers that disagree.
#[derive(Debug, Clone)]
pub struct Difference {
    /// The request.
    pub trial: Trial,
    /// What the instance says.
    pub instance: Result<Seen, String>,
    /// What the gateway says.
    pub gateway: Result<Seen, String>,
}

/// How two answers stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Same,
    /// The gateway refuses for a reason that is documented: its place in [`STRICTER`].
    Stricter(usize),
    Different,
}

impl Seen {
    pub(super) fn of(trial: &Trial, answer: &Answer) -> Self {
        let json: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let text = |name: &str| json.get(name).and_then(Value::as_str).map(str::to_owned);
        let asks_who = trial.target.to_ascii_lowercase().contains("/auth/me");
        let user = json.get("user").unwrap_or(&json).get("id").and_then(Value::as_str);
        let user = user.filter(|_| asks_who).map(str::to_owned);
        Self { status: answer.status, error: text("error"), message: text("message"), user }
    }
}

/// Compares two answers.
pub(super) fn compare(trial: &Trial, instance: &Seen, gateway: &Seen) -> Standing {
    // What Node's own parser refuses has no content there.
    let parsed = instance.status == 400 && instance.error.is_none() && instance.status == gateway.status;
    if instance == gateway || parsed {
        return Standing::Same;
    }
    let reason = STRICTER.iter().position(|reason| reason.explains(&trial.marks, gateway));
    reason.map_or(Standing::Different, Standing::Stricter)
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        for part in [&self.error, &self.message, &self.user].into_iter().flatten() {
            // What others wrote cannot steer a terminal.
            let part: String = part.chars().flat_map(char::escape_debug).collect();
            write!(f, " {part}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |seen: &Result<Seen, String>| match seen {
            Ok(seen) => seen.to_string(),
            Err(error) => format!("nothing ({error})"),
        };
        writeln!(f, "#{}  {}", self.trial.number, self.trial)?;
        writeln!(f, "    instance  {}", side(&self.instance))?;
        write!(f, "    gateway   {}", side(&self.gateway))
    }
}
