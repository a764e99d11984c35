//! An instance's bytes on their way in: heads that end their lines in a way of their own, and heads without
//! end, are noticed before hyper repairs or waits for them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use memchr::memchr;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::http::poll_write_parts;

/// A connection to an instance.
#[derive(Debug)]
pub(super) struct Watched {
    stream: TcpStream,
    asked: Asked,
    place: Place,
}

/// Tells a connection that a request is on its way, so that what comes next is a head.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked(Arc<AtomicBool>);

/// What the next byte belongs to.
#[derive(Debug)]
enum Place {
    Heads(Heads),
    /// Content, which hyper judges, or another protocol.
    Beyond,
}

/// The interim heads of an answer and its final one, up to the next byte.
#[derive(Debug, Default)]
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
}

impl Asked {
    pub(super) fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether nothing has come since.
    pub(super) fn is_unanswered(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn take(&self) -> bool {
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
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
        if let Place::Heads(heads) = &mut self.place
            && heads.look(came).map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))?
        {
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
        if let Some(free) = self.status.get_mut(self.length..) {
            for (free, byte) in free.iter_mut().zip(bytes) {
                *free = *byte;
            }
        }
        self.bytes += bytes.len();
        self.length += bytes.len();
        self.line += bytes.len();
        self.last = bytes.last().copied().unwrap_or(self.last);
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
        *self = Self { bytes: self.bytes, interim: self.interim, ..Self::default() };
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

/// `HTTP/1.1 200`.
const STATUS_END: usize = 12;
/// Of all heads of one answer.
const MOST_HEAD_BYTES: usize = 256 * 1024;
const MOST_INTERIM: u8 = 16;

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
}
