//! Interim responses on a connection that takes a few bytes at a time: each whole, before its own answer, and behind all
//! of the answer before.

use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::activity::{Exchange, Shared};
use super::fuzz::{permit, settings};
use super::guard::Guard;
use super::http1;
use super::socket::Socket;
use super::transport::Transport;
use crate::http::{Abort, Handler, Line, Lines, Peer, Received, Refusal};

const FOR: HeaderName = HeaderName::from_static("x-for");

/// Says 103 twice before each answer, and rests so often before, between and behind.
struct Hinting {
    rests: usize,
}

impl Handler for Hinting {
    type Body = Full<Bytes>;

    async fn handle(
        &self,
        request: &mut Option<Request<Received>>,
        _: &Peer,
        line: Line,
    ) -> Result<Response<Full<Bytes>>, Abort> {
        let request = request.take().ok_or(Abort)?;
        let path = request.uri().path().to_owned();
        let value = HeaderValue::from_str(&path).expect("a value");
        let fields = HeaderMap::from_iter([(FOR, value.clone())]);
        self.rest().await;
        line.say(StatusCode::EARLY_HINTS, &fields);
        self.rest().await;
        line.say(StatusCode::EARLY_HINTS, &fields);
        self.rest().await;
        let mut content = Bytes::new();
        if request.method() == Method::PUT {
            content = request.into_body().collect().await.map_err(|_| Abort)?.to_bytes();
        }
        let late = line.clone();
        tokio::task::spawn_local(async move {
            // Whoever holds a line too long tells nobody anything.
            for _ in 0..20 {
                tokio::task::yield_now().await;
                late.say(StatusCode::PROCESSING, &HeaderMap::new());
            }
        });
        let mut answer = Response::new(Full::new(content));
        answer.headers_mut().insert(FOR, value);
        Ok(answer)
    }

    fn refuse(&self, _: Refusal, _: Version, _: &Peer) -> Response<Full<Bytes>> {
        Response::default()
    }
}

impl Hinting {
    async fn rest(&self) {
        for _ in 0..self.rests {
            tokio::task::yield_now().await;
        }
    }
}

/// Gives all that was asked for at once, and takes so many bytes of the answers at a time; 0: takes none.
struct Narrow {
    asked: Bytes,
    width: usize,
    is_full: bool,
    taken: Taken,
    /// There is none.
    tcp: Option<TcpStream>,
}

impl AsyncRead for Narrow {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let length = self.asked.len().min(buffer.remaining());
        if length == 0 {
            return Poll::Pending;
        }
        buffer.put_slice(&self.asked.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Narrow {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.is_full = !self.is_full || self.width == 0;
        if self.is_full {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let length = bytes.len().min(self.width);
        self.taken.lock().expect("no panic").extend_from_slice(&bytes[..length]);
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Transport for Narrow {
    fn tcp(&self) -> &TcpStream {
        self.tcp.as_ref().expect("nobody gives this connection up")
    }

    fn into_tcp(self) -> TcpStream {
        self.tcp.expect("nobody lingers on this connection")
    }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

type Taken = Arc<std::sync::Mutex<Vec<u8>>>;

fn socket(asked: &str, width: usize) -> (Socket<Narrow>, Taken) {
    let (asked, taken) = (Bytes::copy_from_slice(asked.as_bytes()), Taken::default());
    let io = Narrow { asked, width, is_full: false, taken: Arc::clone(&taken), tcp: None };
    (Socket::guarded(io, permit(), Guard::new(1 << 20)), taken)
}

/// All that a client of these requests is told.
fn told(asked: &str, width: usize, rests: usize) -> String {
    let (socket, taken) = socket(asked, width);
    let nobody = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    let peer = Peer { address: nobody, local: nobody, tls: None };
    let shared =
        Shared::new((&Rc::new(Hinting { rests }), 100), peer, socket.traffic(), &Rc::<Lines>::default());
    let line = http1::line(&socket);
    let service = service_fn(move |request| {
        let request = request.map(Received::Http1);
        Exchange::begin(&shared, &request, http1::next(&line, request.version())).answer(request)
    });
    let mut connection = pin!(http1::builder(&settings()).serve_connection(TokioIo::new(socket), service));
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(Arc::clone(&woken));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async {
        let mut turns = 0;
        // Yielding lets the tasks run that hold their lines too long, and wakes the connection that rests.
        while woken.0.swap(false, Ordering::Relaxed) || turns < 50 {
            turns = if woken.0.load(Ordering::Relaxed) { 0 } else { turns + 1 };
            let _ = connection.as_mut().poll(&mut Context::from_waker(&waker));
            tokio::task::yield_now().await;
        }
    });
    String::from_utf8(taken.lock().expect("no panic").clone()).expect("text")
}

/// What heads there are, and for which request.
fn heads(mut told: &str) -> Vec<(u16, String)> {
    let mut heads = Vec::new();
    while !told.is_empty() {
        let (head, rest) = told.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no end: {told:?}"));
        let mut lines = head.split("\r\n");
        let line = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 "));
        let status = line.and_then(|line| line.get(..3)).and_then(|status| status.parse().ok());
        let fields: Vec<_> = lines.map(|line| line.split_once(": ").expect("a field")).collect();
        let field = |name| fields.iter().find(|field| field.0 == name).map(|field| field.1);
        heads.push((status.unwrap_or_else(|| panic!("{head:?}")), field("x-for").unwrap_or("").to_owned()));
        let length = field("content-length").map_or(0, |length| length.parse().expect("a length"));
        told = rest.get(length..).expect("all of the content");
    }
    heads
}

#[test]
fn each_is_whole_and_stands_before_its_own_answer_however_little_is_taken_at_a_time() {
    // Content that is not read (POST) has the next request read while its answer is still on its way.
    let asked = "GET /a HTTP/1.1\r\nhost: x\r\n\r\n\
         POST /b HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello\
         PUT /c HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello\
         POST /d HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n\
         HEAD /e HTTP/1.1\r\nhost: x\r\n\r\n\
         GET /f HTTP/1.0\r\nconnection: keep-alive\r\n\r\n\
         PUT /g HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\nhello\
         GET /h HTTP/1.1\r\nhost: x\r\n\r\n";
    for width in [1, 2, 7, 20, 31, 32, 33, 64, 100, 150, 1000, 100_000] {
        for rests in 0..4 {
            let mut heads = heads(&told(asked, width, rests).replace("HTTP/1.0", "HTTP/1.1"));
            let asked_for = heads.iter().position(|head| head.0 == 100).expect("a 100");
            heads.remove(asked_for);
            let mut expected = Vec::new();
            for name in ["/a", "/b", "/c", "/d", "/e", "/f", "/g", "/h"] {
                let statuses: &[u16] = if name == "/f" { &[200] } else { &[103, 103, 200] };
                expected.extend(statuses.iter().map(|status| (*status, name.to_owned())));
            }
            assert_eq!(heads, expected, "{width} at a time, {rests} rests");
            assert!((16..=18).contains(&asked_for), "{asked_for}");
        }
    }
}

#[test]
fn a_client_that_does_not_read_one_is_seen_not_to_read() {
    let (mut socket, _) = socket("", 0);
    let line = http1::line(&socket).for_next();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut socket).poll_flush(&mut cx).is_ready(), "there is nothing to say");
    line.say(StatusCode::EARLY_HINTS, &HeaderMap::new());
    assert!(Pin::new(&mut socket).poll_flush(&mut cx).is_pending());
    assert!(socket.traffic().stall().is_some() && socket.traffic().is_unsent());
    assert!(Pin::new(&mut socket).poll_write(&mut cx, b"HTTP/1.1 100").is_pending());
    assert!(!line.falls_silent());
}
