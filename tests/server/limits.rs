//! What a client may take, in time, bytes and connections.

use std::time::{Duration, Instant};

use openbin_gateway::server::{ServerError, Settings, Timeouts};
use tokio::io::AsyncWriteExt;

use crate::support::{
    GET, PATIENCE, exchange, get, plain, response, rest, serve, settings, text, try_serve, within,
};

const SHORT: Duration = Duration::from_millis(300);

fn with_timeouts(change: impl FnOnce(&mut Timeouts)) -> Settings {
    let mut settings = settings(None);
    change(&mut settings.timeouts);
    settings
}

/// How long the connection still stays open, and that nothing comes any more.
async fn open_for(stream: &mut tokio::net::TcpStream) -> Duration {
    let start = Instant::now();
    assert!(rest(stream).await.is_empty());
    start.elapsed()
}

#[tokio::test]
async fn a_head_that_comes_too_slowly_is_cut() {
    let server = serve(with_timeouts(|timeouts| timeouts.header = SHORT));
    let mut stream = server.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: local").await.expect("sent");
    let taken = open_for(&mut stream).await;
    assert!(taken >= SHORT - Duration::from_millis(50) && taken < PATIENCE, "{taken:?}");
}

#[tokio::test]
async fn single_bytes_do_not_buy_a_slow_head_more_time() {
    let server = serve(with_timeouts(|timeouts| timeouts.header = SHORT));
    let mut stream = server.connect().await;
    exchange(&mut stream, GET).await;
    let drip = async {
        loop {
            if stream.write_all(b"\r\n").await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(drip).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_before_its_first_request_and_between_requests() {
    let server = serve(with_timeouts(|timeouts| timeouts.idle = SHORT));
    let mut stream = server.connect().await;
    assert!(open_for(&mut stream).await < PATIENCE);
    let mut stream = server.connect().await;
    exchange(&mut stream, GET).await;
    let taken = open_for(&mut stream).await;
    assert!(taken >= SHORT - Duration::from_millis(50) && taken < PATIENCE, "{taken:?}");
}

#[tokio::test]
async fn a_dozing_connection_is_closed_at_the_idle_timeout() {
    let server = serve(with_timeouts(|timeouts| timeouts.idle = Duration::from_millis(2_500)));
    let mut stream = server.connect().await;
    exchange(&mut stream, GET).await;
    let taken = open_for(&mut stream).await;
    assert!(taken >= Duration::from_millis(2_400) && taken < PATIENCE, "{taken:?}");
    server.has_connections(0).await;
}

#[tokio::test]
async fn a_request_may_take_longer_than_any_timeout_of_the_connection() {
    let server = serve(with_timeouts(|timeouts| {
        timeouts.idle = SHORT;
        timeouts.header = SHORT;
    }));
    let mut stream = server.connect().await;
    stream.write_all(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
    within(server.turnstile.entered.acquire()).await.expect("entered").forget();
    tokio::time::sleep(SHORT * 3).await;
    server.turnstile.released.add_permits(1);
    assert!(response(&mut stream).await.ends_with("waited"));
}

#[tokio::test]
async fn more_fields_than_allowed_are_answered_431() {
    let server = plain();
    for (count, status) in [(99, "200"), (100, "431")] {
        let fields: String = (0..count).map(|index| format!("X-{index}: y\r\n")).collect();
        let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
        let answer = exchange(&mut server.connect().await, request.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{count}: {answer}");
    }
}

#[tokio::test]
async fn the_number_of_fields_can_be_changed() {
    let server = serve(Settings { max_headers: 200, ..settings(None) });
    for (count, status) in [(199, "200"), (200, "431")] {
        let fields: String = (0..count).map(|index| format!("X-{index}: y\r\n")).collect();
        let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
        let answer = exchange(&mut server.connect().await, request.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{count}: {answer}");
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_answered_431_even_while_it_is_being_sent() {
    let server = serve(Settings { max_header_bytes: 16 * 1024, ..settings(None) });
    for (size, status) in [(15 * 1024, "200"), (17 * 1024, "431"), (2 * 1024 * 1024, "431")] {
        let mut stream = server.connect().await;
        let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-Large: {}\r\n\r\n", "y".repeat(size));
        let answer = exchange(&mut stream, request.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{size}: {answer}");
    }
}

#[tokio::test]
async fn http2_is_answered_431_too_and_the_connection_goes_on() {
    use crate::support::{certificate, client_config, http2, tls};
    let key = certificate();
    let tls_settings = settings(Some(openbin_gateway::server::Certificates::new(key.clone())));
    let server = serve(Settings { max_header_bytes: 16 * 1024, ..tls_settings });
    let config = std::sync::Arc::new(client_config(&key, &[b"h2"], rustls::ALL_VERSIONS));
    let (mut sender, _connection) = http2(tls(&server, &config).await.expect("TLS")).await;
    let mut request = get("/");
    request.headers_mut().insert("x-large", "y".repeat(15 * 1024).parse().expect("value"));
    assert_eq!(within(sender.send_request(request)).await.expect("answer").status(), 200);
    let mut request = get("/");
    request.headers_mut().insert("x-large", "y".repeat(17 * 1024).parse().expect("value"));
    match within(sender.send_request(request)).await {
        Ok(answer) => assert_eq!(answer.status(), 431),
        // The client itself keeps to the server's SETTINGS_MAX_HEADER_LIST_SIZE.
        Err(error) => assert!(!error.is_closed(), "{error:?}"),
    }
    let answer = within(sender.send_request(get("/"))).await.expect("answer");
    assert!(text(answer).await.contains("HTTP/2.0"));
}

#[tokio::test]
async fn connections_over_the_limit_are_closed_and_room_is_made_when_one_ends() {
    let server = serve(Settings { max_connections: 2, workers: 2, ..settings(None) });
    let (mut first, mut second) = (server.connect().await, server.connect().await);
    exchange(&mut first, GET).await;
    exchange(&mut second, GET).await;
    server.has_connections(2).await;
    let mut third = server.connect().await;
    assert!(rest(&mut third).await.is_empty());
    drop(first);
    server.has_connections(1).await;
    assert!(exchange(&mut server.connect().await, GET).await.contains("200 OK"));
}

#[tokio::test]
async fn a_second_server_on_the_same_port_is_refused() {
    let first = plain();
    let mut second = settings(None);
    second.listeners[0].address = first.address;
    let error = try_serve(second).err().expect("refused");
    assert!(matches!(error, ServerError::AddressInUse(address) if address == first.address), "{error}");
    assert!(exchange(&mut first.connect().await, GET).await.contains("200 OK"));
}
