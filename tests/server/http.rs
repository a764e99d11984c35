//! HTTP/1.1 and HTTP/2 as such.

use std::time::Duration;

use crate::support::{GET, exchange, plain, response, rest, serve, settings, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn plain_http1_keeps_the_connection_for_the_next_request() {
    let server = plain();
    let mut stream = server.connect().await;
    for _ in 0..3 {
        let answer = exchange(&mut stream, GET).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert!(answer.ends_with("worker-0 None HTTP/1.1"), "{answer}");
    }
    server.has_connections(1).await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = plain();
    let mut stream = server.connect().await;
    let two = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc\
        POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nConnection: close\r\n\r\nabcde";
    stream.write_all(two).await.expect("sent");
    let both = String::from_utf8(rest(&mut stream).await).expect("text");
    let bodies: Vec<&str> =
        both.split("HTTP/1.1 200 OK").filter_map(|part| part.split("\r\n\r\n").nth(1)).collect();
    assert_eq!(bodies, ["3", "5"], "{both}");
}

#[tokio::test]
async fn a_connection_that_has_dozed_goes_on_where_it_was() {
    let server = plain();
    let (mut quiet, mut begun) = (server.connect().await, server.connect().await);
    exchange(&mut quiet, GET).await;
    // The beginning of the next request comes along with this one.
    exchange(&mut begun, &[GET, &GET[..20]].concat()).await;
    // Time itself is the subject here: connections doze after two seconds.
    tokio::time::sleep(Duration::from_millis(2_300)).await;
    assert!(exchange(&mut quiet, GET).await.contains("200 OK"));
    begun.write_all(&GET[20..]).await.expect("sent");
    assert!(response(&mut begun).await.contains("200 OK"));
    tokio::time::sleep(Duration::from_millis(2_300)).await;
    quiet.write_all(&GET[..7]).await.expect("sent");
    assert!(exchange(&mut quiet, &GET[7..]).await.contains("200 OK"));
}

#[tokio::test]
async fn content_that_comes_late_is_never_taken_for_a_request() {
    let server = plain();
    let mut stream = server.connect().await;
    let head = b"POST /refuse HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n";
    assert!(exchange(&mut stream, head).await.starts_with("HTTP/1.1 413"));
    tokio::time::sleep(Duration::from_millis(2_300)).await;
    let _ = stream.write_all(GET).await;
    assert!(rest(&mut stream).await.is_empty(), "the content was answered");
}

#[tokio::test]
async fn content_that_outlasts_its_response_is_never_taken_for_a_request() {
    let server = plain();
    let mut stream = server.connect().await;
    let length = GET.len() * 2;
    let head = format!("POST /keep HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
    assert!(exchange(&mut stream, head.as_bytes()).await.ends_with("kept"));
    tokio::time::sleep(Duration::from_millis(2_300)).await;
    stream.write_all(&GET.repeat(2)).await.expect("sent");
    let taken = within(server.turnstile.entered.acquire_many(length as u32)).await;
    taken.expect("taken as content").forget();
    assert!(exchange(&mut stream, GET).await.contains("200 OK"));
    drop(server);
    assert!(rest(&mut stream).await.is_empty(), "the content was answered");
}

#[tokio::test]
async fn an_early_refusal_reaches_a_client_that_is_still_uploading() {
    let server = plain();
    let mut stream = server.connect().await;
    let size = 8 * 1024 * 1024;
    let head = format!("POST /refuse HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("sent");
    // All of it is sent before anything is read, as browsers do.
    let chunk = vec![b'x'; 64 * 1024];
    for _ in 0..size / chunk.len() {
        within(stream.write_all(&chunk)).await.expect("still taken");
    }
    let answer = String::from_utf8(rest(&mut stream).await).expect("text");
    assert!(answer.starts_with("HTTP/1.1 413") && answer.ends_with("too large"), "{answer}");
}

#[tokio::test]
async fn an_abort_closes_the_connection_without_an_answer() {
    let server = plain();
    let mut stream = server.connect().await;
    stream.write_all(b"GET /abort HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
    assert!(rest(&mut stream).await.is_empty());
}

#[tokio::test]
async fn an_http_1_0_client_cannot_take_an_abort_for_the_end_of_a_response() {
    let server = plain();
    let mut stream = server.connect().await;
    stream.write_all(b"GET /abort HTTP/1.0\r\n\r\n").await.expect("sent");
    let end = within(stream.read(&mut [0; 16])).await.expect_err("a reset");
    assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_handler_that_panics_costs_one_connection_and_no_more() {
    let server = plain();
    let mut stream = server.connect().await;
    stream.write_all(b"GET /panic HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
    assert!(rest(&mut stream).await.is_empty());
    server.has_connections(0).await;
    assert!(exchange(&mut server.connect().await, GET).await.contains("200 OK"));
}

#[tokio::test]
async fn several_workers_share_one_port() {
    let server = serve(openbin_gateway::server::Settings { workers: 2, ..settings(None) });
    let mut seen = std::collections::HashSet::new();
    while seen.len() < 2 {
        let answer = exchange(&mut server.connect().await, GET).await;
        seen.insert(answer.split("worker-").nth(1).and_then(|rest| rest.chars().next()));
    }
    assert_eq!(seen, [Some('0'), Some('1')].into());
}

#[tokio::test]
async fn a_large_response_arrives_whole() {
    let server = plain();
    let answer = exchange(&mut server.connect().await, b"GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(answer.split("\r\n\r\n").nth(1).map(str::len), Some(1024 * 1024));
}
