//! What the gateway costs when much is asked of it: memory of connections, large bodies, delay of streams. Slow, and
//! only with figures worth reading on a quiet machine, so run by `make soak`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::wire::tls_stream;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow; run by make soak"]
async fn soak_idle_connections_cost_little() {
    const COUNT: usize = 5_000;
    let upstream = Recorder::start().await;
    let gateway = Setup::of(upstream.address()).with("timeouts: { idle: 10m }").start().await;
    let ask = Request::get("/").bytes();
    for _ in 0..200 {
        Request::get("/").to(gateway.http).await;
        drop(Wire::tls(gateway.https, "localhost").await);
    }
    let mut plain = Vec::new();
    let mut before = gateway.process.resident_bytes();
    for _ in 0..COUNT {
        let mut wire = Wire::plain(gateway.http).await;
        wire.send(&ask).await;
        assert_eq!(wire.response().await.status, 200);
        plain.push(wire);
    }
    let after = settled(&gateway).await;
    println!("{COUNT} idle plain connections: {} bytes each", (after - before) / COUNT as u64);
    assert!((after - before) / COUNT as u64 <= 24 * 1024);
    before = after;
    let mut encrypted = Vec::new();
    for _ in 0..COUNT {
        let mut stream = tls_stream(gateway.https, "localhost", &[b"http/1.1"]).await;
        stream.write_all(&ask).await.expect("sent");
        stream.flush().await.expect("sent");
        assert!(wait::within("an answer", stream.read(&mut [0; 4096])).await.expect("an answer") > 0);
        encrypted.push(stream);
    }
    let after = settled(&gateway).await;
    println!("{COUNT} idle TLS connections: {} bytes each", (after - before) / COUNT as u64);
    assert!((after - before) / COUNT as u64 <= 48 * 1024);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let later = gateway.process.resident_bytes();
    println!("ten seconds later: {} KiB more", kib(later.saturating_sub(after)));
    assert!(later <= after + MIB, "it stays flat");
}

/// Memory in use once all connections doze.
async fn settled(gateway: &Gateway) -> u64 {
    tokio::time::sleep(Duration::from_secs(4)).await;
    gateway.process.resident_bytes()
}

/// A client whose system takes little that it has not read.
pub async fn narrow(to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("socket");
    socket.set_recv_buffer_size(64 * 1024).expect("option");
    wait::within("a connection", socket.connect(to)).await.expect("connected")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow; run by make soak"]
async fn soak_slow_readers_of_large_downloads_cost_little_and_are_served() {
    const COUNT: usize = 500;
    let upstream = large(GIB).await;
    let gateway = Setup::of(upstream.address()).with("timeouts: { write: 15s }").start().await;
    let ask = Request::get("/api/bins/export").bearer(&jwt::session()).bytes();
    let before = gateway.process.resident_bytes();
    let mut readers = Vec::new();
    for _ in 0..COUNT {
        let mut stream = narrow(gateway.http).await;
        stream.write_all(&ask).await.expect("sent");
        readers.push(stream);
    }
    let mut buffer = vec![0; 64 * 1024];
    let (mut first, mut last) = (0, 0);
    for second in 0..30 {
        for stream in &mut readers {
            assert!(wait::within("bytes", stream.read(&mut buffer)).await.expect("still open") > 0);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        last = gateway.process.resident_bytes().saturating_sub(before);
        if second == 9 {
            first = last;
        }
    }
    println!(
        "{COUNT} slow readers: {} KiB each after 10 s, {} KiB after 30 s",
        kib(first) / 500,
        kib(last) / 500
    );
    assert!(last <= first + 8 * MIB, "it stays flat");
    // They stop reading, and are let go.
    let ended = wait::until_answer("those who do not read to be let go", async || {
        let ended = gateway.metrics().await.sum("connections_ended_total", &[("reason", "unread")]);
        (ended >= COUNT as f64).then_some(ended)
    });
    println!("{} were cut when they stopped reading", ended.await);
}

/// Sends events at an even pace, each with its time of sending since `start`, in microseconds.
async fn clock(start: Instant, events: usize) -> Recorder {
    Recorder::scripted(move |mut call| async move {
        while call.request().await.is_some() {
            call.send(
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
            )
            .await;
            for _ in 0..events {
                tokio::time::sleep(Duration::from_millis(2)).await;
                call.send(format!("10\r\n{:016}\r\n", start.elapsed().as_micros())).await;
            }
            call.send("0\r\n\r\n").await;
        }
    })
    .await
}

/// Reads the events of one stream, and returns how long each was on its way, in order of length.
async fn delays(mut wire: Wire, start: Instant) -> Vec<Duration> {
    wire.send(Request::post("/api/ai/ask/stream", "{}").bearer(&jwt::session()).bytes()).await;
    wire.head().await.expect("a head");
    let mut delays = Vec::new();
    while let Some(event) = wire.chunk().await.filter(|event| !event.is_empty()) {
        let sent = String::from_utf8_lossy(&event).parse().expect("a time");
        delays.push(start.elapsed().saturating_sub(Duration::from_micros(sent)));
    }
    delays.sort();
    delays
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a quiet machine; run by make soak"]
async fn soak_events_are_hardly_delayed() {
    const EVENTS: usize = 500;
    const ROUNDS: usize = 6;
    let start = Instant::now();
    let upstream = clock(start, EVENTS).await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    let at = |delays: &[Duration], share: f64| delays[((delays.len() - 1) as f64 * share) as usize];
    let mut seen = [[Duration::MAX; 2]; 3];
    // What else runs on the machine only ever adds, so the best round of each is compared.
    for _ in 0..ROUNDS {
        let rounds = [
            delays(Wire::plain(upstream.address()).await, start).await,
            delays(Wire::plain(gateway.http).await, start).await,
            delays(Wire::tls(gateway.https, "localhost").await, start).await,
        ];
        for (seen, delays) in seen.iter_mut().zip(rounds) {
            assert_eq!(delays.len(), EVENTS);
            *seen = [seen[0].min(at(&delays, 0.5)), seen[1].min(at(&delays, 0.99))];
        }
    }
    for (name, [half, most]) in
        ["direct", "through the gateway", "through the gateway, TLS"].into_iter().zip(seen)
    {
        println!("{name}: p50 {half:?}, p99 {most:?}");
    }
    for [_, through] in &seen[1..] {
        assert!(through.saturating_sub(seen[0][1]) <= Duration::from_millis(2));
    }
}
