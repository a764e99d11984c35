//! The access log: a tray of lines for each worker, and a thread that empties them into the file.
//!
//! Serving never waits for the log. A tray that is full loses lines, and counts them. While there is traffic the
//! writer comes round by itself, so that a line costs its worker no system call.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant, SystemTime};

use prometheus::IntCounter;

use super::line::{Anchor, Lines};
use super::sink::Sink;
use super::{AccessLogSettings, Format, Record};

/// Lines of one worker that may wait; some 3 MB. At 100 000 requests a second, 80 ms.
const CAPACITY: usize = 8192;
/// Bytes of their texts that may wait: long ones could be much more than that.
const TEXT_CAPACITY: usize = 4 * 1024 * 1024;
/// How long the writer lets lines gather.
const GATHER: Duration = Duration::from_millis(10);
/// How long closing waits for a disk, or a reader of standard output, that does not take the last lines.
const LAST_LINES: Duration = Duration::from_secs(5);

/// The access log's writer, as the rest of the process sees it.
#[derive(Debug)]
pub(super) struct AccessLog {
    shared: Arc<Shared>,
    writer: Thread,
    lost: IntCounter,
    /// Disconnected when the writer has ended.
    ended: Mutex<Receiver<()>>,
}

/// One worker's end of the log.
#[derive(Debug)]
pub(super) struct Queue {
    tray: Arc<Tray>,
    shared: Arc<Shared>,
    writer: Thread,
    lost: IntCounter,
}

/// What the writer shares with all others.
#[derive(Debug, Default)]
struct Shared {
    trays: Mutex<Trays>,
    /// Whether the writer waits to be woken. Set before it looks at the trays once more, and looked at by
    /// workers only after they have put a line in: one of the two sees the other.
    is_asleep: AtomicBool,
    reopen: AtomicBool,
    close: AtomicBool,
}

#[derive(Debug, Default)]
struct Trays {
    all: Vec<Arc<Tray>>,
    are_closed: bool,
}

/// The lines of one worker that the writer has not taken yet. Its lock is held for moments, and contended for
/// only when the writer comes round.
#[derive(Debug)]
struct Tray(Mutex<Content>);

#[derive(Debug, Default)]
struct Content {
    lines: Lines,
    is_closed: bool,
}

impl AccessLog {
    /// Opens the log and starts its writer. Lines that get lost are added to `lost`.
    pub(super) fn open(settings: &AccessLogSettings, lost: IntCounter) -> io::Result<Self> {
        let sink = Sink::open(settings.path.as_deref(), lost.clone())?;
        let shared = Arc::<Shared>::default();
        let (end, ended) = mpsc::channel();
        let (format, spare) = (settings.format, Lines::default());
        let writer = Writer { shared: Arc::clone(&shared), sink, format, spare, _end: end };
        let handle = thread::Builder::new().name("access-log".to_owned()).spawn(move || writer.run())?;
        Ok(Self { shared, writer: handle.thread().clone(), lost, ended: Mutex::new(ended) })
    }

    pub(super) fn queue(&self) -> Queue {
        let mut trays = lock(&self.shared.trays);
        let content = Content { is_closed: trays.are_closed, ..Content::default() };
        let tray = Arc::new(Tray(Mutex::new(content)));
        trays.all.push(Arc::clone(&tray));
        Queue { tray, shared: Arc::clone(&self.shared), writer: self.writer.clone(), lost: self.lost.clone() }
    }

    /// Asks the writer to open the file anew; returns at once.
    pub(super) fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Release);
        self.writer.unpark();
    }

    /// Writes what waits, and ends the writer. What is sent later is lost.
    pub(super) fn close(&self) {
        self.end();
        let ended = lock(&self.ended);
        if ended.recv_timeout(LAST_LINES) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("access log: its last lines could not be written in time");
        }
    }

    fn end(&self) {
        self.shared.close.store(true, Ordering::Release);
        self.writer.unpark();
    }
}

/// A process that forgot to close the log ends.
impl Drop for AccessLog {
    fn drop(&mut self) {
        self.end();
    }
}

impl Queue {
    /// Hands a line over, or loses and counts it. Never waits.
    pub(super) fn send(&self, record: Box<Record>, took: Duration) {
        let mut content = lock(&self.tray.0);
        if content.is_full() {
            drop(content);
            self.lost.inc();
            return;
        }
        content.lines.push(record, took);
        drop(content);
        if self.shared.is_asleep.load(Ordering::Acquire)
            && self.shared.is_asleep.swap(false, Ordering::AcqRel)
        {
            self.writer.unpark();
        }
    }
}

impl Content {
    fn is_full(&self) -> bool {
        self.is_closed || self.lines.len() >= CAPACITY || self.lines.text_bytes() >= TEXT_CAPACITY
    }
}

struct Writer {
    shared: Arc<Shared>,
    sink: Sink,
    format: Format,
    /// Changes places with what is in a tray.
    spare: Lines,
    _end: mpsc::Sender<()>,
}

impl Writer {
    fn run(mut self) {
        loop {
            if !self.write() {
                self.shared.is_asleep.store(true, Ordering::Release);
                if !self.write() && !self.is_ordered() {
                    thread::park();
                }
                self.shared.is_asleep.store(false, Ordering::Release);
            }
            if !self.is_ordered() {
                thread::park_timeout(GATHER);
            }
            if self.shared.reopen.swap(false, Ordering::AcqRel) {
                self.write();
                self.sink.reopen();
            }
            if self.shared.close.load(Ordering::Acquire) {
                break;
            }
        }
        for tray in self.close_trays() {
            lock(&tray.0).is_closed = true;
            self.empty(&tray, Anchor::new(Instant::now(), SystemTime::now()));
        }
        self.sink.flush();
    }

    fn is_ordered(&self) -> bool {
        self.shared.reopen.load(Ordering::Acquire) || self.shared.close.load(Ordering::Acquire)
    }

    /// Writes what is in the trays; tells whether there was anything.
    fn write(&mut self) -> bool {
        let anchor = Anchor::new(Instant::now(), SystemTime::now());
        let trays = lock(&self.shared.trays).all.clone();
        let mut wrote = false;
        let mut forsaken = false;
        for tray in trays {
            // Looked at before: what its worker leaves behind is in it by then.
            let is_forsaken = Arc::strong_count(&tray) == 2;
            let had_lines = self.empty(&tray, anchor);
            wrote |= had_lines;
            forsaken |= is_forsaken;
        }
        if forsaken {
            lock(&self.shared.trays)
                .all
                .retain(|tray| Arc::strong_count(tray) > 1 || lock(&tray.0).lines.len() > 0);
        }
        self.sink.flush();
        wrote
    }

    /// Takes what is in a tray, and writes it.
    fn empty(&mut self, tray: &Tray, anchor: Anchor) -> bool {
        std::mem::swap(&mut self.spare, &mut lock(&tray.0).lines);
        let had_lines = self.spare.len() > 0;
        let sink = &mut self.sink;
        self.spare.drain(self.format, anchor, |line| sink.push(|out| line.write(out)));
        had_lines
    }

    fn close_trays(&self) -> Vec<Arc<Tray>> {
        let mut trays = lock(&self.shared.trays);
        trays.are_closed = true;
        trays.all.clone()
    }
}

/// What is held is whole at every moment, so a panic elsewhere spoils nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::{Scratch, example_record};
    use super::*;

    fn lost() -> IntCounter {
        IntCounter::new("lost", "Lost lines").expect("counter")
    }

    fn send(queue: &Queue) {
        queue.send(Box::new(example_record()), Duration::from_millis(1));
    }

    fn log_to(scratch: &Scratch, lost: IntCounter) -> AccessLog {
        let settings = AccessLogSettings { path: Some(scratch.path("access.log")), format: Format::Json };
        AccessLog::open(&settings, lost).expect("opened")
    }

    #[test]
    fn a_full_queue_loses_lines_and_counts_them_without_waiting() {
        let lost = lost();
        let tray = Arc::new(Tray(Mutex::default()));
        // Nobody reads.
        let queue = Queue { tray, shared: Arc::default(), writer: thread::current(), lost: lost.clone() };
        for _ in 0..CAPACITY + 7 {
            send(&queue);
        }
        assert_eq!(lost.get(), 7);
    }

    #[test]
    fn closing_writes_every_line_that_was_sent_before() {
        let scratch = Scratch::new("close");
        let lost = lost();
        let log = log_to(&scratch, lost.clone());
        for _ in 0..5000 {
            send(&log.queue());
        }
        log.close();
        let text = std::fs::read_to_string(scratch.path("access.log")).expect("file");
        assert_eq!(text.lines().count(), 5000);
        assert_eq!(lost.get(), 0);
    }

    #[test]
    fn lines_sent_after_closing_are_counted_as_lost() {
        let scratch = Scratch::new("after-close");
        let lost = lost();
        let log = log_to(&scratch, lost.clone());
        log.close();
        send(&log.queue());
        log.close();
        assert_eq!(lost.get(), 1);
    }

    #[test]
    fn a_rotated_file_is_reopened_on_request() {
        let scratch = Scratch::new("rotate");
        let log = log_to(&scratch, lost());
        send(&log.queue());
        std::fs::rename(scratch.path("access.log"), scratch.path("access.log.1")).expect("renamed");
        log.reopen();
        while !scratch.path("access.log").exists() {
            thread::yield_now();
        }
        send(&log.queue());
        log.close();
        for name in ["access.log", "access.log.1"] {
            let text = std::fs::read_to_string(scratch.path(name)).expect("file");
            assert_eq!(text.lines().count(), 1, "{name}");
        }
    }
}
