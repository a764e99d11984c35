//! An instance whose answers do not end, and clients that have such exchanges under way.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::client::{Via, collect};
use super::recorder::{Call, Recorder};
use super::response::Response;
use super::wire::{Wire, tls_stream};
use super::{Gateway, wait};

/// What is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An event stream, of which every event is read as it comes.
    Events,
    /// A download that nobody reads.
    Download,
    /// A request that has no answer yet.
    Thinking,
    /// An upload that comes to a halt.
    Upload,
}

pub const EVERY_KIND: [Kind; 4] = [Kind::Events, Kind::Download, Kind::Thinking, Kind::Upload];

const EVENTS: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
const EVENT: &[u8] = b"9\r\ndata: 0\n\n\r\n";
const DOWNLOAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n";

/// The instance.
#[derive(Debug)]
pub struct Long {
    pub recorder: Recorder,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    ticks: watch::Sender<u64>,
    aborted: Mutex<HashMap<String, usize>>,
    downloaded: AtomicU64,
    keys: AtomicUsize,
}

impl Long {
    pub async fn start() -> Self {
        let state = Arc::new(State {
            ticks: watch::Sender::new(0),
            aborted: Mutex::default(),
            downloaded: AtomicU64::new(0),
            keys: AtomicUsize::new(0),
        });
        let own = Arc::clone(&state);
        let recorder = Recorder::scripted(move |call| Arc::clone(&own).serve(call)).await;
        Self { recorder, state }
    }

    pub fn address(&self) -> SocketAddr {
        self.recorder.address()
    }

    /// Sends one more event on every event stream.
    pub fn tick(&self) {
        self.state.ticks.send_modify(|count| *count += 1);
    }

    /// Waits until the other end has broken off the exchange with this target.
    pub async fn aborted(&self, target: &str) {
        let what = format!("the instance to see {target} end");
        wait::until(&what, || self.is_aborted(target)).await;
    }

    pub fn is_aborted(&self, target: &str) -> bool {
        lock(&self.state.aborted).contains_key(target)
    }

    /// Waits until no download moves any more, because their clients do not read.
    pub async fn stalled(&self) {
        let (mut last, mut same) = (0, 0);
        wait::until("the downloads to come to a halt", || {
            let now = self.state.downloaded.load(Ordering::SeqCst);
            same = if now == last { same + 1 } else { 0 };
            last = now;
            now > 0 && same >= 40
        })
        .await;
    }
}

impl State {
    async fn serve(self: Arc<Self>, mut call: Call) {
        while let Some(head) = call.head().await {
            let target = head.target.clone();
            match target.split('?').next().unwrap_or_default() {
                "/api/events" => self.stream(&mut call).await,
                "/api/large" => {
                    call.send(DOWNLOAD).await;
                    while call.send([b'x'; 16 * 1024]).await {
                        self.downloaded.fetch_add(16 * 1024, Ordering::SeqCst);
                    }
                }
                "/api/think" => call.closed().await,
                "/api/upload" => assert!(!call.body(head).await.whole),
                path => {
                    let (method, path) = (head.method.clone(), path.to_owned());
                    if !call.body(head).await.whole {
                        *lock(&self.aborted).entry(target).or_default() += 1;
                        return;
                    }
                    let (status, body) = self.answer(&method, &path);
                    let length = body.len();
                    let kind = "Content-Type: application/json; charset=utf-8";
                    call.send(format!(
                        "HTTP/1.1 {status} X\r\n{kind}\r\nContent-Length: {length}\r\n\r\n{body}"
                    ))
                    .await;
                    continue;
                }
            }
            *lock(&self.aborted).entry(target).or_default() += 1;
            return;
        }
    }

    async fn stream(&self, call: &mut Call) {
        let mut ticks = self.ticks.subscribe();
        call.send(EVENTS).await;
        call.send(EVENT).await;
        loop {
            tokio::select! {
                ticked = ticks.changed() => ticked.expect("the instance runs"),
                () = call.closed() => return,
            }
            call.send(EVENT).await;
        }
    }

    fn answer(&self, method: &str, path: &str) -> (u16, String) {
        let (status, body) = match (method, path) {
            ("POST", "/api/api-keys") => {
                let number = self.keys.fetch_add(1, Ordering::SeqCst);
                let id = format!("00000000-0000-4000-8000-{number:012x}");
                let key = format!("sk_openbin_{number:07x}{}", "d".repeat(57));
                (201, json!({ "id": id, "key": key, "keyPrefix": &key[..18], "name": "n" }))
            }
            ("DELETE", _) => (200, json!({ "message": "API key revoked" })),
            _ => (200, json!({ "ok": true })),
        };
        (status, body.to_string())
    }
}

/// An HTTP/2 connection whose requests can come to a halt.
#[derive(Debug, Clone)]
pub struct Streams(http2::SendRequest<Part>);

impl Streams {
    pub async fn connect(gateway: &Gateway) -> Self {
        let stream = tls_stream(gateway.https, "localhost", &[b"h2"]).await;
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = wait::within("an HTTP/2 handshake", handshake).await.expect("HTTP/2");
        tokio::spawn(connection);
        Self(sender)
    }
}

/// Content that begins, and goes on only where it is said to have an end.
#[derive(Debug)]
pub struct Part {
    first: Option<Bytes>,
    ends: bool,
}

impl Body for Part {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(Ok(Frame::data(first)))),
            None if self.ends => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ends && self.first.is_none()
    }
}

/// One exchange under way, as its client sees it.
#[derive(Debug)]
pub struct UnderWay {
    pub kind: Kind,
    pub via: Via,
    pub target: String,
    side: Side,
}

enum Side {
    Wire(Wire),
    Answered(Incoming),
    Unanswered(JoinHandle<hyper::Result<hyper::Response<Incoming>>>),
}

impl std::fmt::Debug for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Side")
    }
}

impl UnderWay {
    /// Begins an exchange, and waits until it is as far as it comes. The name makes its target unlike others.
    pub async fn begin(
        (gateway, long, streams): (&Gateway, &Long, &Streams),
        (kind, via): (Kind, Via),
        name: &str,
        bearer: &str,
    ) -> Self {
        let (method, path) = match kind {
            Kind::Events => ("GET", "/api/events"),
            Kind::Download => ("GET", "/api/large"),
            Kind::Thinking => ("GET", "/api/think"),
            Kind::Upload => ("POST", "/api/upload"),
        };
        Self::begin_at(
            (gateway, long, streams),
            (kind, via),
            (method, &format!("{path}?{name}-{via:?}")),
            bearer,
        )
        .await
    }

    /// The same with another target.
    pub async fn begin_at(
        (gateway, long, streams): (&Gateway, &Long, &Streams),
        (kind, via): (Kind, Via),
        (method, target): (&str, &str),
        bearer: &str,
    ) -> Self {
        let side = match via {
            Via::H2 => begin_h2(streams, kind, method, target, bearer).await,
            Via::Plain => begin_h1(Wire::plain(gateway.http).await, kind, method, target, bearer).await,
            Via::Tls => {
                begin_h1(Wire::tls(gateway.https, "localhost").await, kind, method, target, bearer).await
            }
        };
        let arrived = || long.recorder.requests().iter().any(|request| request.target == target);
        wait::until(&format!("{target} to arrive"), arrived).await;
        Self { kind, via, target: target.to_owned(), side }
    }

    /// One more event has come.
    pub async fn event(&mut self) {
        match &mut self.side {
            Side::Wire(wire) => assert!(wire.chunk().await.is_some_and(|chunk| !chunk.is_empty())),
            Side::Answered(body) => {
                let frame = wait::within("an event", body.frame()).await.expect("a frame");
                assert!(frame.expect("no error").is_data());
            }
            Side::Unanswered(_) => panic!("there are no events"),
        }
    }

    /// How it ends: the answer that was begun only now, or `None` where one that had begun broke off. One that
    /// seems whole is a failure.
    pub async fn ends(self) -> Option<Response> {
        let what = format!("{:?} over {:?}", self.kind, self.via);
        match self.side {
            Side::Wire(mut wire) => match self.kind {
                Kind::Events => {
                    while let Some(chunk) = wire.chunk().await {
                        assert!(!chunk.is_empty(), "{what}: a clean end");
                    }
                    None
                }
                Kind::Download => {
                    assert!(wire.skip(1_000_000_000_000).await.is_none(), "{what}: a clean end");
                    None
                }
                Kind::Thinking | Kind::Upload => Some(wire.response().await),
            },
            Side::Answered(mut body) => {
                while let Some(frame) = wait::within(&what, body.frame()).await {
                    if frame.is_err() {
                        return None;
                    }
                }
                panic!("{what}: a clean end")
            }
            Side::Unanswered(task) => {
                let answer = wait::within(&what, task).await.expect("no panic").expect("an answer");
                Some(collect(answer).await)
            }
        }
    }
}

async fn begin_h1(mut wire: Wire, kind: Kind, method: &str, target: &str, bearer: &str) -> Side {
    let content = if kind == Kind::Upload { "Content-Length: 1000000\r\n\r\n{\"part\":" } else { "\r\n" };
    wire.send(format!(
        "{method} {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {bearer}\r\n{content}"
    ))
    .await;
    match kind {
        Kind::Events => {
            assert_eq!(wire.head().await.expect("a head").status, 200);
            assert!(wire.chunk().await.is_some());
        }
        Kind::Download => assert_eq!(wire.head().await.expect("a head").status, 200),
        Kind::Thinking | Kind::Upload => {}
    }
    Side::Wire(wire)
}

async fn begin_h2(streams: &Streams, kind: Kind, method: &str, target: &str, bearer: &str) -> Side {
    let first = (kind == Kind::Upload).then_some(Bytes::from_static(b"{\"part\":"));
    let request = hyper::Request::builder()
        .method(method)
        .uri(format!("https://localhost{target}"))
        .header("Authorization", format!("Bearer {bearer}"))
        .body(Part { first, ends: kind != Kind::Upload })
        .expect("a request");
    let mut sender = streams.0.clone();
    let answer = tokio::spawn(async move { sender.send_request(request).await });
    match kind {
        Kind::Thinking | Kind::Upload => Side::Unanswered(answer),
        Kind::Events | Kind::Download => {
            let answer = wait::within("a head", answer).await.expect("no panic").expect("an answer");
            assert_eq!(answer.status(), 200);
            let mut body = answer.into_body();
            if kind == Kind::Events {
                assert!(wait::within("an event", body.frame()).await.is_some());
            }
            Side::Answered(body)
        }
    }
}

/// So long a cut may take on a machine that does many other things; alone it takes a millisecond.
pub const SOON: Duration = Duration::from_secs(2);

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
