//! A request on its way to an instance: its head as text (RFC 9112 §3), then its content as it comes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as _, Frame};
use hyper::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRAILER, TRANSFER_ENCODING};
use hyper::{Method, Request};
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

use super::fields::Fields;
use crate::http::{ReceiveError, RequestBody, RequestBodyError, poll_write_parts};

/// Room for a head without many cookies.
const HEAD_BYTES: usize = 1024;

/// What is still to be sent of a request.
#[derive(Default)]
pub(super) struct Outgoing {
    text: Vec<u8>,
    /// Bytes of the text that are sent.
    sent: usize,
    /// Sent behind the text, and the ending behind it.
    data: Bytes,
    ending: &'static [u8],
    content: Option<(RequestBody, Coding)>,
    /// The text is a safe request without content (RFC 9110 §9.2.2), and nothing else.
    is_safe: bool,
    /// No byte of it is sent.
    is_untouched: bool,
}

/// What is in it is the client's affair.
impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outgoing").field("is_safe", &self.is_safe).finish_non_exhaustive()
    }
}

/// How the end of the content is told.
enum Coding {
    /// So much is still to come.
    Sized(u64),
    /// With these fields, if they come, behind the last chunk.
    Chunked(Vec<HeaderName>),
}

/// Why a request could not be sent to its end.
#[derive(Debug)]
pub(super) enum Unsent {
    /// Its content could not be had.
    Content(RequestBodyError),
    /// The connection does not take it.
    Connection(io::Error),
}

impl Outgoing {
    /// What is to be sent of a request in origin form, and the map that its fields were in.
    pub(super) fn new(request: Request<RequestBody>, say: impl FnOnce(&mut Fields)) -> (Self, HeaderMap) {
        let (mut head, content) = request.into_parts();
        let content = (!content.is_end_stream()).then_some(content);
        let is_safe = content.is_none() && matches!(head.method, Method::GET | Method::HEAD);
        let coding = content.as_ref().map(|content| coding(&mut head.headers, content));
        if coding.is_none() {
            announce_nothing(&mut head.headers);
        }
        let mut text = Vec::with_capacity(HEAD_BYTES);
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        for part in [head.method.as_str(), " ", target, " HTTP/1.1\r\n"] {
            text.extend_from_slice(part.as_bytes());
        }
        let mut fields = Fields(text);
        head.headers.iter().for_each(|(name, value)| fields.add(name, value));
        say(&mut fields);
        let Fields(mut text) = fields;
        text.extend_from_slice(b"\r\n");
        head.headers.clear();
        let content = content.zip(coding);
        (Self { text, content, is_safe, is_untouched: true, ..Self::default() }, head.headers)
    }

    /// Whether it may be sent from its beginning: no byte of it is sent, or it is safe.
    pub(super) fn may_begin_again(&self) -> bool {
        self.is_untouched || self.is_safe
    }

    /// Takes over from the beginning what another was to send.
    pub(super) fn begin_again(&mut self, other: &mut Self) {
        std::mem::swap(self, other);
        self.sent = 0;
    }

    /// Whether content follows its head.
    pub(super) fn has_content(&self) -> bool {
        self.content.is_some()
    }

    /// Whether no byte of it is sent.
    pub(super) fn is_untouched(&self) -> bool {
        self.is_untouched
    }

    /// Sends a head that is all of it, as far as the connection takes it at once; tells whether that is all.
    pub(super) fn try_send(&mut self, stream: &TcpStream) -> bool {
        let text = self.text.get(self.sent..).unwrap_or_default();
        // Whoever waits for the answer finds out why it cannot be sent.
        if let Ok(length) = stream.try_write(text) {
            self.advance(length);
        }
        self.is_over()
    }

    /// Whether there is nothing more to do for it.
    pub(super) fn is_over(&self) -> bool {
        self.content.is_none() && !self.is_staged()
    }

    /// Whether the instance has all of it, even if its client has not yet said that this is all.
    pub(super) fn is_sent(&self) -> bool {
        matches!(self.content, None | Some((_, Coding::Sized(0)))) && !self.is_staged()
    }

    /// Sends what there is.
    pub(super) fn poll(&mut self, stream: &mut TcpStream, cx: &mut Context<'_>) -> Poll<Result<(), Unsent>> {
        loop {
            self.stage(cx).map_err(Unsent::Content)?;
            if !self.is_staged() {
                return if self.content.is_none() { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
            let text = self.text.get(self.sent..).unwrap_or_default();
            let stream = Pin::new(&mut *stream);
            let written = if self.data.is_empty() && self.ending.is_empty() {
                stream.poll_write(cx, text)
            } else {
                let parts = [IoSlice::new(text), IoSlice::new(&self.data), IoSlice::new(self.ending)];
                poll_write_parts(stream, cx, &parts)
            };
            match ready!(written) {
                Ok(0) => return Poll::Ready(Err(Unsent::Connection(io::ErrorKind::WriteZero.into()))),
                Ok(length) => self.advance(length),
                Err(error) => return Poll::Ready(Err(Unsent::Connection(error))),
            }
        }
    }

    fn is_staged(&self) -> bool {
        self.sent < self.text.len() || !self.data.is_empty() || !self.ending.is_empty()
    }

    fn advance(&mut self, length: usize) {
        self.is_untouched &= length == 0;
        let of_text = length.min(self.text.len() - self.sent);
        self.sent += of_text;
        let of_data = (length - of_text).min(self.data.len());
        // What is empty would keep its client's buffer.
        self.data = if of_data == self.data.len() { Bytes::new() } else { self.data.split_off(of_data) };
        self.ending = self.ending.get(length - of_text - of_data..).unwrap_or_default();
    }

    /// Takes up content that has come, if all that was taken up before is sent. The head waits for none, but takes with
    /// it what is there.
    fn stage(&mut self, cx: &mut Context<'_>) -> Result<(), RequestBodyError> {
        while self.data.is_empty() && self.ending.is_empty() {
            let Some((content, coding)) = &mut self.content else { return Ok(()) };
            let Poll::Ready(frame) = Pin::new(&mut *content).poll_frame(cx) else { return Ok(()) };
            let frame = frame.transpose()?;
            let is_last = !frame.as_ref().is_some_and(Frame::is_data) || content.is_end_stream();
            if self.sent == self.text.len() {
                self.text.clear();
                self.sent = 0;
            }
            match coding {
                Coding::Sized(remaining) => {
                    self.data = frame.and_then(|frame| frame.into_data().ok()).unwrap_or_default();
                    let rest = remaining.checked_sub(self.data.len() as u64).ok_or_else(given_up)?;
                    *remaining = rest;
                    if is_last && rest > 0 {
                        return Err(given_up());
                    }
                }
                Coding::Chunked(trailers) => {
                    (self.data, self.ending) = chunk(&mut self.text, frame, trailers, is_last);
                }
            }
            if is_last {
                self.content = None;
            }
        }
        Ok(())
    }
}

/// Writes what comes before a chunk's data (RFC 9112 §7.1), or instead of it; returns the data and what follows it.
fn chunk(
    text: &mut Vec<u8>,
    frame: Option<Frame<Bytes>>,
    trailers: &[HeaderName],
    is_last: bool,
) -> (Bytes, &'static [u8]) {
    let data = match frame.map(Frame::into_data) {
        Some(Ok(data)) => data,
        Some(Err(frame)) => {
            let fields = frame.into_trailers().unwrap_or_default();
            text.extend_from_slice(b"0\r\n");
            let mut section = Fields(std::mem::take(text));
            let announced = fields.iter().filter(|(name, _)| trailers.contains(name));
            announced.for_each(|(name, value)| section.add(name, value));
            *text = section.0;
            return (Bytes::new(), b"\r\n");
        }
        None => return (Bytes::new(), b"0\r\n\r\n"),
    };
    if data.is_empty() {
        return (data, if is_last { b"0\r\n\r\n" } else { b"" });
    }
    // Writing to memory cannot fail.
    let _ = io::Write::write_fmt(text, format_args!("{:x}\r\n", data.len()));
    (data, if is_last { b"\r\n0\r\n\r\n" } else { b"\r\n" })
}

/// Nobody may wait for content that does not come, nor take what follows for it.
fn announce_nothing(fields: &mut HeaderMap) {
    fields.remove(TRANSFER_ENCODING);
    if fields.get(CONTENT_LENGTH).is_some_and(|length| length != "0") {
        fields.remove(CONTENT_LENGTH);
    }
}

/// How the content's end is told: as the fields say, or as it says itself. They say it then, too.
fn coding(fields: &mut HeaderMap, content: &RequestBody) -> Coding {
    if !fields.contains_key(TRANSFER_ENCODING) {
        let said = fields.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if let Some(length) = said.or_else(|| content.size_hint().exact()) {
            fields.entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
            return Coding::Sized(length);
        }
        fields.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    fields.remove(CONTENT_LENGTH);
    let announced = fields.get_all(TRAILER).iter().filter_map(|names| names.to_str().ok());
    let names = announced.flat_map(|names| names.split(','));
    Coding::Chunked(names.filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok()).collect())
}

/// There is less of it, or more, than its client has said.
fn given_up() -> RequestBodyError {
    RequestBodyError::Client(ReceiveError::GivenUp)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, content: &'static [u8]) -> Request<RequestBody> {
        let builder = Request::builder().method(method).uri("/api/bins?a=b");
        let builder = builder.header("host", "bins.example").header("x-a", "1").header("x-b", "");
        let builder =
            builder.header("x-a", "2").header("x-c", HeaderValue::from_bytes(b"\xff").expect("a value"));
        builder.body(RequestBody::own(Bytes::from_static(content))).expect("a request")
    }

    fn outgoing_of(request: Request<RequestBody>) -> Outgoing {
        Outgoing::new(request, |_| ()).0
    }

    /// What is sent, so many bytes at a time.
    fn sent(outgoing: &mut Outgoing, width: usize) -> Vec<u8> {
        let mut all = Vec::new();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        loop {
            outgoing.stage(&mut cx).expect("content");
            if !outgoing.is_staged() {
                assert!(outgoing.is_over());
                return all;
            }
            let text = outgoing.text.get(outgoing.sent..).expect("text");
            let staged = [text, &outgoing.data, outgoing.ending].concat();
            let taken = staged.get(..width.min(staged.len())).expect("bytes");
            all.extend_from_slice(taken);
            outgoing.advance(taken.len());
        }
    }

    const HEAD: &[u8] =
        b" /api/bins?a=b HTTP/1.1\r\nhost: bins.example\r\nx-a: 1\r\nx-a: 2\r\nx-b: \r\nx-c: \xff\r\n";

    #[test]
    fn a_request_is_its_head_and_its_content_in_pieces_of_any_size() {
        for width in [1, 2, 7, 100, usize::MAX] {
            let (mut outgoing, fields) = Outgoing::new(request("GET", b""), |_| ());
            assert!(fields.is_empty() && fields.capacity() > 0, "the map is given back");
            assert_eq!(sent(&mut outgoing, width), [b"GET", HEAD, b"\r\n"].concat());
            let mut outgoing = outgoing_of(request("PUT", b"content"));
            let expected = [b"PUT", HEAD, b"content-length: 7\r\n\r\ncontent"].concat();
            assert_eq!(sent(&mut outgoing, width), expected, "{width}");
            let mut chunked = request("POST", b"some content");
            chunked.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            chunked.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("3"));
            let mut outgoing = outgoing_of(chunked);
            let expected =
                [b"POST", HEAD, b"transfer-encoding: chunked\r\n\r\nc\r\nsome content\r\n0\r\n\r\n"].concat();
            assert_eq!(sent(&mut outgoing, width), expected, "{width}");
        }
    }

    #[test]
    fn what_is_said_of_a_request_stands_behind_its_own_fields() {
        let say = |fields: &mut Fields| fields.add(&HeaderName::from_static("x-said"), "so");
        let (mut outgoing, _) = Outgoing::new(request("GET", b""), say);
        assert_eq!(sent(&mut outgoing, usize::MAX), [b"GET", HEAD, b"x-said: so\r\n\r\n"].concat());
    }

    #[test]
    fn trailers_go_on_if_they_were_announced() {
        let fields = [("x-sum", "1"), ("x-other", "2")]
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let (mut text, announced) = (Vec::new(), [HeaderName::from_static("x-sum")]);
        let frame = Frame::trailers(fields.into_iter().collect());
        let (data, ending) = chunk(&mut text, Some(frame), &announced, true);
        assert!(data.is_empty());
        assert_eq!([&text, ending].concat(), b"0\r\nx-sum: 1\r\n\r\n");
    }

    #[test]
    fn a_request_without_content_announces_none() {
        let mut request = request("GET", b"");
        request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("3"));
        let mut outgoing = outgoing_of(request);
        assert_eq!(sent(&mut outgoing, usize::MAX), [b"GET", HEAD, b"\r\n"].concat());
    }

    #[test]
    fn content_of_another_length_than_said_is_an_error() {
        for said in ["6", "8"] {
            let mut request = request("PUT", b"content");
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_str(said).expect("a value"));
            let mut outgoing = outgoing_of(request);
            let staged = outgoing.stage(&mut Context::from_waker(std::task::Waker::noop()));
            assert!(staged.is_err(), "{said}");
        }
    }

    #[test]
    fn what_is_sent_again_is_what_was_sent_or_was_to_be_sent() {
        for (method, content) in [("GET", &b""[..]), ("HEAD", b""), ("POST", b"content"), ("DELETE", b"")] {
            let (mut one, mut other) = (outgoing_of(request(method, content)), Outgoing::default());
            let all = sent(&mut one, usize::MAX);
            one = outgoing_of(request(method, content));
            assert!(one.may_begin_again(), "{method}: nothing was sent");
            other.begin_again(&mut one);
            assert_eq!(sent(&mut other, 9), all, "{method}");
            let safe = matches!(method, "GET" | "HEAD");
            assert_eq!(other.may_begin_again(), safe, "{method}");
            if safe {
                one.begin_again(&mut other);
                assert_eq!(sent(&mut one, 9), all, "{method}");
            }
        }
    }

    #[test]
    fn a_safe_request_with_content_is_not_sent_again() {
        let mut outgoing = outgoing_of(request("GET", b"content"));
        sent(&mut outgoing, usize::MAX);
        assert!(!outgoing.may_begin_again());
    }

    #[test]
    fn what_is_sent_is_hidden_in_debug() {
        let outgoing = outgoing_of(request("GET", b"s3cret"));
        let shown = format!("{outgoing:?}");
        assert!(!shown.contains("bins") && !shown.contains("s3cret"), "{shown}");
    }
}
