//! Connections to the instances: one pool per worker and instance, timeouts, and who is to blame.

use std::time::Duration;

use hyper::http::uri::Authority;

/// How to reach one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Host and port; plain HTTP/1.1.
    pub authority: Authority,
    /// For opening a connection.
    pub connect_timeout: Duration,
    /// From the request's last byte to the response's head.
    pub response_timeout: Duration,
    /// Between two parts of a response's body.
    pub idle_body_timeout: Duration,
    /// How long an unused connection is kept; Node closes its end after 5 s.
    pub keep_alive: Duration,
    /// How many unused connections each worker keeps.
    pub max_idle: usize,
}
