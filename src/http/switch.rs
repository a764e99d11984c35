//! A client's connection or stream that goes on in another protocol (RFC 9110 §7.8, RFC 8441).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream};
use hyper::Request;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use super::Received;

/// A stream of HTTP/2 on which its client would go on in another protocol.
#[derive(Debug)]
pub struct Offer {
    protocol: Option<Protocol>,
    from_client: RecvStream,
    to_client: oneshot::Receiver<SendStream<Bytes>>,
}

impl Offer {
    /// What comes on the stream, and where the way back will be had from once the client is told that it may go on.
    #[must_use]
    pub fn new(
        protocol: Option<Protocol>,
        from_client: RecvStream,
        to_client: oneshot::Receiver<SendStream<Bytes>>,
    ) -> Self {
        Self { protocol, from_client, to_client }
    }

    /// The protocol that the client names; `None` where it asks for a tunnel to somewhere else.
    #[must_use]
    pub fn protocol(&self) -> Option<&str> {
        self.protocol.as_ref().map(Protocol::as_str)
    }
}

/// A client that will go on in another protocol once it is told that it may.
#[derive(Debug)]
pub enum OnSwitch {
    /// On its connection.
    Connection(OnUpgrade),
    /// On its stream.
    Stream(Box<Offer>),
}

impl OnSwitch {
    /// That of this request.
    pub fn of(request: &mut Request<Received>) -> Self {
        if let Received::Offer(offer) = request.body_mut()
            && let Some(offer) = offer.take()
        {
            return Self::Stream(offer);
        }
        Self::Connection(hyper::upgrade::on(request))
    }

    /// The client's end, once it has switched; `None` where it has left.
    pub async fn end(self) -> Option<ClientEnd> {
        match self {
            Self::Connection(on) => Some(ClientEnd::Connection(TokioIo::new(on.await.ok()?))),
            Self::Stream(offer) => {
                let Offer { from_client, to_client, .. } = *offer;
                let to_client = to_client.await.ok()?;
                Some(ClientEnd::Stream(StreamEnd { from_client, ahead: Bytes::new(), to_client }))
            }
        }
    }
}

/// A client's end of what has switched. Dropped before it has said its last, it is broken off.
pub enum ClientEnd {
    /// All of a connection.
    Connection(TokioIo<Upgraded>),
    /// One stream of a connection.
    Stream(StreamEnd),
}

/// The client's end of one stream.
pub struct StreamEnd {
    from_client: RecvStream,
    /// Came already, to be read next.
    ahead: Bytes,
    to_client: SendStream<Bytes>,
}

impl StreamEnd {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.ahead.is_empty() {
            match ready!(self.from_client.poll_data(cx)) {
                Some(data) => self.ahead = data.map_err(broken)?,
                None => return Poll::Ready(Ok(())),
            }
        }
        let length = self.ahead.len().min(buffer.remaining());
        buffer.put_slice(&self.ahead.slice(..length));
        self.ahead.advance(length);
        // Only as fast as it is taken.
        Poll::Ready(self.from_client.flow_control().release_capacity(length).map_err(broken))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.to_client.reserve_capacity(bytes.len());
        let mut room = self.to_client.capacity();
        while room == 0 {
            match ready!(self.to_client.poll_capacity(cx)) {
                Some(more) => room = more.map_err(broken)?,
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let taken = bytes.get(..room).unwrap_or(bytes);
        self.to_client.send_data(Bytes::copy_from_slice(taken), false).map_err(broken)?;
        Poll::Ready(Ok(taken.len()))
    }

    fn say_last(&mut self) -> io::Result<()> {
        self.to_client.send_data(Bytes::new(), true).map_err(broken)
    }
}

/// A stream that is reset is a connection that is reset (RFC 8441 §5).
fn broken(error: h2::Error) -> io::Error {
    match error.reason() {
        Some(Reason::NO_ERROR | Reason::CANCEL) => io::ErrorKind::ConnectionReset.into(),
        Some(_) | None if error.is_io() => {
            error.into_io().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into())
        }
        Some(_) | None => io::Error::other(error),
    }
}

impl AsyncRead for ClientEnd {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Connection(io) => Pin::new(io).poll_read(cx, buffer),
            Self::Stream(stream) => stream.poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for ClientEnd {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Connection(io) => Pin::new(io).poll_write(cx, bytes),
            Self::Stream(stream) => stream.poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Connection(io) => Pin::new(io).poll_flush(cx),
            // The connection sees to it.
            Self::Stream(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Connection(io) => Pin::new(io).poll_shutdown(cx),
            Self::Stream(stream) => Poll::Ready(stream.say_last()),
        }
    }
}
