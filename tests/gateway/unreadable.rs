//! What cannot be read as a request: answered as every error is, and seen by the operator.

use serde_json::Value;
use tokio::io::AsyncWriteExt;

use crate::support::{Gateway, Recorder, Request, Via, Wire, wait};

/// Heads, and what each is answered.
fn heads() -> [(String, u16, &'static str, &'static str); 6] {
    let with = |fields: &str| format!("POST /api/bins HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n");
    [
        (with("Content-Length: 1\r\nTransfer-Encoding: chunked"), 400, "BAD_REQUEST", "unreadable"),
        (with("Transfer-Encoding: gzip, chunked"), 501, "NOT_IMPLEMENTED", "unreadable"),
        (with("A b: c"), 400, "BAD_REQUEST", "unreadable"),
        ("G<T / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 400, "BAD_REQUEST", "unreadable"),
        (with(&format!("A: {}", "b".repeat(70_000))), 431, "HEADERS_TOO_LARGE", "large"),
        (with(&["A: b"; 101].join("\r\n")), 431, "HEADERS_TOO_LARGE", "large"),
    ]
}

async fn connect(gateway: &Gateway, via: Via) -> Wire {
    match via {
        Via::Tls => Wire::tls(gateway.https, "localhost").await,
        Via::Plain | Via::H2 => Wire::plain(gateway.http).await,
    }
}

#[tokio::test]
async fn what_is_no_request_is_answered_as_every_error_is_and_has_a_line_in_the_log() {
    let upstream = Recorder::start().await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    let mut ended = [("unreadable", 0.0), ("large", 0.0)];
    for via in [Via::Plain, Via::Tls] {
        for (head, status, code, reason) in heads() {
            let shown = &head[..head.len().min(90)];
            let mut wire = connect(&gateway, via).await;
            wire.send(&head).await;
            let answer = wire.response().await;
            assert_eq!(answer.status, status, "{shown:?}");
            let error: Value = serde_json::from_str(&answer.text()).expect("JSON");
            assert_eq!(error["error"], code);
            assert!(error["message"].is_string());
            assert_eq!(answer.field("connection"), Some("close"));
            assert!(answer.field("date").is_some());
            assert!(wire.rest().await.is_empty(), "the connection is closed: {shown:?}");
            let id = answer.field("x-request-id").expect("an id");
            let line = wait::until_some("a line in the access log", || {
                gateway.access_lines().into_iter().find(|line| line["request_id"] == id)
            })
            .await;
            assert_eq!(line["client"], "127.0.0.1");
            assert_eq!((&line["status"], &line["outcome"]), (&status.into(), &"unreadable".into()), "{line}");
            assert_eq!(line["complete"], true, "{line}");
            for (own, count) in &mut ended {
                *count += f64::from(u8::from(*own == reason));
            }
        }
    }
    let metrics = gateway.metrics().await;
    for (reason, count) in ended {
        assert_eq!(metrics.sum("connections_ended_total", &[("reason", reason)]), count, "{reason}");
    }
    let all: f64 = ended.iter().map(|(_, count)| count).sum();
    assert_eq!(metrics.sum("auth_total", &[("outcome", "unreadable")]), all);
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn what_came_before_it_is_answered_first() {
    let upstream = Recorder::answering(|_| {
        // More than fits between two sockets, so that it is still being sent when the next head is looked at.
        let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 8000000\r\n\r\n".to_vec();
        answer.resize(answer.len() + 8_000_000, b'x');
        answer
    })
    .await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    for (head, status, _, _) in heads() {
        let mut wire = Wire::plain(gateway.http).await;
        let first = Request::get("/").bytes();
        wire.send([&first[..], &first[..], head.as_bytes()].concat()).await;
        for _ in 0..2 {
            let answer = wire.response().await;
            assert_eq!((answer.status, answer.body.len()), (200, 8_000_000));
        }
        assert_eq!(wire.response().await.status, status);
        assert!(wire.rest().await.is_empty());
    }
}

#[tokio::test]
async fn failed_handshakes_are_counted_and_told_of_once_a_minute() {
    let upstream = Recorder::start().await;
    let gateway = crate::support::Setup::of(upstream.address()).with("workers: 1").start().await;
    for _ in 0..5 {
        let mut stream = tokio::net::TcpStream::connect(gateway.https).await.expect("connected");
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
    }
    wait::until_answer("five of them", async || {
        let failed = gateway.metrics().await.sum("connections_ended_total", &[("reason", "tls")]);
        (failed >= 5.0).then_some(())
    })
    .await;
    let told = || -> Vec<_> {
        let said = gateway.process.stderr();
        said.into_iter().filter(|line| line.contains("TLS handshake failed")).collect()
    };
    // What is told is read by another thread.
    wait::until("a line in the log", || !told().is_empty()).await;
    assert_eq!(told().len(), 1, "{:?}", told());
    assert!(told()[0].contains("127.0.0.1:"), "{:?}", told());
}

#[tokio::test]
async fn more_fields_than_may_be_are_refused_over_http_2_too_and_other_streams_go_on() {
    let upstream = Recorder::start().await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    let many =
        |count: usize| (0..count).fold(Request::get("/api/health"), |request, _| request.field("a", "b"));
    let answer = many(101).send(&gateway, Via::H2).await;
    assert_eq!((answer.status, answer.json()["error"].as_str()), (431, Some("HEADERS_TOO_LARGE")));
    let id = answer.field("x-request-id").expect("an id");
    let line = wait::until_some("a line in the access log", || {
        gateway.access_lines().into_iter().find(|line| line["request_id"] == id)
    })
    .await;
    assert_eq!((&line["status"], &line["outcome"]), (&431.into(), &"unreadable".into()), "{line}");
    assert_eq!(line["protocol"], "2", "{line}");
    assert_eq!(many(80).send(&gateway, Via::H2).await.status, 200);
    assert_eq!(upstream.requests().len(), 1);
}
