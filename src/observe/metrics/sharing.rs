//! How far gateways that share a key store keep up with each other.

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, Registry, Result};

use super::{counter, counters, gauge, latency, register};

/// The metrics of a shared key store.
#[derive(Debug)]
pub struct Sharing {
    /// `lease_valid`: 1 while what is remembered of keys may be used.
    pub lease_valid: IntGauge,
    /// `stale_verdicts_total`: keys judged by what was remembered though it could not be confirmed, because
    /// `cache.serve_stale_for` allows it.
    pub stale_verdicts: IntCounter,
    /// `revocation_seconds`: from the call to its confirmation.
    pub revocation_seconds: Histogram,
    /// `limits_counted_here_total`: requests whose limit was to be counted together with other gateways, and was
    /// counted by this one alone, because the store did not answer at once.
    pub limits_counted_here: IntCounter,
    /// `confirmations_total{outcome}`: changes that every gateway was to feel: `confirmed`, `unconfirmed`.
    pub confirmations: IntCounterVec,
}

impl Sharing {
    pub(super) fn register(r: &Registry) -> Result<Self> {
        let confirmations = counters(
            r,
            "confirmations_total",
            "Revocations and blocks that every gateway was to feel",
            &["outcome"],
        )?;
        // A counter that appears only with its first event hides that event from whoever watches for a rise.
        for outcome in ["confirmed", "unconfirmed"] {
            confirmations.with_label_values(&[outcome]).inc_by(0);
        }
        Ok(Self {
            lease_valid: gauge(r, "lease_valid", "1 while what is remembered of keys may be used")?,
            stale_verdicts: counter(
                r,
                "stale_verdicts_total",
                "Keys judged by what was remembered, unconfirmed",
            )?,
            revocation_seconds: register(
                r,
                Histogram::with_opts(latency("revocation_seconds", "From a revocation to its confirmation"))?,
            )?,
            limits_counted_here: counter(r, "limits_counted_here_total", "Requests counted here alone")?,
            confirmations,
        })
    }
}
