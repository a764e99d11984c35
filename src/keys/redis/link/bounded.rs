//! A stream from a server whose answers have a size limit. The client library puts an answer together before
//! anybody sees it, however long it gets; here, one that announces or sends too much ends the connection.
//!
//! Follows the framing of RESP2 only as far as it needs to know where an answer ends.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The longest answer. The longest that belongs here is that of all blocks.
const MOST_BYTES: u64 = 32 << 20;
/// The longest line: the head of a text or a list, a status, an error.
const LONGEST_LINE: usize = 64 << 10;
/// How deep lists lie in lists. Scripts of the gateway return three.
const DEEPEST: usize = 16;

/// A stream that is read within the limits.
pub(super) struct Bounded<S> {
    stream: S,
    measure: Measure,
    excess: Excess,
}

/// Why the reading ended, where it was because of a limit: the client library does not pass that on.
pub(super) type Excess = Arc<OnceLock<&'static str>>;

impl<S> Bounded<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, measure: Measure::default(), excess: Excess::default() }
    }

    pub(super) fn excess(&self) -> Excess {
        Arc::clone(&self.excess)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let read = buffer.filled().get(before..).unwrap_or_default();
        let within = self.measure.take(read);
        Poll::Ready(within.map_err(|why| {
            // Only the first counts.
            let _ = self.excess.set(why);
            io::Error::new(io::ErrorKind::InvalidData, why)
        }))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// How far an answer has come.
#[derive(Debug, Default)]
struct Measure {
    /// Bytes of this answer so far, and those that were announced.
    size: u64,
    /// The line that is being read.
    line: Vec<u8>,
    /// What is still to come of a text, its line end included.
    rest_of_text: u64,
    /// How many parts are still to come of each list that is open, the outermost first.
    lists: Vec<u64>,
}

impl Measure {
    fn take(&mut self, mut bytes: &[u8]) -> Result<(), &'static str> {
        while !bytes.is_empty() {
            if self.rest_of_text > 0 {
                let length = usize::try_from(self.rest_of_text).unwrap_or(usize::MAX).min(bytes.len());
                self.rest_of_text -= length as u64;
                bytes = bytes.get(length..).unwrap_or_default();
                if self.rest_of_text == 0 {
                    self.part_ended();
                }
                continue;
            }
            let end = bytes.iter().position(|byte| *byte == b'\n').map(|end| end + 1);
            let (line, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            self.line.extend_from_slice(line);
            self.count(line.len() as u64)?;
            if self.line.len() > LONGEST_LINE {
                return Err("the answer has a line that is too long");
            }
            if end.is_some() {
                self.line_ended()?;
            }
            bytes = rest;
        }
        Ok(())
    }

    fn count(&mut self, bytes: u64) -> Result<(), &'static str> {
        self.size = self.size.saturating_add(bytes);
        if self.size > MOST_BYTES { Err("the answer is too long") } else { Ok(()) }
    }

    fn line_ended(&mut self) -> Result<(), &'static str> {
        let line = std::mem::take(&mut self.line);
        let number = || std::str::from_utf8(line.get(1..)?).ok()?.trim_end().parse::<i64>().ok();
        match line.first() {
            Some(b'+' | b'-' | b':') => self.part_ended(),
            Some(b'$') => match number().map(u64::try_from) {
                Some(Ok(length)) => {
                    self.count(length)?;
                    self.rest_of_text = length + 2;
                }
                Some(Err(_)) => self.part_ended(),
                None => return Err("the answer has a text without a length"),
            },
            Some(b'*') => match number().map(u64::try_from) {
                // Each part takes three bytes at least.
                Some(Ok(parts)) if parts > MOST_BYTES / 3 => return Err("the answer is too long"),
                Some(Ok(parts @ 1..)) if self.lists.len() < DEEPEST => self.lists.push(parts),
                Some(Ok(1..)) => return Err("the answer has lists that lie too deep"),
                Some(Ok(0) | Err(_)) => self.part_ended(),
                None => return Err("the answer has a list without a length"),
            },
            _ => return Err("what it sends is no answer"),
        }
        Ok(())
    }

    /// A part has come to its end, and with it whatever it was the last part of.
    fn part_ended(&mut self) {
        while let Some(rest) = self.lists.last_mut() {
            *rest -= 1;
            if *rest > 0 {
                return;
            }
            self.lists.pop();
        }
        self.size = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fed whole, and byte by byte.
    fn taken(bytes: &[u8]) -> Result<Measure, &'static str> {
        let (mut whole, mut single) = (Measure::default(), Measure::default());
        let outcome = whole.take(bytes);
        assert_eq!(outcome, bytes.chunks(1).try_for_each(|byte| single.take(byte)));
        assert_eq!(format!("{whole:?}"), format!("{single:?}"));
        outcome.map(|()| whole)
    }

    #[test]
    fn every_kind_of_answer_is_followed_to_its_end() {
        for answer in [
            "+OK\r\n",
            "-ERR no\r\n",
            ":1\r\n",
            "$-1\r\n",
            "$0\r\n\r\n",
            "$4\r\n\r\n$9\r\n",
            "*0\r\n",
            "*-1\r\n",
            "*2\r\n*2\r\n:1\r\n$1\r\na\r\n*0\r\n",
        ] {
            let measure = taken(answer.as_bytes()).expect(answer);
            assert_eq!((measure.size, measure.lists.len(), measure.rest_of_text), (0, 0, 0), "{answer:?}");
        }
    }

    #[test]
    fn what_announces_too_much_is_refused_at_once() {
        for head in [
            "$536870912\r\n",
            "$9223372036854775807\r\n",
            "*1000000000\r\n",
            "*2\r\n$33554000\r\n",
            &"*1\r\n".repeat(DEEPEST + 1),
            "$x\r\n",
            "*\r\n",
            "HTTP/1.1 400 Bad Request\r\n",
            ">1\r\n",
        ] {
            let whole = head == "*2\r\n$33554000\r\n";
            assert_eq!(taken(head.as_bytes()).is_err(), !whole, "{head:?}");
        }
        assert!(taken(&[b'+'; LONGEST_LINE + 1]).is_err());
    }

    #[test]
    fn an_answer_may_not_grow_beyond_the_limit_by_its_parts() {
        let mut measure = Measure::default();
        measure.take(b"*1000\r\n").expect("a list");
        let part = [b"$1000000\r\n".to_vec(), vec![b'x'; 1_000_000], b"\r\n".to_vec()].concat();
        let parts = (0..1000).take_while(|_| measure.take(&part).is_ok()).count();
        assert_eq!(parts, 33);
    }
}
