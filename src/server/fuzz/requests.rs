//! Whether hyper reads the same requests as the guard before it.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::header::TRANSFER_ENCODING;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use prometheus::IntGauge;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::super::drain::Occupancy;
use super::super::gate::{Gate, Permit};
use super::super::guard::{Guard, Part};
use super::super::socket::Socket;
use super::super::transport::Transport;
use super::super::{Addresses, Settings, Timeouts, http1};
use super::MAX_HEADER_BYTES;

/// Has hyper read what the guard lets through, in pieces as the first bytes say.
///
/// # Panics
/// Where hyper reads a request that the guard has seen to begin or end elsewhere, one with another content,
/// or one behind something that is broken.
pub fn requests(text: &[u8]) {
    let (sizes, bytes) = text.split_at(text.len().min(4));
    let sizes: Vec<usize> = sizes.iter().map(|size| usize::from(*size) + 1).collect();
    let (ends, whole_heads) = followed(bytes);
    let taken = taken(bytes, &sizes);
    assert!(taken.len() <= whole_heads, "hyper takes {} heads, there are {whole_heads}", taken.len());
    let mut start = 0;
    for (index, request) in taken.iter().enumerate() {
        let Some(content) = &request.content else {
            assert_eq!(index + 1, taken.len(), "a request comes after a broken one");
            return;
        };
        assert!(index < ends.len(), "{request:?} has no end");
        let Some(end) = ends.get(index) else { return };
        let message = bytes.get(start..*end).unwrap_or_default();
        start = *end;
        let message = message.strip_prefix(b"\r\n").unwrap_or(message);
        assert!(message.starts_with(request.begins.as_bytes()), "{request:?} begins elsewhere");
        let head = message.windows(4).position(|end| end == b"\r\n\r\n").map_or(message.len(), |at| at + 4);
        let sent = message.get(head..).unwrap_or_default();
        if request.is_chunked {
            assert_eq!(joined(sent).as_ref(), Some(content), "{request:?}");
        } else {
            assert_eq!(sent, content, "{request:?}");
        }
    }
}

/// A request as hyper hands it on.
#[derive(Debug)]
struct Taken {
    /// Method and the beginning of the target.
    begins: String,
    is_chunked: bool,
    /// `None` where it does not come to its end.
    content: Option<Vec<u8>>,
}

/// Where requests end for the guard, and how many heads it has let through.
fn followed(bytes: &[u8]) -> (Vec<usize>, usize) {
    let mut guard = Guard::new(MAX_HEADER_BYTES);
    let (mut ends, mut was_between) = (Vec::new(), true);
    for (at, byte) in bytes.iter().enumerate() {
        if let Err(fault) = guard.inspect(&[*byte]) {
            let begun = usize::from(fault.part == Part::Content);
            return (ends.clone(), ends.len() + begun);
        }
        let is_between = guard.is_between();
        if is_between && !was_between {
            ends.push(at + 1);
        }
        was_between = is_between;
    }
    let begun = usize::from(!guard.is_in_head());
    (ends.clone(), ends.len() + begun)
}

/// What chunks hold, read without a thought for what may be wrong with them.
fn joined(mut chunks: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let end = chunks.windows(2).position(|end| end == b"\r\n")?;
        let line =
            std::str::from_utf8(chunks.get(..end)?.split(|byte| matches!(byte, b';' | b' ' | b'\t')).next()?);
        let size = usize::from_str_radix(line.ok()?, 16).ok()?;
        if size == 0 {
            return Some(content);
        }
        let data = chunks.get(end + 2..)?;
        content.extend_from_slice(data.get(..size)?);
        chunks = data.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

/// The requests that hyper hands on.
fn taken(bytes: &[u8], sizes: &[usize]) -> Vec<Taken> {
    let taken: Rc<RefCell<Vec<Taken>>> = Rc::default();
    let service = {
        let taken = Rc::clone(&taken);
        service_fn(move |request: Request<Incoming>| take(Rc::clone(&taken), request))
    };
    let given = Given { bytes: bytes.to_vec(), at: 0, sizes: sizes.to_vec(), turn: 0, tcp: None };
    let socket = Socket::guarded(given, permit(), Guard::new(MAX_HEADER_BYTES));
    let mut connection = pin!(http1::builder(&settings()).serve_connection(TokioIo::new(socket), service));
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(Arc::clone(&woken));
    while woken.0.swap(false, Ordering::Relaxed) {
        if connection.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            break;
        }
    }
    taken.take()
}

async fn take(
    taken: Rc<RefCell<Vec<Taken>>>,
    request: Request<Incoming>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    // A target in absolute form may have no path, and gets one.
    let origin = if request.uri().scheme().is_some() { "" } else { request.uri().path() };
    let begins = format!("{} {origin}", request.method());
    let is_chunked = request.headers().contains_key(TRANSFER_ENCODING);
    let index = taken.borrow().len();
    taken.borrow_mut().push(Taken { begins, is_chunked, content: None });
    let content = request.into_body().collect().await.ok().map(|content| content.to_bytes().to_vec());
    if let Some(request) = taken.borrow_mut().get_mut(index) {
        request.content = content;
    }
    Ok(Response::new(Empty::new()))
}

/// Notes that there is something to do.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Bytes that come in pieces; after the last one the client waits.
struct Given {
    bytes: Vec<u8>,
    at: usize,
    sizes: Vec<usize>,
    turn: usize,
    /// There is none.
    tcp: Option<TcpStream>,
}

impl AsyncRead for Given {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let size = this.sizes.get(this.turn % this.sizes.len().max(1)).copied().unwrap_or(usize::MAX);
        this.turn += 1;
        let rest = this.bytes.get(this.at..).unwrap_or_default();
        let piece = rest.get(..size.min(rest.len()).min(buffer.remaining())).unwrap_or_default();
        if piece.is_empty() {
            return Poll::Pending;
        }
        buffer.put_slice(piece);
        this.at += piece.len();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Given {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Transport for Given {
    fn tcp(&self) -> &TcpStream {
        self.tcp.as_ref().expect("nobody gives this connection up")
    }

    fn into_tcp(self) -> TcpStream {
        self.tcp.expect("nobody lingers on this connection")
    }
}

pub(in crate::server) fn permit() -> Permit {
    let gauge = IntGauge::new("connections", "test").expect("a gauge");
    let gate = Gate::new(1, 1, Addresses::none());
    Permit::take(&gate, &Arc::new(Occupancy::default()), &gauge).expect("room for one")
}

pub(in crate::server) fn settings() -> Settings {
    let long = Duration::from_secs(60);
    Settings {
        workers: 1,
        listeners: Vec::new(),
        timeouts: Timeouts {
            handshake: long,
            header: long,
            idle: long,
            write: long,
            lifetime: None,
            drain: long,
        },
        max_connections: 1,
        max_connections_per_address: 1,
        exempt: Addresses::none(),
        max_header_bytes: MAX_HEADER_BYTES,
        max_headers: 100,
        max_concurrent_streams: 1,
        extended_connect: false,
    }
}
