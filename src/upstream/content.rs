//! The content of an instance's answer, out of the bytes that come on its connection (RFC 9112 §6 and §7.1).

use bytes::{Buf, Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use memchr::memchr;

use super::head::{Section, trailers};

/// What is still to come of an answer's content.
#[derive(Debug)]
pub(super) enum Content {
    /// Nothing.
    Over,
    /// So many bytes; more than none.
    Sized(u64),
    /// Chunks and a trailer section.
    Chunked(Chunks),
    /// All that comes until the connection is closed.
    UntilClosed,
}

impl Content {
    /// So many bytes.
    pub(super) fn sized(length: u64) -> Self {
        if length == 0 { Self::Over } else { Self::Sized(length) }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Over)
    }

    /// What of it is there; `None` where all of it is over, or the next byte has yet to come.
    ///
    /// # Errors
    /// Where its coding is not well-formed.
    pub(super) fn next(&mut self, read: &mut BytesMut) -> Result<Option<Frame<Bytes>>, &'static str> {
        match self {
            Self::Over => Ok(None),
            Self::Sized(remaining) => {
                let data = up_to(*remaining, read);
                if let Some(data) = &data {
                    *self = Self::sized(*remaining - data.len() as u64);
                }
                Ok(data.map(Frame::data))
            }
            Self::Chunked(chunks) => {
                let frame = chunks.next(read)?;
                if matches!(chunks.place, Place::End) {
                    *self = Self::Over;
                }
                Ok(frame)
            }
            Self::UntilClosed => Ok(up_to(u64::MAX, read).map(Frame::data)),
        }
    }

    /// The connection was closed. Tells whether that is its end.
    pub(super) fn close(&mut self) -> bool {
        let is_end = matches!(self, Self::UntilClosed | Self::Over);
        if is_end {
            *self = Self::Over;
        }
        is_end
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Over => SizeHint::with_exact(0),
            Self::Sized(remaining) => SizeHint::with_exact(*remaining),
            Self::Chunked(_) | Self::UntilClosed => SizeHint::default(),
        }
    }
}

/// As many of the bytes that are there, unless there is none.
fn up_to(most: u64, read: &mut BytesMut) -> Option<Bytes> {
    let length = usize::try_from(most).unwrap_or(usize::MAX).min(read.len());
    (length > 0).then(|| read.split_to(length).freeze())
}

/// Content in chunks.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    place: Place,
    /// Bytes of chunk extensions so far.
    extensions: usize,
    trailers: Section,
}

/// What the next byte belongs to.
#[derive(Debug, Default)]
enum Place {
    /// The line of a chunk's size.
    #[default]
    Size,
    /// A chunk's data, of which so much is to come.
    Data(u64),
    /// The CRLF behind a chunk's data.
    DataEnd,
    /// What follows the last chunk.
    Trailers,
    /// Another message.
    End,
}

impl Chunks {
    fn next(&mut self, read: &mut BytesMut) -> Result<Option<Frame<Bytes>>, &'static str> {
        self.advance(read)?;
        match self.place {
            Place::Data(remaining) => {
                let Some(data) = up_to(remaining, read) else { return Ok(None) };
                self.place = match remaining - data.len() as u64 {
                    0 => Place::DataEnd,
                    rest => Place::Data(rest),
                };
                // Where the end is there as well, nobody has to ask for it. What is wrong with it is said when asked.
                let _ = self.advance(read);
                Ok(Some(Frame::data(data)))
            }
            Place::Trailers => self.trailer_section(read),
            Place::Size | Place::DataEnd | Place::End => Ok(None),
        }
    }

    /// Goes on to what has content, as far as that is there. Takes no byte of what is not well-formed.
    fn advance(&mut self, read: &mut BytesMut) -> Result<(), &'static str> {
        loop {
            match (&self.place, &**read) {
                (Place::DataEnd, [b'\r', b'\n', ..]) => {
                    read.advance(2);
                    self.place = Place::Size;
                }
                (Place::DataEnd, [] | [b'\r']) => return Ok(()),
                (Place::DataEnd, _) => return Err("a chunk is longer than its size"),
                (Place::Size, bytes) => {
                    let end = memchr(b'\n', bytes);
                    if end.unwrap_or(bytes.len()) > LONGEST_LINE {
                        return Err(TOO_LONG);
                    }
                    let Some(end) = end else { return Ok(()) };
                    let size = self.size(bytes.get(..end).unwrap_or_default())?;
                    read.advance(end + 1);
                    self.place = if size == 0 { Place::Trailers } else { Place::Data(size) };
                }
                (Place::Trailers, [b'\r', b'\n', ..]) => {
                    read.advance(2);
                    self.place = Place::End;
                }
                (Place::Trailers | Place::Data(_) | Place::End, _) => return Ok(()),
            }
        }
    }

    /// Reads the line of a chunk's size, without its LF. Extensions are passed over, but must be a text.
    fn size(&mut self, line: &[u8]) -> Result<u64, &'static str> {
        let line = line.strip_suffix(b"\r").ok_or("the line of a chunk's size ends in LF alone")?;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (digits, beyond) = line.split_at_checked(digits).unwrap_or_default();
        let size = std::str::from_utf8(digits).ok().and_then(|digits| u64::from_str_radix(digits, 16).ok());
        let size = size.ok_or("the size of a chunk is not one")?;
        let extension = beyond.trim_ascii_start();
        let is_text = beyond.iter().all(|byte| *byte == b'\t' || !byte.is_ascii_control());
        if !is_text || !matches!(extension.first(), None | Some(b';')) {
            return Err("something else than an extension follows the size of a chunk");
        }
        self.extensions += extension.len();
        if self.extensions > LONGEST_LINE { Err(TOO_LONG) } else { Ok(size) }
    }

    /// Reads a trailer section that is not empty, once it is there to its end.
    fn trailer_section(&mut self, read: &mut BytesMut) -> Result<Option<Frame<Bytes>>, &'static str> {
        // The CR may be that of an empty section.
        if matches!(**read, [] | [b'\r']) {
            return Ok(None);
        }
        let Some(length) = self.trailers.end(read)? else {
            return if read.len() > LONGEST_TRAILERS {
                Err("the trailer section is too long")
            } else {
                Ok(None)
            };
        };
        let fields = trailers(&read.split_to(length).freeze())?;
        self.place = Place::End;
        Ok(Some(Frame::trailers(fields)))
    }
}

const TOO_LONG: &str = "chunk extensions are too long";
/// Of a chunk's size, and of all extensions of an answer.
const LONGEST_LINE: usize = 16 * 1024;
const LONGEST_TRAILERS: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// The content in a text, its trailer fields and what follows, which must be the same however it is cut into reads;
    /// `None` where its end has not come.
    fn read(text: &str) -> Result<Option<(String, usize, String)>, &'static str> {
        let in_pieces = |size: usize| {
            let (mut content, mut read) = (Content::Chunked(Chunks::default()), BytesMut::new());
            let (mut data, mut fields) = (Vec::new(), 0);
            for piece in text.as_bytes().chunks(size) {
                read.extend_from_slice(piece);
                while let Some(frame) = content.next(&mut read)? {
                    match frame.into_data() {
                        Ok(more) => data.extend_from_slice(&more),
                        Err(frame) => fields += frame.into_trailers().expect("trailers").len(),
                    }
                }
            }
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            Ok(content.is_over().then(|| (text(&data), fields, text(&read))))
        };
        let whole = in_pieces(usize::MAX);
        for size in 1..text.len().min(100) {
            assert_eq!(in_pieces(size), whole, "{text:?} in pieces of {size}");
        }
        whole
    }

    fn whole(
        data: &str,
        fields: usize,
        beyond: &str,
    ) -> Result<Option<(String, usize, String)>, &'static str> {
        Ok(Some((data.to_owned(), fields, beyond.to_owned())))
    }

    #[test]
    fn chunks_are_joined_and_end_where_they_say() {
        assert_eq!(read("0\r\n\r\nHTTP"), whole("", 0, "HTTP"));
        assert_eq!(read("3\r\nabc\r\n0A\r\n0123456789\r\n000\r\n\r\n"), whole("abc0123456789", 0, ""));
        assert_eq!(read("a;x=y;z=\"q\"\r\n0123456789\r\n0 ; x\r\n\r\n"), whole("0123456789", 0, ""));
        assert_eq!(read("1 \t\r\na\r\n0\r\nX-A: b\r\nX-A: c\r\n\r\nGET"), whole("a", 2, "GET"));
        for unfinished in
            ["", "3", "3\r\n", "3\r\nab", "3\r\nabc", "3\r\nabc\r\n", "0\r\n", "0\r\n\r", "0\r\na: b\r\n"]
        {
            assert_eq!(read(unfinished), Ok(None), "{unfinished:?}");
        }
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        for text in [
            "\r\n",
            "x\r\n",
            " 3\r\nabc\r\n",
            "+3\r\nabc\r\n",
            "-1\r\n",
            "0x3\r\nabc\r\n",
            "3_\r\nabc\r\n",
            "3 3\r\nabc\r\n",
            "3\nabc\r\n",
            "3;\nabc\r\n",
            "3;a\rb\r\nabc\r\n",
            "3;a\0b\r\nabc\r\n",
            "10000000000000000\r\n",
            "3\r\nabcd\r\n",
            "3\r\nabc\n0\r\n\r\n",
            "3\r\nabc\r0\r\n\r\n",
            "0\r\n\n",
            "0\r\na: b\n\r\n",
            "0\r\na : b\r\n\r\n",
            "0\r\nno colon\r\n\r\n",
            "0\r\na: b\r\n c\r\n\r\n",
        ] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn data_that_is_there_comes_before_the_error_behind_it() {
        let (mut content, mut read) =
            (Content::Chunked(Chunks::default()), BytesMut::from("3\r\nabc\r\nx\r\n"));
        assert!(matches!(content.next(&mut read), Ok(Some(_))));
        assert!(content.next(&mut read).is_err());
        assert!(content.next(&mut read).is_err());
    }

    #[test]
    fn what_is_not_content_is_bounded() {
        let long = "a".repeat(LONGEST_LINE);
        assert!(read(&format!("3;{long}\r\n")).is_err());
        assert!(read(&format!("3;{long}a")).is_err());
        let half = format!("1;{}\r\na\r\n", "a".repeat(LONGEST_LINE / 2));
        assert!(read(&half).is_ok());
        assert!(read(&half.repeat(2)).is_err());
        assert!(read(&format!("0\r\na: {long}\r\n")).is_err());
        assert!(read(&format!("0\r\n{}\r\n", "a: b\r\n".repeat(101))).is_err());
    }

    #[test]
    fn sized_content_ends_with_its_last_byte_and_other_content_with_the_connection() {
        let (mut content, mut read) = (Content::sized(3), BytesMut::from("abcd"));
        let frame = content.next(&mut read).expect("content").expect("some");
        assert_eq!(frame.into_data().expect("data"), "abc");
        assert!(content.is_over() && content.close() && read == "d");
        let mut content = Content::sized(3);
        assert!(!content.close(), "that is not its end");
        assert_eq!(content.size_hint().exact(), Some(3));
        assert!(Content::sized(0).is_over());
        let mut content = Content::UntilClosed;
        assert!(matches!(content.next(&mut read), Ok(Some(_))));
        assert!(!content.is_over() && content.close() && content.is_over());
        assert!(!Content::Chunked(Chunks::default()).close());
    }
}
