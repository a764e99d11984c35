//! Where the credential of a request is looked for, and which one counts: OpenBin's own rules.

use crate::support::{EVERY_WAY, Gateway, Recorder, Request, Setup, Via, jwt};

const INVALID_TOKEN: (u16, &str, &str) = (401, "UNAUTHORIZED", "Invalid token");
const NO_TOKEN: (u16, &str, &str) = (401, "UNAUTHORIZED", "No token provided");
const INVALID_KEY: (u16, &str, &str) = (401, "UNAUTHORIZED", "Invalid API key");

/// What should become of a request.
enum Fate {
    Accepted,
    Refused((u16, &'static str, &'static str)),
    BadRequest,
}

use Fate::{Accepted, BadRequest, Refused};

struct Bench {
    upstream: Recorder,
    gateway: Gateway,
}

impl Bench {
    async fn new() -> Self {
        let upstream = Recorder::start().await;
        let gateway = Setup::of(upstream.address()).with("limits: { bad_credentials: off }").start().await;
        Self { upstream, gateway }
    }

    /// Sends `GET /api/bins` with these fields each way, and checks what becomes of it.
    async fn expect(&self, fields: &[(&str, &str)], fate: &Fate) {
        for via in EVERY_WAY {
            // White space around a value belongs to no value in HTTP/1.1, and makes HTTP/2 malformed (RFC 9113 §8.2.1).
            let malformed = via == Via::H2 && fields.iter().any(|(_, value)| value.trim() != *value);
            self.expect_via(via, fields, if malformed { &BadRequest } else { fate }).await;
        }
    }

    async fn expect_via(&self, via: Via, fields: &[(&str, &str)], fate: &Fate) {
        self.upstream.clear();
        let response = Request::get("/api/bins").fields(fields).send(&self.gateway, via).await;
        let context = format!("{via:?} {fields:?}");
        match fate {
            Accepted => {
                assert_eq!(response.status, 200, "{context}: {}", response.text());
                let seen = self.upstream.last();
                assert_eq!(seen.field("x-auth-method"), Some("jwt"), "{context}");
                assert_eq!(seen.field("x-auth-user-id"), Some(jwt::USER), "{context}");
                assert_eq!(seen.field("x-auth-user-email"), Some(jwt::EMAIL), "{context}");
            }
            Refused((status, code, message)) => {
                assert_eq!(
                    (response.status, response.json()["message"].as_str()),
                    (*status, Some(*message)),
                    "{context}"
                );
                response.assert_refused(*status, code, message);
                assert_eq!(self.upstream.count(), 0, "{context}: it was forwarded");
            }
            BadRequest => {
                assert_eq!(response.status, 400, "{context}: {}", response.text());
                assert_eq!(self.upstream.count(), 0, "{context}: it was forwarded");
            }
        }
    }
}

#[tokio::test]
async fn a_session_is_accepted_as_bearer_and_as_cookie() {
    let bench = Bench::new().await;
    let token = jwt::session();
    bench.expect(&[("Authorization", &format!("Bearer {token}"))], &Accepted).await;
    bench.expect(&[("Cookie", &format!("openbin-access={token}"))], &Accepted).await;
    bench.expect(&[], &Refused(NO_TOKEN)).await;
}

#[tokio::test]
async fn what_is_not_exactly_bearer_and_a_space_falls_through_to_the_cookie() {
    let bench = Bench::new().await;
    let token = jwt::session();
    let cookie = format!("openbin-access={token}");
    let (lower, upper, tab) =
        (format!("bearer {token}"), format!("BEARER {token}"), format!("Bearer\t{token}"));
    for other in [&*lower, &*upper, &*tab, "Basic eDp5", "Bearer", "Bearer ", "Token abc"] {
        bench.expect(&[("Authorization", other)], &Refused(NO_TOKEN)).await;
        bench.expect(&[("Authorization", other), ("Cookie", &cookie)], &Accepted).await;
    }
}

#[tokio::test]
async fn a_bad_bearer_is_refused_although_the_cookie_is_good() {
    let bench = Bench::new().await;
    let token = jwt::session();
    let cookie = format!("openbin-access={token}");
    let doubled = format!("Bearer  {token}");
    for bad in ["Bearer junk", &doubled, "Bearer a.b.c", "Bearer ..", "Bearer Bearer"] {
        bench.expect(&[("Authorization", bad)], &Refused(INVALID_TOKEN)).await;
        bench.expect(&[("Authorization", bad), ("Cookie", &cookie)], &Refused(INVALID_TOKEN)).await;
    }
    let key = "Bearer sk_openbin_junk";
    bench.expect(&[("Authorization", key), ("Cookie", &cookie)], &Refused(INVALID_KEY)).await;
}

#[tokio::test]
async fn a_good_bearer_is_accepted_although_the_cookie_is_bad() {
    let bench = Bench::new().await;
    let bearer = format!("Bearer {}", jwt::session());
    bench.expect(&[("Authorization", &bearer), ("Cookie", "openbin-access=junk")], &Accepted).await;
}

#[tokio::test]
async fn white_space_around_the_field_value_does_not_belong_to_the_token() {
    let bench = Bench::new().await;
    let token = jwt::session();
    for via in [Via::Plain, Via::Tls] {
        for bearer in [format!("Bearer {token}  "), format!("   Bearer {token}\t")] {
            bench.expect_via(via, &[("Authorization", &bearer)], &Accepted).await;
        }
    }
}

#[tokio::test]
async fn more_than_one_authorization_field_is_a_bad_request() {
    let bench = Bench::new().await;
    let bearer = format!("Bearer {}", jwt::session());
    bench.expect(&[("Authorization", &bearer), ("Authorization", &bearer)], &BadRequest).await;
    bench.expect(&[("Authorization", &bearer), ("authorization", "Basic eDp5")], &BadRequest).await;
    bench.expect(&[("Authorization", "Bearer junk"), ("Authorization", &bearer)], &BadRequest).await;
}

#[tokio::test]
async fn the_session_cookie_twice_must_mean_the_same() {
    let bench = Bench::new().await;
    let token = jwt::session();
    let other = jwt::signed(&jwt::claims(800), jwt::SECRET);
    let same = format!("openbin-access={token}; x=y; openbin-access={token}");
    bench.expect(&[("Cookie", &same)], &Accepted).await;
    for two in [
        format!("openbin-access={token}; openbin-access={other}"),
        format!("openbin-access=junk; openbin-access={token}"),
        format!("openbin-access={token}; openbin-access=junk"),
    ] {
        bench.expect(&[("Cookie", &two)], &BadRequest).await;
    }
    let (first, second) = (format!("openbin-access={token}"), format!("openbin-access={other}"));
    bench.expect(&[("Cookie", &first), ("Cookie", &second)], &BadRequest).await;
}

#[tokio::test]
async fn a_cookie_is_read_as_openbin_reads_it() {
    let bench = Bench::new().await;
    let token = jwt::session();
    let encoded = token.replace('.', "%2E").replace('-', "%2D");
    for cookie in [
        format!("a=b; openbin-access={token}; c=d"),
        format!("a=b;openbin-access={token};c=d"),
        format!("openbin-access=\"{token}\""),
        format!("openbin-access={encoded}"),
        format!("openbin-access = {token} ; c=d"),
        format!("flag; openbin-access={token}"),
    ] {
        bench.expect(&[("Cookie", &cookie)], &Accepted).await;
    }
    for cookie in [
        format!("Openbin-Access={token}"),
        format!("openbin_access={token}"),
        format!("xopenbin-access={token}"),
        format!("a=\"openbin-access={token}\""),
        format!("openbin-refresh={token}"),
    ] {
        bench.expect(&[("Cookie", &cookie)], &Refused(NO_TOKEN)).await;
    }
}

#[tokio::test]
async fn cookies_split_over_several_fields_are_one_list() {
    let bench = Bench::new().await;
    let session = format!("openbin-access={}", jwt::session());
    let split = [("Cookie", "a=b"), ("Cookie", "openbin-csrf=c"), ("Cookie", &*session)];
    bench.expect(&split, &Accepted).await;
    let seen = bench.upstream.last();
    assert_eq!(seen.all("cookie"), [format!("a=b; openbin-csrf=c; {session}")]);
}

#[tokio::test]
async fn no_other_place_is_looked_at_for_a_credential() {
    let bench = Bench::new().await;
    let token = jwt::session();
    for name in
        ["X-API-Key", "X-Auth-Token", "Proxy-Authorization", "X-Authorization", "X-Original-Authorization"]
    {
        bench.expect(&[(name, &format!("Bearer {token}"))], &Refused(NO_TOKEN)).await;
    }
    for target in [format!("/api/bins?token={token}"), format!("/api/bins?access_token={token}")] {
        let response = bench.gateway.send(&Request::get(&target)).await;
        response.assert_refused(401, "UNAUTHORIZED", "No token provided");
    }
}

#[tokio::test]
async fn malformed_credentials_are_never_accepted() {
    let bench = Bench::new().await;
    let token = jwt::session();
    for cookie in [
        "openbin-access=".to_owned(),
        "openbin-access=\"".to_owned(),
        "openbin-access=%".to_owned(),
        "openbin-access=%ff%fe".to_owned(),
        "openbin-access=j:{\"a\":1}".to_owned(),
        "=;;;===; openbin-access".to_owned(),
        "openbin-access=a%00b".to_owned(),
        format!("openbin-access={}", "a".repeat(8_000)),
        format!("openbin-access={token}x.y"),
        format!("openbin-access=.{token}"),
    ] {
        for via in EVERY_WAY {
            let response = Request::get("/api/bins").field("Cookie", &cookie).send(&bench.gateway, via).await;
            assert!((400..500).contains(&response.status), "{via:?} {cookie:?}: {}", response.status);
        }
    }
    assert_eq!(bench.upstream.count(), 0);
}

#[tokio::test]
async fn bytes_that_are_no_text_are_refused_and_not_forwarded() {
    let bench = Bench::new().await;
    for field in [&b"Authorization: Bearer \xff\xfe\xfd"[..], b"Cookie: openbin-access=\xc3\x28"] {
        let mut wire = crate::support::Wire::plain(bench.gateway.http).await;
        wire.send([b"GET /api/bins HTTP/1.1\r\nHost: localhost\r\n", field, b"\r\n\r\n"].concat()).await;
        let response = wire.response().await;
        assert!(matches!(response.status, 400 | 401), "{field:?}: {}", response.status);
    }
    assert_eq!(bench.upstream.count(), 0);
}

#[tokio::test]
async fn on_public_routes_a_good_credential_is_stamped_and_a_bad_one_ignored() {
    let bench = Bench::new().await;
    let token = jwt::session();
    for target in ["/", "/api/health", "/api/auth/status", "/assets/app.js"] {
        for via in EVERY_WAY {
            let good = Request::get(target).bearer(&token).send(&bench.gateway, via).await;
            assert_eq!(good.status, 200, "{target}");
            assert_eq!(bench.upstream.last().field("x-auth-method"), Some("jwt"), "{target}");
            for bad in ["junk", "sk_openbin_junk", &format!("sk_openbin_{}", "0".repeat(64))] {
                let passed = Request::get(target).bearer(bad).send(&bench.gateway, via).await;
                assert_eq!(passed.status, 200, "{target} {bad}");
                let seen = bench.upstream.last();
                assert_eq!(seen.all("x-auth-method"), ["none"], "{target} {bad}");
                assert_eq!(seen.field("x-auth-user-id"), None, "{target} {bad}");
                assert_eq!(
                    seen.field("authorization"),
                    Some(&*format!("Bearer {bad}")),
                    "it goes on untouched"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_malformed_key_is_refused_without_asking_anybody() {
    let upstream = Recorder::start().await;
    // A store that does not answer: whoever asked it would get 503 instead.
    let gateway = Setup::of(upstream.address()).in_redis("redis://127.0.0.1:1/0").start().await;
    let hex = "0123456789abcdef".repeat(4);
    for key in [
        "sk_openbin_".to_owned(),
        "sk_openbin_junk".to_owned(),
        format!("sk_openbin_{}", &hex[1..]),
        format!("sk_openbin_{hex}0"),
        format!("sk_openbin_{}", hex.to_uppercase()),
        format!("sk_openbin_{}g", &hex[1..]),
    ] {
        for request in [Request::get("/api/bins").bearer(&key), Request::get("/api/bins").session(&key)] {
            let response = gateway.send(&request).await;
            response.assert_refused(401, "UNAUTHORIZED", "Invalid API key");
        }
    }
    let well_formed = gateway.send(&Request::get("/api/bins").bearer(&format!("sk_openbin_{hex}"))).await;
    assert_eq!(well_formed.status, 503, "a key that could be one is looked up");
    assert_eq!(upstream.count(), 0);
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.sum("auth_total", &[("outcome", "malformed_key")]), 12.0);
}
