//! `access_log` and `log`: what is written down, where and how.

use tracing_subscriber::EnvFilter;

use super::store::folder;
use crate::config::read::{Field, Section};
use crate::config::scalar::shown;
use crate::observe::{AccessLogSettings, Format, Settings};

pub(super) fn observe(root: &Section<'_>) -> Settings {
    let access_log = access_log(&root.field("access_log"));
    let log = root.field("log").section();
    let log_level = log.field("level").parsed(LEVELS, filter).unwrap_or_else(|| "info".to_owned());
    let log_format = format(&log.field("format"), Format::Text);
    log.finish();
    Settings { access_log, log_level, log_format }
}

const LEVELS: &str = "error, warn, info, debug, trace, off or a filter such as openbin_gateway=debug";

fn filter(text: &str) -> Option<String> {
    // A filter takes any single word for the name of a module; here it can only be a mistyped level.
    let known = text.contains('=') || ["error", "warn", "info", "debug", "trace", "off"].contains(&text);
    (known && EnvFilter::try_new(text).is_ok()).then(|| text.to_owned())
}

fn format(field: &Field<'_>, default: Format) -> Format {
    field.choice(&[("json", Format::Json), ("text", Format::Text)], default)
}

/// `off`, or a path and a format; by default JSON to standard output.
fn access_log(field: &Field<'_>) -> Option<AccessLogSettings> {
    if field.given() && !field.is_section() {
        match field.text() {
            Some("off" | "false") | None => {}
            Some(other) => {
                let what = format!("\"{}\" is not known here", shown(other));
                field.wrong(what, "write off, or { path: FILE, format: json }");
            }
        }
        return None;
    }
    let section = field.section();
    let at = section.field("path");
    let path = at.path().filter(|_| at.text() != Some("-"));
    if let Some(folder) = path.as_deref().map(folder).filter(|folder| !folder.is_dir()) {
        at.wrong(format!("there is no folder {}", folder.display()), "make it, writable for this user");
    }
    let format = format(&section.field("format"), Format::Json);
    section.finish();
    Some(AccessLogSettings { path, format })
}
