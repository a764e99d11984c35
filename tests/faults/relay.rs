//! The relay itself: every fault is the fault that it says it is, and ends when it is healed.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::port::nobody;
use crate::support::relay::{Fault, Heal, Way};
use crate::support::{Relay, wait};

/// Sends back what it is sent.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    address
}

async fn connect(relay: &Relay) -> TcpStream {
    wait::within("a connection", TcpStream::connect(relay.address())).await.expect("a connection")
}

async fn send(stream: &mut TcpStream, bytes: &[u8]) {
    wait::within("bytes to go", stream.write_all(bytes)).await.expect("bytes to go");
}

async fn receive(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    wait::within("bytes to come", stream.read_exact(&mut bytes)).await.expect("bytes to come");
    bytes
}

async fn is_silent(stream: &mut TcpStream) {
    let mut byte = [0];
    let came = tokio::time::timeout(Duration::from_millis(100), stream.read(&mut byte)).await;
    assert!(came.is_err(), "{came:?}");
}

async fn is_reset(stream: &mut TcpStream) {
    let mut byte = [0];
    let error = wait::within("a reset", stream.read(&mut byte)).await.expect_err("no end but a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

async fn echoes(stream: &mut TcpStream) {
    send(stream, b"ping").await;
    assert_eq!(receive(stream, 4).await, b"ping");
}

#[tokio::test]
async fn a_healthy_relay_passes_bytes_and_ends() {
    let relay = Relay::to(echo().await);
    let mut stream = connect(&relay).await;
    echoes(&mut stream).await;
    let many: Vec<u8> = (0..1_000_000_u32).map(|number| number as u8).collect();
    let (mut from, mut to) = stream.split();
    let sent = async {
        to.write_all(&many).await.expect("bytes to go");
        to.shutdown().await.expect("an end");
    };
    let mut back = Vec::new();
    let (_, read) = tokio::join!(sent, from.read_to_end(&mut back));
    assert!(read.is_ok() && back == many, "the same bytes and a proper end");
    wait::until("the connection to be over", || relay.open() == 0).await;
    assert_eq!(relay.opened(), 1);
}

#[tokio::test]
async fn a_blackhole_holds_bytes_each_way_and_delivers_them_when_it_ends() {
    let relay = Relay::to(echo().await);
    for way in [Way::Both, Way::ToServer, Way::ToClient] {
        let mut stream = connect(&relay).await;
        echoes(&mut stream).await;
        relay.suffer(Fault::Blackhole { way, heal: Heal::Delivers });
        send(&mut stream, b"late").await;
        is_silent(&mut stream).await;
        let mut new = connect(&relay).await;
        send(&mut new, b"new").await;
        is_silent(&mut new).await;
        relay.heal();
        assert_eq!(receive(&mut stream, 4).await, b"late", "{way:?}");
        assert_eq!(receive(&mut new, 3).await, b"new", "{way:?}");
        echoes(&mut stream).await;
    }
}

#[tokio::test]
async fn bytes_that_a_blackhole_drops_take_their_connection_with_them_and_no_other() {
    let relay = Relay::to(echo().await);
    for way in [Way::Both, Way::ToServer, Way::ToClient] {
        let (mut busy, mut idle) = (connect(&relay).await, connect(&relay).await);
        echoes(&mut busy).await;
        echoes(&mut idle).await;
        relay.suffer(Fault::Blackhole { way, heal: Heal::Drops });
        send(&mut busy, b"lost").await;
        is_silent(&mut busy).await;
        relay.heal();
        is_reset(&mut busy).await;
        echoes(&mut idle).await;
    }
}

#[tokio::test]
async fn a_half_cut_network_still_carries_the_other_way() {
    let server = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let relay = Relay::to(server.local_addr().expect("an address"));
    let mut client = connect(&relay).await;
    let (mut stream, _) = wait::within("a client", server.accept()).await.expect("a client");
    relay.suffer(Fault::Blackhole { way: Way::ToClient, heal: Heal::Delivers });
    send(&mut client, b"question").await;
    assert_eq!(receive(&mut stream, 8).await, b"question", "the question arrives");
    send(&mut stream, b"answer").await;
    is_silent(&mut client).await;
    relay.suffer(Fault::Blackhole { way: Way::ToServer, heal: Heal::Delivers });
    assert_eq!(receive(&mut client, 6).await, b"answer");
    send(&mut client, b"question").await;
    is_silent(&mut stream).await;
    send(&mut stream, b"news").await;
    assert_eq!(receive(&mut client, 4).await, b"news", "the answer arrives");
}

#[tokio::test]
async fn resets_refusals_and_being_down_are_told_apart_and_end() {
    let relay = Relay::to(echo().await);
    let mut stream = connect(&relay).await;
    echoes(&mut stream).await;
    relay.suffer(Fault::Refuse);
    let refused = TcpStream::connect(relay.address()).await.expect_err("nobody listens");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    echoes(&mut stream).await;
    relay.suffer(Fault::Down);
    is_reset(&mut stream).await;
    assert!(TcpStream::connect(relay.address()).await.is_err());
    relay.heal();
    let mut stream = connect(&relay).await;
    echoes(&mut stream).await;
    relay.reset_all();
    is_reset(&mut stream).await;
    echoes(&mut connect(&relay).await).await;
}

#[tokio::test]
async fn slow_dripping_and_cut_off_replies_are_what_they_are_called() {
    let relay = Relay::to(echo().await);
    let mut stream = connect(&relay).await;
    echoes(&mut stream).await;
    let (base, jitter) = (Duration::from_millis(30), Duration::from_millis(20));
    relay.suffer(Fault::Latency { base, jitter });
    let start = Instant::now();
    for number in 0..20_u8 {
        send(&mut stream, &[number]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(receive(&mut stream, 20).await, (0..20).collect::<Vec<u8>>(), "in order");
    let took = start.elapsed();
    assert!(
        took >= base * 2 && took < base * 20,
        "each way takes its time, and not byte after byte: {took:?}"
    );
    relay.suffer(Fault::Drip);
    send(&mut stream, &[7; 500]).await;
    assert_eq!(receive(&mut stream, 500).await, [7; 500]);
    relay.suffer(Fault::Corrupt { one_in: 10 });
    send(&mut stream, &[0; 1000]).await;
    let spoilt = receive(&mut stream, 1000).await.iter().filter(|byte| **byte != 0).count();
    assert!((50..200).contains(&spoilt), "{spoilt} of 1000 bytes");
    relay.suffer(Fault::ResetAfter { bytes: 10 });
    let mut cut = connect(&relay).await;
    send(&mut cut, &[7; 9]).await;
    assert_eq!(receive(&mut cut, 9).await, [7; 9]);
    send(&mut cut, &[7; 9]).await;
    let mut rest = Vec::new();
    let ended = wait::within("an end", cut.read_to_end(&mut rest)).await;
    assert!(ended.is_err() && rest.len() <= 1, "{ended:?} after {} bytes more", rest.len());
}

#[tokio::test]
async fn a_relay_without_its_server_resets_and_can_be_led_elsewhere() {
    let relay = Relay::to(nobody());
    // The reset may come as early as that.
    match TcpStream::connect(relay.address()).await {
        Ok(mut stream) => is_reset(&mut stream).await,
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    relay.lead_to(echo().await);
    echoes(&mut connect(&relay).await).await;
}
