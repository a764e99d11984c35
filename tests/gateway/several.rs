//! Gateways that share one Redis: what is done through one is felt by all when the call returns.

use serde_json::{Value, json};

use super::adoption::create;
use crate::support::redis::RedisServer;
use crate::support::{Gateway, Issuer, Request, Setup, Wire, jwt, wait};

const ROUNDS: usize = 25;

pub async fn call(gateway: &Gateway, path: &str, content: Value) -> (u16, Value) {
    let response = gateway.call("POST", path, &content).await;
    (response.status, response.json())
}

pub async fn status(wire: &mut Wire, credential: &str) -> u16 {
    Request::get("/api/bins").bearer(credential).on(wire).await.status
}

/// Waits until a gateway follows what others change.
pub async fn until_lease(gateway: &Gateway) {
    wait::until_answer("a lease", async || {
        (gateway.metrics().await.sum("lease_valid", &[]) == 1.0).then_some(())
    })
    .await;
}

/// Three gateways on one Redis that have come to know each other.
async fn three(issuer: &Issuer, redis: &RedisServer) -> [Gateway; 3] {
    let start = || async { Setup::of(issuer.address()).in_redis(&redis.url()).start().await };
    let gateways = [start().await, start().await, start().await];
    for gateway in &gateways {
        until_lease(gateway).await;
    }
    gateways
}

#[tokio::test]
async fn a_key_revoked_through_one_gateway_is_refused_by_the_others_when_the_call_returns() {
    let (issuer, redis) = (Issuer::start().await, RedisServer::start());
    let gateways = three(&issuer, &redis).await;
    let mut wires = Vec::new();
    for gateway in &gateways {
        wires.push(Wire::plain(gateway.http).await);
    }
    for round in 0..ROUNDS {
        let through = &gateways[round % 3];
        let (id, key) = create(through).await;
        for wire in &mut wires {
            for _ in 0..3 {
                assert_eq!(status(wire, &key).await, 200, "round {round}");
            }
        }
        let (code, answer) = call(through, &format!("/keys/home/{id}/revoke"), json!({})).await;
        assert_eq!((code, &answer["propagated"]), (200, &json!(true)), "{answer}");
        issuer.restore(&id);
        for (place, wire) in wires.iter_mut().enumerate() {
            assert_eq!(status(wire, &key).await, 401, "round {round}, gateway {place}");
        }
    }
}

#[tokio::test]
async fn a_blocked_user_and_an_ended_session_are_refused_by_every_gateway_when_the_call_returns() {
    let (issuer, redis) = (Issuer::start().await, RedisServer::start());
    let gateways = three(&issuer, &redis).await;
    let (_, key) = create(&gateways[0]).await;
    let (session, user) = (jwt::session(), jwt::USER);
    let mut wires = Vec::new();
    for gateway in &gateways {
        wires.push(Wire::plain(gateway.http).await);
    }
    for round in 0..6 {
        for wire in &mut wires {
            assert_eq!(status(wire, &key).await, 200);
            assert_eq!(status(wire, &session).await, 200);
        }
        let through = &gateways[round % 3];
        let (code, answer) = call(through, &format!("/users/home/{user}/block"), json!({})).await;
        assert_eq!((code, &answer["propagated"]), (200, &json!(true)), "{answer}");
        for wire in &mut wires {
            assert_eq!(status(wire, &key).await, 403, "round {round}");
            assert_eq!(status(wire, &session).await, 403, "round {round}");
        }
        let (code, _) =
            call(&gateways[(round + 1) % 3], &format!("/users/home/{user}/unblock"), json!({})).await;
        assert_eq!(code, 200);
        for wire in &mut wires {
            wait::until_answer("the user to be accepted again", async || {
                (status(wire, &key).await == 200).then_some(())
            })
            .await;
        }
    }
    let (code, answer) = call(&gateways[1], "/sessions/home/end", json!({ "token": session })).await;
    assert_eq!((code, &answer["propagated"]), (200, &json!(true)), "{answer}");
    for wire in &mut wires {
        assert_eq!(status(wire, &session).await, 401);
    }
}

#[tokio::test]
async fn a_gateway_that_hangs_delays_a_revocation_by_its_lease_and_refuses_when_it_wakes() {
    let (issuer, redis) = (Issuer::start().await, RedisServer::start());
    let gateways = three(&issuer, &redis).await;
    let (id, key) = create(&gateways[0]).await;
    let mut wires = Vec::new();
    for gateway in &gateways {
        wires.push(Wire::plain(gateway.http).await);
    }
    for wire in &mut wires {
        assert_eq!(status(wire, &key).await, 200);
    }
    gateways[2].process.signal("STOP");
    let began = std::time::Instant::now();
    let (code, answer) = call(&gateways[0], &format!("/keys/home/{id}/revoke"), json!({})).await;
    assert_eq!((code, &answer["propagated"]), (200, &json!(true)), "{answer}");
    let took = began.elapsed();
    assert!((900..3000).contains(&took.as_millis()), "{took:?}");
    // Nobody waits for it twice.
    let (other, _) = create(&gateways[0]).await;
    let (code, _) = call(&gateways[1], &format!("/keys/home/{other}/revoke"), json!({})).await;
    assert_eq!(code, 200);
    // A session is accepted without a lease, so that this gateway refuses it cannot be known.
    let (code, answer) = call(&gateways[0], &format!("/users/home/{}/block", jwt::USER), json!({})).await;
    assert_eq!((code, &answer["propagated"]), (202, &json!(false)), "{answer}");
    gateways[2].process.signal("CONT");
    issuer.restore(&id);
    assert_eq!(status(&mut wires[2], &key).await, 401);
}

#[tokio::test]
async fn what_an_emptied_store_has_lost_is_written_to_it_again_and_nothing_unknown_is_believed() {
    let (issuer, mut redis) = (Issuer::start().await, RedisServer::start());
    let gateways = three(&issuer, &redis).await;
    let (id, revoked) = create(&gateways[0]).await;
    let (_, good) = create(&gateways[0]).await;
    let (_, unused) = create(&gateways[0]).await;
    let mut wires = Vec::new();
    for gateway in &gateways {
        wires.push(Wire::plain(gateway.http).await);
    }
    for wire in &mut wires {
        assert_eq!(status(wire, &good).await, 200);
    }
    let (code, _) = call(&gateways[0], &format!("/keys/home/{id}/revoke"), json!({})).await;
    assert_eq!(code, 200);
    issuer.restore(&id);
    redis.restart();
    for wire in &mut wires {
        wait::until_answer("the key that was in use", async || {
            (status(wire, &good).await == 200).then_some(())
        })
        .await;
        assert_eq!(status(wire, &revoked).await, 401);
    }
    // A gateway that never heard of the revocation hears of it from the store.
    let fresh = Setup::of(issuer.address()).in_redis(&redis.url()).start().await;
    let mut wire = Wire::plain(fresh.http).await;
    wait::until_answer("the revocation", async || (status(&mut wire, &revoked).await == 401).then_some(()))
        .await;
    // It was good, but what the lost store said of it nobody here knows: it may have been disabled there.
    assert!([200, 503].contains(&status(&mut wires[1], &unused).await));
    let never_met = issuer.issue().key;
    assert_eq!(status(&mut wires[1], &never_met).await, 503);
    assert_eq!(status(&mut wire, &never_met).await, 200);
}
