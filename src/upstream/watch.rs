//! An instance's bytes on their way in: heads that end their lines in a way of their own, and heads without
//! end, are noticed before hyper repairs or waits for them.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use memchr::memchr;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::interim::{STATUS_END, is_kept};
use crate::http::poll_write_parts;

/// A connection to an instance.
#[derive(Debug)]
pub(super) struct Watched {
    stream: TcpStream,
    asked: Asked,
    place: Place,
}

/// Tells a connection that a request is on its way, so that what comes next is a head; and is told of interim heads.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked(Arc<Exchanged>);

#[derive(Default)]
struct Exchanged {
    unanswered: AtomicBool,
    /// There are interim heads that were not taken yet.
    interim: AtomicBool,
    heads: Mutex<Vec<u8>>,
}

/// What is in the heads is the client's affair.
impl std::fmt::Debug for Exchanged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchanged").field("unanswered", &self.unanswered).finish_non_exhaustive()
    }
}

/// What the next byte belongs to.
#[derive(Debug)]
enum Place {
    Heads(Heads),
    /// Content, which hyper judges, or another protocol.
    Beyond,
}

/// The interim heads of an answer and its final one, up to the next byte.
#[derive(Default)]
struct Heads {
    bytes: usize,
    interim: u8,
    /// The status line's beginning, as far as its status.
    status: [u8; STATUS_END],
    /// Bytes of this head.
    length: usize,
    /// Bytes of this line.
    line: usize,
    last: u8,
    /// Of interim heads that go on: the whole ones first, then what has come of the next.
    kept: Vec<u8>,
    whole: usize,
    /// Bytes of all that go on.
    all_kept: usize,
}

/// What was kept of them is the client's affair.
impl std::fmt::Debug for Heads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Heads").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Asked {
    pub(super) fn note(&self) {
        self.0.unanswered.store(true, Ordering::Relaxed);
    }

    /// Whether nothing has come since.
    pub(super) fn is_unanswered(&self) -> bool {
        self.0.unanswered.load(Ordering::Relaxed)
    }

    /// The interim heads that have come since this was last asked, as they came.
    pub(super) fn interim(&self) -> Option<Vec<u8>> {
        if !self.0.interim.load(Ordering::Relaxed) {
            return None;
        }
        self.0.interim.store(false, Ordering::Relaxed);
        Some(std::mem::take(&mut *self.0.heads.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    fn tell(&self, heads: &[u8]) {
        self.0.heads.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(heads);
        self.0.interim.store(true, Ordering::Relaxed);
    }

    fn take(&self) -> bool {
        self.is_unanswered() && self.0.unanswered.swap(false, Ordering::Relaxed)
    }
}

impl Watched {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, asked: Asked::default(), place: Place::Beyond }
    }

    pub(super) fn asked(&self) -> Asked {
        self.asked.clone()
    }

    /// The connection itself: what follows on it is not HTTP.
    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }

    fn look(&mut self, came: &[u8]) -> io::Result<()> {
        if came.is_empty() {
            return Ok(());
        }
        if self.asked.take() {
            self.place = Place::Heads(Heads::default());
        }
        let Place::Heads(heads) = &mut self.place else { return Ok(()) };
        let is_final = heads.look(came).map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))?;
        if heads.whole > 0 {
            self.asked.tell(&heads.take_whole());
        }
        if is_final {
            self.place = Place::Beyond;
        }
        Ok(())
    }
}

impl Heads {
    /// Whether the final head has come to its end.
    fn look(&mut self, mut rest: &[u8]) -> Result<bool, &'static str> {
        while let Some(end) = memchr(b'\n', rest) {
            let (line, after) = rest.split_at(end);
            self.take(line);
            self.keep(b"\n");
            if self.last != b'\r' {
                return Err("a line of the head ends in LF alone");
            }
            // The line that ends here is empty, or the first of its head.
            if self.line == 1 && self.head_ends()? {
                return Ok(true);
            }
            (self.line, self.last) = (0, b'\n');
            rest = after.get(1..).unwrap_or_default();
        }
        self.take(rest);
        if self.bytes > MOST_HEAD_BYTES { Err("the head is too long") } else { Ok(false) }
    }

    fn take(&mut self, bytes: &[u8]) {
        let mut beyond = bytes;
        if let Some(free) = self.status.get_mut(self.length..) {
            for (free, byte) in free.iter_mut().zip(bytes) {
                *free = *byte;
            }
            beyond = bytes.get(free.len()..).unwrap_or_default();
        }
        self.bytes += bytes.len();
        self.length += bytes.len();
        self.line += bytes.len();
        self.last = bytes.last().copied().unwrap_or(self.last);
        self.keep(beyond);
    }

    /// Keeps what comes behind the status of an interim head that goes on. There is nearly never one.
    fn keep(&mut self, bytes: &[u8]) {
        if self.status.get(STATUS_END - 3) != Some(&b'1') || self.length < STATUS_END || !is_kept(self.status)
        {
            return;
        }
        self.all_kept += bytes.len();
        if self.all_kept > MOST_KEPT_BYTES {
            return self.kept.truncate(self.whole);
        }
        if self.kept.len() == self.whole {
            self.kept.extend_from_slice(&self.status);
        }
        self.kept.extend_from_slice(bytes);
    }

    fn take_whole(&mut self) -> Vec<u8> {
        let rest = self.kept.split_off(self.whole);
        self.whole = 0;
        std::mem::replace(&mut self.kept, rest)
    }

    fn head_ends(&mut self) -> Result<bool, &'static str> {
        if self.length == 1 {
            return Err("an empty line comes before the head");
        }
        // RFC 9110 §15.2: as many as an instance likes, but nobody needs many.
        let interim = self
            .status
            .get(STATUS_END - 3..)
            .is_some_and(|status| status.first() == Some(&b'1') && status != b"101");
        if !interim {
            return Ok(true);
        }
        self.interim += 1;
        if self.interim > MOST_INTERIM {
            return Err("there are too many interim heads");
        }
        self.whole = self.kept.len();
        (self.status, self.length, self.line, self.last) = ([0; STATUS_END], 0, 0, 0);
        Ok(false)
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        Poll::Ready(this.look(buffer.filled().get(before..).unwrap_or_default()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        poll_write_parts(Pin::new(&mut self.get_mut().stream), cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// Of all heads of one answer.
const MOST_HEAD_BYTES: usize = 256 * 1024;
const MOST_INTERIM: u8 = 16;
/// Of all interim heads of one answer that go on: as long as a head that clients take.
const MOST_KEPT_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of a text, which must be the same however it is cut into reads.
    fn look(text: &str) -> Result<bool, &'static str> {
        let read = |size: usize| {
            let mut heads = Heads::default();
            for piece in text.as_bytes().chunks(size) {
                if heads.look(piece)? {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        let whole = read(usize::MAX);
        for size in 1..text.len().min(200) {
            assert_eq!(read(size), whole, "{text:?} in pieces of {size}");
        }
        whole
    }

    #[test]
    fn a_head_ends_at_its_empty_line_and_interim_heads_are_passed_over() {
        assert_eq!(look("HTTP/1.1 200 OK\r\nA: b\r\n\r\nlone\nfeeds"), Ok(true));
        assert_eq!(look("HTTP/1.1 200 OK\r\nA: b\r\n"), Ok(false));
        assert_eq!(look("HTTP/1.1 103 Early Hints\r\n\r\n"), Ok(false));
        assert_eq!(look("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), Ok(true));
        assert_eq!(look("HTTP/1.1 101 Switching Protocols\r\n\r\n\n"), Ok(true));
    }

    /// The heads that go on, read in pieces of this size, and taken whenever some are whole.
    fn kept(text: &str, size: usize) -> String {
        let (mut heads, mut kept) = (Heads::default(), Vec::new());
        for piece in text.as_bytes().chunks(size) {
            let is_final = heads.look(piece).expect("well-formed lines");
            if heads.whole > 0 {
                kept.extend(heads.take_whole());
            }
            if is_final {
                break;
            }
        }
        String::from_utf8(kept).expect("text")
    }

    #[test]
    fn interim_heads_go_on_byte_by_byte_as_they_came_and_no_others_do() {
        let (hint, processing) = ("HTTP/1.1 103 Early\r\nA: b\r\nC: d\r\n\r\n", "HTTP/1.1 102\r\n\r\n");
        let others =
            "HTTP/1.1 100 Continue\r\nA: b\r\n\r\nHTTP/1.0 103 Early\r\n\r\nHTTP/1.1 1\r\nA: b\r\n\r\n";
        let text = [others, hint, others, processing, hint, "HTTP/1.1 200 OK\r\nA: b\r\n\r\n", hint].concat();
        let expected = [hint, processing, hint].concat();
        for size in 1..=text.len() {
            assert_eq!(kept(&text, size), expected, "in pieces of {size}");
        }
        let switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n";
        for size in 1..=switching.len() {
            assert_eq!(kept(&[switching, hint].concat(), size), "", "in pieces of {size}");
        }
    }

    #[test]
    fn what_goes_on_is_bounded_and_a_head_goes_on_whole_or_not_at_all() {
        let hint = format!("HTTP/1.1 103 Early\r\nA: {}\r\n\r\n", "b".repeat(MOST_KEPT_BYTES / 3));
        let short = "HTTP/1.1 103 Early\r\n\r\n";
        let text = [short, &hint, &hint, &hint, short, "HTTP/1.1 200 OK\r\n\r\n"].concat();
        for size in [1, 7, 1000, 4096, 10_000, usize::MAX] {
            assert!(kept(&text, size) == [short, &hint, &hint].concat(), "in pieces of {size}");
        }
    }

    #[test]
    fn lone_line_feeds_and_heads_without_end_are_noticed() {
        assert!(look("HTTP/1.1 200 OK\n").is_err());
        assert!(look("HTTP/1.1 200 OK\r\nA: b\n\r\n").is_err());
        assert!(look("HTTP/1.1 200 OK\r\n\n").is_err());
        assert!(look("\r\nHTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(look("HTTP/1.1 103 Early Hints\r\n\r\nA\nB").is_err());
        assert!(look(&"HTTP/1.1 102 Processing\r\n\r\n".repeat(17)).is_err());
        let mut heads = Heads::default();
        assert_eq!(heads.look(&vec![b'a'; MOST_HEAD_BYTES]), Ok(false));
        assert!(heads.look(b"a").is_err());
    }

    #[test]
    fn what_is_kept_of_a_head_is_hidden_in_debug() {
        let (mut heads, asked) = (Heads::default(), Asked::default());
        let head = b"HTTP/1.1 103 Early Hints\r\nSet-Cookie: a=s3cret\r\n";
        assert_eq!(heads.look(head), Ok(false));
        assert!(!heads.kept.is_empty());
        asked.tell(head);
        for shown in [format!("{heads:?}"), format!("{asked:?}")] {
            let bytes = format!("{:?}", b"s3cret");
            assert!(!shown.contains("s3cret") && !shown.contains(bytes.trim_matches(['[', ']'])), "{shown}");
        }
    }
}
