//! What judging a credential costs when it is known already, and what limits cost: the part of every request
//! that the gateway adds.
//!
//! Run with `make bench`. Times are of this machine; compare them only within one run.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::FutureExt;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use openbin_gateway::auth::{
    self, Claimant, Credential, Denied, LimitSettings, LimitState, Limits, Secret, Verifier,
};
use openbin_gateway::keys::audit::{Action, Actor};
use openbin_gateway::keys::lease::Lease;
use openbin_gateway::keys::{
    self, Adoption, Attempt, Issuer, KeyHash, KeyRecord, Keys, News, Policy, StoreSettings,
};
use openbin_gateway::observe::Metrics;

const SECRET: &str = "a secret that signs session tokens";

fn key(number: u64) -> String {
    format!("sk_openbin_{number:064x}")
}

fn record(key: &str, number: u64) -> KeyRecord {
    KeyRecord {
        hash: KeyHash::of(key),
        id: format!("00000000-0000-4000-8000-{number:012x}"),
        instance: "bench".into(),
        user_id: "11111111-1111-4111-8111-111111111111".to_owned(),
        user_email: Some("ann@example.com".to_owned()),
        name: "bench".to_owned(),
        prefix: key[..18].to_owned(),
        issuer: Issuer::Openbin,
        created_at: None,
        last_used_at: None,
        last_used_over: None,
        policy: Policy::default(),
        revoked: None,
    }
}

fn verifier(folder: &std::path::Path, runtime: &tokio::runtime::Runtime) -> Verifier {
    let store = StoreSettings::Embedded { path: folder.join("gateway.db") };
    let settings = keys::Settings {
        store: store.clone(),
        cache_entries: 100_000,
        cache_for: Duration::from_secs(3600),
        lease_for: Duration::from_secs(1),
        serve_stale_for: Duration::ZERO,
        copies: 0,
        site: keys::Site::of(&[]),
        usage_interval: Duration::from_secs(2),
    };
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    let store = runtime.block_on(keys::open(&store)).expect("a store");
    let keys = Arc::new(Keys::new("bench".into(), &settings, Arc::new(Lease::perpetual()), store, metrics));
    for number in 0..1000 {
        let text = key(number);
        let (record, actor) = (record(&text, number), Actor::gateway());
        let news = News { record, most: None, action: Action::KeyLearned, actor: &actor };
        runtime.block_on(keys.learn(news)).expect("learned");
        runtime.block_on(keys.known(&KeyHash::of(&text))).expect("loaded");
    }
    let secrets = vec![Secret::new(SECRET).expect("a secret")];
    Verifier::new(&auth::Settings { jwt_secrets: secrets }, keys)
}

fn limits() -> Limits {
    let rate = Some("1000000000/1s".parse().expect("a rate"));
    let settings = LimitSettings { per_key: rate, per_address: rate, bad_credentials: rate, shared: false };
    Limits::new(settings, Arc::new(LimitState::new(&Metrics::new().expect("metrics"))))
}

fn judge(verifier: &Verifier, text: &str, now: SystemTime, claimant: &Claimant<'_>) {
    let address = std::net::Ipv4Addr::LOCALHOST.into();
    let attempt = Attempt { at: now, method: "GET", path: "/api/bins", address };
    let adopt = || async { Ok::<_, Denied>(Adoption::Unknown) };
    let verdict = verifier.verify(Credential::of(text.as_bytes()), &attempt, claimant, adopt).now_or_never();
    verdict.expect("an answer without waiting").expect("a good credential");
}

fn credentials(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let verifier = verifier(folder.path(), &runtime);
    let now = SystemTime::now();
    let exp = now.duration_since(UNIX_EPOCH).expect("a clock").as_secs() + 900;
    let claims = serde_json::json!({"id": "11111111-1111-4111-8111-111111111111", "email": "ann@example.com", "tv": 0, "exp": exp});
    let signing = EncodingKey::from_secret(SECRET.as_bytes());
    let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &signing).expect("a token");
    let known = key(7);

    let limits = limits();
    let (address, at) = (IpAddr::from([192, 0, 2, 1]), Instant::now());
    let claimant = limits.claimant(address, at);
    let hash = KeyHash::of(&known);

    criterion.bench_function("API key, cached", |b| b.iter(|| judge(&verifier, &known, now, &claimant)));
    criterion.bench_function("session token, remembered", |b| {
        b.iter(|| judge(&verifier, &token, now, &claimant));
    });
    criterion.bench_function("limit of an address", |b| b.iter(|| limits.admit_address(address, at)));
    criterion.bench_function("limit of a key", |b| b.iter(|| limits.admit_key(&hash, None, at)));
}

criterion_group!(benches, credentials);
criterion_main!(benches);
