//! Limits that all gateways of a store count together. Where the store does not answer at once, this process
//! decides by its own count, as it does without: a limit is never a reason for an outage.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use prometheus::IntCounter;

use super::source::Source;
use super::{Admission, Limits, Quota, counted};
use crate::keys::{Counted, KeyHash, KeyStore, Rate};

/// No request waits longer for its count.
const WITHIN: Duration = Duration::from_millis(50);
/// After a failure, the store is not asked for so long.
const PAUSE: u64 = 1_000_000_000;

/// What is counted by others, too.
pub(super) struct Shared {
    store: Arc<dyn KeyStore>,
}

/// How the store has done so far; lives as long as the process.
pub(super) struct Trouble {
    /// Until then, in nanoseconds since the start, it is not asked.
    until: AtomicU64,
    counted_here: IntCounter,
}

impl Trouble {
    pub(super) fn new(counted_here: IntCounter) -> Self {
        Self { until: AtomicU64::new(0), counted_here }
    }
}

impl Limits {
    /// The same limits, where they are to be shared counted together with all who use this store.
    #[must_use]
    pub fn counted_in(mut self, store: Arc<dyn KeyStore>) -> Self {
        self.shared = self.settings.shared.then_some(Shared { store });
        self
    }

    /// Counts a request of this address, together with other gateways where that is wanted.
    pub async fn limit_address(&self, address: IpAddr, now: Instant) -> Admission {
        if let (Some(shared), Some(rate)) = (&self.shared, self.settings.per_address) {
            let name = format!("address:{:032x}", Source::of(address).bits());
            // Boxed, since every request's future has room for this one.
            if let Some(admission) = Box::pin(self.count(shared, &name, rate, now)).await {
                return counted(admission, &self.state.throttled.address);
            }
        }
        self.admit_address(address, now)
    }

    /// Counts a request of this key likewise.
    pub async fn limit_key(&self, key: &KeyHash, own: Option<Rate>, now: Instant) -> Admission {
        if let (Some(shared), Some(rate)) = (&self.shared, own.or(self.settings.per_key))
            && let Some(admission) = Box::pin(self.count(shared, &format!("key:{key}"), rate, now)).await
        {
            return counted(admission, &self.state.throttled.key);
        }
        self.admit_key(key, own, now)
    }

    /// `None`: it is to be counted here.
    async fn count(&self, shared: &Shared, name: &str, rate: Rate, now: Instant) -> Option<Admission> {
        let trouble = &self.state.trouble;
        let now = self.state.nanoseconds(now);
        if now >= trouble.until.load(Ordering::Relaxed) {
            match tokio::time::timeout(WITHIN, shared.store.count(name, rate)).await {
                Ok(Ok(Counted::Within { remaining, next_in })) => {
                    return Some(Admission::Within(Quota { rate, remaining, next_in }));
                }
                Ok(Ok(Counted::Over { next_in })) => {
                    return Some(Admission::Over(Quota { rate, remaining: 0, next_in }));
                }
                // A store of this process alone: there is nobody to count with.
                Ok(Ok(Counted::Apart)) => return None,
                Ok(Err(_)) | Err(_) => trouble.until.store(now.saturating_add(PAUSE), Ordering::Relaxed),
            }
        }
        trouble.counted_here.inc();
        None
    }
}
