//! A response body that sees to it that its request is noted: once, at its end or when it is given up.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::denial::{Stop, told};
use super::live::{Exemption, Live, reason};
use crate::auth::Denied;
use crate::http::Progress;
use crate::observe::{Metrics, Record, WorkerObserver};
use crate::upstream::Passed;

/// What is being noted of a request; noted when dropped, however the request ends.
pub(super) struct Note {
    /// Boxed, since a response is handed on from one future to the next, with what is noted of it.
    record: Option<Box<Record>>,
    request_body: Option<Progress>,
    live: Option<Live>,
    passed: Option<Rc<Passed>>,
    metrics: Arc<Metrics>,
    observer: Rc<WorkerObserver>,
}

impl Note {
    pub(super) fn new(record: Record, metrics: Arc<Metrics>, observer: Rc<WorkerObserver>) -> Self {
        Self {
            record: Some(Box::new(record)),
            request_body: None,
            live: None,
            passed: None,
            metrics,
            observer,
        }
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

    /// From now on the exchange can be cut.
    pub(super) fn go_live(&mut self, live: Live) {
        self.live = Some(live);
    }

    /// It is no longer among those that can be cut.
    pub(super) fn leave(&mut self) {
        self.live = None;
    }

    /// Does this, unless the exchange is cut: then the client is told why.
    pub(super) async fn unless_cut<T>(&mut self, work: Pin<&mut impl Future<Output = T>>) -> Result<T, Stop> {
        let Some(live) = &self.live else { return Ok(work.await) };
        let done = live.unless_cut(work).await;
        done.map_err(|denied| self.refused(denied))
    }

    /// The answer begins, unless the exchange is cut. If it is cut later, its connection is taken away.
    pub(super) fn answer(&mut self) -> Result<(), Stop> {
        let Some(live) = &self.live else { return Ok(()) };
        live.answer().map_err(|denied| self.refused(denied))
    }

    /// From now on the exchange is not cut, unless it is already.
    pub(super) fn exempt(&mut self) -> Result<(), Stop> {
        let Some(live) = &self.live else { return Ok(()) };
        live.exemption().grant();
        live.cut().map_or(Ok(()), |denied| Err(self.refused(denied)))
    }

    /// With what the exchange can be let come to its end.
    pub(super) fn exemption(&self) -> Exemption {
        self.live.as_ref().map(Live::exemption).unwrap_or_default()
    }

    /// Whether all of the request's content has gone on to the instance.
    pub(super) fn request_is_whole(&self) -> bool {
        self.request_body.as_ref().is_some_and(Progress::is_whole)
    }

    /// The exchange is refused: from now on there is nothing to cut.
    pub(super) fn part(&mut self) {
        let cut = self.live.take().and_then(|live| live.cut());
        self.edit(|record| record.cut = cut.map(reason));
    }

    /// What is noted from now on, of a connection that has switched protocols. Here nothing is left to note.
    pub(super) fn hand_over(&mut self, passed: &Rc<Passed>) -> Self {
        let (metrics, observer) = (Arc::clone(&self.metrics), Rc::clone(&self.observer));
        let (record, live) = (self.record.take(), self.live.take());
        Self { record, live, request_body: None, passed: Some(Rc::clone(passed)), metrics, observer }
    }

    fn refused(&mut self, denied: Denied) -> Stop {
        let (refusal, outcome) = told(denied);
        self.edit(|record| record.outcome = outcome);
        Stop::Refused(refusal)
    }

    /// Counts the request's content by this.
    pub(super) fn count_request(&mut self, progress: Progress) {
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
            if let Some(passed) = &self.passed {
                (record.request_bytes, record.response_bytes) =
                    (passed.from_client(), passed.from_instance());
            }
            if let Some(denied) = self.live.as_ref().and_then(Live::cut) {
                record.cut = Some(reason(denied));
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
