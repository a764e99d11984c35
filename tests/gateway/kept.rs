//! Nothing that is kept or said holds a key, a token or a secret: not the store, not the audit chain, not an answer.

use serde_json::{Value, json};

use super::registry::{EMAIL, House, house};
use crate::support::{Request, Store, jwt, wait};

/// Everything that the store holds, as text.
async fn held(house: &House, store: &Store) -> String {
    match store {
        Store::Embedded => {
            let mut held = String::new();
            for file in std::fs::read_dir(house.gateway.setup.directory()).expect("the folder") {
                let path = file.expect("a file").path();
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                if name.starts_with("gateway.db") && !name.ends_with("admin-token") {
                    held.push_str(&String::from_utf8_lossy(&std::fs::read(path).expect("its content")));
                }
            }
            held
        }
        Store::Redis(server) => {
            let client = redis::Client::open(server.url()).expect("a URL");
            let mut link = client.get_multiplexed_async_connection().await.expect("a connection");
            let names: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut link).await.expect("names");
            assert!(names.len() > 5, "{names:?}");
            let mut held = names.join("\n");
            for name in names {
                let kind: String =
                    redis::cmd("TYPE").arg(&name).query_async(&mut link).await.expect("a type");
                let mut read = match kind.as_str() {
                    "hash" => redis::cmd("HGETALL"),
                    "set" => redis::cmd("SMEMBERS"),
                    "zset" => redis::cmd("ZRANGE"),
                    "stream" => redis::cmd("XRANGE"),
                    "string" => redis::cmd("GET"),
                    _ => panic!("{name} is a {kind}"),
                };
                read.arg(&name);
                match kind.as_str() {
                    "zset" => drop(read.arg(0).arg(-1)),
                    "stream" => drop(read.arg("-").arg("+")),
                    _ => {}
                }
                let value: redis::Value = read.query_async(&mut link).await.expect("a value");
                held.push_str(&format!("{value:?}\n"));
            }
            held
        }
    }
}

#[tokio::test]
async fn neither_store_nor_audit_nor_answers_nor_logs_hold_key_material() {
    for store in Store::each() {
        let house = house(&store).await;
        let session = house.session();
        let mut answers = String::new();
        let new = json!({ "user_id": house.user, "user_email": EMAIL, "name": "canary" });
        let made = house.gateway.call("POST", "/keys", &new).await.json();
        let key = made["key"].as_str().expect("a key").to_owned();
        let id = made["record"]["id"].as_str().expect("an id").to_owned();
        assert_eq!(house.bins(&key).await.status, 200);
        let rotated = house.gateway.call("POST", &format!("/keys/home/{id}/rotate"), &json!({})).await.json();
        let successor = rotated["key"].as_str().expect("a key").to_owned();
        assert_eq!(house.bins(&successor).await.status, 200);
        // Where a caller puts a key by mistake.
        for (method, path, content) in [
            ("POST", "/keys/find", json!({ "key": successor })),
            ("POST", "/keys/find", json!({ "prefix": successor })),
            ("POST", "/keys/find", json!({ "kye": successor })),
            ("POST", "/keys", json!({ "user_id": successor, "name": 7 })),
            ("POST", "/sessions/home/end", json!({ "token": session, "key": successor })),
            ("POST", "/sessions/home/end", json!({ "token": session })),
            ("PATCH", &format!("/keys/home/{id}"), json!({ "expires_at": "soon" })),
            ("PATCH", &format!("/keys/home/{id}"), json!({ "expires_at": successor })),
            ("PATCH", &format!("/keys/home/{id}"), json!({ "methods": [successor] })),
            ("POST", "/keys/find", json!({ "id": "x", "instance": successor })),
            ("POST", "/keys", json!({ "user_id": house.user, "name": successor })),
            (
                "POST",
                "/keys/import",
                json!({ "keys": [{ "key_hash": "0".repeat(64), "user_id": "u",
                                                        "prefix": successor }] }),
            ),
            ("POST", &format!("/keys/home/{id}/revoke"), json!({ "reason": successor })),
            ("GET", &format!("/keys?q={successor}"), Value::Null),
            ("GET", &format!("/keys?{successor}=1"), Value::Null),
            ("GET", &format!("/users/{successor}/u"), Value::Null),
            ("GET", "/keys", Value::Null),
            ("GET", &format!("/keys/home/{id}"), Value::Null),
            ("GET", "/audit", Value::Null),
        ] {
            answers.push_str(&house.gateway.call(method, path, &content).await.text());
        }
        Request::get("/admin/api/v1/keys").bearer("canary-wrong-token").to(house.gateway.admin).await;
        wait::until_answer("the last use to be written", || async {
            let shown = house.gateway.call("GET", &format!("/keys/home/{id}"), &Value::Null).await.json();
            shown["record"]["last_used_at"].is_string().then_some(())
        })
        .await;
        let held = held(&house, &store).await;
        assert!(held.contains("canary"), "the key's name is kept");
        let said = house.gateway.everything_said().await;
        let signature = session.rsplit('.').next().expect("a signature").to_owned();
        let mut secrets = vec![&key[18..], &successor[18..], &signature, jwt::SECRET, "canary-wrong-token"];
        if let Some(token) = house.gateway.setup.admin_token() {
            secrets.push(Box::leak(token.into_boxed_str()));
        }
        for secret in secrets {
            for (what, text) in [("the store", &held), ("an answer", &answers), ("a log", &said)] {
                assert!(!text.contains(secret), "{what} holds {secret} ({})", store.name());
            }
        }
    }
}
