//! What the gateway does with requests, as configured. A reload swaps it whole; a request sees one plan
//! to its end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::agent::Agent;
use super::stand_in::StandIns;
use super::{InstanceSettings, Settings};
use crate::auth::{LimitState, Limits, Minter, Verifier};
use crate::http::{Cors, Floor};
use crate::keys::{Issuer, KeyHash, Keyring, Keys, Network};
use crate::upstream;

/// Routes, instances and verifiers.
pub struct Plan {
    instances: Vec<Arc<Instance>>,
    by_host: HashMap<Box<str>, usize>,
    for_every_host: Option<usize>,
    pub(super) trusted_proxies: Vec<Network>,
    pub(super) max_body_bytes: u64,
    pub(super) body_floor: Option<Floor>,
    pub(super) max_target_bytes: usize,
    pub(super) cut_live_exchanges: bool,
    pub(super) upgrades: Vec<String>,
    pub(super) limits: Limits,
}

/// One OpenBin instance, ready to judge credentials for.
pub struct Instance {
    pub(super) name: Arc<str>,
    pub(super) upstream: upstream::Settings,
    pub(super) verifier: Verifier,
    pub(super) keys: Arc<Keys>,
    pub(super) keyring: Arc<Keyring>,
    pub(super) key_issuer: Issuer,
    pub(super) cors: Option<Cors>,
    pub(super) agent: Agent,
    /// What instances get in place of keys that are not theirs.
    pub(super) stand_ins: StandIns,
    /// Whether a session is over when its user signs out.
    pub(super) end_sessions: bool,
    /// Keys that the instance refused lately, so that each is looked into once.
    refused: moka::sync::Cache<KeyHash, ()>,
}

const REFUSED_KEYS: u64 = 1_024;
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(60);

impl Plan {
    /// Makes a plan; the keyring outlives it, as what was counted against limits does.
    #[must_use]
    pub fn new(settings: &Settings, counted: &Arc<LimitState>, keyring: &Arc<Keyring>) -> Self {
        let mut plan = Self {
            instances: Vec::with_capacity(settings.instances.len()),
            by_host: HashMap::new(),
            for_every_host: None,
            trusted_proxies: settings.trusted_proxies.clone(),
            max_body_bytes: settings.max_body_bytes,
            body_floor: settings.body_floor,
            max_target_bytes: settings.max_target_bytes,
            cut_live_exchanges: settings.cut_live_exchanges,
            upgrades: settings.upgrades.clone(),
            limits: Limits::new(settings.limits, Arc::clone(counted)).counted_in(keyring.ledger().clone()),
        };
        for (index, instance) in settings.instances.iter().enumerate() {
            if instance.hosts.is_empty() {
                plan.for_every_host = plan.for_every_host.or(Some(index));
            }
            for host in &instance.hosts {
                plan.by_host.insert(host.to_ascii_lowercase().into_boxed_str(), index);
            }
            plan.instances.push(Arc::new(Instance::new(instance, keyring)));
        }
        plan
    }

    /// The instances, in the order of the configuration.
    #[must_use]
    pub(super) fn instances(&self) -> &[Arc<Instance>] {
        &self.instances
    }

    /// The place of the instance that answers to a host; `None` where there is none (421).
    pub(super) fn place_of(&self, host: Option<&str>) -> Option<usize> {
        if self.by_host.is_empty() {
            return self.for_every_host;
        }
        let Some(host) = host else { return self.for_every_host };
        let named = if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            self.by_host.get(host.to_ascii_lowercase().as_str())
        } else {
            self.by_host.get(host)
        };
        named.copied().or(self.for_every_host)
    }
}

impl Instance {
    fn new(settings: &InstanceSettings, keyring: &Arc<Keyring>) -> Self {
        let keys = keyring.of(&settings.name);
        Self {
            name: Arc::clone(&settings.name),
            upstream: settings.upstream.clone(),
            verifier: Verifier::new(&settings.auth, Arc::clone(&keys)),
            keys,
            keyring: Arc::clone(keyring),
            key_issuer: settings.key_issuer,
            cors: settings.cors.clone(),
            agent: Agent::new(settings),
            stand_ins: StandIns::new(settings.auth.jwt_secrets.first().map(Minter::new), settings.key_issuer),
            end_sessions: settings.end_sessions,
            refused: moka::sync::Cache::builder()
                .max_capacity(REFUSED_KEYS)
                .time_to_live(LOOK_AGAIN_AFTER)
                .build(),
        }
    }

    /// Whether it is time to look into why the instance refuses this key.
    pub(super) fn may_look_into(&self, key: &KeyHash) -> bool {
        self.refused.entry(*key).or_insert(()).is_fresh()
    }
}
