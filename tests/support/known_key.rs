//! An embedded store with one API key in it, made without a gateway.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use openbin_gateway::keys::audit::{Action, Actor};
use openbin_gateway::keys::lease::Lease;
use openbin_gateway::keys::{self, Issuer, KeyHash, KeyRecord, Keys, News, Policy, StoreSettings};
use openbin_gateway::observe::Metrics;
use tokio::runtime::Runtime;

use crate::jwt;

/// The key.
pub const KEY: &str = "sk_openbin_000000000000000000000000000000000000000000000000000000000000000a";

/// The keys of a new store in this file, which knows [`KEY`].
pub fn keys(file: &Path, runtime: &Runtime) -> Arc<Keys> {
    let settings = keys::Settings {
        store: StoreSettings::Embedded { path: file.to_owned() },
        cache_entries: 1000,
        cache_for: Duration::from_secs(600),
        lease_for: Duration::from_secs(1),
        serve_stale_for: Duration::ZERO,
        copies: 0,
        site: keys::Site::of(&[]),
        usage_interval: Duration::from_secs(2),
    };
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    let store = runtime.block_on(keys::open(&settings.store)).expect("a store");
    let keys = Arc::new(Keys::new("home".into(), &settings, Arc::new(Lease::perpetual()), store, metrics));
    let record = KeyRecord {
        hash: KeyHash::of(KEY),
        id: "00000000-0000-4000-8000-000000000001".to_owned(),
        instance: "home".into(),
        user_id: jwt::USER.to_owned(),
        user_email: Some(jwt::EMAIL.to_owned()),
        name: String::new(),
        prefix: KEY[..18].to_owned(),
        issuer: Issuer::Openbin,
        created_at: None,
        last_used_at: None,
        last_used_over: None,
        policy: Policy::default(),
        revoked: None,
    };
    let actor = Actor::gateway();
    let news = News { record, most: None, action: Action::KeyLearned, actor: &actor };
    runtime.block_on(keys.learn(news)).expect("learned");
    keys
}

/// A runtime on this thread.
pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}
