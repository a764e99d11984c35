//! What the gateway answers itself can be read by the configured origin's pages, and by nobody else's.

use crate::support::{EVERY_WAY, Instance, Recorder, Request, Setup};

#[tokio::test]
async fn refusals_carry_cors_fields_for_the_configured_origin() {
    let upstream = Recorder::start().await;
    let instance = Instance::at(upstream.address()).with("cors_origin: https://bins.example.com");
    let gateway = Setup::of_instances(vec![instance]).start().await;
    for via in EVERY_WAY {
        for origin in ["https://bins.example.com", "https://evil.example"] {
            let response = Request::get("/api/bins").field("Origin", origin).send(&gateway, via).await;
            assert_eq!(response.status, 401);
            assert_eq!(response.all("access-control-allow-origin"), ["https://bins.example.com"]);
            assert_eq!(response.field("access-control-allow-credentials"), Some("true"));
            assert!(response.field("vary").is_some_and(|vary| vary.eq_ignore_ascii_case("origin")));
        }
    }
}

#[tokio::test]
async fn without_a_configured_origin_no_page_of_another_may_read_refusals() {
    let upstream = Recorder::start().await;
    let gateway = Setup::of(upstream.address()).start().await;
    let response = gateway.send(&Request::get("/api/bins").field("Origin", "https://evil.example")).await;
    assert_eq!(response.status, 401);
    assert_ne!(response.field("access-control-allow-origin"), Some("https://evil.example"));
    assert_ne!(response.field("access-control-allow-origin"), Some("*"));
}

#[tokio::test]
async fn the_instances_own_cors_fields_pass_untouched() {
    let upstream = Recorder::answering(|_| {
        b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: http://localhost:5173\r\nVary: Origin\r\n\
          Vary: Accept-Encoding\r\nContent-Length: 0\r\n\r\n"
            .to_vec()
    })
    .await;
    let instance = Instance::at(upstream.address()).with("cors_origin: https://bins.example.com");
    let gateway = Setup::of_instances(vec![instance]).start().await;
    let response = gateway.send(&Request::get("/api/health")).await;
    assert_eq!(response.all("access-control-allow-origin"), ["http://localhost:5173"]);
    assert_eq!(response.all("vary"), ["Origin", "Accept-Encoding"]);
}
