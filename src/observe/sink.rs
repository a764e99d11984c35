//! Where access lines end: a file that is appended to, or standard output.
//!
//! A line that cannot be written is lost, counted and mentioned once in a while; it is never kept, so a
//! full disk costs no memory. Knows nothing of what is in a line.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use prometheus::IntCounter;

const READABLE_BY_GROUP: u32 = 0o640;
/// How much is gathered before it is written even though more lines wait.
const ENOUGH: usize = 64 * 1024;
const BETWEEN_COMPLAINTS: Duration = Duration::from_secs(60);

/// A file, or standard output, and the lines that are not in it yet.
pub(super) struct Sink {
    path: Option<PathBuf>,
    file: File,
    pending: Vec<u8>,
    /// Whether the last write ended inside a line.
    torn: bool,
    lost: IntCounter,
    lost_before: u64,
    complained: Option<Instant>,
}

impl Sink {
    /// Opens the file, or takes standard output. Lines that cannot be written are added to `lost`.
    pub(super) fn open(path: Option<&Path>, lost: IntCounter) -> io::Result<Self> {
        let file = match path {
            Some(path) => open_file(path)?,
            // A descriptor of our own: the buffer that std keeps for standard output would hide errors.
            None => File::from(io::stdout().as_fd().try_clone_to_owned()?),
        };
        Ok(Self {
            path: path.map(Path::to_owned),
            file,
            pending: Vec::with_capacity(2 * ENOUGH),
            torn: false,
            lost_before: lost.get(),
            lost,
            complained: None,
        })
    }

    /// Lets `line` append one line, and writes when enough has gathered.
    pub(super) fn push(&mut self, line: impl FnOnce(&mut Vec<u8>)) {
        line(&mut self.pending);
        if self.pending.len() >= ENOUGH {
            self.flush();
        }
    }

    /// Writes what has gathered.
    pub(super) fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let mut written = 0;
        let result = self.write(&mut written);
        let rest = self.pending.get(written..).unwrap_or_default();
        if let Err(error) = result {
            let lines = rest.iter().filter(|&&byte| byte == b'\n').count();
            self.lost.inc_by(lines as u64);
            self.complain(&error);
        }
        self.pending.clear();
    }

    /// Closes the file and opens what now has its name, as log rotation needs it. Where that fails, the
    /// old file is kept.
    pub(super) fn reopen(&mut self) {
        self.flush();
        let Some(path) = &self.path else {
            return;
        };
        match open_file(path) {
            Ok(file) => {
                self.file = file;
                self.torn = false;
            }
            Err(error) => {
                tracing::error!(%error, "access log not reopened, going on with the old file");
            }
        }
    }

    fn write(&mut self, written: &mut usize) -> io::Result<()> {
        if self.torn {
            self.file.write_all(b"\n")?;
            self.torn = false;
        }
        while let Some(rest) = self.pending.get(*written..).filter(|rest| !rest.is_empty()) {
            match self.file.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    *written += count;
                    let last = written.checked_sub(1).and_then(|last| self.pending.get(last));
                    self.torn = last != Some(&b'\n');
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Says what is wrong at most once a minute: the trouble of the log must not fill the next one.
    fn complain(&mut self, error: &io::Error) {
        let now = Instant::now();
        if self.complained.is_some_and(|last| now.duration_since(last) < BETWEEN_COMPLAINTS) {
            return;
        }
        let lost = self.lost.get().saturating_sub(self.lost_before);
        self.complained = Some(now);
        self.lost_before = self.lost.get();
        let path = self.path.as_deref().unwrap_or(Path::new("standard output"));
        tracing::error!(%error, path = %path.display(), lost, "access log cannot be written, lines are lost");
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().append(true).create(true).mode(READABLE_BY_GROUP).open(path);
    file.map_err(|error| {
        let text = format!(
            "the access log {} cannot be opened for appending: {error}; make its directory, or give this \
             user the right to write there",
            path.display()
        );
        io::Error::new(error.kind(), text)
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::Scratch;
    use super::*;

    fn lost() -> IntCounter {
        IntCounter::new("lost", "Lost lines").expect("counter")
    }

    #[test]
    fn a_renamed_file_is_left_behind_after_reopening() {
        let scratch = Scratch::new("reopen");
        let (path, old) = (scratch.path("access.log"), scratch.path("access.log.1"));
        let mut sink = Sink::open(Some(&path), lost()).expect("opened");
        sink.push(|out| out.extend_from_slice(b"one\n"));
        std::fs::rename(&path, &old).expect("renamed");
        sink.push(|out| out.extend_from_slice(b"two\n"));
        sink.reopen();
        sink.push(|out| out.extend_from_slice(b"three\n"));
        sink.flush();
        assert_eq!(std::fs::read_to_string(&old).expect("old file"), "one\ntwo\n");
        assert_eq!(std::fs::read_to_string(&path).expect("new file"), "three\n");
        let mode = std::fs::metadata(&path).expect("metadata").permissions().mode();
        assert_eq!(mode & 0o137, 0, "others may not read it: {mode:o}");
    }

    #[test]
    fn a_file_that_exists_is_appended_to() {
        let scratch = Scratch::new("append");
        let path = scratch.path("access.log");
        std::fs::write(&path, "before\n").expect("written");
        let mut sink = Sink::open(Some(&path), lost()).expect("opened");
        sink.push(|out| out.extend_from_slice(b"after\n"));
        sink.flush();
        assert_eq!(std::fs::read_to_string(&path).expect("file"), "before\nafter\n");
    }

    #[test]
    fn lines_for_a_full_disk_are_counted_and_not_kept() {
        let lost = lost();
        let mut sink = Sink::open(Some(Path::new("/dev/full")), lost.clone()).expect("opened");
        for _ in 0..10 {
            sink.push(|out| out.extend_from_slice(b"one\ntwo\n"));
            sink.flush();
        }
        assert_eq!(lost.get(), 20);
        assert!(sink.pending.is_empty());
    }

    #[test]
    fn a_line_that_was_torn_does_not_spoil_the_next() {
        let scratch = Scratch::new("torn");
        let path = scratch.path("access.log");
        let mut sink = Sink::open(Some(&path), lost()).expect("opened");
        sink.push(|out| out.extend_from_slice(b"half of a li"));
        sink.flush();
        sink.push(|out| out.extend_from_slice(b"whole\n"));
        sink.flush();
        assert_eq!(std::fs::read_to_string(&path).expect("file"), "half of a li\nwhole\n");
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named_in_the_error() {
        let Err(error) = Sink::open(Some(Path::new("/nowhere/at/all.log")), lost()) else {
            panic!("there is no such directory");
        };
        assert!(error.to_string().contains("/nowhere/at/all.log"), "{error}");
    }
}
