//! What hyper lets pass although it can be read in more than one way, stopped before hyper sees it.
//!
//! hyper repairs what others might take literally: a lone LF ends a line, `Content-Length` beside
//! `Transfer-Encoding` is struck out, a fragment is cut off the target, a list of codings is decoded by its
//! last. Repaired, none of it can be seen any more, so it is looked for in the bytes themselves. Only what
//! decides where a message ends is followed here; everything else is left to hyper.

mod chunks;

use std::ops::ControlFlow;

use memchr::memchr;

use chunks::Chunks;

use crate::http::is_token_byte;

/// Follows the requests of one HTTP/1.1 connection.
#[derive(Debug)]
pub(super) struct Guard {
    place: Place,
    /// The beginning of a line whose end has not come yet.
    begun: Vec<u8>,
    longest_line: usize,
}

/// Where in a request the next byte belongs.
#[derive(Debug)]
enum Place {
    Head(Head),
    Content(u64),
    Chunks(Chunks),
    /// Within a head that is longer than hyper takes.
    BeyondLimit,
}

/// What a head has said so far.
#[derive(Debug, Default)]
struct Head {
    has_target: bool,
    /// RFC 9112 §2.2 allows for one empty line in front of a request.
    blank: bool,
    length: Option<u64>,
    chunked: bool,
    /// There is a coding of another name.
    unknown_coding: bool,
}

/// Bytes that must not be read as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    /// The first byte that must not be read.
    pub(super) at: usize,
    pub(super) part: Part,
}

/// Which part of a request a fault is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Head,
    /// The head, since it names a transfer coding that is not understood here.
    Coding,
    Content,
}

impl Guard {
    /// Heads with longer lines than this are refused by hyper, and not looked at here.
    pub(super) fn new(max_header_bytes: usize) -> Self {
        Self { place: Place::Head(Head::default()), begun: Vec::new(), longest_line: max_header_bytes }
    }

    /// Whether the next byte belongs to a head.
    #[cfg(any(test, fuzzing))]
    pub(super) fn is_in_head(&self) -> bool {
        matches!(self.place, Place::Head(_) | Place::BeyondLimit)
    }

    /// Whether no byte of a request has come since the last one ended.
    #[cfg(any(test, fuzzing))]
    pub(super) fn is_between(&self) -> bool {
        matches!(&self.place, Place::Head(head) if !head.has_target && !head.blank && self.begun.is_empty())
    }

    /// Looks at the bytes that came next.
    ///
    /// # Errors
    /// Where a request can be read in more than one way. Nothing may follow on the connection.
    pub(super) fn inspect(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let at = bytes.len() - rest.len();
            let fault = |(within, part)| Fault { at: at + within, part };
            let used = match &mut self.place {
                Place::Head(_) => match self.head(rest) {
                    Ok(used) => used,
                    Err(within) => return Err(fault((within, self.part()))),
                },
                Place::Content(left) => {
                    let used = usize::try_from(*left).map_or(rest.len(), |left| left.min(rest.len()));
                    *left -= used as u64;
                    if *left == 0 {
                        self.place = Place::Head(Head::default());
                    }
                    used
                }
                Place::Chunks(chunks) => match chunks.inspect(rest) {
                    Ok(ControlFlow::Continue(())) => rest.len(),
                    Ok(ControlFlow::Break(used)) => {
                        self.place = Place::Head(Head::default());
                        used
                    }
                    Err(within) => return Err(fault((within, Part::Content))),
                },
                Place::BeyondLimit => rest.len(),
            };
            rest = rest.get(used..).unwrap_or_default();
        }
        Ok(())
    }

    /// Which part of a request a fault of a head is in.
    fn part(&self) -> Part {
        match &self.place {
            Place::Head(Head { unknown_coding: true, .. }) => Part::Coding,
            Place::Head(_) | Place::Content(_) | Place::Chunks(_) | Place::BeyondLimit => Part::Head,
        }
    }

    /// Looks at one line of a head, or at its beginning; returns its length, or where it is at fault.
    fn head(&mut self, bytes: &[u8]) -> Result<usize, usize> {
        let Place::Head(head) = &mut self.place else { return Ok(0) };
        let Some(end) = memchr(b'\n', bytes) else {
            if self.begun.len() + bytes.len() > self.longest_line {
                self.begun = Vec::new();
                self.place = Place::BeyondLimit;
            } else {
                self.begun.extend_from_slice(bytes);
            }
            return Ok(bytes.len());
        };
        let piece = bytes.get(..end).unwrap_or_default();
        let line = if self.begun.is_empty() {
            piece
        } else {
            self.begun.extend_from_slice(piece);
            &self.begun
        };
        // RFC 9112 §2.2 only allows a lone LF to be taken for the end of a line; OpenBin's own server does not.
        let next = line.strip_suffix(b"\r").and_then(|line| head.line(line)).ok_or(end)?;
        if let Some(next) = next {
            self.place = next;
        }
        if !self.begun.is_empty() {
            self.begun = Vec::new();
        }
        Ok(end + 1)
    }
}

impl Head {
    /// Takes a line; `None` where it is at fault, else where the next byte belongs if not to this head.
    fn line(&mut self, line: &[u8]) -> Option<Option<Place>> {
        if line.is_empty() {
            return self.end();
        }
        if !self.has_target {
            self.has_target = true;
            // A target has no fragment (RFC 9112 §3.2): what follows it is a path to some and nothing to others.
            return memchr(b'#', line).is_none().then_some(None);
        }
        let framing = match line.first() {
            Some(b'c' | b'C') => value(line, b"content-length").map(|value| self.content_length(value)),
            Some(b't' | b'T') => value(line, b"transfer-encoding").map(|value| self.transfer_encoding(value)),
            Some(_) | None => None,
        };
        framing.unwrap_or(Some(())).map(|()| None)
    }

    /// The empty line.
    fn end(&mut self) -> Option<Option<Place>> {
        if !self.has_target {
            return (!std::mem::replace(&mut self.blank, true)).then_some(None);
        }
        match (self.length, self.chunked) {
            // RFC 9112 §6.3: it ought to be handled as an error.
            (Some(_), true) => None,
            (None, true) => Some(Some(Place::Chunks(Chunks::new()))),
            (None | Some(0), false) => Some(Some(Place::Head(Self::default()))),
            (Some(length), false) => Some(Some(Place::Content(length))),
        }
    }

    /// RFC 9110 §8.6: one decimal number, told once.
    fn content_length(&mut self, value: &[u8]) -> Option<()> {
        if self.length.is_some() || value.len() > LONGEST_LENGTH || !value.iter().all(u8::is_ascii_digit) {
            return None;
        }
        self.length = Some(std::str::from_utf8(value).ok()?.parse().ok()?);
        Some(())
    }

    /// RFC 9112 §6.1: no coding is understood here but `chunked`, which may be applied only once. Where it is not the last
    /// one, nobody knows where the content ends, and that is what is wrong with the request (§6.3).
    fn transfer_encoding(&mut self, value: &[u8]) -> Option<()> {
        if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
            self.unknown_coding = !self.chunked && is_chunked_at_its_end(value);
            return None;
        }
        self.chunked = true;
        Some(())
    }
}

/// Whether codings that are not understood here are followed by `chunked`.
fn is_chunked_at_its_end(codings: &[u8]) -> bool {
    let mut codings = codings.rsplit(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let is_named = |coding: &[u8]| !coding.is_empty() && coding.iter().copied().all(is_token_byte);
    codings.next().is_some_and(is_chunked) && codings.all(|coding| is_named(coding) && !is_chunked(coding))
}

/// The value of a field, if it has this name.
fn value<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    let (own, rest) = line.split_at_checked(name.len())?;
    let rest = rest.strip_prefix(b":")?;
    own.eq_ignore_ascii_case(name).then(|| rest.trim_ascii())
}

/// Digits of the largest number that fits 64 bits, less one.
const LONGEST_LENGTH: usize = 19;

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 200;

    /// The fault of a text, which must be the same however the text is cut into reads.
    fn fault(text: &str) -> Option<(usize, Part)> {
        let read = |size: usize| {
            let mut guard = Guard::new(LIMIT);
            let mut before = 0;
            for piece in text.as_bytes().chunks(size) {
                if let Err(Fault { at, part }) = guard.inspect(piece) {
                    return Some((before + at, part));
                }
                before += piece.len();
            }
            None
        };
        let whole = read(usize::MAX);
        for size in 1..text.len() {
            assert_eq!(read(size), whole, "{text:?} in pieces of {size}");
        }
        whole
    }

    fn after_head(fields: &str, rest: &str) -> Option<(usize, Part)> {
        fault(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n{rest}"))
    }

    const NEXT: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    #[test]
    fn requests_that_mean_one_thing_pass_one_after_the_other() {
        for (fields, content) in [
            ("", ""),
            ("Content-Length: 0\r\n", ""),
            ("content-LENGTH:\t7 \r\n", "a\nb\n\n\nc"),
            ("Transfer-Encoding: Chunked\r\n", "3\r\na\nb\r\n0\r\n\r\n"),
            ("Content-Lengthy: x\r\nTransfer-Encodings: y\r\n", ""),
        ] {
            assert_eq!(after_head(fields, &format!("{content}{NEXT}\r\n{NEXT}")), None, "{fields:?}");
        }
    }

    #[test]
    fn what_frames_a_request_in_two_ways_is_a_fault_of_its_head() {
        for fields in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked, chunked\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding:\r\n",
            "Content-Length: 5, 5\r\n",
            "Content-Length: +5\r\n",
            "Content-Length:\r\n",
            "Content-Length: 18446744073709551616\r\n",
        ] {
            assert!(matches!(after_head(fields, ""), Some((_, Part::Head | Part::Coding))), "{fields:?}");
        }
    }

    #[test]
    fn a_coding_that_nobody_knows_is_told_from_one_that_is_wrong() {
        for (codings, part) in [
            ("gzip, chunked", Part::Coding),
            ("x-gzip,Chunked", Part::Coding),
            ("gzip", Part::Head),
            ("", Part::Head),
            ("chunked, identity", Part::Head),
            ("chunked, gzip, chunked", Part::Head),
            (", chunked", Part::Head),
            ("chunked\r\nTransfer-Encoding: identity", Part::Head),
            ("chunked, chunked", Part::Head),
            ("\u{b}chunked", Part::Head),
            ("chunked;q=1", Part::Head),
        ] {
            let fault = after_head(&format!("Transfer-Encoding: {codings}\r\n"), "");
            assert_eq!(fault.map(|(_, part)| part), Some(part), "{codings:?}");
        }
    }

    #[test]
    fn a_lone_line_feed_a_fragment_and_empty_lines_are_faults_of_the_head() {
        for head in [
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
            "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            assert!(matches!(fault(head), Some((_, Part::Head))), "{head:?}");
        }
    }

    #[test]
    fn the_fault_is_found_before_the_end_of_the_head_can_be_read() {
        let head = "GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(fault(head), Some((head.len() - 1, Part::Head)));
    }

    #[test]
    fn a_line_that_hyper_refuses_as_too_long_is_not_kept() {
        let mut guard = Guard::new(LIMIT);
        for _ in 0..10 {
            assert_eq!(guard.inspect(&[b'a'; LIMIT]), Ok(()));
            assert!(guard.begun.capacity() <= 2 * LIMIT);
        }
    }
}
