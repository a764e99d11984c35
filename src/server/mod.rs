//! Sockets only: worker threads, listeners, TLS, connection timers and drain.
//!
//! Each worker is one thread with a runtime of its own, its own `SO_REUSEPORT` accept sockets and its
//! own [`Handler`](crate::http::Handler): a request never crosses threads on its way. Knows nothing of
//! authentication or routing, and sets no time limit on a request or response body that is under way.

use std::net::SocketAddr;
use std::time::Duration;

mod accept;
mod activity;
mod certificates;
mod connection;
mod drain;
mod drive;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod guard;
mod http1;
mod http2;
mod listen;
mod running;
mod socket;
mod tls;
mod worker;

pub use certificates::{CertificateError, Certificates, Standing, Validity};
pub use drain::Drained;
pub use error::ServerError;
pub use running::{Running, start};

/// What the listeners and workers are made from.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How many worker threads serve; at least one.
    pub workers: usize,
    /// Where to listen; each worker has its own socket on each.
    pub listeners: Vec<ListenerSettings>,
    /// How long a connection may take for what.
    pub timeouts: Timeouts,
    /// How many connections may be open at once, over all workers; one more is closed as it comes in.
    pub max_connections: usize,
    /// The largest request head, in bytes; more is answered 431.
    pub max_header_bytes: usize,
    /// The most header fields in a request; more is answered 431.
    pub max_headers: usize,
    /// The most concurrent HTTP/2 streams of one connection.
    pub max_concurrent_streams: u32,
    /// Whether HTTP/2 clients may ask for another protocol on a stream (RFC 8441).
    pub extended_connect: bool,
}

/// One address to listen on.
#[derive(Debug, Clone)]
pub struct ListenerSettings {
    /// Address and port; port 0 takes any free one.
    pub address: SocketAddr,
    /// `None`: plain HTTP.
    pub tls: Option<Certificates>,
}

/// How long a connection may take for what.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For the TLS handshake.
    pub handshake: Duration,
    /// From the first byte of a request to the end of its head.
    pub header: Duration,
    /// Without a request on an open connection.
    pub idle: Duration,
    /// For requests in flight to finish after a shutdown signal.
    pub drain: Duration,
}
