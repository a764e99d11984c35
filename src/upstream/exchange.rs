//! The body of an instance's response, with the connection that it comes on.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use super::error::ConnectionError;
use super::link::Link;
use super::pool::Upstream;
use crate::http::RequestBodyError;
use crate::http::header::remove_forbidden_trailers;

/// A response body that drives its own connection, and gives it back to the pool at its end.
///
/// Dropped early, it closes the connection: the instance learns that nobody listens any more.
#[derive(Debug)]
pub struct Exchange {
    /// `None` once the response is over.
    link: Option<Box<Link>>,
    pool: Rc<Upstream>,
    silence: Option<Pin<Box<Sleep>>>,
}

/// Why a response body ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum BrokenBody {
    /// The instance broke off.
    #[error("the instance broke off its response")]
    Broken(#[from] ConnectionError),
    /// It came before all of the request was sent, and the rest could not be had.
    #[error("the client broke off its request while it was answered")]
    Upload(#[source] RequestBodyError),
    /// Nothing came for too long.
    #[error("the instance fell silent within its response")]
    Silent,
}

impl Exchange {
    pub(super) fn new(link: Box<Link>, pool: Rc<Upstream>) -> Self {
        let mut exchange = Self { link: Some(link), pool, silence: None };
        exchange.release_if_over();
        exchange
    }

    fn release_if_over(&mut self) {
        if self.link.as_ref().is_some_and(|link| link.is_over()) {
            self.release();
        }
    }

    /// The response is complete; the connection may serve another request, if the instance agrees.
    fn release(&mut self) {
        self.silence = None;
        if let Some(link) = self.link.take() {
            self.pool.put_back(link);
        }
    }

    /// Whether nothing has come for longer than is allowed.
    fn is_silent(&mut self, cx: &mut Context<'_>) -> bool {
        let limit = self.pool.settings().idle_body_timeout;
        let silence = self.silence.get_or_insert_with(|| Box::pin(sleep(limit)));
        silence.as_mut().poll(cx).is_ready()
    }
}

fn without_forbidden_trailers(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            remove_forbidden_trailers(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(data) => data,
    }
}

impl Body for Exchange {
    type Data = Bytes;
    type Error = BrokenBody;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenBody>>> {
        let this = self.get_mut();
        let Some(link) = &mut this.link else { return Poll::Ready(None) };
        match link.poll_content(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.release_if_over();
                if let Some(silence) = &mut this.silence {
                    let limit = this.pool.settings().idle_body_timeout;
                    silence.as_mut().reset(Instant::now() + limit);
                }
                Poll::Ready(Some(Ok(without_forbidden_trailers(frame))))
            }
            Poll::Ready(Some(Err(error))) => {
                this.link = None;
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(None) => {
                this.release();
                Poll::Ready(None)
            }
            Poll::Pending if this.is_silent(cx) => {
                this.link = None;
                Poll::Ready(Some(Err(BrokenBody::Silent)))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.link.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.link.as_ref().map_or_else(|| SizeHint::with_exact(0), |link| link.size_hint())
    }
}
