//! Whether it matters how many keys are remembered: a known key's verdict among 1, 10,000 and 1,000,000, always the
//! same key, and all of them in turn. The latter meets the machine's own caches, which hold few of a million; beside
//! it a bare cache with as many entries, in the same run, which does so too.

use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::fixture::{judge, key, limits, verifier};
use criterion::{BenchmarkId, Criterion};
use openbin_gateway::keys::KeyHash;

const CROWDS: [u64; 3] = [1, 10_000, 1_000_000];
/// As many texts are made at a time, untimed.
const PORTION: u64 = 1024;

/// Times one look at each of so many keys, spread over all of them.
fn in_turn(count: u64, crowd: u64, look: impl Fn(&str)) -> Duration {
    let (mut spent, mut looked) = (Duration::ZERO, 0);
    while looked < count {
        let size = PORTION.min(count - looked);
        // A step that shares no divisor with the crowd visits everybody, and no neighbours.
        let texts: Vec<String> =
            (looked..looked + size).map(|n| key(n.wrapping_mul(618_033_989) % crowd)).collect();
        let began = Instant::now();
        texts.iter().for_each(|text| look(black_box(text)));
        spent += began.elapsed();
        looked += size;
    }
    spent
}

pub fn crowds(criterion: &mut Criterion) {
    let (limits, now) = (limits(), SystemTime::now());
    let claimant = limits.claimant(IpAddr::from([192, 0, 2, 1]), Instant::now());
    for crowd in CROWDS {
        let verifier = verifier(crowd);
        let one = key(crowd / 2);
        let mut group = criterion.benchmark_group("crowd");
        group.bench_function(BenchmarkId::new("the same key", crowd), |b| {
            b.iter(|| judge(&verifier, black_box(&one), now, &claimant));
        });
        group.bench_function(BenchmarkId::new("all keys in turn", crowd), |b| {
            b.iter_custom(|count| {
                in_turn(count, crowd, |text| {
                    black_box(judge(&verifier, text, now, &claimant));
                })
            });
        });
        drop(verifier);
        let bare = moka::sync::Cache::<KeyHash, Arc<[u8; 200]>>::new(2 * crowd.max(1000));
        (0..crowd).for_each(|number| bare.insert(KeyHash::of(&key(number)), Arc::new([0; 200])));
        group.bench_function(
            BenchmarkId::new("all in turn, only SHA-256 and a look into a cache", crowd),
            |b| {
                b.iter_custom(|count| {
                    in_turn(count, crowd, |text| {
                        black_box(bare.get(&KeyHash::of(text)).expect("an entry"));
                    })
                });
            },
        );
        group.finish();
    }
}
