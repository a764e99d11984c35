//! Whether the gateway should be sent requests, and what it depends on is up.
//!
//! The rule: it is **ready** unless it is shutting down, or can reach none of its instances. A key store
//! that is down leaves it ready but *degraded*, because sessions and cached keys go on working: taking
//! every gateway out of service would only make it worse. The same is true of one instance of several.
//!
//! Checks are asked at most once a second whatever the probes do, so that nobody can load the store
//! through them. Knows neither the store nor the instances: the checks are handed in.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, FutureExt, Shared, join_all};
use hyper::StatusCode;
use serde_json::{Map, Value, json};

type Answer = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// How long one check may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the answer of a run stands in for a new one. Not below [`CHECK_TIMEOUT`], so that a run that
/// every prober has walked away from is over by then.
const RUN_INTERVAL: Duration = Duration::from_secs(1);
const LONGEST_ERROR: usize = 200;

/// Asks one dependency whether it is there. An error says why not, in words without secrets.
pub struct Check {
    name: String,
    kind: Kind,
    ask: Box<dyn Fn() -> Answer + Send + Sync>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Store,
    Instance,
}

impl Check {
    /// Asks the key store; shown as `store`.
    pub fn store(ask: impl Fn() -> Answer + Send + Sync + 'static) -> Self {
        Self { name: "store".to_owned(), kind: Kind::Store, ask: Box::new(ask) }
    }

    /// Asks an instance; shown as `instance:` and its name.
    pub fn instance(name: &str, ask: impl Fn() -> Answer + Send + Sync + 'static) -> Self {
        Self { name: format!("instance:{name}"), kind: Kind::Instance, ask: Box::new(ask) }
    }

    async fn finding(&self, timeout: Duration) -> Finding {
        let result = match tokio::time::timeout(timeout, (self.ask)()).await {
            Ok(result) => result,
            Err(_) => Err(format!("no answer within {} ms", timeout.as_millis())),
        };
        Finding { name: self.name.clone(), kind: self.kind, result }
    }
}

impl std::fmt::Debug for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Check").field(&self.name).finish()
    }
}

/// The state of the process as probes see it; one for the whole process.
#[derive(Debug)]
pub struct Health {
    draining: AtomicBool,
    watched: Mutex<Watched>,
    timeout: Duration,
}

#[derive(Debug)]
struct Watched {
    checks: Arc<[Check]>,
    last_run: Option<Run>,
}

/// A run of all checks, under way or finished. Whoever asks meanwhile waits for the same one.
#[derive(Debug)]
struct Run {
    started: Instant,
    findings: Shared<BoxFuture<'static, Arc<[Finding]>>>,
}

/// What a check found.
#[derive(Debug)]
struct Finding {
    name: String,
    kind: Kind,
    result: Result<(), String>,
}

impl Health {
    /// Health as these checks tell it.
    #[must_use]
    pub fn new(checks: Vec<Check>) -> Self {
        let watched = Watched { checks: checks.into(), last_run: None };
        Self { draining: AtomicBool::new(false), watched: Mutex::new(watched), timeout: CHECK_TIMEOUT }
    }

    /// Asks other dependencies from now on, as after a reload.
    pub fn watch(&self, checks: Vec<Check>) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        *watched = Watched { checks: checks.into(), last_run: None };
    }

    /// Says that the process is shutting down: from now on it is not ready. Cannot be taken back.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// What `/readyz` answers.
    pub(super) async fn readiness(&self) -> Readiness {
        let findings = self.findings(Instant::now()).await;
        // Looked at last: a shutdown must show even while an old answer stands.
        Readiness::judge(self.draining.load(Ordering::Acquire), &findings)
    }

    fn findings(&self, now: Instant) -> Shared<BoxFuture<'static, Arc<[Finding]>>> {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(run) = &watched.last_run
            && now.saturating_duration_since(run.started) < RUN_INTERVAL
        {
            return run.findings.clone();
        }
        let findings = run(Arc::clone(&watched.checks), self.timeout).boxed().shared();
        watched.last_run = Some(Run { started: now, findings: findings.clone() });
        findings
    }
}

async fn run(checks: Arc<[Check]>, timeout: Duration) -> Arc<[Finding]> {
    join_all(checks.iter().map(|check| check.finding(timeout))).await.into()
}

/// The answer to "may I send you requests?", with its reasons.
#[derive(Debug)]
pub(super) struct Readiness {
    status: Status,
    dependencies: Map<String, Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Ready,
    /// Something is down, but requests can be served.
    Degraded,
    /// No instance can be reached.
    Unready,
    /// Shutting down.
    Draining,
}

impl Readiness {
    fn judge(draining: bool, findings: &[Finding]) -> Self {
        let mut instances = findings.iter().filter(|finding| finding.kind == Kind::Instance).peekable();
        let cut_off = instances.peek().is_some() && instances.all(|finding| finding.result.is_err());
        let all_up = findings.iter().all(|finding| finding.result.is_ok());
        let status = match (draining, cut_off, all_up) {
            (true, _, _) => Status::Draining,
            (false, true, _) => Status::Unready,
            (false, false, true) => Status::Ready,
            (false, false, false) => Status::Degraded,
        };
        let described = findings.iter().map(|finding| (finding.name.clone(), finding.describe()));
        Self { status, dependencies: described.collect() }
    }

    pub(super) fn http_status(&self) -> StatusCode {
        match self.status {
            Status::Ready | Status::Degraded => StatusCode::OK,
            Status::Unready | Status::Draining => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    pub(super) fn json(&self) -> String {
        let status = match self.status {
            Status::Ready => "ready",
            Status::Degraded => "degraded",
            Status::Unready => "unready",
            Status::Draining => "draining",
        };
        json!({ "status": status, "dependencies": self.dependencies }).to_string()
    }
}

impl Finding {
    fn describe(&self) -> Value {
        match &self.result {
            Ok(()) => json!({ "status": "up" }),
            Err(error) => {
                let error: String = error.chars().take(LONGEST_ERROR).collect();
                json!({ "status": "down", "error": error })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    fn up() -> Answer {
        Box::pin(async { Ok(()) })
    }

    fn down() -> Answer {
        Box::pin(async { Err("connection refused".to_owned()) })
    }

    fn counted(runs: &Arc<AtomicUsize>) -> Check {
        let runs = Arc::clone(runs);
        Check::store(move || {
            runs.fetch_add(1, Ordering::Relaxed);
            Box::pin(async {
                tokio::task::yield_now().await;
                Ok(())
            })
        })
    }

    async fn asked(health: &Health) -> (u16, String) {
        let readiness = health.readiness().await;
        (readiness.http_status().as_u16(), readiness.json())
    }

    #[tokio::test]
    async fn the_gateway_is_ready_while_everything_is_up() {
        let health = Health::new(vec![Check::store(up), Check::instance("home", up)]);
        let wanted =
            r#"{"dependencies":{"instance:home":{"status":"up"},"store":{"status":"up"}},"status":"ready"}"#;
        assert_eq!(asked(&health).await, (200, wanted.to_owned()));
        assert_eq!(asked(&Health::new(Vec::new())).await.0, 200);
    }

    #[tokio::test]
    async fn it_stays_ready_but_degraded_without_the_store_or_one_of_its_instances() {
        let store = Health::new(vec![Check::store(down), Check::instance("home", up)]);
        let (status, text) = asked(&store).await;
        assert_eq!(status, 200);
        assert!(text.contains(r#""store":{"error":"connection refused","status":"down"}"#), "{text}");
        assert!(text.contains(r#""status":"degraded""#), "{text}");
        let one = Health::new(vec![Check::instance("a", down), Check::instance("b", up)]);
        assert_eq!(asked(&one).await.0, 200);
    }

    #[tokio::test]
    async fn it_is_not_ready_when_no_instance_can_be_reached() {
        let health =
            Health::new(vec![Check::store(up), Check::instance("a", down), Check::instance("b", down)]);
        let (status, text) = asked(&health).await;
        assert_eq!(status, 503);
        assert!(text.contains(r#""status":"unready""#), "{text}");
    }

    #[tokio::test]
    async fn a_shutdown_shows_at_once_although_an_old_answer_stands() {
        let health = Health::new(vec![Check::instance("home", up)]);
        assert_eq!(asked(&health).await.0, 200);
        health.drain();
        let (status, text) = asked(&health).await;
        assert_eq!(status, 503);
        assert!(text.contains(r#""status":"draining""#), "{text}");
    }

    #[tokio::test]
    async fn probes_cannot_make_the_checks_run_more_than_once_a_second() {
        let runs = Arc::new(AtomicUsize::new(0));
        let health = Health::new(vec![counted(&runs)]);
        let start = Instant::now();
        drop(health.findings(start));
        let all = join_all((0..50).map(|_| health.findings(start)));
        assert_eq!(all.await.len(), 50);
        health.findings(start + Duration::from_millis(999)).await;
        assert_eq!(runs.load(Ordering::Relaxed), 1);
        health.findings(start + RUN_INTERVAL).await;
        assert_eq!(runs.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_check_that_hangs_is_down_and_does_not_hold_up_the_others() {
        let hanging = || -> Answer { Box::pin(std::future::pending()) };
        let mut health = Health::new(vec![Check::store(hanging), Check::instance("home", up)]);
        health.timeout = Duration::from_millis(5);
        let (status, text) = asked(&health).await;
        assert_eq!(status, 200);
        assert!(text.contains("no answer within 5 ms"), "{text}");
    }

    #[tokio::test]
    async fn a_reload_brings_its_own_dependencies() {
        let health = Health::new(vec![Check::instance("old", down)]);
        assert_eq!(asked(&health).await.0, 503);
        health.watch(vec![Check::instance("new", up)]);
        let (status, text) = asked(&health).await;
        assert_eq!(status, 200);
        assert!(text.contains("instance:new") && !text.contains("instance:old"), "{text}");
    }
}
