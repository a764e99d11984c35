//! Which session tokens are good: HS256 only, no leeway, every claim of the type that it must have.

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::support::{EVERY_WAY, Gateway, Instance, Recorder, Request, Setup, jwt, wait};

async fn bench() -> (Recorder, Gateway) {
    let upstream = Recorder::start().await;
    let gateway = Setup::of(upstream.address()).with("limits: { bad_credentials: off }").start().await;
    (upstream, gateway)
}

async fn status(gateway: &Gateway, token: &str) -> u16 {
    gateway.send(&Request::get("/api/bins").bearer(token)).await.status
}

async fn assert_invalid(gateway: &Gateway, token: &str, what: &str) {
    for request in [Request::get("/api/bins").bearer(token), Request::get("/api/bins").session(token)] {
        let response = gateway.send(&request).await;
        assert_eq!(response.status, 401, "{what}: {}", response.text());
        response.assert_refused(401, "UNAUTHORIZED", "Invalid token");
        let challenge = response.field("www-authenticate").expect("a challenge");
        assert!(challenge.contains(r#"error="invalid_token""#), "{challenge}");
    }
}

fn with(name: &str, value: Value) -> String {
    let mut claims = jwt::claims(900);
    claims[name] = value;
    jwt::signed(&claims, jwt::SECRET)
}

#[tokio::test]
async fn an_expired_token_is_refused_without_leeway() {
    let (upstream, gateway) = bench().await;
    for age in [1, 2, 30, 59, 60, 86_400] {
        assert_invalid(&gateway, &jwt::signed(&jwt::claims(-age), jwt::SECRET), &format!("{age} s old"))
            .await;
    }
    assert_invalid(&gateway, &jwt::signed(&jwt::claims(0), jwt::SECRET), "expires now").await;
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn a_token_that_was_accepted_is_refused_once_it_expires() {
    let (_upstream, gateway) = bench().await;
    let token = jwt::signed(&jwt::claims(2), jwt::SECRET);
    assert_eq!(status(&gateway, &token).await, 200);
    let over = || async { (status(&gateway, &token).await == 401).then(jwt::now) };
    let refused_at = wait::until_answer("the token to expire", over).await;
    let claims = jwt::claims(0)["exp"].as_i64().expect("a number");
    assert!(refused_at <= claims + 1);
    assert_invalid(&gateway, &token, "after its time").await;
}

#[tokio::test]
async fn exp_must_be_there_and_be_a_number() {
    let (upstream, gateway) = bench().await;
    let missing = jwt::signed(&json!({ "id": jwt::USER, "email": jwt::EMAIL, "tv": 0 }), jwt::SECRET);
    assert_invalid(&gateway, &missing, "no exp").await;
    for exp in [
        json!("9999999999"),
        json!(null),
        json!([9_999_999_999_i64]),
        json!({}),
        json!(true),
        json!(-1),
        json!(""),
    ] {
        assert_invalid(&gateway, &with("exp", exp.clone()), &format!("exp {exp}")).await;
    }
    assert_eq!(upstream.count(), 0);
    #[allow(clippy::cast_precision_loss)]
    let float = json!(jwt::now() as f64 + 100.5);
    assert_eq!(status(&gateway, &with("exp", float)).await, 200, "OpenBin takes fractions");
}

#[tokio::test]
async fn nbf_is_checked_and_must_be_a_number() {
    let (upstream, gateway) = bench().await;
    for nbf in [json!("1"), json!([1]), json!({}), json!(true), json!(jwt::now() + 30), json!(9.0e15)] {
        assert_invalid(&gateway, &with("nbf", nbf.clone()), &format!("nbf {nbf}")).await;
    }
    assert_eq!(upstream.count(), 0);
    for nbf in [json!(jwt::now() - 30), json!(0), json!(-5)] {
        assert_eq!(status(&gateway, &with("nbf", nbf.clone())).await, 200, "nbf {nbf}");
    }
}

#[tokio::test]
async fn no_algorithm_but_hs256_is_accepted() {
    let (upstream, gateway) = bench().await;
    let claims = jwt::claims(900).to_string();
    for header in [r#"{"alg":"none"}"#, r#"{"alg":"None"}"#, r#"{"alg":"NONE"}"#, r#"{"alg":""}"#, "{}"] {
        assert_invalid(&gateway, &jwt::unsigned(header, &claims), header).await;
        let signed = jwt::token(header, &claims, jwt::SECRET, Algorithm::HS256);
        assert_invalid(&gateway, &signed, header).await;
    }
    for header in [r#"{"alg":"hs256"}"#, r#"{"alg":"RS256"}"#, r#"{"alg":"ES256"}"#, r#"{"alg":["HS256"]}"#] {
        let signed = jwt::token(header, &claims, jwt::SECRET, Algorithm::HS256);
        assert_invalid(&gateway, &signed, header).await;
    }
    for (name, algorithm) in [("HS384", Algorithm::HS384), ("HS512", Algorithm::HS512)] {
        let header = format!(r#"{{"alg":"{name}"}}"#);
        assert_invalid(&gateway, &jwt::token(&header, &claims, jwt::SECRET, algorithm), name).await;
        assert_invalid(&gateway, &jwt::token(r#"{"alg":"HS256"}"#, &claims, jwt::SECRET, algorithm), name)
            .await;
    }
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn a_critical_extension_is_refused() {
    let (_upstream, gateway) = bench().await;
    let claims = jwt::claims(900).to_string();
    for header in
        [r#"{"alg":"HS256","crit":["exp"],"exp":1}"#, r#"{"alg":"HS256","crit":["b64"],"b64":false}"#]
    {
        assert_invalid(&gateway, &jwt::token(header, &claims, jwt::SECRET, Algorithm::HS256), header).await;
    }
}

#[tokio::test]
async fn a_token_signed_with_another_secret_or_changed_after_signing_is_refused() {
    let (upstream, gateway) = bench().await;
    let claims = jwt::claims(900);
    assert_invalid(
        &gateway,
        &jwt::signed(&claims, "another secret of enough length, one may hope"),
        "secret",
    )
    .await;
    assert_invalid(&gateway, &jwt::signed(&claims, ""), "empty secret").await;
    let good = jwt::session();
    let mut parts = good.split('.');
    let (header, payload, signature) = (parts.next(), parts.next(), parts.next());
    let (header, payload, signature) = (header.expect("1"), payload.expect("2"), signature.expect("3"));
    let other = jwt::base64url(json!({ "id": "root", "exp": jwt::now() + 900 }).to_string().as_bytes());
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    for bad in [
        format!("{header}.{other}.{signature}"),
        format!("{header}.{payload}.{flipped}{}", &signature[1..]),
        format!("{header}.{payload}."),
        format!("{header}.{payload}"),
        format!("{header}.{payload}.{signature}.{signature}"),
        good[..good.len() - 4].to_owned(),
    ] {
        assert_invalid(&gateway, &bad, &bad).await;
    }
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn the_id_must_be_a_text_that_is_not_empty() {
    let (upstream, gateway) = bench().await;
    for id in [json!(7), json!(["u"]), json!({}), json!(true)] {
        assert_eq!(status(&gateway, &with("id", id.clone())).await, 401, "id {id}");
    }
    let missing = jwt::signed(&json!({ "email": jwt::EMAIL, "tv": 0, "exp": jwt::now() + 900 }), jwt::SECRET);
    for token in [missing, with("id", json!("")), with("id", json!(null))] {
        let response = gateway.send(&Request::get("/api/bins").bearer(&token)).await;
        response.assert_refused(401, "ACCOUNT_DELETED", "This account has been deleted");
    }
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn what_openbin_tolerates_in_a_token_is_tolerated() {
    let (upstream, gateway) = bench().await;
    assert_eq!(status(&gateway, &with("iat", json!(jwt::now() + 500))).await, 200);
    assert_eq!(status(&gateway, &with("extra", json!({ "a": [1] }))).await, 200);
    assert_eq!(status(&gateway, &with("tv", json!("abc"))).await, 200);
    let header = r#"{"typ":"JWT","alg":"HS256","kid":"../../etc/passwd"}"#;
    let claims = jwt::claims(900).to_string();
    assert_eq!(status(&gateway, &jwt::token(header, &claims, jwt::SECRET, Algorithm::HS256)).await, 200);
    let nameless = jwt::signed(&json!({ "id": jwt::USER, "exp": jwt::now() + 900 }), jwt::SECRET);
    assert_eq!(status(&gateway, &nameless).await, 200);
    assert_eq!(upstream.last().field("x-auth-user-id"), Some(jwt::USER));
    assert_eq!(upstream.last().field("x-auth-user-email"), None);
}

#[tokio::test]
async fn claims_cannot_smuggle_header_fields() {
    let (upstream, gateway) = bench().await;
    let mut claims = jwt::claims(900);
    claims["id"] = json!("u\r\nX-Auth-Method: api_key\r\nX-Evil: 1");
    claims["email"] = json!("jörg@example.com\u{0}\n");
    let token = jwt::signed(&claims, jwt::SECRET);
    for via in EVERY_WAY {
        upstream.clear();
        let response = Request::get("/api/bins").bearer(&token).send(&gateway, via).await;
        if response.status == 200 {
            let seen = upstream.last();
            assert_eq!(seen.all("x-auth-method"), ["jwt"]);
            assert_eq!(seen.field("x-evil"), None);
            assert!(seen.head.is_ascii());
        }
        assert_eq!(upstream.count(), usize::from(response.status == 200));
    }
}

#[tokio::test]
async fn while_secrets_rotate_tokens_of_both_are_good_and_of_others_not() {
    let upstream = Recorder::start().await;
    let (new, old) =
        ("new-secret-0123456789abcdef0123456789abcdef", "old-secret-0123456789abcdef0123456789abcdef");
    // Editors leave a line end behind; OpenBin trims it, and so must the gateway.
    let instance =
        Instance::at(upstream.address()).with_secrets(&[&format!("{new}\n"), &format!("  {old} \r\n")]);
    let gateway = Setup::of_instances(vec![instance]).start().await;
    let claims = jwt::claims(900);
    assert_eq!(status(&gateway, &jwt::signed(&claims, new)).await, 200);
    assert_eq!(status(&gateway, &jwt::signed(&claims, old)).await, 200);
    assert_eq!(status(&gateway, &jwt::signed(&claims, jwt::SECRET)).await, 401);
    assert_eq!(status(&gateway, &jwt::signed(&claims, &format!("{new}\n"))).await, 401);
    let expired = jwt::signed(&jwt::claims(-1), old);
    assert_eq!(status(&gateway, &expired).await, 401);
}

#[tokio::test]
async fn a_secret_of_hexadecimal_digits_is_used_as_text() {
    let upstream = Recorder::start().await;
    let secret = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    let instance = Instance::at(upstream.address()).with_secrets(&[secret]);
    let gateway = Setup::of_instances(vec![instance]).start().await;
    assert_eq!(status(&gateway, &jwt::signed(&jwt::claims(900), secret)).await, 200);
}
