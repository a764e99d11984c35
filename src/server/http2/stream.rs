//! One stream of HTTP/2, from its request to the end of its answer, unless its line is cut.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http_body::Body;
use hyper::Response;
use hyper::header::{CONTENT_LENGTH, DATE, HeaderValue};
use tokio::time::{Instant, Sleep, sleep};

use super::WayBack;
use crate::http::{Abort, Interim, Line};

/// Where a stream's answer goes.
pub(super) struct Reply {
    pub(super) respond: SendResponse<Bytes>,
    pub(super) line: Line,
    /// Of a stream on which its client would go on in another protocol.
    pub(super) tunnel: Option<WayBack>,
}

/// Answers a stream. Dropped before its end it is reset (RFC 9113 §5.4.2), and what it had to send thrown away.
pub(super) async fn serve<A, B>(answer: A, mut reply: Reply, patience: Duration)
where
    A: Future<Output = Result<Response<B>, Abort>> + Unpin,
    B: Body<Data = Bytes>,
{
    let line = reply.line.clone();
    let mut reader = Reader { silence: None, patience };
    let end = {
        let mut speaking = pin!(reply.speak(answer));
        poll_fn(|cx| {
            if line.is_cut(cx) {
                return Poll::Ready(End::GivenUp);
            }
            match speaking.as_mut().poll(cx) {
                Poll::Pending if reader.is_gone(&line, cx) => Poll::Ready(End::GivenUp),
                Poll::Pending => Poll::Pending,
                Poll::Ready(Ok(())) => Poll::Ready(End::Answered),
                Poll::Ready(Err(reason)) => Poll::Ready(End::Broken(reason)),
            }
        })
        .await
    };
    match end {
        End::GivenUp => {}
        End::Broken(reason) => {
            tracing::debug!(%reason, "stream broken off");
            reply.respond.send_reset(reason);
        }
        End::Answered if line.has_upload() => Box::pin(linger(&line)).await,
        End::Answered => {}
    }
}

/// How a stream has come to its end.
enum End {
    Answered,
    GivenUp,
    Broken(Reason),
}

impl Reply {
    /// Says all of the answer.
    ///
    /// # Errors
    /// Why the stream is reset, or was.
    async fn speak<A, B>(&mut self, mut answer: A) -> Result<(), Reason>
    where
        A: Future<Output = Result<Response<B>, Abort>> + Unpin,
        B: Body<Data = Bytes>,
    {
        let answered = poll_fn(|cx| {
            let answered = Pin::new(&mut answer).poll(cx);
            self.say_before()?;
            match answered {
                Poll::Ready(answered) => Poll::Ready(answered.map_err(|_| Reason::INTERNAL_ERROR)),
                Poll::Pending => self.respond.poll_reset(cx).map(|reset| Err(reason(reset))),
            }
        })
        .await?;
        let (head, body) = answered.into_parts();
        let mut head = Response::from_parts(head, ());
        dated(&mut head);
        if head.status().is_success()
            && let Some(tunnel) = self.tunnel.take()
        {
            let to_client = self.send(head, false)?;
            // Where nobody wants it, it is reset.
            let _ = tunnel.send(to_client);
            return Ok(());
        }
        if body.is_end_stream() {
            return self.send(head, true).map(drop);
        }
        if let Some(length) = body.size_hint().exact() {
            head.headers_mut().entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
        }
        let stream = self.send(head, false)?;
        pass(body, stream).await
    }

    /// Says what is to be said before the answer (RFC 9113 §8.1).
    fn say_before(&mut self) -> Result<(), Reason> {
        for Interim { status, fields } in self.line.take_said() {
            let mut head = Response::new(());
            *head.status_mut() = status;
            *head.headers_mut() = fields;
            self.respond.send_informational(head).map_err(broken)?;
        }
        Ok(())
    }

    fn send(&mut self, head: Response<()>, is_all: bool) -> Result<SendStream<Bytes>, Reason> {
        self.respond.send_response(head, is_all).map_err(broken)
    }
}

/// Says when the answer was made, where it does not say so itself (RFC 9110 §6.6.1).
fn dated(head: &mut Response<()>) {
    if let hyper::header::Entry::Vacant(vacant) = head.headers_mut().entry(DATE)
        && let Some(date) = date_of(SystemTime::now())
    {
        vacant.insert(date);
    }
}

/// Made once a second.
fn date_of(time: SystemTime) -> Option<HeaderValue> {
    thread_local! {
        static LATEST: RefCell<(u64, Option<HeaderValue>)> = const { RefCell::new((0, None)) };
    }
    let second = time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    LATEST.with_borrow_mut(|(made, date)| {
        if *made != second {
            *made = second;
            *date = HeaderValue::try_from(httpdate::fmt_http_date(time)).ok();
        }
        date.clone()
    })
}

/// Passes content on as fast as the client takes it; of what comes, one part waits here.
async fn pass<B: Body<Data = Bytes>>(body: B, mut stream: SendStream<Bytes>) -> Result<(), Reason> {
    let mut body = pin!(body);
    loop {
        let frame = poll_fn(|cx| match body.as_mut().poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(Ok(frame)),
            Poll::Pending => stream.poll_reset(cx).map(|reset| Err(reason(reset))),
        })
        .await?;
        let Some(frame) = frame else {
            return stream.send_data(Bytes::new(), true).map_err(broken);
        };
        let frame = frame.map_err(|_| Reason::INTERNAL_ERROR)?;
        match frame.into_data() {
            Ok(data) => {
                let is_last = body.is_end_stream();
                if !data.is_empty() {
                    // However much there is: h2 asks for the rest itself, and of a window that is shared, nothing is
                    // set apart meanwhile.
                    stream.reserve_capacity(1);
                    room(&mut stream).await?;
                }
                stream.send_data(data, is_last).map_err(broken)?;
                if is_last {
                    return Ok(());
                }
            }
            Err(frame) => {
                let Ok(trailers) = frame.into_trailers() else { continue };
                stream.reserve_capacity(0);
                return stream.send_trailers(trailers).map_err(broken);
            }
        }
    }
}

/// Until the client would take something.
async fn room(stream: &mut SendStream<Bytes>) -> Result<(), Reason> {
    while stream.capacity() == 0 {
        match poll_fn(|cx| stream.poll_capacity(cx)).await {
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(broken(error)),
            None => return Err(Reason::STREAM_CLOSED),
        }
    }
    Ok(())
}

fn reason(reset: Result<Reason, h2::Error>) -> Reason {
    reset.unwrap_or_else(broken)
}

fn broken(error: h2::Error) -> Reason {
    error.reason().unwrap_or(Reason::INTERNAL_ERROR)
}

/// Waits a moment with the reset of a stream that is answered although its client still sends (RFC 9113 §8.1). What
/// it sends is thrown away. Clients that find the reset together with the answer, curl 7.88 among them, tell of an
/// error of the stream instead of the answer.
async fn linger(line: &Line) {
    let mut over = pin!(sleep(LINGER));
    poll_fn(|cx| if line.is_cut(cx) { Poll::Ready(()) } else { over.as_mut().poll(cx) }).await;
}

/// Whether the client of a stream reads. Its window may be shut while its connection goes on.
struct Reader {
    /// Runs from when the stream was first seen to wait for its client.
    silence: Option<Pin<Box<Sleep>>>,
    patience: Duration,
}

impl Reader {
    /// Whether the client has taken nothing for too long, although something waits for it.
    fn is_gone(&mut self, line: &Line, cx: &mut Context<'_>) -> bool {
        if self.silence.is_none() && !line.is_due() {
            return false;
        }
        let silence = self.silence.get_or_insert_with(|| {
            let _ = line.has_moved();
            Box::pin(sleep(self.patience))
        });
        while silence.as_mut().poll(cx).is_ready() {
            if !line.is_due() {
                self.silence = None;
                return false;
            }
            if !line.has_moved() {
                tracing::debug!("the client does not read, stream reset");
                return true;
            }
            silence.as_mut().reset(Instant::now() + self.patience);
        }
        false
    }
}

/// For an answer to be read before its stream is reset.
const LINGER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_its_own_date() {
        let date = |millis| date_of(SystemTime::UNIX_EPOCH + Duration::from_millis(millis)).expect("a date");
        for _ in 0..2 {
            assert_eq!(date(784_111_777_000), "Sun, 06 Nov 1994 08:49:37 GMT");
            assert_eq!(date(784_111_777_999), "Sun, 06 Nov 1994 08:49:37 GMT");
            assert_eq!(date(784_111_778_000), "Sun, 06 Nov 1994 08:49:38 GMT");
        }
        assert!(date_of(SystemTime::UNIX_EPOCH - Duration::from_secs(1)).is_none());
    }
}
