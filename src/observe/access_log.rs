//! The access log: a bounded queue, and a thread that writes what is in it.
//!
//! Serving never waits for the log. A queue that is full loses lines, and counts them.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use prometheus::IntCounter;

use super::line::{Anchor, Line};
use super::sink::Sink;
use super::{AccessLogSettings, Format};

/// Lines that may wait; some 3 MB. At 100 000 requests a second, 80 ms.
const CAPACITY: usize = 8192;
/// How long the writer lets lines gather: waking it for each would cost a worker a system call a request.
const GATHER: Duration = Duration::from_millis(10);
/// How long closing waits for a disk, or a reader of standard output, that does not take the last lines.
const LAST_LINES: Duration = Duration::from_secs(5);

/// The access log's writer, as the rest of the process sees it.
#[derive(Debug)]
pub(super) struct AccessLog {
    queue: Queue,
    orders: Arc<Orders>,
    /// Disconnected when the writer has ended.
    ended: Mutex<Receiver<()>>,
}

/// One worker's end of the queue.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    lines: SyncSender<Message>,
    lost: IntCounter,
}

#[derive(Debug)]
enum Message {
    Line(Line),
    /// There are new [`Orders`].
    Look,
}

/// What the writer is to do next. Beside the queue, because an order must arrive even when that is full.
#[derive(Debug, Default)]
struct Orders {
    reopen: AtomicBool,
    close: AtomicBool,
}

impl AccessLog {
    /// Opens the log and starts its writer. Lines that get lost are added to `lost`.
    pub(super) fn open(settings: &AccessLogSettings, lost: IntCounter) -> io::Result<Self> {
        let sink = Sink::open(settings.path.as_deref(), lost.clone())?;
        let (queue, lines) = Queue::new(CAPACITY, lost);
        let orders = Arc::<Orders>::default();
        let (end, ended) = mpsc::channel();
        let writer = Writer { lines, sink, format: settings.format, orders: Arc::clone(&orders), _end: end };
        thread::Builder::new().name("access-log".to_owned()).spawn(move || writer.run())?;
        Ok(Self { queue, orders, ended: Mutex::new(ended) })
    }

    pub(super) fn queue(&self) -> Queue {
        self.queue.clone()
    }

    /// Asks the writer to open the file anew; returns at once.
    pub(super) fn reopen(&self) {
        self.orders.reopen.store(true, Ordering::Release);
        self.queue.nudge();
    }

    /// Writes what waits, and ends the writer. What is sent later is lost.
    pub(super) fn close(&self) {
        self.orders.close.store(true, Ordering::Release);
        self.queue.nudge();
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.recv_timeout(LAST_LINES) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("access log: its last lines could not be written in time");
        }
    }
}

impl Queue {
    fn new(capacity: usize, lost: IntCounter) -> (Self, Receiver<Message>) {
        let (lines, receiver) = mpsc::sync_channel(capacity);
        (Self { lines, lost }, receiver)
    }

    /// Hands a line over, or loses and counts it. Never waits.
    pub(super) fn send(&self, line: Line) {
        if self.lines.try_send(Message::Line(line)).is_err() {
            self.lost.inc();
        }
    }

    /// Wakes the writer; when the queue is full it is awake anyway.
    fn nudge(&self) {
        let _ = self.lines.try_send(Message::Look);
    }
}

struct Writer {
    lines: Receiver<Message>,
    sink: Sink,
    format: Format,
    orders: Arc<Orders>,
    _end: mpsc::Sender<()>,
}

impl Writer {
    fn run(mut self) {
        // A queue without senders means that the process forgot to close the log, and ends.
        while let Ok(first) = self.lines.recv() {
            let nudged = matches!(first, Message::Look);
            if !nudged {
                thread::sleep(GATHER);
            }
            self.write(first);
            if self.orders.reopen.swap(false, Ordering::AcqRel) {
                self.sink.reopen();
            }
            if self.orders.close.load(Ordering::Acquire) {
                // Lines that were sent before the order are all in the queue by now.
                self.write(Message::Look);
                break;
            }
        }
        self.sink.flush();
    }

    /// Writes this message and those that wait; a stream that never pauses is interrupted for orders.
    fn write(&mut self, first: Message) {
        let anchor = Anchor::new(Instant::now(), SystemTime::now());
        for message in std::iter::once(first).chain(self.lines.try_iter().take(CAPACITY)) {
            match message {
                Message::Line(line) => self.sink.push(|out| line.write(out, self.format, anchor)),
                Message::Look => {}
            }
        }
        self.sink.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Scratch, example_record};
    use super::*;

    fn lost() -> IntCounter {
        IntCounter::new("lost", "Lost lines").expect("counter")
    }

    fn line() -> Line {
        Line { record: example_record(), took: Duration::from_millis(1) }
    }

    fn log_to(scratch: &Scratch, lost: IntCounter) -> AccessLog {
        let settings = AccessLogSettings { path: Some(scratch.path("access.log")), format: Format::Json };
        AccessLog::open(&settings, lost).expect("opened")
    }

    #[test]
    fn a_full_queue_loses_lines_and_counts_them_without_waiting() {
        let lost = lost();
        let (queue, _nobody_reads) = Queue::new(3, lost.clone());
        for _ in 0..10 {
            queue.send(line());
        }
        assert_eq!(lost.get(), 7);
    }

    #[test]
    fn closing_writes_every_line_that_was_sent_before() {
        let scratch = Scratch::new("close");
        let lost = lost();
        let log = log_to(&scratch, lost.clone());
        for _ in 0..5000 {
            log.queue().send(line());
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
        log.queue().send(line());
        log.close();
        assert_eq!(lost.get(), 1);
    }

    #[test]
    fn a_rotated_file_is_reopened_on_request() {
        let scratch = Scratch::new("rotate");
        let log = log_to(&scratch, lost());
        log.queue().send(line());
        std::fs::rename(scratch.path("access.log"), scratch.path("access.log.1")).expect("renamed");
        log.reopen();
        while !scratch.path("access.log").exists() {
            thread::yield_now();
        }
        log.queue().send(line());
        log.close();
        for name in ["access.log", "access.log.1"] {
            let text = std::fs::read_to_string(scratch.path(name)).expect("file");
            assert_eq!(text.lines().count(), 1, "{name}");
        }
    }
}
