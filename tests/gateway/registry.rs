//! Every key in one place: what operators do through the admin API, and what requests feel of it at once.

use serde_json::{Value, json};

use openbin_gateway::sample::{SampleOptions, SampleUser};

use crate::support::openbin::{OpenBin, Options};
use crate::support::{EVERY_WAY, Gateway, Request, Response, Setup, Store, Via, jwt, wait};

pub const EMAIL: &str = "ann@example.com";
pub const PASSWORD: &str = "correct horse battery";

/// A gateway in front of the double, whose one user has keys there.
pub struct House {
    pub openbin: OpenBin,
    pub gateway: Gateway,
    pub user: String,
}

pub fn openbin() -> OpenBin {
    let users = vec![SampleUser::member(EMAIL, PASSWORD), SampleUser::admin("root@example.com", PASSWORD)];
    let sample = SampleOptions { users, secret: jwt::SECRET.to_owned(), ..SampleOptions::default() };
    OpenBin::start(Options { sample, ..Options::default() })
}

pub async fn house(store: &Store) -> House {
    let openbin = openbin();
    let user = openbin.sample.user_id(EMAIL).expect("Ann");
    let gateway = store.of(Setup::of(openbin.address)).start().await;
    House { openbin, gateway, user }
}

impl House {
    /// A key of the user's that the gateway knows: its id and text.
    pub async fn key(&self, name: &str) -> (String, String) {
        let made = self.openbin.sample.create_key(&self.user, name).expect("a key");
        assert_eq!(self.bins(&made.key).await.status, 200);
        (made.id, made.key)
    }

    pub async fn bins(&self, key: &str) -> Response {
        self.gateway.send(&Request::get("/api/bins").bearer(key)).await
    }

    pub fn session(&self) -> String {
        self.openbin.sample.session_token(&self.user).expect("a session")
    }

    async fn change(&self, id: &str, change: Value) -> Value {
        let changed = self.gateway.call("PATCH", &format!("/keys/home/{id}"), &change).await;
        assert_eq!(changed.status, 200, "{}", changed.text());
        changed.json()["record"].clone()
    }

    async fn record(&self, id: &str) -> Value {
        let shown = self.gateway.call("GET", &format!("/keys/home/{id}"), &Value::Null).await;
        assert_eq!(shown.status, 200, "{}", shown.text());
        shown.json()
    }
}

#[tokio::test]
async fn a_policy_is_felt_on_the_next_request_of_every_kind_of_connection() {
    for store in Store::each() {
        let house = house(&store).await;
        let (id, key) = house.key("laptop").await;
        for (change, status, message) in [
            (json!({ "disabled": true }), 403, "API key is disabled"),
            (json!({ "disabled": false, "methods": ["POST"] }), 403, "API key may not be used for this"),
            (json!({ "methods": null, "paths": ["/api/items"] }), 403, "API key may not be used for this"),
            (
                json!({ "paths": [], "addresses": ["192.0.2.0/24"] }),
                403,
                "API key may not be used from this address",
            ),
            (json!({ "addresses": [], "expires_at": "2020-01-01T00:00:00Z" }), 401, "API key has expired"),
        ] {
            house.change(&id, change.clone()).await;
            for via in EVERY_WAY {
                let refused = Request::get("/api/bins").bearer(&key).send(&house.gateway, via).await;
                assert_eq!(refused.status, status, "{} {change}: {}", store.name(), refused.text());
                assert_eq!(refused.json()["message"], message, "{change}");
            }
        }
        let record = house.change(&id, json!({ "expires_at": null, "read_only": true })).await;
        assert_eq!((&record["standing"], &record["policy"]["read_only"]), (&json!("active"), &json!(true)));
        assert_eq!(house.bins(&key).await.status, 200);
        let post = Request::post("/api/bins", "{}").bearer(&key);
        assert_eq!(house.gateway.send(&post).await.status, 403);
    }
}

#[tokio::test]
async fn a_key_that_operators_revoke_is_refused_at_once_and_the_instance_is_told() {
    for store in Store::each() {
        let house = house(&store).await;
        let (id, key) = house.key("laptop").await;
        let revoke = format!("/keys/home/{id}/revoke");
        let revoked = house.gateway.call("POST", &revoke, &json!({ "reason": "lost" })).await;
        assert_eq!(revoked.status, 200, "{}", revoked.text());
        assert_eq!(revoked.json(), json!({ "revoked": 1, "known": true, "propagated": true }));
        for via in EVERY_WAY {
            let refused = Request::get("/api/bins").bearer(&key).send(&house.gateway, via).await;
            refused.assert_refused(401, "UNAUTHORIZED", "Invalid API key");
        }
        let directly = Request::get("/api/bins").bearer(&key);
        wait::until_answer("the instance to refuse the key, too", || async {
            (directly.to(house.openbin.address).await.status == 401).then_some(())
        })
        .await;
        wait::until_answer("the errand to be done", || async {
            let shown = house.record(&id).await;
            (shown["errands"][0]["state"] == "done").then_some(())
        })
        .await;
        let revoked = house.record(&id).await["record"]["revoked"].clone();
        assert_eq!((&revoked["by"], &revoked["why"]), (&json!("operator"), &json!("lost")));
    }
}

#[tokio::test]
async fn an_instance_that_is_down_is_told_when_it_is_back_also_by_another_gateway() {
    for store in Store::each() {
        let mut house = house(&store).await;
        let (id, key) = house.key("laptop").await;
        let address = house.openbin.address;
        house.openbin.stop();
        let revoked = house.gateway.call("POST", &format!("/keys/home/{id}/revoke"), &json!({})).await;
        assert_eq!(revoked.status, 200, "{}", revoked.text());
        wait::until_answer("a try that failed", || async {
            let shown = house.record(&id).await;
            (shown["errands"][0]["tries"].as_u64() >= Some(1)).then_some(())
        })
        .await;
        let shown = house.record(&id).await;
        assert_eq!(shown["errands"][0]["state"], "pending", "{shown}");
        house.gateway.process.signal("KILL");
        house.gateway.process.exit().await;
        let again = house.gateway.setup.start().await;
        // The instance comes back as it was: with the key.
        let sample = house.openbin.sample.clone();
        sample.restore_key(&id);
        let back = OpenBin::start_with(sample, address);
        let directly = Request::get("/api/bins").bearer(&key);
        wait::until_answer("the instance to be told", || async {
            (directly.to(back.address).await.status == 401).then_some(())
        })
        .await;
        drop(again);
    }
}

#[tokio::test]
async fn a_blocked_user_is_refused_with_every_key_and_session_until_unblocked() {
    for store in Store::each() {
        let house = house(&store).await;
        let (_, key) = house.key("laptop").await;
        let session = house.session();
        let user = format!("/users/home/{}", house.user);
        let both = async |status: u16| {
            for request in [
                Request::get("/api/bins").bearer(&key),
                Request::get("/api/bins").bearer(&session),
                Request::get("/api/bins").session(&session),
            ] {
                for via in EVERY_WAY {
                    assert_eq!(request.send(&house.gateway, via).await.status, status, "{}", store.name());
                }
            }
        };
        both(200).await;
        let blocked =
            house.gateway.call("POST", &format!("{user}/block"), &json!({ "reason": "left" })).await;
        assert_eq!(blocked.status, 200, "{}", blocked.text());
        both(403).await;
        let shown = house.gateway.call("GET", &user, &Value::Null).await.json();
        assert_eq!((&shown["blocked"]["why"], &shown["active_keys"]), (&json!("left"), &json!(1)));
        // A block outlives the process.
        house.gateway.stop().await;
        let gateway = house.gateway.setup.start().await;
        assert_eq!(gateway.send(&Request::get("/api/bins").bearer(&key)).await.status, 403);
        let unblocked = gateway.call("POST", &format!("{user}/unblock"), &Value::Null).await;
        assert_eq!(unblocked.json(), json!({ "unblocked": true }));
        assert_eq!(gateway.send(&Request::get("/api/bins").bearer(&key)).await.status, 200);
        assert_eq!(gateway.send(&Request::get("/api/bins").bearer(&session)).await.status, 200);
    }
}

#[tokio::test]
async fn a_rotated_key_and_its_successor_are_both_good_until_the_overlap_is_over() {
    let house = house(&Store::Embedded).await;
    let (id, key) = house.key("laptop").await;
    house.change(&id, json!({ "read_only": true })).await;
    let rotate = format!("/keys/home/{id}/rotate");
    let rotated = house.gateway.call("POST", &rotate, &json!({ "overlap": "2s" })).await;
    assert_eq!(rotated.status, 201, "{}", rotated.text());
    let rotated = rotated.json();
    let successor = rotated["key"].as_str().expect("a key").to_owned();
    assert_eq!(rotated["old"]["policy"]["replaced_by"], rotated["record"]["id"]);
    assert_eq!(rotated["record"]["policy"]["read_only"], true, "the successor has the same policy");
    assert_eq!((house.bins(&key).await.status, house.bins(&successor).await.status), (200, 200));
    wait::until_answer("the old key to end by itself", || async {
        (house.bins(&key).await.status == 401).then_some(())
    })
    .await;
    wait::until_answer("the old key to be revoked", || async {
        (house.record(&id).await["record"]["revoked"]["by"] == "rotation").then_some(())
    })
    .await;
    assert_eq!(house.bins(&successor).await.status, 200);
    let again = house.gateway.call("POST", &rotate, &json!({})).await;
    assert_eq!(again.status, 409, "{}", again.text());
}

#[tokio::test]
async fn a_key_made_by_an_operator_is_a_real_key_of_the_instance() {
    let house = house(&Store::Embedded).await;
    let new = json!({ "user_id": house.user, "name": "backup job",
                      "policy": { "paths": ["/api/bins"], "expires_in": "90d" } });
    let made = house.gateway.call("POST", "/keys", &new).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json();
    assert_eq!(made["record"]["user_email"], EMAIL, "the instance knows it");
    let key = made["key"].as_str().expect("a key");
    assert_eq!(house.bins(key).await.status, 200);
    assert_eq!(Request::get("/api/bins").bearer(key).to(house.openbin.address).await.status, 200);
    let listed = house.gateway.send(&Request::get("/api/api-keys").session(&house.session())).await.json();
    assert_eq!(listed["results"][0]["id"], made["record"]["id"]);
    assert_eq!(house.gateway.send(&Request::get("/api/auth/me").bearer(key)).await.status, 403);
    let over = json!({ "user_id": house.user, "policy": { "expires_in": "0s" } });
    for wrong in [json!({ "user_id": "" }), json!({}), json!({ "user_id": "u", "nmae": "x" }), over] {
        let refused = house.gateway.call("POST", "/keys", &wrong).await;
        assert!([400, 422].contains(&refused.status), "{wrong}: {}", refused.text());
    }
    let nobody = house.gateway.call("POST", "/keys", &json!({ "user_id": "nobody" })).await;
    assert_eq!((nobody.status, &nobody.json()["error"]), (502, &json!("INSTANCE_REFUSED")));
    let listed = house.gateway.send(&Request::get("/api/api-keys").session(&house.session())).await.json();
    assert_eq!(listed["count"], 1, "nothing of that made a key");
}

#[tokio::test]
async fn keys_are_listed_in_pages_found_by_text_and_shown_with_their_use() {
    for store in Store::each() {
        let house = house(&store).await;
        let mut ids = Vec::new();
        for number in 0..5 {
            ids.push(house.key(&format!("Läptop {number}")).await);
        }
        let mut seen = Vec::new();
        let mut path = "/keys?limit=2".to_owned();
        loop {
            let page = house.gateway.call("GET", &path, &Value::Null).await;
            assert_eq!(page.status, 200, "{}", page.text());
            let page = page.json();
            seen.extend(page["keys"].as_array().expect("keys").iter().map(|key| key["id"].clone()));
            let Some(next) = page["next"].as_str() else { break };
            path = format!("/keys?limit=2&cursor={next}");
        }
        assert_eq!(seen.len(), 5, "{}: {seen:?}", store.name());
        for (query, count) in [
            ("q=l%C3%A4ptop%203", 1),
            ("q=LÄPTOP", 5),
            ("q=nothing", 0),
            ("user=nobody", 0),
            ("standing=revoked", 0),
            ("unused_for=1h", 0),
        ] {
            let query = query.replace('Ä', "%C3%84");
            let found = house.gateway.call("GET", &format!("/keys?{query}"), &Value::Null).await.json();
            assert_eq!(found["keys"].as_array().map(Vec::len), Some(count), "{} {query}", store.name());
        }
        let (id, key) = &ids[0];
        let found = house.gateway.call("POST", "/keys/find", &json!({ "key": key })).await.json();
        assert_eq!(found["keys"][0]["id"], json!(id));
        wait::until_answer("its use to be written", || async {
            let shown = house.record(id).await;
            (shown["days"][0]["count"] == 1 && shown["record"]["last_used_over"] == "ipv4").then_some(())
        })
        .await;
        for wrong in ["limit=0", "limit=x", "cursor=x", "standing=good", "unused_for=soon", "colour=red"] {
            let refused = house.gateway.call("GET", &format!("/keys?{wrong}"), &Value::Null).await;
            assert_eq!(refused.status, 400, "{wrong}: {}", refused.text());
        }
    }
}

#[tokio::test]
async fn everything_that_was_done_is_in_the_audit_chain_and_an_edit_is_found() {
    let house = house(&Store::Embedded).await;
    let (id, _) = house.key("laptop").await;
    house.change(&id, json!({ "read_only": true })).await;
    house.gateway.call("POST", &format!("/keys/home/{id}/revoke"), &json!({ "reason": "lost" })).await;
    let wrong = Request::get("/admin/api/v1/keys").bearer("wrong-token").to(house.gateway.admin).await;
    assert_eq!(wrong.status, 401);
    wait::until_answer("all of it", || async {
        let audit = house.gateway.call("GET", "/audit", &Value::Null).await.json();
        let entries = audit["entries"].as_array().expect("entries").clone();
        let read = |text: &str| serde_json::from_str::<Value>(text).expect("an entry");
        for entry in &entries {
            let kept = read(entry["text"].as_str().expect("its own text"));
            let at = entry["at"].as_str().expect("a time");
            assert!(at.ends_with('Z') && at.len() == "2026-11-22T21:57:19.021Z".len(), "{at}");
            assert!(kept["at"].is_i64() && kept["seq"] == entry["seq"], "{kept}");
        }
        let actions: Vec<_> = entries.iter().filter_map(|entry| entry["action"].as_str()).collect();
        let all = ["key_adopted", "policy_changed", "key_revoked", "admin_refused", "instance_told"];
        all.iter().all(|action| actions.contains(action)).then_some(())
    })
    .await;
    let whole = house.gateway.call("GET", "/audit/verify", &Value::Null).await.json();
    assert_eq!(whole["whole"], true, "{whole}");
    house.gateway.stop().await;
    let edit = |sql: &str| {
        let db = rusqlite::Connection::open(house.gateway.setup.database()).expect("the file");
        assert_eq!(db.execute(sql, []).expect("an edit"), 1);
    };
    edit("UPDATE audit SET text = replace(text, 'lost', 'sold') WHERE text LIKE '%lost%'");
    let gateway = house.gateway.setup.start().await;
    let broken = gateway.call("GET", "/audit/verify", &Value::Null).await.json();
    assert_eq!(broken["whole"], false, "{broken}");
    gateway.stop().await;
    edit("UPDATE audit SET text = replace(text, 'sold', 'lost') WHERE text LIKE '%sold%'");
    edit("DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)");
    let gateway = house.gateway.setup.start().await;
    let cut = gateway.call("GET", "/audit/verify", &Value::Null).await.json();
    assert_eq!(cut["whole"], false, "{cut}");
    assert!(cut["problem"].as_str().is_some_and(|problem| problem.contains("last entries")), "{cut}");
}

#[tokio::test]
async fn every_caller_who_is_turned_away_is_in_the_audit_chain() {
    for store in Store::each() {
        let house = house(&store).await;
        for number in 0..14 {
            let mut request = Request::get("/admin/api/v1/keys");
            if number > 0 {
                request = request.bearer("wrong-token");
            }
            assert_eq!(request.to(house.gateway.admin).await.status, 401);
        }
        let details = wait::until_answer("all of them", || async {
            let audit = house.gateway.call("GET", "/audit", &Value::Null).await.json();
            let refused = audit["entries"].as_array().expect("entries").iter();
            let refused: Vec<_> = refused.filter(|entry| entry["action"] == "admin_refused").collect();
            assert!(refused.iter().all(|entry| entry["address"] == "127.0.0.1"), "{audit}");
            let details: Vec<_> = refused.iter().map(|entry| entry["detail"].to_string()).collect();
            details.last().is_some_and(|last| last.contains("more")).then_some(details)
        })
        .await;
        assert_eq!(details.len(), 11, "{}: {details:?}", store.name());
        assert_eq!(details[..2], [r#""no token""#, r#""a wrong token""#]);
        assert_eq!(details[10], r#""4 more without the token""#);
    }
}

#[tokio::test]
async fn the_admin_api_needs_its_token_and_is_not_reachable_through_the_proxy() {
    let house = house(&Store::Embedded).await;
    for target in ["/admin/api/v1/keys", "/admin/api/v1/openapi.json", "/admin/api/v1"] {
        let without = Request::get(target).to(house.gateway.admin).await;
        assert_eq!(without.status, 401, "{target}");
        for via in EVERY_WAY {
            let through = Request::get(target).send(&house.gateway, via).await;
            assert_ne!(through.field("content-type"), Some("application/json; charset=utf-8"), "{target}");
        }
    }
    let document = house.gateway.call("GET", "/openapi.json", &Value::Null).await;
    assert_eq!((document.status, &document.json()["openapi"]), (200, &json!("3.1.0")));
    let unknown = house.gateway.call("GET", "/nothing", &Value::Null).await;
    assert_eq!(unknown.status, 404);
    let wrong = house.gateway.call("DELETE", "/keys", &Value::Null).await;
    assert_eq!(wrong.status, 405);
    let redis = Store::each().into_iter().nth(1).expect("redis");
    let closed = redis.of(Setup::of(house.openbin.address)).with_admin("address: 127.0.0.1:0").start().await;
    let refused = Request::get("/admin/api/v1/keys").bearer("x").to(closed.admin).await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert!(refused.text().contains("admin.token_file"));
}

#[tokio::test]
async fn a_session_that_is_ended_is_refused_and_another_of_the_same_user_is_not() {
    let house = house(&Store::Embedded).await;
    let claims = |seconds| json!({ "id": house.user, "email": EMAIL, "tv": 0, "exp": jwt::now() + seconds });
    let (one, two) = (jwt::signed(&claims(300), jwt::SECRET), jwt::signed(&claims(301), jwt::SECRET));
    // Whoever did not hear the answer asks again.
    for _ in 0..2 {
        let ended = house.gateway.call("POST", "/sessions/home/end", &json!({ "token": one })).await;
        assert_eq!(ended.status, 200, "{}", ended.text());
    }
    for via in [Via::Plain, Via::Tls, Via::H2] {
        let refused = Request::get("/api/bins").session(&one).send(&house.gateway, via).await;
        refused.assert_refused(401, "SESSION_REVOKED", "Session has been revoked. Please log in again.");
        assert_eq!(Request::get("/api/bins").session(&two).send(&house.gateway, via).await.status, 200);
    }
    let junk = house.gateway.call("POST", "/sessions/home/end", &json!({ "token": "a.b.c" })).await;
    assert_eq!(junk.status, 422, "{}", junk.text());
}
