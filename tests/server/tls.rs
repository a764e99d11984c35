//! TLS: versions, protocols, resumption, odd and slow handshakes, exchange of certificates.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use openbin_gateway::server::{Certificates, Settings};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConnection, HandshakeKind, ProtocolVersion};

use crate::support::{
    GET, PATIENCE, Server, certificate, client_config, exchange, get, http2, name, rest, serve, settings,
    text, tls, within,
};

fn secure() -> (Server, rustls::sign::CertifiedKey) {
    let key = certificate();
    (serve(settings(Some(Certificates::new(key.clone())))), key)
}

#[tokio::test]
async fn both_tls_versions_work_and_the_protocol_follows_from_alpn() {
    let (server, key) = secure();
    for (version, number) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        for alpn in [&[] as &[&[u8]], &[b"http/1.1"]] {
            let config = Arc::new(client_config(&key, alpn, &[version]));
            let mut stream = tls(&server, &config).await.expect("TLS");
            assert_eq!(stream.get_ref().1.protocol_version(), Some(number));
            let answer = exchange(&mut stream, GET).await;
            assert!(answer.contains(r#"server_name: Some("localhost"), protocol: Http1"#), "{answer}");
        }
        let config = Arc::new(client_config(&key, &[b"h2", b"http/1.1"], &[version]));
        let (mut sender, _connection) = http2(tls(&server, &config).await.expect("TLS")).await;
        let answer = text(within(sender.send_request(get("/"))).await.expect("answer")).await;
        assert!(answer.contains("protocol: Http2") && answer.ends_with("HTTP/2.0"), "{answer}");
    }
}

#[tokio::test]
async fn a_client_without_a_common_protocol_is_refused() {
    let (server, key) = secure();
    let config = Arc::new(client_config(&key, &[b"spdy/3"], rustls::ALL_VERSIONS));
    assert!(tls(&server, &config).await.is_err());
}

#[tokio::test]
async fn an_aborted_http2_stream_leaves_the_connection_alone() {
    let (server, key) = secure();
    let config = Arc::new(client_config(&key, &[b"h2"], rustls::ALL_VERSIONS));
    let (mut sender, _connection) = http2(tls(&server, &config).await.expect("TLS")).await;
    assert!(within(sender.send_request(get("/abort"))).await.is_err());
    assert!(within(sender.send_request(get("/panic"))).await.is_err());
    let answer = within(sender.send_request(get("/big"))).await.expect("answer");
    assert_eq!(text(answer).await.len(), 1024 * 1024);
}

#[tokio::test]
async fn an_idle_http2_connection_is_closed() {
    let key = certificate();
    let mut short = settings(Some(Certificates::new(key.clone())));
    short.timeouts.idle = Duration::from_millis(300);
    let server = serve(short);
    let config = Arc::new(client_config(&key, &[b"h2"], rustls::ALL_VERSIONS));
    let (mut sender, connection) = http2(tls(&server, &config).await.expect("TLS")).await;
    text(within(sender.send_request(get("/"))).await.expect("answer")).await;
    within(connection).await.expect("ended").expect("in order");
    server.has_connections(0).await;
}

#[tokio::test]
async fn sessions_are_resumed_at_whichever_worker() {
    let key = certificate();
    let server = serve(Settings { workers: 2, ..settings(Some(Certificates::new(key.clone()))) });
    for version in [&TLS12, &TLS13] {
        let config = Arc::new(client_config(&key, &[], &[version]));
        let mut first = tls(&server, &config).await.expect("TLS");
        assert_eq!(first.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
        exchange(&mut first, GET).await;
        let mut workers = HashSet::new();
        while workers.len() < 2 {
            let mut stream = tls(&server, &config).await.expect("TLS");
            let answer = exchange(&mut stream, GET).await;
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed), "{answer}");
            workers.insert(answer.split("worker-").nth(1).and_then(|rest| rest.chars().next()));
        }
    }
}

#[tokio::test]
async fn a_handshake_that_takes_too_long_is_cut() {
    let mut short = settings(Some(Certificates::new(certificate())));
    short.timeouts.handshake = Duration::from_millis(300);
    let server = serve(short);
    let mut stream = server.connect().await;
    let start = Instant::now();
    assert!(rest(&mut stream).await.is_empty());
    assert!(start.elapsed() >= Duration::from_millis(250) && start.elapsed() < PATIENCE);
    server.has_connections(0).await;
}

#[tokio::test]
async fn plain_http_to_a_tls_port_is_refused_and_harms_nobody() {
    let (server, key) = secure();
    let mut stream = server.connect().await;
    tokio::io::AsyncWriteExt::write_all(&mut stream, GET).await.expect("sent");
    rest(&mut stream).await;
    let config = Arc::new(client_config(&key, &[], rustls::ALL_VERSIONS));
    assert!(exchange(&mut tls(&server, &config).await.expect("TLS"), GET).await.contains("200 OK"));
}

/// Makes the handshake by hand, with the first flight passed through `split`.
fn handshake_with(server: &Server, config: rustls::ClientConfig, split: fn(&[u8]) -> Vec<Vec<u8>>) -> String {
    let mut client = ClientConnection::new(Arc::new(config), name()).expect("client");
    let mut tcp = std::net::TcpStream::connect(server.address).expect("connected");
    tcp.set_nodelay(true).expect("option");
    tcp.set_read_timeout(Some(PATIENCE)).expect("option");
    let mut hello = Vec::new();
    client.write_tls(&mut hello).expect("ClientHello");
    for piece in split(&hello) {
        tcp.write_all(&piece).expect("sent");
    }
    let mut stream = rustls::Stream::new(&mut client, &mut tcp);
    stream.write_all(GET).expect("sent");
    let mut answer = [0; 256];
    let length = stream.read(&mut answer).expect("answer");
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_client_hello_in_single_bytes_works() {
    let (server, key) = secure();
    let by_write: fn(&[u8]) -> Vec<Vec<u8>> = |hello| hello.iter().map(|byte| vec![*byte]).collect();
    let by_record: fn(&[u8]) -> Vec<Vec<u8>> = |hello| {
        let (header, message) = hello.split_at(5);
        let record = |byte: &u8| vec![header[0], header[1], header[2], 0, 1, *byte];
        message.iter().map(record).collect()
    };
    for split in [by_write, by_record] {
        for version in [&TLS12, &TLS13] {
            let config = client_config(&key, &[], &[version]);
            let answer = tokio::task::block_in_place(|| handshake_with(&server, config, split));
            assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        }
    }
}

#[tokio::test]
async fn a_certificate_is_exchanged_while_connections_go_on() {
    let (old, new) = (certificate(), certificate());
    let certificates = Certificates::new(old.clone());
    let server = serve(settings(Some(certificates.clone())));
    let trusts_old = Arc::new(client_config(&old, &[], rustls::ALL_VERSIONS));
    let trusts_new = Arc::new(client_config(&new, &[], rustls::ALL_VERSIONS));
    let mut before = tls(&server, &trusts_old).await.expect("TLS");
    assert!(tls(&server, &trusts_new).await.is_err());
    certificates.replace(new);
    server.running.report_certificates();
    assert!(exchange(&mut tls(&server, &trusts_new).await.expect("TLS"), GET).await.contains("200 OK"));
    assert!(exchange(&mut before, GET).await.contains("200 OK"));
    let fresh = Arc::new(client_config(&old, &[], rustls::ALL_VERSIONS));
    assert!(tls(&server, &fresh).await.is_err());
}

#[tokio::test]
async fn the_metrics_say_when_the_certificate_ends() {
    let (server, key) = secure();
    let end = Certificates::new(key).validity().expect("dates").not_after_unix();
    let metrics = server.metrics.render().expect("metrics");
    let name = "openbin_gateway_certificate_expiry_timestamp_seconds";
    assert!(metrics.contains(&format!("{name}{{listener=\"{}\"}} {end}", server.address)), "{metrics}");
}
