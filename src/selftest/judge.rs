//! Sends a case, reads what comes back as strictly as a client can, and compares both ends with its outcome.

use std::time::Duration;

use super::case::{Case, Passed, Verdict};
use super::tape::Tape;
use super::wire::Wire;

/// How a case is judged.
#[derive(Debug, Clone, Copy)]
pub struct Judge<'t> {
    /// What stands behind the gateway, where that is a tape; without it only answers are judged, and whatever
    /// status an instance gives to what passed is as good as any other.
    pub tape: Option<&'t Tape>,
    /// Who the next request on a connection is for.
    pub host: &'t str,
    /// How many bytes are sent at a time.
    pub part: usize,
}

/// For unfinished requests to be broken off at the other end.
const SETTLED_WITHIN: Duration = Duration::from_secs(5);

impl Judge<'_> {
    /// Runs a case on a connection of its own.
    ///
    /// # Errors
    /// What became of it that must not.
    pub async fn judge(&self, case: &Case, wire: &mut Wire) -> Result<(), String> {
        if let Some(tape) = self.tape {
            tape.clear();
        }
        // A gateway that refuses may close before it has taken everything.
        for bytes in case.bytes.chunks(self.part.max(1)) {
            if wire.send(bytes).await.is_err() {
                break;
            }
            if self.part < case.bytes.len() {
                tokio::task::yield_now().await;
            }
        }
        if case.outcome.verdict == Verdict::Broken {
            wire.finish().await;
        }
        let refused = self.client_side(case, wire).await?;
        let Some(tape) = self.tape else { return Ok(()) };
        if !tape.settled(SETTLED_WITHIN).await {
            return Err("an unfinished request is not broken off".to_owned());
        }
        instance_side(&case.outcome.passed, refused, tape)
    }

    /// Whether it was refused at once, where it may be.
    async fn client_side(&self, case: &Case, wire: &mut Wire) -> Result<bool, String> {
        let (Verdict::Either | Verdict::Passed) = case.outcome.verdict else {
            for passed in &case.outcome.passed {
                self.answered(wire, passed).await?;
            }
            return self.after(case.outcome.verdict, wire).await.map(|()| false);
        };
        for passed in &case.outcome.passed {
            match (status(wire, &passed.method).await?, case.outcome.verdict) {
                (Some(status), _) if self.is_of_instance(status) => {}
                (Some(400..600), Verdict::Either) => return silent(wire).await.map(|()| true),
                (status, _) => {
                    return Err(format!("{} {} was answered with {status:?}", passed.method, passed.target));
                }
            }
        }
        self.still_in_step(wire).await.map(|()| false)
    }

    async fn after(&self, verdict: Verdict, wire: &mut Wire) -> Result<(), String> {
        let status = match verdict {
            Verdict::Closed => return silent(wire).await,
            _ => status(wire, "GET").await?,
        };
        match (verdict, status) {
            (Verdict::Refused | Verdict::RefusedWithin, Some(400..600)) => silent(wire).await,
            (Verdict::Broken | Verdict::Cut, None | Some(400..600)) => silent(wire).await,
            (Verdict::Answered(expected), Some(status)) if status == expected => {
                self.still_in_step(wire).await
            }
            (Verdict::AnsweredThenClosed(expected), Some(status)) if status == expected => silent(wire).await,
            (Verdict::AnsweredThenNothing(expected), Some(status)) if status == expected => {
                self.still_in_step(wire).await
            }
            _ => Err(format!("{verdict:?}, but answered with {status:?}")),
        }
    }

    async fn answered(&self, wire: &mut Wire, passed: &Passed) -> Result<(), String> {
        match status(wire, &passed.method).await? {
            Some(status) if self.is_of_instance(status) => Ok(()),
            other => Err(format!("{} {} was answered with {other:?}", passed.method, passed.target)),
        }
    }

    fn is_of_instance(&self, status: u16) -> bool {
        match self.tape {
            Some(_) => status == 200,
            // Without a tape nobody can tell who refused what may pass.
            None => status < 600,
        }
    }

    /// The connection is closed, or the next request on it gets its own answer.
    async fn still_in_step(&self, wire: &mut Wire) -> Result<(), String> {
        let next = format!("GET /sentinel HTTP/1.1\r\nHost: {}\r\n\r\n", self.host);
        let _ = wire.send(next.as_bytes()).await;
        match status(wire, "GET").await? {
            None => Ok(()),
            Some(status) if self.is_of_instance(status) => Ok(()),
            Some(status) => Err(format!("the next request was answered with {status}")),
        }
    }
}

/// The status of the next whole answer; `None` where the connection ends instead.
async fn status(wire: &mut Wire, method: &str) -> Result<Option<u16>, String> {
    match wire.answer(method).await.map_err(|error| error.to_string())? {
        None => Ok(None),
        Some(answer) if answer.whole => Ok(Some(answer.status)),
        Some(answer) => Err(format!("a {} that is cut short", answer.status)),
    }
}

/// Nothing more comes, and the connection ends.
async fn silent(wire: &mut Wire) -> Result<(), String> {
    let rest = wire.rest().await.map_err(|error| error.to_string())?;
    if rest.is_empty() {
        Ok(())
    } else {
        Err(format!("more was answered: {:?}", String::from_utf8_lossy(&rest)))
    }
}

/// What reached the instance: these requests, or none of them where it was refused.
///
/// # Errors
/// What did that must not.
pub fn instance_side(passed: &[Passed], refused: bool, tape: &Tape) -> Result<(), String> {
    let seen = tape.seen();
    if let Some(fault) = seen.faults.first() {
        return Err(format!("what reached the instance breaks the rules: {fault}"));
    }
    let mut came: Vec<_> = seen
        .requests
        .iter()
        .map(|message| Passed {
            method: message.method.clone(),
            target: message.target.clone(),
            body: message.body.clone(),
        })
        .collect();
    came.retain(|request| request.target != "/sentinel");
    let expected = if refused { &[][..] } else { passed };
    if came != expected {
        return Err(format!("the instance got {came:?}"));
    }
    for message in &seen.requests {
        let identity: Vec<_> =
            message.fields.iter().filter(|(name, _)| folded(name).starts_with("x-auth-")).collect();
        if !matches!(identity[..], [(name, value)] if name == "x-auth-method" && value == b"none") {
            return Err(format!("the instance was told {identity:?}"));
        }
        if let Some((name, _)) = message.trailers.iter().find(|(name, _)| is_forbidden(name)) {
            return Err(format!("trailer {name} was passed on"));
        }
    }
    Ok(())
}

fn is_forbidden(trailer: &str) -> bool {
    let name = folded(trailer);
    name.starts_with("x-auth-")
        || ["content-length", "transfer-encoding", "host", "authorization", "cookie"].contains(&&*name)
}

/// As a reader would that takes every sign for the same.
#[must_use]
pub fn folded(name: &str) -> String {
    let fold = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    name.chars().map(fold).collect()
}
