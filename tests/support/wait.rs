//! Waiting for conditions, never for time to pass.

use std::future::Future;
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up on it. Generous: two cores run many gateways at once.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for a future, and says what was waited for where it does not come.
pub async fn within<F: Future>(what: &str, future: F) -> F::Output {
    within_time(what, PATIENCE, future).await
}

/// Like [`within`], with a limit of one's own.
pub async fn within_time<F: Future>(what: &str, limit: Duration, future: F) -> F::Output {
    match tokio::time::timeout(limit, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited {limit:?} in vain for {what}"),
    }
}

/// Waits until the condition holds.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    until_some(what, || condition().then_some(())).await;
}

/// Waits until there is something to return.
pub async fn until_some<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until asking again gives something to return.
pub async fn until_answer<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
