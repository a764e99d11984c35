//! What is under way ends with its credential: at once, visibly unfinished, and heard at the instance.

use std::time::{Instant, SystemTime};

use serde_json::{Value, json};

use super::adoption::create;
use crate::support::long::{EVERY_KIND, Kind, Long, SOON, Streams, UnderWay};
use crate::support::{EVERY_WAY, Gateway, Instance, Request, Setup, Store, Via, Wire, jwt, wait};

/// A token unlike any other of the same user.
fn session_of(user: &str, number: i64) -> String {
    let mut claims = jwt::claims(900 + number);
    claims["id"] = json!(user);
    jwt::signed(&claims, jwt::SECRET)
}

/// Everything that can be under way, on every way into the gateway.
async fn begin_all(at: (&Gateway, &Long, &Streams), name: &str, bearer: &str) -> Vec<UnderWay> {
    let mut begun = Vec::new();
    for kind in EVERY_KIND {
        for via in EVERY_WAY {
            begun.push(UnderWay::begin(at, (kind, via), name, bearer).await);
        }
    }
    at.1.stalled().await;
    begun
}

/// Event streams that are to live on.
async fn begin_others(at: (&Gateway, &Long, &Streams), bearers: &[&str]) -> Vec<UnderWay> {
    let mut begun = Vec::new();
    for (number, bearer) in bearers.iter().enumerate() {
        for via in EVERY_WAY {
            let name = format!("other-{number}-{}", begun.len());
            begun.push(UnderWay::begin(at, (Kind::Events, via), &name, bearer).await);
        }
    }
    begun
}

async fn assert_live_on(long: &Long, others: &mut [UnderWay]) {
    for _ in 0..3 {
        long.tick();
        for other in &mut *others {
            other.event().await;
        }
    }
    assert!(others.iter().all(|other| !long.is_aborted(&other.target)));
}

/// All of it has ended: the instance has heard of it before anyone reads on, and the clients are told what can
/// still be told.
async fn assert_cut(long: &Long, since: Instant, begun: Vec<UnderWay>, refusal: (u16, &str, &str)) {
    for one in &begun {
        long.aborted(&one.target).await;
    }
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    for one in begun {
        let (kind, via) = (one.kind, one.via);
        let answer = one.ends().await;
        match kind {
            Kind::Thinking | Kind::Upload => {
                let (status, code, message) = refusal;
                answer.unwrap_or_else(|| panic!("{kind:?} {via:?}")).assert_refused(status, code, message);
            }
            Kind::Events | Kind::Download => assert!(answer.is_none(), "{kind:?} {via:?}"),
        }
    }
}

/// What was counted and written down of so many exchanges that were cut.
async fn assert_noted(gateway: &Gateway, reason: &str, count: usize) {
    let metrics = gateway.metrics().await;
    let counted = metrics.sum("exchanges_cut_total", &[("reason", reason)]);
    assert!((counted - count as f64).abs() < 0.5, "{counted} exchanges cut by their {reason}");
    wait::until("the lines of what was cut", || {
        let lines = gateway.access_lines();
        lines.iter().filter(|line| line["cut"] == reason).count() == count
    })
    .await;
    for line in gateway.access_lines().iter().filter(|line| line["cut"] == reason) {
        assert_eq!(line["complete"], line["status"] != 200, "{line}");
    }
}

const INVALID_KEY: (u16, &str, &str) = (401, "UNAUTHORIZED", "Invalid API key");

#[tokio::test]
async fn a_key_revoked_through_the_gateway_takes_all_with_it_that_it_has_under_way() {
    for store in Store::each() {
        let long = Long::start().await;
        let gateway = store.of(Setup::of(long.address())).start().await;
        let streams = Streams::connect(&gateway).await;
        let at = (&gateway, &long, &streams);
        let ((id, key), (_, other)) = (create(&gateway).await, create(&gateway).await);
        let mut others = begin_others(at, &[&other, &jwt::session()]).await;
        let begun = begin_all(at, "key", &key).await;
        let count = begun.len();
        let start = Instant::now();
        let request = Request::delete(&format!("/api/api-keys/{id}")).bearer(&jwt::session());
        assert_eq!(gateway.send(&request).await.status, 200);
        assert_cut(&long, start, begun, INVALID_KEY).await;
        assert_live_on(&long, &mut others).await;
        assert_noted(&gateway, "key", count).await;
    }
}

#[tokio::test]
async fn a_key_that_operators_revoke_or_disable_or_whose_time_is_over_takes_all_with_it() {
    let long = Long::start().await;
    let gateway = Gateway::in_front_of(long.address()).await;
    let streams = Streams::connect(&gateway).await;
    let at = (&gateway, &long, &streams);
    let (_, other) = create(&gateway).await;
    let mut others = begin_others(at, &[&other]).await;
    let mut count = 0;
    for (name, method, call, change, refusal) in [
        ("revoked", "POST", "/revoke", json!({ "reason": "lost" }), INVALID_KEY),
        ("disabled", "PATCH", "", json!({ "disabled": true }), (403, "FORBIDDEN", "API key is disabled")),
        (
            "over",
            "PATCH",
            "",
            json!({ "expires_at": "2020-01-01T00:00:00Z" }),
            (401, "UNAUTHORIZED", "API key has expired"),
        ),
    ] {
        let (id, key) = create(&gateway).await;
        let begun = begin_all(at, name, &key).await;
        count += begun.len();
        let start = Instant::now();
        let changed = gateway.call(method, &format!("/keys/home/{id}{call}"), &change).await;
        assert_eq!(changed.status, 200, "{}", changed.text());
        assert_cut(&long, start, begun, refusal).await;
        assert_live_on(&long, &mut others).await;
        assert_noted(&gateway, "key", count).await;
    }
}

#[tokio::test]
async fn a_key_whose_time_comes_takes_with_it_what_is_under_way() {
    let long = Long::start().await;
    let gateway = Gateway::in_front_of(long.address()).await;
    let streams = Streams::connect(&gateway).await;
    let at = (&gateway, &long, &streams);
    let (_, other) = create(&gateway).await;
    let mut others = begin_others(at, &[&other]).await;
    for via in EVERY_WAY {
        let (id, key) = create(&gateway).await;
        let end = humantime::format_rfc3339_millis(SystemTime::now() + SOON).to_string();
        let change = json!({ "expires_at": end });
        let changed = gateway.call("PATCH", &format!("/keys/home/{id}"), &change).await;
        assert_eq!(changed.status, 200, "{}", changed.text());
        let begun = UnderWay::begin(at, (Kind::Events, via), &id, &key).await;
        assert!(begun.ends().await.is_none());
        let refused = Request::get("/api/bins").bearer(&key).send(&gateway, via).await;
        refused.assert_refused(401, "UNAUTHORIZED", "API key has expired");
    }
    assert_live_on(&long, &mut others).await;
}

#[tokio::test]
async fn other_changes_of_a_policy_leave_alone_what_is_under_way() {
    let long = Long::start().await;
    let gateway = Gateway::in_front_of(long.address()).await;
    let streams = Streams::connect(&gateway).await;
    let (id, key) = create(&gateway).await;
    let mut begun = begin_others((&gateway, &long, &streams), &[&key]).await;
    let change = json!({ "read_only": true, "paths": ["/api/items"], "rate": "1/1m" });
    let changed = gateway.call("PATCH", &format!("/keys/home/{id}"), &change).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert_eq!(gateway.send(&Request::get("/api/bins").bearer(&key)).await.status, 403);
    assert_live_on(&long, &mut begun).await;
}

#[tokio::test]
async fn a_blocked_user_loses_all_that_is_under_way_with_keys_and_sessions() {
    for store in Store::each() {
        let long = Long::start().await;
        let gateway = store.of(Setup::of(long.address())).start().await;
        let streams = Streams::connect(&gateway).await;
        let at = (&gateway, &long, &streams);
        let (_, key) = create(&gateway).await;
        let mut others = begin_others(at, &[&session_of("somebody-else", 0)]).await;
        let mut begun = begin_all(at, "key", &key).await;
        begun.extend(begin_all(at, "session", &session_of(jwt::USER, 1)).await);
        let count = begun.len();
        let start = Instant::now();
        let blocked = gateway.call("POST", &format!("/users/home/{}/block", jwt::USER), &json!({})).await;
        assert_eq!(blocked.status, 200, "{}", blocked.text());
        let refusal = (403, "ACCOUNT_SUSPENDED", "This account has been suspended");
        assert_cut(&long, start, begun, refusal).await;
        assert_live_on(&long, &mut others).await;
        assert_noted(&gateway, "user", count).await;
    }
}

#[tokio::test]
async fn a_session_that_ends_takes_all_with_it_but_the_answer_to_who_signs_out() {
    let long = Long::start().await;
    let gateway = Gateway::in_front_of(long.address()).await;
    let streams = Streams::connect(&gateway).await;
    let at = (&gateway, &long, &streams);
    let (_, key) = create(&gateway).await;
    let mut others = begin_others(at, &[&session_of(jwt::USER, 1), &key]).await;
    let revoked = (401, "SESSION_REVOKED", "Session has been revoked. Please log in again.");
    let mut count = 0;
    for (number, name) in [(2, "signed-out"), (3, "ended")] {
        let session = session_of(jwt::USER, number);
        let begun = begin_all(at, name, &session).await;
        count += begun.len();
        let start = Instant::now();
        if number == 2 {
            let request = Request::post("/api/auth/logout", "{}").bearer(&session);
            let response = request.send(&gateway, Via::H2).await;
            assert_eq!((response.status, response.whole), (200, true));
        } else {
            let ended = gateway.call("POST", "/sessions/home/end", &json!({ "token": session })).await;
            assert_eq!(ended.status, 200, "{}", ended.text());
        }
        assert_cut(&long, start, begun, revoked).await;
        assert_live_on(&long, &mut others).await;
        assert_noted(&gateway, "session", count).await;
    }
}

#[tokio::test]
async fn a_key_that_revokes_itself_hears_that_it_is_done_and_loses_the_rest() {
    for issuer in ["openbin", "gateway"] {
        let long = Long::start().await;
        let instance = Instance::at(long.address()).with(&format!("key_issuer: {issuer}"));
        let gateway = Setup::of_instances(vec![instance]).start().await;
        let streams = Streams::connect(&gateway).await;
        for via in EVERY_WAY {
            let (id, key) = create(&gateway).await;
            let begun = UnderWay::begin((&gateway, &long, &streams), (Kind::Events, via), &id, &key).await;
            let start = Instant::now();
            let request = Request::delete(&format!("/api/api-keys/{id}")).bearer(&key);
            let response = request.send(&gateway, via).await;
            assert_eq!(
                (response.status, response.whole),
                (200, true),
                "{issuer} {via:?} {}",
                response.text()
            );
            assert_cut(&long, start, vec![begun], INVALID_KEY).await;
        }
    }
}

#[tokio::test]
async fn what_would_change_keys_is_stopped_while_it_is_still_being_uploaded() {
    let long = Long::start().await;
    let gateway = Gateway::in_front_of(long.address()).await;
    let streams = Streams::connect(&gateway).await;
    for (number, via) in (10..).zip(EVERY_WAY) {
        let (session, target) = (session_of(jwt::USER, number), format!("/api/api-keys?slow-{via:?}"));
        let (at, upload) = ((&gateway, &long, &streams), (Kind::Upload, via));
        let begun = UnderWay::begin_at(at, upload, ("POST", &target), &session).await;
        let ended = gateway.call("POST", "/sessions/home/end", &json!({ "token": session })).await;
        assert_eq!(ended.status, 200, "{}", ended.text());
        long.aborted(&target).await;
        let answer = begun.ends().await.expect("an answer");
        assert_eq!(answer.json()["error"], "SESSION_REVOKED", "{via:?}");
    }
}

#[tokio::test]
async fn the_gateway_itself_makes_no_key_for_a_session_that_ended_while_it_read_the_request() {
    let long = Long::start().await;
    let instance = Instance::at(long.address()).with("key_issuer: gateway");
    let gateway = Setup::of_instances(vec![instance]).start().await;
    let session = session_of(jwt::USER, 1);
    let mut wire = Wire::tls(gateway.https, "localhost").await;
    let content = b"{\"name\":\"late\"}";
    let request = Request::new("POST", "/api/api-keys").bearer(&session).fields(&[
        ("Content-Type", "application/json"),
        ("Content-Length", &content.len().to_string()),
        ("Expect", "100-continue"),
    ]);
    wire.send(request.bytes()).await;
    // The content is asked for once the session has been found good.
    assert_eq!(wire.head().await.expect("a head").status, 100);
    let ended = gateway.call("POST", "/sessions/home/end", &json!({ "token": session })).await;
    assert_eq!(ended.status, 200, "{}", ended.text());
    assert_eq!(wire.response().await.json()["error"], "SESSION_REVOKED");
    let _ = wire.try_send(content).await;
    let listed = gateway.call("GET", "/keys?instance=home", &Value::Null).await;
    assert_eq!(listed.json()["keys"], json!([]), "{}", listed.text());
}

#[tokio::test]
async fn what_is_under_way_is_cut_while_the_gateway_waits_for_its_end() {
    let long = Long::start().await;
    let gateway = Gateway::in_front_of(long.address()).await;
    let streams = Streams::connect(&gateway).await;
    let (id, key) = create(&gateway).await;
    let begun = begin_all((&gateway, &long, &streams), "key", &key).await;
    gateway.process.signal("TERM");
    let closed = || async { tokio::net::TcpStream::connect(gateway.http).await.is_err().then_some(()) };
    wait::until_answer("the listener to close", closed).await;
    let start = Instant::now();
    let revoked = gateway.call("POST", &format!("/keys/home/{id}/revoke"), &json!({})).await;
    assert_eq!(revoked.status, 200, "{}", revoked.text());
    assert_cut(&long, start, begun, INVALID_KEY).await;
    assert_eq!(gateway.process.exit().await.code(), Some(0));
    assert!(start.elapsed() < 4 * SOON, "nothing is left to wait for: {:?}", start.elapsed());
}

#[tokio::test]
async fn pages_that_need_no_credential_are_left_alone() {
    let long = Long::start().await;
    let gateway = Gateway::in_front_of(long.address()).await;
    let session = session_of(jwt::USER, 1);
    let mut wire = Wire::plain(gateway.http).await;
    let target = "/api/shared/0123456789abcdef0123456789abcdef";
    wire.send(Request::get(target).bearer(&session).bytes()).await;
    assert_eq!(wire.response().await.status, 200);
    let mut page = Wire::plain(gateway.http).await;
    page.send(Request::get("/anything").bearer(&session).bytes()).await;
    assert_eq!(page.response().await.status, 200);
    let ended = gateway.call("POST", "/sessions/home/end", &json!({ "token": session })).await;
    assert_eq!(ended.status, 200);
    assert_eq!(Request::get("/anything").bearer(&session).on(&mut page).await.status, 200);
    assert_eq!(gateway.metrics().await.sum("exchanges_cut_total", &[]), 0.0);
}

#[tokio::test]
async fn what_is_under_way_goes_on_where_the_operator_wants_that() {
    let long = Long::start().await;
    let gateway = Setup::of(long.address()).with("limits: { cut_live_exchanges: false }").start().await;
    let streams = Streams::connect(&gateway).await;
    let at = (&gateway, &long, &streams);
    let (id, key) = create(&gateway).await;
    let session = session_of(jwt::USER, 1);
    let mut begun = begin_others(at, &[&key, &session]).await;
    let revoked = gateway.call("POST", &format!("/keys/home/{id}/revoke"), &json!({})).await;
    assert_eq!(revoked.status, 200);
    let ended = gateway.call("POST", "/sessions/home/end", &json!({ "token": session })).await;
    assert_eq!(ended.status, 200);
    let blocked = gateway.call("POST", &format!("/users/home/{}/block", jwt::USER), &Value::Null).await;
    assert_eq!(blocked.status, 200, "{}", blocked.text());
    assert_eq!(gateway.send(&Request::get("/api/bins").bearer(&key)).await.status, 401);
    assert_live_on(&long, &mut begun).await;
    assert_eq!(gateway.metrics().await.sum("exchanges_cut_total", &[]), 0.0);
}
