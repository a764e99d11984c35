//! `key_issuer: gateway`: the gateway makes, lists and ends keys itself, and the instance gets a session in
//! their place.

use serde_json::{Value, json};

use super::registry::{EMAIL, openbin};
use crate::support::openbin::OpenBin;
use crate::support::{EVERY_WAY, Gateway, Instance, Request, Response, Setup, Store, Via};

pub const KEYS: &str = "/api/api-keys";

/// A gateway that issues the keys of an OpenBin with two users, Ann and an administrator.
pub struct House {
    pub openbin: OpenBin,
    pub gateway: Gateway,
    pub user: String,
}

pub async fn house() -> House {
    house_on(&Store::Embedded).await
}

pub async fn house_on(store: &Store) -> House {
    let openbin = openbin();
    let gateway = store.of(setup(&openbin, "gateway")).start().await;
    House::new(openbin, gateway)
}

pub fn setup(openbin: &OpenBin, issuer: &str) -> Setup {
    Setup::of_instances(vec![Instance::at(openbin.address).with(&format!("key_issuer: {issuer}"))])
}

impl House {
    pub fn new(openbin: OpenBin, gateway: Gateway) -> Self {
        let user = openbin.sample.user_id(EMAIL).expect("Ann");
        Self { openbin, gateway, user }
    }

    /// A session of Ann's.
    pub fn session(&self) -> String {
        self.openbin.sample.session_token(&self.user).expect("a session")
    }

    pub fn admin_session(&self) -> String {
        let root = self.openbin.sample.user_id("root@example.com").expect("root");
        self.openbin.sample.session_token(&root).expect("a session")
    }

    /// A key of Ann's, made through the gateway: its id and text.
    pub async fn key(&self, name: &str) -> (String, String) {
        let content = json!({ "name": name }).to_string();
        let made = self.gateway.send(&Request::post(KEYS, content).bearer(&self.session())).await;
        assert_eq!(made.status, 201, "{}", made.text());
        let text = |name: &str| made.json()[name].as_str().expect("text").to_owned();
        (text("id"), text("key"))
    }

    pub async fn bins(&self, key: &str) -> Response {
        self.gateway.send(&Request::get("/api/bins").bearer(key)).await
    }

    pub async fn list(&self) -> Value {
        let list = self.gateway.send(&Request::get(KEYS).bearer(&self.session())).await;
        assert_eq!(list.status, 200, "{}", list.text());
        list.json()
    }

    pub async fn revoke(&self, id: &str, credential: &str) -> Response {
        self.gateway.send(&Request::delete(&format!("{KEYS}/{id}")).bearer(credential)).await
    }

    /// Revokes Ann's keys on both sides, if one was made.
    pub async fn forget_keys(&self, made: &Response) {
        if made.status != 201 {
            return;
        }
        for address in [self.openbin.address, self.gateway.http] {
            let list = Request::get(KEYS).bearer(&self.session()).to(address).await;
            for key in list.json()["results"].as_array().expect("a list") {
                let target = format!("{KEYS}/{}", key["id"].as_str().expect("an id"));
                assert_eq!(Request::delete(&target).bearer(&self.session()).to(address).await.status, 200);
            }
        }
    }

    /// How many tombstones there are, in the file of the store.
    pub fn tombstones(&self) -> i64 {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let database = rusqlite::Connection::open_with_flags(self.gateway.setup.database(), flags);
        let database = database.expect("the store's file");
        database.query_row("SELECT count(*) FROM tombstones", [], |row| row.get(0)).expect("a count")
    }

    #[track_caller]
    pub fn assert_instance_saw_no_key(&self) {
        for request in self.openbin.sample.requests() {
            let told = |text: &str| text.contains("sk_openbin_") || text.contains("sk%5Fopenbin");
            assert!(!request.headers.iter().any(|(_, value)| told(value)), "{request:?}");
        }
    }
}

#[tokio::test]
async fn a_key_lives_and_dies_through_the_settings_page() {
    for store in Store::each() {
        let house = house_on(&store).await;
        for via in EVERY_WAY {
            live_and_die(&house, via).await;
        }
        house.assert_instance_saw_no_key();
    }
}

async fn live_and_die(house: &House, via: Via) {
    let cookies = format!("openbin-access={}; openbin-csrf=c", house.session());
    let ask = async |request: Request| {
        let request = request.field("Cookie", &cookies).field("X-CSRF-Token", "c");
        request.send(&house.gateway, via).await
    };
    let made = ask(Request::post(KEYS, r#"{"name":" laptop "}"#)).await;
    assert_eq!((made.status, &made.json()["name"]), (201, &json!("laptop")), "{}", made.text());
    let (id, key) = (made.json()["id"].clone(), made.json()["key"].as_str().expect("a key").to_owned());
    assert_eq!(made.json()["keyPrefix"], key[..18]);
    let listed = ask(Request::get(KEYS)).await.json();
    let row = &listed["results"][0];
    assert_eq!((&listed["count"], &row["id"], &row["key_prefix"]), (&json!(1), &id, &json!(key[..18])));
    assert_eq!((&row["last_used_at"], &row["revoked_at"]), (&Value::Null, &Value::Null));
    let used = Request::get("/api/bins").bearer(&key).send(&house.gateway, via).await;
    assert_eq!(used.status, 200, "{}", used.text());
    let listed = ask(Request::get(KEYS)).await.json();
    let used_at = listed["results"][0]["last_used_at"].as_str().map(str::len);
    assert_eq!(used_at, Some("2026-11-22 21:23:59".len()), "a use is shown at once: {listed}");
    let target = format!("{KEYS}/{}", id.as_str().expect("an id"));
    let revoked = ask(Request::delete(&target)).await;
    assert_eq!((revoked.status, revoked.text()), (200, r#"{"message":"API key revoked"}"#.to_owned()));
    let refused = Request::get("/api/bins").bearer(&key).send(&house.gateway, via).await;
    refused.assert_refused(401, "UNAUTHORIZED", "Invalid API key");
    ask(Request::delete(&target)).await.assert_refused(404, "NOT_FOUND", "API key not found");
    assert_eq!(ask(Request::get(KEYS)).await.json()["count"], 0);
}

#[tokio::test]
async fn the_instance_gets_a_session_of_the_owners_in_place_of_the_key() {
    let house = house().await;
    let (id, key) = house.key("laptop").await;
    for via in EVERY_WAY {
        house.openbin.sample.forget_requests();
        assert_eq!(Request::get("/api/auth/me").bearer(&key).send(&house.gateway, via).await.status, 200);
        let by_cookie =
            Request::get("/api/auth/me").field("Cookie", &format!("a=b; openbin-access={key}; c=d"));
        let me = by_cookie.send(&house.gateway, via).await;
        assert_eq!((me.status, &me.json()["email"]), (200, &json!(EMAIL)), "{}", me.text());
        let seen = house.openbin.sample.requests();
        let [header, cookie] = &seen[..] else { panic!("{seen:?}") };
        for request in [header, cookie] {
            assert_eq!(request.header_all("x-auth-method"), ["api_key"]);
            assert_eq!(request.header_all("x-auth-key-id"), [&*id]);
            assert_eq!(request.header_all("x-auth-user-id"), [&*house.user]);
        }
        let token =
            header.header("authorization").and_then(|field| field.strip_prefix("Bearer ")).expect("a token");
        assert_eq!(token.split('.').count(), 3, "{token}");
        assert_eq!(cookie.header_all("authorization"), [""; 0], "a cookie never becomes a Bearer");
        assert_eq!(
            cookie.header_all("cookie"),
            [format!("a=b; openbin-access={token}; c=d")],
            "one token a user"
        );
    }
    house.assert_instance_saw_no_key();
}

#[tokio::test]
async fn a_key_in_a_cookie_leaves_the_instances_csrf_protection_on() {
    let house = house().await;
    let (_, key) = house.key("laptop").await;
    let post = Request::post("/api/bins", r#"{"name":"Box"}"#);
    let cookies = format!("openbin-access={key}; openbin-csrf=c");
    let forged = house.gateway.send(&post.clone().field("Cookie", &cookies)).await;
    assert_eq!((forged.status, &forged.json()["error"]), (403, &json!("CSRF_INVALID")));
    let meant = post.field("Cookie", &cookies).field("X-CSRF-Token", "c");
    assert_eq!(house.gateway.send(&meant).await.status, 201);
    let forged = Request::post(KEYS, "{}").field("Cookie", &cookies);
    house.gateway.send(&forged).await.assert_refused(403, "CSRF_INVALID", "Invalid or missing CSRF token");
    assert_eq!(house.gateway.send(&forged.field("X-CSRF-Token", "c")).await.status, 201);
}

#[tokio::test]
async fn no_key_reaches_the_instance_whatever_becomes_of_it() {
    let house = house().await;
    let ((id, live), (other, dead)) = (house.key("live").await, house.key("dead").await);
    assert_eq!(house.revoke(&other, &live).await.status, 200);
    let disabled =
        house.gateway.call("PATCH", &format!("/keys/home/{id}"), &json!({ "disabled": true })).await;
    assert_eq!(disabled.status, 200, "{}", disabled.text());
    let legacy = house.openbin.sample.create_key(&house.user, "made at the instance").expect("a key").key;
    for key in [&live, &dead, &legacy, &format!("sk_openbin_{}", "e".repeat(64))] {
        for target in ["/", "/api/auth/status", "/api/bins", KEYS] {
            for via in EVERY_WAY {
                let cookie = format!("openbin-access={key}");
                for request in [
                    Request::get(target).bearer(key),
                    Request::get(target).field("Cookie", &cookie),
                    Request::get(target).bearer(&house.session()).field("Cookie", &cookie),
                    Request::get(target).field("Authorization", &format!("bearer {key}")),
                ] {
                    request.send(&house.gateway, via).await;
                }
            }
        }
        assert_ne!(house.bins(key).await.status, 200);
    }
    assert!(house.openbin.sample.requests().len() > 50, "open routes were forwarded");
    house.assert_instance_saw_no_key();
    let said = house.gateway.everything_said().await;
    assert!(said.contains(&live[..18]), "keys are told by their prefix");
    for key in [&live, &dead, &legacy] {
        assert!(!said.contains(&key[18..]), "a key was written down");
    }
}

#[tokio::test]
async fn a_key_may_list_make_and_revoke_keys_itself_included() {
    let house = house().await;
    let (id, key) = house.key("first").await;
    let made = house.gateway.send(&Request::post(KEYS, r#"{"name":"second"}"#).bearer(&key)).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let list = house.gateway.send(&Request::get(KEYS).bearer(&key)).await.json();
    let names: Vec<_> = list["results"].as_array().expect("a list").iter().map(|row| &row["name"]).collect();
    assert_eq!(names, ["second", "first"], "the newest first");
    assert_eq!(house.revoke(&id, &key).await.status, 200);
    house.bins(&key).await.assert_refused(401, "UNAUTHORIZED", "Invalid API key");
    assert_eq!(house.list().await["count"], 1);
}

#[tokio::test]
async fn keys_of_others_are_nobodys_and_junk_leaves_no_tombstone() {
    let house = house().await;
    let (id, key) = house.key("Ann's").await;
    for who in [house.admin_session(), house.session()] {
        for junk in ["unknown", "a%00b", "..%2f", &id.to_uppercase(), &format!("{id}%20")] {
            house.revoke(junk, &who).await.assert_refused(404, "NOT_FOUND", "API key not found");
        }
    }
    house.revoke(&id, &house.admin_session()).await.assert_refused(404, "NOT_FOUND", "API key not found");
    let others = house.gateway.send(&Request::get(KEYS).bearer(&house.admin_session())).await;
    assert_eq!(others.json()["count"], 0);
    assert_eq!((house.bins(&key).await.status, house.tombstones()), (200, 0));
    let percent: String = id.bytes().map(|byte| format!("%{byte:02x}")).collect();
    assert_eq!(house.revoke(&format!("{percent}/?x=1"), &house.session()).await.status, 200);
    assert_eq!((house.bins(&key).await.status, house.tombstones()), (401, 1));
}
