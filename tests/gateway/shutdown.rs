//! Being asked to stop: what was begun is finished, nothing new is taken on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::support::client::{H2, collect};
use crate::support::recorder::PLAIN_ANSWER;
use crate::support::{Gateway, Recorder, Request, Setup, Wire, wait};

/// An upstream that answers each request only when it gets a permit.
async fn held_upstream() -> (Recorder, Arc<Semaphore>) {
    let permits = Arc::new(Semaphore::new(0));
    let own = Arc::clone(&permits);
    let upstream = Recorder::scripted(move |mut call| {
        let own = Arc::clone(&own);
        async move {
            while call.request().await.is_some() {
                own.acquire().await.expect("open").forget();
                call.send(PLAIN_ANSWER).await;
            }
        }
    })
    .await;
    (upstream, permits)
}

async fn until_not_ready(gateway: &Gateway) {
    let not_ready = || async { (gateway.ask_admin("/readyz").await.status == 503).then_some(()) };
    wait::until_answer("the gateway to say that it is not ready", not_ready).await;
}

#[tokio::test]
async fn requests_in_flight_finish_and_new_connections_are_refused() {
    for signal in ["TERM", "INT"] {
        let (upstream, permits) = held_upstream().await;
        let gateway = Gateway::in_front_of(upstream.address()).await;
        let mut wire = Wire::plain(gateway.http).await;
        wire.send(Request::get("/slow").bytes()).await;
        let h2 = H2::connect(gateway.https, "localhost").await;
        let second = h2.clone();
        let stream = tokio::spawn(async move { second.send(&Request::get("/slow")).await });
        upstream.wait_for(2).await;
        gateway.process.signal(signal);
        until_not_ready(&gateway).await;
        assert_eq!(gateway.ask_admin("/livez").await.status, 200, "it lives until it is done");
        let closed = || async { tokio::net::TcpStream::connect(gateway.http).await.is_err().then_some(()) };
        wait::until_answer("the listener to close", closed).await;
        assert!(gateway.process.ended().is_none(), "it waits for what was begun");
        permits.add_permits(2);
        let response = wire.response().await;
        assert_eq!((response.status, response.whole), (200, true));
        assert_eq!(response.field("connection").map(str::to_ascii_lowercase).as_deref(), Some("close"));
        assert_eq!(stream.await.expect("the stream's task").status, 200);
        assert_eq!(gateway.process.exit().await.code(), Some(0), "SIG{signal}");
    }
}

#[tokio::test]
async fn idle_connections_do_not_delay_the_end() {
    let upstream = Recorder::start().await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    let mut wire = Wire::plain(gateway.http).await;
    assert_eq!(Request::get("/").on(&mut wire).await.status, 200);
    let _untouched = Wire::plain(gateway.http).await;
    let h2 = H2::connect(gateway.https, "localhost").await;
    assert_eq!(h2.send(&Request::get("/")).await.status, 200);
    let start = Instant::now();
    assert_eq!(gateway.stop().await.code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(wire.rest().await.is_empty());
}

#[tokio::test]
async fn what_does_not_end_is_cut_at_the_deadline() {
    let upstream = Recorder::scripted(|mut call| async move {
        call.request().await;
        call.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n").await;
        call.closed().await;
    })
    .await;
    let gateway = Setup::of(upstream.address()).with("timeouts: { drain: 1s }").start().await;
    let mut wire = Wire::plain(gateway.http).await;
    wire.send(Request::get("/").bytes()).await;
    assert!(wire.head().await.is_some() && wire.chunk().await.is_some());
    let h2 = H2::connect(gateway.https, "localhost").await;
    let stream = h2.open(Request::get("/").for_h2()).await.expect("a head");
    let start = Instant::now();
    gateway.process.signal("TERM");
    assert_eq!(gateway.process.exit().await.code(), Some(0));
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    assert_eq!(wire.chunk().await, None, "a cut answer does not look whole");
    assert!(!collect(stream).await.whole);
    wait::until("the instance's connections to end", || upstream.ended() == 2).await;
}

#[tokio::test]
async fn requests_sent_all_along_are_answered_or_never_taken() {
    let upstream = Recorder::start().await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    let client = async |_| {
        let mut answered = 0_usize;
        let mut wire = Wire::plain(gateway.http).await;
        loop {
            if wire.try_send(Request::get("/").bytes()).await.is_err() {
                return answered;
            }
            let Some(head) = wire.head().await else { return answered };
            assert_eq!(head.status, 200);
            let length = head.field("content-length").and_then(|text| text.parse().ok()).expect("a length");
            assert!(wire.exactly(length).await.is_some(), "an answer that was begun is finished");
            answered += 1;
            if head.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
                return answered;
            }
        }
    };
    let clients = futures_util::future::join_all((0..8).map(client));
    let stop = async {
        upstream.wait_for(100).await;
        gateway.stop().await
    };
    let (answered, status) = tokio::join!(clients, stop);
    assert_eq!(status.code(), Some(0));
    let answered: usize = answered.into_iter().sum();
    assert_eq!(answered, upstream.count(), "what the instance did was told");
}
