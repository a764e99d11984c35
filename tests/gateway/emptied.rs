//! A shared store that loses everything while gateways use it: what is confirmed is felt all the same, also by
//! gateways that the store has forgotten.

use std::time::Duration;

use serde_json::json;

use super::adoption::create;
use super::several::{call, status, until_lease};
use crate::support::redis::RedisServer;
use crate::support::scripted::{Mode, Scripted};
use crate::support::{Gateway, Issuer, Setup, Wire, jwt, wait};

/// Waits until every gateway has heard of all that was written to this store.
pub async fn until_heard(server: &RedisServer) {
    wait::until_answer("the news to be heard", async || {
        let (name, _) = listed(server).await;
        let log = name.replace("replicas", "changes");
        let last: Vec<(String, Vec<String>)> =
            ask(server, &["XREVRANGE", &log, "+", "-", "COUNT", "1"]).await;
        let come: Vec<String> = ask(server, &["HVALS", &name]).await;
        come.iter().all(|come| last.iter().all(|(id, _)| come.starts_with(&format!("{id} ")))).then_some(())
    })
    .await;
}

async fn ask<T: redis::FromRedisValue>(server: &RedisServer, words: &[&str]) -> T {
    let client = redis::Client::open(server.url()).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
    let mut command = redis::Cmd::new();
    words.iter().for_each(|word| {
        command.arg(word);
    });
    command.query_async(&mut connection).await.expect("an answer")
}

/// A gateway whose keys are in the Redis at this URL.
async fn start(issuer: &Issuer, url: &str, lease: &str) -> Gateway {
    let store = format!("{{ kind: redis, url: '{url}', lease: {lease} }}");
    let gateway = Setup::of(issuer.address()).in_store(&store).start().await;
    until_lease(&gateway).await;
    gateway
}

/// The name of the list of gateways, and those in it.
async fn listed(server: &RedisServer) -> (String, Vec<String>) {
    let names: Vec<String> = ask(server, &["KEYS", "*replicas"]).await;
    // What a gateway tries at its start has names of its own.
    match names.iter().find(|name| !name.contains("probe")) {
        Some(name) => (name.clone(), ask(server, &["HKEYS", name]).await),
        None => Default::default(),
    }
}

#[tokio::test]
async fn a_key_is_revoked_everywhere_though_nobody_has_noticed_yet_that_the_store_was_emptied() {
    let (issuer, server) = (Issuer::start().await, RedisServer::start());
    let between = Scripted::before(server.port()).await;
    let (near, far) = (start(&issuer, &server.url(), "4s").await, start(&issuer, &between.url(), "4s").await);
    let (id, key) = create(&near).await;
    let mut wire = Wire::plain(far.http).await;
    assert_eq!(status(&mut wire, &key).await, 200);
    // Its lease goes on for a while, and nothing that happens to the store is told to it.
    between.set(Mode::Silent);
    assert_eq!(status(&mut wire, &key).await, 200);
    let () = ask(&server, &["FLUSHALL"]).await;
    let (code, answer) = call(&near, &format!("/keys/home/{id}/revoke"), json!({})).await;
    issuer.restore(&id);
    let then = status(&mut wire, &key).await;
    assert_eq!((code, then), (200, 503), "{answer}");
    between.set(Mode::Pass);
    wait::until_answer("the refusal", async || (status(&mut wire, &key).await == 401).then_some(())).await;
}

#[tokio::test]
async fn a_gateway_that_was_cut_off_when_the_store_was_emptied_is_not_taken_for_gone() {
    let (issuer, server) = (Issuer::start().await, RedisServer::start());
    let between = Scripted::before(server.port()).await;
    let (near, cut) = (start(&issuer, &server.url(), "1s").await, start(&issuer, &between.url(), "1s").await);
    let (name, gateways) = listed(&server).await;
    assert_eq!(gateways.len(), 2);
    let come: Vec<String> = ask(&server, &["HVALS", &name]).await;
    wait::until_answer("both to hear of each other with a renewal", async || {
        let now: Vec<String> = ask(&server, &["HVALS", &name]).await;
        now.iter().all(|now| !come.contains(now)).then_some(())
    })
    .await;
    let (_, key) = create(&near).await;
    let (mut wire, session) = (Wire::plain(cut.http).await, jwt::session());
    assert_eq!(status(&mut wire, &key).await, 200);
    between.set(Mode::Silent);
    let () = ask(&server, &["FLUSHALL"]).await;
    let (code, answer) = call(&near, &format!("/users/home/{}/block", jwt::USER), json!({})).await;
    assert_eq!((code, &answer["propagated"]), (202, &json!(false)), "{answer}");
    assert_eq!(status(&mut wire, &session).await, 200, "it has not heard of it");
    until_lease(&near).await;
    let (code, answer) = call(&near, &format!("/users/home/{}/block", jwt::USER), json!({})).await;
    assert_eq!((code, &answer["propagated"]), (202, &json!(false)), "{answer}");
    between.set(Mode::Pass);
    wait::until_answer("the confirmation", async || {
        (call(&near, &format!("/users/home/{}/block", jwt::USER), json!({})).await.0 == 200).then_some(())
    })
    .await;
    assert_eq!(status(&mut wire, &session).await, 403);
}

#[tokio::test]
async fn a_gateway_that_has_been_away_for_long_makes_nobody_unsure_for_ever() {
    let (issuer, server) = (Issuer::start().await, RedisServer::start());
    let gateway = start(&issuer, &server.url(), "1s").await;
    let (name, _) = listed(&server).await;
    let () = ask(&server, &["HSET", &name, "0123456789abcdef@elsewhere", "away 1795000000"]).await;
    assert_eq!(call(&gateway, &format!("/users/home/{}/block", jwt::USER), json!({})).await.0, 202);
    tokio::time::timeout(Duration::from_secs(10), async {
        while call(&gateway, &format!("/users/home/{}/block", jwt::USER), json!({})).await.0 != 200 {}
    })
    .await
    .expect("confirmed");
    assert_eq!(listed(&server).await.1.len(), 1);
}
