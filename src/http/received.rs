//! The content of a client's request, as it comes in over either version of HTTP.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, EXPECT, HeaderMap};

use super::Line;
use super::switch::Offer;

/// The content of a client's request.
#[derive(Debug)]
pub enum Received {
    /// Of a message of HTTP/1.1.
    Http1(Incoming),
    /// Of a stream of HTTP/2.
    Http2(Stream),
    /// None: what comes on the stream is another protocol's, and there until it is taken.
    Offer(Option<Box<Offer>>),
}

/// The content of a request could not be received to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The client stopped sending, or sent what is not HTTP/1.1.
    #[error(transparent)]
    Http1(#[from] hyper::Error),
    /// The client's stream or connection was reset, or what came on it is not HTTP/2.
    #[error(transparent)]
    Http2(#[from] h2::Error),
    /// The client gave its request up before its end, and said that this is no error.
    #[error("the client gave up its request")]
    GivenUp,
}

impl HttpBody for Received {
    type Data = Bytes;
    type Error = ReceiveError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReceiveError>>> {
        match self.get_mut() {
            Self::Http1(incoming) => Pin::new(incoming).poll_frame(cx).map_err(ReceiveError::Http1),
            Self::Http2(stream) => stream.poll_frame(cx),
            Self::Offer(_) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(incoming) => incoming.is_end_stream(),
            Self::Http2(stream) => stream.content.is_end_stream(),
            Self::Offer(_) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(incoming) => incoming.size_hint(),
            Self::Http2(stream) => stream.size_hint(),
            Self::Offer(_) => SizeHint::with_exact(0),
        }
    }
}

/// The content of a request on a stream of HTTP/2.
#[derive(Debug)]
pub struct Stream {
    content: RecvStream,
    /// How much is still to come, where the request says so.
    remaining: Option<u64>,
    is_read: bool,
    /// The client sends nothing before it is told to (RFC 9110 §10.1.1).
    waits: bool,
    line: Line,
}

impl Stream {
    /// What comes on the stream of a request with these fields.
    #[must_use]
    pub fn new(content: RecvStream, fields: &HeaderMap, line: Line) -> Self {
        let is_over = content.is_end_stream();
        let remaining = length(fields).or(is_over.then_some(0));
        let waits = !is_over
            && fields.get(EXPECT).is_some_and(|field| field.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        if !is_over {
            line.note_upload(true);
        }
        Self { content, remaining, is_read: false, waits, line }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ReceiveError>>> {
        if !self.is_read {
            let data = self.content.poll_data(cx);
            if data.is_pending() && std::mem::take(&mut self.waits) {
                self.line.say(StatusCode::CONTINUE, &HeaderMap::new());
            }
            match ready!(data) {
                Some(Ok(bytes)) => return Poll::Ready(Some(self.passed(bytes))),
                Some(Err(error)) => return Poll::Ready(Some(Err(broken(error)))),
                None => self.is_read = true,
            }
        }
        let trailers = ready!(self.content.poll_trailers(cx)).map_err(broken)?;
        self.line.note_upload(false);
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }

    /// Whoever takes it has room for the next.
    fn passed(&mut self, bytes: Bytes) -> Result<Frame<Bytes>, ReceiveError> {
        self.content.flow_control().release_capacity(bytes.len())?;
        if let Some(remaining) = &mut self.remaining {
            *remaining = remaining.saturating_sub(bytes.len() as u64);
        }
        if self.content.is_end_stream() {
            self.line.note_upload(false);
        }
        Ok(Frame::data(bytes))
    }

    fn size_hint(&self) -> SizeHint {
        self.remaining.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// A reset without an error is none of an end (RFC 9113 §8.1).
fn broken(error: h2::Error) -> ReceiveError {
    match error.reason() {
        Some(Reason::NO_ERROR | Reason::CANCEL) => ReceiveError::GivenUp,
        Some(_) | None => error.into(),
    }
}

/// How long the content is, as far as the fields say one thing of it; h2 holds the content to that.
fn length(fields: &HeaderMap) -> Option<u64> {
    std::str::from_utf8(fields.get(CONTENT_LENGTH)?.as_bytes()).ok()?.parse().ok()
}
