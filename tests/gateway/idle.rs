//! What a connection costs that rests between two requests. Slow, so run by `make soak`.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::frames::{Frames, StreamEnd};
use crate::support::process::Memory;
use crate::support::wire::tls_stream;
use crate::support::{Gateway, Recorder, Request, Setup, Via, wait};

const COUNT: usize = 5_000;
/// Clients that connect at the same time.
const AT_ONCE: usize = 50;
const MIB: u64 = 1 << 20;

/// A client that has had one answer. Nothing more is done with it, but it stays.
type Client = Box<dyn Send>;

async fn one(gateway: &Gateway, via: Via) -> Client {
    match via {
        Via::Plain => asked(TcpStream::connect(gateway.http).await.expect("a connection")).await,
        Via::Tls => asked(tls_stream(gateway.https, "localhost", &[b"http/1.1"]).await).await,
        Via::H2 => {
            let mut frames = Frames::connect(gateway.https).await;
            let stream = frames.open(&frames.head("GET", "/"), true).await;
            assert!(matches!(frames.end(stream).await, StreamEnd::Answered { status: 200, .. }));
            Box::new(frames)
        }
    }
}

async fn asked<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(mut stream: S) -> Client {
    stream.write_all(&Request::get("/").bytes()).await.expect("sent");
    stream.flush().await.expect("sent");
    assert!(wait::within("an answer", stream.read(&mut [0; 4096])).await.expect("an answer") > 0);
    Box::new(stream)
}

async fn connect(gateway: &Gateway, via: Via, count: usize) -> Vec<Client> {
    let mut clients = Vec::with_capacity(count);
    while clients.len() < count {
        clients.extend(join_all((0..AT_ONCE).map(|_| one(gateway, via))).await);
    }
    clients
}

/// Longer than a connection takes to doze (half a second), and the allocator to return what that frees (1 s).
const QUIET: Duration = Duration::from_secs(5);
/// The system looks every 10 s for what it could join to huge pages.
const LATER: Duration = Duration::from_secs(30);

/// Bytes that each resting connection takes, of the gateway's process as a whole.
async fn each(via: Via) -> u64 {
    let upstream = Recorder::start().await;
    let bounds = "timeouts: { idle: 10m }\nlimits: { max_connections: 20000 }";
    let gateway = Setup::of(upstream.address()).with(bounds).start().await;
    // What everybody needs once is there.
    drop(connect(&gateway, via, 500).await);
    let before = gateway.process.settled_memory(QUIET).await;
    let clients = connect(&gateway, via, COUNT).await;
    let after = gateway.process.settled_memory(QUIET).await;
    let more = |of: fn(&Memory) -> u64| of(&after).saturating_sub(of(&before)) / COUNT as u64;
    let (resident, proportional, anonymous) =
        (more(|of| of.resident), more(|of| of.proportional), more(|of| of.anonymous));
    tokio::time::sleep(LATER).await;
    let later = gateway.process.memory();
    let grown = later.anonymous.saturating_sub(after.anonymous);
    println!(
        "{COUNT} idle connections, {via:?}: {anonymous} bytes each (resident {resident}, Pss {proportional}); \
         {LATER:?} later {} KiB more, {} KiB in huge pages",
        grown / 1024,
        later.huge / 1024
    );
    assert!(grown <= MIB, "it stays flat");
    drop(clients);
    anonymous
}

#[tokio::test]
async fn the_system_does_not_fill_up_again_what_resting_connections_gave_back() {
    let upstream = Recorder::start().await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    assert_ne!(gateway.process.may_have_huge_pages(), Some(true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow; run by make soak"]
async fn soak_idle_connections_cost_little() {
    for (via, most) in [(Via::Plain, 8), (Via::Tls, 15), (Via::H2, 64)] {
        let cost = each(via).await;
        assert!(cost <= most * 1024, "{via:?}: {cost} bytes");
    }
}
