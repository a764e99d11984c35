//! What one client may take up at most: length and pace of a request, unread answers, descriptors.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::soak::narrow;
use crate::support::frames::{Frames, StreamEnd};
use crate::support::{EVERY_WAY, Gateway, Recorder, Request, Setup, Wire, jwt, wait};

#[tokio::test]
async fn a_target_of_the_longest_length_passes_and_a_longer_one_is_answered_414() {
    let upstream = Recorder::start().await;
    let gateway = Setup::of(upstream.address()).with("limits: { max_target_bytes: 2KiB }").start().await;
    for via in EVERY_WAY {
        let target = |length: usize| format!("/x?{}", "y".repeat(length - 3));
        let passed = Request::get(&target(2048)).send(&gateway, via).await;
        assert_eq!(passed.status, 200, "{via:?}");
        assert_eq!(upstream.last().target.len(), 2048);
        let count = upstream.count();
        let refused = Request::get(&target(2049)).send(&gateway, via).await;
        assert_eq!(refused.status, 414, "{via:?}");
        assert!(refused.text().contains(r#"{"error":"URI_TOO_LONG","#), "{}", refused.text());
        assert_eq!(upstream.count(), count, "it was not passed on");
    }
}

/// Sends content, one byte after each pause, until an answer comes.
async fn drips(gateway: &Gateway, pause: Duration) -> u16 {
    let mut wire = Wire::plain(gateway.http).await;
    wire.send("POST /api/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n").await;
    let dripping = async {
        for _ in 0..100 {
            if wire.try_send("x").await.is_err() {
                break;
            }
            tokio::time::sleep(pause).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(3), dripping).await.ok();
    wire.response().await.status
}

#[tokio::test]
async fn content_that_comes_too_slowly_is_answered_408_and_steady_content_passes() {
    let upstream = Recorder::start().await;
    let bounds = "limits: { min_body_rate: 50B }\ntimeouts: { body: 1s }";
    let gateway = Setup::of(upstream.address()).with(bounds).start().await;
    let start = Instant::now();
    assert_eq!(drips(&gateway, Duration::from_millis(200)).await, 408);
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(drips(&gateway, Duration::from_millis(10)).await, 200);
}

#[tokio::test]
async fn content_that_comes_too_slowly_over_http_2_is_answered_408_too() {
    let upstream = Recorder::start().await;
    let bounds = "limits: { min_body_rate: 1KiB }\ntimeouts: { body: 500ms }";
    let gateway = Setup::of(upstream.address()).with(bounds).start().await;
    let mut frames = Frames::connect(gateway.https).await;
    let stream = frames.open(&frames.head("POST", "/api/auth/login"), false).await;
    frames.data(stream, b"x", false).await;
    let end = frames.end(stream).await;
    assert!(
        matches!(end, StreamEnd::Answered { status: 408, .. } | StreamEnd::Reset { status: Some(408), .. }),
        "{end:?}"
    );
    let next = frames.open(&frames.head("GET", "/"), true).await;
    assert!(matches!(frames.end(next).await, StreamEnd::Answered { status: 200, .. }));
}

#[tokio::test]
async fn an_upload_that_waits_for_the_instance_is_not_slow() {
    // An instance that takes nothing for three times as long as the client could be waited for.
    let upstream = Recorder::scripted(|mut call| async move {
        let Some(head) = call.head().await else { return };
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        if call.body(head).await.whole {
            call.send(crate::support::recorder::PLAIN_ANSWER).await;
        }
    })
    .await;
    let bounds = "limits: { min_body_rate: 1MiB }\ntimeouts: { body: 500ms }";
    let gateway = Setup::of(upstream.address()).with(bounds).start().await;
    let length = 32 << 20;
    let mut wire = Wire::plain(gateway.http).await;
    let head =
        format!("POST /api/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
    wire.send(head).await;
    wire.send(vec![b'x'; length]).await;
    assert_eq!(wire.response().await.status, 200);
    assert_eq!(upstream.last().body_bytes, length as u64);
}

/// An instance whose answers never end.
async fn endless() -> Recorder {
    Recorder::scripted(|mut call| async move {
        while call.request().await.is_some() {
            call.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            while call.send(format!("4000\r\n{}\r\n", "x".repeat(0x4000))).await {}
        }
    })
    .await
}

#[tokio::test]
async fn what_nobody_reads_is_left_with_the_instance() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let upstream = Recorder::scripted(move |mut call| {
        let sent = Arc::clone(&counted);
        async move {
            call.send_unbuffered();
            call.request().await;
            call.send("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n").await;
            while call.send([b'x'; 0x4000]).await {
                sent.fetch_add(0x4000, Ordering::SeqCst);
            }
        }
    })
    .await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    let before = gateway.process.resident_bytes();
    let mut reader = narrow(gateway.http).await;
    let ask = Request::get("/api/bins/export").bearer(&jwt::session()).bytes();
    reader.write_all(&ask).await.expect("sent");
    // A fast reader for a moment, so that every buffer that grows with use has grown.
    let mut buffer = vec![0; 256 * 1024];
    let mut read = 0;
    while read < 64 << 20 {
        read += wait::within("bytes", reader.read(&mut buffer)).await.expect("bytes");
    }
    let mut still = (0, 0);
    wait::until("the instance to find no more room", || {
        let now = sent.load(Ordering::SeqCst);
        still = if still.0 == now { (now, still.1 + 1) } else { (now, 0) };
        still.1 > 100
    })
    .await;
    let ahead = still.0 - read;
    assert!(ahead < 1536 * 1024, "{} KiB are on their way", ahead / 1024);
    let held = gateway.process.resident_bytes().saturating_sub(before);
    println!("on its way: {} KiB; in use: {} KiB more", ahead / 1024, held / 1024);
}

#[tokio::test]
async fn an_http_2_stream_whose_window_stays_shut_is_reset_and_its_connection_goes_on() {
    let upstream = endless().await;
    let gateway = Setup::of(upstream.address()).with("timeouts: { write: 500ms }").start().await;
    let mut frames = Frames::connect(gateway.https).await;
    let head = frames.head("GET", "/api/bins/export");
    let head = [head, vec![(b"authorization".to_vec(), format!("Bearer {}", jwt::session()).into_bytes())]];
    let start = Instant::now();
    let stream = frames.open(&head.concat(), true).await;
    let StreamEnd::Reset { status, content } = frames.end(stream).await else { panic!("not reset") };
    assert_eq!((status, content.len()), (Some(200), 65_535), "as much as the window takes");
    assert!(start.elapsed() >= Duration::from_millis(500), "{:?}", start.elapsed());
    wait::until("the instance to be let go", || upstream.ended() == 1).await;
    let refused = frames.open(&frames.head("GET", "/api/bins"), true).await;
    assert!(!matches!(frames.end(refused).await, StreamEnd::Gone), "the connection goes on");
}

#[tokio::test]
async fn without_descriptors_the_gateway_waits_quietly_and_goes_on_when_there_are_some() {
    let upstream = Recorder::start().await;
    let gateway = Setup::of(upstream.address()).with("workers: 1").start().await;
    let pid = gateway.process.pid();
    assert_eq!(Request::get("/").to(gateway.http).await.status, 200);
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("/proc").count();
    limit_descriptors(pid, open + 4);
    let mut waiting = Vec::new();
    for _ in 0..12 {
        waiting.push(Wire::plain(gateway.http).await);
    }
    let said = || gateway.process.stderr().iter().any(|line| line.contains("cannot accept connections"));
    wait::until("the gateway to say that it is short of descriptors", said).await;
    let before = processor_time(pid);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let used = processor_time(pid) - before;
    assert!(used < Duration::from_millis(500), "it is busy: {used:?} of two seconds");
    let said = gateway.process.stderr().iter().filter(|line| line.contains("cannot accept")).count();
    assert!(said <= 5, "{said} complaints");
    limit_descriptors(pid, 1024);
    for mut wire in waiting {
        assert_eq!(Request::get("/").on(&mut wire).await.status, 200);
    }
}

fn limit_descriptors(pid: u32, count: usize) {
    let status =
        Command::new("prlimit").arg(format!("--pid={pid}")).arg(format!("--nofile={count}:20000")).status();
    assert!(status.expect("prlimit").success());
}

/// Processor time that a process has used, to the hundredth of a second.
fn processor_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("/proc");
    let (_, fields) = stat.rsplit_once(')').expect("a name");
    let ticks: u64 =
        fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().expect("ticks")).sum();
    Duration::from_millis(ticks * 10)
}
