//! How much keys and addresses may do, and what a flood of bad credentials does to good ones: nothing.

use serde_json::json;

use super::adoption::create;
use crate::support::issuer::tally;
use crate::support::{EVERY_WAY, Gateway, Issuer, Recorder, Request, Response, Setup, Store, jwt, wait};

const MESSAGE: &str = "Too many requests, please try again later";

/// A gateway in front of this issuer with these limits, that believes `X-Forwarded-For`.
async fn limited(issuer: &Issuer, limits: &str) -> Gateway {
    Setup::of(issuer.address())
        .with(&format!("limits: {{ {limits} }}"))
        .with("trusted_proxies: [127.0.0.1]")
        .start()
        .await
}

fn use_key(key: &str) -> Request {
    Request::get("/api/bins").bearer(key)
}

/// A key that nobody issued.
fn made_up(number: usize) -> String {
    format!("sk_openbin_f{number:063x}")
}

/// Makes an address one that presented too many bad credentials, without using up its rations.
async fn penalise(gateway: &Gateway, from: &str) {
    let bad = use_key("sk_openbin_malformed").field("X-Forwarded-For", from);
    wait::until_answer("a penalty", || async { (gateway.send(&bad).await.status == 429).then_some(()) })
        .await;
}

#[track_caller]
fn retry_after(response: &Response) -> u64 {
    response.assert_refused(429, "RATE_LIMITED", MESSAGE);
    let seconds = response.field("retry-after").expect("Retry-After").parse().expect("whole seconds");
    assert!(seconds >= 1, "{seconds}");
    seconds
}

/// What must be told of limits that give back one request an hour: each one's name and what is left of it.
#[track_caller]
fn assert_told(response: &Response, policy: &str, left: &[(&str, u32)]) {
    assert_eq!(response.all("ratelimit-policy"), [policy]);
    let standing = response.field("ratelimit").expect("RateLimit");
    let items: Vec<_> = standing.split(", ").collect();
    assert_eq!(items.len(), left.len(), "{standing}");
    for (item, (name, left)) in items.into_iter().zip(left) {
        let next = item.strip_prefix(&format!("\"{name}\";r={left};t="));
        let next: u64 = next.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{standing}"));
        assert!((3_500..=3_600).contains(&next), "{standing}");
    }
}

#[track_caller]
fn assert_told_nothing(response: &Response) {
    let told: Vec<_> = response.fields.iter().filter(|(name, _)| name.starts_with("ratelimit")).collect();
    assert!(told.is_empty(), "{told:?}");
}

#[tokio::test]
async fn a_key_may_do_what_its_limit_allows_and_no_more() {
    let issuer = Issuer::start().await;
    let gateway = limited(&issuer, "per_key: 3/3h").await;
    let ((id, key), (_, other)) = (create(&gateway).await, create(&gateway).await);
    for (left, via) in [2, 1, 0].into_iter().zip(EVERY_WAY) {
        let response = use_key(&key).send(&gateway, via).await;
        assert_eq!(response.status, 200);
        assert_told(&response, "\"key\";q=3;w=10800", &[("key", left)]);
    }
    for via in EVERY_WAY {
        let response = use_key(&key).send(&gateway, via).await;
        assert!((3_500..=3_600).contains(&retry_after(&response)));
        assert_told(&response, "\"key\";q=3;w=10800", &[("key", 0)]);
    }
    assert_eq!(gateway.send(&Request::get("/assets/app.js").bearer(&key)).await.status, 200, "no endpoint");
    assert_eq!(gateway.send(&use_key(&other)).await.status, 200, "each key has its own limit");
    let session = gateway.send(&use_key(&jwt::session())).await;
    assert_eq!(session.status, 200);
    assert_told_nothing(&session);
    assert_eq!(issuer.count("/api/bins"), 3 + 1 + 1, "what is over a limit is not forwarded");
    let metrics = gateway.metrics().await;
    let limited = [("outcome", "rate_limited"), ("credential", "api_key")];
    assert_eq!(metrics.sum("auth_total", &limited), 3.0);
    assert_eq!(metrics.sum("throttled_total", &[("reason", "key")]), 3.0);
    assert_eq!(metrics.sum("requests_total", &[("status", "429"), ("auth", "none")]), 3.0);
    let refused = || gateway.access_lines().into_iter().find(|line| line["status"] == 429);
    let line = wait::until_some("the access line", refused).await;
    assert_eq!((&line["outcome"], &line["key_id"]), (&json!("rate_limited"), &json!(id)));
}

#[tokio::test]
async fn an_address_may_do_what_its_limit_allows_whoever_asks_there() {
    let issuer = Issuer::start().await;
    let gateway = limited(&issuer, "per_address: 4/4h, per_key: 10/10h").await;
    let (_, key) = create(&gateway).await;
    let from = |request: Request, address: &str| request.field("X-Forwarded-For", address);
    let ask = async |request: Request| gateway.send(&from(request, "192.0.2.1")).await;
    for page in ["/", "/assets/app.js", "/apix"] {
        assert_told_nothing(&ask(Request::get(page)).await);
    }
    assert_told(&ask(Request::get("/api/auth/status")).await, "\"address\";q=4;w=14400", &[("address", 3)]);
    let refused = ask(Request::get("/api/bins")).await;
    refused.assert_refused(401, "UNAUTHORIZED", "No token provided");
    assert_told(&refused, "\"address\";q=4;w=14400", &[("address", 2)]);
    assert_told(
        &ask(use_key(&key)).await,
        "\"address\";q=4;w=14400, \"key\";q=10;w=36000",
        &[("address", 1), ("key", 9)],
    );
    assert_eq!(ask(use_key(&jwt::session())).await.status, 200);
    for request in [use_key(&key), use_key(&jwt::session()), Request::new("OPTIONS", "/API/bins")] {
        retry_after(&ask(request).await);
    }
    assert_eq!(ask(Request::get("/assets/app.js").bearer(&key)).await.status, 200, "pages go on");
    let other = gateway.send(&from(use_key(&key), "192.0.2.2")).await;
    assert_eq!(other.status, 200, "other addresses notice nothing");
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.sum("throttled_total", &[("reason", "address")]), 3.0);
    let limited = [("outcome", "rate_limited"), ("credential", "none")];
    assert_eq!(metrics.sum("auth_total", &limited), 3.0);
    assert_eq!(metrics.sum("auth_total", &[]), metrics.sum("requests_total", &[]));
}

#[tokio::test]
async fn an_ipv6_network_of_64_bits_is_one_address() {
    let issuer = Issuer::start().await;
    let gateway = limited(&issuer, "per_address: 2/2h").await;
    let ask = async |address: &str| {
        gateway.send(&Request::get("/api/health").field("X-Forwarded-For", address)).await.status
    };
    assert_eq!((ask("2001:db8::1").await, ask("2001:db8::ffff:1").await), (200, 200));
    assert_eq!((ask("2001:db8::2").await, ask("2001:db8:0:1::2").await), (429, 200));
    assert_eq!((ask("192.0.2.1").await, ask("::ffff:192.0.2.1").await), (200, 200));
    assert_eq!((ask("192.0.2.1").await, ask("192.0.2.2").await), (429, 200));
}

#[tokio::test]
async fn nobody_is_believed_to_be_another_address_who_is_not_trusted() {
    let upstream = Recorder::start().await;
    let gateway = Setup::of(upstream.address()).with("limits: { per_address: 1/1h }").start().await;
    let ask = async |address: &str| {
        gateway.send(&Request::get("/api/health").field("X-Forwarded-For", address)).await.status
    };
    assert_eq!((ask("192.0.2.1").await, ask("192.0.2.2").await), (200, 429));
}

#[tokio::test]
async fn without_limits_nothing_is_told_or_refused() {
    let issuer = Issuer::start().await;
    let gateway = Gateway::in_front_of(issuer.address()).await;
    let (_, key) = create(&gateway).await;
    let h2 = crate::support::client::H2::connect(gateway.https, "localhost").await;
    for _ in 0..500 {
        let response = h2.send(&use_key(&key)).await;
        assert_eq!(response.status, 200);
        assert_told_nothing(&response);
    }
}

#[tokio::test]
async fn what_openbin_says_of_its_own_limits_stays_as_it_is() {
    let answer = |fields: &str, status: &str| {
        format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n{fields}\r\n").into_bytes()
    };
    let upstream = Recorder::answering(move |request| match &*request.target {
        "/api/batch" => answer(
            "RateLimit-Policy: 600;w=3600\r\nRateLimit-Limit: 600\r\nRateLimit-Remaining: 0\r\n\
             RateLimit-Reset: 40\r\nRetry-After: 40\r\n",
            "429 Too Many Requests",
        ),
        _ => answer("", "200 OK"),
    })
    .await;
    let gateway = Setup::of(upstream.address()).with("limits: { per_address: 9/9h }").start().await;
    for via in EVERY_WAY {
        let response = Request::post("/api/batch", "{}").bearer(&jwt::session()).send(&gateway, via).await;
        assert_eq!(response.all("ratelimit-policy"), ["600;w=3600"]);
        assert_eq!(response.all("ratelimit-remaining"), ["0"]);
        assert_eq!(
            (response.all("ratelimit-limit"), response.all("ratelimit-reset")),
            (vec!["600"], vec!["40"])
        );
        assert_eq!((response.all("ratelimit"), response.all("retry-after")), (vec![], vec!["40"]));
    }
    let ours = gateway.send(&Request::get("/api/bins").bearer(&jwt::session())).await;
    assert_told(&ours, "\"address\";q=9;w=32400", &[("address", 5)]);
}

#[tokio::test]
async fn good_keys_pass_while_their_address_is_flooded_with_bad_ones() {
    for store in Store::each() {
        let issuer = Issuer::start().await;
        // No verdict is fresh for longer than a moment: each use of a good key asks the store again.
        let setup = store.of(Setup::of(issuer.address())).with("cache: { fresh_for: 1ms }");
        // None is given back while the test runs, however long that takes.
        let gateway = setup.with("limits: { bad_credentials: 30/1h }").start().await;
        let (_, key) = create(&gateway).await;
        assert_eq!(gateway.send(&use_key(&key)).await.status, 200);
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for number in 0..300 {
            bad.push(gateway.send(&use_key(&made_up(number))).await.status);
            good.push(gateway.send(&use_key(&key)).await.status);
        }
        assert_eq!(tally(good), [(200, 300)].into(), "{}", store.name());
        assert_eq!(tally(bad), [(401, 30), (429, 270)].into(), "{}", store.name());
        let metrics = gateway.metrics().await;
        let throttled = |reason| metrics.sum("throttled_total", &[("reason", reason)]);
        let limited = metrics.sum("auth_total", &[("outcome", "rate_limited"), ("credential", "api_key")]);
        let reasons = throttled("bad_credential") + throttled("look_up") + throttled("adoption");
        assert_eq!((limited, reasons), (270.0, 270.0), "each refusal has one reason");
        assert_eq!(metrics.sum("auth_total", &[]), metrics.sum("requests_total", &[]));
    }
}

#[tokio::test]
async fn a_flood_of_made_up_keys_reaches_openbin_within_its_ration_only() {
    let issuer = Issuer::start().await;
    // None is given back while the test runs, however long that takes.
    let gateway = limited(&issuer, "bad_credentials: 5/1h").await;
    let started = std::time::Instant::now();
    let mut asked_before = 0;
    for number in 0..2_000 {
        let response = gateway.send(&use_key(&made_up(number))).await;
        if number < 5 {
            response.assert_refused(401, "UNAUTHORIZED", "Invalid API key");
            asked_before = issuer.asked();
        } else {
            assert!(retry_after(&response) <= 3_600);
        }
    }
    let seconds = usize::try_from(started.elapsed().as_secs()).expect("seconds") + 2;
    assert!(issuer.asked() <= asked_before + 1 + seconds, "{} in {seconds} s", issuer.asked());
    assert!(issuer.asked() < 200, "{}", issuer.asked());
}

#[tokio::test]
async fn a_key_that_is_new_here_passes_from_an_address_that_is_penalised() {
    for store in Store::each() {
        let issuer = Issuer::start().await;
        let setup = store.of(Setup::of(issuer.address())).with("limits: { bad_credentials: 5/1m }");
        let (known, fresh) = (issuer.issue(), issuer.issue());
        let first = setup.start().await;
        assert_eq!(first.send(&use_key(&known.key)).await.status, 200);
        assert!(first.stop().await.success());
        let gateway = setup.start().await;
        penalise(&gateway, "127.0.0.1").await;
        assert_eq!(gateway.send(&use_key(&known.key)).await.status, 200, "the store knows it");
        assert_eq!(gateway.send(&use_key(&fresh.key)).await.status, 200, "OpenBin knows it");
        let again = issuer.issue();
        let response = gateway.send(&use_key(&again.key)).await;
        assert_eq!(retry_after(&response), 1, "{}: one new key a second", store.name());
        let passes = || async { (gateway.send(&use_key(&again.key)).await.status == 200).then_some(()) };
        wait::until_answer("the next new key to pass", passes).await;
    }
}

#[tokio::test]
async fn a_penalty_is_for_one_address_only() {
    let issuer = Issuer::start().await;
    let gateway = limited(&issuer, "bad_credentials: 2/1m").await;
    penalise(&gateway, "2001:db8::1").await;
    let bad = async |address: &str| {
        gateway.send(&use_key("sk_openbin_malformed").field("X-Forwarded-For", address)).await.status
    };
    assert_eq!((bad("2001:db8::2").await, bad("2001:db8:0:1::1").await), (429, 401));
    assert_eq!(bad("192.0.2.1").await, 401);
}

#[tokio::test]
async fn browsers_whose_sessions_are_over_are_told_so_for_ever() {
    let issuer = Issuer::start().await;
    let gateway = limited(&issuer, "bad_credentials: 3/1m").await;
    let expired = jwt::signed(&jwt::claims(-5), jwt::SECRET);
    let forged = jwt::signed(&jwt::claims(900), "another secret");
    let ask = async |request: Request| gateway.send(&request).await;
    for _ in 0..20 {
        for request in [Request::get("/api/bins").session(&expired), use_key(&expired)] {
            ask(request).await.assert_refused(401, "UNAUTHORIZED", "Invalid token");
        }
    }
    assert_eq!(gateway.metrics().await.sum("throttled_total", &[]), 0.0, "to expire is no fault");
    for _ in 0..20 {
        let page = ask(Request::get("/api/bins").session(&forged)).await;
        page.assert_refused(401, "UNAUTHORIZED", "Invalid token");
    }
    retry_after(&ask(use_key(&forged)).await);
    assert_eq!(ask(Request::get("/api/bins").session(&jwt::session())).await.status, 200);
    assert_eq!(ask(use_key(&jwt::session())).await.status, 200);
}

#[tokio::test]
async fn a_revoked_key_is_no_fault_of_its_address() {
    let issuer = Issuer::start().await;
    let gateway = limited(&issuer, "bad_credentials: 3/1m").await;
    let (id, key) = create(&gateway).await;
    let revoke = Request::delete(&format!("/api/api-keys/{id}")).bearer(&jwt::session());
    assert_eq!(gateway.send(&revoke).await.status, 200);
    for _ in 0..20 {
        gateway.send(&use_key(&key)).await.assert_refused(401, "UNAUTHORIZED", "Invalid API key");
    }
}

#[tokio::test]
async fn on_public_routes_a_flood_of_keys_is_let_through_without_a_look_up() {
    let issuer = Issuer::start().await;
    let gateway = limited(&issuer, "bad_credentials: 30/1m").await;
    let (_, key) = create(&gateway).await;
    for number in 0..100 {
        gateway.send(&Request::get("/assets/app.js").bearer(&made_up(number))).await;
        assert_eq!(issuer.count("/assets/app.js"), number + 1);
        assert_eq!(issuer.recorder.last().field("x-auth-method"), Some("none"));
    }
    let metrics = gateway.metrics().await;
    assert!(metrics.sum("throttled_total", &[("reason", "open_route")]) >= 50.0);
    assert_eq!(metrics.sum("auth_total", &[("outcome", "ignored")]), 100.0);
    assert_eq!(gateway.send(&Request::get("/assets/app.js").bearer(&key)).await.status, 200);
    assert_eq!(issuer.recorder.last().field("x-auth-method"), Some("api_key"), "a known key is stamped");
}

#[tokio::test]
async fn limits_are_reloaded_and_nothing_is_forgiven() {
    let issuer = Issuer::start().await;
    let gateway = limited(&issuer, "per_key: 1/1h").await;
    let (_, key) = create(&gateway).await;
    assert_eq!(gateway.send(&use_key(&key)).await.status, 200);
    retry_after(&gateway.send(&use_key(&key)).await);
    let yaml = gateway.setup.yaml();
    for (limit, status, policy) in [("9/9h", 200, Some("\"key\";q=9;w=32400")), ("off", 200, None)] {
        gateway.setup.file("gateway.yaml", &yaml.replace("per_key: 1/1h", &format!("per_key: {limit}")));
        gateway.process.signal("HUP");
        let taken = || async {
            let response = gateway.send(&use_key(&key)).await;
            (response.field("ratelimit-policy") == policy).then_some(response)
        };
        let response = wait::until_answer("the new limit", taken).await;
        assert_eq!(response.status, status, "{limit}");
        if let Some(standing) = response.field("ratelimit") {
            assert!(!standing.contains("r=8"), "what was used before counts: {standing}");
        }
    }
}

#[tokio::test]
async fn a_limit_that_is_none_is_refused_with_its_mend() {
    let upstream = Recorder::start().await;
    for (limit, said) in [
        ("per_key: 600", "\"600\" is not a rate; a rate is a number of requests, `/` and a time"),
        ("per_address: 0/1m", "\"0/1m\" is not a rate; a rate allows from 1 to"),
        ("bad_credentials: 5/1w", "\"5/1w\" is not a rate; a rate's time is from 1s to 366d"),
        ("per_kee: 5/1m", "did you mean per_key?"),
    ] {
        let (status, text) =
            Setup::of(upstream.address()).with(&format!("limits: {{ {limit} }}")).refusal().await;
        assert_eq!(status, Some(2), "{limit}");
        assert!(text.contains(said) && text.contains("gateway.yaml:"), "{limit}: {text}");
    }
}
