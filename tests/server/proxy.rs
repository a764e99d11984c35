//! The PROXY protocol on a listener: who may speak it, and whose connection it then is.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use openbin_gateway::server::{Addresses, Certificates, Settings};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::{
    GET, Server, certificate, client_config, exchange, name, plain, rest, serve, settings, within,
};

const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";
const WHO: &[u8] = b"GET /peer HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A header of version 2 for the client 192.0.2.7:56324, or of a proxy that speaks for itself.
fn binary(command: u8) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([command, 0x11, 0, 17, 192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 0x04, 1, 0xbb]);
    // An extension that means nothing.
    header.extend([4, 0, 2, 0, 0]);
    header
}

fn behind_proxies(tls: Option<Certificates>) -> Settings {
    let mut settings = settings(tls);
    settings.listeners[0].proxies = Some(Addresses::from(|address: IpAddr| address.is_loopback()));
    settings
}

async fn introduced(server: &Server, header: &[u8]) -> TcpStream {
    let mut stream = server.connect().await;
    stream.write_all(header).await.expect("sent");
    stream
}

async fn is_the_client_of<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    for _ in 0..2 {
        let answer = exchange(stream, WHO).await;
        assert!(answer.ends_with("192.0.2.7:56324"), "{answer}");
    }
}

#[tokio::test]
async fn the_client_that_a_proxy_names_is_the_peer() {
    let server = serve(behind_proxies(None));
    for header in [LINE.to_vec(), binary(0x21)] {
        is_the_client_of(&mut introduced(&server, &header).await).await;
        // All in one piece.
        let answer = exchange(&mut introduced(&server, &[&header, WHO].concat()).await, b"").await;
        assert!(answer.ends_with("192.0.2.7:56324"), "{answer}");
    }
}

#[tokio::test]
async fn the_client_that_a_proxy_names_is_the_peer_over_tls() {
    let key = certificate();
    let server = serve(behind_proxies(Some(Certificates::new(key.clone()))));
    let client = Arc::new(client_config(&key, &[b"http/1.1"], rustls::ALL_VERSIONS));
    for header in [LINE.to_vec(), binary(0x21)] {
        let stream = introduced(&server, &header).await;
        let connected = TlsConnector::from(Arc::clone(&client)).connect(name(), stream).await;
        is_the_client_of(&mut connected.expect("TLS")).await;
    }
}

#[tokio::test]
async fn a_header_may_come_byte_by_byte() {
    let key = certificate();
    let encrypted = serve(behind_proxies(Some(Certificates::new(key.clone()))));
    let client = Arc::new(client_config(&key, &[b"http/1.1"], rustls::ALL_VERSIONS));
    let plain = serve(behind_proxies(None));
    for header in [LINE.to_vec(), binary(0x21)] {
        let (mut one, mut other) = (plain.connect().await, encrypted.connect().await);
        for byte in header {
            one.write_all(&[byte]).await.expect("sent");
            other.write_all(&[byte]).await.expect("sent");
            tokio::task::yield_now().await;
        }
        is_the_client_of(&mut one).await;
        let connected = TlsConnector::from(Arc::clone(&client)).connect(name(), other).await;
        is_the_client_of(&mut connected.expect("TLS")).await;
    }
}

#[tokio::test]
async fn a_proxy_that_speaks_for_itself_is_the_peer() {
    let server = serve(behind_proxies(None));
    for header in [binary(0x20), b"PROXY UNKNOWN\r\n".to_vec()] {
        let answer = exchange(&mut introduced(&server, &header).await, WHO).await;
        assert!(answer.contains("127.0.0.1:"), "{answer}");
    }
}

#[tokio::test]
async fn without_a_good_header_nothing_is_served() {
    let server = serve(behind_proxies(None));
    let cut_off = &binary(0x21)[..20];
    let cases: [&[u8]; 5] =
        [GET, b"PROXY TCP4 192.0.2.7 1 2 3\r\n", b"PROXY TCP4 192.0.2.7\n", &binary(0x22), &[b'P'; 300]];
    for header in cases {
        let mut stream = introduced(&server, &[header, GET].concat()).await;
        assert!(rest(&mut stream).await.is_empty(), "{header:?}");
    }
    server.has_ended("proxy", 5).await;
    let mut stream = introduced(&server, cut_off).await;
    stream.shutdown().await.expect("the end");
    assert!(rest(&mut stream).await.is_empty());
    server.has_ended("proxy", 6).await;
    server.has_connections(0).await;
}

#[tokio::test]
async fn a_header_that_does_not_come_is_not_waited_for() {
    let mut settings = behind_proxies(None);
    settings.timeouts.handshake = Duration::from_millis(300);
    let server = serve(settings);
    let (mut silent, mut slow) = (server.connect().await, introduced(&server, &LINE[..20]).await);
    assert!(rest(&mut silent).await.is_empty() && rest(&mut slow).await.is_empty());
    server.has_ended("proxy", 2).await;
}

#[tokio::test]
async fn nobody_else_may_say_who_they_are() {
    let mut settings = behind_proxies(None);
    settings.listeners[0].proxies =
        Some(Addresses::from(|address: IpAddr| address == IpAddr::from([10, 0, 0, 1])));
    let server = serve(settings);
    for bytes in [LINE, GET] {
        let mut stream = server.connect().await;
        let _ = stream.write_all(bytes).await;
        assert!(rest(&mut stream).await.is_empty());
    }
    server.has_ended("proxy", 2).await;
    // And where the protocol is not spoken, it is not HTTP.
    let answer = within(exchange(&mut plain().connect().await, LINE)).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[tokio::test]
async fn the_bound_of_connections_is_the_clients_not_the_proxys() {
    let server = serve(Settings { max_connections_per_address: 1, ..behind_proxies(None) });
    let mut held = introduced(&server, LINE).await;
    is_the_client_of(&mut held).await;
    let mut second = introduced(&server, &[LINE, GET].concat()).await;
    assert!(rest(&mut second).await.is_empty());
    server.has_ended("address", 1).await;
    let other = b"PROXY TCP4 192.0.2.8 198.51.100.1 1 443\r\n";
    assert!(exchange(&mut introduced(&server, other).await, GET).await.contains("200 OK"));
    drop(held);
    server.has_connections(0).await;
    is_the_client_of(&mut introduced(&server, LINE).await).await;
}
