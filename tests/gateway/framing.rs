//! Requests whose end is in doubt: the instance sees one request at most, framed in one way.

use crate::support::{Gateway, Recorder, Request, Wire, jwt};

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\nX-Smuggled: 1\r\n\r\n";

async fn bench() -> (Recorder, Gateway) {
    let upstream = Recorder::start().await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    (upstream, gateway)
}

/// Sends bytes, waits until the gateway has answered and closed or the test's own next request is answered,
/// and checks that the instance saw nothing that it should not have.
async fn assert_one_at_most(upstream: &Recorder, gateway: &Gateway, bytes: &[u8]) -> u16 {
    upstream.clear();
    let text = String::from_utf8_lossy(bytes).into_owned();
    let mut wire = Wire::plain(gateway.http).await;
    wire.send(bytes).await;
    wire.finish().await;
    let status = wire.head().await.map_or(0, |head| head.status);
    let _ = wire.rest().await;
    let seen = upstream.requests();
    assert!(seen.len() <= 1, "{text:?} became {} requests", seen.len());
    for request in &seen {
        assert_ne!(request.target, "/smuggled", "{text:?}");
        let framings = request.all("content-length").len() + request.all("transfer-encoding").len();
        assert!(framings <= 1, "{text:?} was forwarded with {framings} framings: {:?}", request.fields);
    }
    status
}

#[tokio::test]
async fn content_length_beside_transfer_encoding_smuggles_nothing() {
    let (upstream, gateway) = bench().await;
    let smuggled = SMUGGLED.len();
    for fields in [
        format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", 5 + smuggled),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {}\r\n", 5 + smuggled),
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n".to_owned(),
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n".to_owned(),
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n".to_owned(),
    ] {
        let request =
            format!("POST /api/auth/login HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n0\r\n\r\n{SMUGGLED}");
        assert_one_at_most(&upstream, &gateway, request.as_bytes()).await;
    }
}

#[tokio::test]
async fn odd_transfer_encodings_are_refused_or_end_the_connection() {
    let (upstream, gateway) = bench().await;
    for coding in [
        "identity",
        "gzip",
        "chunked, identity",
        "identity, chunked\r\nTransfer-Encoding: identity",
        "xchunked",
        "chunked\r\nTransfer-Encoding: x",
        "x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "\"chunked\"",
        "chunked;q=1",
        "chu nked",
        "\tchunked x",
    ] {
        let request = format!(
            "POST /api/auth/login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: {coding}\r\n\r\n0\r\n\r\n{SMUGGLED}"
        );
        let status = assert_one_at_most(&upstream, &gateway, request.as_bytes()).await;
        assert!(status == 400 || status == 501 || upstream.count() <= 1, "{coding:?}: {status}");
    }
}

#[tokio::test]
async fn odd_content_lengths_are_a_bad_request() {
    let (upstream, gateway) = bench().await;
    for length in [
        "+5",
        "-5",
        "5,5",
        "5, 6",
        "",
        "0x5",
        "5 5",
        "5\r\nContent-Length: 6",
        "18446744073709551616",
        "five",
        "5;",
        "\u{660}5",
    ] {
        let request = format!(
            "POST /api/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\nhello{SMUGGLED}"
        );
        let status = assert_one_at_most(&upstream, &gateway, request.as_bytes()).await;
        assert!(matches!(status, 400 | 413) || length == "5,5", "{length:?}: {status}");
    }
}

#[tokio::test]
async fn malformed_heads_are_a_bad_request_and_are_not_forwarded() {
    let (upstream, gateway) = bench().await;
    for head in [
        "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length : 5\r\n\r\nhello",
        "GET / HTTP/1.1\r\nHost: localhost\r\n: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nX-\0: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nX: a\rb\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET / HTTP/1.1 x\r\nHost: localhost\r\n\r\n",
        "GET / HTTP/3.7\r\nHost: localhost\r\n\r\n",
        "G{T / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ] {
        let status = assert_one_at_most(&upstream, &gateway, format!("{head}{SMUGGLED}").as_bytes()).await;
        assert!(matches!(status, 0 | 400 | 505), "{head:?}: {status}");
        assert_eq!(upstream.count(), 0, "{head:?}");
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let (upstream, gateway) = bench().await;
    let large = format!("X-Large: {}\r\n", "a".repeat(80_000));
    let many = (0..150).fold(String::new(), |fields, number| format!("{fields}X-{number}: 1\r\n"));
    let long = format!("/{}", "a".repeat(80_000));
    for (target, fields) in [("/", large.as_str()), ("/", many.as_str()), (long.as_str(), "")] {
        let mut wire = Wire::plain(gateway.http).await;
        let _ = wire.try_send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")).await;
        let status = wire.head().await.map_or(0, |head| head.status);
        assert!(matches!(status, 431 | 414), "{status}");
    }
    assert_eq!(upstream.count(), 0);
    assert_eq!(gateway.send(&Request::get("/")).await.status, 200, "others are served");
}

#[tokio::test]
async fn a_body_is_framed_once_whatever_the_method() {
    let (upstream, gateway) = bench().await;
    for method in ["GET", "DELETE", "OPTIONS", "HEAD", "PUT", "PATCH", "POST"] {
        for (framing, body) in
            [("Content-Length: 5", "hello"), ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n")]
        {
            upstream.clear();
            let mut wire = Wire::plain(gateway.http).await;
            wire.send(format!("{method} / HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n{body}")).await;
            assert_eq!(wire.response_to(method).await.status, 200, "{method} {framing}");
            let next = Request::get("/next").on(&mut wire).await;
            assert_eq!(next.status, 200, "{method} {framing}");
            let seen = upstream.requests();
            assert_eq!(seen.len(), 2, "{method} {framing}");
            assert_eq!(seen[0].body, b"hello", "{method} {framing}");
            let framings = seen[0].all("content-length").len() + seen[0].all("transfer-encoding").len();
            assert_eq!(framings, 1, "{method} {framing}");
            assert_eq!(seen[1].target, "/next");
        }
    }
}

#[tokio::test]
async fn a_request_without_a_body_is_forwarded_without_one() {
    let (upstream, gateway) = bench().await;
    for via in crate::support::EVERY_WAY {
        upstream.clear();
        assert_eq!(Request::get("/").send(&gateway, via).await.status, 200);
        let seen = upstream.last();
        assert_eq!(seen.field("transfer-encoding"), None, "{via:?}");
        assert!(matches!(seen.field("content-length"), None | Some("0")), "{via:?}");
    }
}

#[tokio::test]
async fn old_clients_that_chunk_smuggle_nothing() {
    let (upstream, gateway) = bench().await;
    let request = format!(
        "POST /api/auth/login HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n\
         0\r\n\r\n{SMUGGLED}"
    );
    assert_one_at_most(&upstream, &gateway, request.as_bytes()).await;
}

#[tokio::test]
async fn what_follows_a_refused_head_is_never_taken_for_a_request() {
    let (upstream, gateway) = bench().await;
    let declared = 300 * 1024 * 1024_u64;
    for (line, status) in
        [("POST /api/bins", 401), ("POST /api/auth/login", 413), ("POST /api/auth//login", 400)]
    {
        let length = if status == 413 { declared } else { SMUGGLED.len() as u64 * 2 };
        let mut wire = Wire::plain(gateway.http).await;
        wire.send(format!(
            "{line} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{SMUGGLED}"
        ))
        .await;
        assert_eq!(wire.response().await.status, status, "{line}");
        // The second half may be taken as content or meet a closed connection; it must not be answered.
        let _ = wire.try_send(SMUGGLED).await;
        wire.finish().await;
        let rest = wire.rest().await;
        assert!(rest.is_empty(), "{line}: {}", String::from_utf8_lossy(&rest));
    }
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn expect_continue_is_met_only_where_the_body_is_wanted() {
    let (upstream, gateway) = bench().await;
    let head = |target: &str, length: u64| {
        format!(
            "POST {target} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    let mut wire = Wire::plain(gateway.http).await;
    wire.send(head("/api/auth/login", 5)).await;
    assert_eq!(wire.head().await.expect("an interim response").status, 100);
    wire.send("hello").await;
    assert_eq!(wire.response().await.status, 200);
    assert_eq!(upstream.last().body, b"hello");
    upstream.clear();
    for (target, length, status) in [("/api/bins", 5, 401), ("/api/auth/login", 1 << 40, 413)] {
        let mut wire = Wire::plain(gateway.http).await;
        wire.send(head(target, length)).await;
        let first = wire.head().await.expect("a response");
        assert_eq!(first.status, status, "{target}: no 100 before it");
    }
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn bytes_after_an_upgrade_request_pass_no_check_by() {
    let (upstream, gateway) = bench().await;
    for protocol in ["websocket", "h2c", "TLS/1.0", "x"] {
        upstream.clear();
        let mut wire = Wire::plain(gateway.http).await;
        wire.send(format!(
            "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n\
             GET /api/secret HTTP/1.1\r\nHost: localhost\r\nX-Auth-Method: jwt\r\n\r\n"
        ))
        .await;
        wire.finish().await;
        assert_eq!(wire.response().await.status, 200, "{protocol}");
        let _ = wire.rest().await;
        for seen in upstream.requests() {
            assert_ne!(seen.target, "/api/secret", "{protocol}");
            let allowed = (protocol == "websocket").then_some(protocol);
            assert_eq!(seen.field("upgrade"), allowed, "{protocol}");
        }
    }
}

#[tokio::test]
async fn an_instance_that_switches_protocols_unasked_is_at_fault() {
    let upstream = Recorder::answering(|_| {
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
            .to_vec()
    })
    .await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    let asks_for_another = Request::get("/").field("Connection", "Upgrade").field("Upgrade", "h2c");
    let asks_nothing = Request::get("/").field("Upgrade", "websocket");
    for request in [Request::get("/"), asks_for_another, asks_nothing] {
        let response = gateway.send(&request).await;
        assert_eq!(response.status, 502, "what follows would pass unchecked");
    }
}

#[tokio::test]
async fn pipelined_requests_are_each_judged_and_answered_in_order() {
    let (upstream, gateway) = bench().await;
    let token = jwt::session();
    let mut wire = Wire::plain(gateway.http).await;
    let mut bytes = Vec::new();
    for request in [
        Request::get("/a"),
        Request::get("/api/bins"),
        Request::get("/api/bins").bearer(&token),
        Request::get("/b"),
    ] {
        bytes.extend(request.bytes());
    }
    wire.send(bytes).await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(wire.response().await.status);
    }
    assert_eq!(statuses, [200, 401, 200, 200]);
    let targets: Vec<_> = upstream.requests().into_iter().map(|seen| seen.target).collect();
    assert_eq!(targets, ["/a", "/api/bins", "/b"]);
}
