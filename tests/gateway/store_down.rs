//! A key store that does not answer: keys get an honest 503, sessions do not notice.

use std::time::{Duration, Instant};

use super::adoption::create;
use super::emptied::until_heard;
use crate::support::redis::RedisServer;
use crate::support::{EVERY_WAY, Gateway, Issuer, Recorder, Request, Setup, jwt, wait};

fn assert_unavailable(response: &crate::support::response::Response) {
    response.assert_refused(
        503,
        "STORE_UNAVAILABLE",
        "API keys cannot be checked right now, please try again",
    );
    let after = response.field("retry-after").expect("Retry-After");
    assert!(after.parse::<u32>().is_ok_and(|seconds| seconds > 0), "{after}");
}

async fn until_status(gateway: &Gateway, request: &Request, status: u16) {
    let ask = || async { (gateway.send(request).await.status == status).then_some(()) };
    wait::until_answer(&format!("status {status}"), ask).await;
}

#[tokio::test]
async fn without_the_store_keys_get_503_and_sessions_go_on() {
    let upstream = Recorder::start().await;
    // Nobody listens there, from the start on.
    let gateway = Setup::of(upstream.address()).in_redis("redis://127.0.0.1:1/0").start().await;
    let key = format!("sk_openbin_{}", "a".repeat(64));
    for via in EVERY_WAY {
        let start = Instant::now();
        assert_unavailable(&Request::get("/api/bins").bearer(&key).send(&gateway, via).await);
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        let session = Request::get("/api/bins").bearer(&jwt::session()).send(&gateway, via).await;
        assert_eq!(session.status, 200);
        let public = Request::get("/assets/app.js").bearer(&key).send(&gateway, via).await;
        assert_eq!(public.status, 200, "public routes go on too");
        assert_eq!(upstream.last().field("x-auth-method"), Some("none"));
    }
    assert_eq!(gateway.ask_admin("/livez").await.status, 200, "nothing is gained by killing the process");
    let ready = gateway.ask_admin("/readyz").await;
    assert_eq!(ready.status, 200, "sessions go on, so taking it out of service would make it worse");
    assert_eq!(
        (&ready.json()["status"], &ready.json()["dependencies"]["store"]["status"]),
        (&"degraded".into(), &"down".into())
    );
    let metrics = gateway.metrics().await;
    assert_eq!(metrics.sum("store_up", &[]), 0.0);
    assert_eq!(
        metrics.sum("auth_total", &[("outcome", "store_unavailable"), ("credential", "api_key")]),
        3.0
    );
}

#[tokio::test]
async fn a_store_that_hangs_costs_a_key_request_a_bounded_time() {
    let redis = RedisServer::start();
    let issuer = Issuer::start().await;
    let gateway = Setup::of(issuer.address()).in_redis(&redis.url()).start().await;
    let (_, key) = create(&gateway).await;
    let request = Request::get("/api/bins").bearer(&key);
    assert_eq!(gateway.send(&request).await.status, 200);
    redis.suspend();
    until_status(&gateway, &request, 503).await;
    for _ in 0..5 {
        let start = Instant::now();
        assert_unavailable(&gateway.send(&request).await);
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        let start = Instant::now();
        assert_eq!(gateway.send(&Request::get("/api/bins").bearer(&jwt::session())).await.status, 200);
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    }
    redis.resume();
    until_status(&gateway, &request, 200).await;
    let up = || async {
        (gateway.ask_admin("/readyz").await.json()["dependencies"]["store"]["status"] == "up").then_some(())
    };
    wait::until_answer("the store to be up again", up).await;
}

#[tokio::test]
async fn a_store_that_comes_back_empty_accepts_nobody_unasked() {
    let mut redis = RedisServer::start();
    let issuer = Issuer::start().await;
    let gateway = Setup::of(issuer.address()).in_redis(&redis.url()).start().await;
    let (_, key) = create(&gateway).await;
    let request = Request::get("/api/bins").bearer(&key);
    // The news of the key has it looked up anew: only then is it remembered to stay.
    until_heard(&redis).await;
    assert_eq!(gateway.send(&request).await.status, 200);
    redis.stop();
    until_status(&gateway, &request, 503).await;
    redis.restart();
    // What the gateway knows itself is written to the store again. What it does not know may have been refused.
    until_status(&gateway, &request, 200).await;
    let unknown = Request::get("/api/bins").bearer(&issuer.issue().key);
    assert_unavailable(&gateway.send(&unknown).await);
    assert_eq!(issuer.asked(), 0);
}

#[tokio::test]
async fn a_key_made_while_the_store_is_down_is_adopted_later() {
    let mut redis = RedisServer::start_lasting();
    let issuer = Issuer::start().await;
    let gateway = Setup::of(issuer.address()).in_redis(&redis.url()).start().await;
    redis.stop();
    let (_, key) = create(&gateway).await;
    redis.restart();
    until_status(&gateway, &Request::get("/api/bins").bearer(&key), 200).await;
}

#[tokio::test]
async fn a_revocation_that_could_not_be_stored_is_not_lost() {
    let mut redis = RedisServer::start();
    let issuer = Issuer::start().await;
    let gateway = Setup::of(issuer.address()).in_redis(&redis.url()).start().await;
    let (id, key) = create(&gateway).await;
    let request = Request::get("/api/bins").bearer(&key);
    assert_eq!(gateway.send(&request).await.status, 200);
    redis.stop();
    let revoked =
        gateway.send(&Request::delete(&format!("/api/api-keys/{id}")).bearer(&jwt::session())).await;
    issuer.restore(&id);
    redis.restart();
    if revoked.status == 200 {
        // Whoever was told that the key is dead finds it dead.
        let status = gateway.send(&request).await.status;
        assert!(matches!(status, 401 | 503), "{status}");
        until_status(&gateway, &request, 401).await;
    }
}

#[tokio::test]
async fn answers_of_a_store_gone_mad_are_never_taken_for_a_yes() {
    for answer in [
        "+OK\r\n",
        "*0\r\n",
        "$-1\r\n",
        ":1\r\n",
        "-OOM x\r\n",
        "-READONLY x\r\n",
        "-NOAUTH x\r\n",
        "junk\r\n",
        "$536870912\r\n",
    ] {
        let mad = crate::support::recorder::Recorder::scripted(move |mut call| async move {
            while call.some().await {
                if !call.send(answer).await {
                    return;
                }
            }
        })
        .await;
        let upstream = Recorder::start().await;
        let url = format!("redis://{}/0", mad.address());
        let gateway = Setup::of(upstream.address()).in_redis(&url).start().await;
        let key = format!("sk_openbin_{}", "a".repeat(64));
        let response = gateway.send(&Request::get("/api/bins").bearer(&key)).await;
        // A nil is an honest "not known here"; then the instance is asked, which here cannot tell.
        assert!(matches!(response.status, 502 | 503), "{answer:?}: {}", response.status);
        assert_eq!(
            upstream.requests().iter().filter(|seen| seen.target == "/api/bins").count(),
            0,
            "{answer:?}"
        );
        assert!(gateway.process.resident_bytes() < 256 * 1024 * 1024);
    }
}
