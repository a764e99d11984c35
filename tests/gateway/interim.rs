//! Interim responses (RFC 9110 §15.2): what an instance says before its answer reaches a client of HTTP/1.1 at once,
//! before that answer and no other, and never in a form that could be taken for one.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::support::recorder::{Call, PLAIN_ANSWER};
use crate::support::{Gateway, Recorder, Request, Via, Wire, jwt};

const HINT: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";
/// The same as a client of the gateway reads it.
const HINT_READ: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// An instance that answers every request with these bytes, and a gateway in front of it.
async fn saying(answer: impl Into<Vec<u8>>) -> (Recorder, Gateway) {
    let answer = answer.into();
    let upstream = Recorder::answering(move |_| answer.clone()).await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    (upstream, gateway)
}

async fn wire(gateway: &Gateway, via: Via) -> Wire {
    match via {
        Via::Plain => Wire::plain(gateway.http).await,
        Via::Tls | Via::H2 => Wire::tls(gateway.https, "localhost").await,
    }
}

/// Reads exactly this.
async fn expect(wire: &mut Wire, text: &str) {
    let came = wire.exactly(text.len()).await.expect("as many bytes");
    assert_eq!(String::from_utf8_lossy(&came), text);
}

async fn expect_ok(wire: &mut Wire) {
    let answer = wire.head().await.expect("an answer");
    assert_eq!(answer.status, 200);
    assert_eq!(wire.exactly(2).await.as_deref(), Some(&b"ok"[..]));
}

#[tokio::test]
async fn an_interim_response_comes_at_once_and_not_only_with_the_answer() {
    let seen = Arc::new(Notify::new());
    let go_on = Arc::clone(&seen);
    let upstream = Recorder::scripted(move |mut call| {
        let seen = Arc::clone(&seen);
        async move {
            while call.request().await.is_some() {
                call.send(HINT).await;
                seen.notified().await;
                call.send(OK).await;
            }
        }
    })
    .await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    for via in [Via::Plain, Via::Tls] {
        let mut wire = wire(&gateway, via).await;
        for _ in 0..3 {
            wire.send(Request::get("/").bytes()).await;
            expect(&mut wire, HINT_READ).await;
            go_on.notify_one();
            expect_ok(&mut wire).await;
        }
    }
    assert!(upstream.connections() <= 2, "a worker keeps its connection to the instance");
}

#[tokio::test]
async fn several_that_come_with_the_answer_come_in_order_and_before_it() {
    let processing = "HTTP/1.1 102 Processing\r\n\r\n";
    let (_upstream, gateway) = saying(format!(
        "{HINT}HTTP/1.1 100 Continue\r\n\r\n{processing}HTTP/1.1 103 What Ever\r\nSet-Cookie: a=b\r\n\
         Set-Cookie: c=d\r\n\r\nHTTP/1.1 199 x\r\n\r\n{OK}"
    ))
    .await;
    for via in [Via::Plain, Via::Tls] {
        let mut wire = wire(&gateway, via).await;
        for _ in 0..3 {
            wire.send(Request::get("/").bytes()).await;
            expect(&mut wire, HINT_READ).await;
            expect(&mut wire, processing).await;
            expect(
                &mut wire,
                "HTTP/1.1 103 Early Hints\r\nset-cookie: a=b\r\nset-cookie: c=d\r\n\r\nHTTP/1.1 199 \r\n\r\n",
            )
            .await;
            expect_ok(&mut wire).await;
        }
    }
}

#[tokio::test]
async fn nothing_in_it_frames_concerns_another_hop_or_claims_an_identity() {
    let (_upstream, gateway) = saying(format!(
        "HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: close, x-mine\r\n\
         X-Mine: 1\r\nKeep-Alive: timeout=5\r\nUpgrade: websocket\r\nX-Auth-User-Id: eve\r\nX_Auth.Method: jwt\r\n\
         Trailer: X-Sum\r\nLink: </a.css>; rel=preload\r\n\r\n{OK}"
    ))
    .await;
    let mut wire = Wire::plain(gateway.http).await;
    for _ in 0..2 {
        wire.send(Request::get("/").bytes()).await;
        expect(&mut wire, HINT_READ).await;
        expect_ok(&mut wire).await;
    }
}

#[tokio::test]
async fn clients_of_http_1_0_are_given_the_answer_alone() {
    let (_upstream, gateway) = saying(format!("{HINT}{HINT}{OK}")).await;
    let mut wire = Wire::plain(gateway.http).await;
    for _ in 0..2 {
        wire.send("GET / HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n").await;
        expect(&mut wire, "HTTP/1.0 200 OK\r\n").await;
        while wire.line().await.is_some_and(|line| !line.is_empty()) {}
        assert_eq!(wire.exactly(2).await.as_deref(), Some(&b"ok"[..]));
    }
    wire.send(Request::get("/").bytes()).await;
    expect(&mut wire, HINT_READ).await;
    expect(&mut wire, HINT_READ).await;
    expect_ok(&mut wire).await;
}

#[tokio::test]
async fn nothing_of_a_malformed_one_reaches_a_client() {
    for malformed in [
        "HTTP/1.1 103 Early Hints\r\nSpace In: name\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nSpace : before\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nA: b\r\n folded\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nno colon\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\n: no name\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nA: \0\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nA: b\rC: d\r\n\r\n",
        "HTTP/1.1 103 Early Hints\nA: b\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nA: b\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nA: b\r\n\n",
        "HTTP/1.1 1x3 Early Hints\r\n\r\n",
        "HTTP/1.1 103Early Hints\r\n\r\n",
        "HTTP/2.0 103 Early Hints\r\n\r\n",
        "HTTP/1.1  103 Early Hints\r\n\r\n",
    ] {
        for (before, behind) in [("", ""), ("", OK), (HINT, OK)] {
            let (_upstream, gateway) = saying(format!("{before}{malformed}{behind}")).await;
            let mut wire = Wire::plain(gateway.http).await;
            wire.send(Request::get("/").bytes()).await;
            if before == HINT {
                expect(&mut wire, HINT_READ).await;
            }
            expect(&mut wire, "HTTP/1.1 502 Bad Gateway\r\n").await;
            let (_, rest) = (wire.finish().await, wire.rest().await);
            let rest = String::from_utf8_lossy(&rest);
            assert!(rest.ends_with('}') && !rest.contains("HTTP/1"), "{malformed:?}: {rest}");
        }
    }
}

#[tokio::test]
async fn an_old_or_a_long_one_is_left_out_and_the_answer_passes() {
    let long = format!("HTTP/1.1 103 Early Hints\r\nLink: <{}>\r\n\r\n", "a".repeat(17 * 1024));
    for left_out in ["HTTP/1.0 103 Early Hints\r\nA: b\r\n\r\n", &long] {
        let (_upstream, gateway) = saying(format!("{HINT}{left_out}{OK}")).await;
        let mut wire = Wire::plain(gateway.http).await;
        for _ in 0..2 {
            wire.send(Request::get("/").bytes()).await;
            expect(&mut wire, HINT_READ).await;
            expect_ok(&mut wire).await;
        }
    }
}

/// What is answered with a head alone may wait in hyper while the next request is read.
fn content(number: usize, longest: usize) -> String {
    if number % 3 == 1 { String::new() } else { "x".repeat(longest) }
}

#[tokio::test]
async fn pipelined_requests_have_each_their_own_before_their_own_answer() {
    // Together more than sockets hold: some wait for their client in the midst of an answer, others before one.
    for (requests, longest) in [(40, 300 * 1024), (300, 2 * 1024)] {
        let upstream = Recorder::answering(move |request| {
            let number = request.target.trim_start_matches('/');
            let content = content(number.parse().expect("a number"), longest);
            format!(
                "HTTP/1.1 103 Early Hints\r\nX-For: {number}\r\nX-Long: {}\r\n\r\n\
                 HTTP/1.1 102 Processing\r\nX-For: {number}\r\n\r\n\
                 HTTP/1.1 200 OK\r\nX-For: {number}\r\nContent-Length: {}\r\n\r\n{content}",
                "l".repeat(8000),
                content.len()
            )
            .into_bytes()
        })
        .await;
        let gateway = Gateway::in_front_of(upstream.address()).await;
        for via in [Via::Plain, Via::Tls] {
            upstream.clear();
            let mut wire = match via {
                Via::Plain => Wire::narrow(gateway.http).await,
                Via::Tls | Via::H2 => wire(&gateway, via).await,
            };
            let asked: Vec<_> = (0..requests).flat_map(|n| Request::get(&format!("/{n}")).bytes()).collect();
            wire.send(asked).await;
            upstream.wait_for(1).await;
            for number in 0..requests {
                for status in [103, 102, 200] {
                    let head = wire.head().await.expect("a head");
                    assert_eq!(head.status, status, "{number}");
                    assert_eq!(head.field("x-for"), Some(number.to_string().as_str()), "{status}");
                }
                let expected = content(number, longest);
                let came = wire.exactly(expected.len()).await.expect("its content");
                assert!(came == expected.as_bytes(), "{number}");
            }
        }
    }
}

#[tokio::test]
async fn an_instance_that_breaks_off_behind_one_is_told_as_502_behind_it() {
    let upstream = Recorder::scripted(|mut call: Call| async move {
        call.request().await;
        call.send(HINT).await;
    })
    .await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    for via in [Via::Plain, Via::Tls] {
        let mut wire = wire(&gateway, via).await;
        for _ in 0..2 {
            wire.send(Request::get("/").bytes()).await;
            expect(&mut wire, HINT_READ).await;
            let head = wire.head().await.expect("an answer");
            assert_eq!(head.status, 502);
            let length = head.field("content-length").and_then(|length| length.parse().ok());
            wire.exactly(length.expect("a length")).await.expect("a body");
        }
    }
    assert_eq!(upstream.count(), 4, "no request is sent twice once something came");
}

#[tokio::test]
async fn a_head_request_has_them_too() {
    let (_upstream, gateway) = saying(format!("{HINT}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")).await;
    let mut wire = Wire::plain(gateway.http).await;
    for _ in 0..2 {
        wire.send(Request::new("HEAD", "/").bytes()).await;
        expect(&mut wire, HINT_READ).await;
        assert_eq!(wire.head().await.expect("an answer").status, 200);
    }
}

#[tokio::test]
async fn an_upload_that_waits_to_be_asked_for_is_asked_for_and_hinted_at() {
    let upstream = Recorder::scripted(|mut call: Call| async move {
        while let Some(head) = call.head().await {
            call.send(HINT).await;
            call.body(head).await;
            call.send(format!("HTTP/1.1 102 Processing\r\n\r\n{OK}")).await;
        }
    })
    .await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    for via in [Via::Plain, Via::Tls] {
        let mut wire = wire(&gateway, via).await;
        for _ in 0..3 {
            wire.send(
                "POST /api/auth/login HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
            )
            .await;
            let (first, second) = (wire.head().await.expect("a head"), wire.head().await.expect("a head"));
            let mut both = [first.status, second.status];
            both.sort_unstable();
            assert_eq!(both, [100, 103]);
            wire.send("hello").await;
            expect(&mut wire, "HTTP/1.1 102 Processing\r\n\r\n").await;
            expect_ok(&mut wire).await;
            assert_eq!(upstream.last().body, b"hello");
        }
    }
}

#[tokio::test]
async fn what_ends_a_session_has_them_too() {
    let (_upstream, gateway) = saying(format!("{HINT}{OK}")).await;
    let mut wire = Wire::plain(gateway.http).await;
    let session = jwt::session();
    wire.send(Request::post("/api/auth/logout", "{}").session(&session).bytes()).await;
    expect(&mut wire, HINT_READ).await;
    expect_ok(&mut wire).await;
    assert_eq!(Request::get("/api/bins").session(&session).on(&mut wire).await.status, 401);
}

#[tokio::test]
async fn a_request_that_is_sent_again_has_them_too() {
    let upstream = Recorder::scripted(|mut call: Call| async move {
        call.request().await;
        if call.connection == 0 {
            call.send(OK).await;
            // The next is read, and not answered: its connection ends as if it had never come.
            call.request().await;
            return;
        }
        call.send(format!("{HINT}{OK}")).await;
        call.closed().await;
    })
    .await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    let mut wire = Wire::plain(gateway.http).await;
    wire.send(Request::get("/").bytes()).await;
    expect_ok(&mut wire).await;
    wire.send(Request::get("/").bytes()).await;
    expect(&mut wire, HINT_READ).await;
    expect_ok(&mut wire).await;
    assert_eq!(upstream.count(), 3);
}

#[tokio::test]
async fn a_request_to_switch_protocols_has_them_before_its_switch() {
    let switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    let upstream = Recorder::scripted(move |mut call: Call| async move {
        call.request().await;
        // What looks like one more behind the switch is the other protocol's.
        call.send(format!("{HINT}{switching}{HINT}")).await;
        call.closed().await;
    })
    .await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    for via in [Via::Plain, Via::Tls] {
        let mut wire = wire(&gateway, via).await;
        let request = Request::get("/").field("Connection", "Upgrade").field("Upgrade", "websocket");
        wire.send(request.bytes()).await;
        expect(&mut wire, HINT_READ).await;
        assert_eq!(wire.head().await.expect("an answer").status, 101);
        expect(&mut wire, HINT).await;
    }
}

#[tokio::test]
async fn a_refusal_here_has_none() {
    let (upstream, gateway) = saying([HINT.as_bytes(), PLAIN_ANSWER].concat()).await;
    let mut wire = Wire::plain(gateway.http).await;
    wire.send(Request::get("/api/bins").bytes()).await;
    assert_eq!(wire.head().await.expect("an answer").status, 401);
    assert_eq!(upstream.count(), 0);
}
