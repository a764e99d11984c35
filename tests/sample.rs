//! The sample on a socket, as the tests use it: it must misbehave exactly as told, and otherwise as Node does.
#![allow(missing_docs)]

#[path = "support/openbin.rs"]
mod openbin;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use openbin::{Ending, Faults, OpenBin, Options};
use openbin_gateway::sample::{EventPlan, SampleOptions, SampleUser};

fn connect(openbin: &OpenBin) -> TcpStream {
    let stream = TcpStream::connect(openbin.address).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    stream
}

fn send(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).expect("sent");
}

/// Reads until the text contains that, or the connection ends.
fn read_until(stream: &mut TcpStream, wanted: &str) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&text).contains(wanted) {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(read) => text.extend_from_slice(&buffer[..read]),
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn key(openbin: &OpenBin) -> String {
    let user = openbin.sample.add_user(&SampleUser::member("ann@example.com", "pw"));
    openbin.sample.create_key(&user, "").expect("a key").key
}

const HEALTH: &str = "GET /api/health HTTP/1.1\r\nhost: x\r\n\r\n";
const OK: &str = r#"{"status":"ok"}"#;

#[test]
fn a_connection_is_kept_open_and_closed_when_it_was_idle_long_enough() {
    let openbin = OpenBin::start(Options { keep_alive: Duration::from_millis(200), ..Options::default() });
    let mut stream = connect(&openbin);
    for _ in 0..2 {
        send(&mut stream, HEALTH);
        let text = read_until(&mut stream, OK);
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        assert!(
            text.contains("connection: keep-alive\r\n") && text.contains("keep-alive: timeout="),
            "{text}"
        );
    }
    assert_eq!(read_until(&mut stream, "never"), "");
    assert_eq!(openbin.connections_accepted(), 1);
    wait_until("the connection is counted as closed", || openbin.connections_open() == 0);
}

#[test]
fn a_connection_ends_as_told() {
    for (ending, says) in
        [(Ending::Announced, "connection: close"), (Ending::Silent, "connection: keep-alive")]
    {
        let faults = Faults { ending: Some((1, ending)), ..Faults::default() };
        let openbin = OpenBin::start(Options { faults, ..Options::default() });
        let mut stream = connect(&openbin);
        send(&mut stream, HEALTH);
        let text = read_until(&mut stream, "never");
        assert!(text.ends_with(OK) && text.contains(says), "{ending:?}: {text}");
    }
}

#[test]
fn a_request_can_stay_unanswered_although_it_arrived() {
    let openbin = OpenBin::start(Options::default());
    openbin.misbehave(Faults { ending: Some((1, Ending::Unanswered)), ..Faults::default() });
    let mut stream = connect(&openbin);
    send(&mut stream, HEALTH);
    assert!(read_until(&mut stream, OK).ends_with(OK));
    send(&mut stream, HEALTH);
    assert_eq!(read_until(&mut stream, "never"), "");
    assert_eq!(openbin.sample.requests().len(), 2);
}

#[test]
fn a_body_breaks_off_with_its_connection() {
    let faults = Faults { cut_body_after: Some(5), ..Faults::default() };
    let openbin = OpenBin::start(Options { faults, ..Options::default() });
    let mut stream = connect(&openbin);
    send(&mut stream, HEALTH);
    let text = read_until(&mut stream, "never");
    assert!(text.contains("content-length: 15\r\n") && text.ends_with("\r\n\r\n{\"sta"), "{text}");
}

#[test]
fn a_head_is_held_back() {
    let faults = Faults { head_delay: Duration::from_millis(150), ..Faults::default() };
    let openbin = OpenBin::start(Options { faults, ..Options::default() });
    let (mut stream, start) = (connect(&openbin), Instant::now());
    send(&mut stream, HEALTH);
    assert!(read_until(&mut stream, OK).ends_with(OK));
    assert!(start.elapsed() >= faults.head_delay);
}

#[test]
fn content_that_nobody_wants_is_read_and_the_connection_stays_usable() {
    let openbin = OpenBin::start(Options::default());
    let mut stream = connect(&openbin);
    let bin = &openbin.sample.bin_ids()[0];
    let length = 2 * 1024 * 1024;
    send(
        &mut stream,
        &format!("POST /api/bins/{bin}/photos HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n"),
    );
    assert!(read_until(&mut stream, "No token provided").starts_with("HTTP/1.1 401"), "before the content");
    send(&mut stream, &"x".repeat(length));
    send(&mut stream, HEALTH);
    assert!(read_until(&mut stream, OK).ends_with(OK));
}

#[test]
fn a_client_that_leaves_a_stream_is_noticed() {
    let plan = EventPlan { events: 2, interval: Duration::from_secs(60) };
    let sample = SampleOptions { event_plan: plan, ..SampleOptions::default() };
    let openbin = OpenBin::start(Options { sample, ..Options::default() });
    let mut stream = connect(&openbin);
    let key = key(&openbin);
    let head =
        "POST /api/ai/ask/stream HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2";
    send(&mut stream, &format!("{head}\r\nauthorization: Bearer {key}\r\n\r\n{{}}"));
    let text = read_until(&mut stream, "data: ");
    assert!(text.contains("transfer-encoding: chunked\r\n") && text.contains("text/event-stream"), "{text}");
    drop(stream);
    wait_until("the stream counts as aborted", || openbin.sample.streams().aborted == 1);
}

#[test]
fn a_head_of_more_than_16_kib_is_refused() {
    let openbin = OpenBin::start(Options::default());
    let mut stream = connect(&openbin);
    send(&mut stream, &format!("GET / HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "x".repeat(17 * 1024)));
    assert!(read_until(&mut stream, "\r\n\r\n").starts_with("HTTP/1.1 431"));
}

#[test]
fn a_stopped_double_can_come_back_at_its_address() {
    let mut openbin = OpenBin::start(Options::default());
    let address = openbin.address;
    let mut stream = connect(&openbin);
    send(&mut stream, HEALTH);
    assert!(read_until(&mut stream, OK).ends_with(OK));
    openbin.stop();
    assert_eq!(read_until(&mut stream, "never"), "");
    assert!(TcpStream::connect(address).is_err());
    let back = OpenBin::start(Options { address, ..Options::default() });
    assert!(TcpStream::connect(back.address).is_ok());
}
