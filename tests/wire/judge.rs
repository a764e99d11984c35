//! Sends a case, reads what comes back as strictly as a client can, and compares both ends with its outcome.

use crate::support::{Wire, wait};

use super::case::{Case, Passed, Verdict};
use super::tape::Tape;

const SENTINEL: &str = "GET /sentinel HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Runs a case on a connection of its own, its bytes in parts of so many.
///
/// # Errors
/// What became of it that must not.
pub async fn judge(case: &Case, part: usize, wire: &mut Wire, tape: &Tape) -> Result<(), String> {
    tape.clear();
    // A gateway that refuses may close before it has taken everything.
    for bytes in case.bytes.chunks(part) {
        if wire.try_send(bytes).await.is_err() {
            break;
        }
        if part < case.bytes.len() {
            tokio::task::yield_now().await;
        }
    }
    if case.outcome.verdict == Verdict::Broken {
        wire.finish().await;
    }
    let refused = client_side(case, wire).await?;
    wait::until("unfinished requests to be broken off", || tape.seen().open == 0).await;
    instance_side(&case.outcome.passed, refused, tape)
}

/// Whether it was refused at once, where it may be.
async fn client_side(case: &Case, wire: &mut Wire) -> Result<bool, String> {
    let (Verdict::Either | Verdict::Passed) = case.outcome.verdict else {
        for passed in &case.outcome.passed {
            answered(wire, passed).await?;
        }
        return after(case.outcome.verdict, wire).await.map(|()| false);
    };
    for passed in &case.outcome.passed {
        let status = status(wire, &passed.method).await?;
        match (status, case.outcome.verdict) {
            (Some(200), _) => {}
            (Some(400..600), Verdict::Either) => return silent(wire).await.map(|()| true),
            _ => return Err(format!("{} {} was answered with {status:?}", passed.method, passed.target)),
        }
    }
    still_in_step(wire).await.map(|()| false)
}

async fn after(verdict: Verdict, wire: &mut Wire) -> Result<(), String> {
    let status = match verdict {
        Verdict::Closed => return silent(wire).await,
        _ => status(wire, "GET").await?,
    };
    match (verdict, status) {
        (Verdict::Refused | Verdict::RefusedWithin, Some(400..600)) => silent(wire).await,
        (Verdict::Broken | Verdict::Cut, None | Some(400..600)) => silent(wire).await,
        (Verdict::Answered(expected), Some(status)) if status == expected => still_in_step(wire).await,
        (Verdict::AnsweredThenClosed(expected), Some(status)) if status == expected => silent(wire).await,
        (Verdict::AnsweredThenNothing(expected), Some(status)) if status == expected => {
            still_in_step(wire).await
        }
        _ => Err(format!("{verdict:?}, but answered with {status:?}")),
    }
}

async fn answered(wire: &mut Wire, passed: &Passed) -> Result<(), String> {
    match status(wire, &passed.method).await? {
        Some(200) => Ok(()),
        other => Err(format!("{} {} was answered with {other:?}", passed.method, passed.target)),
    }
}

/// The status of the next whole answer; `None` where the connection ends instead.
async fn status(wire: &mut Wire, method: &str) -> Result<Option<u16>, String> {
    match wire.final_response(method).await {
        None => Ok(None),
        Some(response) if response.whole => Ok(Some(response.status)),
        Some(response) => Err(format!("a {} that is cut short", response.status)),
    }
}

/// Nothing more comes, and the connection ends.
async fn silent(wire: &mut Wire) -> Result<(), String> {
    let rest = wire.rest().await;
    if rest.is_empty() {
        Ok(())
    } else {
        Err(format!("more was answered: {:?}", String::from_utf8_lossy(&rest)))
    }
}

/// The connection is closed, or the next request on it gets its own answer.
async fn still_in_step(wire: &mut Wire) -> Result<(), String> {
    let _ = wire.try_send(SENTINEL).await;
    match status(wire, "GET").await? {
        None | Some(200) => Ok(()),
        Some(status) => Err(format!("the next request was answered with {status}")),
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
pub fn folded(name: &str) -> String {
    let fold = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    name.chars().map(fold).collect()
}
