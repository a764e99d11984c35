//! Connections to the instances: one pool per worker and instance, timeouts, and who is to blame.
//!
//! Whoever waits for the response or reads its body moves the bytes, in the task that asked for it: no channel lies in
//! between. Only heads are sent by a task of the worker, one behind the other. Decides nothing about credentials, and changes no header.

mod ask;
mod content;
mod error;
mod exchange;
mod fields;
mod framing;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod head;
mod interim;
mod link;
mod outbound;
mod outgoing;
mod pool;
mod probe;
mod send_queue;
mod tunnel;
mod wire;

use std::time::Duration;

pub use ask::{AskError, ask};
pub use error::ForwardError;
pub use exchange::Exchange;
pub use fields::Fields;
use hyper::http::uri::Authority;
pub use link::reach;
pub use outbound::Outbound;
pub use pool::Upstream;
pub use probe::{Answer, Probe, probe};
pub use tunnel::{Passed, Switched, Tunnel};

/// How to reach one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Host and port; plain HTTP/1.1.
    pub authority: Authority,
    /// For opening a connection.
    pub connect_timeout: Duration,
    /// From the last byte of a request that could be sent to the head of its response.
    pub response_timeout: Duration,
    /// Between two parts of a response's body; on a switched connection, without a byte in either direction.
    pub idle_body_timeout: Duration,
    /// How long an unused connection is kept; Node closes its end after 5 s.
    pub keep_alive: Duration,
    /// How many unused connections each worker keeps.
    pub max_idle: usize,
}

#[cfg(test)]
impl Settings {
    /// For who waits as long as it takes.
    fn patient(address: std::net::SocketAddr) -> Self {
        let minute = Duration::from_secs(60);
        Self {
            authority: address.to_string().parse().expect("an authority"),
            connect_timeout: minute,
            response_timeout: minute,
            idle_body_timeout: minute,
            keep_alive: minute,
            max_idle: 1,
        }
    }
}
