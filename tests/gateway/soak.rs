//! What the gateway costs when much is asked of it: large bodies, slow readers, delay of streams. Slow, and
//! only with figures worth reading on a quiet machine, so run by `make soak`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::frames::Frames;
use crate::support::{Gateway, Recorder, Request, Setup, Wire, jwt, wait};

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;
const PART: usize = 256 * 1024;

/// An instance whose answers have this many bytes, and that takes whatever is sent to it.
async fn large(bytes: u64) -> Recorder {
    let part = Arc::new(vec![b'x'; PART]);
    Recorder::scripted(move |mut call| {
        let part = Arc::clone(&part);
        async move {
            // Many downloads would exhaust what all connections of the machine may hold together, and the system
            // would then throw away what readers are waiting for.
            call.send_unbuffered();
            while let Some(request) = call.request().await {
                let length = if request.method == "GET" { bytes } else { 0 };
                call.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")).await;
                for _ in 0..length / PART as u64 {
                    if !call.send(&part[..]).await {
                        return;
                    }
                }
            }
        }
    })
    .await
}

fn kib(bytes: u64) -> u64 {
    bytes / 1024
}

/// Runs to its end while the most memory that the gateway uses meanwhile is noted, and returns how much more it is.
async fn growth(gateway: &Gateway, work: impl Future<Output = ()>) -> u64 {
    let before = gateway.process.resident_bytes();
    let mut most = before;
    let mut work = std::pin::pin!(work);
    while tokio::time::timeout(Duration::from_millis(50), &mut work).await.is_err() {
        most = most.max(gateway.process.resident_bytes());
    }
    most - before
}

async fn down(gateway: &Gateway, bytes: u64) {
    let mut wire = Wire::tls(gateway.https, "localhost").await;
    wire.send(Request::get("/api/bins/export").bearer(&jwt::session()).bytes()).await;
    assert_eq!(wire.head().await.expect("a head").status, 200);
    wire.skip(bytes).await.expect("all of it");
}

async fn up(gateway: &Gateway, bytes: u64) {
    let mut wire = Wire::tls(gateway.https, "localhost").await;
    let token = jwt::session();
    wire.send(format!(
        "POST /api/bins/import HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Length: {bytes}\r\n\r\n"
    ))
    .await;
    let part = vec![b'x'; PART];
    for _ in 0..bytes / PART as u64 {
        wire.send(&part).await;
    }
    assert_eq!(wire.response().await.status, 200);
}

async fn large_bodies_take_little_memory(bytes: u64, most: u64) {
    let upstream = large(bytes).await;
    let gateway = Setup::of(upstream.address()).with("limits: { max_body: 2GiB }").start().await;
    // What everybody needs once is there.
    tokio::join!(down(&gateway, bytes.min(16 * MIB)), up(&gateway, 16 * MIB));
    let start = Instant::now();
    let downwards = growth(&gateway, down(&gateway, bytes)).await;
    let (down_in, start) = (start.elapsed(), Instant::now());
    let upwards = growth(&gateway, up(&gateway, bytes)).await;
    assert_eq!(upstream.last().body_bytes, bytes);
    println!(
        "{} MiB: down in {down_in:.1?}, {} KiB more in use; up in {:.1?}, {} KiB more in use",
        bytes / MIB,
        kib(downwards),
        start.elapsed(),
        kib(upwards)
    );
    assert!(downwards <= most && upwards <= most);
}

#[tokio::test]
async fn a_large_body_takes_little_memory_in_either_direction() {
    large_bodies_take_little_memory(128 * MIB, 16 * MIB).await;
}

#[tokio::test]
#[ignore = "slow; run by make soak"]
async fn soak_a_gibibyte_takes_little_memory_in_either_direction() {
    large_bodies_take_little_memory(GIB, 16 * MIB).await;
}

/// A client whose system takes little that it has not read.
pub async fn narrow(to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("socket");
    socket.set_recv_buffer_size(64 * 1024).expect("option");
    wait::within("a connection", socket.connect(to)).await.expect("connected")
}

/// Clients that read a little every second, all in step: every 14 s or so all of them make room at once, and of each
/// download two parts of 64 KiB are held for a moment instead of one.
struct Readers<'g> {
    all: Vec<TcpStream>,
    gateway: &'g Gateway,
    before: u64,
}

impl Readers<'_> {
    /// Reads on for longer than it takes until all make room again, and returns the most that the gateway holds meanwhile.
    async fn most(&mut self) -> u64 {
        let mut buffer = vec![0; 64 * 1024];
        let mut most = 0;
        for _ in 0..25 {
            for stream in &mut self.all {
                assert!(wait::within("bytes", stream.read(&mut buffer)).await.expect("still open") > 0);
            }
            for _ in 0..4 {
                most = most.max(self.gateway.process.memory().anonymous.saturating_sub(self.before));
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        }
        most
    }

    /// The same, once it becomes no more.
    async fn settled(&mut self) -> u64 {
        let mut most = self.most().await;
        for _ in 0..6 {
            let now = self.most().await;
            if now <= most + MIB {
                return most.max(now);
            }
            most = now;
        }
        panic!("it does not settle: {} KiB", kib(most));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow; run by make soak"]
async fn soak_slow_readers_of_large_downloads_cost_little_and_are_served() {
    const COUNT: usize = 500;
    let upstream = large(GIB).await;
    let gateway = Setup::of(upstream.address()).with("timeouts: { write: 15s }").start().await;
    let ask = Request::get("/api/bins/export").bearer(&jwt::session()).bytes();
    let mut readers =
        Readers { all: Vec::new(), gateway: &gateway, before: gateway.process.memory().anonymous };
    for _ in 0..COUNT {
        let mut stream = narrow(gateway.http).await;
        stream.write_all(&ask).await.expect("sent");
        readers.all.push(stream);
    }
    let most = readers.settled().await;
    let mut later = 0;
    for _ in 0..3 {
        later = later.max(readers.most().await);
    }
    let each = most.max(later) / COUNT as u64;
    println!(
        "{COUNT} slow readers: at most {} KiB each once settled, {} KiB later",
        kib(most) / 500,
        kib(later) / 500
    );
    assert!(later <= most + MIB, "it stays flat");
    assert!(each <= 200 * 1024, "{each} bytes each");
    // They stop reading, and are let go.
    let ended = wait::until_answer("those who do not read to be let go", async || {
        let ended = gateway.metrics().await.sum("connections_ended_total", &[("reason", "unread")]);
        (ended >= COUNT as f64).then_some(ended)
    });
    println!("{} were cut when they stopped reading", ended.await);
}

/// Answers with as many events as the query asks for, at an even pace, each with its time of sending since `start`, in
/// microseconds.
async fn clock(start: Instant) -> Recorder {
    const HEAD: &str =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    Recorder::scripted(move |mut call| async move {
        while let Some(request) = call.request().await {
            let events =
                request.target.rsplit('=').next().and_then(|count| count.parse().ok()).expect("a count");
            call.send(HEAD).await;
            for event in 0..events {
                if event > 0 {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                call.send(format!("10\r\n{:016}\r\n", start.elapsed().as_micros())).await;
            }
            call.send("0\r\n\r\n").await;
        }
    })
    .await
}

/// Who reads events.
enum Listener {
    Http1(Wire),
    Http2(Box<Frames>, u32),
}

impl Listener {
    async fn ask(&mut self, events: usize) {
        let target = format!("/api/ai/ask/stream?events={events}");
        match self {
            Self::Http1(wire) => {
                wire.send(Request::post(&target, "{}").bearer(&jwt::session()).bytes()).await;
                wire.head().await.expect("a head");
            }
            Self::Http2(frames, stream) => {
                let mut head = frames.head("POST", &target);
                head.push((b"authorization".to_vec(), format!("Bearer {}", jwt::session()).into_bytes()));
                *stream = frames.open(&head, false).await;
                frames.data(*stream, b"{}", true).await;
            }
        }
    }

    /// When the next event was sent; `None` behind the last.
    async fn event(&mut self) -> Option<Duration> {
        let event = match self {
            Self::Http1(wire) => wire.chunk().await.filter(|event| !event.is_empty()),
            Self::Http2(frames, stream) => frames.content(*stream).await,
        };
        let Some(event) = event else {
            if let Self::Http1(wire) = self {
                wire.line().await;
            }
            return None;
        };
        Some(Duration::from_micros(String::from_utf8_lossy(&event).parse().expect("a time")))
    }

    /// How long each event of one stream was on its way, in order of length.
    async fn delays(&mut self, start: Instant, events: usize) -> Vec<Duration> {
        self.ask(events).await;
        let mut delays = Vec::new();
        while let Some(sent) = self.event().await {
            delays.push(start.elapsed().saturating_sub(sent));
        }
        assert_eq!(delays.len(), events);
        delays.sort();
        delays
    }

    /// How long each of so many streams took from its request to its first event, in order of length.
    async fn first_events(&mut self, streams: usize) -> Vec<Duration> {
        let mut times = Vec::new();
        for _ in 0..streams {
            let asked = Instant::now();
            self.ask(1).await;
            self.event().await.expect("an event");
            times.push(asked.elapsed());
            assert!(self.event().await.is_none());
        }
        times.sort();
        times
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a quiet machine; run by make soak"]
async fn soak_events_are_hardly_delayed() {
    const EVENTS: usize = 250;
    const ROUNDS: usize = 10;
    let start = Instant::now();
    let upstream = clock(start).await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    let at = |times: &[Duration], share: f64| times[((times.len() - 1) as f64 * share) as usize];
    let mut listeners = [
        ("direct", Listener::Http1(Wire::plain(upstream.address()).await)),
        ("HTTP/1.1", Listener::Http1(Wire::plain(gateway.http).await)),
        ("HTTP/1.1, TLS", Listener::Http1(Wire::tls(gateway.https, "localhost").await)),
        ("HTTP/2, TLS", Listener::Http2(Box::new(Frames::connect(gateway.https).await), 0)),
    ];
    // Half and nearly all of the first events, and of the others. What else runs on the machine only ever adds, so the
    // best round of each is compared.
    let mut seen = [[Duration::MAX; 4]; 4];
    for _ in 0..ROUNDS {
        for ((_, listener), seen) in listeners.iter_mut().zip(&mut seen) {
            let (first, rest) = (listener.first_events(100).await, listener.delays(start, EVENTS).await);
            let round = [at(&first, 0.5), at(&first, 0.99), at(&rest, 0.5), at(&rest, 0.99)];
            for (best, now) in seen.iter_mut().zip(round) {
                *best = now.min(*best);
            }
        }
    }
    let [direct, through @ ..] = seen;
    for ((name, _), [half_first, most_first, half, most]) in listeners.iter().zip(seen) {
        println!(
            "{name}: first event p50 {half_first:?}, p99 {most_first:?}; on its way p50 {half:?}, p99 {most:?}"
        );
    }
    for times in through {
        for (through, direct) in times.into_iter().zip(direct) {
            assert!(through.saturating_sub(direct) <= Duration::from_millis(2));
        }
    }
}
