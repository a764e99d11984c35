//! Takes the records of finished requests: counts them, and hands them to the access log.
//!
//! Each worker resolves a metric's labels once and keeps the handle, so that a request like one before
//! costs it no label look-up and no allocation. Never waits.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::access_log::{AccessLog, Queue};
use super::series::InstanceSeries;
use super::{Metrics, Record, Settings};

/// Where all finished requests of the process go.
#[derive(Debug)]
pub struct Observer {
    metrics: Arc<Metrics>,
    access_log: Option<AccessLog>,
}

impl Observer {
    /// Opens the access log, if there is to be one.
    ///
    /// # Errors
    /// Where the access log cannot be opened; the text names the file.
    pub fn open(settings: &Settings, metrics: Arc<Metrics>) -> io::Result<Arc<Self>> {
        let lost = || metrics.access_log_dropped.clone();
        let access_log = settings.access_log.as_ref().map(|log| AccessLog::open(log, lost())).transpose()?;
        Ok(Arc::new(Self { metrics, access_log }))
    }

    /// What one worker thread reports to.
    #[must_use]
    pub fn worker(self: &Arc<Self>) -> WorkerObserver {
        WorkerObserver {
            metrics: Arc::clone(&self.metrics),
            queue: self.access_log.as_ref().map(AccessLog::queue),
            instances: RefCell::default(),
        }
    }

    /// Opens the access log's file anew, after it was rotated. Returns at once.
    pub fn reopen(&self) {
        if let Some(log) = &self.access_log {
            log.reopen();
        }
    }

    /// Writes the lines that wait and closes the access log; call it when no request is left. Waits a few
    /// seconds at most.
    pub fn close(&self) {
        if let Some(log) = &self.access_log {
            log.close();
        }
    }
}

/// What one worker thread reports its finished requests to.
#[derive(Debug)]
pub struct WorkerObserver {
    metrics: Arc<Metrics>,
    queue: Option<Queue>,
    instances: RefCell<Vec<InstanceSeries>>,
}

impl WorkerObserver {
    /// Counts a finished request, and hands it to the access log.
    pub fn finish(&self, record: Box<Record>) {
        self.finish_at(record, Instant::now());
    }

    fn finish_at(&self, record: Box<Record>, now: Instant) {
        let took = now.saturating_duration_since(record.started);
        self.count(&record, took);
        if let Some(queue) = &self.queue {
            queue.send(record, took);
        }
    }

    fn count(&self, record: &Record, took: Duration) {
        let mut instances = self.instances.borrow_mut();
        let known = instances.iter().position(|series| series.is_of(record.instance.as_ref()));
        let index = known.unwrap_or_else(|| {
            instances.push(InstanceSeries::new(record.instance.clone(), &self.metrics));
            instances.len() - 1
        });
        if let Some(series) = instances.get_mut(index) {
            series.count(record, took, &self.metrics);
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;
    use hyper::http::uri::PathAndQuery;
    use hyper::{Method, Version};

    use super::super::{AccessLogSettings, Credential, Format, Outcome, Scratch, example_record};
    use super::*;

    const METHODS: [&str; 10] =
        ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "BREW"];
    const VERSIONS: [Version; 3] = [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2];
    const CREDENTIALS: [Credential; 3] = [Credential::None, Credential::Jwt, Credential::ApiKey];
    const OUTCOMES: [Outcome; Outcome::COUNT] = [
        Outcome::Accepted,
        Outcome::Anonymous,
        Outcome::Ignored,
        Outcome::Missing,
        Outcome::InvalidToken,
        Outcome::MalformedKey,
        Outcome::UnknownKey,
        Outcome::RevokedKey,
        Outcome::ExpiredKey,
        Outcome::DisabledKey,
        Outcome::ForeignAddress,
        Outcome::OutOfScope,
        Outcome::BlockedUser,
        Outcome::EndedSession,
        Outcome::AccountDeleted,
        Outcome::AccountSuspended,
        Outcome::PlanRestricted,
        Outcome::RequestRefused,
        Outcome::Unreadable,
        Outcome::StoreUnavailable,
        Outcome::InstanceUnavailable,
        Outcome::RateLimited,
    ];

    fn settings(access_log: Option<AccessLogSettings>) -> Settings {
        Settings { access_log, log_level: "info".to_owned(), log_format: Format::Text }
    }

    fn without_log() -> (Arc<Metrics>, WorkerObserver) {
        let metrics = Arc::new(Metrics::new().expect("metrics"));
        let observer = Observer::open(&settings(None), Arc::clone(&metrics)).expect("observer");
        (metrics, observer.worker())
    }

    /// The sum of all series of a counter.
    fn sum(metrics: &Metrics, name: &str) -> u64 {
        let text = metrics.render().expect("text");
        let series = text.lines().filter(|line| line.starts_with(&format!("{name}{{")));
        series.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }

    fn series(metrics: &Metrics) -> usize {
        let text = metrics.render().expect("text");
        text.lines().filter(|line| line.starts_with("openbin_gateway_")).count()
    }

    /// A record of everything that a client or an instance can choose, different for each number.
    fn arbitrary_record(number: usize, instance: &Option<Arc<str>>) -> Record {
        let mut record = example_record();
        record.instance = instance.clone();
        record.method = match METHODS.get(number % 17) {
            Some(name) => Method::from_bytes(name.as_bytes()).expect("a token"),
            None => Method::from_bytes(format!("M{number}").as_bytes()).expect("a token"),
        };
        record.version = VERSIONS[number / 17 % 3];
        record.credential = CREDENTIALS[number / 5 % 3];
        record.outcome = OUTCOMES[number / 3 % Outcome::COUNT];
        let status = u16::try_from(number % 1200).expect("small");
        record.status = (status > 0).then_some(status);
        record.target = PathAndQuery::from_maybe_shared(format!("/api/{number}?a={number}")).ok();
        record.user_agent = HeaderValue::from_str(&format!("agent {number}")).ok();
        record
    }

    #[test]
    fn each_request_has_exactly_one_auth_outcome() {
        let (metrics, worker) = without_log();
        for number in 0..5000 {
            let instance = (number % 3 != 0).then(|| Arc::from("home"));
            worker.finish(Box::new(arbitrary_record(number, &instance)));
        }
        assert_eq!(sum(&metrics, "openbin_gateway_requests_total"), 5000);
        assert_eq!(sum(&metrics, "openbin_gateway_auth_total"), 5000);
        assert_eq!(sum(&metrics, "openbin_gateway_request_duration_seconds_count"), 5000);
    }

    #[test]
    fn no_client_and_no_instance_can_make_the_metrics_grow() {
        let (metrics, worker) = without_log();
        let home = Some(Arc::from("home"));
        for (method, version) in METHODS.iter().flat_map(|m| VERSIONS.map(|v| (m, v))) {
            for (credential, status) in CREDENTIALS.iter().flat_map(|c| (0..1000).map(move |s| (c, s))) {
                let mut record = example_record();
                record.instance = home.clone();
                record.method = Method::from_bytes(method.as_bytes()).expect("a token");
                record.version = version;
                record.credential = *credential;
                record.status = (status > 0).then_some(status);
                worker.finish(Box::new(record));
            }
        }
        for (credential, outcome) in CREDENTIALS.iter().flat_map(|c| OUTCOMES.map(|o| (c, o))) {
            let mut record = example_record();
            (record.instance, record.credential, record.outcome) = (home.clone(), *credential, outcome);
            worker.finish(Box::new(record));
        }
        let everything = series(&metrics);
        for number in 0..100_000 {
            worker.finish(Box::new(arbitrary_record(number, &home)));
        }
        assert_eq!(series(&metrics), everything);
        assert!(everything < 6500, "{everything}");
    }

    #[test]
    fn workers_add_to_the_same_series_and_so_do_reloads() {
        let metrics = Arc::new(Metrics::new().expect("metrics"));
        let observer = Observer::open(&settings(None), Arc::clone(&metrics)).expect("observer");
        let (one, two) = (observer.worker(), observer.worker());
        one.finish(Box::new(example_record()));
        one.finish(Box::new(example_record()));
        two.finish(Box::new(example_record()));
        let text = metrics.render().expect("text");
        let wanted = concat!(
            r#"openbin_gateway_requests_total{auth="api_key",instance="home",method="GET","#,
            r#"protocol="1.1",status="200"} 3"#
        );
        assert!(text.contains(wanted), "{text}");
        assert_eq!(one.instances.borrow().len(), 1);
    }

    #[test]
    fn a_credential_that_was_refused_is_not_in_the_auth_label() {
        let (metrics, worker) = without_log();
        let mut record = example_record();
        (record.outcome, record.status, record.instance) = (Outcome::RevokedKey, None, None);
        worker.finish(Box::new(record));
        let text = metrics.render().expect("text");
        assert!(
            text.contains(r#"auth="none",instance="none",method="GET",protocol="1.1",status="aborted"} 1"#)
        );
        assert!(text.contains(r#"{credential="api_key",instance="none",outcome="revoked_key"} 1"#));
    }

    #[test]
    fn a_finished_request_becomes_a_line() {
        let scratch = Scratch::new("worker");
        let path = scratch.path("access.log");
        let log = AccessLogSettings { path: Some(path.clone()), format: Format::Json };
        let metrics = Arc::new(Metrics::new().expect("metrics"));
        let observer = Observer::open(&settings(Some(log)), metrics).expect("observer");
        observer.worker().finish(Box::new(example_record()));
        observer.close();
        let text = std::fs::read_to_string(path).expect("file");
        assert!(text.contains(r#""path":"/api/bins""#), "{text}");
    }

    #[test]
    #[ignore = "a measurement: run it alone with --nocapture"]
    fn cost_of_finish() {
        const ROUNDS: u32 = 500_000;
        let nowhere = AccessLogSettings { path: Some("/dev/null".into()), format: Format::Json };
        for log in [None, Some(nowhere)] {
            let metrics = Arc::new(Metrics::new().expect("metrics"));
            let observer = Observer::open(&settings(log.clone()), Arc::clone(&metrics)).expect("observer");
            let worker = observer.worker();
            let home = Some(Arc::from("home"));
            let mut spent = Duration::ZERO;
            for _ in 0..ROUNDS {
                let record =
                    std::hint::black_box(Box::new(Record { instance: home.clone(), ..example_record() }));
                let start = Instant::now();
                worker.finish(record);
                spent += start.elapsed();
            }
            observer.close();
            let lost = metrics.access_log_dropped.get();
            eprintln!("finish: {:?}, access log {}, {lost} lines lost", spent / ROUNDS, log.is_some());
        }
    }
}
