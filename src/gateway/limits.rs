//! How a request stands with the limits that apply to it, and how the client is told: by the header fields
//! of draft-ietf-httpapi-ratelimit-headers-10. Counts nothing itself.

use std::cell::Cell;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Instant;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use super::recorded::Note;
use crate::auth::{Admission, Claimant, Identity, Limits, Quota};
use crate::http::header::{
    RATELIMIT, RATELIMIT_LIMIT, RATELIMIT_POLICY, RATELIMIT_REMAINING, RATELIMIT_RESET,
};
use crate::http::{Refusal, whole_seconds};
use crate::observe::Outcome;

/// How a request stands with the limits that apply to it.
pub(super) struct Standing {
    from: IpAddr,
    at: Instant,
    address: Cell<Option<Quota>>,
    key: Cell<Option<Quota>>,
}

impl Standing {
    /// A request from this address that came at this time, and is not counted yet.
    pub(super) fn new(from: IpAddr, at: Instant) -> Self {
        Self { from, at, address: Cell::default(), key: Cell::default() }
    }

    /// Counts the request against its address's limit, and goes on only within that.
    pub(super) async fn within_address_limit(&self, limits: &Limits, note: &mut Note) -> Result<(), Refusal> {
        pass(limits.limit_address(self.from, self.at).await, &self.address, note)
    }

    /// Counts the request against its key's limit, where it has a key, and goes on only within that.
    pub(super) async fn within_key_limit(
        &self,
        limits: &Limits,
        identity: &Identity,
        note: &mut Note,
    ) -> Result<(), Refusal> {
        let Some(key) = identity.active_key() else { return Ok(()) };
        let own = key.policy.as_ref().and_then(|policy| policy.rate);
        pass(limits.limit_key(&key.record.hash, own, self.at).await, &self.key, note)
    }

    /// Whoever sent the request, as far as bad credentials are concerned.
    pub(super) fn claimant<'l>(&self, limits: &'l Limits) -> Claimant<'l> {
        limits.claimant(self.from, self.at)
    }

    /// Tells the client, unless the instance has told it of limits of its own: these stay alone, in whichever
    /// form, because a client that reads the other form could not tell whose they are.
    pub(super) fn tell(&self, headers: &mut HeaderMap) {
        let quotas = [("address", self.address.get()), ("key", self.key.get())];
        if quotas.iter().all(|(_, quota)| quota.is_none()) || FIELDS.iter().any(|f| headers.contains_key(f)) {
            return;
        }
        let (mut policies, mut standings) = (String::with_capacity(64), String::with_capacity(64));
        for (name, quota) in quotas {
            let Some(Quota { rate, remaining, next_in }) = quota else { continue };
            let comma = if policies.is_empty() { "" } else { ", " };
            // Writing to a string cannot fail.
            let _ = write!(policies, "{comma}\"{name}\";q={};w={}", rate.requests(), rate.per().as_secs());
            let _ = write!(standings, "{comma}\"{name}\";r={remaining};t={}", whole_seconds(next_in));
        }
        for (field, text) in [(RATELIMIT_POLICY, policies), (RATELIMIT, standings)] {
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.insert(field, value);
            }
        }
    }
}

/// Every field that tells of limits, in the latest draft's form and in that of OpenBin.
const FIELDS: [HeaderName; 5] =
    [RATELIMIT_POLICY, RATELIMIT, RATELIMIT_LIMIT, RATELIMIT_REMAINING, RATELIMIT_RESET];

fn pass(admission: Admission, standing: &Cell<Option<Quota>>, note: &mut Note) -> Result<(), Refusal> {
    match admission {
        Admission::Unlimited => Ok(()),
        Admission::Within(quota) => {
            standing.set(Some(quota));
            Ok(())
        }
        Admission::Over(quota) => {
            standing.set(Some(quota));
            note.edit(|record| record.outcome = Outcome::RateLimited);
            Err(Refusal::RateLimited { retry_after: quota.next_in })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn quota(rate: &str, remaining: u32, next_in: u64) -> Option<Quota> {
        let rate = rate.parse().expect("a rate");
        Some(Quota { rate, remaining, next_in: Duration::from_millis(next_in) })
    }

    fn standing() -> Standing {
        Standing::new(IpAddr::from([192, 0, 2, 1]), Instant::now())
    }

    fn told(standing: &Standing, mut headers: HeaderMap) -> HeaderMap {
        standing.tell(&mut headers);
        headers
    }

    #[test]
    fn limits_are_told_in_the_drafts_words() {
        let standing = standing();
        standing.key.set(quota("600/1m", 599, 100));
        let headers = told(&standing, HeaderMap::new());
        assert_eq!(headers["ratelimit-policy"], "\"key\";q=600;w=60");
        assert_eq!(headers["ratelimit"], "\"key\";r=599;t=1");
        standing.address.set(quota("1200/1d", 0, 71_001));
        let headers = told(&standing, HeaderMap::new());
        assert_eq!(headers["ratelimit-policy"], "\"address\";q=1200;w=86400, \"key\";q=600;w=60");
        assert_eq!(headers["ratelimit"], "\"address\";r=0;t=72, \"key\";r=599;t=1");
    }

    #[test]
    fn without_limits_nothing_is_told() {
        assert!(told(&standing(), HeaderMap::new()).is_empty());
    }

    #[test]
    fn what_the_instance_says_of_its_own_limits_stays_alone() {
        let standing = standing();
        standing.key.set(quota("600/1m", 599, 100));
        for field in FIELDS {
            let own = HeaderMap::from_iter([(field.clone(), HeaderValue::from_static("5;w=900"))]);
            assert_eq!(told(&standing, own.clone()), own, "{field}");
        }
    }
}
