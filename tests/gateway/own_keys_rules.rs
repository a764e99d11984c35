//! `key_issuer: gateway`: who may have keys, for how long, and what becomes of keys when the issuer changes.

use openbin_gateway::sample::Standing;
use serde_json::{Value, json};

use super::own_keys::{House, KEYS, house, house_on, setup};
use super::registry::openbin;
use crate::support::openbin::Faults;
use crate::support::{Gateway, Request, Setup, Store, wait};

/// A gateway with the same files and another issuer.
async fn again(before: &Setup, issuer: &str) -> Gateway {
    let other = if issuer == "gateway" { "openbin" } else { "gateway" };
    let yaml = before.yaml().replace(&format!("key_issuer: {other}"), &format!("key_issuer: {issuer}"));
    let file = before.file("again.yaml", &yaml);
    Gateway::listening(before.clone(), before.run(&["serve", "--config", &file.to_string_lossy()])).await
}

#[tokio::test]
async fn a_session_that_was_revoked_cannot_make_itself_a_key_that_lasts() {
    let house = house().await;
    let (id, key) = house.key("before").await;
    let stolen = house.session();
    house.openbin.sample.revoke_sessions(&house.user);
    let message = "Session has been revoked. Please log in again.";
    for request in [Request::post(KEYS, "{}"), Request::get(KEYS), Request::delete(&format!("{KEYS}/{id}"))] {
        let refused = house.gateway.send(&request.bearer(&stolen)).await;
        assert_eq!((refused.status, &refused.json()["message"]), (401, &json!(message)));
    }
    assert_eq!(house.list().await["count"], 1, "no key was made, none was revoked");
    assert_eq!(house.bins(&key).await.status, 200, "keys outlive sessions");
}

#[tokio::test]
async fn what_only_the_instance_knows_of_the_owner_holds_for_their_keys() {
    let house = house().await;
    let (_, key) = house.key("laptop").await;
    let session = house.session();
    for (standing, status, code) in
        [(Standing::Suspended, 403, "ACCOUNT_SUSPENDED"), (Standing::Deleted, 401, "ACCOUNT_DELETED")]
    {
        house.openbin.sample.set_standing(&house.user, standing);
        for credential in [&key, &session] {
            for request in [Request::get("/api/bins"), Request::get(KEYS), Request::post(KEYS, "{}")] {
                let refused = house.gateway.send(&request.bearer(credential)).await;
                assert_eq!((refused.status, &refused.json()["error"]), (status, &json!(code)));
            }
        }
        house.openbin.sample.set_standing(&house.user, Standing::Good);
        assert_eq!(house.bins(&key).await.status, 200);
    }
    assert_eq!(house.list().await["count"], 1);
    house.openbin.sample.set_maintenance(Some("Back soon"));
    let closed = house.gateway.send(&Request::post(KEYS, "{}").bearer(&session)).await;
    assert_eq!((closed.status, &closed.json()["message"]), (503, &json!("Back soon")));
}

#[tokio::test]
async fn policies_and_blocks_hold_for_the_gateways_keys() {
    let house = house().await;
    let (id, key) = house.key("laptop").await;
    for (change, status, message) in [
        (json!({ "disabled": true }), 403, "API key is disabled"),
        (json!({ "disabled": false, "expires_at": "2020-01-01T00:00:00Z" }), 401, "API key has expired"),
        (json!({ "expires_at": null, "paths": ["/api/items"] }), 403, "API key may not be used for this"),
    ] {
        let changed = house.gateway.call("PATCH", &format!("/keys/home/{id}"), &change).await;
        assert_eq!(changed.status, 200, "{}", changed.text());
        for target in ["/api/bins", KEYS] {
            let refused = house.gateway.send(&Request::get(target).bearer(&key)).await;
            assert_eq!((refused.status, &refused.json()["message"]), (status, &json!(message)), "{target}");
        }
        assert_eq!(house.list().await["count"], 1, "its owner still sees it");
    }
    let block = format!("/users/home/{}/block", house.user);
    assert_eq!(house.gateway.call("POST", &block, &json!({})).await.status, 200);
    for credential in [&key, &house.session()] {
        let refused = house.gateway.send(&Request::post(KEYS, "{}").bearer(credential)).await;
        refused.assert_refused(403, "ACCOUNT_SUSPENDED", "This account has been suspended");
    }
}

#[tokio::test]
async fn an_administrators_revocation_of_all_keys_ends_the_gateways_too() {
    let house = house().await;
    let keys = [house.key("one").await.1, house.key("two").await.1];
    let target = format!("/api/admin/security/revoke-all-api-keys/{}", house.user);
    let refused = house.gateway.send(&Request::post(&target, "").bearer(&keys[0])).await;
    assert_eq!((refused.status, house.bins(&keys[1]).await.status), (403, 200), "Ann is no administrator");
    let revoked = house.gateway.send(&Request::post(&target, "").bearer(&house.admin_session())).await;
    assert_eq!(revoked.status, 200, "{}", revoked.text());
    for key in &keys {
        house.bins(key).await.assert_refused(401, "UNAUTHORIZED", "Invalid API key");
    }
    assert_eq!(house.list().await["count"], 0);
}

#[tokio::test]
async fn no_instance_is_told_of_a_revocation_of_a_key_that_it_never_had() {
    for store in Store::each() {
        let house = house_on(&store).await;
        let [(by_owner, _), (by_operator, _)] = [house.key("one").await, house.key("two").await];
        house.openbin.sample.forget_requests();
        assert_eq!(house.revoke(&by_owner, &house.session()).await.status, 200);
        let revoke = format!("/keys/home/{by_operator}/revoke");
        let revoked = house.gateway.call("POST", &revoke, &json!({})).await;
        assert_eq!(revoked.status, 200, "{}", revoked.text());
        for id in [&by_owner, &by_operator] {
            let shown = house.gateway.call("GET", &format!("/keys/home/{id}"), &Value::Null).await.json();
            assert_eq!(
                (&shown["errands"], &shown["record"]["standing"]),
                (&json!([]), &json!("revoked")),
                "{shown}"
            );
        }
        assert!(house.openbin.sample.requests().iter().all(|request| request.method != "DELETE"));
    }
}

#[tokio::test]
async fn an_instance_that_does_not_answer_is_not_taken_for_a_yes() {
    let mut house = house().await;
    let (id, key) = house.key("laptop").await;
    house.openbin.stop();
    for request in [Request::get(KEYS), Request::post(KEYS, "{}"), Request::delete(&format!("{KEYS}/{id}"))] {
        let refused = house.gateway.send(&request.bearer(&house.session())).await;
        assert_eq!((refused.status, &refused.json()["error"]), (502, &json!("UPSTREAM_UNAVAILABLE")));
    }
    assert_eq!((house.bins(&key).await.status, house.tombstones()), (502, 0));
}

#[tokio::test]
async fn an_answer_that_breaks_off_after_its_head_is_a_yes_all_the_same() {
    let house = house().await;
    house.openbin.misbehave(Faults { cut_body_after: Some(5), ..Faults::default() });
    house.key("laptop").await;
    assert_eq!(house.list().await["count"], 1);
}

#[tokio::test]
async fn keys_that_the_instance_issued_go_on_working_where_they_are_known() {
    let openbin = openbin();
    let before = setup(&openbin, "openbin");
    let house = House::new(openbin, before.start().await);
    let known = house.openbin.sample.create_key(&house.user, "known").expect("a key");
    let unknown = house.openbin.sample.create_key(&house.user, "unknown").expect("a key");
    assert_eq!(house.bins(&known.key).await.status, 200);
    assert!(house.gateway.stop().await.success());
    let gateway = again(&before, "gateway").await;
    let house = House { gateway, ..house };
    house.openbin.sample.forget_requests();
    assert_eq!(house.bins(&known.key).await.status, 200);
    house.bins(&unknown.key).await.assert_refused(401, "UNAUTHORIZED", "Invalid API key");
    let list = house.list().await;
    assert_eq!((&list["count"], &list["results"][0]["name"]), (&json!(1), &json!("known")));
    assert_eq!(house.revoke(&known.id, &house.session()).await.status, 200);
    house.bins(&known.key).await.assert_refused(401, "UNAUTHORIZED", "Invalid API key");
    house.assert_instance_saw_no_key();
    // Whoever issued it is told that it is over.
    let directly = Request::get("/api/bins").bearer(&known.key);
    wait::until_answer("the instance to refuse it, too", || async {
        (directly.to(house.openbin.address).await.status == 401).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_gateways_keys_outlive_its_being_their_issuer() {
    let openbin = openbin();
    let before = setup(&openbin, "gateway");
    let house = House::new(openbin, before.start().await);
    let (id, key) = house.key("laptop").await;
    assert!(house.gateway.stop().await.success());
    let gateway = again(&before, "openbin").await;
    let house = House { gateway, ..house };
    assert_eq!(house.bins(&key).await.status, 200);
    assert_eq!(house.list().await["count"], 0, "the instance's list has its own keys");
    assert_eq!(house.gateway.send(&Request::get("/").bearer(&key)).await.status, 200);
    house.assert_instance_saw_no_key();
    let revoked = house.gateway.call("POST", &format!("/keys/home/{id}/revoke"), &json!({})).await;
    assert_eq!(revoked.status, 200, "{}", revoked.text());
    house.bins(&key).await.assert_refused(401, "UNAUTHORIZED", "Invalid API key");
}

#[tokio::test]
async fn a_key_for_a_user_whom_the_instance_does_not_have_is_not_made_but_one_is_while_it_is_down() {
    let mut house = house().await;
    let make = async |house: &House, user: &str| {
        let made = house.gateway.call("POST", "/keys", &json!({ "user_id": user })).await;
        (made.status, made.json())
    };
    let (status, made) = make(&house, &house.user).await;
    assert_eq!((status, &made["record"]["user_email"]), (201, &json!(super::registry::EMAIL)));
    let (status, refused) = make(&house, "nobody").await;
    assert_eq!((status, &refused["error"]), (502, &json!("INSTANCE_REFUSED")));
    house.openbin.stop();
    let (status, made) = make(&house, &house.user).await;
    assert_eq!((status, &made["record"]["user_email"]), (201, &Value::Null));
}
