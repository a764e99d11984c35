//! HTTP/2 used to make work and take room (CVE-2019-9511 and its kin, CVE-2023-44487, CVE-2024-27316): it ends, the
//! memory stays flat, and others are served meanwhile.

use std::time::Duration;

use crate::support::frames::Frames;
use crate::support::{Gateway, Recorder, Request, Setup};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const ENHANCE_YOUR_CALM: u32 = 11;

/// More than the few MiB that a connection may hold.
const MUCH: u64 = 24 << 20;

async fn gateway() -> (Gateway, Recorder) {
    let upstream = Recorder::start().await;
    let gateway = Setup::of(upstream.address()).with("workers: 1").start().await;
    // What everybody needs once is there.
    for _ in 0..20 {
        assert_eq!(Request::get("/").to(gateway.http).await.status, 200);
    }
    (gateway, upstream)
}

/// Floods, and looks in between whether others are served, and in the end what it cost.
async fn flood(
    gateway: &Gateway,
    mut frames: Frames,
    times: usize,
    mut one: impl AsyncFnMut(&mut Frames, usize),
) -> Frames {
    let before = gateway.process.resident_bytes();
    for time in 0..times {
        // A flood that is no longer taken has been answered.
        let sent = tokio::time::timeout(Duration::from_secs(2), one(&mut frames, time)).await;
        if sent.is_err() || frames.is_broken() {
            break;
        }
        if time % (times / 8).max(1) == 0 {
            assert_eq!(Request::get("/").to(gateway.http).await.status, 200, "others are served");
        }
    }
    assert_eq!(Request::get("/").to(gateway.http).await.status, 200, "others are served");
    let grown = gateway.process.resident_bytes().saturating_sub(before);
    assert!(grown < MUCH, "{} KiB more are in use", grown / 1024);
    frames
}

#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let (gateway, upstream) = gateway().await;
    let frames = Frames::connect(gateway.https).await;
    let head = frames.head("GET", "/");
    let mut flooded = flood(&gateway, frames, 20_000, async |frames, _| {
        let block = frames.block_of(&head);
        let stream = frames.next_stream();
        let both = [
            Frames::bytes(HEADERS, END_STREAM | END_HEADERS, stream, &block),
            Frames::bytes(RST_STREAM, 0, stream, &8_u32.to_be_bytes()),
        ];
        frames.raw(&both.concat()).await;
    })
    .await;
    let code = flooded.goes_away().await;
    assert!(matches!(code, None | Some(ENHANCE_YOUR_CALM)), "{code:?}");
    assert!(upstream.count() < 5_000, "{} requests were made of it", upstream.count());
}

#[tokio::test]
async fn a_head_without_end_ends_the_connection() {
    let (gateway, _upstream) = gateway().await;
    let mut frames = Frames::connect(gateway.https).await;
    frames.frame(HEADERS, 0, 1, &frames.block_of(&frames.head("GET", "/"))).await;
    let field = frames.block_of(&[(b"x-more".to_vec(), vec![b'y'; 4000])]);
    let mut flooded =
        flood(&gateway, frames, 10_000, async |frames, _| frames.frame(CONTINUATION, 0, 1, &field).await)
            .await;
    let code = flooded.goes_away().await;
    assert!(matches!(code, None | Some(ENHANCE_YOUR_CALM | PROTOCOL_ERROR)), "{code:?}");
    // Frames that carry nothing count as well.
    let mut frames = Frames::connect(gateway.https).await;
    frames.frame(HEADERS, 0, 1, &frames.block_of(&frames.head("GET", "/"))).await;
    let mut flooded =
        flood(&gateway, frames, 50_000, async |frames, _| frames.frame(CONTINUATION, 0, 1, &[]).await).await;
    let code = flooded.goes_away().await;
    assert!(matches!(code, None | Some(ENHANCE_YOUR_CALM | PROTOCOL_ERROR)), "{code:?}");
}

#[tokio::test]
async fn answers_to_settings_and_pings_that_nobody_reads_take_no_room() {
    let (gateway, _upstream) = gateway().await;
    for (kind, payload) in [(SETTINGS, &[][..]), (SETTINGS, &[0, 4, 0, 1, 0, 0]), (PING, &[7; 8])] {
        let frames = Frames::connect(gateway.https).await;
        let many = Frames::bytes(kind, 0, 0, payload).repeat(200);
        flood(&gateway, frames, 200, async |frames, _| frames.raw(&many).await).await;
    }
}

#[tokio::test]
async fn frames_that_say_nothing_take_no_room() {
    let (gateway, _upstream) = gateway().await;
    for kind in [DATA, PRIORITY, WINDOW_UPDATE] {
        let mut frames = Frames::connect(gateway.https).await;
        let stream = frames.open(&frames.head("POST", "/api/auth/login"), false).await;
        let one = match kind {
            DATA => Frames::bytes(DATA, 0, stream, &[]),
            PRIORITY => Frames::bytes(PRIORITY, 0, stream, &[0, 0, 0, 0, 9]),
            _ => Frames::bytes(WINDOW_UPDATE, 0, stream, &[0, 0, 0, 1]),
        };
        let many = one.repeat(200);
        flood(&gateway, frames, 300, async |frames, _| frames.raw(&many).await).await;
    }
}

#[tokio::test]
async fn a_window_that_is_none_ends_its_stream_or_connection() {
    let (gateway, _upstream) = gateway().await;
    for (stream, increment) in [(0, 0_u32), (0, 0x7fff_ffff)] {
        let mut frames = Frames::connect(gateway.https).await;
        for _ in 0..2 {
            frames.frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes()).await;
        }
        let code = frames.goes_away().await;
        assert!(matches!(code, Some(PROTOCOL_ERROR | FLOW_CONTROL_ERROR)), "{increment}: {code:?}");
    }
    let mut frames = Frames::connect(gateway.https).await;
    // SETTINGS_INITIAL_WINDOW_SIZE above 2^31-1 (RFC 9113 §6.5.2).
    frames.frame(SETTINGS, 0, 0, &[0, 4, 0xff, 0xff, 0xff, 0xff]).await;
    let code = frames.goes_away().await;
    assert!(matches!(code, Some(PROTOCOL_ERROR | FLOW_CONTROL_ERROR)), "{code:?}");
    assert_eq!(Request::get("/").to(gateway.http).await.status, 200);
}

#[tokio::test]
async fn streams_that_we_are_made_to_reset_end_the_connection() {
    let (gateway, _upstream) = gateway().await;
    let frames = Frames::connect(gateway.https).await;
    let head = frames.head("POST", "/api/auth/login");
    let mut flooded = flood(&gateway, frames, 20_000, async |frames, _| {
        let block = frames.block_of(&head);
        let stream = frames.next_stream();
        let both = [
            Frames::bytes(HEADERS, END_HEADERS, stream, &block),
            // An increment of nothing is an error of the stream (RFC 9113 §6.9; CVE-2025-8671).
            Frames::bytes(WINDOW_UPDATE, 0, stream, &[0; 4]),
        ];
        frames.raw(&both.concat()).await;
    })
    .await;
    let code = flooded.goes_away().await;
    assert!(matches!(code, None | Some(ENHANCE_YOUR_CALM | PROTOCOL_ERROR)), "{code:?}");
}
