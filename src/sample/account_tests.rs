//! The sample against OpenBin's contract, without sockets: sessions, keys and accounts.

use serde_json::{Value, json};

use super::tests::{Bench, error};
use super::*;

#[tokio::test(flavor = "current_thread")]
async fn login_sets_three_cookies_and_me_knows_the_user() {
    let bench = Bench::new();
    let login = bench.login().await;
    assert_eq!(login.status, 200, "{}", login.text);
    let cookies = login.cookies();
    let names: Vec<_> = cookies.iter().filter_map(|c| c.split('=').next()).collect();
    assert_eq!(names, ["openbin-access", "openbin-csrf", "openbin-refresh"]);
    assert!(cookies.iter().all(|c| c.contains("; Secure; SameSite=Lax")));
    let me = bench.send("GET", "/api/auth/me", &[("cookie", &login.cookie_field())], "").await;
    assert_eq!(me.json()["id"], bench.ann.as_str());
    assert_eq!(me.json()["email"], "ann@example.com");
    assert_eq!(login.json()["user"]["id"], bench.ann.as_str());
    assert_eq!(login.json()["activeLocationId"], Value::Null);
}

#[tokio::test(flavor = "current_thread")]
async fn a_login_that_fails_never_says_why() {
    let bench = Bench::new();
    let refused = error(401, "UNAUTHORIZED", "Invalid email or password");
    for email in ["ann@example.com", "nobody@example.com"] {
        let body = json!({ "email": email, "password": "wrong" });
        assert_eq!(bench.post("/api/auth/login", "", body).await.error(), refused);
    }
    bench.sample.set_standing(&bench.ann, Standing::Suspended);
    assert_eq!(bench.login().await.error(), refused);
    let empty = bench.post("/api/auth/login", "", json!({})).await;
    assert_eq!(empty.error(), error(422, "VALIDATION_ERROR", "Email and password required"));
}

#[tokio::test(flavor = "current_thread")]
async fn register_makes_an_account_once() {
    let bench = Bench::new();
    let body = json!({ "email": "Bob@example.com", "password": "pw", "displayName": "Bob" });
    let made = bench.post("/api/auth/register", "", body.clone()).await;
    assert_eq!((made.status, made.cookies().len()), (201, 3));
    assert_eq!(made.json()["user"]["displayName"], "Bob");
    assert_eq!(bench.post("/api/auth/register", "", body).await.status, 409);
}

#[tokio::test(flavor = "current_thread")]
async fn a_refresh_token_is_good_once_and_needs_the_csrf_pair() {
    let bench = Bench::new();
    let login = bench.login().await;
    let field = login.cookie_field();
    let csrf = field.split("openbin-csrf=").nth(1).and_then(|rest| rest.split(';').next()).expect("csrf");
    let fields = [("cookie", field.as_str()), ("x-csrf-token", csrf)];
    let bare = bench.send("POST", "/api/auth/refresh", &fields[..1], "").await;
    assert_eq!(bare.error(), error(403, "CSRF_INVALID", "Invalid or missing CSRF token"));
    let first = bench.send("POST", "/api/auth/refresh", &fields, "").await;
    assert_eq!(first.text, r#"{"message":"Token refreshed"}"#);
    assert_eq!(first.cookies().len(), 3);
    let again = bench.send("POST", "/api/auth/refresh", &fields, "").await;
    assert_eq!(again.error(), error(401, "UNAUTHORIZED", "Invalid or expired refresh token"));
    assert!(again.cookies().iter().all(|c| c.contains("=; Path=") && c.contains("01 Jan 1970")));
    let none = bench.send("POST", "/api/auth/refresh", &[], "").await;
    assert_eq!(none.error(), error(401, "UNAUTHORIZED", "No refresh token"));
}

#[tokio::test(flavor = "current_thread")]
async fn logout_clears_cookies_but_the_session_token_stays_good() {
    let bench = Bench::new();
    let token = bench.sample.session_token(&bench.ann).expect("a token");
    let out = bench.send("POST", "/api/auth/logout", &[], "").await;
    assert_eq!((out.status, out.text.as_str()), (200, r#"{"message":"Logged out"}"#));
    assert_eq!(out.cookies().len(), 3);
    assert_eq!(bench.get("/api/auth/me", &token).await.status, 200);
}

#[tokio::test(flavor = "current_thread")]
async fn a_session_is_refused_for_the_reason_that_openbin_gives() {
    let bench = Bench::new();
    let token = bench.sample.session_token(&bench.ann).expect("a token");
    let sign = |payload: &str| bench.sample.sign(r#"{"alg":"HS256"}"#, payload);
    let me = async |token: &str| bench.get("/api/auth/me", token).await;
    assert_eq!(me("junk").await.error(), error(401, "UNAUTHORIZED", "Invalid token"));
    let deleted = error(401, "ACCOUNT_DELETED", "This account has been deleted");
    for payload in ["{}", r#"{"id":"nobody"}"#, r#"{"id":5}"#, r#"{"id":null}"#] {
        assert_eq!(me(&sign(payload)).await.error(), deleted, "{payload}");
    }
    assert_eq!(me(&sign(r#"{"id":{}}"#)).await.status, 500);
    bench.sample.revoke_sessions(&bench.ann);
    assert_eq!(
        me(&token).await.error(),
        error(401, "SESSION_REVOKED", "Session has been revoked. Please log in again.")
    );
    let minted = sign(&format!(r#"{{"id":"{}","tv":1000000000}}"#, bench.ann));
    assert_eq!(me(&minted).await.status, 200);
    bench.sample.set_standing(&bench.ann, Standing::Suspended);
    let suspended = error(403, "ACCOUNT_SUSPENDED", "This account has been suspended");
    assert_eq!(me(&minted).await.error(), suspended);
}

#[tokio::test(flavor = "current_thread")]
async fn a_key_is_refused_for_the_reason_that_openbin_gives() {
    let bench = Bench::new();
    let made = bench.key();
    let bins = async || bench.get("/api/bins", &made.key).await;
    assert_eq!(bins().await.status, 200);
    assert!(bench.sample.key_was_used(&made.id));
    for (standing, refused) in [
        (Standing::Deleted, error(401, "ACCOUNT_DELETED", "This account has been deleted")),
        (Standing::Suspended, error(403, "ACCOUNT_SUSPENDED", "This account has been suspended")),
        (Standing::WithoutKeys, error(403, "PLAN_RESTRICTED", "API key access requires a Pro plan")),
    ] {
        bench.sample.set_standing(&bench.ann, standing);
        assert_eq!(bins().await.error(), refused);
    }
    bench.sample.set_standing(&bench.ann, Standing::Good);
    bench.sample.revoke_sessions(&bench.ann);
    assert_eq!(bins().await.status, 200, "keys do not care for sessions");
    bench.sample.set_key_lookup(KeyLookup::Fails);
    assert_eq!(bins().await.error(), error(401, "UNAUTHORIZED", "Authentication failed"));
    bench.sample.set_key_lookup(KeyLookup::Works);
    bench.sample.revoke_key(&made.id);
    assert_eq!(bins().await.error(), error(401, "UNAUTHORIZED", "Invalid API key"));
    bench.sample.restore_key(&made.id);
    assert_eq!(bins().await.status, 200, "a restored backup brings keys back");
}

#[tokio::test(flavor = "current_thread")]
async fn identity_headers_alone_are_no_credential() {
    let bench = Bench::new();
    let forged = [("x-auth-method", "api_key"), ("x-auth-user-id", bench.ann.as_str())];
    assert_eq!(bench.send("GET", "/api/auth/me", &forged, "").await.status, 401);
    assert_eq!(bench.send("GET", "/api/bins", &[("x-api-key", &bench.key().key)], "").await.status, 401);
}

#[tokio::test(flavor = "current_thread")]
async fn a_key_is_made_listed_and_revoked_with_openbins_shapes() {
    let bench = Bench::new();
    let token = bench.sample.session_token(&bench.ann).expect("a token");
    let made = bench.post("/api/api-keys", &token, json!({ "name": "  laptop " })).await;
    assert_eq!(made.status, 201);
    let body = made.json();
    let [id, key, prefix] = ["id", "key", "keyPrefix"].map(|name| body[name].as_str().expect("text"));
    assert_eq!(made.text, format!(r#"{{"id":"{id}","key":"{key}","keyPrefix":"{prefix}","name":"laptop"}}"#));
    let list = bench.get("/api/api-keys", &token).await;
    assert!(list.headers.contains_key("etag"));
    let created = list.json()["results"][0]["created_at"].as_str().expect("text").to_owned();
    let row = format!(
        r#"{{"id":"{id}","key_prefix":"{prefix}","name":"laptop","created_at":"{created}","last_used_at":null,"revoked_at":null}}"#
    );
    assert_eq!(list.text, format!(r#"{{"results":[{row}],"count":1}}"#));
    let bearer = format!("Bearer {key}");
    let revoke = async || {
        let path = format!("/api/api-keys/{id}");
        bench.send("DELETE", &path, &[("authorization", &format!("Bearer {token}"))], "").await
    };
    assert_eq!(revoke().await.text, r#"{"message":"API key revoked"}"#);
    assert_eq!(revoke().await.error(), error(404, "NOT_FOUND", "API key not found"));
    assert_eq!(bench.send("GET", "/api/bins", &[("authorization", &bearer)], "").await.status, 401);
    assert_eq!(bench.get("/api/api-keys", &token).await.text, r#"{"results":[],"count":0}"#);
}

#[tokio::test(flavor = "current_thread")]
async fn odd_names_of_keys_are_taken_as_openbin_takes_them() {
    let bench = Bench::new();
    let token = bench.sample.session_token(&bench.ann).expect("a token");
    let bearer = format!("Bearer {token}");
    let make = async |kind: &str, content: &str| {
        let fields = [("authorization", bearer.as_str()), ("content-type", kind)];
        bench.send("POST", "/api/api-keys", &fields, content).await
    };
    for (kind, content, name) in [
        ("application/json", r#"{"name":null}"#, ""),
        ("application/json", "[1]", ""),
        ("application/json", "", ""),
        ("text/plain", "name=x", ""),
        ("application/x-www-form-urlencoded", "name=a+b", "a b"),
    ] {
        let reply = make(kind, content).await;
        assert_eq!((reply.status, reply.json()["name"].as_str()), (201, Some(name)), "{kind} {content}");
    }
    let internal = error(500, "INTERNAL_ERROR", "Internal server error");
    assert_eq!(make("application/json", r#"{"name":5}"#).await.error(), internal);
    assert_eq!(make("application/json", "{").await.error(), internal);
    for _ in 0..5 {
        assert_eq!(make("application/json", "{}").await.status, 201);
    }
    let eleventh = make("application/json", "{}").await;
    assert_eq!(eleventh.error(), error(422, "VALIDATION_ERROR", "Maximum 10 active API keys allowed"));
}

#[tokio::test(flavor = "current_thread")]
async fn administrators_suspend_reactivate_and_revoke() {
    let bench = Bench::new();
    let (key, root) = (bench.key().key, bench.root_token());
    let act = async |action: &str, token: &str| {
        let path = format!("/api/admin/security/{action}/{}", bench.ann);
        bench.post(&path, token, json!({})).await.status
    };
    assert_eq!(act("suspend", &key).await, 403);
    assert_eq!(act("suspend", "junk").await, 401);
    assert_eq!(act("suspend", &root).await, 200);
    assert_eq!(bench.get("/api/bins", &key).await.status, 403);
    assert_eq!(act("reactivate", &root).await, 200);
    assert_eq!(bench.get("/api/bins", &key).await.status, 200);
    assert_eq!(act("revoke-all-api-keys", &root).await, 200);
    assert_eq!(bench.get("/api/bins", &key).await.status, 401);
    assert_eq!(bench.get("/api/admin/nothing", &root).await.status, 404);
}
