//! The bodies of the sample's responses: bytes, a stream of events, a long download.
//!
//! A stream notices when it is dropped before its end: that is how the sample knows that a client left.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use sha2::{Digest, Sha256};
use tokio::time::Sleep;

/// The body of a response of the sample.
#[derive(Debug)]
pub struct SampleBody(Content);

#[derive(Debug)]
enum Content {
    Bytes(Bytes),
    Events(Events),
    Photo(Photo),
}

impl SampleBody {
    pub(super) fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self(Content::Bytes(bytes.into()))
    }

    pub(super) fn events(plan: EventPlan, tally: &Arc<Tally>) -> Self {
        Self(Content::Events(Events { plan, sent: 0, timer: None, watch: Watch::new(tally) }))
    }

    pub(super) fn photo(size: u64, tally: &Arc<Tally>) -> Self {
        Self(Content::Photo(Photo { offset: 0, size, watch: Watch::new(tally) }))
    }

    /// The bytes of a body that does not stream.
    pub(super) fn as_bytes(&self) -> Option<&Bytes> {
        match &self.0 {
            Content::Bytes(bytes) => Some(bytes),
            Content::Events(_) | Content::Photo(_) => None,
        }
    }
}

impl Body for SampleBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match &mut self.get_mut().0 {
            Content::Bytes(bytes) if bytes.is_empty() => None,
            Content::Bytes(bytes) => Some(std::mem::take(bytes)),
            Content::Events(events) => ready!(events.poll_next(cx)),
            Content::Photo(photo) => photo.next_chunk(),
        };
        Poll::Ready(next.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Content::Bytes(bytes) => bytes.is_empty(),
            Content::Events(_) | Content::Photo(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Content::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Events(_) | Content::Photo(_) => SizeHint::default(),
        }
    }
}

/// How a stream of events goes: `delta` events and a `done` at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventPlan {
    /// How many `delta` events are sent.
    pub events: u32,
    /// How long it takes from each event to the next; the first is sent at once.
    pub interval: Duration,
}

#[derive(Debug)]
struct Events {
    plan: EventPlan,
    sent: u32,
    timer: Option<Pin<Box<Sleep>>>,
    watch: Watch,
}

impl Events {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.sent > self.plan.events {
            return Poll::Ready(None);
        }
        if let Some(timer) = &mut self.timer {
            ready!(timer.as_mut().poll(cx));
        }
        self.timer = Some(Box::pin(tokio::time::sleep(self.plan.interval)));
        let text = if self.sent < self.plan.events {
            format!("data: {{\"type\":\"delta\",\"text\":\"word {} \"}}\n\n", self.sent)
        } else {
            self.watch.finished = true;
            format!("data: {{\"type\":\"done\",\"text\":\"{} words\"}}\n\n", self.plan.events)
        };
        self.sent += 1;
        Poll::Ready(Some(Bytes::from(text)))
    }
}

#[derive(Debug)]
struct Photo {
    offset: u64,
    size: u64,
    watch: Watch,
}

impl Photo {
    fn next_chunk(&mut self) -> Option<Bytes> {
        if self.offset >= self.size {
            self.watch.finished = true;
            return None;
        }
        let end = self.size.min(self.offset + CHUNK);
        let chunk: Vec<u8> = (self.offset..end).map(photo_byte).collect();
        self.offset = end;
        self.watch.finished = end == self.size;
        Some(Bytes::from(chunk))
    }
}

const CHUNK: u64 = 16 * 1024;

/// Every photo has the same bytes, which repeat with a prime period so that a lost chunk shows.
fn photo_byte(at: u64) -> u8 {
    u8::try_from(at % 251).unwrap_or_default()
}

/// The SHA-256 of a photo of this size, in hexadecimal.
#[must_use]
pub fn photo_sha256(size: u64) -> String {
    let mut hash = Sha256::new();
    let mut block = Vec::with_capacity(251 * 256);
    for start in (0..size).step_by(251 * 256) {
        block.clear();
        block.extend((start..size.min(start + 251 * 256)).map(photo_byte));
        hash.update(&block);
    }
    hex(&hash.finalize())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How many streams began and how they ended.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) started: AtomicU64,
    pub(super) finished: AtomicU64,
    pub(super) aborted: AtomicU64,
}

impl Tally {
    pub(super) fn counts(&self) -> Counts {
        Counts {
            started: self.started.load(Ordering::Acquire),
            finished: self.finished.load(Ordering::Acquire),
            aborted: self.aborted.load(Ordering::Acquire),
        }
    }
}

/// How many transfers of one sort began and how they ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Those that began.
    pub started: u64,
    /// Those that came to their end.
    pub finished: u64,
    /// Those that were cut off: the other side left.
    pub aborted: u64,
}

/// Counts one transfer when it is dropped, by whether it had come to its end.
#[derive(Debug)]
pub(super) struct Watch {
    tally: Arc<Tally>,
    pub(super) finished: bool,
}

impl Watch {
    pub(super) fn new(tally: &Arc<Tally>) -> Self {
        tally.started.fetch_add(1, Ordering::AcqRel);
        Self { tally: Arc::clone(tally), finished: false }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let counter = if self.finished { &self.tally.finished } else { &self.tally.aborted };
        counter.fetch_add(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test(flavor = "current_thread")]
    async fn events_come_at_their_interval_and_end_with_done() {
        let tally = Arc::default();
        let start = tokio::time::Instant::now();
        let plan = EventPlan { events: 3, interval: Duration::from_millis(20) };
        let mut body = SampleBody::events(plan, &tally);
        let first = body.frame().await.expect("a frame").expect("no error").into_data().expect("data");
        assert_eq!(&first[..], b"data: {\"type\":\"delta\",\"text\":\"word 0 \"}\n\n");
        let rest = body.collect().await.expect("no error").to_bytes();
        assert!(rest.ends_with(b"data: {\"type\":\"done\",\"text\":\"3 words\"}\n\n"));
        assert!(start.elapsed() >= 3 * plan.interval);
        assert_eq!(tally.counts(), Counts { started: 1, finished: 1, aborted: 0 });
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_stream_that_is_dropped_before_its_end_counts_as_aborted() {
        let tally = Arc::default();
        let plan = EventPlan { events: 3, interval: Duration::from_secs(60) };
        let mut body = SampleBody::events(plan, &tally);
        body.frame().await.expect("a frame").expect("no error");
        drop(body);
        assert_eq!(tally.counts(), Counts { started: 1, finished: 0, aborted: 1 });
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_photo_has_the_promised_length_and_hash() {
        let tally = Arc::default();
        let size = 2 * CHUNK + 7;
        let bytes = SampleBody::photo(size, &tally).collect().await.expect("no error").to_bytes();
        assert_eq!(bytes.len() as u64, size);
        assert_eq!(hex(&Sha256::digest(&bytes)), photo_sha256(size));
        assert_eq!(tally.counts().finished, 1);
    }
}
