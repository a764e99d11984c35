//! A connection's stream, and what is still to be sent on it.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::net::TcpStream;

use super::outgoing::{Outgoing, Unsent};
use crate::http::RequestBodyError;

/// The wire of a link. The queue in which its request waits to be sent holds it for that long, too.
pub(super) type SharedWire = Rc<RefCell<Wire>>;

/// A connection's stream, and what is still to be sent on it.
pub(super) struct Wire {
    pub(super) stream: TcpStream,
    pub(super) outgoing: Outgoing,
    /// Why no more of the request could be sent.
    pub(super) unsent: Option<io::Error>,
    /// Whether the request waits to be sent with others.
    pub(super) is_queued: bool,
}

impl Wire {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, outgoing: Outgoing::default(), unsent: None, is_queued: false }
    }

    /// Another request is to be sent.
    pub(super) fn begin(&mut self, outgoing: Outgoing) {
        (self.outgoing, self.unsent, self.is_queued) = (outgoing, None, false);
    }

    /// Whether nothing came, and the other end has not closed.
    pub(super) fn is_silent(&self) -> bool {
        let nothing_came = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
        self.stream.try_read(&mut [0]).is_err_and(nothing_came)
    }

    /// Whether another request could be sent.
    pub(super) fn is_free(&self) -> bool {
        self.outgoing.is_sent() && self.unsent.is_none()
    }

    /// Whether no byte of the request will be sent: what is said now is no answer to it.
    pub(super) fn is_spoilt(&self) -> bool {
        self.unsent.is_some() && self.outgoing.is_untouched()
    }

    /// Whether the request waits to be sent. Then whoever polls is woken once something comes.
    pub(super) fn waits(&mut self, cx: &mut Context<'_>) -> bool {
        // What only seemed to have come is looked at once, and then waited for.
        while self.is_queued && self.stream.poll_read_ready(cx).is_ready() {
            self.spoil_unless_silent();
        }
        self.is_queued
    }

    /// Sends as much of the request as can be. Where the connection takes no more of it, there may still be an answer.
    pub(super) fn send(&mut self, cx: &mut Context<'_>) -> Result<(), RequestBodyError> {
        if self.outgoing.is_over() || self.unsent.is_some() {
            return Ok(());
        }
        match self.outgoing.poll(&mut self.stream, cx) {
            Poll::Pending | Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(Unsent::Content(error))) => return Err(error),
            Poll::Ready(Err(Unsent::Connection(error))) => self.unsent = Some(error),
        }
        Ok(())
    }

    /// Sends a request that waited; tells whether whoever waits for its answer has nothing to do before that comes.
    pub(super) fn send_queued(&mut self) -> bool {
        if self.is_queued {
            self.spoil_unless_silent();
        }
        // It may have been spoilt before: then whoever waits knows it.
        std::mem::take(&mut self.is_queued) && self.outgoing.try_send(&self.stream)
    }

    /// A request is not sent where something came before it.
    fn spoil_unless_silent(&mut self) {
        if !self.is_silent() {
            self.unsent = Some(io::ErrorKind::ConnectionAborted.into());
            self.is_queued = false;
        }
    }
}
