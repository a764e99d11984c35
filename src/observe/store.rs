//! How the key store is reached: metrics for the links to it.

use prometheus::{IntCounterVec, IntGauge, Registry, Result};

use super::metrics::{counters, gauge};

/// Metrics of the links to a store on the network.
#[derive(Debug)]
pub struct StoreMetrics {
    /// `store_silent_links`: links to the store on which no answer came, so that only one question at a time is
    /// let try.
    pub silent_links: IntGauge,
    /// `store_failures_total{kind}`: questions to the store without an answer that could be used. `timeout`,
    /// `unreachable`, `refused`, `unreadable`; `turned_away`: not asked, because others were waiting in vain.
    pub failures: IntCounterVec,
}

impl StoreMetrics {
    pub(super) fn new(r: &Registry) -> Result<Self> {
        let (silent, failed) = (
            "Links to the key store that got no answer",
            "Questions to the key store without a usable answer",
        );
        Ok(Self {
            silent_links: gauge(r, "store_silent_links", silent)?,
            failures: counters(r, "store_failures_total", failed, &["kind"])?,
        })
    }
}
