//! A credential that is remembered is judged without asking for memory. Only the cache behind the keys at hand does, when
//! it tidies up after some thousands of uses. The numbers may only go down.
#![allow(missing_docs, unsafe_code)]

#[path = "support/jwt.rs"]
#[allow(dead_code)]
mod jwt;
#[path = "support/known_key.rs"]
mod known_key;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use futures_util::FutureExt as _;
use openbin_gateway::auth::{
    self, Claimant, Credential, Denied, Identity, LimitSettings, LimitState, Limits, Secret, Verifier,
};
use openbin_gateway::keys::{Adoption, Attempt, KeyHash, Keys};
use openbin_gateway::observe::Metrics;

use known_key::KEY;

const JUDGED: u64 = 10_000;
/// Of [`JUDGED`] verdicts, those during which the cache tidies up.
const MOST_THAT_TIDY: u64 = JUDGED / 1_000;
/// What it asks for then, in all of them.
const MOST_ALLOCATIONS: u64 = JUDGED / 100;

/// Counts what each thread asks for.
struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: everything is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The keys of an embedded store that knows [`KEY`], which is remembered.
fn keys(folder: &std::path::Path, runtime: &tokio::runtime::Runtime) -> Arc<Keys> {
    let keys = known_key::keys(&folder.join("gateway.db"), runtime);
    runtime.block_on(keys.known(&KeyHash::of(KEY))).expect("loaded");
    keys
}

fn judge(verifier: &Verifier, text: &str, now: SystemTime, claimant: &Claimant<'_>) -> Identity {
    let attempt =
        Attempt { at: now, method: "GET", path: "/api/bins", address: IpAddr::from([127, 0, 0, 1]) };
    let adopt = || async { Ok::<_, Denied>(Adoption::Unknown) };
    let verdict = verifier.verify(Credential::of(text.as_bytes()), &attempt, claimant, adopt).now_or_never();
    verdict.expect("an answer without waiting").expect("a good credential")
}

#[test]
fn a_remembered_credential_is_judged_without_asking_for_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = known_key::runtime();
    let secrets = vec![Secret::new(jwt::SECRET).expect("a secret")];
    let verifier = Verifier::new(&auth::Settings { jwt_secrets: secrets }, keys(folder.path(), &runtime));
    let limits =
        Limits::new(LimitSettings::default(), Arc::new(LimitState::new(&Metrics::new().expect("metrics"))));
    let claimant = limits.claimant(IpAddr::from([192, 0, 2, 1]), Instant::now());
    let (session, now) = (jwt::session(), SystemTime::now());
    for (name, text) in [("a key", KEY), ("a session", session.as_str())] {
        (0..JUDGED).for_each(|_| drop(judge(&verifier, text, now, &claimant)));
        let asked: Vec<u64> = (0..JUDGED)
            .map(|_| {
                let before = COUNT.get();
                drop(black_box(judge(&verifier, black_box(text), now, &claimant)));
                COUNT.get() - before
            })
            .filter(|asked| *asked > 0)
            .collect();
        let all: u64 = asked.iter().sum();
        println!("{name}: {} of {JUDGED} verdicts asked for memory, {all} times", asked.len());
        assert!(asked.len() as u64 <= MOST_THAT_TIDY, "{name}: {}", asked.len());
        assert!(all <= MOST_ALLOCATIONS, "{name}: {all}");
    }
}
