//! What keeps one client from taking up what is there for all.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use openbin_gateway::server::{Addresses, Certificates, Settings, Timeouts};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::{
    GET, HUGE, PATIENCE, Server, certificate, client_config, exchange, get, http2, name, rest, serve,
    settings, text, tls, within,
};

const SHORT: Duration = Duration::from_millis(300);
const HUGE_GET: &[u8] = b"GET /huge HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn with_timeouts(change: impl FnOnce(&mut Timeouts)) -> Settings {
    let mut settings = settings(None);
    change(&mut settings.timeouts);
    settings
}

/// A server with TLS, and a client that speaks this protocol.
fn encrypted(protocol: &[u8], change: impl FnOnce(&mut Settings)) -> (Server, Arc<rustls::ClientConfig>) {
    let key = certificate();
    let mut settings = settings(Some(Certificates::new(key.clone())));
    change(&mut settings);
    (serve(settings), Arc::new(client_config(&key, &[protocol], rustls::ALL_VERSIONS)))
}

async fn connect_from(address: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("socket");
    socket.bind((address, 0).into()).expect("bound");
    within(socket.connect(to)).await.expect("connected")
}

/// A client whose own window is small.
async fn narrow(to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("socket");
    socket.set_recv_buffer_size(64 * 1024).expect("option");
    within(socket.connect(to)).await.expect("connected")
}

#[tokio::test]
async fn one_address_cannot_take_all_connections() {
    let server = serve(Settings { max_connections_per_address: 2, workers: 2, ..settings(None) });
    let (mut first, mut second) = (server.connect().await, server.connect().await);
    exchange(&mut first, GET).await;
    exchange(&mut second, GET).await;
    assert!(rest(&mut server.connect().await).await.is_empty());
    server.has_ended("address", 1).await;
    let mut neighbour = connect_from([127, 0, 0, 2], server.address).await;
    assert!(exchange(&mut neighbour, GET).await.contains("200 OK"));
    drop(first);
    server.has_connections(2).await;
    assert!(exchange(&mut server.connect().await, GET).await.contains("200 OK"));
}

#[tokio::test]
async fn an_exempt_address_may_take_as_many_as_there_are() {
    let exempt = Addresses::from(|address: std::net::IpAddr| address.is_loopback());
    let server = serve(Settings { max_connections_per_address: 1, exempt, ..settings(None) });
    let mut held = Vec::new();
    for _ in 0..5 {
        let mut stream = server.connect().await;
        assert!(exchange(&mut stream, GET).await.contains("200 OK"));
        held.push(stream);
    }
}

#[tokio::test]
async fn a_handshake_that_comes_too_slowly_is_cut() {
    let (server, _) = encrypted(b"http/1.1", |settings| settings.timeouts.handshake = SHORT);
    let mut silent = server.connect().await;
    let mut slow = server.connect().await;
    let drip = async {
        // The head of a record of 512 bytes, then its content.
        for byte in [22, 3, 1, 2, 0].into_iter().chain(std::iter::repeat_n(1, 512)) {
            if slow.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(drip).await;
    assert!(rest(&mut silent).await.is_empty());
    server.has_ended("handshake", 2).await;
    server.has_connections(0).await;
}

#[tokio::test]
async fn a_head_that_comes_too_slowly_is_cut_over_tls_too() {
    let (server, client) = encrypted(b"http/1.1", |settings| settings.timeouts.header = SHORT);
    let mut stream = tls(&server, &client).await.expect("TLS");
    exchange(&mut stream, GET).await;
    let drip = async {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: ").await.expect("sent");
        while stream.write_all(b"y").await.is_ok() && stream.flush().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(drip).await;
    server.has_ended("head", 1).await;
    server.has_connections(0).await;
}

#[tokio::test]
async fn a_head_that_comes_too_slowly_over_http2_does_not_outlast_an_idle_connection() {
    let (server, client) = encrypted(b"h2", |settings| settings.timeouts.idle = SHORT);
    let mut stream = tls(&server, &client).await.expect("TLS");
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("sent");
    // Empty SETTINGS, then HEADERS of stream 1 that say that more of them follows: one byte of 100.
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.expect("sent");
    stream.write_all(&[0, 0, 100, 1, 1, 0, 0, 0, 1]).await.expect("sent");
    let drip = async {
        while stream.write_all(&[0]).await.is_ok() && stream.flush().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::join!(
        async {
            let _ = tokio::time::timeout(PATIENCE, drip).await;
        },
        server.has_connections(0)
    );
}

/// Asks for more than fits between two sockets, and reads nothing.
async fn asks_and_does_not_read<S: AsyncRead + AsyncWrite + Unpin>(server: &Server, stream: &mut S) {
    let start = Instant::now();
    stream.write_all(HUGE_GET).await.expect("sent");
    stream.flush().await.expect("sent");
    server.has_ended("unread", 1).await;
    server.has_connections(0).await;
    assert!(start.elapsed() >= SHORT, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut() {
    let server = serve(with_timeouts(|timeouts| timeouts.write = SHORT));
    let mut stream = narrow(server.address).await;
    asks_and_does_not_read(&server, &mut stream).await;
    let (server, client) = encrypted(b"http/1.1", |settings| settings.timeouts.write = SHORT);
    let tcp = narrow(server.address).await;
    let connected = tokio_rustls::TlsConnector::from(client).connect(name(), tcp).await;
    asks_and_does_not_read(&server, &mut connected.expect("TLS")).await;
}

#[tokio::test]
async fn a_client_that_reads_slowly_but_steadily_gets_everything() {
    let limit = Duration::from_millis(1_500);
    let (server, client) = encrypted(b"http/1.1", |settings| settings.timeouts.write = limit);
    let plain = serve(with_timeouts(|timeouts| timeouts.write = limit));
    let tcp = narrow(server.address).await;
    let mut over_tls = tokio_rustls::TlsConnector::from(client).connect(name(), tcp).await.expect("TLS");
    let mut over_tcp = narrow(plain.address).await;
    tokio::join!(reads_slowly(&mut over_tls, limit), reads_slowly(&mut over_tcp, limit));
}

async fn reads_slowly<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, limit: Duration) {
    stream.write_all(HUGE_GET).await.expect("sent");
    stream.flush().await.expect("sent");
    let (start, mut read) = (Instant::now(), 0);
    let mut buffer = vec![0; 16 * 1024];
    // Time itself is the subject: some 160 kB a second, for several times what silence would be allowed.
    while start.elapsed() < limit * 4 {
        read += within(stream.read(&mut buffer)).await.expect("still open");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut buffer = vec![0; 256 * 1024];
    while read < HUGE {
        let more = within(stream.read(&mut buffer)).await.expect("still open");
        assert!(more > 0, "ended after {read} bytes");
        read += more;
    }
}

#[tokio::test]
async fn silence_of_the_handler_is_not_the_clients() {
    let server = serve(with_timeouts(|timeouts| timeouts.write = SHORT));
    let mut stream = server.connect().await;
    stream.write_all(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
    within(server.turnstile.entered.acquire()).await.expect("entered").forget();
    tokio::time::sleep(SHORT * 3).await;
    server.turnstile.released.add_permits(1);
    assert!(crate::support::response(&mut stream).await.ends_with("waited"));
}

#[tokio::test]
async fn a_connection_is_served_until_it_is_old_and_then_closed() {
    let server = serve(with_timeouts(|timeouts| timeouts.lifetime = Some(SHORT)));
    let mut stream = server.connect().await;
    let start = Instant::now();
    while start.elapsed() < SHORT / 2 {
        let answer = exchange(&mut stream, GET).await;
        assert!(answer.contains("200 OK") && !answer.contains("connection: close"), "{answer}");
    }
    assert!(rest(&mut stream).await.is_empty());
    assert!(start.elapsed() < PATIENCE, "the idle timeout is longer");
    server.has_ended("age", 1).await;
}

#[tokio::test]
async fn an_answer_outlives_the_age_of_its_connection_and_says_that_it_closes() {
    let server = serve(with_timeouts(|timeouts| timeouts.lifetime = Some(SHORT)));
    let mut stream = server.connect().await;
    stream.write_all(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
    within(server.turnstile.entered.acquire()).await.expect("entered").forget();
    server.has_ended("age", 1).await;
    server.turnstile.released.add_permits(1);
    let answer = crate::support::response(&mut stream).await;
    assert!(answer.contains("connection: close") && answer.ends_with("waited"), "{answer}");
    assert!(rest(&mut stream).await.is_empty());
}

#[tokio::test]
async fn an_old_http2_connection_finishes_its_streams_and_takes_no_more() {
    let (server, client) = encrypted(b"h2", |settings| settings.timeouts.lifetime = Some(SHORT));
    let (mut sender, connection) = http2(tls(&server, &client).await.expect("TLS")).await;
    let answer = tokio::spawn(sender.send_request(get("/wait")));
    within(server.turnstile.entered.acquire()).await.expect("entered").forget();
    server.has_ended("age", 1).await;
    within(async { while sender.send_request(get("/")).await.is_ok() {} }).await;
    server.turnstile.released.add_permits(1);
    assert_eq!(text(within(answer).await.expect("task").expect("answer")).await, "waited");
    within(connection).await.expect("ended").expect("in order");
    server.has_connections(0).await;
}
