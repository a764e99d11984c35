//! Limits that several gateways count together in their Redis, and what happens where that is not there.

use std::time::Duration;

use super::adoption::create;
use crate::support::redis::RedisServer;
use crate::support::{Gateway, Issuer, Recorder, Request, Setup, jwt, wait};

const LIMITS: &str = "limits: { per_address: 6/6h, shared: true }";

async fn gateway(upstream: &Recorder, redis: &RedisServer, limits: &str) -> Gateway {
    Setup::of(upstream.address())
        .in_redis(&redis.url())
        .with(limits)
        .with("trusted_proxies: [127.0.0.1]")
        .start()
        .await
}

async fn ask(gateway: &Gateway, address: &str) -> u16 {
    let request = Request::get("/api/bins").bearer(&jwt::session()).field("X-Forwarded-For", address);
    gateway.send(&request).await.status
}

/// How many requests were counted by single gateways, which a machine that is busy elsewhere can bring about.
async fn counted_alone(gateways: &[Gateway]) -> f64 {
    let mut sum = 0.0;
    for gateway in gateways {
        sum += gateway.metrics().await.sum("limits_counted_here_total", &[]);
    }
    sum
}

/// How many of twelve requests of an address pass, over these gateways in turn, when no count was missed.
async fn passed(gateways: &[Gateway]) -> usize {
    let mut number = 0;
    wait::until_answer("a time when nothing else kept Redis from answering", || {
        number += 1;
        let address = format!("192.0.2.{number}");
        async move {
            let before = counted_alone(gateways).await;
            let mut passed = 0;
            for gateway in gateways.iter().cycle().take(12) {
                match ask(gateway, &address).await {
                    200 => passed += 1,
                    status => assert_eq!(status, 429),
                }
            }
            let alone = counted_alone(gateways).await - before;
            (alone == 0.0).then_some(passed)
        }
    })
    .await
}

#[tokio::test]
async fn two_gateways_count_together_what_one_address_may_do() {
    let (upstream, redis) = (Recorder::start().await, RedisServer::start());
    let gateways = [gateway(&upstream, &redis, LIMITS).await, gateway(&upstream, &redis, LIMITS).await];
    assert_eq!(passed(&gateways).await, 6);
    let apart = LIMITS.replace(", shared: true", "");
    let gateways = [gateway(&upstream, &redis, &apart).await, gateway(&upstream, &redis, &apart).await];
    assert_eq!(passed(&gateways).await, 12, "each counts for itself unless it is told otherwise");
}

#[tokio::test]
async fn two_gateways_count_together_what_one_key_may_do() {
    let (issuer, redis) = (Issuer::start().await, RedisServer::start());
    let setup =
        || Setup::of(issuer.address()).in_redis(&redis.url()).with("limits: { per_key: 6/6h, shared: true }");
    let gateways = [setup().start().await, setup().start().await];
    let passed = wait::until_answer("a time when nothing else kept Redis from answering", || async {
        let (_, key) = create(&gateways[0]).await;
        let before = counted_alone(&gateways).await;
        let mut passed = 0;
        for gateway in gateways.iter().cycle().take(12) {
            match gateway.send(&Request::get("/api/bins").bearer(&key)).await.status {
                200 => passed += 1,
                status => assert_eq!(status, 429),
            }
        }
        (counted_alone(&gateways).await == before).then_some(passed)
    })
    .await;
    assert_eq!(passed, 6);
}

#[tokio::test]
async fn without_redis_each_gateway_counts_for_itself_and_nobody_waits_long() {
    let (upstream, redis) = (Recorder::start().await, RedisServer::start());
    let gateways = [gateway(&upstream, &redis, LIMITS).await, gateway(&upstream, &redis, LIMITS).await];
    assert_eq!(passed(&gateways).await, 6);
    redis.suspend();
    let asked = std::time::Instant::now();
    assert_eq!(ask(&gateways[0], "198.51.100.1").await, 200);
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    for _ in 0..20 {
        ask(&gateways[0], "198.51.100.1").await;
    }
    assert_eq!(ask(&gateways[0], "198.51.100.1").await, 429, "its own count decides");
    assert_eq!(ask(&gateways[1], "198.51.100.1").await, 200, "and that of the other does not");
    assert!(counted_alone(&gateways).await >= 21.0);
    redis.resume();
    assert_eq!(passed(&gateways).await, 6, "they count together again");
}
