//! What answers requests, and what it is told of the other end of the connection.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use hyper::{Request, Response, Version};

use super::{Line, Received, Refusal};

/// What answers the requests of one worker. Made on the worker's own thread, so it need not be `Send`.
pub trait Handler: 'static {
    /// The body of its responses.
    type Body: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static;

    /// Answers one request. An `Err` closes the connection (HTTP/1.1) or resets the stream (HTTP/2)
    /// without an answer. So does cutting the line, at any time until the response's body is dropped.
    ///
    /// The request, which is there, is only lent: a future keeps room of its own for each value that it is given, and a
    /// request would lie in one after the other.
    fn handle(
        &self,
        request: &mut Option<Request<Received>>,
        peer: &Peer,
        line: Line,
    ) -> impl Future<Output = Result<Response<Self::Body>, Abort>>;

    /// Answers what could not be read as a request of this version, or is too large for one. Its connection
    /// (HTTP/1.1) or its stream (HTTP/2) ends behind the answer, whose body must be there at once.
    fn refuse(&self, refusal: Refusal, version: Version, peer: &Peer) -> Response<Self::Body>;
}

/// The request cannot be answered: break off instead of pretending that it could.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("request aborted")]
pub struct Abort;

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The address that the connection came from.
    pub address: SocketAddr,
    /// The listener's own address.
    pub local: SocketAddr,
    /// Whether, and how, the connection is encrypted.
    pub tls: Option<TlsSession>,
}

/// What the TLS handshake settled.
#[derive(Debug, Clone)]
pub struct TlsSession {
    /// The server name that the client asked for (RFC 6066 §3), lower-case.
    pub server_name: Option<Box<str>>,
    /// The application protocol that was agreed on (RFC 7301).
    pub protocol: Protocol,
}

/// The HTTP version of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.0 or HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

impl Peer {
    /// The peer's address; an IPv4 address mapped into IPv6 is given as IPv4.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.address.ip().to_canonical()
    }
}
