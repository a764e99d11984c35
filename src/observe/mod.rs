//! Metrics, access log and tracing set-up. Knows nothing of the other rooms.

mod metrics;
mod record;

pub use metrics::Metrics;
pub use record::{Credential, Outcome, Record};

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
