//! Content: any size in flat memory, up to the limit; answers without a body; fields in their order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::support::frames::{Frames, StreamEnd};
use crate::support::{EVERY_WAY, Gateway, Recorder, Request, Setup, Via, Wire, jwt, wait};

const MIB: u64 = 1024 * 1024;
const LARGE: u64 = 256 * MIB;
/// How much resident memory may grow while something large passes.
const FLAT: u64 = 48 * MIB;

/// Warms the gateway up, so that what it allocates once is not taken for growth.
async fn resident_after_warm_up(gateway: &Gateway) -> u64 {
    for _ in 0..20 {
        Request::get("/").send(gateway, Via::Plain).await;
    }
    gateway.process.resident_bytes()
}

#[tokio::test]
async fn a_large_upload_passes_in_flat_memory() {
    let upstream = Recorder::start().await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    let before = resident_after_warm_up(&gateway).await;
    upstream.clear();
    let block = vec![b'x'; 256 * 1024];
    for chunked in [false, true] {
        let mut wire = Wire::plain(gateway.http).await;
        let framing = if chunked {
            "Transfer-Encoding: chunked".to_owned()
        } else {
            format!("Content-Length: {LARGE}")
        };
        let head = format!(
            "POST /api/bins/1/photos HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n{framing}\r\n\r\n",
            jwt::session()
        );
        wire.send(head).await;
        let mut most = 0;
        for _ in 0..LARGE / block.len() as u64 {
            if chunked {
                wire.send(format!("{:x}\r\n", block.len())).await;
            }
            wire.send(&block).await;
            if chunked {
                wire.send("\r\n").await;
            }
            most = most.max(gateway.process.resident_bytes());
        }
        if chunked {
            wire.send("0\r\n\r\n").await;
        }
        assert_eq!(wire.response().await.status, 200);
        let seen = upstream.last();
        assert_eq!((seen.body_bytes, seen.whole), (LARGE, true));
        assert!(most < before + FLAT, "grew from {} to {} MiB", before / MIB, most / MIB);
    }
}

#[tokio::test]
async fn a_large_download_passes_in_flat_memory() {
    let upstream = Recorder::scripted(|mut call| async move {
        let block = vec![b'y'; 256 * 1024];
        while let Some(request) = call.request().await {
            let total = if request.target == "/large" { LARGE } else { 0 };
            call.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n\r\n")).await;
            for _ in 0..total / block.len() as u64 {
                call.send(&block).await;
            }
        }
    })
    .await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    let before = resident_after_warm_up(&gateway).await;
    for tls in [false, true] {
        let mut wire = match tls {
            true => Wire::tls(gateway.https, "localhost").await,
            false => Wire::plain(gateway.http).await,
        };
        wire.send(Request::get("/large").bytes()).await;
        let head = wire.head().await.expect("a head");
        assert_eq!(head.field("content-length"), Some(&*LARGE.to_string()));
        let mut most = 0;
        for _ in 0..LARGE / MIB {
            wire.skip(MIB).await.expect("the whole body");
            most = most.max(gateway.process.resident_bytes());
        }
        assert!(most < before + FLAT, "grew from {} to {} MiB", before / MIB, most / MIB);
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_the_instance_back() {
    let sent = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&sent);
    let upstream = Recorder::scripted(move |mut call| {
        let counter = Arc::clone(&counter);
        async move {
            let block = vec![b'z'; 64 * 1024];
            call.request().await;
            call.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n")).await;
            while call.send(&block).await {
                counter.fetch_add(block.len() as u64, Ordering::SeqCst);
            }
        }
    })
    .await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    let before = gateway.process.resident_bytes();
    let mut wire = Wire::plain(gateway.http).await;
    wire.send(Request::get("/").bytes()).await;
    assert!(wire.head().await.is_some());
    // Held back means: nothing more was sent for a while.
    let mut last = u64::MAX;
    loop {
        let now = sent.load(Ordering::SeqCst);
        if now == last {
            break;
        }
        last = now;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert!(last < 64 * MIB, "{} MiB were taken without a reader", last / MIB);
    assert!(gateway.process.resident_bytes() < before + FLAT);
}

#[tokio::test]
async fn content_over_the_limit_is_refused_before_the_instance_is_asked() {
    let upstream = Recorder::start().await;
    let gateway = Setup::of(upstream.address()).with("limits: { max_body: 64KiB }").start().await;
    let limit = 64 * 1024;
    for via in EVERY_WAY {
        upstream.clear();
        let over = Request::post("/api/auth/login", vec![b'x'; limit + 1]).send(&gateway, via).await;
        over.assert_refused(413, "PAYLOAD_TOO_LARGE", "The request is too large");
        assert_eq!(upstream.count(), 0, "{via:?}");
        let exact = Request::post("/api/auth/login", vec![b'x'; limit]).send(&gateway, via).await;
        assert_eq!(exact.status, 200, "{via:?}");
        assert_eq!(upstream.last().body_bytes, limit as u64);
    }
}

#[tokio::test]
async fn chunked_content_over_the_limit_never_looks_whole_to_the_instance() {
    let upstream = Recorder::start().await;
    let gateway = Setup::of(upstream.address()).with("limits: { max_body: 64KiB }").start().await;
    let mut wire = Wire::plain(gateway.http).await;
    wire.send("POST /api/auth/login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let block = "x".repeat(16 * 1024);
    for _ in 0..5 {
        if wire.try_send(format!("4000\r\n{block}\r\n")).await.is_err() {
            break;
        }
    }
    let _ = wire.try_send("0\r\n\r\n").await;
    let response = wire.response().await;
    response.assert_refused(413, "PAYLOAD_TOO_LARGE", "The request is too large");
    for seen in upstream.requests() {
        assert!(!seen.whole && seen.body_bytes <= 64 * 1024, "{} bytes", seen.body_bytes);
    }
}

/// What Express answers as soon as it has read the head.
const EARLY: &str = "HTTP/1.1 413 Payload Too Large\r\nContent-Type: application/json\r\nContent-Length: 29\r\n\
                     Connection: close\r\n\r\n{\"error\":\"PAYLOAD_TOO_LARGE\"}";

/// An instance that answers when it has read the head, and keeps the connection open.
async fn answering_early() -> Recorder {
    Recorder::scripted(|mut call| async move {
        call.head().await;
        call.send(EARLY).await;
        std::future::pending().await
    })
    .await
}

async fn answer_to_a_large_upload(gateway: &Gateway) -> crate::support::response::Response {
    let mut wire = Wire::plain(gateway.http).await;
    wire.send(format!(
        "POST /api/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        32 * MIB
    ))
    .await;
    wire.send(vec![b'x'; 64 * 1024]).await;
    wire.response().await
}

#[tokio::test]
async fn an_early_answer_arrives_while_the_client_still_sends() {
    let upstream = answering_early().await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    for _ in 0..5 {
        let response = answer_to_a_large_upload(&gateway).await;
        assert_eq!((response.status, response.json()["error"].as_str()), (413, Some("PAYLOAD_TOO_LARGE")));
    }
}

#[tokio::test]
async fn an_early_answer_with_a_closed_connection_is_told_as_it_is_or_as_a_breakdown() {
    let upstream = Recorder::scripted(|mut call| async move {
        call.head().await;
        call.send(EARLY).await;
    })
    .await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    for _ in 0..10 {
        // Closing with unread content resets the connection, which can destroy the answer on its way.
        let response = answer_to_a_large_upload(&gateway).await;
        assert!(matches!(response.status, 413 | 502), "{}", response.status);
    }
}

#[tokio::test]
async fn over_http2_an_early_answer_comes_a_while_before_the_reset_of_its_stream() {
    let upstream = answering_early().await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    // Clients that read both together may throw the answer away, as curl 7.88 does.
    for (path, early) in [("/api/auth/login", 413), ("/api/bins", 401)] {
        let mut frames = Frames::connect(gateway.https).await;
        let mut head = frames.head("POST", path);
        head.push((b"content-length".to_vec(), b"1000000".to_vec()));
        let stream = frames.open(&head, false).await;
        frames.data(stream, &[b'x'; 16 * 1024], false).await;
        let end = frames.end(stream).await;
        assert!(matches!(end, StreamEnd::Answered { status, .. } if status == early), "{path}: {end:?}");
        assert!(frames.shows_life_before_the_reset_of(stream).await, "{path}: reset at once");
        frames.data(stream, &[b'x'; 16 * 1024], false).await;
        assert_eq!(frames.reset_of(stream).await, Some(0), "{path}: RFC 9113 §8.1, no error");
    }
    let lines = wait::until_some("both requests are noted", || {
        Some(gateway.access_lines()).filter(|lines| lines.len() == 2)
    });
    for line in lines.await {
        assert_eq!(line["complete"], true, "{line}");
        assert!(
            line["duration_ms"].as_f64().is_some_and(|took| took < 900.0),
            "the wait is not the answer's: {line}"
        );
    }
}

#[tokio::test]
async fn a_refusal_arrives_while_the_client_still_sends() {
    let upstream = Recorder::start().await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    let mut wire = Wire::plain(gateway.http).await;
    wire.send(format!("POST /api/bins HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", 8 * MIB))
        .await;
    let block = vec![b'x'; 64 * 1024];
    for _ in 0..8 {
        if wire.try_send(&block).await.is_err() {
            break;
        }
    }
    wire.response().await.assert_refused(401, "UNAUTHORIZED", "No token provided");
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn answers_without_a_body_stay_without_one() {
    let upstream = Recorder::answering(|request| match (&*request.method, &*request.target) {
        ("HEAD", _) => b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nETag: W/\"x\"\r\n\r\n".to_vec(),
        (_, "/none") => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        (_, "/same") => b"HTTP/1.1 304 Not Modified\r\nETag: W/\"x\"\r\n\r\n".to_vec(),
        _ => b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec(),
    })
    .await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    for via in EVERY_WAY {
        let head = Request::new("HEAD", "/").send(&gateway, via).await;
        assert_eq!(
            (head.status, head.field("content-length"), head.body.len()),
            (200, Some("1234"), 0),
            "{via:?}"
        );
        let none = Request::get("/none").send(&gateway, via).await;
        assert_eq!(
            (none.status, none.body.len(), none.field("transfer-encoding")),
            (204, 0, None),
            "{via:?}"
        );
        let same = Request::get("/same").send(&gateway, via).await;
        assert_eq!((same.status, same.body.len(), same.field("etag")), (304, 0, Some("W/\"x\"")), "{via:?}");
        assert_eq!(
            Request::get("/empty").send(&gateway, via).await.field("content-length"),
            Some("0"),
            "{via:?}"
        );
    }
    // All of them on one connection: a body made up for one of them would be read as the next answer.
    let mut wire = Wire::plain(gateway.http).await;
    for (method, target, status) in
        [("HEAD", "/", 200), ("GET", "/none", 204), ("GET", "/same", 304), ("GET", "/empty", 200)]
    {
        assert_eq!(Request::new(method, target).on(&mut wire).await.status, status);
    }
}

#[tokio::test]
async fn fields_of_an_answer_keep_their_order_and_number() {
    let upstream = Recorder::answering(|_| {
        b"HTTP/1.1 200 OK\r\nSet-Cookie: openbin-access=a; Path=/; HttpOnly\r\nSet-Cookie: openbin-refresh=b; Path=/api/auth/refresh\r\n\
          ETag: W/\"1\"\r\nSet-Cookie: openbin-csrf=c; Path=/\r\nContent-Security-Policy: default-src 'self'\r\nContent-Length: 0\r\n\r\n"
            .to_vec()
    })
    .await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    for via in EVERY_WAY {
        let response = Request::post("/api/auth/login", "{}").send(&gateway, via).await;
        let cookies: Vec<_> =
            response.all("set-cookie").into_iter().filter_map(|cookie| cookie.split('=').next()).collect();
        assert_eq!(cookies, ["openbin-access", "openbin-refresh", "openbin-csrf"], "{via:?}");
        assert_eq!(response.field("content-security-policy"), Some("default-src 'self'"));
        assert_eq!(response.field("www-authenticate"), None);
    }
}

#[tokio::test]
async fn an_instances_own_refusal_passes_byte_for_byte() {
    let body = r#"{"error":"SESSION_REVOKED","message":"Session has been revoked. Please log in again."}"#;
    let upstream = Recorder::answering(move |_| {
        format!("HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    })
    .await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    let response = gateway.send(&Request::get("/api/bins").bearer(&jwt::session())).await;
    assert_eq!((response.status, response.text().as_str()), (401, body));
    assert_eq!(response.field("www-authenticate"), None, "OpenBin sends none, and it is OpenBin's answer");
}
