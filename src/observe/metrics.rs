//! The metrics of the whole process. Labels come from closed sets only: nothing that a client or an
//! instance chooses becomes a label as it is, so the number of series has a limit.

use std::time::Duration;

use hyper::{Method, StatusCode, Version};
use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, Result,
};

mod sharing;

pub use sharing::Sharing;

use super::Record;
use super::store::StoreMetrics;

const NAMESPACE: &str = "openbin_gateway";

const LATENCY_BUCKETS: &[f64] = &[
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0, 300.0,
];

static METHODS: [(Method, &str); 9] = [
    (Method::GET, "GET"),
    (Method::HEAD, "HEAD"),
    (Method::POST, "POST"),
    (Method::PUT, "PUT"),
    (Method::PATCH, "PATCH"),
    (Method::DELETE, "DELETE"),
    (Method::OPTIONS, "OPTIONS"),
    (Method::CONNECT, "CONNECT"),
    (Method::TRACE, "TRACE"),
];

/// Every metric of the process; one for the whole process, shared by reference.
///
/// All names begin with `openbin_gateway_`, but for the usual `process_*` of the process collector.
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
    /// How the key store is reached.
    pub store: StoreMetrics,
    /// How far gateways that share a store keep up with each other.
    pub sharing: Sharing,
    /// `revocations_total`.
    pub revocations: IntCounter,
    /// `usage_pending`: keys whose last use is not written yet.
    pub usage_pending: IntGauge,
    /// `forged_headers_total`: reserved header fields that clients sent, and that were dropped.
    pub forged_headers: IntCounter,
    /// `connections{listener}`: open client connections.
    pub connections: IntGaugeVec,
    /// `connections_ended_total{reason}`: ended or not let in by a bound: as many were open as may be, in all
    /// (`full`) or from one `address`; the `proxy` header, the TLS `handshake` or a request's `head` took too long
    /// or was wrong; `tls` failed; what came was `unreadable` as a request, or its head too `large`; the client left
    /// what waited for it `unread`; its `age`.
    pub connections_ended: IntCounterVec,
    /// `certificate_expiry_timestamp_seconds{listener}`: Unix time.
    pub certificate_expiry: IntGaugeVec,
    /// `throttled_total{reason}`: how often each limit was felt. `address`, `key`: the limits of requests;
    /// `bad_credential`: one more than allowed; `look_up`, `adoption`: not made for a penalised source;
    /// `open_route`: a look-up not made on a route that needs no credential.
    pub throttled: IntCounterVec,
    /// `exchanges_cut_total{reason}`: ended under way, because their `key`, `user` or `session` ended.
    pub exchanges_cut: IntCounterVec,
    /// `upgrades_open`: connections and streams that have switched to another protocol.
    pub upgrades_open: IntGauge,
    /// `access_log_dropped_total`: lines lost because the log could not keep up or be written.
    pub access_log_dropped: IntCounter,
}

impl Metrics {
    /// Makes and registers every metric.
    ///
    /// # Errors
    /// Where two metrics have the same name, which is a mistake in this file.
    pub fn new() -> Result<Self> {
        let r = &Registry::new();
        let build = gauges(r, "build_info", "The running version; always 1", "version")?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        r.register(Box::new(ProcessCollector::for_self()))?;
        Ok(Self {
            registry: r.clone(),
            requests: counters(
                r,
                "requests_total",
                "Requests answered or broken off",
                &["instance", "protocol", "method", "status", "auth"],
            )?,
            request_duration: latencies(
                r,
                "request_duration_seconds",
                "From the request's head to the end of the response",
            )?,
            upstream_duration: latencies(
                r,
                "upstream_duration_seconds",
                "From forwarding to the head of the instance's response",
            )?,
            auth: counters(
                r,
                "auth_total",
                "What became of each request's credential",
                &["instance", "credential", "outcome"],
            )?,
            key_cache: counters(
                r,
                "key_cache_total",
                "Key look-ups answered by the cache, or not",
                &["outcome"],
            )?,
            store_up: gauge(r, "store_up", "1 while the key store answers")?,
            store: StoreMetrics::new(r)?,
            sharing: Sharing::register(r)?,
            revocations: counter(r, "revocations_total", "Keys revoked")?,
            usage_pending: gauge(r, "usage_pending", "Keys whose last use is not written yet")?,
            forged_headers: counter(
                r,
                "forged_headers_total",
                "Reserved header fields from clients, dropped",
            )?,
            connections: gauges(r, "connections", "Open client connections", "listener")?,
            connections_ended: counters(r, "connections_ended_total", "Ended by a bound", &["reason"])?,
            certificate_expiry: gauges(
                r,
                "certificate_expiry_timestamp_seconds",
                "When a listener's certificate ends, in Unix time",
                "listener",
            )?,
            throttled: counters(r, "throttled_total", "How often each limit was felt", &["reason"])?,
            exchanges_cut: counters(r, "exchanges_cut_total", "Ended with their credential", &["reason"])?,
            upgrades_open: gauge(r, "upgrades_open", "Connections that have switched protocols")?,
            access_log_dropped: counter(r, "access_log_dropped_total", "Access log lines that were lost")?,
        })
    }

    /// All metrics in Prometheus' text format, version 0.0.4.
    ///
    /// # Errors
    /// Where a metric cannot be written as text.
    pub fn render(&self) -> Result<String> {
        prometheus::TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// A duration as a histogram takes it.
pub(super) fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

/// The `method` label: the methods of RFC 9110 and `PATCH`; a client can make up any other.
pub(super) fn method_label(method: &Method) -> &'static str {
    METHODS.get(method_index(method)).map_or("other", |(_, label)| label)
}

/// Where a method's label is in the closed set.
pub(super) fn method_index(method: &Method) -> usize {
    METHODS.iter().position(|(known, _)| known == method).unwrap_or(METHODS.len())
}

/// The `protocol` label.
pub(super) fn protocol_label(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 | Version::HTTP_10 => "1.0",
        Version::HTTP_11 => "1.1",
        _ => "2",
    }
}

/// The `status` label: three digits for a registered status (RFC 9110 §16.2), `aborted` where none was
/// sent, and `other` for what an instance made up.
pub(super) fn status_label(status: Option<u16>) -> String {
    let Some(number) = status else {
        return "aborted".to_owned();
    };
    match StatusCode::from_u16(number).ok().filter(|status| status.canonical_reason().is_some()) {
        Some(known) => known.as_str().to_owned(),
        None => "other".to_owned(),
    }
}

/// The `auth` label of requests: how the request was authenticated in the end, as in `X-Auth-Method`.
pub(super) fn auth_label(record: &Record) -> &'static str {
    record.authenticated_by().as_str()
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace(NAMESPACE)
}

fn latency(name: &str, help: &str) -> HistogramOpts {
    HistogramOpts { common_opts: options(name, help), buckets: LATENCY_BUCKETS.to_vec() }
}

fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter> {
    register(registry, IntCounter::with_opts(options(name, help))?)
}

pub(super) fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec> {
    register(registry, IntCounterVec::new(options(name, help), labels)?)
}

pub(super) fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge> {
    register(registry, IntGauge::with_opts(options(name, help))?)
}

fn gauges(registry: &Registry, name: &str, help: &str, label: &str) -> Result<IntGaugeVec> {
    register(registry, IntGaugeVec::new(options(name, help), &[label])?)
}

fn latencies(registry: &Registry, name: &str, help: &str) -> Result<HistogramVec> {
    register(registry, HistogramVec::new(latency(name, help), &["instance"])?)
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The names of all metrics, also of those without a series yet.
    fn names() -> BTreeSet<String> {
        let metrics = Metrics::new().expect("metrics");
        let counters = [
            &metrics.requests,
            &metrics.auth,
            &metrics.key_cache,
            &metrics.throttled,
            &metrics.exchanges_cut,
            &metrics.connections_ended,
            &metrics.store.failures,
        ];
        for vec in counters {
            let labels = vec.desc().first().map_or(0, |desc| desc.variable_labels.len());
            vec.with_label_values(&vec!["x"; labels]).inc();
        }
        for vec in [&metrics.request_duration, &metrics.upstream_duration] {
            vec.with_label_values(&["x"]).observe(1.0);
        }
        for vec in [&metrics.connections, &metrics.certificate_expiry] {
            vec.with_label_values(&["x"]).set(1);
        }
        let text = metrics.render().expect("text");
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        samples.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned).collect()
    }

    /// The metric names that a text mentions.
    fn mentioned(text: &str) -> BTreeSet<String> {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let ours = words.filter(|word| word.starts_with("openbin_gateway_") || word.starts_with("process_"));
        ours.map(str::to_owned).collect()
    }

    #[test]
    fn only_the_process_collector_is_without_our_prefix() {
        let names = names();
        assert!(names.contains("process_open_fds"));
        assert!(names.contains("openbin_gateway_requests_total"));
        for name in names {
            assert!(name.starts_with("openbin_gateway_") != name.starts_with("process_"), "{name}");
        }
    }

    #[test]
    fn alerts_and_dashboard_name_only_metrics_that_exist() {
        let names = names();
        let alerts = include_str!("../../config/prometheus-alerts.yaml");
        let dashboard = include_str!("../../config/grafana-dashboard.json");
        for text in [alerts, dashboard] {
            let mentioned = mentioned(text);
            assert!(mentioned.len() >= 8, "{mentioned:?}");
            for name in mentioned {
                assert!(names.contains(&name), "there is no metric {name}");
            }
        }
        serde_json::from_str::<serde_json::Value>(dashboard).expect("the dashboard is JSON");
    }

    #[test]
    fn made_up_methods_and_statuses_share_one_label() {
        let method = Method::from_bytes(b"BREW").expect("a token");
        assert_eq!(method_label(&method), "other");
        assert_eq!(method_label(&Method::PATCH), "PATCH");
        assert_eq!(status_label(Some(204)), "204");
        assert_eq!(status_label(Some(299)), "other");
        assert_eq!(status_label(Some(7)), "other");
        assert_eq!(status_label(None), "aborted");
        assert_eq!(protocol_label(Version::HTTP_10), "1.0");
        assert_eq!(protocol_label(Version::HTTP_2), "2");
    }
}
