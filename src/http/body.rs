//! Request and response bodies as they pass through, unboxed.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::Request;
use tokio::time::Instant;

use super::header;
use super::pace::{Floor, Pace};
use super::{Line, ReceiveError, Received};

/// A response body: made here, or streamed from somewhere else.
#[derive(Debug)]
pub enum Body<U> {
    /// Bytes that the gateway itself answers with; empty when taken.
    Own(Bytes),
    /// A body that streams from `U`, usually an instance.
    Upstream(U),
}

impl<U> Body<U> {
    /// A body without content.
    #[must_use]
    pub fn empty() -> Self {
        Self::Own(Bytes::new())
    }
}

impl<U> HttpBody for Body<U>
where
    U: HttpBody<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = U::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, U::Error>>> {
        match self.get_mut() {
            Self::Own(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Own(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Upstream(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(bytes) => bytes.is_empty(),
            Self::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Upstream(body) => body.size_hint(),
        }
    }
}

/// The body of a request on its way to an instance: counted, and ended with an error past a limit.
#[derive(Debug)]
pub struct RequestBody {
    content: Content,
    remaining: u64,
    pace: Option<Pace>,
    progress: Progress,
}

#[derive(Debug)]
enum Content {
    /// With the line on which its client can be told something before the answer, if it can, and nobody has it yet.
    Streamed(Received, Option<Line>),
    Own(Bytes),
}

/// What the sender of a [`RequestBody`] can still see of it after handing it over. Of one without content, which most
/// are, there is nothing to be seen, and nothing is kept.
#[derive(Debug, Clone, Default)]
pub struct Progress(Option<Rc<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    received: Cell<u64>,
    latest: Cell<Option<Instant>>,
    exceeded: Cell<bool>,
    whole: Cell<bool>,
    forged: Cell<u64>,
}

impl Progress {
    fn of_content() -> Self {
        Self(Some(Rc::default()))
    }

    /// Bytes of content that have passed so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.0.as_ref().map_or(0, |seen| seen.received.get())
    }

    /// When content passed last; `None` where none has.
    #[must_use]
    pub fn latest(&self) -> Option<Instant> {
        self.0.as_ref().and_then(|seen| seen.latest.get())
    }

    /// Identity fields in the trailer section, which were dropped.
    #[must_use]
    pub fn forged(&self) -> u64 {
        self.0.as_ref().map_or(0, |seen| seen.forged.get())
    }

    /// Whether all of it has passed.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.0.as_ref().is_none_or(|seen| seen.whole.get())
    }

    /// Whether the content was longer than the limit.
    #[must_use]
    pub fn exceeded(&self) -> bool {
        self.0.as_ref().is_some_and(|seen| seen.exceeded.get())
    }

    fn note(&self, what: impl FnOnce(&Seen)) {
        if let Some(seen) = &self.0 {
            what(seen);
        }
    }
}

/// The request's content was longer than the configured limit.
#[derive(Debug, thiserror::Error)]
pub enum RequestBodyError {
    /// More bytes came than the limit allows.
    #[error(transparent)]
    Limit(#[from] BodyLimitExceeded),
    /// The client sends more slowly than the limit allows.
    #[error("request content comes too slowly")]
    TooSlow,
    /// The client stopped sending, or sent what is not HTTP.
    #[error("the client's request body could not be read")]
    Client(#[source] ReceiveError),
}

impl RequestBodyError {
    /// Whether the client is still there, but what it sends cannot be read.
    #[must_use]
    pub fn is_malformed(&self) -> bool {
        let Self::Client(ReceiveError::Http1(error)) = self else { return false };
        let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
        cause.is_some_and(|cause| {
            matches!(cause.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput)
        })
    }
}

/// More content came than `max_body_bytes` allows.
#[derive(Debug, thiserror::Error)]
#[error("request content is longer than the limit")]
pub struct BodyLimitExceeded;

impl RequestBody {
    /// Takes a client's request body; more than `max_bytes` of content is an error, and so is content that comes
    /// more slowly than that.
    #[must_use]
    pub fn limited(
        request: Request<Received>,
        max_bytes: u64,
        floor: Option<Floor>,
        line: &Line,
    ) -> Request<Self> {
        request.map(|body| {
            let progress = if body.is_end_stream() { Progress::default() } else { Progress::of_content() };
            let content = Content::Streamed(body, line.if_speaking());
            Self { content, remaining: max_bytes, pace: floor.map(Pace::new), progress }
        })
    }

    /// Content that the gateway itself sends.
    #[must_use]
    pub fn own(content: Bytes) -> Self {
        let progress = if content.is_empty() { Progress::default() } else { Progress::of_content() };
        let remaining = content.len() as u64;
        Self { content: Content::Own(content), remaining, pace: None, progress }
    }

    /// Where its client can be told something before the answer, if it can; for who waits for that.
    pub fn take_line(&mut self) -> Option<Line> {
        match &mut self.content {
            Content::Streamed(_, line) => line.take(),
            Content::Own(_) => None,
        }
    }

    fn note_whole(&self) {
        self.progress.note(|seen| seen.whole.set(true));
    }

    fn without_forbidden_trailers(&self, frame: Frame<Bytes>) -> Frame<Bytes> {
        let mut trailers = match frame.into_trailers() {
            Ok(trailers) => trailers,
            Err(data) => return data,
        };
        let forged = header::remove_forbidden_trailers(&mut trailers);
        self.progress.note(|seen| seen.forged.set(seen.forged.get() + forged));
        Frame::trailers(trailers)
    }

    /// A view on how far this body has come that outlives it.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let this = self.get_mut();
        let pace = &mut this.pace;
        let frame = match &mut this.content {
            Content::Own(bytes) if bytes.is_empty() => None,
            Content::Own(bytes) => Some(Frame::data(std::mem::take(bytes))),
            Content::Streamed(content, _) => ready!(received(content, pace, cx))?,
        };
        let Some(frame) = frame else {
            this.note_whole();
            return Poll::Ready(None);
        };
        if let Some(data) = frame.data_ref() {
            let length = data.len() as u64;
            let Some(remaining) = this.remaining.checked_sub(length) else {
                this.progress.note(|seen| seen.exceeded.set(true));
                return Poll::Ready(Some(Err(BodyLimitExceeded.into())));
            };
            this.remaining = remaining;
            this.progress.note(|seen| {
                seen.received.set(seen.received.get() + length);
                seen.latest.set(Some(Instant::now()));
            });
        }
        // Whoever sees that nothing more will come does not ask again.
        if this.is_end_stream() {
            this.note_whole();
        }
        Poll::Ready(Some(Ok(this.without_forbidden_trailers(frame))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Streamed(content, _) => content.is_end_stream(),
            Content::Own(bytes) => bytes.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Streamed(content, _) => content.size_hint(),
            Content::Own(bytes) => SizeHint::with_exact(bytes.len() as u64),
        }
    }
}

/// What comes next from a client, if it comes in time.
fn received(
    content: &mut Received,
    pace: &mut Option<Pace>,
    cx: &mut Context<'_>,
) -> Poll<Result<Option<Frame<Bytes>>, RequestBodyError>> {
    let Poll::Ready(frame) = Pin::new(content).poll_frame(cx) else {
        let over = pace.as_mut().is_some_and(|pace| pace.is_over(cx));
        return if over { Poll::Ready(Err(RequestBodyError::TooSlow)) } else { Poll::Pending };
    };
    if let (Some(pace), Some(Ok(frame))) = (pace, &frame) {
        pace.came(frame.data_ref().map_or(0, Bytes::len));
    }
    Poll::Ready(frame.transpose().map_err(RequestBodyError::Client))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test(flavor = "current_thread")]
    async fn own_content_is_sent_once_and_counted() {
        let body = RequestBody::own(Bytes::from_static(b"{}"));
        let progress = body.progress();
        assert_eq!(body.size_hint().exact(), Some(2));
        let collected = body.collect().await.expect("own content").to_bytes();
        assert_eq!(&collected[..], b"{}");
        assert_eq!(progress.received(), 2);
        assert!(progress.latest().is_some());
        assert!(!progress.exceeded() && progress.is_whole());
    }
}
