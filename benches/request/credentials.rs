//! What judging a credential costs, from its text to whom it belongs, and what limits cost: the part of every request
//! that the gateway adds. Beside each the least that it could be made of, in the same run.

use std::hint::black_box;
use std::net::IpAddr;
use std::time::{Instant, SystemTime};

use super::fixture::{SECRET, judge, key, limits, token, verifier};
use criterion::{BatchSize, Criterion};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use openbin_gateway::keys::KeyHash;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

pub fn keys(criterion: &mut Criterion) {
    let (verifier, limits, now) = (verifier(1000), limits(), SystemTime::now());
    let (address, at) = (IpAddr::from([192, 0, 2, 1]), Instant::now());
    let claimant = limits.claimant(address, at);
    let (known, hash) = (key(7), KeyHash::of(&key(7)));
    let mut group = criterion.benchmark_group("key");
    group.bench_function("verdict, cached", |b| {
        b.iter(|| judge(&verifier, black_box(&known), now, &claimant))
    });
    let bare = moka::sync::Cache::<[u8; 32], std::sync::Arc<u64>>::new(1000);
    (0..1000).for_each(|number| bare.insert(Sha256::digest(key(number)).into(), number.into()));
    group.bench_function("only SHA-256 and a look into a cache", |b| {
        b.iter(|| bare.get(&<[u8; 32]>::from(Sha256::digest(black_box(&known)))).expect("an entry"));
    });
    group.bench_function("limit of an address", |b| b.iter(|| limits.admit_address(address, at)));
    group.bench_function("limit of a key", |b| b.iter(|| limits.admit_key(&hash, None, at)));
    group.finish();
}

pub fn tokens(criterion: &mut Criterion) {
    let (verifier, limits, now) = (verifier(0), limits(), SystemTime::now());
    let claimant = limits.claimant(IpAddr::from([192, 0, 2, 1]), Instant::now());
    let mut group = criterion.benchmark_group("session token");
    let known = token(0);
    group.bench_function("remembered", |b| b.iter(|| judge(&verifier, black_box(&known), now, &claimant)));
    let mut number = 0;
    let mut next = || {
        number += 1;
        token(number)
    };
    group.bench_function("seen first", |b| {
        b.iter_batched(&mut next, |token| judge(&verifier, &token, now, &claimant), BatchSize::LargeInput);
    });
    let mut rules = Validation::new(Algorithm::HS256);
    rules.required_spec_claims.clear();
    let secret = DecodingKey::from_secret(SECRET.as_bytes());
    group.bench_function("only decoded by jsonwebtoken", |b| {
        b.iter(|| {
            jsonwebtoken::decode::<Map<String, Value>>(black_box(&known), &secret, &rules).expect("good")
        });
    });
    group.finish();
}
