//! The header fields that reach the instance: identity and origin are said by the gateway alone.

use crate::support::{EVERY_WAY, Gateway, Recorder, Request, Setup, Via, Wire, jwt};

/// Names that some reader might take for one of the gateway's own.
const FORGED: [&str; 16] = [
    "X-Auth-Method",
    "x-auth-method",
    "X-AUTH-METHOD",
    "X_Auth_Method",
    "x-auth_method",
    "X.Auth.Method",
    "X-Auth-User-Id",
    "x_auth_user_id",
    "X-Auth-User-Email",
    "X~Auth~User-Email",
    "X-Auth-Key-Id",
    "x-auth-key_id",
    "X-Auth-Role",
    "X-Auth-Request-User",
    "x-auth-",
    "X!Auth'Anything",
];

async fn bench() -> (Recorder, Gateway) {
    let upstream = Recorder::start().await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    (upstream, gateway)
}

/// Asserts that no field whose folded name begins `x-auth-` is there but these.
fn assert_identity(seen: &crate::support::recorder::Recorded, expected: &[(&str, &str)], context: &str) {
    let fold = |name: &str| -> String {
        let fold = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        name.chars().map(fold).collect()
    };
    let own = seen.fields.iter().filter(|(name, _)| fold(name).starts_with("x-auth-"));
    let mut own: Vec<_> = own.map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
    own.sort();
    let mut expected: Vec<_> =
        expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    expected.sort();
    assert_eq!(own, expected, "{context}");
}

#[tokio::test]
async fn forged_identity_fields_are_dropped_on_every_kind_of_route() {
    let (upstream, gateway) = bench().await;
    let session =
        [("x-auth-method", "jwt"), ("x-auth-user-id", jwt::USER), ("x-auth-user-email", jwt::EMAIL)];
    let none = [("x-auth-method", "none")];
    let mut sent = 0.0;
    for via in EVERY_WAY {
        for (method, target, bearer, expected) in [
            ("GET", "/", None, &none[..]),
            ("GET", "/assets/app.js", None, &none),
            ("GET", "/api/health", None, &none),
            ("POST", "/api/auth/login", None, &none),
            ("OPTIONS", "/api/bins", None, &none),
            ("GET", "/api/auth/status", Some("junk"), &none),
            ("GET", "/api/bins", Some("good"), &session),
            ("PUT", "/api/bins/1", Some("good"), &session),
        ] {
            for forged in FORGED {
                let mut request = Request::new(method, target).field(forged, "api_key").field(forged, "root");
                match bearer {
                    Some("good") => request = request.bearer(&jwt::session()),
                    Some(bad) => request = request.bearer(bad),
                    None => {}
                }
                upstream.clear();
                let context = format!("{via:?} {method} {target} {forged}");
                assert_eq!(request.send(&gateway, via).await.status, 200, "{context}");
                assert_identity(&upstream.last(), expected, &context);
                sent += 2.0;
            }
        }
    }
    assert_eq!(gateway.metrics().await.sum("forged_headers_total", &[]), sent);
}

#[tokio::test]
async fn connection_cannot_nominate_the_gateways_fields_away() {
    let (upstream, gateway) = bench().await;
    let nominated = "x-auth-method, X-AUTH-User-Id, x-auth-user-email, X-Forwarded-For, x-forwarded-proto, \
                     x-forwarded-host, x-request-id, traceparent, host, cookie, authorization, content-length, close";
    for via in [Via::Plain, Via::Tls] {
        upstream.clear();
        let request = Request::post("/api/bins", "{\"a\":1}")
            .bearer(&jwt::session())
            .field("Cookie", "a=b")
            .field("X-Auth-Method", "none")
            .field("Connection", nominated);
        assert_eq!(request.send(&gateway, via).await.status, 200);
        let seen = upstream.last();
        let identity =
            [("x-auth-method", "jwt"), ("x-auth-user-id", jwt::USER), ("x-auth-user-email", jwt::EMAIL)];
        assert_identity(&seen, &identity, "nominated");
        for name in [
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded-host",
            "x-request-id",
            "traceparent",
            "host",
        ] {
            assert_eq!(seen.all(name).len(), 1, "{name}");
        }
        assert_eq!((seen.body.as_slice(), seen.field("content-length")), (&b"{\"a\":1}"[..], Some("7")));
        assert_eq!(seen.field("cookie"), Some("a=b"));
        assert_eq!(upstream.count(), 1, "one request only");
    }
}

#[tokio::test]
async fn hop_by_hop_fields_stop_here_and_others_pass() {
    let (upstream, gateway) = bench().await;
    let request = Request::get("/api/health")
        .field("Connection", "x-private, keep-alive")
        .field("X-Private", "1")
        .field("Keep-Alive", "timeout=5")
        .field("Proxy-Connection", "keep-alive")
        .field("Proxy-Authorization", "Basic eDp5")
        .field("TE", "gzip")
        .field("X-Custom", "kept")
        .field("X-CSRF-Token", "kept")
        .field("If-None-Match", "W/\"x\"")
        .field("Range", "bytes=0-1")
        .field("Accept-Encoding", "br")
        .field("X-Authority", "kept")
        .field("X-Author", "kept");
    assert_eq!(gateway.send(&request).await.status, 200);
    let seen = upstream.last();
    for name in ["x-private", "keep-alive", "proxy-connection", "te"] {
        assert_eq!(seen.field(name), None, "{name}");
    }
    for name in
        ["x-custom", "x-csrf-token", "if-none-match", "range", "accept-encoding", "x-authority", "x-author"]
    {
        assert!(seen.field(name).is_some(), "{name}");
    }
}

#[tokio::test]
async fn the_clients_address_is_said_by_the_gateway() {
    let (upstream, gateway) = bench().await;
    for via in EVERY_WAY {
        let request = Request::get("/")
            .field("X-Forwarded-For", "6.6.6.6")
            .field("X-Forwarded-For", "7.7.7.7")
            .field("x_forwarded_for", "8.8.8.8")
            .field("X-Forwarded-Proto", "gopher")
            .field("X-Forwarded-Host", "evil.example")
            .field("X-Forwarded-Port", "1")
            .field("X-Forwarded-Prefix", "/evil")
            .field("X-Real-IP", "6.6.6.6")
            .field("Forwarded", "for=6.6.6.6");
        assert_eq!(request.send(&gateway, via).await.status, 200);
        let seen = upstream.last();
        assert_eq!(seen.all("x-forwarded-for"), ["127.0.0.1"], "{via:?}");
        let scheme = if via == Via::Plain { "http" } else { "https" };
        assert_eq!(seen.all("x-forwarded-proto"), [scheme], "{via:?}");
        assert_eq!(seen.all("x-forwarded-host"), ["localhost"], "{via:?}");
        let text = String::from_utf8_lossy(&seen.head).into_owned();
        for forged in ["6.6.6.6", "7.7.7.7", "8.8.8.8", "evil", "gopher"] {
            assert!(!text.contains(forged), "{via:?} {forged} in {text}");
        }
    }
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_address_is_walked_from_the_right() {
    let upstream = Recorder::start().await;
    let gateway =
        Setup::of(upstream.address()).with("trusted_proxies: [127.0.0.1, 10.0.0.0/8]").start().await;
    for (forwarded, address) in [
        (&["203.0.113.9"][..], "203.0.113.9"),
        (&["6.6.6.6, 203.0.113.9"], "203.0.113.9"),
        (&["6.6.6.6, 203.0.113.9, 10.1.2.3"], "203.0.113.9"),
        (&["6.6.6.6", "203.0.113.9", "10.1.2.3"], "203.0.113.9"),
        (&["2001:db8::1"], "2001:db8::1"),
    ] {
        let request = forwarded
            .iter()
            .fold(Request::get("/"), |request, value| request.field("X-Forwarded-For", value));
        assert_eq!(gateway.send(&request).await.status, 200);
        assert_eq!(upstream.last().all("x-forwarded-for"), [address], "{forwarded:?}");
    }
    for junk in ["a", "", "unknown", "203.0.113.9, a", "1.2.3.4.5", "127.0.0.1, ,"] {
        assert_eq!(gateway.send(&Request::get("/").field("X-Forwarded-For", junk)).await.status, 200);
        let seen = upstream.last();
        let address = seen.field("x-forwarded-for").expect("an address");
        assert!(address.parse::<std::net::IpAddr>().is_ok(), "{junk:?} became {address:?}");
    }
    let scheme = Request::get("/").field("X-Forwarded-Proto", "https");
    assert_eq!(gateway.send(&scheme).await.status, 200);
    assert_eq!(
        upstream.last().field("x-forwarded-proto"),
        Some("https"),
        "a trusted proxy says how it was asked"
    );
}

#[tokio::test]
async fn every_request_has_an_id_that_the_client_the_instance_and_the_log_share() {
    let (upstream, gateway) = bench().await;
    let mut ids = Vec::new();
    for via in EVERY_WAY {
        let response = Request::get("/").field("X-Request-Id", "forged").send(&gateway, via).await;
        let id = response.field("x-request-id").expect("an id").to_owned();
        assert_eq!(response.all("x-request-id").len(), 1);
        assert_eq!(upstream.last().all("x-request-id"), [&*id], "{via:?}");
        assert_eq!(id.len(), 32);
        ids.push(id);
    }
    let refused = gateway.send(&Request::get("/api/bins")).await;
    ids.push(refused.field("x-request-id").expect("an id on a refusal too").to_owned());
    let logged = || ids.iter().all(|id| gateway.access_text().contains(id));
    crate::support::wait::until("all ids in the access log", logged).await;
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 4, "each request has an id of its own");
}

#[tokio::test]
async fn a_trace_is_continued_or_begun() {
    let (upstream, gateway) = bench().await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    gateway.send(&Request::get("/").field("traceparent", parent).field("tracestate", "a=1")).await;
    let seen = upstream.last();
    let continued = seen.field("traceparent").expect("a trace").to_owned();
    assert!(continued.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{continued}");
    for junk in ["", "junk", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", "00-zz-00-01"] {
        gateway.send(&Request::get("/").field("traceparent", junk)).await;
        let seen = upstream.last();
        let [begun] = seen.all("traceparent")[..] else { panic!("one trace: {:?}", seen.fields) };
        let parts: Vec<_> = begun.split('-').map(str::len).collect();
        assert_eq!(parts, [2, 32, 16, 2], "{junk:?} became {begun}");
        assert_ne!(begun, junk);
    }
}

#[tokio::test]
async fn the_credential_itself_goes_on_unchanged() {
    let (upstream, gateway) = bench().await;
    let token = jwt::session();
    gateway.send(&Request::get("/api/bins").bearer(&token)).await;
    assert_eq!(upstream.last().field("authorization"), Some(&*format!("Bearer {token}")));
    assert_eq!(upstream.last().field("cookie"), None);
    gateway.send(&Request::get("/api/bins").session(&token)).await;
    assert_eq!(upstream.last().field("authorization"), None, "a cookie never becomes a Bearer");
    assert_eq!(upstream.last().field("cookie"), Some(&*format!("openbin-access={token}")));
}

#[tokio::test]
async fn forged_identity_in_trailers_does_not_reach_the_instance() {
    let (upstream, gateway) = bench().await;
    let mut wire = Wire::plain(gateway.http).await;
    wire.send(
        "POST /api/auth/login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTrailer: x-auth-method\r\n\r\n\
         2\r\n{}\r\n0\r\nX-Auth-Method: api_key\r\nX_Auth_User_Id: root\r\n\r\n",
    )
    .await;
    assert_eq!(wire.response().await.status, 200);
    let seen = upstream.last();
    assert_identity(&seen, &[("x-auth-method", "none")], "head");
    let forged = seen
        .trailers
        .iter()
        .filter(|(name, _)| name.to_ascii_lowercase().replace('_', "-").starts_with("x-auth"));
    assert_eq!(forged.count(), 0, "{:?}", seen.trailers);
}

#[tokio::test]
async fn an_instances_answer_cannot_claim_an_identity_or_break_the_connection() {
    let upstream = Recorder::answering(|_| {
        b"HTTP/1.1 200 OK\r\nConnection: close, x-internal\r\nX-Internal: 1\r\nKeep-Alive: timeout=5\r\n\
          X-Request-Id: theirs\r\nContent-Length: 2\r\n\r\nok"
            .to_vec()
    })
    .await;
    let gateway = Gateway::in_front_of(upstream.address()).await;
    for via in EVERY_WAY {
        let response = Request::get("/").send(&gateway, via).await;
        assert_eq!((response.status, response.text().as_str()), (200, "ok"));
        assert_eq!(response.field("x-internal"), None);
        assert_eq!(response.field("keep-alive"), None);
        assert_ne!(response.field("x-request-id"), Some("theirs"));
    }
    let mut wire = Wire::plain(gateway.http).await;
    for _ in 0..3 {
        assert_eq!(Request::get("/").on(&mut wire).await.status, 200, "the client's connection stays");
    }
}
