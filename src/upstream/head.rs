//! The head of an instance's answer, and the interim heads before it, as they are read off the connection.
//!
//! The parser of fields is httparse; what it would repair or pass over is refused before it sees it.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use httparse::{Header, ParserConfig, Status};
use hyper::ext::ReasonPhrase;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode, Version};
use memchr::memchr;

/// The interim heads of an answer and its final one, up to the next byte.
#[derive(Debug, Default)]
pub(super) struct Heads {
    section: Section,
    /// So much of a head without its end has been looked at.
    looked_at: usize,
    /// Bytes of the heads that are read.
    bytes: usize,
    interim: u8,
}

impl Heads {
    /// What comes next, once it is there to its end, and its length in bytes. Its fields go into a map that is used
    /// again.
    ///
    /// # Errors
    /// Where it is not well-formed, or too long.
    pub(super) fn next(
        &mut self,
        read: &mut BytesMut,
        fields: &mut HeaderMap,
    ) -> Result<Option<(Response<()>, usize)>, &'static str> {
        let end = self.section.end(read)?;
        let length = end.unwrap_or(read.len());
        if length > LONGEST_HEAD || self.bytes + length > LONGEST_HEADS {
            return Err("the head is too long");
        }
        if end.is_none() {
            self.look(read)?;
            return Ok(None);
        }
        self.looked_at = 0;
        self.bytes += length;
        let response = parse(&read.split_to(length).freeze(), fields)?;
        if is_interim(response.status()) {
            // RFC 9110 §15.2: as many as an instance likes, but nobody needs many.
            self.interim += 1;
            if self.interim > MOST_INTERIM {
                return Err("there are too many interim heads");
            }
        }
        Ok(Some((response, length)))
    }

    /// Refuses what cannot become a head, so that nobody waits for its end; not each time that a little comes.
    fn look(&mut self, read: &[u8]) -> Result<(), &'static str> {
        if read.is_empty() || read.len() < 2 * self.looked_at {
            return Ok(());
        }
        self.looked_at = read.len();
        let mut room = [const { MaybeUninit::uninit() }; MOST_FIELDS];
        let mut found = httparse::Response::new(&mut []);
        let parsed = ParserConfig::default().parse_response_with_uninit_headers(&mut found, read, &mut room);
        parsed.map(drop).map_err(why)
    }
}

/// Whether another head follows this one.
pub(super) fn is_interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}

/// Lines up to an empty one, each of which must end in CRLF (RFC 9112 §2.2 lets others pass).
#[derive(Debug, Default)]
pub(super) struct Section {
    scanned: usize,
    /// Where the line begins that has not ended yet.
    line: usize,
}

impl Section {
    /// How long it is, with its empty line, once that has come.
    ///
    /// # Errors
    /// Where a line ends in another way, or the first one is the empty one.
    pub(super) fn end(&mut self, text: &[u8]) -> Result<Option<usize>, &'static str> {
        while let Some(distance) = memchr(b'\n', text.get(self.scanned..).unwrap_or_default()) {
            let end = self.scanned + distance;
            let line = text.get(self.line..end).unwrap_or_default();
            let line = line.strip_suffix(b"\r").ok_or("a line of the head ends in LF alone")?;
            if line.is_empty() {
                let is_first = self.line == 0;
                *self = Self::default();
                return if is_first { Err("an empty line comes before the head") } else { Ok(Some(end + 1)) };
            }
            (self.scanned, self.line) = (end + 1, end + 1);
        }
        self.scanned = text.len();
        Ok(None)
    }
}

fn parse(head: &Bytes, fields: &mut HeaderMap) -> Result<Response<()>, &'static str> {
    let mut room = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let mut found = httparse::Response::new(&mut []);
    let parsed = ParserConfig::default().parse_response_with_uninit_headers(&mut found, head, &mut room);
    if parsed.map_err(why)? != Status::Complete(head.len()) {
        return Err("the head is not well-formed");
    }
    let status = found.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or("the status is not one")?;
    collect(head, found.headers, fields)?;
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.version_mut() = if found.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    *response.headers_mut() = std::mem::take(fields);
    let reason = found.reason.unwrap_or_default();
    if status.canonical_reason() != Some(reason) {
        let reason = ReasonPhrase::try_from(reason.as_bytes()).map_err(|_| "the reason is not a text")?;
        response.extensions_mut().insert(reason);
    }
    Ok(response)
}

/// The fields of a trailer section that is there to its end.
///
/// # Errors
/// Where it is not well-formed.
pub(super) fn trailers(section: &Bytes) -> Result<HeaderMap, &'static str> {
    let mut room = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut fields = HeaderMap::new();
    match httparse::parse_headers(section, &mut room).map_err(why)? {
        Status::Complete((length, found)) if length == section.len() => collect(section, found, &mut fields)?,
        _ => return Err("the trailer section is not well-formed"),
    }
    Ok(fields)
}

/// The values stay where they are in the text.
fn collect(text: &Bytes, found: &[Header<'_>], fields: &mut HeaderMap) -> Result<(), &'static str> {
    fields.reserve(found.len());
    for field in found {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| BAD_NAME)?;
        let value = HeaderValue::from_maybe_shared(text.slice_ref(field.value)).map_err(|_| BAD_VALUE)?;
        fields.append(name, value);
    }
    Ok(())
}

fn why(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::HeaderName => BAD_NAME,
        httparse::Error::HeaderValue => BAD_VALUE,
        httparse::Error::TooManyHeaders => "there are too many fields",
        httparse::Error::Version => "it is not HTTP/1",
        httparse::Error::Status => "the status line is not well-formed",
        httparse::Error::NewLine | httparse::Error::Token => "the head is not well-formed",
    }
}

const BAD_NAME: &str = "the name of a field is not well-formed";
const BAD_VALUE: &str = "the value of a field is not well-formed";

const MOST_FIELDS: usize = 100;
const LONGEST_HEAD: usize = 64 * 1024;
/// Of all heads of one answer.
const LONGEST_HEADS: usize = 256 * 1024;
const MOST_INTERIM: u8 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// The statuses of the heads in a text, and what follows them, which must be the same however it is cut into reads.
    fn read(text: &str) -> Result<(Vec<u16>, String), &'static str> {
        let in_pieces = |size: usize| {
            let (mut heads, mut read, mut fields) = (Heads::default(), BytesMut::new(), HeaderMap::new());
            let mut statuses = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                read.extend_from_slice(piece);
                while statuses.last().is_none_or(|last| (100..200).contains(last) && *last != 101) {
                    let Some((head, _)) = heads.next(&mut read, &mut fields)? else { break };
                    statuses.push(head.status().as_u16());
                }
            }
            Ok((statuses, String::from_utf8_lossy(&read).into_owned()))
        };
        let whole = in_pieces(usize::MAX);
        for size in 1..text.len().min(200) {
            assert_eq!(in_pieces(size).ok(), whole.clone().ok(), "{text:?} in pieces of {size}");
        }
        whole
    }

    fn statuses(text: &str) -> Vec<u16> {
        read(text).expect("well-formed").0
    }

    fn response(text: &str) -> Response<()> {
        let (mut read, mut fields) = (BytesMut::from(text), HeaderMap::new());
        let next = Heads::default().next(&mut read, &mut fields);
        next.expect("well-formed").expect("whole").0
    }

    #[test]
    fn a_head_ends_at_its_empty_line_and_interim_heads_come_before_it() {
        let content = "lone\nfeeds";
        let text = format!("HTTP/1.1 200 OK\r\nA: b\r\n\r\n{content}");
        assert_eq!(read(&text), Ok((vec![200], content.to_owned())));
        assert!(statuses("HTTP/1.1 200 OK\r\nA: b\r\n").is_empty());
        assert_eq!(statuses("HTTP/1.1 103 Early Hints\r\n\r\n"), [103]);
        let text = "HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\nHTTP/1.1 100\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
        assert_eq!(statuses(text), [103, 100, 200]);
        assert_eq!(statuses("HTTP/1.1 101 Switching Protocols\r\n\r\n\n"), [101]);
    }

    #[test]
    fn a_head_is_read_as_it_came() {
        let text = "HTTP/1.1 200 Fine\r\nSet-Cookie: a=b\r\nX-A:  1 \t\r\nset-cookie: c=d\r\nEMPTY:\r\nx-b: \u{fc}\r\n\r\n";
        let head = response(text);
        let fields: Vec<_> =
            head.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let expected: [(&str, &[u8]); 5] = [
            ("set-cookie", b"a=b"),
            ("set-cookie", b"c=d"),
            ("x-a", b"1"),
            ("empty", b""),
            ("x-b", "\u{fc}".as_bytes()),
        ];
        assert_eq!(fields, expected);
        assert_eq!(head.extensions().get::<ReasonPhrase>().map(ReasonPhrase::as_bytes), Some(&b"Fine"[..]));
        let plain = response("HTTP/1.0 404 Not Found\r\n\r\n");
        assert_eq!((plain.status(), plain.version()), (StatusCode::NOT_FOUND, Version::HTTP_10));
        assert!(plain.extensions().get::<ReasonPhrase>().is_none());
        assert_eq!(response("HTTP/1.1 999 \r\n\r\n").status().as_u16(), 999);
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        for text in [
            "HTTP/1.1 200 OK\n",
            "HTTP/1.1 200 OK\r\nA: b\n\r\n",
            "HTTP/1.1 200 OK\r\n\n",
            "\r\nHTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 103 Early Hints\r\n\r\nA\nB",
            "HTTP/1.1 103 Early Hints\r\n\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            "HTTP/2 200 OK\r\n\r\n",
            "HTTP/1.2 200 OK\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1200 OK\r\n\r\n",
            "HTTP/1.1 200 O\0K\r\n\r\n",
            "HTTP/1.1 200 O\rK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\n: v\r\n\r\n",
            "HTTP/1.1 200 OK\r\na : v\r\n\r\n",
            "HTTP/1.1 200 OK\r\n a: v\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: v\r\n folded\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: v\rb: w\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: \rv\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: \0\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: \x7f\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\u{fc}: v\r\n\r\n",
            "nonsense\r\n\r\n",
        ] {
            assert!(read(text).is_err(), "{text:?}");
        }
        assert!(read(&"HTTP/1.1 102 Processing\r\n\r\n".repeat(17)).is_err());
        assert_eq!(statuses(&"HTTP/1.1 102 Processing\r\n\r\n".repeat(16)).len(), 16);
        let fields = |count: usize| format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(count));
        assert_eq!(response(&fields(MOST_FIELDS)).headers().len(), MOST_FIELDS);
        let mut read = BytesMut::from(fields(MOST_FIELDS + 1).as_str());
        assert!(Heads::default().next(&mut read, &mut HeaderMap::new()).is_err());
    }

    #[test]
    fn what_cannot_become_a_head_is_not_waited_for() {
        for text in
            ["SSH-2.0-OpenSSH_9.6\r\n", "HTTP/1.1 200 OK\rA: b\r", "HTTP/1.1 200 OK\r\na b: c\r\n", "{"]
        {
            let mut read = BytesMut::from(text);
            assert!(Heads::default().next(&mut read, &mut HeaderMap::new()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn heads_without_end_are_refused() {
        let (mut heads, mut fields) = (Heads::default(), HeaderMap::new());
        let mut read = BytesMut::from("HTTP/1.1 200 OK\r\na: ");
        read.resize(LONGEST_HEAD, b'a');
        assert!(matches!(heads.next(&mut read, &mut fields), Ok(None)));
        read.extend_from_slice(b"a");
        assert!(heads.next(&mut read, &mut fields).is_err());
        let long = format!("HTTP/1.1 103 x\r\na: {}\r\n\r\n", "b".repeat(LONGEST_HEAD - 100));
        let (mut heads, mut read) = (Heads::default(), BytesMut::from(long.repeat(5).as_str()));
        let outcomes: Vec<_> = (0..5).map(|_| heads.next(&mut read, &mut fields).is_ok()).collect();
        assert_eq!(outcomes, [true, true, true, true, false]);
    }
}
