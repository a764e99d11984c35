//! The metrics of the whole process. Labels come from closed sets only.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

const LATENCY_BUCKETS: &[f64] = &[
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0, 300.0,
];

/// Every metric of the process; one for the whole process, shared by reference.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// `requests_total{instance,protocol,method,status,auth}`.
    pub(super) requests: IntCounterVec,
    /// `request_duration_seconds{instance}`.
    pub(super) request_duration: HistogramVec,
    /// `upstream_duration_seconds{instance}`.
    pub(super) upstream_duration: HistogramVec,
    /// `auth_total{instance,credential,outcome}`.
    pub(super) auth: IntCounterVec,
    /// `key_cache_total{outcome}`: `hit`, `miss`.
    pub key_cache: IntCounterVec,
    /// `store_up`: 1 while the key store answers.
    pub store_up: IntGauge,
    /// `revocations_total`.
    pub revocations: IntCounter,
    /// `revocation_seconds`: from the call to its confirmation.
    pub revocation_seconds: Histogram,
    /// `usage_pending`: keys whose last use is not written yet.
    pub usage_pending: IntGauge,
    /// `forged_headers_total`: reserved header fields that clients sent, and that were dropped.
    pub forged_headers: IntCounter,
    /// `connections{listener}`: open client connections.
    pub connections: IntGaugeVec,
    /// `certificate_expiry_timestamp_seconds{listener}`: Unix time.
    pub certificate_expiry: IntGaugeVec,
    /// `access_log_dropped_total`: lines lost because the log could not keep up.
    pub access_log_dropped: IntCounter,
}

impl Metrics {
    /// Makes and registers every metric.
    ///
    /// # Errors
    /// Where two metrics have the same name, which is a mistake in this file.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new_custom(Some("openbin_gateway".to_owned()), None)?;
        let r = &registry;
        let latency = |name, help| HistogramOpts::new(name, help).buckets(LATENCY_BUCKETS.to_vec());
        let build = IntGaugeVec::new(Opts::new("build_info", "The running version; always 1"), &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        register(r, build)?;
        r.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(Self {
            requests: register(
                r,
                IntCounterVec::new(
                    Opts::new("requests_total", "Requests answered or broken off"),
                    &["instance", "protocol", "method", "status", "auth"],
                )?,
            )?,
            request_duration: register(
                r,
                HistogramVec::new(
                    latency("request_duration_seconds", "From the request's head to the end of the response"),
                    &["instance"],
                )?,
            )?,
            upstream_duration: register(
                r,
                HistogramVec::new(
                    latency(
                        "upstream_duration_seconds",
                        "From forwarding to the head of the instance's response",
                    ),
                    &["instance"],
                )?,
            )?,
            auth: register(
                r,
                IntCounterVec::new(
                    Opts::new("auth_total", "What became of each request's credential"),
                    &["instance", "credential", "outcome"],
                )?,
            )?,
            key_cache: register(
                r,
                IntCounterVec::new(
                    Opts::new("key_cache_total", "Key look-ups answered by the cache, or not"),
                    &["outcome"],
                )?,
            )?,
            store_up: register(r, IntGauge::new("store_up", "1 while the key store answers")?)?,
            revocations: register(r, IntCounter::new("revocations_total", "Keys revoked")?)?,
            revocation_seconds: register(
                r,
                Histogram::with_opts(latency("revocation_seconds", "From a revocation to its confirmation"))?,
            )?,
            usage_pending: register(
                r,
                IntGauge::new("usage_pending", "Keys whose last use is not written yet")?,
            )?,
            forged_headers: register(
                r,
                IntCounter::new("forged_headers_total", "Reserved header fields from clients, dropped")?,
            )?,
            connections: register(
                r,
                IntGaugeVec::new(Opts::new("connections", "Open client connections"), &["listener"])?,
            )?,
            certificate_expiry: register(
                r,
                IntGaugeVec::new(
                    Opts::new("certificate_expiry_timestamp_seconds", "When a listener's certificate ends"),
                    &["listener"],
                )?,
            )?,
            access_log_dropped: register(
                r,
                IntCounter::new("access_log_dropped_total", "Access log lines that were lost")?,
            )?,
            registry,
        })
    }

    /// All metrics in Prometheus' text format, version 0.0.4.
    ///
    /// # Errors
    /// Where a metric cannot be written as text.
    pub fn render(&self) -> prometheus::Result<String> {
        prometheus::TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

fn register<C>(registry: &Registry, collector: C) -> prometheus::Result<C>
where
    C: prometheus::core::Collector + Clone + 'static,
{
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}
