//! How far a long command has come, where somebody sits there who can see it.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on standard error; nothing at all where that is no terminal.
pub(super) fn bar(total: Option<u64>) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
    let form =
        if total.is_some() { "{bar:30} {human_pos} of {human_len}, {eta} left" } else { "{human_pos}" };
    match ProgressStyle::with_template(form) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
