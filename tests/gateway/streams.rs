//! Streams: each part passes as it comes, and whoever breaks off is heard on the other side.

use std::sync::Arc;

use http_body_util::BodyExt;
use tokio::sync::Semaphore;

use crate::support::client::H2;
use crate::support::{Gateway, Recorder, Request, Via, Wire, jwt, wait};

const EVENT_HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache, no-transform\r\n\
                          X-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n\r\n";

fn event(number: usize) -> String {
    format!("data: {{\"type\":\"delta\",\"n\":{number}}}\n\n")
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// An upstream that sends one more event for each permit, and never ends by itself.
async fn event_stream() -> (Recorder, Arc<Semaphore>) {
    let permits = Arc::new(Semaphore::new(0));
    let given = Arc::clone(&permits);
    let upstream = Recorder::scripted(move |mut call| {
        let given = Arc::clone(&given);
        async move {
            while call.request().await.is_some() {
                call.send(EVENT_HEAD).await;
                for number in 0.. {
                    tokio::select! {
                        permit = given.acquire() => permit.expect("open").forget(),
                        () = call.closed() => return,
                    }
                    call.send(chunk(&event(number))).await;
                }
            }
        }
    })
    .await;
    (upstream, permits)
}

fn ask() -> Request {
    Request::post("/api/ai/ask/stream", "{\"q\":1}")
        .bearer(&jwt::session())
        .field("Accept", "text/event-stream")
}

#[tokio::test]
async fn events_pass_one_by_one_over_http_1() {
    let (upstream, permits) = event_stream().await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    for tls in [false, true] {
        let mut wire = match tls {
            true => Wire::tls(gateway.https, "localhost").await,
            false => Wire::plain(gateway.http).await,
        };
        wire.send(ask().bytes()).await;
        // The head comes although no event has been sent yet.
        let head = wire.head().await.expect("a head");
        assert_eq!((head.status, head.field("content-type")), (200, Some("text/event-stream")));
        for number in 0..20 {
            permits.add_permits(1);
            let mut text = String::new();
            while !text.ends_with("\n\n") {
                text.push_str(&String::from_utf8(wire.chunk().await.expect("a chunk")).expect("text"));
            }
            assert_eq!(text, event(number), "each event comes before the next is sent");
        }
        drop(wire);
        // Until then it could take the next one's permit.
        let left = 1 + usize::from(tls);
        wait::until("the instance to see the client leave", || upstream.ended() == left).await;
    }
}

#[tokio::test]
async fn events_pass_one_by_one_over_http_2() {
    let (upstream, permits) = event_stream().await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    let connection = H2::connect(gateway.https, "localhost").await;
    let mut response = connection.open(ask().for_h2()).await.expect("a head");
    assert_eq!(response.status(), 200);
    for number in 0..20 {
        permits.add_permits(1);
        let mut text = String::new();
        while !text.ends_with("\n\n") {
            let frame = wait::within("an event", response.frame()).await.expect("a frame").expect("no error");
            text.push_str(std::str::from_utf8(frame.data_ref().expect("data")).expect("text"));
        }
        assert_eq!(text, event(number));
    }
}

#[tokio::test]
async fn a_client_that_leaves_an_event_stream_is_heard_at_the_instance() {
    let (upstream, permits) = event_stream().await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    let mut wire = Wire::plain(gateway.http).await;
    wire.send(ask().bytes()).await;
    permits.add_permits(1);
    assert!(wire.head().await.is_some() && wire.chunk().await.is_some());
    drop(wire);
    wait::until("the instance to see an HTTP/1.1 client leave", || upstream.ended() == 1).await;
    let connection = H2::connect(gateway.https, "localhost").await;
    let mut response = connection.open(ask().for_h2()).await.expect("a head");
    permits.add_permits(1);
    assert!(response.frame().await.is_some());
    drop(response);
    wait::until("the instance to see an HTTP/2 stream reset", || upstream.ended() == 2).await;
    assert_eq!(
        connection.try_send(&Request::get("/api/bins")).await.expect("the connection lives").status,
        401
    );
}

#[tokio::test]
async fn a_client_that_leaves_before_the_head_is_heard_at_the_instance() {
    let upstream = Recorder::scripted(|mut call| async move {
        call.request().await;
        call.closed().await;
    })
    .await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    let mut wire = Wire::plain(gateway.http).await;
    wire.send(ask().bytes()).await;
    upstream.wait_for(1).await;
    drop(wire);
    wait::until("the instance to see the client leave", || upstream.ended() == 1).await;
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_its_upload_is_heard_at_the_instance() {
    let upstream = Recorder::start().await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    for framing in ["Content-Length: 1000", "Transfer-Encoding: chunked"] {
        let ended = upstream.ended();
        let mut wire = Wire::plain(gateway.http).await;
        wire.send(format!(
            "POST /api/auth/login HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n5\r\nhello\r\n"
        ))
        .await;
        upstream.wait_for(1).await;
        drop(wire);
        wait::until("the instance to see the upload end", || upstream.ended() > ended).await;
        assert!(!upstream.last().whole, "{framing}: it must not look whole");
        upstream.clear();
    }
}

#[tokio::test]
async fn a_cut_answer_never_looks_whole() {
    let cut_in_length = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart".to_vec();
    let cut_in_chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n".to_vec();
    let cut_in_chunk = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\npart".to_vec();
    for answer in [cut_in_length, cut_in_chunks, cut_in_chunk] {
        for reset in [false, true] {
            let bytes = answer.clone();
            let upstream = Recorder::scripted(move |mut call| {
                let bytes = bytes.clone();
                async move {
                    call.request().await;
                    call.send(bytes).await;
                    if reset {
                        call.reset();
                    }
                }
            })
            .await;
            let gateway = Gateway::in_front_of(upstream.address()).await;
            for via in [Via::Plain, Via::Tls, Via::H2] {
                let whole = looks_whole(&gateway, via).await;
                assert!(!whole, "{via:?} {:?}", String::from_utf8_lossy(&answer));
            }
        }
    }
}

/// Whether the answer to a request looks like a whole one, other than a 502 of the gateway's own: a reset can
/// overtake the answer's first bytes.
async fn looks_whole(gateway: &Gateway, via: Via) -> bool {
    let head_and_rest = match via {
        Via::H2 => {
            let connection = H2::connect(gateway.https, "localhost").await;
            connection.try_send(&Request::get("/")).await.ok()
        }
        Via::Plain | Via::Tls => {
            let mut wire = match via {
                Via::Plain => Wire::plain(gateway.http).await,
                Via::Tls | Via::H2 => Wire::tls(gateway.https, "localhost").await,
            };
            wire.send(Request::get("/").bytes()).await;
            wire.final_response("GET").await
        }
    };
    head_and_rest.is_some_and(|response| response.whole && response.status != 502)
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_is_passed_whole() {
    let upstream = Recorder::scripted(|mut call| async move {
        call.request().await;
        call.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end").await;
    })
    .await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    for via in crate::support::EVERY_WAY {
        let response = Request::get("/").send(&gateway, via).await;
        assert_eq!((response.text().as_str(), response.whole), ("until the end", true), "{via:?}");
    }
}

#[tokio::test]
async fn trailers_pass_in_both_directions() {
    let upstream = Recorder::answering(|_| {
        b"HTTP/1.1 200 OK\r\nTrailer: X-Checksum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Checksum: abc\r\n\r\n"
            .to_vec()
    })
    .await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    for via in crate::support::EVERY_WAY {
        let mut request = Request::get("/");
        if via != Via::H2 {
            request = request.field("TE", "trailers").field("Connection", "TE");
        }
        let response = request.send(&gateway, via).await;
        assert_eq!(response.text(), "ok");
        assert_eq!(response.trailers, [("x-checksum".to_owned(), "abc".to_owned())], "{via:?}");
    }
    let mut wire = Wire::plain(gateway.http).await;
    wire.send(
        "POST /api/auth/login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTrailer: X-Checksum\r\n\r\n\
         2\r\n{}\r\n0\r\nX-Checksum: def\r\n\r\n",
    )
    .await;
    assert_eq!(wire.response().await.status, 200);
    let seen = upstream.last();
    let checksum = seen.trailers.iter().find(|(name, _)| name.eq_ignore_ascii_case("x-checksum"));
    assert_eq!(checksum.map(|(_, value)| value.as_str()), Some("def"));
}

#[tokio::test]
async fn interim_answers_do_not_stand_in_for_the_final_one() {
    let upstream = Recorder::answering(|_| {
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
            .to_vec()
    })
    .await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    for via in crate::support::EVERY_WAY {
        let response = Request::get("/").send(&gateway, via).await;
        assert_eq!((response.status, response.text().as_str()), (200, "ok"), "{via:?}");
    }
}
