//! Metrics, access log and tracing set-up. Knows nothing of the other rooms.

mod access_log;
#[cfg(test)]
mod canary;
mod diagnostics;
mod figures;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod line;
mod metrics;
mod record;
mod redact;
mod series;
mod sink;
mod store;
mod worker;

pub use diagnostics::{DiagnosticsError, init_tracing};
pub use metrics::Metrics;
pub use record::{Credential, Cut, Outcome, Record};
pub use store::StoreMetrics;
pub use worker::{Observer, WorkerObserver};

use std::path::PathBuf;

/// Where the gateway writes what it sees.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `None`: requests are not logged.
    pub access_log: Option<AccessLogSettings>,
    /// Diagnostics: `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `openbin_gateway=debug`.
    pub log_level: String,
    /// The format of diagnostics.
    pub log_format: Format,
}

/// Where access lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLogSettings {
    /// The file, appended to; `None`: standard output.
    pub path: Option<PathBuf>,
    /// The format of a line.
    pub format: Format,
}

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// One line of text for people.
    Text,
}

/// A folder of one test's own, removed at its end.
#[cfg(test)]
struct Scratch(PathBuf);

#[cfg(test)]
impl Scratch {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("openbin-gateway-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for the test");
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

#[cfg(test)]
impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The record of a request with a good key.
#[cfg(test)]
fn example_record() -> Record {
    use bytes::Bytes;
    Record {
        started: std::time::Instant::now(),
        request_id: [b'0'; 32],
        client: std::net::Ipv4Addr::new(192, 0, 2, 7).into(),
        instance: Some("home".into()),
        version: hyper::Version::HTTP_11,
        method: hyper::Method::GET,
        target: Some(hyper::http::uri::PathAndQuery::from_static("/api/bins")),
        user_agent: None,
        credential: Credential::ApiKey,
        outcome: Outcome::Accepted,
        user_id: Some(Bytes::from_static(b"u-1")),
        key_id: Some(Bytes::from_static(b"k-1")),
        status: Some(200),
        upstream: None,
        request_bytes: 3,
        response_bytes: 5,
        complete: true,
        cut: None,
    }
}
