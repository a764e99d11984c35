//! What a penalised source may still cost, over a store of its own: never a key that was used before.

use std::time::Instant;

use super::*;
use crate::auth::{LimitSettings, LimitState, Limits, Secret};
use crate::keys::lease::Lease;
use crate::keys::{self, Issuer, KeyRecord, StoreSettings};
use crate::observe::Metrics;

/// An instance's keys in a store of their own, and who judges them.
struct Bench {
    verifier: Verifier,
    limits: Limits,
    now: Instant,
    _folder: tempfile::TempDir,
}

impl Bench {
    /// With so long a memory for good keys. One bad credential a day is allowed.
    async fn new(remembers_for: Duration) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = StoreSettings::Embedded { path: folder.path().join("gateway.db") };
        let settings = keys::Settings {
            store: store.clone(),
            cache_entries: 100,
            cache_for: remembers_for,
            lease_for: Duration::from_secs(1),
            serve_stale_for: Duration::ZERO,
            copies: 0,
            site: keys::Site::of(&[]),
            usage_interval: Duration::from_secs(2),
        };
        let metrics = Arc::new(Metrics::new().expect("metrics"));
        let store = keys::open(&store).await.expect("a store");
        let keys =
            Keys::new("home".into(), &settings, Arc::new(Lease::perpetual()), store, Arc::clone(&metrics));
        let secrets = vec![Secret::new("s3cret").expect("a secret")];
        let bad_credentials = Some("1/1d".parse().expect("a rate"));
        let limits = LimitSettings { bad_credentials, ..Default::default() };
        Self {
            verifier: Verifier::new(&Settings { jwt_secrets: secrets }, Arc::new(keys)),
            limits: Limits::new(limits, Arc::new(LimitState::new(&metrics))),
            now: Instant::now(),
            _folder: folder,
        }
    }

    fn claimant(&self, address: &str) -> Claimant<'_> {
        self.limits.claimant(address.parse().expect("an address"), self.now)
    }

    /// A source that has been wrong too often.
    fn penalised(&self, address: &str) -> Claimant<'_> {
        let claimant = self.claimant(address);
        while claimant.blame(Denied::UnknownKey) == Denied::UnknownKey {}
        claimant
    }

    /// Judges a key that the instance says this of, and tells how often it was asked.
    async fn judge(
        &self,
        number: u32,
        claimant: &Claimant<'_>,
        said: Adoption,
    ) -> (Result<(), Denied>, usize) {
        let asked = Cell::new(0);
        let adopt = || {
            asked.set(asked.get() + 1);
            std::future::ready(Ok(said))
        };
        let key = key(number);
        let verdict = self.verifier.verify(Credential::of(key.as_bytes()), &attempt(), claimant, adopt).await;
        (verdict.map(drop), asked.get())
    }
}

fn attempt() -> Attempt<'static> {
    let address = std::net::Ipv4Addr::LOCALHOST.into();
    Attempt { at: SystemTime::now(), method: "GET", path: "/api/bins", address }
}

fn key(number: u32) -> String {
    format!("sk_openbin_{number:064x}")
}

fn good(number: u32) -> Adoption {
    let key = key(number);
    Adoption::Owned(KeyRecord {
        hash: KeyHash::of(&key),
        id: format!("k-{number}"),
        instance: "home".into(),
        user_id: "u-1".to_owned(),
        user_email: None,
        name: String::new(),
        prefix: key[..18].to_owned(),
        issuer: Issuer::Openbin,
        created_at: None,
        last_used_at: None,
        last_used_over: None,
        policy: crate::keys::Policy::default(),
        revoked: None,
    })
}

const WAIT: Denied = Denied::Throttled(Duration::from_secs(1));

#[tokio::test]
async fn a_key_that_was_used_before_is_never_rationed_however_old_its_entry() {
    for remembers_for in [Duration::from_secs(3600), Duration::ZERO] {
        let bench = Bench::new(remembers_for).await;
        let neighbour = bench.claimant("192.0.2.1");
        assert_eq!(bench.judge(1, &neighbour, good(1)).await, (Ok(()), 1));
        let neighbour = bench.penalised("192.0.2.1");
        for stranger in 100..120 {
            let _ = bench.judge(stranger, &neighbour, Adoption::Unknown).await;
        }
        assert_eq!(bench.judge(200, &neighbour, Adoption::Unknown).await, (Err(WAIT), 0), "spent");
        for _ in 0..100 {
            assert_eq!(bench.judge(1, &neighbour, Adoption::Unknown).await, (Ok(()), 0));
        }
    }
}

#[tokio::test]
async fn new_keys_of_a_penalised_source_are_looked_up_and_asked_for_within_its_rations() {
    let bench = Bench::new(Duration::from_secs(3600)).await;
    let penalised = bench.penalised("192.0.2.1");
    assert_eq!(bench.judge(1, &penalised, good(1)).await, (Ok(()), 1), "a good key is still adopted");
    for number in 2..6 {
        let (verdict, asked) = bench.judge(number, &penalised, good(number)).await;
        assert_eq!((verdict, asked), (Err(WAIT), 0), "looked up, but not asked for");
    }
    assert_eq!(bench.judge(6, &penalised, good(6)).await, (Err(WAIT), 0), "not even looked up");
    let elsewhere = bench.claimant("192.0.2.2");
    assert_eq!(bench.judge(6, &elsewhere, good(6)).await, (Ok(()), 1), "other sources notice nothing");
    assert_eq!(bench.judge(6, &penalised, good(6)).await, (Ok(()), 0), "and now it is known");
}

#[tokio::test]
async fn a_bad_key_that_is_remembered_costs_no_ration() {
    let bench = Bench::new(Duration::from_secs(3600)).await;
    let penalised = bench.penalised("192.0.2.1");
    for number in [1; 50] {
        let (verdict, _) = bench.judge(number, &penalised, Adoption::Unknown).await;
        assert_eq!(verdict, Err(Denied::UnknownKey));
    }
    assert_eq!(penalised.look_up(), Ok(()), "there is some left");
}

#[tokio::test]
async fn whoever_waits_for_the_same_key_gets_no_refusal_that_was_meant_for_another() {
    let bench = Bench::new(Duration::from_secs(3600)).await;
    let penalised = bench.penalised("192.0.2.1");
    while penalised.adopt().is_ok() {}
    let elsewhere = bench.claimant("192.0.2.2");
    let (refused, accepted) =
        tokio::join!(bench.judge(1, &penalised, good(1)), bench.judge(1, &elsewhere, good(1)));
    assert_eq!(refused, (Err(WAIT), 0));
    assert_eq!(accepted, (Ok(()), 1));
}

#[tokio::test]
async fn a_route_that_needs_no_credential_is_no_way_to_the_store() {
    let bench = Bench::new(Duration::from_secs(3600)).await;
    let claimant = bench.claimant("192.0.2.1");
    let (known, attempt) = (key(1), attempt());
    assert_eq!(bench.judge(1, &claimant, good(1)).await, (Ok(()), 1));
    let mut tried = Vec::new();
    for number in 100..110 {
        let key = key(number);
        let verdict = bench.verifier.verify_known(Credential::of(key.as_bytes()), &attempt, &claimant).await;
        tried.push(verdict.map(drop));
    }
    assert_eq!(tried[..5], [Err(Denied::UnknownKey); 5]);
    assert_eq!(tried[5..], [Err(WAIT); 5]);
    let verdict = bench.verifier.verify_known(Credential::of(known.as_bytes()), &attempt, &claimant).await;
    assert!(verdict.is_ok(), "a key that was used before is told as ever");
    assert_eq!(claimant.look_up(), Ok(()), "routes that need one have rations of their own");
}
