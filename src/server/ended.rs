//! How often a bound of the server's ended a connection, or did not let it in.

use prometheus::{IntCounter, IntCounterVec};

/// One counter for each bound.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    /// As many connections were open as may be.
    pub(super) full: IntCounter,
    /// As many from one address.
    pub(super) address: IntCounter,
    /// The PROXY protocol was spoken wrongly, too slowly, or by somebody who may not.
    pub(super) proxy: IntCounter,
    /// The TLS handshake took too long.
    pub(super) handshake: IntCounter,
    /// A request's head took too long.
    pub(super) head: IntCounter,
    /// The TLS handshake failed.
    pub(super) tls: IntCounter,
    /// What came could not be read as a request in one way.
    pub(super) unreadable: IntCounter,
    /// A request's head or target was longer than it may be.
    pub(super) large: IntCounter,
    /// The client took nothing of what waited for it.
    pub(super) unread: IntCounter,
    /// It was old.
    pub(super) age: IntCounter,
}

impl Ended {
    /// The counters in a metric with one label.
    pub(super) fn new(by_reason: &IntCounterVec) -> Self {
        let of = |reason| by_reason.with_label_values(&[reason]);
        Self {
            full: of("full"),
            address: of("address"),
            proxy: of("proxy"),
            handshake: of("handshake"),
            head: of("head"),
            tls: of("tls"),
            unreadable: of("unreadable"),
            large: of("large"),
            unread: of("unread"),
            age: of("age"),
        }
    }
}
