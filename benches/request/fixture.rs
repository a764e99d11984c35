//! What the benchmarks judge with: a verifier whose cache holds so many keys, tokens, and nobody who limits.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::FutureExt as _;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use openbin_gateway::auth::{
    self, Claimant, Credential, Denied, Identity, LimitSettings, LimitState, Limits, Secret, Verifier,
};
use openbin_gateway::keys::block::Subject;
use openbin_gateway::keys::lease::Lease;
use openbin_gateway::keys::{
    self, Admission, Adoption, Answer, Attempt, Ending, Issuer, KeyHash, KeyRecord, KeyStore, Keys, Learned,
    Policy, Revoked, StoreSettings, Use,
};
use openbin_gateway::observe::Metrics;

pub const SECRET: &str = "a secret that signs session tokens";

/// The text of a key.
pub fn key(number: u64) -> String {
    format!("sk_openbin_{number:064x}")
}

/// A session token of an hour, unlike any of another number.
pub fn token(number: u64) -> String {
    let exp = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs() + 3600;
    let id = format!("11111111-1111-4111-8111-{number:012x}");
    let claims =
        serde_json::json!({"id": id, "email": "ann@example.com", "tv": 0, "iat": exp - 3600, "exp": exp});
    let signing = EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &signing).expect("a token")
}

/// A store that knows every key, so that a cache of a million can be filled within seconds: what is timed never
/// gets here.
struct Everybody;

impl KeyStore for Everybody {
    fn find<'a>(&'a self, instance: &'a str, hash: &'a KeyHash) -> Answer<'a, Option<KeyRecord>> {
        let record = KeyRecord {
            hash: *hash,
            id: "00000000-0000-4000-8000-000000000000".to_owned(),
            instance: instance.into(),
            user_id: "11111111-1111-4111-8111-111111111111".to_owned(),
            user_email: Some("ann@example.com".to_owned()),
            name: "bench".to_owned(),
            prefix: "sk_openbin_0000000".to_owned(),
            issuer: Issuer::Openbin,
            created_at: None,
            last_used_at: None,
            last_used_over: None,
            policy: Policy::default(),
            revoked: None,
        };
        Box::pin(std::future::ready(Ok(Some(record))))
    }

    fn learn<'a>(&'a self, _: &'a KeyRecord, _: Admission<'a>) -> Answer<'a, Learned> {
        never()
    }

    fn revoke<'a>(&'a self, _: Ending<'a>) -> Answer<'a, Revoked> {
        never()
    }

    fn is_blocked<'a>(&'a self, _: &'a str, _: &'a Subject) -> Answer<'a, bool> {
        never()
    }

    fn note_used<'a>(&'a self, _: &'a str, _: &'a [Use]) -> Answer<'a, ()> {
        never()
    }

    fn ping(&self) -> Answer<'_, ()> {
        never()
    }

    fn probe(&self) -> Answer<'_, ()> {
        never()
    }
}

fn never<T>() -> Answer<'static, T> {
    unreachable!("no benchmark asks for that")
}

/// A verifier that remembers keys 0 to `count`.
pub fn verifier(count: u64) -> Verifier {
    let settings = keys::Settings {
        store: StoreSettings::Embedded { path: "unused".into() },
        cache_entries: 2 * count.max(1000),
        cache_for: Duration::from_secs(3600),
        lease_for: Duration::from_secs(1),
        serve_stale_for: Duration::ZERO,
        copies: 0,
        site: keys::Site::of(&[]),
        usage_interval: Duration::from_secs(2),
    };
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    let lease = Arc::new(Lease::perpetual());
    let keys = Arc::new(Keys::new("bench".into(), &settings, lease, Arc::new(Everybody), metrics));
    for number in 0..count {
        let loaded = keys.known(&KeyHash::of(&key(number))).now_or_never().expect("loaded without waiting");
        loaded.expect("a known key");
    }
    let secrets = vec![Secret::new(SECRET).expect("a secret")];
    Verifier::new(&auth::Settings { jwt_secrets: secrets }, keys)
}

/// Limits that count and are never reached.
pub fn limits() -> Limits {
    let rate = Some("1000000000/1s".parse().expect("a rate"));
    let settings = LimitSettings { per_key: rate, per_address: rate, bad_credentials: rate, shared: false };
    Limits::new(settings, Arc::new(LimitState::new(&Metrics::new().expect("metrics"))))
}

/// From the credential's text to whom it belongs.
pub fn judge(verifier: &Verifier, text: &str, now: SystemTime, claimant: &Claimant<'_>) -> Identity {
    let attempt = Attempt { at: now, method: "GET", path: "/api/bins", address: Ipv4Addr::LOCALHOST.into() };
    let adopt = || async { Ok::<_, Denied>(Adoption::Unknown) };
    let verdict = verifier.verify(Credential::of(text.as_bytes()), &attempt, claimant, adopt).now_or_never();
    verdict.expect("an answer without waiting").expect("a good credential")
}
