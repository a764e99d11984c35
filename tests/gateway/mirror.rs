//! Every way in which a key or a session ends at the instance ends it at the gateway, too, for ever.

use serde_json::{Value, json};

use super::registry::{EMAIL, PASSWORD, house, openbin};
use crate::support::openbin::OpenBin;
use crate::support::{EVERY_WAY, Request, Store, wait};

#[tokio::test]
async fn an_administrators_revocation_of_all_keys_holds_though_a_backup_is_restored() {
    for store in Store::each() {
        let house = house(&store).await;
        let keys = [house.key("one").await, house.key("two").await];
        let root = house.openbin.sample.user_id("root@example.com").expect("root");
        let session = house.openbin.sample.session_token(&root).expect("a session");
        let path = format!("/api/admin/security/Revoke-All-Api-Keys/{}/", house.user);
        let revoked = house.gateway.send(&Request::post(&path, "").bearer(&session)).await;
        assert_eq!(revoked.status, 200, "{}", revoked.text());
        for (id, key) in &keys {
            house.openbin.sample.restore_key(id);
            for via in EVERY_WAY {
                let refused = Request::get("/api/bins").bearer(key).send(&house.gateway, via).await;
                refused.assert_refused(401, "UNAUTHORIZED", "Invalid API key");
            }
        }
        // Whoever is not an administrator revokes nothing.
        let (_, key) = house.key("three").await;
        let refused = house.gateway.send(&Request::post(&path, "").bearer(&house.session())).await;
        assert_eq!(refused.status, 403);
        assert_eq!(house.bins(&key).await.status, 200);
    }
}

#[tokio::test]
async fn a_key_that_died_behind_the_gateways_back_stays_dead() {
    for store in Store::each() {
        let house = house(&store).await;
        let (id, key) = house.key("laptop").await;
        house.openbin.sample.revoke_key(&id);
        assert_eq!(house.bins(&key).await.status, 401, "the instance says so");
        wait::until_answer("the gateway to have noticed", || async {
            let shown = house.gateway.call("GET", &format!("/keys/home/{id}"), &Value::Null).await.json();
            (shown["record"]["revoked"]["by"] == "missing").then_some(())
        })
        .await;
        house.openbin.sample.restore_key(&id);
        assert_eq!(house.bins(&key).await.status, 401, "{}: it is refused here", store.name());
    }
}

#[tokio::test]
async fn an_instance_with_another_database_revokes_nothing() {
    let mut house = house(&Store::Embedded).await;
    let (id, key) = house.key("laptop").await;
    let (address, sample) = (house.openbin.address, house.openbin.sample.clone());
    house.openbin.stop();
    // Other users, other keys: as when a volume is not mounted.
    let mut empty = OpenBin::start_with(openbin().sample.clone(), address);
    assert_eq!(house.bins(&key).await.status, 401);
    wait::until("the question whether it has the key", || {
        empty.sample.requests().iter().any(|request| request.target == "/api/api-keys")
    })
    .await;
    empty.stop();
    let back = OpenBin::start_with(sample, address);
    wait::until_answer("the key to work again", || async {
        (house.bins(&key).await.status == 200).then_some(())
    })
    .await;
    let shown = house.gateway.call("GET", &format!("/keys/home/{id}"), &Value::Null).await.json();
    assert_eq!(shown["record"]["revoked"], Value::Null);
    drop(back);
}

#[tokio::test]
async fn a_session_is_over_when_its_user_signs_out_and_good_again_when_it_is_given_out_anew() {
    for store in Store::each() {
        let house = house(&store).await;
        for via in EVERY_WAY {
            let login = json!({ "email": EMAIL, "password": PASSWORD }).to_string();
            let signed_in = Request::post("/api/auth/login", login).send(&house.gateway, via).await;
            assert_eq!(signed_in.status, 200, "{}", signed_in.text());
            let cookies = signed_in.all("set-cookie");
            let pair = |name: &str| {
                let cookie = cookies.iter().find(|cookie| cookie.starts_with(name)).expect("the cookie");
                cookie.split(';').next().unwrap_or_default().to_owned()
            };
            let (access, csrf) = (pair("openbin-access="), pair("openbin-csrf="));
            let me = Request::get("/api/auth/me").field("Cookie", &access);
            assert_eq!(me.send(&house.gateway, via).await.status, 200, "{} {via:?}", store.name());
            let token = csrf.split_once('=').expect("a pair").1;
            let out = Request::post("/api/auth/logout", "")
                .field("Cookie", &format!("{access}; {csrf}"))
                .field("X-CSRF-Token", token);
            assert_eq!(out.send(&house.gateway, via).await.status, 200);
            let over = me.send(&house.gateway, via).await;
            over.assert_refused(401, "SESSION_REVOKED", "Session has been revoked. Please log in again.");
        }
    }
}
