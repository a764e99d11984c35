//! Behind a proxy that speaks the PROXY protocol: the client that it names is the one that counts.

use crate::support::{Gateway, Recorder, Request, Setup, Wire};

const SETTING: &str = "OPENBIN_GATEWAY__LISTEN__1__PROXY_PROTOCOL";

async fn asks(gateway: &Gateway, client: &str, request: &Request) -> Option<u16> {
    let mut wire = Wire::plain(gateway.http).await;
    wire.send(format!("PROXY TCP4 {client} 198.51.100.1 56324 443\r\n")).await;
    wire.try_send(request.bytes()).await.ok()?;
    Some(wire.final_response("GET").await?.status)
}

#[tokio::test]
async fn the_client_that_a_proxy_names_is_told_to_the_instance_logged_and_limited() {
    let upstream = Recorder::start().await;
    let setup = Setup::of(upstream.address()).with_environment(SETTING, "127.0.0.1");
    // The lines of one worker are in order.
    let gateway = setup.with("limits: { per_address: 2/2h }").with("workers: 1").start().await;
    let forged = Request::get("/api/health").field("X-Forwarded-For", "203.0.113.9");
    assert_eq!(asks(&gateway, "192.0.2.7", &forged).await, Some(200));
    assert_eq!(upstream.last().all("x-forwarded-for"), ["192.0.2.7"]);
    assert_eq!(asks(&gateway, "192.0.2.7", &forged).await, Some(200));
    assert_eq!(asks(&gateway, "192.0.2.7", &forged).await, Some(429));
    assert_eq!(asks(&gateway, "192.0.2.8", &forged).await, Some(200));
    crate::support::wait::until("the access log", || gateway.access_lines().len() == 4).await;
    let clients: Vec<_> = gateway.access_lines().iter().map(|line| line["client"].clone()).collect();
    assert_eq!(clients, ["192.0.2.7", "192.0.2.7", "192.0.2.7", "192.0.2.8"]);
}

#[tokio::test]
async fn one_client_behind_a_proxy_cannot_take_all_connections() {
    let upstream = Recorder::start().await;
    let setup = Setup::of(upstream.address()).with_environment(SETTING, "true");
    let setup = setup.with("trusted_proxies: [127.0.0.0/8]");
    let gateway = setup.with("limits: { max_connections_per_address: 2 }").start().await;
    let mut held = Vec::new();
    for expected in [true, true, false] {
        let mut wire = Wire::plain(gateway.http).await;
        wire.send("PROXY TCP4 192.0.2.7 198.51.100.1 1 443\r\n").await;
        let _ = wire.try_send(Request::get("/").bytes()).await;
        let answered = wire.final_response("GET").await.is_some();
        assert_eq!(answered, expected);
        held.push(wire);
    }
    assert_eq!(asks(&gateway, "192.0.2.8", &Request::get("/")).await, Some(200));
    let ended = gateway.metrics().await.sum("connections_ended_total", &[("reason", "address")]);
    assert_eq!(ended, 1.0);
}

#[tokio::test]
async fn a_setting_that_lets_nobody_in_or_cannot_be_read_stops_the_start() {
    let upstream = Recorder::start().await;
    for (value, what) in
        [("true", "no trusted_proxies"), ("10.0.0.0/33", "prefix is longer"), ("yes", "not an IP")]
    {
        let setup = Setup::of(upstream.address()).with_environment(SETTING, value);
        let (status, said) = setup.refusal().await;
        assert!(status == Some(2) && said.contains(what), "{value}: {status:?}\n{said}");
    }
}
