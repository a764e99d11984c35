//! Sockets only: worker threads, listeners, TLS, connection timers and drain.
//!
//! Each worker is one thread with a runtime of its own, its own `SO_REUSEPORT` accept sockets and its
//! own [`Handler`](crate::http::Handler): a request never crosses threads on its way. Knows nothing of
//! authentication or routing, and sets no time limit on a request or response body that is under way.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

mod accept;
mod activity;
mod certificates;
mod connection;
mod drain;
mod drive;
mod ended;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod gate;
mod guard;
mod http1;
mod http2;
#[cfg(test)]
mod interim_tests;
mod listen;
pub mod proxy;
mod running;
mod socket;
mod tls;
mod traffic;
mod transport;
mod unreadable;
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
    /// How many of them from one IPv4 address, or IPv6 network of 64 bits.
    pub max_connections_per_address: usize,
    /// Addresses from which any number may come.
    pub exempt: Addresses,
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
    /// Who must say in the PROXY protocol who its client is; anybody else is refused. `None`: nobody.
    pub proxies: Option<Addresses>,
}

/// A set of addresses.
#[derive(Clone)]
pub struct Addresses(Arc<dyn Fn(IpAddr) -> bool + Send + Sync>);

impl Addresses {
    /// No address.
    #[must_use]
    pub fn none() -> Self {
        Self::from(|_| false)
    }

    /// Whether this is one of them; an IPv4 address mapped into IPv6 is looked for as IPv4.
    #[must_use]
    pub fn have(&self, address: IpAddr) -> bool {
        (self.0)(address.to_canonical())
    }
}

impl<F: Fn(IpAddr) -> bool + Send + Sync + 'static> From<F> for Addresses {
    fn from(have: F) -> Self {
        Self(Arc::new(have))
    }
}

impl fmt::Debug for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Addresses")
    }
}

/// How long a connection may take for what.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For the header of the PROXY protocol, and for the TLS handshake.
    pub handshake: Duration,
    /// From the first byte of a request to the end of its head.
    pub header: Duration,
    /// Without a request on an open connection.
    pub idle: Duration,
    /// For a client to take some of what waits to be sent to it.
    pub write: Duration,
    /// About how old a connection may grow before no further request is taken on it; `None`: any age.
    pub lifetime: Option<Duration>,
    /// For requests in flight to finish after a shutdown signal.
    pub drain: Duration,
}

impl Timeouts {
    /// When a connection that begins now is old; up to a tenth sooner or later, so that connections that began
    /// together do not come back together.
    fn end_of_life(&self) -> Option<Instant> {
        let lifetime = self.lifetime?;
        Some(Instant::now() + lifetime.mul_f64(rand::random_range(0.9..1.1)))
    }
}
