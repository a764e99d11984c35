//! A small message in several parts, written as one.
//!
//! A system call that takes its bytes from several places costs more than one that takes them from one: of few
//! bytes, joining them first is the lesser cost. Knows nothing of what they mean.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

/// A response's head with a short body.
const AT_MOST: usize = 2048;

/// Writes the parts, joined where they are short.
pub fn poll_write_parts<W: AsyncWrite>(
    writer: Pin<&mut W>,
    cx: &mut Context<'_>,
    parts: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    if let [only] = parts {
        return writer.poll_write(cx, only);
    }
    if parts.iter().map(|part| part.len()).sum::<usize>() > AT_MOST {
        return writer.poll_write_vectored(cx, parts);
    }
    let mut joined = [0; AT_MOST];
    let mut free = joined.as_mut_slice();
    for part in parts {
        // Writing to memory that is long enough cannot fail.
        io::Write::write_all(&mut free, part)?;
    }
    let left = free.len();
    writer.poll_write(cx, joined.get(..AT_MOST - left).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes at a time, and remembers in how many parts they came.
    struct Narrow {
        width: usize,
        taken: Vec<u8>,
        parts: Vec<usize>,
    }

    impl AsyncWrite for Narrow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.as_mut().poll_write_vectored(cx, &[IoSlice::new(bytes)])
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            parts: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
            let taken = all.len().min(self.width);
            self.taken.extend_from_slice(&all[..taken]);
            self.parts.push(parts.len());
            Poll::Ready(Ok(taken))
        }

        fn is_write_vectored(&self) -> bool {
            true
        }
    }

    /// Writes parts of these lengths to the end; what was taken must be what was given.
    fn written(lengths: &[usize], width: usize) -> Vec<usize> {
        let mut narrow = Narrow { width, taken: Vec::new(), parts: Vec::new() };
        let given: Vec<Vec<u8>> = (1..).zip(lengths).map(|(number, length)| vec![number; *length]).collect();
        let mut parts: Vec<IoSlice<'_>> = given.iter().map(|part| IoSlice::new(part)).collect();
        let mut rest = parts.as_mut_slice();
        while !rest.is_empty() {
            let mut cx = Context::from_waker(std::task::Waker::noop());
            let Poll::Ready(taken) = poll_write_parts(Pin::new(&mut narrow), &mut cx, rest) else {
                panic!("it is always ready")
            };
            IoSlice::advance_slices(&mut rest, taken.expect("taken"));
        }
        assert!(narrow.taken == given.concat(), "{lengths:?}, {width} at a time");
        narrow.parts
    }

    #[test]
    fn short_parts_go_together_and_long_ones_as_they_are() {
        assert_eq!(written(&[300, 1000], usize::MAX), [1]);
        assert_eq!(written(&[300, AT_MOST - 300], usize::MAX), [1]);
        assert_eq!(written(&[300, AT_MOST - 299], usize::MAX), [2]);
        assert_eq!(written(&[AT_MOST * 9], usize::MAX), [1]);
    }

    #[test]
    fn no_byte_is_lost_or_doubled_where_only_some_are_taken() {
        for width in [1, 7, 299, 300, 301, 1299] {
            written(&[300, 1000, 1], width);
            written(&[300, AT_MOST, 5], width);
        }
    }
}
