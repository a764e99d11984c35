//! What was not taken for a request: why, and how that is answered.
//!
//! hyper would answer by itself, without a body, and nobody would learn of it. Its answers are held back here, and the
//! handler gives one, which it notes as it notes any other.

use std::pin::Pin;
use std::task::Context;

use hyper::{Response, Version};

use super::connection::Door;
use super::socket::Socket;
use super::transport::Transport;
use crate::http::{Handler, Peer, Refusal};

/// Why bytes were not taken for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Unreadable {
    /// They can be read in more than one way, or in none.
    Malformed = 1,
    /// Their content has a transfer coding that is not understood here.
    UnknownCoding,
    /// The head is too long, or has too many fields.
    HeadTooLarge,
    /// The target is longer than anybody takes.
    TargetTooLong,
}

impl Unreadable {
    /// What it was stored as.
    pub(super) fn from_code(code: u8) -> Option<Self> {
        let all = [Self::Malformed, Self::UnknownCoding, Self::HeadTooLarge, Self::TargetTooLong];
        all.into_iter().find(|one| *one as u8 == code)
    }

    /// By the status line that hyper would answer with.
    pub(super) fn answered_with(head: &[u8]) -> Self {
        match head.get(b"HTTP/1.1 ".len()..).and_then(|rest| rest.get(..3)) {
            Some(b"431") => Self::HeadTooLarge,
            Some(b"414") => Self::TargetTooLong,
            Some(_) | None => Self::Malformed,
        }
    }

    fn refusal(self) -> Refusal {
        match self {
            Self::Malformed => Refusal::Ambiguous("The request is malformed"),
            Self::UnknownCoding => Refusal::UnknownCoding,
            Self::HeadTooLarge => Refusal::HeadTooLarge,
            Self::TargetTooLong => Refusal::TargetTooLong,
        }
    }
}

/// Answers, and ends the connection.
pub(super) async fn refuse<H: Handler, T: Transport>(
    door: &Door<H>,
    peer: &Peer,
    socket: Option<Socket<T>>,
    why: Unreadable,
) {
    match why {
        Unreadable::Malformed | Unreadable::UnknownCoding => door.ended.unreadable.inc(),
        Unreadable::HeadTooLarge | Unreadable::TargetTooLong => door.ended.large.inc(),
    }
    tracing::debug!(client = %peer.address, ?why, "not a request, connection closed");
    let Some(mut socket) = socket else { return };
    let answer = bytes(door.handler.refuse(why.refusal(), Version::HTTP_11, peer));
    if socket.say(&answer).await.is_ok() {
        socket.linger().await;
    }
}

/// A whole answer as it is sent.
fn bytes<B>(response: Response<B>) -> Vec<u8>
where
    B: hyper::body::Body<Data = bytes::Bytes>,
{
    let (head, body) = response.into_parts();
    let content = at_once(body);
    let mut out = format!(
        "HTTP/1.1 {} {}\r\ndate: {}\r\nconnection: close\r\ncontent-length: {}\r\n",
        head.status.as_str(),
        head.status.canonical_reason().unwrap_or_default(),
        httpdate::fmt_http_date(std::time::SystemTime::now()),
        content.len()
    )
    .into_bytes();
    for (name, value) in &head.headers {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&content);
    out
}

/// The content of a body that needs to wait for nobody.
fn at_once<B>(body: B) -> Vec<u8>
where
    B: hyper::body::Body<Data = bytes::Bytes>,
{
    let (mut body, mut content) = (std::pin::pin!(body), Vec::new());
    let mut cx = Context::from_waker(std::task::Waker::noop());
    while let std::task::Poll::Ready(Some(Ok(frame))) = Pin::as_mut(&mut body).poll_frame(&mut cx) {
        content.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
    }
    content
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Full;

    use super::*;

    #[test]
    fn why_is_told_by_hypers_status() {
        let of = |status: &str| Unreadable::answered_with(format!("HTTP/1.1 {status} x\r\n").as_bytes());
        assert_eq!(of("400"), Unreadable::Malformed);
        assert_eq!(of("431"), Unreadable::HeadTooLarge);
        assert_eq!(of("414"), Unreadable::TargetTooLong);
        assert_eq!(Unreadable::answered_with(b""), Unreadable::Malformed);
        for one in [Unreadable::Malformed, Unreadable::UnknownCoding, Unreadable::TargetTooLong] {
            assert_eq!(Unreadable::from_code(one as u8), Some(one));
        }
        assert_eq!(Unreadable::from_code(0), None);
    }

    #[test]
    fn an_answer_is_whole_and_says_that_the_connection_closes() {
        let mut response = Response::new(Full::new(Bytes::from_static(b"{}")));
        *response.status_mut() = hyper::StatusCode::BAD_REQUEST;
        let text = String::from_utf8(bytes(response)).expect("text");
        assert!(text.starts_with("HTTP/1.1 400 Bad Request\r\ndate: "), "{text}");
        assert!(text.ends_with("\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}"), "{text}");
    }
}
