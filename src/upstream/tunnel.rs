//! A connection to an instance that has switched to another protocol: bytes go both ways, as they are.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use hyper::Response;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::exchange::Exchange;
use super::link::Link;
use crate::http::Line;

const BUFFER_BYTES: usize = 16 * 1024;

/// What an instance says to a request to switch protocols.
pub enum Switched {
    /// It has.
    Yes(Response<()>, Tunnel),
    /// It answers in HTTP.
    No(Response<Exchange>),
}

/// The instance's end of a connection that has switched.
pub struct Tunnel {
    stream: TcpStream,
    ahead: Bytes,
    silence: Duration,
}

/// What has come ahead is the client's affair.
impl std::fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tunnel").field("stream", &self.stream).finish_non_exhaustive()
    }
}

/// How many bytes have passed, as far as it has come.
#[derive(Debug, Default)]
pub struct Passed {
    from_client: Cell<u64>,
    from_instance: Cell<u64>,
}

impl Passed {
    /// From the client to the instance.
    #[must_use]
    pub fn from_client(&self) -> u64 {
        self.from_client.get()
    }

    /// From the instance to the client.
    #[must_use]
    pub fn from_instance(&self) -> u64 {
        self.from_instance.get()
    }

    fn total(&self) -> u64 {
        self.from_client().wrapping_add(self.from_instance())
    }
}

impl Tunnel {
    /// `None` while the request still waits to be sent.
    pub(super) fn new(link: Link, silence: Duration) -> Option<Self> {
        let (stream, ahead) = link.into_stream()?;
        Some(Self { stream, ahead, silence })
    }

    /// Joins the two ends until both have said their last; who has done so can still listen. Ends earlier where
    /// the line is cut.
    ///
    /// # Errors
    /// Where one end broke off, or nothing has passed for too long.
    pub async fn join<C>(self, client: C, line: &Line, passed: &Rc<Passed>) -> io::Result<()>
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        let Self { stream, ahead, silence } = self;
        let mut client = Counted { io: client, ahead: Bytes::new(), passed, count: |all| &all.from_client };
        let mut instance = Counted { io: stream, ahead, passed, count: |all| &all.from_instance };
        let mut both =
            pin!(copy_bidirectional_with_sizes(&mut client, &mut instance, BUFFER_BYTES, BUFFER_BYTES));
        let (mut timer, mut seen) = (pin!(sleep(silence)), passed.total());
        poll_fn(|cx| {
            if line.is_cut(cx) {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            if let Poll::Ready(done) = both.as_mut().poll(cx) {
                return Poll::Ready(done.map(drop));
            }
            while timer.as_mut().poll(cx).is_ready() {
                if passed.total() == seen {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                seen = passed.total();
                timer.as_mut().reset(Instant::now() + silence);
            }
            Poll::Pending
        })
        .await
    }
}

/// One end, of which the bytes that come from it are counted.
struct Counted<'p, T> {
    io: T,
    /// Came already, to be read first.
    ahead: Bytes,
    passed: &'p Passed,
    count: fn(&Passed) -> &Cell<u64>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Counted<'_, T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        if this.ahead.is_empty() {
            ready!(Pin::new(&mut this.io).poll_read(cx, buffer))?;
        } else {
            let length = this.ahead.len().min(buffer.remaining());
            buffer.put_slice(&this.ahead.slice(..length));
            this.ahead.advance(length);
            if this.ahead.is_empty() {
                this.ahead = Bytes::new();
            }
        }
        let count = (this.count)(this.passed);
        count.set(count.get() + (buffer.filled().len() - before) as u64);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<'_, T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
