//! Keys that an instance issued: they work at once, whether they are older than the gateway or made through it.

use serde_json::json;

use crate::support::client::H2;
use crate::support::issuer::tally;
use crate::support::port::nobody;
use crate::support::{EVERY_WAY, Gateway, Instance, Issuer, Request, Setup, Store, Via, jwt};

fn use_key(key: &str) -> Request {
    Request::get("/api/bins").bearer(key)
}

/// Makes a key through the gateway and returns its id and text.
pub async fn create(gateway: &Gateway) -> (String, String) {
    let response =
        gateway.send(&Request::post("/api/api-keys", "{\"name\":\"n\"}").bearer(&jwt::session())).await;
    assert_eq!(response.status, 201, "{}", response.text());
    let body = response.json();
    (body["id"].as_str().expect("id").to_owned(), body["key"].as_str().expect("key").to_owned())
}

#[tokio::test]
async fn an_existing_key_is_adopted_with_one_question_under_fifty_first_requests() {
    for store in Store::each() {
        let issuer = Issuer::start().await;
        let gateway = store.of(Setup::of(issuer.address())).start().await;
        let issued = issuer.issue();
        issuer.hold().await;
        let h2 = H2::connect(gateway.https, "localhost").await;
        let request = use_key(&issued.key);
        let ask = async |number: usize| match number % 3 {
            0 => h2.send(&request).await.status,
            1 => request.send(&gateway, Via::Tls).await.status,
            _ => request.send(&gateway, Via::Plain).await.status,
        };
        let all = futures_util::future::join_all((0..50).map(ask));
        let release = async {
            crate::support::wait::until("the question", || issuer.asked() > 0).await;
            issuer.release();
        };
        let (statuses, ()) = tokio::join!(all, release);
        assert_eq!(tally(statuses), [(200, 50)].into(), "{}", store.name());
        assert_eq!((issuer.asked(), issuer.count("/api/api-keys")), (1, 1), "{}", store.name());
        assert_eq!(issuer.count("/api/bins"), 50);
        for seen in issuer.recorder.requests().iter().filter(|seen| seen.target == "/api/bins") {
            assert_eq!(seen.all("x-auth-method"), ["api_key"]);
            assert_eq!(seen.all("x-auth-user-id"), [jwt::USER]);
            assert_eq!(seen.all("x-auth-user-email"), [jwt::EMAIL]);
            assert_eq!(seen.all("x-auth-key-id"), [&*issued.id]);
            assert_eq!(
                seen.field("authorization"),
                Some(&*format!("Bearer {}", issued.key)),
                "OpenBin sees the key"
            );
        }
    }
}

#[tokio::test]
async fn an_adopted_key_is_known_after_a_restart_without_asking_again() {
    for store in Store::each() {
        let issuer = Issuer::start().await;
        let setup = store.of(Setup::of(issuer.address()));
        let issued = issuer.issue();
        let gateway = setup.start().await;
        assert_eq!(gateway.send(&use_key(&issued.key)).await.status, 200);
        assert!(gateway.stop().await.success());
        let again = setup.start().await;
        assert_eq!(again.send(&use_key(&issued.key)).await.status, 200, "{}", store.name());
        assert_eq!(issuer.asked(), 1, "{}", store.name());
    }
}

#[tokio::test]
async fn a_key_that_was_seen_created_is_known_without_asking() {
    for store in Store::each() {
        let issuer = Issuer::start().await;
        let gateway = store.of(Setup::of(issuer.address())).start().await;
        for via in EVERY_WAY {
            let (id, key) = create(&gateway).await;
            assert_eq!(use_key(&key).send(&gateway, via).await.status, 200, "{} {via:?}", store.name());
            assert_eq!(issuer.recorder.last().field("x-auth-key-id"), Some(&*id));
        }
        assert_eq!(issuer.asked(), 0, "{}", store.name());
    }
}

#[tokio::test]
async fn a_key_as_the_session_cookie_counts_as_a_key() {
    let issuer = Issuer::start().await;
    let gateway = Gateway::in_front_of(issuer.address()).await;
    let (id, key) = create(&gateway).await;
    let response = gateway.send(&Request::get("/api/bins").session(&key)).await;
    assert_eq!(response.status, 200, "{}", response.text());
    let seen = issuer.recorder.last();
    assert_eq!((seen.field("x-auth-method"), seen.field("x-auth-key-id")), (Some("api_key"), Some(&*id)));
    assert_eq!(seen.field("authorization"), None, "a cookie never becomes a Bearer");
}

#[tokio::test]
async fn an_unknown_key_is_refused_and_the_instance_not_asked_for_ever() {
    for store in Store::each() {
        let issuer = Issuer::start().await;
        let gateway = store.of(Setup::of(issuer.address())).start().await;
        let unknown = format!("sk_openbin_{}", "e".repeat(64));
        for _ in 0..20 {
            let response = gateway.send(&use_key(&unknown)).await;
            response.assert_refused(401, "UNAUTHORIZED", "Invalid API key");
        }
        assert!(issuer.asked() <= 3, "{}: asked {} times", store.name(), issuer.asked());
        assert_eq!(issuer.count("/api/bins"), 0);
        let metrics = gateway.metrics().await;
        assert_eq!(metrics.sum("auth_total", &[("outcome", "unknown_key"), ("credential", "api_key")]), 20.0);
    }
}

#[tokio::test]
async fn an_instance_that_cannot_tell_makes_502_and_never_401() {
    let issuer = Issuer::start().await;
    let gateway = Gateway::in_front_of(issuer.address()).await;
    for (status, body) in [
        (500, json!({ "error": "INTERNAL_ERROR", "message": "Internal server error" }).to_string()),
        (503, json!({ "error": "MAINTENANCE", "message": "System is undergoing maintenance." }).to_string()),
        (401, json!({ "error": "UNAUTHORIZED", "message": "Authentication failed" }).to_string()),
        (
            429,
            json!({ "error": "RATE_LIMITED", "message": "Too many requests, please try again later" })
                .to_string(),
        ),
        (200, "<html></html>".to_owned()),
        (200, "{}".to_owned()),
        (200, String::new()),
        (302, String::new()),
    ] {
        let issued = issuer.issue();
        issuer.trouble(status, &body);
        let response = gateway.send(&use_key(&issued.key)).await;
        assert!(matches!(response.status, 502 | 503), "{status} {body:?}: {}", response.status);
        response.assert_own();
        issuer.recover();
        let later = gateway.send(&use_key(&issued.key)).await;
        assert_eq!(later.status, 200, "{status} {body:?}: trouble is not remembered as a no");
    }
}

#[tokio::test]
async fn an_instance_that_is_down_at_adoption_makes_502_and_never_401() {
    let gateway = Gateway::in_front_of(nobody()).await;
    let response = gateway.send(&use_key(&format!("sk_openbin_{}", "d".repeat(64)))).await;
    response.assert_refused(
        502,
        "UPSTREAM_UNAVAILABLE",
        "OpenBin cannot be reached right now, please try again",
    );
}

#[tokio::test]
async fn the_owners_state_is_told_in_openbins_words() {
    for (status, code, message) in [
        (403, "ACCOUNT_SUSPENDED", "This account has been suspended"),
        (401, "ACCOUNT_DELETED", "This account has been deleted"),
        (403, "PLAN_RESTRICTED", "API key access requires a Pro plan"),
    ] {
        let issuer = Issuer::start().await;
        let gateway = Gateway::in_front_of(issuer.address()).await;
        let issued = issuer.issue();
        issuer.trouble(status, &json!({ "error": code, "message": message }).to_string());
        gateway.send(&use_key(&issued.key)).await.assert_refused(status, code, message);
        assert_eq!(issuer.count("/api/bins"), 0);
    }
}

#[tokio::test]
async fn a_key_of_one_instance_is_none_at_another() {
    let (bins, tools) = (Issuer::start().await, Issuer::start().await);
    let setup = Setup::of_instances(vec![
        Instance::at(bins.address()).named("bins").for_hosts(&["bins.example.com"]),
        Instance::at(tools.address()).named("tools").for_hosts(&["tools.example.com"]),
    ]);
    let gateway = setup.start().await;
    let issued = bins.issue();
    assert_eq!(gateway.send(&use_key(&issued.key).host("bins.example.com")).await.status, 200);
    let other = gateway.send(&use_key(&issued.key).host("tools.example.com")).await;
    other.assert_refused(401, "UNAUTHORIZED", "Invalid API key");
    assert_eq!(tools.count("/api/bins"), 0);
}

#[tokio::test]
async fn keys_used_at_the_same_time_are_never_taken_for_each_other() {
    for store in Store::each() {
        let issuer = Issuer::start().await;
        let gateway = store.of(Setup::of(issuer.address())).start().await;
        let keys: Vec<_> = (0..30).map(|_| issuer.issue()).collect();
        let h2 = H2::connect(gateway.https, "localhost").await;
        let ask = async |number: usize| {
            let key = &keys[number % keys.len()];
            let request = use_key(&key.key).field("X-Expected", &key.id);
            match number % 2 {
                0 => h2.send(&request).await.status,
                _ => request.send(&gateway, Via::Plain).await.status,
            }
        };
        let statuses = futures_util::future::join_all((0..300).map(ask)).await;
        assert_eq!(tally(statuses), [(200, 300)].into(), "{}", store.name());
        for seen in issuer.recorder.requests().iter().filter(|seen| seen.target == "/api/bins") {
            assert_eq!(seen.field("x-auth-key-id"), seen.field("x-expected"));
        }
    }
}

#[tokio::test]
async fn on_public_routes_nobody_is_asked_about_an_unknown_key() {
    let issuer = Issuer::start().await;
    let gateway = Gateway::in_front_of(issuer.address()).await;
    let issued = issuer.issue();
    let public = Request::get("/assets/app.js").bearer(&issued.key);
    gateway.send(&public).await;
    assert_eq!(issuer.recorder.last().field("x-auth-method"), Some("none"));
    assert_eq!(issuer.asked(), 0);
    assert_eq!(gateway.send(&use_key(&issued.key)).await.status, 200);
    gateway.send(&public).await;
    assert_eq!(issuer.recorder.last().field("x-auth-method"), Some("api_key"), "a known key is stamped");
}
