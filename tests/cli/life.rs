//! A key's whole life: the same through a running gateway and straight in its store.

use serde_json::{Value, json};

use crate::desk::{Desk, Done, EMAIL};
use crate::support::{Request, Store, wait};

/// Everything that a life left behind.
struct Life {
    desk: Desk,
    said: String,
}

impl Life {
    async fn run(&mut self, words: &str) -> Done {
        let done = self.desk.run(words).await.ok();
        self.said.push_str(&done.said());
        done
    }

    /// What the instance itself answers to this key.
    async fn at_openbin(&self, key: &str) -> u16 {
        Request::get("/api/bins").bearer(key).to(self.desk.openbin.address).await.status
    }
}

/// What does not depend on chance or time.
fn essence(record: &Value) -> Value {
    let policy = &record["policy"];
    json!({
        "name": record["name"], "email": record["user_email"], "standing": record["standing"],
        "issuer": record["issuer"], "read_only": policy["read_only"], "paths": policy["paths"],
        "rate": policy["rate"], "expires": !policy["expires_at"].is_null(),
        "replaced": !policy["replaced_by"].is_null(),
        "by": record["revoked"]["by"], "who": record["revoked"]["who"], "why": record["revoked"]["why"],
    })
}

async fn create(life: &mut Life) -> (String, String) {
    let user = life.desk.user.clone();
    let words = format!("keys create --user {user} --email {EMAIL} --name laptop --expires-in 30d");
    let made = life.desk.run(&words).await.ok();
    let key = made.out.trim_end().to_owned();
    assert_eq!(made.out, format!("{key}\n"), "the key alone is printed");
    assert!(made.err.contains(EMAIL) && made.err.contains("cannot be shown again"), "{}", made.err);
    assert!(!made.err.contains(&key[18..]), "beside it, only its prefix is told: {}", made.err);
    assert_eq!(life.at_openbin(&key).await, 200, "the instance has made it");
    let shown = life.desk.told("keys show - --json", &format!("{key}\n")).await.ok().json();
    (key, shown["record"]["id"].as_str().expect("an id").to_owned())
}

async fn limit(life: &mut Life, id: &str, prefix: &str) {
    let listed = life.run("keys list").await;
    assert!(listed.out.contains(prefix) && listed.out.contains("Never"), "{}", listed.out);
    assert!(listed.err.contains("last use is up to 2 s behind"), "{}", listed.err);
    assert!(life.run(&format!("keys disable {id}")).await.out.contains("standing     disabled"));
    assert_eq!(life.run("keys list").await.out, "", "a disabled key is not active");
    assert!(life.run("keys list --standing disabled").await.out.contains(prefix));
    assert!(life.run(&format!("keys enable {prefix}")).await.out.contains("standing     active"));
    let limits = "--read-only --path /api/bins --address 10.0.0.0/8 --rate 600/1m --method GET";
    let limited = life.run(&format!("keys limit {id} {limits}")).await;
    let words = "reading only; methods GET; paths below /api/bins; from 10.0.0.0/8; at most 600/1m";
    assert!(limited.out.contains(words), "{}", limited.out);
    let partly = life.run(&format!("keys limit {id} --any-method --anywhere --never-expires")).await;
    assert!(partly.out.contains("expires      Never"), "{}", partly.out);
    assert!(partly.out.contains("good for     reading only; paths below /api/bins; at most 600/1m\n"));
}

async fn live(store: &Store, runs: bool) -> (Vec<Value>, Vec<Value>) {
    let mut life = Life { desk: Desk::of(store, runs).await, said: String::new() };
    let (key, id) = create(&mut life).await;
    limit(&mut life, &id, &key[..18]).await;

    let rotated = life.desk.run(&format!("keys rotate {id} --overlap 24h")).await.ok();
    let successor = rotated.out.trim_end().to_owned();
    assert_eq!(rotated.out, format!("{successor}\n"), "the new key alone is printed");
    assert!(rotated.err.contains(&format!("The old key {} is good until", &key[..18])), "{}", rotated.err);
    let old = life.run(&format!("keys show {id}")).await.out;
    assert!(old.contains("replaced by") && old.contains("when its successor takes over"), "{old}");

    let revoke = ["--reason", "left in a train"];
    let revoked = life.desk.run_with("keys revoke -", &revoke, &successor).await.ok();
    assert!(revoked.out.starts_with(&format!("Revoked {}", &successor[..18])), "{}", revoked.out);
    life.said.push_str(&revoked.said());
    let at_instance = life.desk.openbin.address;
    wait::until_answer("the instance to refuse the key, too", || {
        let request = Request::get("/api/bins").bearer(&successor);
        async move { (request.to(at_instance).await.status == 401).then_some(()) }
    })
    .await;
    let again = life.run(&format!("keys revoke {}", &successor[..18])).await;
    assert!(again.out.contains("was revoked before"), "{}", again.out);

    let all = life.run("keys list --all --json").await.json();
    assert!(life.run("audit verify").await.out.starts_with("The chain is whole"));
    let done: Vec<Value> = life
        .run("audit export")
        .await
        .out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON lines"))
        .filter(|entry| entry["role"] == "operator")
        .map(|entry| json!([entry["action"], entry["actor"], entry["instance"]]))
        .collect();
    for secret in [&key[18..], &successor[18..]] {
        assert!(!life.said.contains(secret), "a key was said: {}", life.said);
    }
    let keys = all["keys"].as_array().expect("keys").iter().map(essence).collect();
    (keys, done)
}

#[tokio::test]
async fn a_key_has_the_same_life_through_a_gateway_and_straight_in_its_store() {
    let mut lives = Vec::new();
    for store in Store::each() {
        for runs in [true, false] {
            // One after the other: they share a Redis, and each counts its own keys.
            let store = match &store {
                Store::Embedded => Store::Embedded,
                Store::Redis(_) => Store::Redis(crate::support::redis::RedisServer::start()),
            };
            lives.push((store.name(), runs, live(&store, runs).await));
        }
    }
    let (_, _, first) = &lives[0];
    let revoked = json!({
        "name": "laptop", "email": EMAIL, "standing": "revoked", "issuer": "openbin", "read_only": true,
        "paths": ["/api/bins"], "rate": "600/1m", "expires": false, "replaced": false,
        "by": "operator", "who": "olga", "why": "left in a train",
    });
    let replaced = json!({
        "name": "laptop", "email": EMAIL, "standing": "active", "issuer": "openbin", "read_only": true,
        "paths": ["/api/bins"], "rate": "600/1m", "expires": true, "replaced": true,
        "by": null, "who": null, "why": null,
    });
    assert_eq!(first.0, [revoked, replaced]);
    assert!(first.1.iter().all(|entry| entry[1] == "olga" && entry[2] == "home"), "{:?}", first.1);
    for (store, runs, life) in &lives {
        assert_eq!(life, first, "{store}, a gateway runs: {runs}");
    }
}

#[tokio::test]
async fn what_was_done_in_the_store_is_so_when_the_gateway_starts() {
    let mut desk = Desk::alone().await;
    let (good, bad) = (desk.create("--name good").await, desk.create("--name bad").await);
    desk.run(&format!("keys revoke {}", &bad[..18])).await.ok();
    desk.run(&format!("keys limit {} --read-only", &good[..18])).await.ok();
    let gateway = desk.start().await;
    assert_eq!(gateway.send(&Request::get("/api/bins").bearer(&bad)).await.status, 401);
    assert_eq!(gateway.send(&Request::get("/api/bins").bearer(&good)).await.status, 200);
    assert_eq!(gateway.send(&Request::post("/api/bins", "{}").bearer(&good)).await.status, 403);
}

#[tokio::test]
async fn a_key_that_is_used_shows_when_and_on_which_days() {
    let desk = Desk::running().await;
    let key = desk.create("--name busy").await;
    for _ in 0..3 {
        assert_eq!(desk.gateway().send(&Request::get("/api/bins").bearer(&key)).await.status, 200);
    }
    let shown = wait::until_answer("the last use to be written", || async {
        let shown = desk.run(&format!("keys show {}", &key[..18])).await.ok();
        shown.out.contains("3 requests").then_some(shown.out)
    })
    .await;
    assert!(shown.contains(" UTC over IPv4"), "{shown}");
    assert!(shown.contains("Last use is up to 2 s behind."), "{shown}");
    assert!(desk.run("keys list --unused-for 90d").await.ok().out.is_empty());
}

#[tokio::test]
async fn a_key_that_is_made_as_json_is_one_document() {
    let desk = Desk::alone().await;
    let made = desk.run(&format!("keys create --user {} --json", desk.user)).await.ok();
    let (document, beside) = (made.json(), made.err);
    let key = document["key"].as_str().expect("a key");
    assert!(key.starts_with(document["record"]["prefix"].as_str().expect("a prefix")));
    assert!(!beside.contains(&key[..18]), "{beside}");
}
