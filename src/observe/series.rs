//! The handles of metrics that one worker needs for one instance, resolved once each.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::Duration;

use hyper::Version;
use prometheus::{Histogram, IntCounter};

use super::metrics::{auth_label, method_index, method_label, protocol_label, seconds, status_label};
use super::{Credential, Metrics, Outcome, Record};

/// The `instance` label where no instance was chosen.
const NO_INSTANCE: &str = "none";

/// The handles of one instance's series.
#[derive(Debug)]
pub(super) struct InstanceSeries {
    name: Option<Arc<str>>,
    request_duration: Histogram,
    upstream_duration: Histogram,
    auth: [[Option<IntCounter>; Outcome::COUNT]; Credential::COUNT],
    requests: HashMap<RequestLabels, IntCounter, BuildHasherDefault<MixHasher>>,
}

impl InstanceSeries {
    pub(super) fn new(name: Option<Arc<str>>, metrics: &Metrics) -> Self {
        let label = [name.as_deref().unwrap_or(NO_INSTANCE)];
        Self {
            request_duration: metrics.request_duration.with_label_values(&label),
            upstream_duration: metrics.upstream_duration.with_label_values(&label),
            auth: Default::default(),
            requests: HashMap::default(),
            name,
        }
    }

    /// Names are compared by address: a reload brings new ones, which find the same series again.
    pub(super) fn is_of(&self, name: Option<&Arc<str>>) -> bool {
        match (&self.name, name) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other) || own == other,
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    pub(super) fn count(&mut self, record: &Record, took: Duration, metrics: &Metrics) {
        let instance = self.name.as_deref().unwrap_or(NO_INSTANCE);
        let requests = self.requests.entry(RequestLabels::of(record)).or_insert_with(|| {
            let status = status_label(record.status);
            let (protocol, method) = (protocol_label(record.version), method_label(&record.method));
            metrics.requests.with_label_values(&[instance, protocol, method, &status, auth_label(record)])
        });
        requests.inc();
        self.request_duration.observe(seconds(took));
        if let Some(upstream) = record.upstream {
            self.upstream_duration.observe(seconds(upstream));
        }
        let (credential, outcome) = (record.credential, record.outcome);
        let slot =
            self.auth.get_mut(credential as usize).and_then(|outcomes| outcomes.get_mut(outcome as usize));
        if let Some(slot) = slot {
            slot.get_or_insert_with(|| {
                metrics.auth.with_label_values(&[instance, credential.as_str(), outcome.as_str()])
            })
            .inc();
        }
    }
}

/// The labels of a request's series but for the instance, packed: method, protocol, credential, status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct RequestLabels(u32);

impl RequestLabels {
    fn of(record: &Record) -> Self {
        let method = u32::try_from(method_index(&record.method)).unwrap_or_default();
        let protocol = match record.version {
            Version::HTTP_09 | Version::HTTP_10 => 0,
            Version::HTTP_11 => 1,
            _ => 2,
        };
        let auth = record.authenticated_by() as u32;
        // No status is 0 or above 999, but a number that is not one must not fill the table either.
        let status = u32::from(record.status.map_or(0, |status| status.clamp(1, 1000)));
        Self(method << 16 | protocol << 14 | auth << 12 | status)
    }
}

/// Spreads numbers that no client chooses freely over a table; Fibonacci hashing (Knuth, TAOCP 3, §6.4).
#[derive(Debug, Default)]
struct MixHasher(u64);

impl Hasher for MixHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u32(u32::from(byte)));
    }

    fn write_u32(&mut self, number: u32) {
        let mixed = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // The table takes its place from the low bits and its tag from the high ones.
        self.0 = mixed ^ mixed >> 32;
    }
}

#[cfg(test)]
mod tests {
    use hyper::Method;

    use super::super::example_record;
    use super::*;

    #[test]
    fn requests_with_different_labels_never_share_a_counter() {
        let mut seen = HashMap::new();
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "BREW"]
        {
            for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
                for credential in [Credential::None, Credential::Jwt, Credential::ApiKey] {
                    for status in [None, Some(100), Some(200), Some(511), Some(999), Some(u16::MAX)] {
                        let mut record = example_record();
                        record.method = Method::from_bytes(method.as_bytes()).expect("a token");
                        (record.version, record.credential, record.status) = (version, credential, status);
                        seen.insert(RequestLabels::of(&record).0, ());
                    }
                }
            }
        }
        assert_eq!(seen.len(), 10 * 3 * 3 * 6);
    }
}
