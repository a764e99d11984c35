//! The sample inventory on a socket: the double of OpenBin that a gateway under test forwards to.
//!
//! Runs in the test's own process, on a thread of its own, and speaks HTTP/1.1 as Node does: idle connections are
//! closed after five seconds, a request's content is read to its end even where nobody wanted it, a head of more than
//! 16 KiB is 431. What arrived is told by [`OpenBin::sample`]. It can be made to misbehave while it runs.
//!
//! ```ignore
//! let openbin = OpenBin::start(Options::default());
//! let user = openbin.sample.add_user(&SampleUser::member("ann@example.com", "pw"));
//! let key = openbin.sample.create_key(&user, "laptop").expect("a key").key;
//! // … point a gateway at openbin.url() with openbin.sample.secret(), send requests, then:
//! assert_eq!(openbin.sample.requests().len(), 1);
//! ```
#![allow(dead_code)]

use std::cell::Cell;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{CONNECTION, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use openbin_gateway::sample::{Sample, SampleBody, SampleOptions};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};

/// How a double is started. What can be changed while it runs is in [`Faults`].
pub struct Options {
    /// The inventory: accounts, secret, `trust_proxy`, sizes, how answers stream.
    pub sample: SampleOptions,
    /// Where to listen; by default any free port of 127.0.0.1. Name one to come back where another was.
    pub address: SocketAddr,
    /// After how long an idle connection is closed; Node's default is five seconds.
    pub keep_alive: Duration,
    /// How it misbehaves from the start.
    pub faults: Faults,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sample: SampleOptions::default(),
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            keep_alive: Duration::from_secs(5),
            faults: Faults::default(),
        }
    }
}

/// How a double misbehaves; by default not at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// How long each answer's head is held back, after the request was processed.
    pub head_delay: Duration,
    /// After how many bytes of content each answer breaks off, together with its connection.
    pub cut_body_after: Option<u64>,
    /// How each connection ends after so many requests.
    pub ending: Option<(u64, Ending)>,
}

/// How a connection ends after its last answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The last answer says `Connection: close`.
    Announced,
    /// It is closed right after the last answer, which promised to keep it open.
    Silent,
    /// It is closed when the next request has been read and processed, without an answer.
    Unanswered,
}

/// A running double. Dropped, it closes its listener and all connections.
pub struct OpenBin {
    /// Where it listens.
    pub address: SocketAddr,
    /// The inventory: accounts, keys, and what arrived.
    pub sample: Sample,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    faults: Mutex<Faults>,
    accepted: AtomicU64,
    open: AtomicU64,
}

impl Shared {
    fn faults(&self) -> Faults {
        *self.faults.lock().expect("nobody panics with this lock")
    }
}

impl OpenBin {
    /// Starts a double; when this returns it accepts connections.
    pub fn start(options: Options) -> Self {
        let sample = Sample::new(options.sample);
        Self::serve(sample, options.address, options.keep_alive, options.faults)
    }

    /// Starts an inventory again that a double had before, at this address.
    pub fn start_with(sample: Sample, address: SocketAddr) -> Self {
        let Options { keep_alive, faults, .. } = Options::default();
        Self::serve(sample, address, keep_alive, faults)
    }

    fn serve(sample: Sample, address: SocketAddr, keep_alive: Duration, faults: Faults) -> Self {
        let listener = std::net::TcpListener::bind(address).expect("a free address");
        listener.set_nonblocking(true).expect("a listener that does not block");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared { faults: Mutex::new(faults), ..Shared::default() });
        let (stop, stopped) = oneshot::channel();
        let server = Server { sample: sample.clone(), shared: Arc::clone(&shared), keep_alive };
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            // Dropped with everything that it still runs: all connections close.
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, async move {
                let listener = TcpListener::from_std(listener).expect("a listener");
                tokio::select! {
                    () = Rc::new(server).accept(listener) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, sample, shared, stop: Some(stop), thread: Some(thread) }
    }

    /// What an instance's `upstream` must be.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes how it misbehaves, for requests that arrive from now on.
    pub fn misbehave(&self, faults: Faults) {
        *self.shared.faults.lock().expect("nobody panics with this lock") = faults;
    }

    /// How many connections were ever accepted.
    pub fn connections_accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Acquire)
    }

    /// How many connections are open now.
    pub fn connections_open(&self) -> u64 {
        self.shared.open.load(Ordering::Acquire)
    }

    /// Closes the listener and all connections, and waits until that is done.
    pub fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the double does not panic");
        }
    }
}

impl Drop for OpenBin {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the double has been printed already; a second one here would abort the test.
            let _ = thread.join();
        }
    }
}

struct Server {
    sample: Sample,
    shared: Arc<Shared>,
    keep_alive: Duration,
}

impl Server {
    async fn accept(self: Rc<Self>, listener: TcpListener) {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            self.shared.accepted.fetch_add(1, Ordering::AcqRel);
            self.shared.open.fetch_add(1, Ordering::AcqRel);
            let open = Open(Arc::clone(&self.shared));
            let server = Rc::clone(&self);
            tokio::task::spawn_local(async move {
                server.serve(stream).await;
                drop(open);
            });
        }
    }

    async fn serve(self: Rc<Self>, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let activity = Rc::new(Activity::default());
        let service = {
            let (server, activity) = (Rc::clone(&self), Rc::clone(&activity));
            service_fn(move |request| {
                let (server, busy) = (Rc::clone(&server), Busy::new(&activity));
                async move { server.answer(request, busy).await }
            })
        };
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).max_headers(2000).max_buf_size(16 * 1024);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        tokio::select! {
            _ = connection.as_mut() => return,
            () = activity.over(self.keep_alive) => {}
        }
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }

    async fn answer(&self, request: Request<Incoming>, busy: Busy) -> Result<Response<Sent>, io::Error> {
        const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
        let faults = self.shared.faults();
        let number = busy.0.requests.get();
        let asked_to_close = request
            .headers()
            .get(CONNECTION)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"));
        let answer = self.sample.answer(request.map(|incoming| ReadToEnd(Some(incoming)))).await;
        tokio::time::sleep(faults.head_delay).await;
        let mut close = asked_to_close;
        match faults.ending {
            Some((last, Ending::Unanswered)) if number > last => return Err(io::Error::other("unanswered")),
            Some((last, Ending::Announced)) if number >= last => close = true,
            Some((last, Ending::Silent)) if number >= last => busy.0.last.set(true),
            Some(_) | None => {}
        }
        let mut answer =
            answer.map(|body| Sent { body, left: faults.cut_body_after, flushed: false, _busy: busy });
        let headers = answer.headers_mut();
        if close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        } else {
            headers.insert(CONNECTION, HeaderValue::from_static("keep-alive"));
            let seconds = self.keep_alive.as_secs();
            headers
                .insert(KEEP_ALIVE, HeaderValue::from_str(&format!("timeout={seconds}")).expect("a value"));
        }
        Ok(answer)
    }
}

struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What a connection does, to know when it is idle. Before its first request it is not: Node waits longer then.
#[derive(Default)]
struct Activity {
    requests: Cell<u64>,
    running: Cell<u64>,
    last: Cell<bool>,
    changed: Notify,
}

impl Activity {
    /// Waits until the connection has been idle for so long, or its last answer is out.
    async fn over(&self, keep_alive: Duration) {
        loop {
            if self.running.get() > 0 || self.requests.get() == 0 {
                self.changed.notified().await;
            } else if self.last.get()
                || tokio::time::timeout(keep_alive, self.changed.notified()).await.is_err()
            {
                return;
            }
        }
    }
}

/// A request in work, until the last of its answer is on its way.
struct Busy(Rc<Activity>);

impl Busy {
    fn new(activity: &Rc<Activity>) -> Self {
        activity.requests.set(activity.requests.get() + 1);
        activity.running.set(activity.running.get() + 1);
        activity.changed.notify_one();
        Self(Rc::clone(activity))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.running.set(self.0.running.get() - 1);
        self.0.changed.notify_one();
    }
}

/// An answer's content, which may break off.
struct Sent {
    body: SampleBody,
    left: Option<u64>,
    /// Whether the last bytes before a cut have had their turn to be written.
    flushed: bool,
    _busy: Busy,
}

impl Body for Sent {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        if this.left == Some(0) {
            if !this.flushed {
                // hyper writes out what it has when there is nothing more for the moment.
                this.flushed = true;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            return Poll::Ready(Some(Err(io::Error::other("cut"))));
        }
        let frame = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
            None => return Poll::Ready(None),
            Some(Err(never)) => match never {},
            Some(Ok(frame)) => frame,
        };
        let (Some(left), Some(data)) = (&mut this.left, frame.data_ref()) else {
            return Poll::Ready(Some(Ok(frame)));
        };
        let sent = usize::try_from(*left).map_or(data.len(), |left| left.min(data.len()));
        *left -= sent as u64;
        Poll::Ready(Some(Ok(Frame::data(data.slice(..sent)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A request's content. What the sample leaves is read and thrown away, as Node does, so that the
/// connection stays usable.
struct ReadToEnd(Option<Incoming>);

impl Body for ReadToEnd {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.0 {
            Some(incoming) => Pin::new(incoming).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }
}

impl Drop for ReadToEnd {
    fn drop(&mut self) {
        let Some(mut incoming) = self.0.take().filter(|incoming| !incoming.is_end_stream()) else { return };
        tokio::task::spawn_local(async move { while let Some(Ok(_)) = incoming.frame().await {} });
    }
}
