//! What is said to a client before its answer: interim responses (RFC 9110 §15.2), on their way from who answers to
//! the socket, which alone knows when nothing else is under way. Does not choose what is said.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use hyper::StatusCode;
use hyper::header::HeaderMap;
use tokio::io::AsyncWrite;

/// An interim response (RFC 9110 §15.2).
#[derive(Clone)]
pub struct Interim {
    /// Its status.
    pub status: StatusCode,
    /// Its fields.
    pub fields: HeaderMap,
}

/// What it says is the client's affair.
impl std::fmt::Debug for Interim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interim").field("status", &self.status).finish_non_exhaustive()
    }
}

/// Whether no answer has this status.
pub(super) fn is_interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}

/// What one connection is still to be told. Nearly always nothing, which is seen without a lock.
#[derive(Default)]
pub struct Foreword {
    waits: AtomicBool,
    heads: Mutex<BytesMut>,
}

/// What is said is the client's affair.
impl std::fmt::Debug for Foreword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Foreword").field("waits", &self.waits).finish_non_exhaustive()
    }
}

impl Foreword {
    /// Adds an interim response to what is said; what would be an answer is not said.
    pub(super) fn say(&self, status: StatusCode, fields: &HeaderMap) {
        if !is_interim(status) {
            return;
        }
        let mut heads = self.lock();
        heads.extend_from_slice(b"HTTP/1.1 ");
        heads.extend_from_slice(status.as_str().as_bytes());
        heads.extend_from_slice(b" ");
        heads.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
        heads.extend_from_slice(b"\r\n");
        for (name, value) in fields {
            heads.extend_from_slice(name.as_str().as_bytes());
            heads.extend_from_slice(b": ");
            heads.extend_from_slice(value.as_bytes());
            heads.extend_from_slice(b"\r\n");
        }
        heads.extend_from_slice(b"\r\n");
        self.waits.store(true, Ordering::Relaxed);
    }

    /// Whether anything that was said has not left yet.
    pub fn waits(&self) -> bool {
        self.waits.load(Ordering::Relaxed)
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// Where the writer fails, or takes nothing.
    pub fn poll_write<W: AsyncWrite>(
        &self,
        mut writer: Pin<&mut W>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let mut heads = self.lock();
        while heads.has_remaining() {
            match ready!(writer.as_mut().poll_write(cx, &heads))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => heads.advance(written),
            }
        }
        *heads = BytesMut::new();
        Poll::Ready(Ok(()))
    }

    /// All of it was written, and has left.
    pub fn told(&self) {
        self.waits.store(false, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, BytesMut> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
