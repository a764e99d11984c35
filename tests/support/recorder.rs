//! An upstream that records the exact bytes of each request, and answers as a test tells it to.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use super::response::{all, first};
use super::wait;

/// How much of a body is kept; the rest is only counted.
const KEPT: usize = 64 * 1024;

/// What the recorder answers unless a test says otherwise.
pub const PLAIN_ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{\"ok\":true}";

/// One request as it arrived.
#[derive(Debug, Clone, Default)]
pub struct Recorded {
    /// Which connection it came on, counted from 0.
    pub connection: usize,
    pub method: String,
    pub target: String,
    /// Names as they were written.
    pub fields: Vec<(String, String)>,
    /// The exact bytes of the head.
    pub head: Vec<u8>,
    /// The body's first bytes, without its framing.
    pub body: Vec<u8>,
    pub body_bytes: u64,
    pub trailers: Vec<(String, String)>,
    /// Whether the body came to its proper end.
    pub whole: bool,
}

impl Recorded {
    pub fn field(&self, name: &str) -> Option<&str> {
        first(&self.fields, name)
    }

    pub fn all(&self, name: &str) -> Vec<&str> {
        all(&self.fields, name)
    }
}

/// An upstream on a port of its own.
#[derive(Debug)]
pub struct Recorder {
    address: SocketAddr,
    seen: Arc<Seen>,
    accepting: AbortHandle,
}

#[derive(Debug, Default)]
struct Seen {
    requests: Mutex<Vec<Recorded>>,
    connections: AtomicUsize,
    ended: AtomicUsize,
}

impl Recorder {
    /// Answers every request with [`PLAIN_ANSWER`] and keeps connections open.
    pub async fn start() -> Self {
        Self::answering(|_| PLAIN_ANSWER.to_vec()).await
    }

    /// Answers each request, once it is read whole, with the bytes that the function makes of it.
    pub async fn answering(answer: impl Fn(&Recorded) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let answer = Arc::new(answer);
        Self::scripted(move |mut call| {
            let answer = Arc::clone(&answer);
            async move {
                while let Some(request) = call.request().await {
                    if !call.send(answer(&request)).await {
                        break;
                    }
                }
            }
        })
        .await
    }

    /// Runs a script of the test's own on each connection; when it ends, the connection is closed.
    pub async fn scripted<F, Fut>(script: F) -> Self
    where
        F: Fn(Call) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("address");
        let seen = Arc::new(Seen::default());
        let accepted = Arc::clone(&seen);
        let accepting = tokio::spawn(async move {
            let mut calls = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let connection = accepted.connections.fetch_add(1, Ordering::SeqCst);
                let stream = BufReader::with_capacity(64 * 1024, stream);
                let call = Call { stream, connection, seen: Arc::clone(&accepted), index: None };
                let (script, ended) = (script(call), Arc::clone(&accepted));
                calls.spawn(async move {
                    script.await;
                    ended.ended.fetch_add(1, Ordering::SeqCst);
                });
                while calls.try_join_next().is_some() {}
            }
        });
        Self { address, seen, accepting: accepting.abort_handle() }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All requests whose heads have come, in order.
    pub fn requests(&self) -> Vec<Recorded> {
        lock(&self.seen.requests).clone()
    }

    /// How many requests have come.
    pub fn count(&self) -> usize {
        lock(&self.seen.requests).len()
    }

    /// How many connections have been opened.
    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// How many connections' scripts have come to their end.
    pub fn ended(&self) -> usize {
        self.seen.ended.load(Ordering::SeqCst)
    }

    /// The latest request.
    #[track_caller]
    pub fn last(&self) -> Recorded {
        self.requests().pop().expect("a request reached the upstream")
    }

    /// Forgets what has come so far.
    pub fn clear(&self) {
        lock(&self.seen.requests).clear();
    }

    /// Waits until so many requests have come.
    pub async fn wait_for(&self, count: usize) {
        wait::until(&format!("{count} requests at the upstream"), || self.count() >= count).await;
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// One connection to the recorder, in the hands of a script.
#[derive(Debug)]
pub struct Call {
    stream: BufReader<TcpStream>,
    pub connection: usize,
    seen: Arc<Seen>,
    index: Option<usize>,
}

impl Call {
    /// Reads a whole request; `None` where the connection ends before it is whole.
    pub async fn request(&mut self) -> Option<Recorded> {
        let head = self.head().await?;
        let request = self.body(head).await;
        request.whole.then_some(request)
    }

    /// Reads and records a request's head.
    pub async fn head(&mut self) -> Option<Recorded> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let before = head.len();
            self.stream.read_until(b'\n', &mut head).await.ok()?;
            if head.len() == before {
                return None;
            }
        }
        let request = parse(&head, self.connection);
        let mut requests = lock(&self.seen.requests);
        self.index = Some(requests.len());
        requests.push(request.clone());
        Some(request)
    }

    /// Reads and records the body of a request whose head was read.
    pub async fn body(&mut self, mut request: Recorded) -> Recorded {
        let _ = self.read_body(&mut request).await;
        let mut requests = lock(&self.seen.requests);
        if let Some(slot) = self.index.and_then(|index| requests.get_mut(index)) {
            *slot = request.clone();
        }
        drop(requests);
        request
    }

    /// Sends bytes as they are; `false` where the other end no longer takes them.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok() && self.stream.flush().await.is_ok()
    }

    /// Has the system hold little of what is sent: left to itself, it takes megabytes for each connection.
    pub fn send_unbuffered(&self) {
        let socket = socket2::SockRef::from(self.stream.get_ref());
        socket.set_send_buffer_size(64 * 1024).expect("option");
    }

    /// Waits until the other end closes or resets the connection.
    pub async fn closed(&mut self) {
        let mut buffer = [0; 4096];
        while self.stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
    }

    /// Reads whatever comes; `false` where the connection has ended.
    pub async fn some(&mut self) -> bool {
        let mut buffer = [0; 4096];
        self.stream.read(&mut buffer).await.is_ok_and(|read| read > 0)
    }

    /// Reads exactly so many bytes as they are; `None` where the connection ends first.
    pub async fn exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).await.ok()?;
        Some(bytes)
    }

    /// Says that nothing more will be sent.
    pub async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Ends the connection with a reset instead of a proper end.
    pub fn reset(self) {
        let _ = socket2::SockRef::from(self.stream.get_ref()).set_linger(Some(std::time::Duration::ZERO));
    }

    async fn read_body(&mut self, request: &mut Recorded) -> Option<()> {
        if request.field("transfer-encoding").is_some() {
            self.read_chunks(request).await?;
        } else {
            let length = request.field("content-length").map_or(0, |text| text.parse().expect("a length"));
            self.read_content(request, length).await?;
        }
        request.whole = true;
        Some(())
    }

    async fn read_chunks(&mut self, request: &mut Recorded) -> Option<()> {
        loop {
            let line = self.line().await?;
            let size =
                u64::from_str_radix(&line, 16).unwrap_or_else(|_| panic!("not a chunk size: {line:?}"));
            if size == 0 {
                break;
            }
            self.read_content(request, size).await?;
            self.line().await?;
        }
        loop {
            let line = self.line().await?;
            let Some((name, value)) = line.split_once(':') else { return Some(()) };
            request.trailers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    async fn read_content(&mut self, request: &mut Recorded, mut left: u64) -> Option<()> {
        while left > 0 {
            let ready = self.stream.fill_buf().await.ok()?;
            if ready.is_empty() {
                return None;
            }
            let take = usize::try_from(left).map_or(ready.len(), |left| left.min(ready.len()));
            let room = KEPT.saturating_sub(request.body.len()).min(take);
            request.body.extend_from_slice(&ready[..room]);
            request.body_bytes += take as u64;
            left -= take as u64;
            self.stream.consume(take);
        }
        Some(())
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).await.ok()?;
        let line = line.strip_suffix(b"\r\n")?;
        Some(String::from_utf8_lossy(line).into_owned())
    }
}

fn parse(head: &[u8], connection: usize) -> Recorded {
    let text = String::from_utf8_lossy(head).into_owned();
    let mut lines = text.trim_end_matches("\r\n").split("\r\n");
    let mut parts = lines.next().unwrap_or_default().splitn(3, ' ');
    let (method, target) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let field = |line: &str| {
        let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("not a field: {line:?}"));
        (name.to_owned(), value.trim().to_owned())
    };
    Recorded {
        connection,
        method: method.to_owned(),
        target: target.to_owned(),
        fields: lines.map(field).collect(),
        head: head.to_vec(),
        ..Recorded::default()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
