//! What needs a credential and what does not, told on the target as OpenBin would route it.

use crate::support::{EVERY_WAY, Gateway, Recorder, Request, Via, Wire, jwt};

async fn bench() -> (Recorder, Gateway) {
    let upstream = Recorder::start().await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    (upstream, gateway)
}

const SHARE: &str = "/api/shared/0123456789abcdef0123456789abcdef";

fn public() -> Vec<(&'static str, String)> {
    let mut routes = Vec::new();
    for target in [
        "/api/health",
        "/api/auth/status",
        "/api/plans",
        "/api/auth/oauth/google",
        "/api/auth/oauth/google/callback",
        "/api/auth/oauth/apple",
        SHARE,
        "/api/shared/0123456789abcdef0123456789abcdef/photos/p1/file",
        "/api/shared/0123456789abcdef0123456789abcdef/photos/p1/thumb",
    ] {
        routes.push(("GET", target.to_owned()));
        routes.push(("HEAD", target.to_owned()));
    }
    for name in [
        "register",
        "login",
        "demo-login",
        "refresh",
        "logout",
        "forgot-password",
        "reset-password",
        "recover-deletion",
        "oauth/apple/callback",
    ] {
        routes.push(("POST", format!("/api/auth/{name}")));
    }
    routes.push(("POST", "/api/subscriptions/callback".to_owned()));
    routes
}

#[tokio::test]
async fn the_public_list_needs_no_credential() {
    let (upstream, gateway) = bench().await;
    for (method, target) in public() {
        for target in
            [target.clone(), target.to_uppercase(), format!("{target}/"), format!("{target}?a=/b&c=%2F")]
        {
            upstream.clear();
            let response = gateway.send(&Request::new(method, &target)).await;
            assert_eq!(response.status, 200, "{method} {target}");
            let seen = upstream.last();
            assert_eq!((&*seen.method, &*seen.target), (method, &*target), "forwarded byte for byte");
            assert_eq!(seen.field("x-auth-method"), Some("none"), "{method} {target}");
        }
    }
}

#[tokio::test]
async fn everything_else_under_api_needs_a_credential() {
    let (upstream, gateway) = bench().await;
    let targets = [
        "/api",
        "/api/",
        "/API",
        "/Api/Bins",
        "/api/bins",
        "/api/bins/",
        "/api/auth/me",
        "/api/auth",
        "/api/auth/",
        "/api/auth/oauth/links",
        "/api/auth/statuses",
        "/api/auth/status/x",
        "/api/healthz",
        "/api/health/live",
        "/api/api-keys",
        "/api/api-keys/x",
        "/api/admin/users",
        "/api/v1/users/x/exists",
        "/api/ai/default-prompts",
        "/api/shared",
        "/api/shared/",
        "/api/shared/t/photos",
        "/api/shared/t/photos/p",
        "/api/shared/t/bins",
        "/api/nonexistent",
        "/api/photos/p/file",
        "/api/locations/l/export/zip",
    ];
    for target in targets {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "PROPFIND", "PURGE"] {
            let response = gateway.send(&Request::new(method, target)).await;
            assert_eq!(response.status, 401, "{method} {target}");
        }
    }
    for (method, target) in public() {
        for other in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"] {
            let same = method == other || (method, other) == ("HEAD", "GET");
            if same || public().contains(&(if other == "HEAD" { "GET" } else { other }, target.clone())) {
                continue;
            }
            let response = gateway.send(&Request::new(other, &target)).await;
            assert_eq!(response.status, 401, "{other} {target}");
        }
    }
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn whatever_is_not_under_api_is_public() {
    let (upstream, gateway) = bench().await;
    for target in [
        "/",
        "/index.html",
        "/assets/app.js",
        "/metrics",
        "/livez",
        "/readyz",
        "/.env",
        "/apix",
        "/apiary/bins",
        "/ap",
        "//api/bins",
        "/x/../api/bins",
        "/%61pi/bins",
        "/api%2Fbins",
        "/api%5Cbins",
        "/a/api/bins",
        "/?next=/api/bins",
    ] {
        for via in EVERY_WAY {
            upstream.clear();
            let response = Request::get(target).send(&gateway, via).await;
            assert_eq!(response.status, 200, "{via:?} {target}");
            let seen = upstream.last();
            assert_eq!(seen.target, target, "forwarded byte for byte");
            assert_eq!(seen.field("x-auth-method"), Some("none"));
        }
    }
}

#[tokio::test]
async fn no_spelling_of_a_target_slips_past_the_credential() {
    let (upstream, gateway) = bench().await;
    let targets = [
        "/api/shared/../bins",
        "/api/shared/t/../../bins",
        "/api/./bins",
        "/api/bins/.",
        "/api/health/../bins",
        "/api/health/%2e%2e/bins",
        "/api/%2e%2e/api/bins",
        "/api/health%2f..%2fbins",
        "/api/%68ealth",
        "/api/health%00",
        "/api/health%20",
        "/api/health;x",
        "/api/health;/../bins",
        "/api/bins;/api/health",
        "/api/bins?x=/api/health",
        "/api/bins?/api/auth/status",
        "/api/%252e%252e/health",
        "/api/..;/health",
        "/api/health%5c..%5cbins",
        "/api/auth/status%2f",
        "/api/auth/login",
        "/api/bins&/api/health",
    ];
    for target in targets {
        for via in EVERY_WAY {
            let response = Request::get(target).send(&gateway, via).await;
            assert!(matches!(response.status, 400 | 401), "{via:?} {target}: {}", response.status);
        }
    }
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn odd_bytes_in_a_target_are_refused_or_routed_as_openbin_would() {
    let (upstream, gateway) = bench().await;
    let targets: [&[u8]; 10] = [
        b"/api/bins#/api/health",
        b"/api/bins#",
        b"/api/health/..\\bins",
        b"/api\\bins",
        b"/api/\xff\xfe",
        b"/api/bins\x00",
        b"/api/b\x7fns",
        b"/api/h\xc3\xa9alth",
        b"/api/\tbins",
        b"/api/bins\x0b",
    ];
    for target in targets {
        upstream.clear();
        let mut wire = Wire::plain(gateway.http).await;
        wire.send([b"GET ", target, b" HTTP/1.1\r\nHost: localhost\r\n\r\n"].concat()).await;
        let response = wire.response().await;
        let text = String::from_utf8_lossy(target);
        // Express does not take `/api\bins` for an API path; everything else here is under /api.
        let passes = target == b"/api\\bins" && response.status == 200;
        assert!(passes || matches!(response.status, 400 | 401), "{text:?}: {}", response.status);
        assert_eq!(upstream.count(), usize::from(passes), "{text:?}");
    }
}

#[tokio::test]
async fn a_fragment_never_reaches_the_instance() {
    let (upstream, gateway) = bench().await;
    for (target, bearer) in [("/api/health#/api/bins", None), ("/api/bins#/api/health", Some(jwt::session()))]
    {
        upstream.clear();
        let mut request = Request::get(target);
        if let Some(token) = &bearer {
            request = request.bearer(token);
        }
        let response = gateway.send(&request).await;
        assert!(matches!(response.status, 200 | 400), "{target}: {}", response.status);
        for seen in upstream.requests() {
            assert_eq!(seen.target, target.split('#').next().unwrap_or_default());
        }
    }
}

#[tokio::test]
async fn an_absolute_target_is_classified_and_forwarded_by_its_path() {
    let (upstream, gateway) = bench().await;
    for (target, status) in [
        ("http://localhost/api/bins", 401),
        ("http://localhost/api/health", 200),
        ("http://localhost", 200),
        ("http://localhost/api/bins?u=http://localhost/api/health", 401),
    ] {
        upstream.clear();
        let response = gateway.send(&Request::get(target)).await;
        assert_eq!(response.status, status, "{target}");
        if status == 200 {
            assert!(upstream.last().target.starts_with('/'), "{}", upstream.last().target);
        } else {
            assert_eq!(upstream.count(), 0);
        }
    }
}

#[tokio::test]
async fn an_empty_path_segment_under_api_never_reaches_a_route_without_its_limits() {
    let (upstream, gateway) = bench().await;
    for (method, target) in
        [("POST", "/api/auth//login"), ("GET", "/api//health"), ("DELETE", "/api/api-keys//x")]
    {
        let response = gateway.send(&Request::new(method, target)).await;
        assert!(matches!(response.status, 400 | 401), "{method} {target}: {}", response.status);
    }
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn a_preflight_passes_without_a_credential_and_without_an_identity() {
    let (upstream, gateway) = bench().await;
    for via in EVERY_WAY {
        upstream.clear();
        let request = Request::new("OPTIONS", "/api/bins")
            .field("Origin", "https://other.example")
            .field("Access-Control-Request-Method", "PUT")
            .field("Access-Control-Request-Headers", "x-csrf-token");
        assert_eq!(request.send(&gateway, via).await.status, 200);
        let seen = upstream.last();
        assert_eq!(seen.method, "OPTIONS");
        assert_eq!(seen.field("x-auth-method"), Some("none"));
        assert_eq!(seen.field("origin"), Some("https://other.example"));
    }
}

#[tokio::test]
async fn connect_and_trace_are_refused_here_and_end_the_connection() {
    let (upstream, gateway) = bench().await;
    for line in ["CONNECT localhost:443", "CONNECT /api/bins", "TRACE /", "TRACE /api/health"] {
        let mut wire = Wire::plain(gateway.http).await;
        let next = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
        wire.send(format!("{line} HTTP/1.1\r\nHost: localhost:443\r\n\r\n{next}")).await;
        let response = wire.response().await;
        assert!(matches!(response.status, 400 | 405), "{line}: {}", response.status);
        if !line.starts_with("CONNECT /") {
            assert_eq!(response.status, 405, "{line}");
            assert!(response.field("allow").is_some_and(|allow| allow.contains("GET")), "{line}");
        }
        let rest = wire.rest().await;
        assert!(rest.is_empty(), "{line}: the connection goes on with {}", String::from_utf8_lossy(&rest));
    }
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn no_header_value_makes_a_route_public() {
    let (upstream, gateway) = bench().await;
    for (name, value) in [
        ("User-Agent", "kube-probe/1.29"),
        ("User-Agent", "GoogleHC/1.0"),
        ("X-Forwarded-Uri", "/api/health"),
        ("X-Original-URL", "/api/health"),
        ("X-Rewrite-URL", "/api/health"),
        ("X-Envoy-Original-Path", "/api/health"),
        ("X-Forwarded-Prefix", "/x"),
        ("X-HTTP-Method-Override", "OPTIONS"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-For", "a"),
        ("X-Auth-Method", "jwt"),
        ("X-Auth-User-Id", jwt::USER),
        ("Forwarded", "for=127.0.0.1;proto=https"),
        ("Upgrade", "websocket"),
    ] {
        for via in EVERY_WAY {
            if via == Via::H2 && name == "Upgrade" {
                continue;
            }
            let response = Request::get("/api/bins").field(name, value).send(&gateway, via).await;
            assert_eq!(response.status, 401, "{via:?} {name}: {value}");
        }
    }
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn the_admin_paths_are_not_served_by_the_proxy_listeners() {
    let (upstream, gateway) = bench().await;
    for target in ["/livez", "/readyz", "/metrics"] {
        for via in EVERY_WAY {
            upstream.clear();
            let response = Request::get(target).send(&gateway, via).await;
            assert_eq!(response.json()["ok"], true, "{target} is the instance's page, as any other path");
            assert_eq!(upstream.count(), 1);
        }
    }
}
