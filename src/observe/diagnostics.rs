//! What the gateway says about itself, on standard error.
//!
//! Access lines go elsewhere: see [`Observer`](super::Observer).

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::util::SubscriberInitExt;

use super::{Format, Settings};

/// Why diagnostics could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum DiagnosticsError {
    /// The filter has a part that means nothing.
    #[error(
        "log level: {part:?} is neither error, warn, info, debug, trace or off, nor a filter such as \
         openbin_gateway=debug"
    )]
    Unknown {
        /// The part of the filter.
        part: String,
    },
    /// The filter cannot be understood.
    #[error(
        "log level: the filter {filter:?} cannot be understood; write it like openbin_gateway=debug,hyper=warn"
    )]
    Filter {
        /// The whole filter.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// Something else in this process has set up diagnostics before.
    #[error("diagnostics are set up already")]
    AlreadySet(#[source] tracing_subscriber::util::TryInitError),
}

/// Sends diagnostics to standard error from now on, for the whole process.
///
/// # Errors
/// Where the filter makes no sense, or this was called before.
pub fn init_tracing(settings: &Settings) -> Result<(), DiagnosticsError> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(&settings.log_level)?)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    match settings.log_format {
        Format::Json => builder.json().finish().try_init(),
        Format::Text => builder.finish().try_init(),
    }
    .map_err(DiagnosticsError::AlreadySet)
}

/// Reads a filter. A single word that is not a level would be taken for the name of a module, and a
/// mistyped level would silence everything: here it is an error.
fn filter(text: &str) -> Result<EnvFilter, DiagnosticsError> {
    for part in text.split(',').map(str::trim) {
        let is_word = part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-'));
        if is_word && (part.is_empty() || part.parse::<LevelFilter>().is_err()) {
            return Err(DiagnosticsError::Unknown { part: part.to_owned() });
        }
    }
    EnvFilter::builder()
        .parse(text)
        .map_err(|source| DiagnosticsError::Filter { filter: text.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_filters_are_read() {
        for text in ["info", "WARN", "off", "openbin_gateway=debug", "warn,openbin_gateway::server=trace"] {
            assert!(filter(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_bad_filter_is_refused_with_the_part_that_is_wrong() {
        for (text, wrong) in [
            ("inof", "\"inof\""),
            ("info,openbin_gatway", "\"openbin_gatway\""),
            ("", "\"\""),
            ("openbin_gateway=loud", "openbin_gateway=loud"),
        ] {
            let error = filter(text).map(|_| ()).expect_err(text).to_string();
            assert!(error.contains(wrong), "{error}");
        }
    }
}
