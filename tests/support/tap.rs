//! Listens in on what a server sends by HTTP/2, frame by frame.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream of which everything that is read is kept.
pub struct Tap<T> {
    io: T,
    heard: Heard,
}

/// What was read.
#[derive(Debug, Clone, Default)]
pub struct Heard(Arc<Mutex<Vec<u8>>>);

/// One frame (RFC 9113 §4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// What ends a stream: an error code, or nothing where it ends in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnd {
    Reset(u32),
    Orderly,
}

impl<T> Tap<T> {
    pub fn new(io: T) -> (Self, Heard) {
        let heard = Heard::default();
        (Self { io, heard: heard.clone() }, heard)
    }
}

impl Heard {
    /// All whole frames so far.
    pub fn frames(&self) -> Vec<Frame> {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut rest, mut frames) = (&bytes[..], Vec::new());
        while let [a, b, c, kind, flags, d, e, f, g, behind @ ..] = rest {
            let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            if behind.len() < length {
                break;
            }
            let stream = u32::from_be_bytes([*d, *e, *f, *g]) & 0x7fff_ffff;
            frames.push(Frame { kind: *kind, flags: *flags, stream, payload: behind[..length].to_vec() });
            rest = &behind[length..];
        }
        frames
    }

    /// How the server has ended its side of a stream.
    pub fn end_of(&self, stream: u32) -> Option<StreamEnd> {
        self.frames().into_iter().filter(|frame| frame.stream == stream).find_map(|frame| match frame.kind {
            0 | 1 if frame.flags & 1 == 1 => Some(StreamEnd::Orderly),
            3 => Some(StreamEnd::Reset(u32::from_be_bytes(frame.payload[..4].try_into().expect("a code")))),
            _ => None,
        })
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Tap<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buffer))?;
        let mut heard = this.heard.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.extend_from_slice(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Tap<T> {
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
