//! A gateway as its operator runs it: a process of its own, known by its sockets and its files.

use std::net::SocketAddr;
use std::process::ExitStatus;

use serde_json::Value;

use super::client::{Request, Via};
use super::metrics::Metrics;
use super::process::Process;
use super::response::Response;
use super::setup::Setup;
use super::wait;

/// A running gateway. Killed when dropped.
#[derive(Debug)]
pub struct Gateway {
    pub https: SocketAddr,
    pub http: SocketAddr,
    pub admin: SocketAddr,
    pub setup: Setup,
    pub process: Process,
}

impl Gateway {
    /// A gateway with default settings in front of one instance.
    pub async fn in_front_of(upstream: SocketAddr) -> Self {
        Setup::of(upstream).start().await
    }

    /// Waits until a process that was started says where it listens.
    pub async fn listening(setup: Setup, process: Process) -> Self {
        let address = async |listener: &str| {
            let what = format!("the {listener} listener");
            wait::until_some(&what, || {
                if process.ended().is_some() {
                    panic!("the gateway ended at once:\n{}", process.stderr().join("\n"));
                }
                process.stderr().iter().find_map(|line| listening(line, listener))
            })
            .await
        };
        let (https, http, admin) = (address("https").await, address("http").await, address("admin").await);
        Self { https, http, admin, setup, process }
    }

    /// Sends a request to the admin listener.
    pub async fn ask_admin(&self, target: &str) -> Response {
        let request = Request::get(target);
        let request = match self.setup.admin_token() {
            Some(token) => request.bearer(&token),
            None => request,
        };
        request.to(self.admin).await
    }

    /// Calls the admin API with the token that a gateway with an embedded store made for itself.
    pub async fn call(&self, method: &str, path: &str, content: &Value) -> Response {
        let token = std::fs::read_to_string(self.setup.directory().join("gateway.db.admin-token"));
        let token = self.setup.admin_token().unwrap_or_else(|| token.expect("the gateway's own token"));
        let content = if content.is_null() { String::new() } else { content.to_string() };
        let request = Request::post(&format!("/admin/api/v1{path}"), content).method(method);
        request.bearer(token.trim()).to(self.admin).await
    }

    /// What `/metrics` says now.
    pub async fn metrics(&self) -> Metrics {
        let response = self.ask_admin("/metrics").await;
        assert_eq!(response.status, 200);
        Metrics::parse(&response.text())
    }

    /// Sends a request in the plainest way: HTTP/1.1 without TLS.
    pub async fn send(&self, request: &Request) -> Response {
        request.send(self, Via::Plain).await
    }

    /// The lines of the access log so far, each a JSON object.
    pub fn access_lines(&self) -> Vec<Value> {
        let text = self.access_text();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}")))
            .collect()
    }

    /// The access log's text so far.
    pub fn access_text(&self) -> String {
        std::fs::read_to_string(self.setup.directory().join("access.log")).unwrap_or_default()
    }

    /// Everything that the gateway has written anywhere an operator would look.
    pub async fn everything_said(&self) -> String {
        let metrics = match self.process.ended() {
            None => self.ask_admin("/metrics").await.text(),
            Some(_) => String::new(),
        };
        let (out, err) = (self.process.stdout().join("\n"), self.process.stderr().join("\n"));
        format!("{out}\n{err}\n{}\n{metrics}", self.access_text())
    }

    /// Asks it to stop, and waits until it has.
    pub async fn stop(&self) -> ExitStatus {
        self.process.signal("TERM");
        self.process.exit().await
    }
}

/// The address in a line that says that this listener is open.
fn listening(line: &str, listener: &str) -> Option<SocketAddr> {
    let value: Value = serde_json::from_str(line).ok()?;
    let fields = if value["fields"].is_object() { &value["fields"] } else { &value };
    if fields["message"] != "listening" || fields["listener"] != listener {
        return None;
    }
    fields["address"].as_str()?.parse().ok()
}
