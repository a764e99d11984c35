//! Connections that switch to another protocol, on every way into the gateway.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;

use crate::support::tap::StreamEnd;
use crate::support::websocket::{
    ACCEPT, CANCEL, KEY, SECOND_STREAM, accepting, echo, exchange, open, open_h2, opened, request, rest,
    value,
};
use crate::support::{EVERY_WAY, Gateway, Instance, Recorder, Request, Setup, Via, Wire, jwt, wait};

async fn open_upgrades(gateway: &Gateway) -> f64 {
    gateway.metrics().await.sum("upgrades_open", &[])
}

#[tokio::test]
async fn bytes_pass_both_ways_once_the_instance_has_agreed_and_each_side_can_end_first() {
    let upstream = Recorder::scripted(echo).await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    for via in EVERY_WAY {
        upstream.clear();
        let (status, fields, mut stream) = open(&gateway, via, &jwt::session()).await;
        let seen = upstream.last();
        assert_eq!((&*seen.method, &*seen.target), ("GET", "/api/live?x=1"), "{via:?}");
        assert_eq!((seen.all("upgrade"), seen.all("connection")), (vec!["websocket"], vec!["upgrade"]));
        assert_eq!(seen.all("x-auth-user-id"), [jwt::USER]);
        assert_eq!(seen.all("sec-websocket-key").len(), 1);
        assert_eq!(value(&fields, "sec-websocket-protocol"), Some("chat"));
        assert!(value(&fields, "x-request-id").is_some());
        if via == Via::H2 {
            assert_eq!(
                (status, value(&fields, "upgrade"), value(&fields, "sec-websocket-accept")),
                (200, None, None)
            );
            assert_ne!(seen.field("sec-websocket-key"), Some(KEY));
        } else {
            assert_eq!((status, value(&fields, "upgrade")), (101, Some("websocket")));
            assert_eq!(value(&fields, "sec-websocket-accept"), Some(ACCEPT));
        }
        for number in 0..50_u32 {
            exchange(&mut stream, &number.to_be_bytes()).await;
        }
        assert_eq!(open_upgrades(&gateway).await, 1.0);
        stream.shutdown().await.expect("half closed");
        assert_eq!(rest(&mut stream).await, (b"bye!".to_vec(), true), "{via:?}");
        drop(stream);
        wait::until_answer("it to be over", async || (open_upgrades(&gateway).await == 0.0).then_some(()))
            .await;
        wait::until("the line", || gateway.access_lines().iter().any(|line| line["request_bytes"] == 200))
            .await;
        let lines = gateway.access_lines();
        let line = lines.iter().rfind(|line| line["request_bytes"] == 200).expect("a line");
        assert_eq!((&line["status"], &line["response_bytes"]), (&json!(status), &json!(204)), "{line}");
        assert_eq!((&line["complete"], &line["user_id"]), (&json!(true), &json!(jwt::USER)), "{line}");
        std::fs::write(gateway.setup.directory().join("access.log"), "").expect("emptied");
    }
}

#[tokio::test]
async fn much_passes_and_who_does_not_read_holds_the_other_side_back() {
    const MUCH: usize = 64 << 20;
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let upstream = Recorder::scripted(move |mut call| {
        let count = Arc::clone(&count);
        async move {
            let Some(head) = call.head().await else { return };
            call.send(accepting(&head)).await;
            while count.load(Ordering::SeqCst) < MUCH && call.send([7; 16 * 1024]).await {
                count.fetch_add(16 * 1024, Ordering::SeqCst);
            }
        }
    })
    .await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    for via in EVERY_WAY {
        sent.store(0, Ordering::SeqCst);
        let mut stream = opened(&gateway, via, &jwt::session()).await;
        let (mut last, mut same) = (0, 0);
        wait::until("the instance to come to a halt", || {
            let now = sent.load(Ordering::SeqCst);
            same = if now == last && now > 0 { same + 1 } else { 0 };
            last = now;
            same > 40
        })
        .await;
        assert!(last < MUCH / 2, "{via:?}: {last} bytes are held somewhere");
        let (rest, ended) = rest(&mut stream).await;
        assert_eq!((rest.len(), ended), (MUCH, true), "{via:?}");
        assert!(rest.iter().all(|byte| *byte == 7));
    }
}

#[tokio::test]
async fn a_request_to_switch_is_judged_like_any_other() {
    let upstream = Recorder::scripted(echo).await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    for via in EVERY_WAY {
        for bearer in ["", "junk"] {
            assert_eq!(open(&gateway, via, bearer).await.0, 401, "{via:?} {bearer}");
        }
    }
    let with_content = request(&jwt::session()).method("POST").field("Content-Length", "2");
    let mut wire = Wire::plain(gateway.http).await;
    wire.send([with_content.bytes(), b"{}".to_vec()].concat()).await;
    wire.response().await.assert_refused(400, "BAD_REQUEST", "A request to switch protocols has no content");
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn what_the_client_sends_ahead_waits_for_the_instance_to_agree() {
    for agrees in [true, false] {
        let agreed = Arc::new(Semaphore::new(0));
        let own = Arc::clone(&agreed);
        let upstream = Recorder::scripted(move |mut call| {
            let own = Arc::clone(&own);
            async move {
                let Some(head) = call.head().await else { return };
                tokio::select! {
                    permit = own.acquire() => permit.expect("open").forget(),
                    _ = call.exactly(1) => panic!("a byte came ahead of the answer"),
                }
                if agrees {
                    call.send(accepting(&head)).await;
                    let ahead = call.exactly(35).await.expect("what was sent ahead");
                    call.send(ahead).await;
                } else {
                    call.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno").await;
                }
                call.closed().await;
            }
        })
        .await;
        let gateway = Gateway::in_front_of(upstream.address()).await;
        let mut wire = Wire::plain(gateway.http).await;
        let ahead = b"GET /api/bins HTTP/1.1\r\nHost: x\r\n\r\n";
        assert_eq!(ahead.len(), 35);
        wire.send([&request(&jwt::session()).bytes()[..], ahead].concat()).await;
        upstream.wait_for(1).await;
        // Another request passes through the gateway's worker and back, and still nothing has gone ahead.
        for _ in 0..20 {
            assert_eq!(gateway.send(&Request::get("/api/bins")).await.status, 401);
        }
        agreed.add_permits(1);
        let answer = wire.response().await;
        if agrees {
            assert_eq!(answer.status, 101);
            assert_eq!(wire.exactly(35).await.expect("an echo"), ahead);
        } else {
            assert_eq!((answer.status, answer.text().as_str()), (200, "no"));
            // The protocol is still HTTP, and this is a request without a credential.
            assert_eq!(wire.response().await.status, 401);
        }
        assert_eq!(upstream.count(), 1);
    }
}

#[tokio::test]
async fn any_other_answer_is_passed_on_and_a_wrong_switch_is_the_instances_fault() {
    let plain = "HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    let success = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
    let other = "HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n";
    let two = "HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket, h2c\r\n\r\n";
    let none = "HTTP/1.1 101 X\r\n\r\n";
    let unproven =
        "HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n";
    for (answer, over_h1, over_h2) in [
        (plain, 403, 403),
        (success, 200, 502),
        (other, 502, 502),
        (two, 502, 502),
        (none, 502, 502),
        (unproven, 101, 502),
    ] {
        let upstream = Recorder::scripted(move |mut call| async move {
            call.head().await;
            call.send(answer).await;
            call.closed().await;
        })
        .await;
        let gateway = Gateway::in_front_of(upstream.address()).await;
        for via in EVERY_WAY {
            let wanted = if via == Via::H2 { over_h2 } else { over_h1 };
            assert_eq!(open(&gateway, via, &jwt::session()).await.0, wanted, "{via:?} {answer}");
        }
    }
}

#[tokio::test]
async fn who_asks_for_nothing_or_for_what_is_not_allowed_gets_no_switch() {
    let upstream = Recorder::start().await;
    for (line, upgrade) in [("upgrades: []", "websocket"), ("upgrades: [websocket]", "h2c")] {
        let gateway = Setup::of(upstream.address()).with(line).start().await;
        for via in [Via::Plain, Via::Tls] {
            let request = request(&jwt::session()).without("Upgrade").field("Upgrade", upgrade);
            assert_eq!(request.send(&gateway, via).await.status, 200, "{line}");
            assert_eq!((upstream.last().field("upgrade"), upstream.last().field("connection")), (None, None));
        }
        if upgrade == "websocket" {
            assert!(open_h2(&gateway, &jwt::session()).await.is_err(), "the extension is not offered");
        }
    }
    let (status, said) = Setup::of(upstream.address()).with("upgrades: [h2c]").refusal().await;
    assert_eq!(status, Some(2));
    assert!(said.contains("would carry requests past every check"), "{said}");
}

#[tokio::test]
async fn a_switched_connection_ends_with_its_credential() {
    let upstream = Recorder::scripted(echo).await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    for (number, via) in (1..).zip(EVERY_WAY) {
        let mut claims = jwt::claims(900 + number);
        claims["number"] = json!(number);
        let (one, other) = (jwt::signed(&claims, jwt::SECRET), jwt::session());
        let (mut cut, mut kept) = (opened(&gateway, via, &one).await, opened(&gateway, via, &other).await);
        exchange(&mut cut, b"ping").await;
        let (ended, start) = (upstream.ended(), Instant::now());
        let called = gateway.call("POST", "/sessions/home/end", &json!({ "token": one })).await;
        assert_eq!(called.status, 200, "{}", called.text());
        wait::until("the instance to see it end", || upstream.ended() > ended).await;
        let (rest, orderly) = rest(&mut cut).await;
        assert!(rest.is_empty(), "{via:?}: {rest:?}");
        // Without TLS, an end looks the same however it comes about; WebSocket itself says goodbye (RFC 6455
        // §7.1.5). What hyper's client takes for an end over HTTP/2 is looked at below.
        assert!(!orderly || via != Via::Tls, "{via:?}");
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        exchange(&mut kept, b"pong").await;
        wait::until("the line", || gateway.access_lines().iter().any(|line| line["cut"] == "session")).await;
    }
    assert_eq!(gateway.metrics().await.sum("exchanges_cut_total", &[("reason", "session")]), 3.0);
}

#[tokio::test]
async fn a_switched_connection_ends_with_its_credential_also_where_it_needed_none() {
    let upstream = Recorder::scripted(echo).await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    let session = jwt::session();
    let mut wire = Wire::plain(gateway.http).await;
    let request = Request::get("/live").bearer(&session).fields(&[
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Key", KEY),
    ]);
    wire.send(request.bytes()).await;
    assert_eq!(wire.response().await.status, 101);
    assert_eq!(upstream.last().all("x-auth-user-id"), [jwt::USER]);
    let ended = gateway.call("POST", "/sessions/home/end", &json!({ "token": session })).await;
    assert_eq!(ended.status, 200, "{}", ended.text());
    wait::until("the instance to see it end", || upstream.ended() == 1).await;
    assert!(wire.rest().await.is_empty());
}

#[tokio::test]
async fn silence_ends_a_switched_connection_and_so_does_the_deadline_of_a_shutdown() {
    let upstream = Recorder::scripted(echo).await;
    let instance = Instance::at(upstream.address()).with("connection: { idle_body_timeout: 1s }");
    let gateway = Setup::of_instances(vec![instance]).start().await;
    for via in EVERY_WAY {
        let ended = upstream.ended();
        let mut stream = opened(&gateway, via, &jwt::session()).await;
        exchange(&mut stream, b"ping").await;
        wait::until("silence to end it", || upstream.ended() > ended).await;
        assert!(rest(&mut stream).await.0.is_empty(), "{via:?}");
    }
    let gateway = Setup::of(upstream.address()).with("timeouts: { drain: 1s }").start().await;
    let mut streams = Vec::new();
    for via in EVERY_WAY {
        streams.push(opened(&gateway, via, &jwt::session()).await);
    }
    gateway.process.signal("TERM");
    let start = Instant::now();
    exchange(&mut streams[0], b"live").await;
    assert_eq!(gateway.process.exit().await.code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    for stream in &mut streams {
        assert!(rest(stream).await.0.is_empty());
    }
}

#[tokio::test]
async fn a_stream_that_has_switched_keeps_its_connection_from_being_idle() {
    let upstream = Recorder::scripted(echo).await;
    let gateway = Setup::of(upstream.address()).with("timeouts: { idle: 1s }").start().await;
    for via in EVERY_WAY {
        let mut stream = opened(&gateway, via, &jwt::session()).await;
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(3) {
            exchange(&mut stream, b"ping").await;
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
    }
}

#[tokio::test]
async fn an_instance_that_breaks_off_is_no_orderly_end_over_http_2() {
    let upstream = Recorder::scripted(|mut call| async move {
        let Some(head) = call.head().await else { return };
        call.send(accepting(&head)).await;
        call.exactly(4).await;
        call.reset();
    })
    .await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    let ((_, _, mut stream), heard) = open_h2(&gateway, &jwt::session()).await.expect("an answer");
    stream.write_all(b"ping").await.expect("sent");
    stream.flush().await.expect("sent");
    let (rest, _) = rest(&mut stream).await;
    assert!(rest.is_empty());
    wait::until("the line", || gateway.access_lines().iter().any(|line| line["request_bytes"] == 4)).await;
    let lines = gateway.access_lines();
    let line = lines.iter().find(|line| line["request_bytes"] == 4).expect("a line");
    assert_eq!(line["complete"], false, "{line}");
    assert_eq!(heard.end_of(SECOND_STREAM), Some(StreamEnd::Reset(CANCEL)));
}

#[tokio::test]
async fn over_http_2_a_switched_stream_that_is_cut_is_reset_and_one_that_ends_is_not() {
    let upstream = Recorder::scripted(echo).await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    let session = jwt::signed(&jwt::claims(800), jwt::SECRET);
    let ((_, _, mut stream), heard) = open_h2(&gateway, &session).await.expect("an answer");
    stream.shutdown().await.expect("half closed");
    assert_eq!(rest(&mut stream).await.0, b"bye!");
    assert_eq!(heard.end_of(SECOND_STREAM), Some(StreamEnd::Orderly));
    let ((_, _, mut stream), heard) = open_h2(&gateway, &session).await.expect("an answer");
    exchange(&mut stream, b"ping").await;
    let ended = gateway.call("POST", "/sessions/home/end", &json!({ "token": session })).await;
    assert_eq!(ended.status, 200, "{}", ended.text());
    assert!(rest(&mut stream).await.0.is_empty());
    assert_eq!(heard.end_of(SECOND_STREAM), Some(StreamEnd::Reset(CANCEL)));
}
