//! The admin listener: health and metrics, for the operator alone.

use crate::support::client::H2;
use crate::support::port::nobody;
use crate::support::{EVERY_WAY, Gateway, Issuer, Recorder, Request, Setup, jwt, wait};

#[tokio::test]
async fn the_process_says_that_it_lives_and_whether_it_is_ready() {
    let upstream = Recorder::start().await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    assert_eq!(gateway.ask_admin("/livez").await.status, 200);
    let ready = gateway.ask_admin("/readyz").await;
    assert_eq!(ready.status, 200, "{}", ready.text());
    let body = ready.json();
    for dependency in ["store", "instance:home"] {
        assert_eq!(body["dependencies"][dependency]["status"], "up", "each dependency is named: {body}");
    }
    let head = Request::new("HEAD", "/livez").to(gateway.admin).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[tokio::test]
async fn a_gateway_that_reaches_no_instance_is_not_ready_and_lives() {
    let gateway = Gateway::in_front_of(nobody()).await;
    let ready = gateway.ask_admin("/readyz").await;
    assert_eq!(
        (ready.status, &ready.json()["dependencies"]["instance:home"]["status"]),
        (503, &"down".into())
    );
    assert_eq!(gateway.ask_admin("/livez").await.status, 200);
}

#[tokio::test]
async fn nothing_else_is_served_on_the_admin_listener() {
    let upstream = Recorder::start().await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    for target in ["/", "/metrics/x", "/livez2", "/api/bins", "/api/health", "//metrics", "/%6detrics"] {
        assert_eq!(gateway.ask_admin(target).await.status, 404, "{target}");
    }
    for method in ["POST", "PUT", "DELETE"] {
        let status = Request::new(method, "/metrics").to(gateway.admin).await.status;
        assert!(matches!(status, 404 | 405), "{method}: {status}");
    }
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn with_a_token_metrics_are_for_its_holder_only() {
    let upstream = Recorder::start().await;
    let setup = Setup::of(upstream.address());
    let token = "canary-admin-token-0123456789abcdef";
    setup.file("admin.token", &format!("{token}\n"));
    let gateway = setup.with_admin("address: 127.0.0.1:0, token_file: admin.token").start().await;
    for wrong in [
        Request::get("/metrics"),
        Request::get("/metrics").bearer("wrong"),
        Request::get("/metrics").bearer(""),
    ] {
        let refused = wrong.to(gateway.admin).await;
        assert_eq!(refused.status, 401);
        assert!(refused.field("www-authenticate").is_some_and(|text| text.starts_with("Bearer")));
        assert!(!refused.text().contains("requests_total"));
    }
    assert_eq!(Request::get("/metrics").bearer(token).to(gateway.admin).await.status, 200);
    assert!(!gateway.process.stderr().join("\n").contains(token));
}

#[tokio::test]
async fn an_admin_listener_that_others_can_reach_needs_a_token() {
    let upstream = Recorder::start().await;
    let setup = Setup::of(upstream.address());
    for address in ["0.0.0.0:0", "'[::]:0'"] {
        let (status, said) = setup.clone().with_admin(&format!("address: {address}")).refusal().await;
        assert_eq!(status, Some(2), "{said}");
        assert!(said.contains("admin") && said.contains("token"), "{said}");
    }
    setup.file("empty.token", "\n");
    for nothing in
        ["token_file: []", "token_file: ''", "token_file: empty.token", "token_env: []", "token_env: ''"]
    {
        let (status, said) =
            setup.clone().with_admin(&format!("address: 0.0.0.0:0, {nothing}")).refusal().await;
        assert_eq!(status, Some(2), "{nothing}: {said}");
    }
    setup.file("admin.token", "canary-admin-token-0123456789abcdef");
    let gateway = setup.with_admin("address: 0.0.0.0:0, token_file: admin.token").start().await;
    let port = gateway.admin.port();
    let admin = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    assert_eq!(Request::get("/metrics").to(admin).await.status, 401);
}

#[tokio::test]
async fn the_metrics_have_the_documented_names() {
    let issuer = Issuer::start().await;
    let gateway = Gateway::in_front_of(issuer.address()).await;
    let (id, key) = super::adoption::create(&gateway).await;
    gateway.send(&Request::get("/api/bins").bearer(&key)).await;
    gateway.send(&Request::delete(&format!("/api/api-keys/{id}")).bearer(&jwt::session())).await;
    let all = || async {
        let metrics = gateway.metrics().await;
        let missing: Vec<_> = [
            "requests_total",
            "request_duration_seconds",
            "upstream_duration_seconds",
            "auth_total",
            "key_cache_total",
            "store_up",
            "revocations_total",
            "revocation_seconds",
            "usage_pending",
            "forged_headers_total",
            "connections",
            "certificate_expiry_timestamp_seconds",
            "build_info",
        ]
        .into_iter()
        .filter(|name| !metrics.has(name))
        .collect();
        missing.is_empty().then_some(metrics)
    };
    let metrics = wait::until_answer("all documented metrics", all).await;
    assert_eq!(metrics.sum("store_up", &[]), 1.0);
    assert_eq!(metrics.sum("build_info", &[]), 1.0);
    assert!(metrics.sum("certificate_expiry_timestamp_seconds", &[]) > 1.0e9);
    let text = gateway.ask_admin("/metrics").await;
    assert!(text.field("content-type").is_some_and(|kind| kind.starts_with("text/plain")));
    assert!(text.text().contains("process_resident_memory_bytes"));
}

#[tokio::test]
async fn every_request_is_counted_once_with_what_became_of_its_credential() {
    let issuer = Issuer::start().await;
    let gateway = Gateway::in_front_of(issuer.address()).await;
    let issued = issuer.issue();
    let session = jwt::session();
    let h2 = H2::connect(gateway.https, "localhost").await;
    let mut sent = 0.0;
    for request in [
        Request::get("/"),
        Request::get("/").bearer("junk"),
        Request::get("/api/bins"),
        Request::get("/api/bins").bearer("junk"),
        Request::get("/api/bins").bearer("sk_openbin_junk"),
        Request::get("/api/bins").bearer(&format!("sk_openbin_{}", "e".repeat(64))),
        Request::get("/api/bins").bearer(&session),
        Request::get("/api/bins").bearer(&issued.key),
        Request::get("/api/bins").session(&session),
        Request::get("/api/auth//login"),
        Request::new("TRACE", "/"),
    ] {
        gateway.send(&request).await;
        h2.send(&request).await;
        sent += 2.0;
    }
    let sums = || async {
        let metrics = gateway.metrics().await;
        let sums = (metrics.sum("requests_total", &[]), metrics.sum("auth_total", &[]));
        (sums == (sent, sent)).then_some(metrics)
    };
    let metrics = wait::until_answer(&format!("{sent} requests in both sums"), sums).await;
    for (outcome, count) in [
        ("anonymous", 2.0),
        ("ignored", 2.0),
        ("missing", 2.0),
        ("invalid_token", 2.0),
        ("malformed_key", 2.0),
        ("unknown_key", 2.0),
        ("accepted", 6.0),
        ("request_refused", 4.0),
    ] {
        assert_eq!(metrics.sum("auth_total", &[("outcome", outcome)]), count, "{outcome}");
    }
    assert_eq!(metrics.sum("requests_total", &[("instance", "home"), ("status", "401")]), 8.0);
    assert_eq!(metrics.sum("requests_total", &[("auth", "api_key"), ("status", "200")]), 2.0);
}

#[tokio::test]
async fn clients_cannot_make_metrics_grow() {
    let upstream = Recorder::start().await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    let ask = async |number: usize| {
        let method = if number.is_multiple_of(2) { format!("M{number}") } else { "GET".to_owned() };
        let request = Request::new(&method, &format!("/{number}?q={number}"))
            .host(&format!("h{number}.example"))
            .field("User-Agent", &format!("a{number}"))
            .bearer(&format!("token{number}"));
        request.send(&gateway, EVERY_WAY[number % 2]).await;
    };
    futures_util::future::join_all((0..20).map(&ask)).await;
    let before = gateway.metrics().await.len();
    futures_util::future::join_all((20..200).map(&ask)).await;
    let after = gateway.metrics().await.len();
    assert!(after <= before + 5, "from {before} to {after} samples");
}
