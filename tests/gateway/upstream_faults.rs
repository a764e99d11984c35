//! An instance that is down, slow, or breaks off: the client is told the truth, quickly, and nothing unsafe is repeated.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::support::port::nobody;
use crate::support::recorder::PLAIN_ANSWER;
use crate::support::{EVERY_WAY, Gateway, Instance, Recorder, Request, Setup, Wire, jwt, wait};

const DOWN: (u16, &str, &str) =
    (502, "UPSTREAM_UNAVAILABLE", "OpenBin cannot be reached right now, please try again");
const SLOW: (u16, &str, &str) = (504, "UPSTREAM_TIMEOUT", "OpenBin did not answer in time");

#[tokio::test]
async fn an_instance_that_is_down_is_told_at_once_as_json() {
    let gateway = Gateway::in_front_of(nobody()).await;
    for via in EVERY_WAY {
        for request in [
            Request::get("/"),
            Request::get("/api/bins").bearer(&jwt::session()),
            Request::post("/api/auth/login", "{}"),
        ] {
            let start = Instant::now();
            let response = request.send(&gateway, via).await;
            response.assert_refused(DOWN.0, DOWN.1, DOWN.2);
            assert!(start.elapsed() < Duration::from_secs(2), "{via:?}: {:?}", start.elapsed());
        }
    }
}

#[tokio::test]
async fn an_instance_that_cannot_be_reached_is_given_up_within_the_connect_timeout() {
    // A listener that accepts nothing and whose queue is full: the system answers no further handshake.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any.into()).expect("bound");
    socket.listen(0).expect("listening");
    let address = socket.local_addr().expect("an address").as_socket().expect("IPv4");
    let _queued = tokio::net::TcpStream::connect(address).await.expect("the only place in the queue");
    let instance = Instance::at(address).with("connection: { connect_timeout: 300ms }");
    let gateway = Setup::of_instances(vec![instance]).start().await;
    let start = Instant::now();
    let response = gateway.send(&Request::get("/")).await;
    response.assert_refused(DOWN.0, DOWN.1, DOWN.2);
    let waited = start.elapsed();
    assert!((Duration::from_millis(300)..Duration::from_secs(3)).contains(&waited), "{waited:?}");
}

#[tokio::test]
async fn an_instance_that_comes_back_is_used_without_a_restart() {
    let address = nobody();
    let gateway = Gateway::in_front_of(address).await;
    assert_eq!(gateway.send(&Request::get("/")).await.status, 502);
    let listener = tokio::net::TcpListener::bind(address).await.expect("the address is still free");
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer).await;
            let _ = stream.write_all(PLAIN_ANSWER).await;
        }
    });
    assert_eq!(gateway.send(&Request::get("/")).await.status, 200);
}

#[tokio::test]
async fn a_head_that_does_not_come_is_504() {
    let upstream = Recorder::scripted(|mut call| async move {
        call.request().await;
        call.closed().await;
    })
    .await;
    let instance = Instance::at(upstream.address()).with("connection: { response_timeout: 1s }");
    let gateway = Setup::of_instances(vec![instance]).start().await;
    for via in EVERY_WAY {
        let start = Instant::now();
        Request::get("/").send(&gateway, via).await.assert_refused(SLOW.0, SLOW.1, SLOW.2);
        assert!(start.elapsed() >= Duration::from_secs(1), "{via:?}");
    }
    wait::until("the connections of given-up requests to close", || upstream.ended() == 3).await;
    assert_eq!(upstream.count(), 3, "none was repeated");
}

#[tokio::test]
async fn the_time_for_a_head_runs_from_the_end_of_the_content_and_only_once() {
    // Between once and twice the time that it has.
    let upstream = Recorder::scripted(|mut call| async move {
        call.request().await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        call.send(PLAIN_ANSWER).await;
    })
    .await;
    let instance = Instance::at(upstream.address()).with("connection: { response_timeout: 2s }");
    let gateway = Setup::of_instances(vec![instance]).start().await;
    let answer = gateway.send(&Request::post("/api/auth/login", "{}")).await;
    answer.assert_refused(SLOW.0, SLOW.1, SLOW.2);
}

#[tokio::test]
async fn a_body_that_stops_coming_is_cut_and_does_not_look_whole() {
    let upstream = Recorder::scripted(|mut call| async move {
        call.request().await;
        call.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n").await;
        call.closed().await;
    })
    .await;
    let instance = Instance::at(upstream.address()).with("connection: { idle_body_timeout: 1s }");
    let gateway = Setup::of_instances(vec![instance]).start().await;
    let response = gateway.send(&Request::get("/")).await;
    assert_eq!((response.text().as_str(), response.whole), ("part", false));
}

#[tokio::test]
async fn an_answer_that_is_reset_while_its_upload_goes_on_does_not_look_whole() {
    let (breaking, broken) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (told, tell) = (Arc::clone(&breaking), Arc::clone(&broken));
    let upstream = Recorder::scripted(move |mut call| {
        let (told, tell) = (Arc::clone(&told), Arc::clone(&tell));
        async move {
            call.head().await;
            call.send("HTTP/1.1 200 OK\r\n\r\npart").await;
            told.notified().await;
            call.reset();
            tell.notify_one();
        }
    })
    .await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    let mut wire = Wire::plain(gateway.http).await;
    wire.send("POST / HTTP/1.1\r\nHost: bins.example\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n").await;
    assert_eq!(wire.head().await.expect("a head").status, 200);
    assert_eq!(wire.chunk().await.as_deref(), Some(&b"part"[..]));
    // It sees the reset, and what comes next of the upload, at the same time.
    gateway.process.signal("STOP");
    wait::until("it to stop", || gateway.process.is_stopped()).await;
    breaking.notify_one();
    wait::within("the reset", broken.notified()).await;
    wire.send("1\r\nb\r\n").await;
    gateway.process.signal("CONT");
    assert_eq!(wire.chunk().await, None);
}

#[tokio::test]
async fn an_instance_that_closes_idle_connections_costs_no_read_an_error() {
    // Closes each connection right after its second answer, without saying so beforehand.
    let upstream = Recorder::scripted(|mut call| async move {
        for _ in 0..2 {
            if call.request().await.is_none() || !call.send(PLAIN_ANSWER).await {
                return;
            }
        }
    })
    .await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    let mut failed = Vec::new();
    let mut wire = Wire::plain(gateway.http).await;
    for number in 0..1000 {
        let response = Request::get(&format!("/{number}")).on(&mut wire).await;
        if response.status != 200 {
            failed.push((number, response.status));
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}

#[tokio::test]
async fn a_write_reaches_the_instance_once_at_most() {
    let upstream = Recorder::scripted(|mut call| async move {
        for _ in 0..2 {
            if call.request().await.is_none() || !call.send(PLAIN_ANSWER).await {
                return;
            }
        }
    })
    .await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    let mut wire = Wire::plain(gateway.http).await;
    let mut answered = 0;
    for number in 0..300 {
        let request = Request::post(&format!("/api/auth/refresh?n={number}"), "");
        let response = request.on(&mut wire).await;
        assert!(matches!(response.status, 200 | 502), "{}", response.status);
        answered += usize::from(response.status == 200);
    }
    let mut seen: HashMap<String, usize> = HashMap::new();
    for request in upstream.requests() {
        *seen.entry(request.target).or_default() += 1;
    }
    assert!(seen.values().all(|&times| times == 1), "{:?}", seen.iter().find(|(_, times)| **times > 1));
    assert!(answered >= 150, "{answered} of 300 were answered");
}

#[tokio::test]
async fn a_request_that_was_read_and_not_answered_is_repeated_only_if_it_is_safe() {
    // The first request of a connection is answered, the second read and then broken off.
    let upstream = Recorder::scripted(|mut call| async move {
        if call.request().await.is_some() && call.send(PLAIN_ANSWER).await {
            call.request().await;
            call.reset();
        }
    })
    .await;
    let gateway = Setup::of(upstream.address()).with("workers: 1").start().await;
    let session = jwt::session();
    for (method, status, most) in [
        ("GET", 200, 2),
        ("HEAD", 200, 2),
        ("POST", 502, 1),
        ("PUT", 502, 1),
        ("DELETE", 502, 1),
        ("PATCH", 502, 1),
    ] {
        // Leaves a kept connection behind, whose next request will be broken off.
        assert_eq!(gateway.send(&Request::get("/warm")).await.status, 200);
        upstream.clear();
        let response = gateway.send(&Request::new(method, "/api/bins").bearer(&session)).await;
        assert_eq!(response.status, status, "{method}");
        assert!((1..=most).contains(&upstream.count()), "{method}: sent {} times", upstream.count());
        if status == 200 {
            // The second connection has answered once, and would break the next request off too.
            upstream.clear();
            let _ = gateway.send(&Request::new("POST", "/api/bins").bearer(&session)).await;
        }
    }
}

#[tokio::test]
async fn what_is_not_http_is_502() {
    for answer in [
        &b"SSH-2.0-OpenSSH_9.6\r\n"[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
        b"HTTP/1.1 999999 X\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad name: x\r\n\r\n",
        b"",
    ] {
        let upstream = Recorder::scripted(move |mut call| async move {
            call.request().await;
            call.send(answer).await;
        })
        .await;
        let gateway = Gateway::in_front_of(upstream.address()).await;
        let response = gateway.send(&Request::get("/")).await;
        let text = String::from_utf8_lossy(answer);
        assert_eq!(response.status, 502, "{text:?}");
        response.assert_refused(DOWN.0, DOWN.1, DOWN.2);
    }
}

#[tokio::test]
async fn an_endless_head_is_given_up() {
    let upstream = Recorder::scripted(|mut call| async move {
        call.request().await;
        call.send("HTTP/1.1 200 OK\r\n").await;
        let field = format!("X-Endless: {}\r\n", "a".repeat(1000));
        while call.send(&field).await {}
    })
    .await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    let before = gateway.process.resident_bytes();
    gateway.send(&Request::get("/")).await.assert_refused(DOWN.0, DOWN.1, DOWN.2);
    assert!(gateway.process.resident_bytes() < before + 32 * 1024 * 1024);
}

#[tokio::test]
async fn bytes_after_an_answer_are_never_the_next_answer() {
    let upstream = Recorder::scripted(|mut call| async move {
        while let Some(request) = call.request().await {
            let forged = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged";
            let own = request.target;
            call.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{own}{forged}", own.len())).await;
        }
    })
    .await;
    let gateway = Setup::of(upstream.address()).with("workers: 1").start().await;
    for number in 0..50 {
        let target = format!("/{number}");
        let response = gateway.send(&Request::get(&target)).await;
        assert_eq!((response.status, response.text()), (200, target));
    }
}

#[tokio::test]
async fn connections_to_the_instance_are_kept_and_reused() {
    let upstream = Recorder::start().await;
    let gateway = Setup::of(upstream.address()).with("workers: 1").start().await;
    for number in 0..50 {
        let response = gateway.send(&Request::get(&format!("/{number}"))).await;
        assert_eq!(response.status, 200);
    }
    assert!(upstream.connections() <= 3, "{} connections for 50 requests", upstream.connections());
}

#[tokio::test]
async fn idle_connections_are_closed_before_node_would() {
    let upstream = Recorder::start().await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    gateway.send(&Request::get("/")).await;
    let start = Instant::now();
    wait::until("the idle connection to be closed", || upstream.ended() == 1).await;
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
}
