//! Keys that are taken over from elsewhere, through the admin API.

use serde_json::json;

use super::registry::{EMAIL, house};
use crate::support::Store;

#[tokio::test]
async fn imported_keys_work_and_a_tombstone_is_never_undone() {
    for store in Store::each() {
        let house = house(&store).await;
        let made = house.openbin.sample.create_key(&house.user, "old").expect("a key");
        let hash = openbin_gateway::keys::KeyHash::of(&made.key).to_string();
        let key = json!({ "key_hash": hash, "user_id": house.user, "user_email": EMAIL, "id": made.id,
                          "name": "old", "prefix": &made.key[..18], "created_at": "2026-01-01T00:00:00Z" });
        let import = async |dry_run: bool| {
            let portion = json!({ "instance": "home", "dry_run": dry_run, "keys": [key, { "key_hash": "x", "user_id": "u" }] });
            let taken = house.gateway.call("POST", "/keys/import", &portion).await;
            assert_eq!(taken.status, 200, "{}", taken.text());
            let results = taken.json()["results"].clone();
            assert_eq!(results[1]["outcome"], "refused");
            results[0]["outcome"].as_str().expect("an outcome").to_owned()
        };
        assert_eq!((import(true).await.as_str(), import(false).await.as_str()), ("written", "written"));
        assert_eq!(import(false).await, "known");
        house.openbin.sample.forget_requests();
        assert_eq!(house.bins(&made.key).await.status, 200);
        let asked = house.openbin.sample.requests().len();
        assert_eq!(asked, 1, "{}: an imported key needs no adoption", store.name());
        house.gateway.call("POST", &format!("/keys/home/{}/revoke", made.id), &json!({})).await;
        assert_eq!((import(true).await.as_str(), import(false).await.as_str()), ("buried", "buried"));
        assert_eq!(house.bins(&made.key).await.status, 401);
    }
}

#[tokio::test]
async fn a_dry_run_sees_a_tombstone_that_waits_for_a_key_that_nobody_knows_yet() {
    for store in Store::each() {
        let house = house(&store).await;
        house.gateway.call("POST", "/keys/home/waiting/revoke", &json!({})).await;
        let hash = |name: &str| openbin_gateway::keys::KeyHash::of(name).to_string();
        let keys = json!([
            { "key_hash": hash("a"), "user_id": "u", "id": "waiting" },
            { "key_hash": hash("b"), "user_id": "u", "id": "b" },
            { "key_hash": hash("c"), "user_id": "u", "id": "c", "revoked_at": "2026-01-01T00:00:00Z" },
            { "key_hash": hash("b"), "user_id": "u", "id": "b" },
        ]);
        let import = async |dry_run: bool| {
            let portion = json!({ "instance": "home", "dry_run": dry_run, "keys": keys });
            let taken = house.gateway.call("POST", "/keys/import", &portion).await;
            assert_eq!(taken.status, 200, "{}", taken.text());
            let results = taken.json()["results"].clone();
            let outcomes = results.as_array().expect("results").iter();
            outcomes.map(|result| result["outcome"].as_str().expect("it").to_owned()).collect::<Vec<_>>()
        };
        let foreseen = import(true).await;
        assert_eq!(foreseen, ["buried", "written", "revoked", "known"], "{}", store.name());
        assert_eq!(import(false).await, foreseen, "{}", store.name());
        assert_eq!(import(true).await, ["buried", "known", "known", "known"], "{}", store.name());
    }
}

#[tokio::test]
async fn a_known_key_that_was_revoked_where_it_comes_from_is_refused_from_the_import_on() {
    for store in Store::each() {
        let house = house(&store).await;
        let (id, key) = house.key("laptop").await;
        let hash = openbin_gateway::keys::KeyHash::of(&key).to_string();
        let import = async |dry_run: bool, revoked_at: Option<&str>| {
            let key = json!({ "key_hash": hash, "user_id": house.user, "id": id, "revoked_at": revoked_at });
            let portion = json!({ "instance": "home", "dry_run": dry_run, "keys": [key] });
            let taken = house.gateway.call("POST", "/keys/import", &portion).await;
            assert_eq!((taken.status, &taken.json()["propagated"]), (200, &json!(true)), "{}", taken.text());
            taken.json()["results"][0]["outcome"].as_str().expect("an outcome").to_owned()
        };
        let revoked = Some("2026-01-01T00:00:00Z");
        assert_eq!(import(true, revoked).await, "ended", "{}", store.name());
        assert_eq!(house.bins(&key).await.status, 200, "only told");
        assert_eq!(import(false, revoked).await, "ended", "{}", store.name());
        assert_eq!(house.bins(&key).await.status, 401, "{}", store.name());
        assert_eq!(import(false, revoked).await, "known");
        assert_eq!(import(false, None).await, "buried", "a restored backup brings nothing back");
        assert_eq!(house.bins(&key).await.status, 401);
    }
}
