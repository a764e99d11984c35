//! Standard output, which may be closed while it is written to: `keys list | head` is no failure.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use serde_json::Value;

use super::Failure;

/// Standard output, buffered.
pub(super) struct Out(BufWriter<StdoutLock<'static>>);

impl Out {
    pub(super) fn new() -> Self {
        Self(BufWriter::new(io::stdout().lock()))
    }

    /// Writes a text as it is.
    pub(super) fn text(&mut self, text: &str) -> Result<(), Failure> {
        Ok(self.0.write_all(text.as_bytes())?)
    }

    /// Writes a text and ends the line.
    pub(super) fn line(&mut self, text: &str) -> Result<(), Failure> {
        Ok(writeln!(self.0, "{text}")?)
    }

    /// Writes everything out that is still held back.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.0.flush()?)
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Writes one text and nothing else.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = Out::new();
    out.text(text)?;
    out.flush()
}

/// Writes one JSON document and nothing else.
pub(super) fn print_json(document: &Value) -> Result<(), Failure> {
    print(&format!("{document:#}\n"))
}

/// Says something to whoever runs the command, beside its output.
pub(super) fn say(text: &str) {
    // Nobody is left to be told where this fails.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Whether somebody sits there who can be asked, and can answer.
pub(super) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks a question that `y` or `yes` affirms.
pub(super) fn affirms(question: &str) -> Result<bool, Failure> {
    let mut stderr = io::stderr().lock();
    write!(stderr, "{question} [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
