//! When a key was last used is written in batches, without a request waiting for it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::adoption::create;
use super::registry::house;
use crate::support::{Gateway, Issuer, Request, Setup, Store, wait};

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(since.as_millis()).expect("milliseconds fit")
}

/// The last use of a key as the store's file has it, in milliseconds since 1970.
fn last_used(setup: &Setup, id: &str) -> Option<i64> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let database = rusqlite::Connection::open_with_flags(setup.database(), flags).expect("the store's file");
    database.busy_timeout(Duration::from_secs(5)).expect("timeout");
    let sql = "SELECT (SELECT max(at) FROM usage_days days WHERE days.instance = keys.instance AND days.hash = keys.hash) \
               FROM keys WHERE instance = 'home' AND id = ?1";
    database.query_row(sql, [id], |row| row.get(0)).expect("the key's row")
}

async fn use_key(gateway: &Gateway, key: &str) {
    assert_eq!(gateway.send(&Request::get("/api/bins").bearer(key)).await.status, 200);
}

#[tokio::test]
async fn the_last_use_is_written_within_the_interval() {
    let issuer = Issuer::start().await;
    let gateway = Setup::of(issuer.address()).with("usage: { interval: 200ms }").start().await;
    let (id, key) = create(&gateway).await;
    assert_eq!(last_used(&gateway.setup, &id), None, "not used yet");
    let before = now_ms();
    use_key(&gateway, &key).await;
    let after = now_ms();
    let written = wait::until_some("the last use", || last_used(&gateway.setup, &id)).await;
    assert!((before..=after).contains(&written), "{before} ≤ {written} ≤ {after}");
    let later = now_ms();
    use_key(&gateway, &key).await;
    wait::until("the later use", || last_used(&gateway.setup, &id).is_some_and(|at| at >= later)).await;
    let refused = gateway.send(&Request::get("/api/bins").bearer(&format!("{key}0"))).await;
    assert_eq!(refused.status, 401);
}

#[tokio::test]
async fn the_last_use_is_written_at_shutdown() {
    let issuer = Issuer::start().await;
    let gateway = Setup::of(issuer.address()).with("usage: { interval: 1h }").start().await;
    let mut keys = Vec::new();
    for _ in 0..5 {
        keys.push(create(&gateway).await);
    }
    let before = now_ms();
    for (_, key) in &keys {
        use_key(&gateway, key).await;
    }
    assert_eq!(gateway.metrics().await.sum("usage_pending", &[]), 5.0);
    assert!(keys.iter().all(|(id, _)| last_used(&gateway.setup, id).is_none()), "not written yet");
    assert!(gateway.stop().await.success());
    for (id, _) in &keys {
        assert!(last_used(&gateway.setup, id).is_some_and(|at| at >= before), "{id}");
    }
}

#[tokio::test]
async fn the_store_holds_hashes_and_never_a_key() {
    let issuer = Issuer::start().await;
    let gateway = Gateway::in_front_of(issuer.address()).await;
    let (_, created) = create(&gateway).await;
    let adopted = issuer.issue().key;
    use_key(&gateway, &created).await;
    use_key(&gateway, &adopted).await;
    let setup = gateway.setup.clone();
    assert!(gateway.stop().await.success());
    for file in std::fs::read_dir(setup.directory()).expect("directory") {
        let path = file.expect("file").path();
        let content = std::fs::read(&path).expect("content");
        for key in [&created, &adopted] {
            // The prefix is shown in lists; the rest is the secret.
            let secret = &key.as_bytes()[18..];
            let found = content.windows(secret.len()).any(|window| window == secret);
            assert!(!found, "a key lies in {}", path.display());
        }
    }
}

#[tokio::test]
async fn how_often_keys_were_used_is_told_day_by_day_for_all_of_them() {
    for store in Store::each() {
        let house = house(&store).await;
        let (often, key) = house.key("often").await;
        let (once, _) = house.key("once").await;
        for _ in 0..4 {
            assert_eq!(house.bins(&key).await.status, 200);
        }
        let usage =
            async |query: &str| house.gateway.call("GET", &format!("/usage{query}"), &Value::Null).await;
        let told = wait::until_answer("all uses", || async {
            let told = usage("").await.json();
            let all = told["usage"].as_array().expect("keys").iter();
            // A key's days are read after the key: what is written in between is there, and its time not yet.
            let are_dated = all.clone().all(|key| key["last_used_over"].is_string());
            let requests: u64 = all.filter_map(|key| key["requests"].as_u64()).sum();
            (are_dated && requests == 6).then_some(told)
        })
        .await;
        assert_eq!(told["usage_fresh_within"], "2s", "{}", store.name());
        let of = |id: &str| {
            let all = told["usage"].as_array().expect("keys").iter();
            all.clone().find(|key| key["id"] == id).expect("the key")
        };
        assert_eq!((&of(&often)["requests"], &of(&once)["requests"]), (&json!(5), &json!(1)), "{told}");
        assert_eq!(
            (&of(&often)["days"][0]["count"], &of(&often)["last_used_over"]),
            (&json!(5), &json!("ipv4"))
        );
        let today = of(&often)["days"][0]["day"].as_str().expect("a day").to_owned();
        let since = usage(&format!("?since={today}&q=often")).await.json();
        assert_eq!((&since["usage"][0]["requests"], &since["usage"][1]), (&json!(5), &Value::Null));
        let later = usage("?since=2999-01-01&limit=1").await.json();
        assert_eq!((&later["usage"][0]["requests"], later["next"].is_string()), (&json!(0), true));
        for wrong in ["?since=today", "?since=2026-02-30", "?limit=0", "?days=7"] {
            assert_eq!(usage(wrong).await.status, 400, "{wrong}");
        }
    }
}
