//! How much keys and addresses may do, and what becomes of whoever keeps presenting bad credentials.
//!
//! Counts in this process only, so that several gateways allow several times as much, unless the limits of
//! requests are shared. Writes no header fields.

mod bucket;
mod claimant;
mod shared;
mod source;
mod table;

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use prometheus::IntCounter;

use crate::keys::{KeyHash, Rate};
use crate::observe::Metrics;

pub use bucket::{Admission, Quota};
pub use claimant::Claimant;

use shared::{Shared, Trouble};
use source::Source;
use table::Table;

/// What is allowed; `None`: as much as anybody likes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LimitSettings {
    /// Requests of each API key that has no rate of its own.
    pub per_key: Option<Rate>,
    /// Requests of each source: an IPv4 address, or an IPv6 network of 64 bits.
    pub per_address: Option<Rate>,
    /// Bad credentials of each source before it is penalised.
    pub bad_credentials: Option<Rate>,
    /// Whether all gateways of a store count requests together.
    pub shared: bool,
}

/// What is counted. Lives as long as the process, so that a reload forgives nobody.
pub struct LimitState {
    started: Instant,
    keys: Table,
    sources: Table,
    /// Nobody can tell beforehand which sources share a set of the table.
    secret: RandomState,
    /// No penalty ends later than this, in nanoseconds since the start: in quiet times, all that it costs to
    /// know that nobody is penalised is to read it.
    last_penalty: AtomicU64,
    throttled: Throttled,
    trouble: Trouble,
}

/// How often each limit was felt.
struct Throttled {
    key: IntCounter,
    address: IntCounter,
    bad_credential: IntCounter,
    look_up: IntCounter,
    adoption: IntCounter,
    open_route: IntCounter,
}

/// What is counted of a source, each in a bucket of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Count {
    Requests,
    BadCredentials,
    LookUps,
    Adoptions,
    OpenRouteLookUps,
}

impl LimitState {
    /// Nobody has done anything yet.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        let throttled = |reason| metrics.throttled.with_label_values(&[reason]);
        Self {
            started: Instant::now(),
            keys: Table::new(),
            sources: Table::new(),
            secret: RandomState::new(),
            last_penalty: AtomicU64::new(0),
            trouble: Trouble::new(metrics.sharing.limits_counted_here.clone()),
            throttled: Throttled {
                key: throttled("key"),
                address: throttled("address"),
                bad_credential: throttled("bad_credential"),
                look_up: throttled("look_up"),
                adoption: throttled("adoption"),
                open_route: throttled("open_route"),
            },
        }
    }

    fn nanoseconds(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.started).as_nanos();
        u64::try_from(since).unwrap_or(u64::MAX)
    }

    fn name(&self, source: Source, count: Count) -> u64 {
        self.secret.hash_one((source, count))
    }
}

/// The limits of one plan, over what the whole process counts.
pub struct Limits {
    settings: LimitSettings,
    state: Arc<LimitState>,
    shared: Option<Shared>,
}

impl Limits {
    /// These limits; what was counted before goes on to count.
    #[must_use]
    pub fn new(settings: LimitSettings, state: Arc<LimitState>) -> Self {
        Self { settings, state, shared: None }
    }

    /// Counts a request of this address here.
    #[must_use]
    pub fn admit_address(&self, address: IpAddr, now: Instant) -> Admission {
        let Some(rate) = self.settings.per_address else { return Admission::Unlimited };
        let name = self.state.name(Source::of(address), Count::Requests);
        let now = self.state.nanoseconds(now);
        let admission = self.state.sources.change(name, |bucket| bucket.take(rate, now));
        counted(admission, &self.state.throttled.address)
    }

    /// Counts a request of this key here, which may have a rate of its own.
    #[must_use]
    pub fn admit_key(&self, key: &KeyHash, own: Option<Rate>, now: Instant) -> Admission {
        let Some(rate) = own.or(self.settings.per_key) else { return Admission::Unlimited };
        // A verified key's SHA-256 is as good a name as any: OpenBin chose it by chance.
        let [a, b, c, d, e, f, g, h, ..] = *key.as_bytes();
        let name = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        let now = self.state.nanoseconds(now);
        let admission = self.state.keys.change(name, |bucket| bucket.take(rate, now));
        counted(admission, &self.state.throttled.key)
    }

    /// Whoever presents a credential from this address.
    #[must_use]
    pub fn claimant(&self, address: IpAddr, now: Instant) -> Claimant<'_> {
        Claimant::new(self, Source::of(address), now)
    }
}

fn counted(admission: Admission, refused: &IntCounter) -> Admission {
    if matches!(admission, Admission::Over(_)) {
        refused.inc();
    }
    admission
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn limits(settings: LimitSettings) -> (Limits, Instant) {
        let state = LimitState::new(&Metrics::new().expect("metrics"));
        let started = state.started;
        (Limits::new(settings, Arc::new(state)), started)
    }

    fn rate(text: &str) -> Option<Rate> {
        Some(text.parse().expect("a rate"))
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn is_over(admission: Admission) -> bool {
        matches!(admission, Admission::Over(_))
    }

    #[test]
    fn without_limits_nothing_is_counted() {
        let (limits, now) = limits(LimitSettings::default());
        for _ in 0..1_000 {
            assert_eq!(limits.admit_address(address("192.0.2.1"), now), Admission::Unlimited);
            assert_eq!(limits.admit_key(&KeyHash::of("a"), None, now), Admission::Unlimited);
        }
    }

    #[test]
    fn addresses_of_one_ipv6_network_share_a_limit_and_others_do_not() {
        let (limits, now) = limits(LimitSettings { per_address: rate("2/1m"), ..Default::default() });
        assert!(!is_over(limits.admit_address(address("2001:db8::1"), now)));
        assert!(!is_over(limits.admit_address(address("2001:db8::2"), now)));
        assert!(is_over(limits.admit_address(address("2001:db8::3"), now)));
        assert!(!is_over(limits.admit_address(address("2001:db8:0:1::1"), now)));
        assert!(!is_over(limits.admit_address(address("192.0.2.1"), now)));
        assert!(!is_over(limits.admit_address(address("2001:db8::3"), now + Duration::from_secs(30))));
        assert_eq!(limits.state.throttled.address.get(), 1);
    }

    #[test]
    fn a_keys_own_rate_wins_over_the_common_one_in_both_directions() {
        let (limits, now) = limits(LimitSettings { per_key: rate("2/1m"), ..Default::default() });
        let admitted = |key: &str, own| {
            (0..10).filter(|_| !is_over(limits.admit_key(&KeyHash::of(key), own, now))).count()
        };
        assert_eq!(admitted("common", None), 2);
        assert_eq!(admitted("less", rate("1/1m")), 1);
        assert_eq!(admitted("more", rate("5/1m")), 5);
        assert_eq!(limits.state.throttled.key.get(), 8 + 9 + 5);
    }

    #[test]
    fn a_key_has_its_own_rate_where_there_is_no_common_one() {
        let (limits, now) = limits(LimitSettings::default());
        assert!(!is_over(limits.admit_key(&KeyHash::of("a"), rate("1/1m"), now)));
        assert!(is_over(limits.admit_key(&KeyHash::of("a"), rate("1/1m"), now)));
        assert_eq!(limits.admit_key(&KeyHash::of("b"), None, now), Admission::Unlimited);
    }

    #[test]
    fn a_reload_forgives_nobody() {
        let settings = LimitSettings { per_address: rate("1/1m"), ..Default::default() };
        let (before, now) = limits(settings);
        assert!(!is_over(before.admit_address(address("192.0.2.1"), now)));
        let after = Limits::new(settings, Arc::clone(&before.state));
        assert!(is_over(after.admit_address(address("192.0.2.1"), now)));
    }
}
