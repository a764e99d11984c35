//! The end: what is under way finishes, what is not is closed.

use std::time::{Duration, Instant};

use openbin_gateway::server::{Certificates, Drained};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::{
    GET, PATIENCE, certificate, client_config, exchange, get, http2, plain, response, rest, serve, settings,
    text, tls, within,
};

const WAIT: &[u8] = b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[tokio::test]
async fn requests_in_flight_finish_and_new_connections_are_refused() {
    let server = plain();
    let mut stream = server.connect().await;
    stream.write_all(WAIT).await.expect("sent");
    within(server.turnstile.entered.acquire()).await.expect("entered").forget();
    let drain = tokio::spawn(server.running.drain());
    within(async { while TcpStream::connect(server.address).await.is_ok() {} }).await;
    server.turnstile.released.add_permits(1);
    let answer = response(&mut stream).await;
    assert!(answer.contains("connection: close") && answer.ends_with("waited"), "{answer}");
    drop(stream);
    let drained = within(drain).await.expect("drained");
    assert_eq!(drained.cut, 0);
    assert!(drained.finished >= 1);
}

#[tokio::test]
async fn idle_connections_of_every_kind_end_at_once() {
    let key = certificate();
    let server = serve(settings(Some(Certificates::new(key.clone()))));
    let h1 = std::sync::Arc::new(client_config(&key, &[b"http/1.1"], rustls::ALL_VERSIONS));
    let h2 = std::sync::Arc::new(client_config(&key, &[b"h2"], rustls::ALL_VERSIONS));
    let _silent = server.connect().await;
    let mut fresh = tls(&server, &h1).await.expect("TLS");
    let mut used = tls(&server, &h1).await.expect("TLS");
    exchange(&mut used, GET).await;
    let (mut sender, connection) = http2(tls(&server, &h2).await.expect("TLS")).await;
    text(within(sender.send_request(get("/"))).await.expect("answer")).await;
    server.has_connections(4).await;
    let start = Instant::now();
    assert_eq!(within(server.running.drain()).await, Drained { finished: 4, cut: 0 });
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert!(rest(&mut fresh).await.is_empty());
    assert!(rest(&mut used).await.is_empty());
    within(connection).await.expect("ended").expect("in order");
}

#[tokio::test]
async fn dozing_connections_end_at_once() {
    let server = plain();
    let mut stream = server.connect().await;
    exchange(&mut stream, GET).await;
    tokio::time::sleep(Duration::from_millis(2_300)).await;
    let start = Instant::now();
    assert_eq!(within(server.running.drain()).await, Drained { finished: 1, cut: 0 });
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert!(rest(&mut stream).await.is_empty());
}

#[tokio::test]
async fn an_http2_stream_in_flight_finishes_and_the_connection_then_ends() {
    let key = certificate();
    let server = serve(settings(Some(Certificates::new(key.clone()))));
    let config = std::sync::Arc::new(client_config(&key, &[b"h2"], rustls::ALL_VERSIONS));
    let (mut sender, connection) = http2(tls(&server, &config).await.expect("TLS")).await;
    let answer = tokio::spawn(sender.send_request(get("/wait")));
    within(server.turnstile.entered.acquire()).await.expect("entered").forget();
    let drain = tokio::spawn(server.running.drain());
    // Requests are refused once GOAWAY has come.
    within(async { while sender.send_request(get("/")).await.is_ok() {} }).await;
    server.turnstile.released.add_permits(1);
    assert_eq!(text(within(answer).await.expect("task").expect("answer")).await, "waited");
    within(connection).await.expect("ended").expect("in order");
    assert_eq!(within(drain).await.expect("drained"), Drained { finished: 1, cut: 0 });
}

#[tokio::test]
async fn what_does_not_finish_in_time_is_cut_and_counted() {
    let mut short = settings(None);
    short.timeouts.drain = Duration::from_millis(200);
    let server = serve(short);
    let mut stream = server.connect().await;
    stream.write_all(WAIT).await.expect("sent");
    within(server.turnstile.entered.acquire()).await.expect("entered").forget();
    let start = Instant::now();
    assert_eq!(within(server.running.drain()).await, Drained { finished: 0, cut: 1 });
    assert!(start.elapsed() >= Duration::from_millis(200) && start.elapsed() < PATIENCE);
    assert!(rest(&mut stream).await.is_empty());
}

#[tokio::test]
async fn a_server_that_is_dropped_frees_its_port() {
    let server = plain();
    let (address, running) = (server.address, server.running);
    drop(running);
    within(async { while TcpStream::connect(address).await.is_ok() {} }).await;
}
