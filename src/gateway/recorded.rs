//! A response body that sees to it that its request is noted: once, at its end or when it is given up.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::http::Progress;
use crate::observe::{Metrics, Record, WorkerObserver};

/// What is being noted of a request; noted when dropped, however the request ends.
pub(super) struct Note {
    record: Option<Record>,
    request_body: Option<Rc<Progress>>,
    metrics: Arc<Metrics>,
    observer: Rc<WorkerObserver>,
}

impl Note {
    pub(super) fn new(record: Record, metrics: Arc<Metrics>, observer: Rc<WorkerObserver>) -> Self {
        Self { record: Some(record), request_body: None, metrics, observer }
    }

    /// Changes what is noted.
    pub(super) fn edit(&mut self, change: impl FnOnce(&mut Record)) {
        if let Some(record) = &mut self.record {
            change(record);
        }
    }

    /// The instance that was chosen.
    pub(super) fn instance(&self) -> Option<&Arc<str>> {
        self.record.as_ref()?.instance.as_ref()
    }

    /// Counts the request's content by this.
    pub(super) fn count_request(&mut self, progress: Rc<Progress>) {
        self.request_body = Some(progress);
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        if let Some(mut record) = self.record.take() {
            if let Some(progress) = &self.request_body {
                record.request_bytes = progress.received();
                self.metrics.forged_headers.inc_by(progress.forged());
            }
            self.observer.finish(record);
        }
    }
}

/// A response body on its way to the client.
pub struct Recorded<B> {
    body: B,
    note: Note,
}

impl<B: Body> Recorded<B> {
    pub(super) fn new(body: B, mut note: Note) -> Self {
        let complete = body.is_end_stream();
        note.edit(|record| record.complete = complete);
        Self { body, note }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Recorded<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let length = frame.data_ref().map_or(0, Bytes::len) as u64;
                let complete = this.body.is_end_stream();
                this.note.edit(|record| {
                    record.response_bytes += length;
                    record.complete = complete;
                });
            }
            Poll::Ready(None) => this.note.edit(|record| record.complete = true),
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
