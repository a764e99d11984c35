//! What the rest of a head costs: what its target means, and the stamp that tells the instance who it is from.

use std::hint::black_box;
use std::net::IpAddr;
use std::time::{Instant, SystemTime};

use super::fixture::{judge, key, limits, token, verifier};
use criterion::{BatchSize, Criterion};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request};
use openbin_gateway::gateway::bench::{is_open, stamped};

/// As a browser asks for a list.
const FIELDS: [(&str, &str); 12] = [
    ("host", "bins.example.com"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    ("accept", "application/json, text/plain, */*"),
    ("accept-language", "en-US,en;q=0.5"),
    ("accept-encoding", "gzip, deflate, br"),
    ("referer", "https://bins.example.com/bins"),
    ("cookie", "theme=dark; openbin-access=a.b.c; openbin-csrf=0123456789abcdef"),
    ("connection", "keep-alive"),
    ("sec-fetch-dest", "empty"),
    ("sec-fetch-mode", "cors"),
    ("sec-fetch-site", "same-origin"),
    ("if-none-match", "W/\"2a-abcdef\""),
];

const TARGETS: [(&str, Method, &str); 6] = [
    ("a page", Method::GET, "/assets/index-0a1b2c3d.js"),
    ("a list", Method::GET, "/api/bins"),
    ("one bin", Method::PUT, "/api/bins/5f0c6a52-9d0e-4b9e-8a51-0f4b7c1e2d3a"),
    ("a sign-in", Method::POST, "/api/auth/login"),
    ("a key's end", Method::DELETE, "/api/api-keys/5f0c6a52-9d0e-4b9e-8a51-0f4b7c1e2d3a"),
    ("a share", Method::GET, "/api/shared/00112233445566778899aabbccddeeff"),
];

pub fn classify(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("classify");
    for (name, method, path) in &TARGETS {
        group.bench_function(*name, |b| b.iter(|| is_open(black_box(method), black_box(path))));
    }
    group.finish();
}

pub fn stamp(criterion: &mut Criterion) {
    let (verifier, limits, now) = (verifier(10), limits(), SystemTime::now());
    let claimant = limits.claimant(IpAddr::from([192, 0, 2, 1]), Instant::now());
    let (of_session, of_key) =
        (judge(&verifier, &token(1), now, &claimant), judge(&verifier, &key(7), now, &claimant));
    let plain = HeaderMap::from_iter(
        FIELDS.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))),
    );
    let mut forging = plain.clone();
    for name in ["x-auth-user-id", "x-auth-method", "x-forwarded-for"] {
        forging.insert(HeaderName::from_static(name), HeaderValue::from_static("forged"));
    }
    let mut group = criterion.benchmark_group("stamp");
    for (name, fields, identity) in [
        ("nobody", &plain, None),
        ("a session", &plain, Some(&of_session)),
        ("a key", &plain, Some(&of_key)),
        ("a key, with three forged fields", &forging, Some(&of_key)),
    ] {
        let head = || {
            let mut request = Request::new(());
            *request.headers_mut() = fields.clone();
            request
        };
        group.bench_function(name, |b| {
            b.iter_batched(head, |request| stamped(request, identity), BatchSize::SmallInput)
        });
    }
    group.finish();
}
