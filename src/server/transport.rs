//! What carries a client's bytes: TCP, or TLS over it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::http::poll_write_parts;

/// What carries bytes: TCP, or TLS over it.
pub(super) trait Transport: AsyncRead + AsyncWrite + Unpin + Send + Sized + 'static {
    /// The TCP connection below.
    fn tcp(&self) -> &TcpStream;
    /// The TCP connection below, without what is above it.
    fn into_tcp(self) -> TcpStream;
    /// Writes a message's parts.
    fn poll_write_parts(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        poll_write_parts(self, cx, parts)
    }
}

impl Transport for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }

    fn into_tcp(self) -> TcpStream {
        self
    }
}

impl Transport for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }

    fn into_tcp(self) -> TcpStream {
        self.into_inner().0
    }

    /// They become one record in any case.
    fn poll_write_parts(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if parts.iter().all(|part| part.len() <= SHORT_BYTES) {
            return self.poll_write_vectored(cx, parts);
        }
        self.poll_write_vectored(cx, Short::of(parts).parts())
    }
}

/// The beginning of a message's parts, in parts that are short.
///
/// rustls copies each part to where it encrypts it, a few bytes behind the beginning of a page. Long ones the C library
/// copies with `rep movsb`, which some processors do many times more slowly where the target lies a little further
/// within its page than the source does (glibc's bug 30994). Short ones it copies otherwise.
struct Short<'p> {
    parts: [IoSlice<'p>; MOST_PARTS],
    count: usize,
}

impl<'p> Short<'p> {
    fn of(parts: &'p [IoSlice<'p>]) -> Self {
        let mut short = Self { parts: [IoSlice::new(&[]); MOST_PARTS], count: 0 };
        let pieces = parts.iter().flat_map(|part| part.chunks(SHORT_BYTES));
        for (place, piece) in short.parts.iter_mut().zip(pieces) {
            *place = IoSlice::new(piece);
            short.count += 1;
        }
        short
    }

    fn parts(&self) -> &[IoSlice<'p>] {
        self.parts.get(..self.count).unwrap_or_default()
    }
}

/// Below what the C library copies with one instruction.
const SHORT_BYTES: usize = 2 * 1024;
/// As much as rustls takes at once, 64 KiB, and a head before it.
const MOST_PARTS: usize = 36;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_parts_are_the_beginning_of_the_parts_in_their_order() {
        for lengths in [&[][..], &[0], &[1], &[300, 64 * 1024], &[5000, 0, 3000], &[200_000], &[1; 50]] {
            let given: Vec<Vec<u8>> =
                (1..).zip(lengths).map(|(number, length)| vec![number; *length]).collect();
            let parts: Vec<IoSlice<'_>> = given.iter().map(|part| IoSlice::new(part)).collect();
            let short = Short::of(&parts);
            assert!(short.parts().iter().all(|part| part.len() <= SHORT_BYTES), "{lengths:?}");
            let (all, begun) =
                (given.concat(), short.parts().iter().flat_map(|part| part.to_vec()).collect::<Vec<_>>());
            assert!(all.starts_with(&begun), "{lengths:?}");
            assert!(begun.len() == all.len() || short.count == MOST_PARTS, "{lengths:?}");
        }
    }
}
