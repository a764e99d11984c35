//! A client's socket, plain or encrypted: what came in is noted, and its end is made polite.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::gate::Permit;
use super::guard::{Fault, Guard, Part};
use super::traffic::Traffic;
use super::transport::Transport;
use super::unreadable::Unreadable;

/// A client's connection; counted as open until it is dropped. Boxed, since it is handed on from one
/// future to the next, and a copy in each would triple what an idle TLS connection takes.
#[derive(Debug)]
pub(super) struct Socket<T>(Box<Wire<T>>);

struct Wire<T> {
    io: T,
    traffic: Arc<Traffic>,
    /// Bytes that were read already, to be read again first.
    ahead: Bytes,
    watch: Watch,
    /// What is said before an answer is being written.
    speaks: bool,
    permit: Permit,
}

/// The bytes that were read are the client's affair, credentials among them.
impl<T: std::fmt::Debug> std::fmt::Debug for Wire<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire").field("io", &self.io).field("traffic", &self.traffic).finish_non_exhaustive()
    }
}

/// Who looks at what comes in before it is read.
#[derive(Debug)]
enum Watch {
    /// Nobody: HTTP/2 says itself where its messages end.
    Nobody,
    Guard(Guard),
    /// The guard found a fault; nothing more is read.
    Faulty(Part),
}

impl<T: Transport> Socket<T> {
    /// A connection whose bytes are read as they come.
    pub(super) fn new(io: T, permit: Permit) -> Self {
        Self::watched(io, permit, Watch::Nobody)
    }

    /// A connection for HTTP/1.1, whose bytes are read as far as they mean one thing.
    pub(super) fn guarded(io: T, permit: Permit, guard: Guard) -> Self {
        Self::watched(io, permit, Watch::Guard(guard))
    }

    fn watched(io: T, permit: Permit, watch: Watch) -> Self {
        Self(Box::new(Wire {
            io,
            traffic: Arc::default(),
            ahead: Bytes::new(),
            watch,
            speaks: false,
            permit,
        }))
    }

    pub(super) fn traffic(&self) -> &Arc<Traffic> {
        &self.0.traffic
    }

    /// Puts back bytes that were read but not used.
    pub(super) fn put_back(&mut self, bytes: Bytes) {
        // Even without content, they can keep the whole buffer that they were read into.
        self.0.ahead = if bytes.is_empty() { Bytes::new() } else { bytes };
    }

    /// Whether there may be something to read. The last read must have found nothing more, so that no
    /// decrypted bytes are waiting above the TCP connection.
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.0.ahead.is_empty() {
            return Poll::Ready(());
        }
        self.0.io.tcp().poll_read_ready(cx).map(|_| ())
    }

    /// Sends an answer to what was no request.
    pub(super) async fn say(&mut self, answer: &[u8]) -> io::Result<()> {
        let io = &mut self.0.io;
        timeout(GOODBYE, async {
            io.write_all(answer).await?;
            io.flush().await
        })
        .await?
    }

    /// Says goodbye, and does not wait for the answer.
    pub(super) async fn close(mut self) {
        let _ = timeout(GOODBYE, self.0.io.shutdown()).await;
    }

    /// Throws away what the client still sends, for a while.
    ///
    /// Closing with bytes unread makes the system send a reset, which can destroy the response before
    /// the client has read it: a client that is told 413 while it uploads would see no answer.
    pub(super) async fn linger(self) {
        if self.0.traffic.ended() {
            return;
        }
        let Wire { io, permit: _permit, .. } = *self.0;
        let mut tcp = io.into_tcp();
        let _ = timeout(LINGER_AT_MOST, async {
            tcp.shutdown().await?;
            while let Ok(readable) = timeout(LINGER_IN_SILENCE, tcp.readable()).await {
                readable?;
                if discard(&tcp)? == Discarded::All {
                    break;
                }
            }
            io::Result::Ok(())
        })
        .await;
    }

    /// Cuts the connection so that the client cannot take what it has for the whole response.
    pub(super) fn reset(self) {
        let _ = self.0.io.into_tcp().set_zero_linger();
    }
}

#[derive(PartialEq, Eq)]
enum Discarded {
    /// The client has sent its last byte.
    All,
    /// More may come.
    Some,
}

fn discard(tcp: &TcpStream) -> io::Result<Discarded> {
    let mut bin = [0; 16 * 1024];
    match tcp.try_read(&mut bin) {
        Ok(0) => Ok(Discarded::All),
        Ok(_) => Ok(Discarded::Some),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Discarded::Some),
        Err(error) => Err(error),
    }
}

impl<T> Wire<T> {
    /// Whether this is what hyper answers by itself, to what it could not read as a request.
    fn holds_back(&self, answer: &[u8]) -> bool {
        let own = !self.traffic.is_owed()
            && !matches!(self.watch, Watch::Nobody)
            && !self.traffic.switched()
            && !answer.is_empty();
        if own {
            self.traffic.refuse(Unreadable::answered_with(answer));
        }
        own
    }

    /// Takes back what must not be read of the bytes that just came.
    fn look(&mut self, buffer: &mut ReadBuf<'_>, before: usize) {
        let Watch::Guard(guard) = &mut self.watch else { return };
        if self.traffic.switched() {
            return;
        }
        let came = buffer.filled().get(before..).unwrap_or_default();
        if let Err(Fault { at, part }) = guard.inspect(came) {
            buffer.set_filled(before + at);
            self.watch = Watch::Faulty(part);
            match part {
                Part::Head => self.traffic.refuse(Unreadable::Malformed),
                Part::Coding => self.traffic.refuse(Unreadable::UnknownCoding),
                Part::Content => {}
            }
        }
    }
}

impl<T: Transport> Wire<T> {
    /// Ends a connection that was given up at its next byte: what waits for its client is thrown away.
    fn still_wanted(&self) -> io::Result<()> {
        if !self.traffic.is_given_up() {
            return Ok(());
        }
        let _ = self.io.tcp().set_zero_linger();
        Err(io::ErrorKind::TimedOut.into())
    }

    /// Writes what is to be said before an answer, which hyper has no way to send.
    ///
    /// Begun only where hyper flushes, since an answer may wait in hyper while the next request is answered already:
    /// hyper reads that as soon as the answer before is encoded (`Conn::try_keep_alive`), written or not. What hyper
    /// writes may thus begin with the rest of another answer. But it flushes only what it has nothing to add to
    /// (`Buffered::poll_flush`), and then all answers before have left, and the next has not begun: its head is made
    /// when the service has it, and the service gives it away only when all that came before it has left
    /// (`Line::falls_silent`). That it is asked to flush hyper sees to, which does so whenever it has polled the
    /// service (`Dispatcher::poll_loop`).
    ///
    /// Once begun it is finished before anything else: hyper may have 100 to say meanwhile.
    fn poll_foreword(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.still_wanted()?;
        self.traffic.writing();
        self.speaks = true;
        let written = self.traffic.foreword().poll_write(Pin::new(&mut self.io), cx);
        self.traffic.tried(written.is_ready());
        ready!(written)?;
        self.speaks = false;
        Poll::Ready(Ok(()))
    }

    fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.traffic.tried(flushed.is_ready());
        flushed
    }
}

impl Part {
    /// What is read where the fault was: of a head nothing more, since its connection is about to be taken from
    /// hyper; of content that it is broken.
    fn end(self) -> Poll<io::Result<()>> {
        match self {
            Self::Head | Self::Coding => Poll::Pending,
            Self::Content => {
                let why = "the content is not well-formed";
                Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)))
            }
        }
    }
}

impl<T: Transport> AsyncRead for Socket<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self.get_mut().0;
        let before = buffer.filled().len();
        loop {
            if !this.ahead.is_empty() {
                let length = this.ahead.len().min(buffer.remaining());
                buffer.put_slice(&this.ahead.slice(..length));
                this.ahead.advance(length);
                break;
            }
            if let Watch::Faulty(part) = &this.watch {
                return part.end();
            }
            ready!(Pin::new(&mut this.io).poll_read(cx, buffer))?;
            let came = buffer.filled().len() > before;
            this.look(buffer, before);
            if !came || buffer.filled().len() > before {
                break;
            }
        }
        this.traffic.read(buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl<T: Transport> AsyncWrite for Socket<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self.get_mut().0;
        this.still_wanted()?;
        if this.holds_back(bytes) {
            return Poll::Pending;
        }
        if this.speaks {
            ready!(this.poll_foreword(cx))?;
        }
        this.traffic.writing();
        let written = Pin::new(&mut this.io).poll_write_parts(cx, &[io::IoSlice::new(bytes)]);
        this.traffic.tried(written.is_ready());
        written
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self.get_mut().0;
        ready!(this.poll_flushed(cx))?;
        if this.traffic.foreword().waits() {
            ready!(this.poll_foreword(cx))?;
            ready!(this.poll_flushed(cx))?;
            this.traffic.foreword().told();
            // The answer may have waited for it, in this very task.
            cx.waker().wake_by_ref();
        }
        this.traffic.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self.get_mut().0;
        this.still_wanted()?;
        if this.holds_back(slices.first().map_or(&[][..], |first| first)) {
            return Poll::Pending;
        }
        if this.speaks {
            ready!(this.poll_foreword(cx))?;
        }
        this.traffic.writing();
        let written = Pin::new(&mut this.io).poll_write_parts(cx, slices);
        this.traffic.tried(written.is_ready());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.0.io.is_write_vectored()
    }
}

/// For `close_notify` and FIN to leave.
const GOODBYE: Duration = Duration::from_secs(2);
/// Without a byte from a client that has been answered.
const LINGER_IN_SILENCE: Duration = Duration::from_secs(2);
/// For a client that has been answered and goes on sending.
const LINGER_AT_MOST: Duration = Duration::from_secs(15);
