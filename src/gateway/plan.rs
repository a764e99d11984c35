//! What the gateway does with requests, as configured. A reload swaps it whole; a request sees one plan
//! to its end.

use std::collections::HashMap;
use std::sync::Arc;

use super::{InstanceSettings, Network, Settings};
use crate::auth::{LimitState, Limits, Verifier};
use crate::http::Cors;
use crate::keys::{Issuer, Keys};
use crate::upstream;

/// Routes, instances and verifiers.
pub struct Plan {
    instances: Vec<Arc<Instance>>,
    by_host: HashMap<Box<str>, usize>,
    for_every_host: Option<usize>,
    pub(super) trusted_proxies: Vec<Network>,
    pub(super) max_body_bytes: u64,
    pub(super) limits: Limits,
}

/// One OpenBin instance, ready to judge credentials for.
pub struct Instance {
    pub(super) name: Arc<str>,
    pub(super) upstream: upstream::Settings,
    pub(super) verifier: Verifier,
    pub(super) keys: Arc<Keys>,
    pub(super) key_issuer: Issuer,
    pub(super) cors: Option<Cors>,
}

impl Plan {
    /// Makes a plan; `keys` gives each instance's keys by its name, so that they outlive a reload, as what
    /// was counted against limits does.
    pub fn new(settings: &Settings, counted: Arc<LimitState>, keys: impl Fn(&Arc<str>) -> Arc<Keys>) -> Self {
        let mut plan = Self {
            instances: Vec::with_capacity(settings.instances.len()),
            by_host: HashMap::new(),
            for_every_host: None,
            trusted_proxies: settings.trusted_proxies.clone(),
            max_body_bytes: settings.max_body_bytes,
            limits: Limits::new(settings.limits, counted),
        };
        for (index, instance) in settings.instances.iter().enumerate() {
            if instance.hosts.is_empty() {
                plan.for_every_host = plan.for_every_host.or(Some(index));
            }
            for host in &instance.hosts {
                plan.by_host.insert(host.to_ascii_lowercase().into_boxed_str(), index);
            }
            plan.instances.push(Arc::new(Instance::new(instance, keys(&instance.name))));
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
    fn new(settings: &InstanceSettings, keys: Arc<Keys>) -> Self {
        Self {
            name: Arc::clone(&settings.name),
            upstream: settings.upstream.clone(),
            verifier: Verifier::new(&settings.auth, Arc::clone(&keys)),
            keys,
            key_issuer: settings.key_issuer,
            cors: settings.cors.clone(),
        }
    }
}
