//! What must hold of an instance's answer, whatever it is; for fuzzers and for the seeds that they start from.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Collected, Empty};
use hyper::client::conn::http1;
use hyper::header::HeaderMap;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::framing;
use super::head::{Heads, is_interim};

/// An answer that was read to its end.
#[derive(Debug, PartialEq, Eq)]
struct Whole {
    status: u16,
    fields: HeaderMap,
    content: Vec<u8>,
    trailers: Option<HeaderMap>,
}

/// Reads bytes as an answer: however they are cut into reads they come to the same, and what is taken for an answer is
/// one to hyper's client, too, the same one. The first byte says in how large pieces they come, and whether only the
/// head was asked for.
///
/// # Panics
/// Where that does not hold.
pub fn answer(input: &[u8]) {
    let Some((how, text)) = input.split_first() else { return };
    let (size, head) = (usize::from(how >> 1) + 1, how & 1 == 1);
    let whole = read(text, usize::MAX, head).ok().flatten();
    assert_eq!(read(text, size, head).ok().flatten(), whole, "in pieces of {size}");
    if let Some(whole) = whole
        && whole.status != 101
    {
        assert_eq!(Some(whole), of_hyper(text, head), "{:?}", String::from_utf8_lossy(text));
    }
}

/// Reads an answer off a connection that is closed behind the last byte. `None`: it does not come to its end.
fn read(text: &[u8], size: usize, head: bool) -> Result<Option<Whole>, &'static str> {
    let (mut heads, mut read, mut fields) = (Heads::default(), BytesMut::new(), HeaderMap::new());
    let mut pieces = text.chunks(size);
    let response = loop {
        match heads.next(&mut read, &mut fields)? {
            Some((response, _)) if is_interim(response.status()) => {}
            Some((response, _)) => break response,
            None => match pieces.next() {
                Some(piece) => read.extend_from_slice(piece),
                None => return Ok(None),
            },
        }
    };
    let mut content = framing::content(&response, head)?;
    let (mut all, mut trailers) = (Vec::new(), None);
    while !content.is_over() {
        match content.next(&mut read)?.map(http_body::Frame::into_data) {
            Some(Ok(data)) => all.extend_from_slice(&data),
            Some(Err(frame)) => trailers = frame.into_trailers().ok(),
            None if content.is_over() => {}
            None => match pieces.next() {
                Some(piece) => read.extend_from_slice(piece),
                None if content.close() => {}
                None => return Ok(None),
            },
        }
    }
    let (head, ()) = response.into_parts();
    Ok(Some(Whole { status: head.status.as_u16(), fields: head.headers, content: all, trailers }))
}

/// Says its text once it is asked.
struct Instance<'t> {
    text: &'t [u8],
    is_asked: bool,
}

impl AsyncRead for Instance<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_asked { Pin::new(&mut self.text).poll_read(cx, buffer) } else { Poll::Pending }
    }
}

impl AsyncWrite for Instance<'_> {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.is_asked = true;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What hyper's client makes of it.
fn of_hyper(text: &[u8], head: bool) -> Option<Whole> {
    let instance = TokioIo::new(Instance { text, is_asked: false });
    let mut handshake = pin!(http1::handshake::<_, Empty<Bytes>>(instance));
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok((mut sender, mut connection))) = handshake.as_mut().poll(&mut cx) else {
        return None;
    };
    let mut request = Request::new(Empty::new());
    *request.method_mut() = if head { Method::HEAD } else { Method::GET };
    let mut exchange = pin!(async move {
        let (head, content) = sender.send_request(request).await.ok()?.into_parts();
        let content = content.collect().await.ok()?;
        Some(whole(&Response::from_parts(head, ()), content))
    });
    let mut is_over = false;
    // Each step moves a byte, or ends it.
    for _ in 0..text.len() + 100 {
        if let Poll::Ready(whole) = exchange.as_mut().poll(&mut cx) {
            return whole;
        }
        is_over = is_over || Pin::new(&mut connection).poll(&mut cx).is_ready();
    }
    None
}

fn whole(head: &Response<()>, content: Collected<Bytes>) -> Whole {
    let trailers = content.trailers().cloned();
    let (status, fields) = (head.status().as_u16(), head.headers().clone());
    Whole { status, fields, content: content.to_bytes().to_vec(), trailers }
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{Rng as _, RngExt as _, SeedableRng as _};

    use super::*;

    /// Of which answers are made that are nearly, or quite, well-formed.
    const PARTS: [&str; 40] = [
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.0 200 OK\r\n",
        "HTTP/1.1 103 Early Hints\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\n",
        "HTTP/1.1 204 \r\n",
        "HTTP/1.1 101 Switching Protocols\r\n",
        "HTTP/1.1 600 x\r\n",
        "Content-Length: 5\r\n",
        "Content-Length: 05\r\n",
        "Content-Length: 5, 5\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Connection: close\r\n",
        "a: b\r\n",
        "a:\tb \r\n",
        "a : b\r\n",
        " folded\r\n",
        "\u{e4}: b\r\n",
        "a: \u{e4}\r\n",
        "\r\n",
        "\r\n\r\n",
        "\n",
        "\r",
        "\0",
        "hello",
        "5\r\nhello\r\n",
        "5;a=b\r\nhello\r\n",
        "5 \r\nhello\r\n",
        "05\r\nhello\r\n",
        "5\r\nhello",
        "0\r\n",
        "0\r\n\r\n",
        "0;a\r\nX-Sum: 1\r\n\r\n",
        "00000000000000000\r\n",
        "ffffffffffffffff\r\n",
        ";",
    ];

    #[test]
    fn what_is_taken_for_an_answer_is_one_to_hyper_too() {
        let seed = rand::random();
        println!("seed {seed}");
        let mut random = SmallRng::seed_from_u64(seed);
        let mut taken = 0;
        for _ in 0..100_000 {
            let mut text = vec![u8::try_from(random.next_u32() % 256).unwrap_or_default()];
            // Half of them begin as an answer does.
            let first = if random.random() { random.random_range(0..11) } else { PARTS.len() };
            text.extend_from_slice(PARTS.get(first).copied().unwrap_or_default().as_bytes());
            for _ in 0..random.random_range(1..10) {
                text.extend_from_slice(PARTS[random.random_range(0..PARTS.len())].as_bytes());
            }
            answer(&text);
            taken += u32::from(matches!(read(&text[1..], usize::MAX, false), Ok(Some(_))));
        }
        assert!(taken > 1_000, "{taken}");
    }
}
