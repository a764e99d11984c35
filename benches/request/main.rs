//! What the gateway adds to a request, piece by piece: credentials, heads, and whether the number of keys matters.
//!
//! Run with `make bench`, or a part of it: `cargo bench --bench request -- key`. Times are of this machine; compare
//! them only within one run.

mod credentials;
mod crowd;
mod fixture;
mod heads;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

/// The program's own allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn bounded() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(50)
}

criterion_group! {
    name = benches;
    config = bounded();
    targets = credentials::keys, credentials::tokens, heads::classify, heads::stamp, crowd::crowds
}
criterion_main!(benches);
