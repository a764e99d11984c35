//! What a connection is doing right now, as far as its timers must know.
//!
//! Kept by the socket (bytes went by), the service (a head is complete) and the response body (it
//! ended). One timer a connection looks at it; no request arms one of its own.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::{Request, Response, StatusCode, Version};
use pin_project_lite::pin_project;
use tokio::time::Instant;

use crate::http::{Abort, Handler, Line, Lines, Peer, Received, Refusal};

use super::traffic::Traffic;
use super::unreadable::Unreadable;

/// How long a connection may stay in which state.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Without a request.
    pub(super) idle: Duration,
    /// Without a request, before it gives back what it needs only while it has one; `None`: never.
    pub(super) doze: Option<Duration>,
    /// With something to write and no room for it.
    pub(super) write: Duration,
    /// With part of a request's head; `None` where frames come in between requests (HTTP/2).
    pub(super) head: Option<Duration>,
}

/// What the timer finds when it fires.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing yet; look again then.
    Later(Instant),
    /// No request for a while.
    Doze,
    /// No request for too long.
    Idle,
    /// A request's head has been coming in for too long.
    SlowHead,
    /// The client has not read for too long.
    Unread,
}

/// What of a request decides how its connection may rest or end afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// Its head was all of it: once it is answered, the next byte is the next request's.
    Bodyless,
    /// It has content, part of which may still be coming in after it is answered.
    Content,
}

/// What one connection is doing.
#[derive(Debug)]
pub(super) struct Activity {
    traffic: Arc<Traffic>,
    /// Held, too, by streams that have become tunnels: their exchange in HTTP is over.
    lines: Rc<Lines>,
    exchanges: Cell<u32>,
    last: Cell<(Version, Framing)>,
    idle_since: Cell<Instant>,
    head_since: Cell<Option<Instant>>,
    /// The last stall that was seen, and when.
    stall: Cell<(u32, Instant)>,
}

impl Activity {
    pub(super) fn new(traffic: Arc<Traffic>, lines: Rc<Lines>) -> Self {
        let now = Instant::now();
        Self {
            traffic,
            lines,
            exchanges: Cell::new(0),
            last: Cell::new((Version::HTTP_11, Framing::Bodyless)),
            idle_since: Cell::new(now),
            head_since: Cell::new(None),
            stall: Cell::new((0, now)),
        }
    }

    /// Whether a request is being answered, or its head is coming in.
    pub(super) fn busy(&self) -> bool {
        self.exchanges.get() > 0 || self.head_began() || self.traffic.is_unsent()
    }

    /// Since when there has been no request.
    pub(super) fn idle_since(&self) -> Instant {
        self.idle_since.get()
    }

    /// The version of the latest request.
    pub(super) fn version(&self) -> Version {
        self.last.get().0
    }

    /// Why what came is no request, once all that came before it is answered.
    pub(super) fn unreadable(&self) -> Option<Unreadable> {
        let why = self.traffic.unreadable()?;
        (self.exchanges.get() == 0 && !self.traffic.is_unsent()).then_some(why)
    }

    /// How often anything was read; it only matters whether that has changed.
    pub(super) fn reads(&self) -> u32 {
        self.traffic.reads()
    }

    /// Nothing more is sent.
    pub(super) fn give_up(&self) {
        self.traffic.give_up();
    }

    /// Until when the client must have read something; `None` where nothing waits for that.
    fn read_by(&self, patience: &Patience) -> Option<Instant> {
        let stall = self.traffic.stall()?;
        let (seen, mut since) = self.stall.get();
        if seen != stall {
            since = Instant::now();
            self.stall.set((stall, since));
        }
        Some(since + patience.write)
    }

    /// Until when the present state may last; `None` while a request is being answered.
    pub(super) fn deadline(&self, patience: &Patience) -> Option<Instant> {
        let read_by = self.read_by(patience);
        if read_by.is_some() {
            return read_by;
        }
        if self.exchanges.get() > 0 {
            return None;
        }
        if self.traffic.is_unsent() || self.lines.are_held() {
            self.idle_since.set(Instant::now());
            return None;
        }
        if let Some(head) = patience.head
            && self.head_began()
        {
            let since = self.head_since.get().unwrap_or_else(Instant::now);
            self.head_since.set(Some(since));
            return Some(since + head);
        }
        let wait = match (patience.doze, self.last.get().1) {
            (Some(doze), Framing::Bodyless) => doze.min(patience.idle),
            (Some(_), Framing::Content) | (None, _) => patience.idle,
        };
        Some(self.idle_since.get() + wait)
    }

    /// What is due now.
    pub(super) fn due(&self, patience: &Patience, now: Instant) -> Due {
        match self.deadline(patience) {
            None => Due::Later(now + LOOK_AGAIN),
            Some(deadline) if deadline > now => Due::Later(deadline),
            Some(_) if self.traffic.stall().is_some() => Due::Unread,
            Some(_) if self.head_since.get().is_some() => Due::SlowHead,
            Some(_) if self.idle_since.get() + patience.idle > now => Due::Doze,
            Some(_) => Due::Idle,
        }
    }

    fn head_began(&self) -> bool {
        self.traffic.has_received()
    }

    fn begin(&self, version: Version, framing: Framing) {
        self.exchanges.set(self.exchanges.get() + 1);
        self.last.set((version, framing));
        self.head_since.set(None);
        self.traffic.begin();
    }

    fn end(&self) {
        let left = self.exchanges.get().saturating_sub(1);
        self.exchanges.set(left);
        if left == 0 {
            self.idle_since.set(Instant::now());
            self.traffic.begin_anew();
        }
    }
}

/// What all requests of one connection share.
#[derive(Debug)]
pub(super) struct Shared<H> {
    handler: Rc<H>,
    max_headers: usize,
    pub(super) peer: Peer,
    pub(super) activity: Activity,
}

impl<H: Handler> Shared<H> {
    pub(super) fn new(
        (handler, max_headers): (&Rc<H>, usize),
        peer: Peer,
        traffic: &Arc<Traffic>,
        lines: &Rc<Lines>,
    ) -> Rc<Self> {
        let activity = Activity::new(Arc::clone(traffic), Rc::clone(lines));
        Rc::new(Self { handler: Rc::clone(handler), max_headers, peer, activity })
    }
}

/// One request from its complete head to the end of its response.
#[derive(Debug)]
pub(super) struct Exchange<H> {
    shared: Rc<Shared<H>>,
    line: Line,
}

impl<H> Exchange<H> {
    pub(super) fn begin(shared: &Rc<Shared<H>>, request: &Request<Received>, line: Line) -> Self {
        let framing = if request.body().is_end_stream() { Framing::Bodyless } else { Framing::Content };
        shared.activity.begin(request.version(), framing);
        Self { shared: Rc::clone(shared), line }
    }
}

impl<H: Handler> Exchange<H> {
    /// Has the handler answer; the exchange lasts until the response body is dropped.
    ///
    /// Boxed, since it is handed on: to hyper's own place for it (HTTP/1.1), which is not at hand, or to a task (HTTP/2).
    /// Each would copy all of it, though at first there is little in it.
    pub(super) fn answer(
        self,
        request: Request<Received>,
    ) -> Pin<Box<impl Future<Output = Result<Response<Tracked<H>>, Abort>> + use<H>>> {
        let mut request = Some(request);
        Box::pin(async move {
            let Shared { handler, max_headers, peer, .. } = &*self.shared;
            // hyper counts those of HTTP/1.1 itself; h2 counts only their bytes.
            let crowded = request.as_ref().filter(|request| request.headers().len() > *max_headers);
            let response = if let Some(crowded) = crowded {
                handler.refuse(Refusal::HeadTooLarge, crowded.version(), peer)
            } else {
                let answered = handler.handle(&mut request, peer, self.line.clone()).await;
                if !self.line.falls_silent() {
                    self.line.told().await;
                }
                answered?
            };
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                self.shared.activity.traffic.switch();
            }
            Ok(response.map(|body| Tracked { body: Some(body), exchange: self }))
        })
    }
}

impl<H> Drop for Exchange<H> {
    fn drop(&mut self) {
        self.shared.activity.end();
    }
}

pin_project! {
    /// A response body that keeps its exchange open until it is dropped. The body itself goes when it ends: the
    /// stream that it was for may stay a little longer.
    pub(super) struct Tracked<H: Handler> {
        #[pin]
        body: Option<H::Body>,
        exchange: Exchange<H>,
    }
}

impl<H: Handler> Body for Tracked<H> {
    type Data = Bytes;
    type Error = <H::Body as Body>::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let mut this = self.project();
        let Some(body) = this.body.as_mut().as_pin_mut() else { return Poll::Ready(None) };
        let frame = body.poll_frame(cx);
        this.exchange.line.note_due(matches!(frame, Poll::Ready(Some(Ok(_)))));
        let is_over = match &frame {
            Poll::Ready(Some(Ok(_))) => this.body.as_ref().get_ref().as_ref().is_none_or(Body::is_end_stream),
            Poll::Ready(Some(Err(_)) | None) => true,
            Poll::Pending => false,
        };
        if is_over {
            this.body.set(None);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// How soon the timer looks again at a connection that is answering a request.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
